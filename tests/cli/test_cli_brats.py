"""`data make|check|info|prepare` of BraTS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmablate.cli.app import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats") / "mini"
    made = RUNNER.invoke(app, ["data", "make", "brats", str(root), "train=5", "val=1", "test=2", "size=24"])
    assert made.exit_code == 0, made.output
    return root


@pytest.mark.parametrize("form", [".", "raw"])
def test_check_reads_both_forms(mini: Path, form: str) -> None:
    told = RUNNER.invoke(app, ["data", "check", "brats", str(mini / form)])
    assert told.exit_code == 0, told.output
    assert "SYNTHETIC data, no faults found (5 train, 1 validation, 2 test subjects of at most 24 x" in told.output


def test_check_names_the_file_at_fault(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert RUNNER.invoke(app, ["data", "prepare", "brats", str(mini / "raw"), str(out)]).exit_code == 0
    path = sorted((out / "vol").glob("*.npy"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    told = RUNNER.invoke(app, ["data", "check", "brats", str(out)])
    assert told.exit_code == 2
    assert f"{path}: expected a .npy array" in told.output.replace("\n", "")


def test_info_counts_the_subjects_that_have_a_sequence(mini: Path) -> None:
    told = RUNNER.invoke(app, ["data", "info", "brats", str(mini), "--format", "json"])
    assert told.exit_code == 0, told.output
    card = json.loads(told.stdout)
    assert card["presence"]["test"] == dict.fromkeys(("flair", "t1ce", "t1", "t2"), 2)
    assert 5 <= sum(card["presence"]["train"].values()) < 20
    shown = RUNNER.invoke(app, ["data", "info", "brats", str(mini)]).output
    assert "24 x 24 x 24 voxels" in shown
    for name, number in card["presence"]["train"].items():
        assert any(name in line and f" {number} " in line for line in shown.splitlines())


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    told = RUNNER.invoke(app, ["data", "prepare", "landsat", str(tmp_path), str(tmp_path / "out")])
    assert told.exit_code == 2
    assert "nothing to prepare of that name (there are: brats)" in told.output
