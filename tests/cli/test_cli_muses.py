"""MUSES through the commands that a user types: make, check, info, train with MiT-B0, faults, generated data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from project import TINY

SMALL = ["train=8", "val=4", "test=1", "seed=5"]


@pytest.fixture
def copy_of_mini(mini_muses, tmp_path):
    """A set of one's own to damage."""
    root = tmp_path / "set"
    shutil.copytree(mini_muses, root)
    return root


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def test_make_writes_the_same_bytes_and_says_synthetic(mmablate, mini_muses, tmp_path):
    done = mmablate("data", "make", "muses", "made", *SMALL)
    assert done.code == 0, done.err
    assert "synthetic" in done.err
    files = {path.relative_to(mini_muses): path.read_bytes() for path in mini_muses.rglob("*") if path.is_file()}
    made = tmp_path / "made"
    assert files == {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    card = json.loads(mmablate("data", "info", "muses", "made", "--format", "json").out)
    assert card["synthetic"] is True
    assert (card["n_train"], card["n_val"], card["n_test"]) == (8, 4, 8)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["landsat", "x"], "no generator of that name (there are: muses, rgb_lidar, ravdess, vggsound, cremad, "),
        (["muses", "x", "train=0"], "train: should be greater than or equal to 1, got 0"),
        (["muses", "x", "trian=3"], "unknown option trian (there are: train, val, test, size, seed)"),
        (["muses", "x", "train"], "options are KEY=VALUE, got 'train'"),
    ],
)
def test_make_tells_what_is_wrong(mmablate, tmp_path, arguments, text):
    done = mmablate("data", "make", *arguments)
    assert done.code == 2
    assert text in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "x").exists()


def test_check_names_each_planted_fault(mmablate, copy_of_mini):
    root = copy_of_mini
    done = mmablate("data", "check", "muses", root)
    assert done.code == 0, done.err
    assert "no faults found (8 train, 4 validation, 8 test samples of 108 x 192)" in done.out
    missing = first(root, "lidar/train/*/*/*.bin")
    missing.unlink()
    cut = first(root, "lidar/val/*/*/*.bin")
    cut.write_bytes(cut.read_bytes()[:-5])
    broken = first(root, "event_camera/val/*/*/*.h5")
    broken.write_bytes(b"no hdf5")
    calibration = json.loads((root / "calib.json").read_text())
    del calibration["extrinsics"]["lidar2rgb"]
    (root / "calib.json").write_text(json.dumps(calibration))
    done = mmablate("data", "check", "muses", root)
    assert done.code == 2
    for name in (missing.name, cut.name, broken.name, "lidar2rgb"):
        assert name in done.err
    assert "Traceback" not in done.err


def test_training_refuses_a_faulty_scene_or_drops_it_with_a_count(mmablate, copy_of_mini):
    first(copy_of_mini, "lidar/train/*/*/*.bin").unlink()
    common = ["muses_losses", *TINY, "--data-root", copy_of_mini, "--only", "sup", "-q"]
    refused = mmablate("ablate", *common)
    assert refused.code == 2
    assert ".bin" in refused.err
    dropped = mmablate("ablate", *common, "data.on_fault=drop", "--format", "json")
    assert dropped.code == 0, dropped.err
    table = json.loads(dropped.out)
    assert table["dataset"]["n_train"] == 7
    assert any("1 of 20 scenes was dropped" in note for note in table["notes"])
    assert table["dataset"]["synthetic"] is True


def test_without_test_labels_the_last_epoch_is_scored_on_validation(mmablate, copy_of_mini):
    shutil.rmtree(copy_of_mini / "gt_semantic" / "test")
    done = mmablate("ablate", "muses_losses", *TINY, "--data-root", copy_of_mini, "--only", "sup", "-q",
                    "--format", "json")  # fmt: skip
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert table["dataset"]["n_test"] == 0
    assert any("last epoch" in note and "validation" in note for note in table["notes"])


def test_data_are_generated_once_and_every_form_of_the_table_says_synthetic(mmablate, tmp_path):
    options = ["data.generate={train: 4, val: 2, test: 1}", "--only", "sup", *TINY]
    command = ["ablate", "muses_losses", *options]
    done = mmablate(*command, MMABLATE_CACHE=str(tmp_path / "cache"))
    assert done.code == 0, done.err
    assert "making synthetic muses data once" in done.err
    assert "SYNTHETIC" in done.out
    assert len(list((tmp_path / "cache" / "generated").glob("muses-*/SYNTHETIC.json"))) == 1
    again = mmablate(*command, MMABLATE_CACHE=str(tmp_path / "cache"))
    assert "making" not in again.err
    assert again.out == done.out
    for view in ([], ["--condition", "night"], ["--subset", "F"]):
        for fmt in ("terminal", "html", "markdown", "csv", "json"):
            shown = mmablate("table", "results/muses_losses", "--format", fmt, *view)
            assert shown.code == 0, shown.err
            assert "synthetic" in shown.out.lower(), (view, fmt)
    page = (tmp_path / "results" / "muses_losses" / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert "night" in page


def test_mit_b0_trains_at_192_by_108(mmablate, mini_muses):
    """The published model for one step: 8 scenes in one batch, cut into parts of two."""
    done = mmablate(
        "train", "muses_losses", "--profile", "full", "--data-root", mini_muses, "--row", "sup+mad+umd+cmd",
        "data.size=null", "train.epochs=1", "train.batch_size=8", "train.accumulate=4", "--format", "json", "-q",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["n_parameters"] == 6_091_123
    assert record["steps"] == 1
    assert record["status"] == "ok"
    assert set(record["metrics"]) == {"F", "E", "L", "FE", "FL", "EL", "FEL", "Mean"}
    assert set(record["conditions"]) == {"clear", "fog", "rain", "snow", "day", "night"}


def test_sweep_without_a_recipe_is_of_muses_losses(mmablate, mini_muses):
    for name in ("beta", "lambda", "alpha"):
        done = mmablate("sweep", "--param", name, "--data-root", mini_muses, "-n", "--format", "json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["study"] == f"muses_losses_{name}"
