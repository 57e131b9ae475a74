"""W&B's own ways: modes, accounts, shared projects, and a run that is replaced. All of it offline."""

from __future__ import annotations

import pytest
from program_samples import README_RECIPE, README_TRAIN
from tracking_samples import Network, made_failure, made_record, made_run, made_study, wandb_run

from mmablate.tracking.logs import read_run

pytest.importorskip("wandb", reason="wandb is not installed: pip install mmablate[tracking]")


@pytest.fixture
def store(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return made_study(tmp_path, {"a": "sup"})


def opened(store, **options):
    from mmablate.tracking.wandb_tracker import open_wandb

    said = []
    return open_wandb("made", store.folder, online=options.get("online", False), say=said.append), said


def log(store, record):
    made_run(store, record)
    tracker, _ = opened(store)
    run = read_run(store, store.read_study(), record)
    tracker.write_run(run)
    assert tracker.digest(run.run_id) == run.digest
    tracker.close()
    (file,) = store.folder.glob("tracking/wandb/offline-run-*/run-*.wandb")
    return wandb_run(file), file


def test_a_run_that_is_tried_again_is_replaced(store):
    found, _ = log(store, made_failure("a"))
    assert found["exit"] == 1
    found, file = log(store, made_record("a"))
    assert (found["exit"], found["summary"]["score/V"]) == (0, 50.0)
    assert file.name == "run-a.wandb"


def test_a_project_for_several_studies(store, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    found, _ = log(store, made_record("a"))
    assert (found["run"].project, found["run"].run_group) == ("mine", "made")
    assert found["run"].run_id.startswith("a-")
    monkeypatch.delenv("WANDB_PROJECT")
    tracker, _ = opened(store)
    assert tracker.digest("a") is None
    tracker.close()


@pytest.mark.parametrize("asked", ["option", "environment"])
def test_without_an_account_it_stays_offline_and_says_so(store, monkeypatch, asked):
    if asked == "environment":
        monkeypatch.setenv("WANDB_MODE", "online")
    tracker, said = opened(store, online=asked == "option")
    assert not tracker.online
    assert said == [
        "wandb: no account here (`wandb login`, or WANDB_API_KEY): the runs stay on this disk, nothing is sent"
    ]
    assert "offline in" in tracker.place()
    tracker.close()


def test_an_account_is_found_and_its_key_not_looked_at(store, monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.netrc").write_text("machine api.wandb.ai login user password secret\n")
    tracker, said = opened(store, online=True)
    assert (tracker.online, said) == (True, [])
    assert "sent to W&B" in tracker.place()
    tracker.close()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not opened(store, online=True)[0].online


@pytest.mark.parametrize("mode", ["", "offline", "dryrun", "shared", "nonsense"])
def test_any_other_mode_is_offline(store, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    tracker, _ = opened(store)
    assert not tracker.online
    tracker.close()


def test_switched_off(store, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert opened(store) == (None, ["wandb: WANDB_MODE=disabled: nothing is logged"])


def test_a_server_that_does_not_answer(tmp_path):
    (tmp_path / "train.py").write_text(README_TRAIN)
    (tmp_path / "fusion.yaml").write_text(README_RECIPE)
    network = Network(tmp_path)
    asked = {"WANDB_API_KEY": "k" * 40, "WANDB_INIT_TIMEOUT": "1", "PYTHONWARNINGS": "default"}
    done = network.run("train", "fusion.yaml", "steps=20", "--track", "wandb:online", cwd=tmp_path, **asked)
    assert done.returncode == 0, done.stderr
    assert network.used != ""  # it was asked for, and tried
    assert "wandb: from here on the runs stay on this disk, nothing is sent (" in done.stderr
    assert "warning: --track" not in done.stderr
    (file,) = tmp_path.glob("results/fusion/tracking/wandb/*run-*/run-*.wandb")
    assert file.parent.name.startswith("offline-run-")
    assert wandb_run(file)["summary"]["status"] == "ok"
