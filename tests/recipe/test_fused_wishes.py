"""What a recipe asks of models that fuse modalities, or of others, in vain is told before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from recipe_samples import SOUND, write

from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe
from mmablate.recipe.checking import _COLUMNS
from mmablate.study.columns import accuracy_columns

FUSED: dict[str, Any] = {
    "name": "fused",
    "data": {"name": "arrays", "modalities": {"a": "a.npy", "b": "b.npy"}, "labels": "labels.npy"},
    "model": {"name": "fusion_classifier", "encoder": {"kind": "linear", "dim": 4}},
    "method": "dgl",
    "losses": {"sup": {"weight": 1}, "uni": {"weight": 1}},
    "rows": [["sup", "uni"]],
    "baseline": "sup+uni",
}
ONE = {
    "model": {"name": "linear", "modality": "a"},
    "method": "crossmodal",
    "losses": {"sup": {"weight": 1}},
    "rows": [["sup"]],
    "baseline": "sup",
}
THREE = {name: f"{name}.npy" for name in "abc"}


def load(folder: Path, changes: dict[str, Any], *overrides: str) -> Any:
    (folder / "fused.yaml").write_text(yaml.safe_dump({**FUSED, **changes}))
    return load_recipe(str(folder / "fused.yaml"), overrides=list(overrides))


@pytest.mark.parametrize(
    ("changes", "overrides", "text"),
    [
        ({}, ["model.modalities=[a]", "pretrain={}"], r"pretrain.*pairs of modalities.* sees \['a'\]"),
        ({"method": "ogm_ge", "rows": [["sup"]], "baseline": "sup"}, ["model.modalities=[a]"], r"ogm_ge.*\['a'\]"),
        (
            {
                "losses": {**FUSED["losses"], "unique": {"weight": 1}},
                "rows": [["sup", "unique"]],
                "baseline": "sup+unique",
            },
            ["train.holdout=0.2", "train.steps=9"],
            "losses.unique: how weak a modality is.* give train.epochs, got train.steps 9",
        ),
        ({}, ["data.modalities={Acc: a.npy, F1: b.npy}"], r"data.modalities.*got \['Acc', 'F1'\]"),
        ({"data": {**FUSED["data"], "modalities": THREE}}, ["evaluate.also=[information]"], "that of two modalities"),
        (ONE, ["evaluate.also=[probes]"], r"evaluate.also: of a model that fuses modalities, got \['probes'\]"),
        (ONE, ["train.pictures={modalities: [z]}"], r"train.pictures.modalities.*got z"),
    ],
)
def test_vain_wishes_are_told(tmp_path: Path, changes: dict[str, Any], overrides: list[str], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        load(tmp_path, changes, *overrides)


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({}, ["model.modalities=[a]", "model.encoders={b: {kind: linear, dim: 3}}"]),  # its encoder is not missed
        ({}, ["model.modalities=[a]", "pretrain={then: none}"]),
        ({}, ["data.modalities={R: a.npy, S: b.npy}"]),  # no information, no columns of that name
        ({"data": {**FUSED["data"], "modalities": THREE}}, []),
        (ONE, ["train.holdout=0.2"]),
    ],
)
def test_what_is_heeded_passes(tmp_path: Path, changes: dict[str, Any], overrides: list[str]) -> None:
    load(tmp_path, changes, *overrides)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("train.holdout=0.2", "train.holdout: for samples with one label each"),
        ("train.pictures={modalities: [R]}", "train.pictures: for samples with one label each"),
        ("train.encoder_lr=4", "train.encoder_lr: of a model with encoders"),
        ("pretrain={}", "pretrain: pairs of modalities"),
        ("evaluate.also=[probes]", "evaluate.also: of a model that fuses modalities"),
    ],
)
def test_segmentation_has_none_of_it(tmp_path: Path, override: str, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        load_recipe(str(write(tmp_path, SOUND)), overrides=[override])


@pytest.mark.parametrize("kind", sorted(_COLUMNS))
def test_the_columns_are_those_of_the_table(tmp_path: Path, kind: str) -> None:
    columns = accuracy_columns(load(tmp_path, {}, f"evaluate.also=[{kind}]"))
    assert [name for name in columns if name not in ("Acc", "U a", "U b")] == list(_COLUMNS[kind])


def test_what_is_better_in_neither_direction_is_judged_in_none(tmp_path: Path) -> None:
    """Better encoders lower the gain of fusing them; what is redundant is no fault, and no merit."""
    also = "[probes,own,gain,scores,information,gradients]"
    columns = accuracy_columns(load(tmp_path, {}, f"evaluate.also={also}"))
    described = [name for name, about in columns.items() if about.get("reference")]
    assert described == ["Gain", "U a", "U b", "R", "S", "Shrunk", "Skew"]
    assert [name for name, about in columns.items() if about["direction"] == "min"] == ["NLL", "ECE"]
