"""What is logged of a real study, read back by the libraries themselves; and that nothing leaves the machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tracking_samples import RECIPE, Network, curves, records, tree, wandb_run


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """The study, trained once and logged to every tracker at once."""
    for name in ("wandb", "mlflow", "tensorboard"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install mmablate[tracking]")
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "small.yaml").write_text(RECIPE)
    network = Network(folder)
    done = network.run("ablate", "small.yaml", "--track", "wandb,mlflow", "--track", "tensorboard", "-j", 1, cwd=folder)
    assert done.returncode == 1, done.stderr  # the row that fails
    assert len(records(folder / "results/small")) == 4
    return folder / "results/small", network, done


def test_nothing_is_sent_and_it_says_so(tracked):
    _, network, done = tracked
    assert network.used == ""
    assert "warning" not in done.stderr
    lines = {line.partition(":")[0]: line for line in done.stderr.splitlines()}
    assert "offline" in lines["wandb"]
    assert "nothing is sent" in lines["wandb"]
    assert "results/small/tracking/mlflow.db" in lines["mlflow"]
    assert "results/small/tensorboard" in lines["tensorboard"]


def test_the_network_of_these_tests_sees_what_goes_out(tracked, tmp_path):
    _, _, _ = tracked
    network = Network(tmp_path)
    code = "import urllib.request as u; u.urlopen('http://example.org', timeout=5)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=network.environment)
    assert done.returncode != 0
    assert network.used != ""


def check_config(config, run_id, record, value=lambda v: v):
    """The settings of a run, and what tells it from others."""
    assert config["run_id"] == run_id
    assert config["study"] == "small"
    assert config["role"] == record["role"]
    assert config["row"] == value(record["row"])
    assert config["seed"] == value(3)
    assert config["synthetic"] == value(False)
    assert config["train.lr"] == value(1e30 if record["row"] == "boom" else 0.01)
    assert config["losses.sup.weight"] == value(1.0)
    assert config["environment.device"] == "cpu"
    assert "environment.worker" not in config
    assert ("losses.mad.weight" in config) == (record["row"] == "sup+mad")


def test_wandb_holds_the_runs(tracked):
    study, _, _ = tracked
    for run_id, record in records(study).items():
        (file,) = study.glob(f"tracking/wandb/offline-run-*/run-{run_id}.wandb")
        found = wandb_run(file)
        check_config(found["config"], run_id, record)
        name = "teacher" if record["role"] == "teacher" else record["row"]
        about = found["run"]
        assert (about.run_id, about.project, about.run_group) == (run_id, "small", "small")
        assert (about.display_name, about.job_type) == (f"{name}, seed 3", record["role"])
        assert (about.host, about.entity, len(about.git.remote_url)) == ("-", "", 0)
        assert list(about.tags) == [record["role"], record["status"]]
        series = {}
        for step, values in found["history"]:
            for key, value in values.items():
                series.setdefault(key, []).append((step, value))
        for key, points in curves(study, run_id).items():
            assert series[key] == points
        for column, value in record["metrics"].items():
            assert found["summary"][f"score/{column}"] == value
        assert found["summary"]["status"] == record["status"]
        assert found["exit"] == (0 if record["status"] == "ok" else 1)
        if record["status"] == "failed":
            assert about.notes.startswith("NonFiniteLoss: loss term 'sup'")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", *map(str, study.glob("tracking/wandb/offline-run-*"))],
        capture_output=True, text=True, check=False, env=tracked[1].environment | {"PYTHONWARNINGS": ""},
    )  # fmt: skip
    assert "Would sync 5 run(s)" in done.stderr + done.stdout


def test_wandb_holds_the_table(tracked):
    study, _, _ = tracked
    (file,) = study.glob("tracking/wandb/offline-run-*/run-table.wandb")
    found = wandb_run(file)
    assert found["config"]["title"] == "A small study <b>"
    (page,) = file.parent.glob("files/media/html/table_*.html")
    assert "&lt;b&gt;" in page.read_text()
    table = {row["name"]: row for row in printed(tracked)["rows"]}
    assert found["summary"]["sup+mad/Mean"] == table["sup+mad"]["cells"]["Mean"]["mean"]
    assert found["summary"]["sup+mad/Δ Mean"] == table["sup+mad"]["cells"]["Mean"]["delta"]


def printed(tracked):
    study, network, _ = tracked
    return json.loads(network.run("table", study, "--format", "json", cwd=study).stdout)


# SQLAlchemy warns of what MLflow does, and MLflow leaves the connection to the garbage.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader", "ignore:unclosed database:ResourceWarning")
def test_mlflow_holds_the_runs(tracked, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    study, _, _ = tracked
    client = MlflowClient(tracking_uri=f"sqlite:///{study}/tracking/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = {run.data.tags["mmablate.run_id"]: run for run in client.search_runs([experiment.experiment_id])}
    stored = records(study)
    assert runs.keys() == {*stored, "table"}
    for run_id, record in stored.items():
        run = runs[run_id]
        value = lambda v: "null" if v is None else str(v)  # noqa: E731
        check_config(run.data.params, run_id, record, value)
        assert run.info.status == {"ok": "FINISHED", "failed": "FAILED"}[record["status"]]
        assert run.data.tags["status"] == record["status"]
        assert run.data.tags["data"] == "measured data"
        folder = study / "runs" / run_id
        assert run.info.start_time == int(1000 * (folder / "config.json").stat().st_mtime)
        assert run.info.end_time == int(1000 * (folder / "record.json").stat().st_mtime)
        for key, points in curves(study, run_id).items():
            assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)] == points
        for column, value in record["metrics"].items():
            assert run.data.metrics[f"score/{column}"] == value
        if record["status"] == "failed":
            assert run.data.tags["error"].startswith("NonFiniteLoss: loss term 'sup'")
    own = runs["table"].info.run_id
    files = {file.path for file in client.list_artifacts(own)}
    assert files == {"table.md", "table.html", "table.json"}
    held = study / "tracking/mlflow-artifacts" / own / "artifacts/table.json"
    assert json.loads(held.read_text())["rows"] == printed(tracked)["rows"]


def test_tensorboard_holds_the_runs(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

    study, _, _ = tracked
    for run_id, record in records(study).items():
        (folder,) = study.glob(f"tensorboard/*-{run_id}")
        name = "teacher" if record["role"] == "teacher" else record["row"]
        assert folder.name == f"{name}, seed 3-{run_id}"
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
        events.Reload()
        for key, points in curves(study, run_id).items():
            held = [(event.step, event.value) for event in events.Scalars(key)]
            assert held == [(step, pytest.approx(value, rel=1e-6)) for step, value in points]
        for column, value in record["metrics"].items():
            assert events.Scalars(f"score/{column}")[0].value == pytest.approx(value, rel=1e-6)
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        start = metadata.parse_session_start_info_plugin_data(content)
        check_config(
            {key: getattr(v, v.WhichOneof("kind")) for key, v in start.hparams.items()},
            run_id,
            record,
            lambda v: "null" if v is None else v,
        )
        content = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
        end = metadata.parse_session_end_info_plugin_data(content)
        assert end.status == (STATUS_SUCCESS if record["status"] == "ok" else STATUS_FAILURE)
        (text,) = events.Tensors("status")[0].tensor_proto.string_val
        assert record["status"] in text.decode()
        assert ("NonFiniteLoss" in text.decode()) == (record["status"] == "failed")
    events = EventAccumulator(str(study / "tensorboard/table"))
    events.Reload()
    (text,) = events.Tensors("table")[0].tensor_proto.string_val
    assert "λ" in text.decode()
    assert "A small study &lt;b&gt;" in text.decode()


def test_the_same_command_logs_nothing_twice(tracked):
    study, network, _ = tracked
    folders = (study / "tracking", study / "tensorboard")
    before = [tree(folder) for folder in folders]
    done = network.run("ablate", "small.yaml", "--track", "wandb,mlflow,tensorboard", cwd=study.parents[1])
    assert done.returncode == 1
    assert "warning" not in done.stderr
    assert [tree(folder) for folder in folders] == before
    assert network.used == ""


def test_what_is_lost_or_half_written_is_logged_again(tracked):
    import shutil

    study, network, _ = tracked
    first = min(records(study))
    (folder,) = study.glob(f"tracking/wandb/offline-run-*-{first}")
    shutil.rmtree(folder)
    (mark,) = study.glob(f"tensorboard/*-{first}/mmablate.digest")
    mark.unlink()
    before = tree(study / "tensorboard")
    done = network.run("ablate", "small.yaml", "--track", "wandb,tensorboard", "-q", cwd=study.parents[1])
    assert "warning" not in done.stderr
    assert len(list(study.glob(f"tracking/wandb/offline-run-*-{first}/run-*.wandb"))) == 1
    after = tree(study / "tensorboard")
    assert len(after) == len(before) + 1
    assert len(list(study.glob(f"tensorboard/*-{first}/events*"))) == 1
    assert {path for path in after if first not in path} == {path for path in before if first not in path}
