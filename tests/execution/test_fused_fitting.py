"""What only the data can tell of a recipe whose models fuse modalities, told before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmablate.data.summary import summarise
from mmablate.errors import RecipeError
from mmablate.execution.fitting import MOST_CLASSES, check_sizes
from mmablate.execution.local import run_study
from mmablate.execution.options import Options
from mmablate.metrics import information
from mmablate.study import Study, open_study
from mmablate.study.datasets import dataset_settings, open_dataset

ARRAYS: dict[str, Any] = {
    "name": "many",
    "data": {"name": "arrays", "modalities": {"a": "a.npy", "b": "b.npy"}, "labels": "y.csv",
             "fractions": [0.5, 0.25, 0.25]},
    "model": {"name": "fusion_classifier", "encoder": {"kind": "linear", "dim": 4}},
    "method": "dgl",
    "train": {"epochs": 1, "batch_size": 16, "holdout": 0.2},
    "losses": {"sup": {}, "uni": {}, "unique": {}},
    "seeds": [0],
}  # fmt: skip


def study_of(folder: Path, n_classes: int, *overrides: str) -> tuple[Study, Any]:
    """A study of two modalities of so many classes, and its data."""
    stream = np.random.default_rng(0)
    labels = np.repeat(np.arange(n_classes), 4)
    for name, width in (("a", 6), ("b", 3)):
        np.save(folder / f"{name}.npy", stream.normal(size=(len(labels), width)))
    (folder / "y.csv").write_text("label\n" + "".join(f"c{label:03d}\n" for label in labels))
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(ARRAYS, sort_keys=False))
    study = open_study(str(path), overrides=list(overrides), data_root=str(folder))
    assert isinstance(study, Study)
    return study, open_dataset(dataset_settings(study.recipe), str(folder))


def told(study: Study, data: Any) -> list[str]:
    with pytest.raises(RecipeError) as error:
        check_sizes(study, summarise(data))
    return list(error.value.problems)


DGL = "rows=[{name: dgl, losses: [sup, uni]}]"
UNIQUE = "losses.unique: the term unique takes at most 44 classes, got the 45 of arrays"
INFORMATION = "evaluate.also: information takes at most 44 classes, got the 45 of arrays"


def test_the_bound_is_that_of_the_decomposition():
    """K (A + B) equations, with as many predictions as classes."""
    assert 2 * MOST_CLASSES**2 <= information._LARGEST < 2 * (MOST_CLASSES + 1) ** 2


@pytest.mark.parametrize(
    ("n_classes", "overrides", "problems"),
    [
        (45, [], [UNIQUE]),
        (45, ["evaluate.also=[information]"], [INFORMATION, UNIQUE]),
        (45, [DGL, "evaluate.also=[information]"], [INFORMATION]),
        (45, [DGL], []),
        (45, ["losses.unique.weight=0"], []),
        (44, ["evaluate.also=[information]"], []),
    ],
)
def test_many_classes(tmp_path, n_classes, overrides, problems):
    study, data = study_of(tmp_path, n_classes, *overrides)
    if problems:
        assert told(study, data) == problems
    else:
        check_sizes(study, summarise(data))


def test_nothing_is_written_for_a_recipe_that_does_not_fit(tmp_path):
    study, data = study_of(tmp_path, 45)
    with pytest.raises(RecipeError, match="at most 44 classes"):
        run_study(study, study.runs, Options(tmp_path / "out", "cpu", 1, quiet=True), data, str(tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("match", ["{fusion: sum, hidden: 60}", "{hidden: 8}", "{hidden: 3000}"])
def test_a_number_of_parameters_that_a_hidden_width_reaches(tmp_path, match):
    study, data = study_of(tmp_path, 4, DGL, f"model.match={match}", "model.hidden=2")
    check_sizes(study, summarise(data))


def test_a_number_of_parameters_that_no_hidden_width_reaches(tmp_path):
    study, data = study_of(tmp_path, 4, DGL, "model.hidden=1", "model.fusion=late", "model.match={fusion: concat}")
    encoders = (6 * 4 + 4) + (3 * 4 + 4)
    own, wanted = encoders + 2 * (4 + 1 + 4 + 4), encoders + 8 + 1 + 4 + 4
    assert told(study, data) == [
        f"model.match: a hidden width of fusion late makes its {own} parameters the {wanted} of {{'fusion': 'concat'}} "
        "within 2%; none does"
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.holdout=0.999", "train.holdout: leaves some of the 8 training samples on both sides, got 0.999"),
        ("train.holdout=0.001", "train.holdout: at least two training samples held out, got 0.001, that is 0 of 8"),
        (
            "train.pictures={modalities: [b, a]}",
            "train.pictures.modalities: pictures, (channels, height, width) or clips of them, got b of shape (3,), a "
            "of shape (6,)",
        ),
    ],
)
def test_samples_and_shapes(tmp_path, override, problem):
    study, data = study_of(tmp_path, 4, override)
    assert told(study, data) == [problem]
