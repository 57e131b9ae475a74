"""What the number of classes and of training samples rules out is told before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mmablate.data.summary import summarise
from mmablate.errors import RecipeError
from mmablate.execution.fitting import MOST_CLASSES, check_sizes
from mmablate.metrics import decompose
from mmablate.study import Study, open_study
from mmablate.training.building import open_data

RECIPE = """
name: many
data: {name: arrays, modalities: {a: a.npy, b: b.npy}, labels: labels.npy}
model: {name: fusion_classifier, encoder: {kind: linear, dim: 4}}
method: dgl
train: {epochs: 1, holdout: 0.2}
losses: {sup: {weight: 1}, uni: {weight: 1}, unique: {weight: 1}}
rows: [[sup, uni], [sup, uni, unique]]
baseline: sup+uni
"""


def checked(folder: Path, classes: int, *overrides: str) -> None:
    labels = np.arange(10 * classes) % classes
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32))
    np.save(folder / "labels.npy", labels)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE)))
    study = open_study(str(folder / "recipe.yaml"), overrides=list(overrides), data_root=str(folder))
    assert isinstance(study, Study)
    check_sizes(study, summarise(open_data(study.runs[0].settings["data"], str(folder))))


def test_information_of_too_many_classes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"losses.unique: information of at most 44 classes.* the data have 45"):
        checked(tmp_path, MOST_CLASSES + 1)
    also = "evaluate.also=[information]"
    with pytest.raises(RecipeError, match=r"evaluate.also: information of at most 44 classes.* the data have 45"):
        checked(tmp_path, MOST_CLASSES + 1, "rows=[[sup,uni]]", also)
    checked(tmp_path, MOST_CLASSES + 1, "rows=[[sup,uni]]")
    checked(tmp_path, MOST_CLASSES, also)


def test_the_bound_is_that_of_the_decomposition() -> None:
    with pytest.raises(ValueError, match="too large"):
        decompose(np.ones((MOST_CLASSES + 1,) * 3))
    assert 2 * MOST_CLASSES**2 <= 4000


def test_too_few_samples_are_held_out(tmp_path: Path) -> None:
    text = r"train.holdout: at least two training samples held out, got 0.01, that is 0 of 18"
    with pytest.raises(RecipeError, match=text):
        checked(tmp_path, 3, "train.holdout=0.01")
    checked(tmp_path, 3, "train.holdout=0.2")
