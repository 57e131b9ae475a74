"""Bad input: one clear message that names what is at fault, exit 2, no traceback, nothing trained."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT, TINY

from mmablate.cli.parsing import parse_range, parse_seeds, parse_values
from mmablate.errors import UsageError

COMMANDS = {
    "no recipe": (["ablate", "nope"], "landsat_losses"),
    "no value": (["ablate", "landsat_losses", "train.epochs"], "KEY=VALUE"),
    "unknown key": (["ablate", "landsat_losses", "train.epoch=3"], "did you mean 'epochs'"),
    "NaN weight": (["ablate", "landsat_losses", "losses.mad.weight=.nan"], "losses.mad.weight"),
    "negative seed": (["ablate", "landsat_losses", "seeds=[-1]"], "-1"),
    "negative seed option": (["ablate", "landsat_losses", "--seeds=-3"], "--seeds -3"),
    "empty rows": (["ablate", "landsat_losses", "rows=[]"], "rows"),
    "empty row": (["ablate", "landsat_losses", "rows=[[]]"], "rows.0"),
    "undefined loss": (["ablate", "landsat_losses", "rows=[[sup],[sup,kd]]"], "'kd'"),
    "no such definition": (["ablate", "landsat_losses", "losses.mad.definition=x"], "principled, released, paper"),
    "baseline": (["ablate", "landsat_losses", "baseline=nope"], "'nope'"),
    "modality": (["ablate", "landsat_losses", "data.modalities=[V,X]"], "'X'"),
    "profile": (["ablate", "landsat_losses", "--profile", "nope"], "'nope'"),
    "crop": (["ablate", "landsat_losses", "train.augment.crop=[64,64]"], "train.augment.crop"),
    "channels": (["ablate", "landsat_losses", "model.in_channels=2"], "model.in_channels"),
    "stages": (["ablate", "landsat_losses", "model.strides=[2,2]"], "strides [2, 2]"),
    "row glob": (["ablate", "landsat_losses", "--only", "nope*"], "--only nope*"),
    "device": (["ablate", "landsat_losses", "--device", "tpu"], "--device tpu"),
    "data root": (["ablate", "lidar_losses"], "--data-root"),
    "no data folder": (["ablate", "lidar_losses", "--data-root", "nowhere"], "nowhere"),
    "no parameter": (["sweep", "landsat_losses"], "--param"),
    "unknown parameter": (["sweep", "landsat_losses", "--param", "nope"], "lambda, alpha, beta"),
    "values": (["sweep", "landsat_losses", "--param", "beta", "--values", "1,nan"], "nan"),
    "row": (["train", "landsat_losses", "--row", "nope"], "sup+mad+umd+cmd"),
    "table path": (["table", "nowhere"], "nowhere"),
    "format": (["table", ".", "--format", "docx"], "docx"),
    "dataset": (["data", "check", "nope"], "nope"),
    "out": (["ablate", "landsat_losses", *TINY, "--out", "file/below"], "file/below"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_message_names_what_is_at_fault(case, mmablate, tmp_path):
    (tmp_path / "file").touch()
    arguments, named = COMMANDS[case]
    done = mmablate(*arguments)
    assert done.code == 2
    assert named in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (tmp_path / "results").exists()


def test_all_problems_of_a_recipe_come_together_with_their_lines(mmablate, tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "name: bad\ndata: {name: landsat, modalities: [V, Q]}\nmodel: {name: anymodal_segmentor, width: 3}\n"
        "train: {lr: .nan, epoch: 3}\nlosses:\n  sup: {}\n  kd: {weight: 1}\nseeds: [-1]\nrows: []\n"
    )
    done = mmablate("ablate", "bad.yaml")
    assert done.code == 2
    for named in ("2: data.modalities", "3: model.width", "4: train.lr", "4: train.epoch", "7: losses.kd", "8: seeds.0",
                  "9: rows"):  # fmt: skip
        assert f"bad.yaml:{named}" in done.err
    (tmp_path / "worse.yaml").write_text("name: [unclosed\n")
    done = mmablate("ablate", "worse.yaml")
    assert (done.code, "worse.yaml:2: not valid YAML" in done.err) == (2, True)


FAULTS = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "bytes"),
    "not an array": (lambda path: path.write_text("hello"), ".npy"),
    "pickled": (lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True), "object"),
    "wrong shape": (lambda path: np.save(path, np.zeros((16, 128, 6))), "128"),
    "too few channels": (lambda path: np.save(path, np.zeros((16, 256, 4))), "channel"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_file_is_named_before_training(fault, mmablate, sweeps_folder, tmp_path):
    plant, named = FAULTS[fault]
    path = sweeps_folder / "train" / "1.npy"
    plant(path)
    done = mmablate("ablate", "lidar_losses", *TINY, "--data-root", sweeps_folder)
    assert done.code == 2
    assert str(path) in done.err
    assert named in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "results").exists()


def test_full_disk_keeps_what_was_finished(tmp_path):
    """A limit on file size stands in for a full disk: checkpoints do not fit, records do."""

    def limited():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    command = [sys.executable, "-m", "mmablate", "ablate", str(ROOT / "recipes/landsat_losses.yaml"), *TINY, "-j", "1"]
    done = subprocess.run(
        [*command, "rows=[[sup],[sup,mad]]"], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(
        [*command, "rows=[[sup],[sup,mad]]"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "results")


def test_a_diverging_row_is_shown_and_the_others_finish(mmablate):
    rows = "rows=[{name: fine, losses: [sup]}, {name: wild, losses: [sup], overrides: {train.lr: 1e+30}}]"
    done = mmablate("ablate", "landsat_losses", *TINY, "train.epochs=2", rows, "baseline=fine")
    assert done.code == 1
    assert "wild, seed 0: NonFiniteLoss" in done.err
    assert "fine" in done.out
    assert "NonFiniteLoss" in " ".join(done.out.split())


def test_parsers():
    assert parse_seeds("0,1,2") == [0, 1, 2]
    assert parse_seeds("0-4,7") == [0, 1, 2, 3, 4, 7]
    assert parse_seeds("3,3") == [3]
    assert parse_values("0,0.1,1e-3,adamw,true") == (0, 0.1, 1e-3, "adamw", True)
    assert parse_range("0.1:100:log") == (0.1, 100.0, True)
    for wrong in ("", "a", "3-1", "1.5", "-1"):
        with pytest.raises(UsageError, match="--seeds"):
            parse_seeds(wrong)
    for wrong in ("1", "1:2:lin", "a:b"):
        with pytest.raises(UsageError, match="--range"):
            parse_range(wrong)


def test_a_split_without_labels_is_told_before_training(mmablate, sweeps_folder, tmp_path):
    (sweeps_folder / "test").mkdir()
    sweep = np.load(sweeps_folder / "val" / "0.npy")
    sweep[..., 5] = 10
    np.save(sweeps_folder / "test" / "0.npy", sweep)
    done = mmablate("ablate", "lidar_losses", *TINY, "train.augment.crop=null", "--data-root", sweeps_folder)
    assert done.code == 2
    assert "the test split has no labelled pixel" in done.err
    assert not (tmp_path / "results").exists()


def test_a_lock_that_cannot_be_taken_is_named(mmablate, tmp_path):
    (tmp_path / "results" / ".locks" / "study-landsat_losses.lock").mkdir(parents=True)
    done = mmablate("ablate", "landsat_losses", *TINY)
    assert done.code == 2
    assert "study-landsat_losses.lock: cannot be locked" in done.err
    assert "Traceback" not in done.err
