"""`--track` as a user types it."""

from __future__ import annotations

import json

import pytest
from program_samples import README_RECIPE, README_TRAIN

FULL = ["steps=60", "seeds=[0,1]"]


@pytest.fixture
def example(tmp_path):
    """A study of a program, which needs no torch: the fastest there is. Its data are made up."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install mmablate[tracking]")
    (tmp_path / "train.py").write_text(README_TRAIN)
    (tmp_path / "fusion.yaml").write_text(README_RECIPE)
    return tmp_path


def text(folder, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    (content,) = events.Tensors(tag)[0].tensor_proto.string_val
    return content.decode()


def test_a_finished_study_is_logged_without_training(example, mmablate):
    plain = mmablate("ablate", "fusion.yaml", *FULL, "--format", "json", "-j", "1")
    assert plain.code == 0, plain.err
    done = mmablate("ablate", "fusion.yaml", *FULL, "--format", "json", "--track", "tensorboard")
    assert (done.code, done.out) == (0, plain.out), done.err
    assert "warning" not in done.err
    folders = {path.name for path in example.glob("results/fusion/tensorboard/*")}
    assert len(folders) == 9
    assert {name.rpartition("-")[0] for name in folders - {"table"}} == {
        f"{fusion}+{lr}, seed {seed}" for fusion in ("sum", "concat") for lr in ("slow", "fast") for seed in (0, 1)
    }
    for folder in example.glob("results/fusion/tensorboard/*"):
        assert "synthetic data" in text(folder, "table" if folder.name == "table" else "status")


def test_train_logs_its_run_alone(example, mmablate):
    done = mmablate("train", "fusion.yaml", *FULL, "--row", "sum+slow", "--track", "tensorboard", "--format", "json")
    assert done.code == 0, done.err
    (folder,) = example.glob("results/fusion/tensorboard/*")
    assert folder.name == f"sum+slow, seed 0-{json.loads(done.out)['run_id']}"


def test_sweep_logs_under_its_own_name(example, mmablate):
    done = mmablate("sweep", "fusion.yaml", *FULL, "--param", "lr", "--values", "0.1,1", "--track", "tensorboard", "-q")
    assert done.code == 0, done.err
    assert done.err == ""
    assert len(list(example.glob("results/fusion_lr/tensorboard/lr=*"))) == 4


def test_a_plan_logs_nothing(example, mmablate):
    done = mmablate("ablate", "fusion.yaml", *FULL, "-n", "--track", "tensorboard")
    assert done.code == 0, done.err
    assert not (example / "results").exists()


@pytest.mark.parametrize("command", [["ablate", "fusion.yaml"], ["train", "fusion.yaml"], ["sweep", "--param", "lr"]])
def test_a_tracker_that_does_not_exist(example, mmablate, command):
    done = mmablate(*command, "--track", "wandb,comet")
    assert done.code == 2
    assert done.err == "error: --track comet: choose from wandb, mlflow, tensorboard, wandb:online\n"


def test_a_tracker_that_is_not_installed(example, mmablate):
    hide = "import sys\nfor name in ('wandb', 'mlflow', 'tensorboard'):\n    sys.modules[name] = None\n"
    (example / "sitecustomize.py").write_text(hide)
    import os

    path = f"{example}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = mmablate("ablate", "fusion.yaml", "--track", "mlflow", PYTHONPATH=path)
    assert done.code == 2
    assert done.err.startswith('error: --track mlflow needs mlflow-skinny: pip install "mmablate[tracking]"')
    assert not (example / "results").exists()


def test_a_database_of_the_users_own(example, mmablate):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mmablate[tracking]")
    uri = f"sqlite:///{example}/own.db"
    done = mmablate(
        "train", "fusion.yaml", *FULL, "--track", "mlflow", MLFLOW_TRACKING_URI=uri, MLFLOW_DISABLE_TELEMETRY="true"
    )
    assert done.code == 0, done.err
    assert (example / "own.db").exists()
    assert not (example / "results/fusion/tracking/mlflow.db").exists()
    assert "as MLFLOW_TRACKING_URI says" in done.err
