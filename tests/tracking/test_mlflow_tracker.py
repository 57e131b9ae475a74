"""MLflow's own ways: curves that grow, names that it refuses, studies that were moved or share a database."""

from __future__ import annotations

import gc
import shutil
import warnings
from dataclasses import replace

import pytest
from tracking_samples import made_failure, made_record, made_run, made_study

from mmablate.tracking import TableLog
from mmablate.tracking.logs import Point, read_run

pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mmablate[tracking]")
# SQLAlchemy warns of what MLflow does, and MLflow leaves the connection to the garbage.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader", "ignore:unclosed database:ResourceWarning")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty database: its tables take MLflow a second to make."""
    from mmablate.tracking.mlflow_tracker import MlflowTracker

    folder = tmp_path_factory.mktemp("database")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.filterwarnings("ignore", message="The ``noload`` loader")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        MlflowTracker("nobody", folder)
    return folder / "mlflow.db"


@pytest.fixture
def store(tmp_path, monkeypatch, database):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = made_study(tmp_path / "out", {"a": "sup"})
    (store.folder / "tracking").mkdir()
    shutil.copy(database, store.folder / "tracking/mlflow.db")
    yield store
    gc.collect()  # connections, while their warnings are not errors


def opened(folder, study="made"):
    from mmablate.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(study, folder)


def runs(tracker):
    return tracker.client.search_runs([tracker.experiment])


def run_of(store, record):
    made_run(store, record)
    return read_run(store, store.read_study(), record)


def test_curves_grow_and_a_run_is_replaced(store):
    tracker = opened(store.folder)
    run = run_of(store, made_failure("a"))
    tracker.follow(replace(run, status="running", points=run.points[:1]))
    assert [found.info.status for found in runs(tracker)] == ["RUNNING"]
    assert tracker.digest("a") is None
    tracker.write_run(run)
    (found,) = runs(tracker)
    assert found.info.status == "FAILED"
    history = tracker.client.get_metric_history(found.info.run_id, "loss/sup")
    assert [(m.step, m.value) for m in history] == [(10, 1.0), (20, 0.5)]
    again = run_of(store, made_record("a"))
    opened(store.folder).write_run(again)
    (found,) = runs(tracker)
    assert (found.info.status, found.data.metrics["score/V"]) == ("FINISHED", 50.0)
    assert tracker.digest("a") == again.digest


def test_a_run_that_another_process_has_written_meanwhile(store):
    run = run_of(store, made_record("a"))
    first, second = opened(store.folder), opened(store.folder)
    first.follow(replace(run, status="running", points=run.points[:1]))
    second.write_run(run)
    first.write_run(run)
    assert len(runs(first)) == 1
    assert first.digest("a") == run.digest


def test_names_and_values_that_mlflow_refuses(store):
    run = run_of(store, made_record("a"))
    names = {"λ+α": 1.0, "λ-α": 2.0, "a//b": 3.0, "../x": 4.0, "": 5.0, "x" * 400: 6.0, "%": 7.0, "&": 8.0}
    run = replace(
        run,
        name="../" * 200,
        config={**names, "long": "v" * 9000, "seed": 0},
        scores=dict(names),
        points=(Point(1, 0.0, dict(names)),),
        error="e" * 9000,
    )
    tracker = opened(store.folder)
    tracker.write_run(run)
    (found,) = runs(tracker)
    assert sorted(found.data.metrics.values()) == sorted(names.values())
    assert len(found.data.params) == len(names) + 2


def test_a_study_that_was_moved(store, tmp_path):
    table = TableLog("made", "T", "| 1 |", "<b>", "{}", {}, False)
    tracker = opened(store.folder)
    tracker.write_table(table)
    assert len(list(store.folder.glob("tracking/mlflow-artifacts/*/artifacts/table.*"))) == 3
    shutil.move(store.folder, tmp_path / "moved")
    tracker = opened(tmp_path / "moved")
    tracker.write_table(replace(table, markdown="| 2 |"))
    assert not store.folder.exists()
    experiment = tracker.client.get_experiment(tracker.experiment)
    assert experiment.tags["mlflow.note.content"] == "| 2 |"
    assert len(runs(tracker)) == 1


def test_an_experiment_that_was_deleted(store):
    tracker = opened(store.folder)
    tracker.client.delete_experiment(tracker.experiment)
    with pytest.raises(Exception, match="experiment made was deleted"):
        opened(store.folder)


def test_the_same_run_in_two_studies_of_one_database(store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store.folder}/tracking/mlflow.db")
    run = run_of(store, made_record("a"))
    for study in ("made", "other"):
        tracker = opened(store.folder, study)
        assert tracker.digest("a") is None
        tracker.write_run(replace(run, study=study))
        assert tracker.digest("a") == run.digest


def test_a_password_is_not_printed(store, monkeypatch):
    tracker = opened(store.folder)
    tracker.uri, tracker.own = "https://me:secret@server/path", False
    assert tracker.place() == "experiment made in https://server/path (as MLFLOW_TRACKING_URI says)"


def test_a_history_that_becomes_another_one(store):
    tracker = opened(store.folder)
    run = run_of(store, made_record("a"))
    tracker.follow(replace(run, status="running", points=(Point(10, 1.0, {"lr": 9.0}),)))
    tracker.write_run(run)
    (found,) = runs(tracker)
    history = tracker.client.get_metric_history(found.info.run_id, "lr")
    assert [(m.step, m.value) for m in history] == [(10, 0.1), (20, 0.1)]
