"""What is seen of a study of 3D scans beside its table: card of the data, slices with predictions, ranked subjects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from project import ROOT
from typer.testing import CliRunner

from mmablate.cli.app import app
from mmablate.results.shown import PREDICTIONS, SAMPLES, read_samples
from mmablate.results.subject_scores import read_subject_scores

RUNNER = CliRunner()
SETTINGS = (
    "train.epochs=2", "evaluate.every=1", "evaluate.window=null", "evaluate.stride=null", "evaluate.hd95=false",
    "model.widths=[2,4]",     "train.patches={size: [16, 16, 16]}", "report.samples=1",
)  # fmt: skip


def run(*words: object, code: int = 0):
    result = RUNNER.invoke(app, [*map(str, words)], env={"COLUMNS": "80"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats") / "mini"
    run("data", "make", "brats", root, "train=5", "val=1", "test=2", "size=24", "raw=false")
    return root


@pytest.fixture(scope="module")
def study(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    run("ablate", ROOT / "recipes/brats_metadrop.yaml", "--data-root", mini, "--seeds", "0", "--only", "utd+single",
        *SETTINGS, "data.generate=null", "-j", "1", "--out", out)  # fmt: skip
    return out / "brats_metadrop"


def test_the_card_counts_voxels_and_masks(mini: Path) -> None:
    card = json.loads(run("data", "info", "brats", mini, "--format", "json").stdout)
    labels = [np.load(path) for path in sorted(mini.glob("seg/*.npy"))]
    every = np.bincount(np.concatenate([own.ravel() for own in labels]), minlength=4)
    assert (
        np.sum([card["class_voxels"][split] for split in ("train", "val", "test")], axis=0).tolist() == every.tolist()
    )
    assert card["subjects_counted"] == {"train": 5, "val": 1, "test": 2}
    assert sum(card["subsets"]["train"].values()) == 5
    assert card["subsets"]["test"]["flair+t1ce+t1+t2"] == 2
    seen = {name for name, n in card["subsets"]["train"].items() if n}
    assert len(seen) + len(card["unseen_subsets"]) == 15
    assert not seen & set(card["unseen_subsets"])
    assert card["regions"]["TC"] == ["NCR/NET", "ET"]
    shown = run("data", "info", "brats", mini).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert f"{len(seen)} of 15 subsets occur" in shown
    assert "brats (synthetic)" in shown


def test_the_page_shows_the_sequences_that_training_sees(mini: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run("data", "info", "brats", mini, "--html", page)
    text = page.read_text()
    articles = text.split('<article class="sample">')[1:]
    assert len(articles) == 3 + 1 + 2
    for article in articles:
        without = re.search(r"without ([^<]*)<", article)
        hidden = without[1].split(", ") if without else []
        assert article.count("<img") == 5 - len(hidden)
        assert re.search(r"slice \d+ of \d+", article)
    assert "no label" not in text
    assert "NCR/NET" in text
    assert str(mini) not in text


def test_a_study_keeps_slices_and_scores_of_its_subjects(study: Path) -> None:
    samples = read_samples(study)
    assert samples is not None
    assert samples.scans
    (folder,) = (study / "runs").iterdir()
    scores = read_subject_scores(folder)
    assert scores is not None
    assert len(scores.ids) == 2
    assert len(scores.subsets) == 15
    record = json.loads((folder / "record.json").read_text())
    means = scores.values.mean(axis=(1, 2))
    for name in ("WT", "TC", "ET", "Dice"):
        assert means[scores.columns.index(name)] == pytest.approx(record["metrics"][name])
    assert record["flops"] > 0
    page = (study / "index.html").read_text()
    assert "Predictions on single test scans" in page
    assert re.search(r"slice \d+ of \d+", page)
    assert "Dice of the whole scan" in page
    assert "validation Dice" in page
    assert "could not be read" not in page  # the baseline was not trained


def test_the_sheet_ranks_the_subjects(study: Path, tmp_path: Path) -> None:
    page = tmp_path / "sheet.html"
    run("view", study, "-o", page, "--no-fiftyone")
    text = page.read_text()
    assert "Worst and best scans of each row" in text
    assert "All 2 subjects" in text
    assert text.count("<details") == 1
    for path in (study / SAMPLES, next((study / "runs").iterdir()) / PREDICTIONS):
        path.rename(path.with_suffix(".away"))
    run("view", study, "-o", page, "--no-fiftyone")
    assert "All 2 subjects" in page.read_text()
    assert "<details" not in page.read_text()
    for path in study.rglob("*.away"):
        path.rename(path.with_suffix(".npz"))
