"""`mmablate saliency`: what joint trainings have left, and trained pairs measured anew."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mmablate.cli.app import app

RUNNER = CliRunner()
FEW = ["train.steps=60", "focus.permutations=5", "data.n_val=60", "data.n_test=60"]


@pytest.fixture(scope="module")
def focus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with joint trainings: one gamma, two seeds."""
    out = tmp_path_factory.mktemp("focus")
    run("ablate", "gauss_focus", *FEW, "--only", "0.50+*", "--seeds", "0,1", "--out", str(out), "-q")
    return out / "gauss_focus"


def run(*words: str, code: int = 0):
    result = RUNNER.invoke(app, list(words), env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result


def channels(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_what_the_joint_trainings_left(focus: Path, tmp_path: Path) -> None:
    rows = channels(run("saliency", str(focus), "--format", "csv", "-o", str(tmp_path)).stdout)
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert len(rows) == 2 * 50
    assert {row["channel"] for row in rows if row["general"] == "1"} == {str(channel) for channel in range(10)}
    assert all(row["synthetic"] == "true" for row in rows)
    assert (tmp_path / "saliency.csv").read_text() == run(
        "saliency", str(focus), "--format", "csv", "-o", str(tmp_path)
    ).stdout
    assert len(list(tmp_path.glob("*.svg"))) == 1
    assert "SYNTHETIC DATA" in run("saliency", str(focus), "-o", str(tmp_path)).stdout


def test_measured_anew_as_at_training_it_is_the_same(focus: Path, tmp_path: Path) -> None:
    """The options are the recipe's where the command has none; the permutations have streams of their own."""
    stored = channels(run("saliency", str(focus), "--format", "csv", "-o", str(tmp_path)).stdout)
    again = channels(run("saliency", str(focus), "--place", "input", "--format", "csv", "-o", str(tmp_path)).stdout)
    for old, new in zip(stored, again, strict=True):
        assert (old["seed"], old["channel"], old["general"]) == (new["seed"], new["channel"], new["general"])
        assert float(old["score"]) == pytest.approx(float(new["score"]), rel=1e-5, abs=1e-8)
    other = channels(run("saliency", str(focus), "--distance", "l1", "--format", "csv", "-o", str(tmp_path)).stdout)
    assert [row["score"] for row in other] != [row["score"] for row in again]


def test_one_run_by_its_folder(focus: Path, tmp_path: Path) -> None:
    plan = json.loads((focus / "study.json").read_text())["plan"]
    pair = next(entry["run_id"] for entry in plan if entry["role"] == "pair" and entry["seed"] == 1)
    rows = channels(run("saliency", str(focus / "runs" / pair), "--format", "csv", "-o", str(tmp_path)).stdout)
    assert {row["seed"] for row in rows} == {"1"}


def test_students_and_their_teachers_are_pairs_too(tmp_path: Path) -> None:
    run("ablate", "gauss_gamma", "train.steps=60", "--only", "1+*", "--seeds", "0", "checkpoints=all",
        "--out", str(tmp_path), "-q")  # fmt: skip
    study = tmp_path / "gauss_gamma"
    assert "--place" in run("saliency", str(study), code=2).stderr
    words = ("--place", "input", "--permutations", "3", "--format", "csv", "-o", str(tmp_path / "figures"))
    rows = channels(run("saliency", str(study), *words).stdout)
    assert len(rows) == 25
    assert {row["general"] for row in rows} == {"0", "1"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--place", "conv9"], "--place conv9: the teacher has the places input"),
        (["--place", "logits"], "--place logits"),
        (["--permutations", "0"], "permutations"),
    ],
)
def test_what_cannot_be_is_told(focus: Path, words: list[str], told: str) -> None:
    result = run("saliency", str(focus), *words, code=2)
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_no_study_and_no_saliency(tmp_path: Path) -> None:
    assert "neither a study" in run("saliency", str(tmp_path), code=2).stderr
    run("ablate", "gauss_gamma", "train.steps=5", "--only", "1+no_kd", "--seeds", "0", "--out", str(tmp_path), "-q")
    study = tmp_path / "gauss_gamma"
    assert "no run has looked" in run("saliency", str(study), code=2).stderr
    assert "no pair of teacher and student" in run("saliency", str(study), "--place", "input", code=2).stderr


def test_damaged_weights_are_named(focus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "gauss_focus"
    plan = json.loads((focus / "study.json").read_text())["plan"]
    pair = next(entry["run_id"] for entry in plan if entry["role"] == "pair")
    for file in ("study.json", *(f"runs/{pair}/{name}" for name in ("record.json", "config.json"))):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        (copy / file).write_bytes((focus / file).read_bytes())
    weights = copy / "runs" / pair / "checkpoint.safetensors"
    weights.write_bytes(b"no weights")
    result = run("saliency", str(copy), "--place", "input", code=2)
    assert str(weights.name) in result.stderr
    assert "Traceback" not in result.stderr
    torch.save({"x": 1}, weights)
    assert run("saliency", str(copy), "--place", "input", code=2).stderr
