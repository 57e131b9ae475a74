"""What runs on 3D scans read of their recipe; the full profiles are the published settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmablate.data.brats.mini import make_brats
from mmablate.study import Study, open_study

RECIPES = ("brats_metadrop", "brats_components", "brats_meta_masks")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> str:
    root: Path = tmp_path_factory.mktemp("brats") / "mini"
    make_brats(root, train=12, val=1, test=1, size=16, raw=False)
    return str(root)


def settings_of(recipe: str, scans: str, *overrides: str) -> dict[str, Mapping[str, Any]]:
    """Row -> settings of its run of one seed, in the full profile."""
    study = open_study(recipe, profile="full", data_root=scans, overrides=list(overrides), seeds=[0])
    assert isinstance(study, Study)
    return {row: spec.settings for spec in study.runs for row in spec.rows}


def test_rows_inherit_how_the_balance_is_changed(scans: str) -> None:
    """Though the recipe's own β is fixed, and its runs do not read it."""
    plain = settings_of("brats_components", scans)
    found = settings_of("brats_components", scans, "method.balance_rate=0.05", "method.balance_high=3")
    assert found["balanced"]["method"]["balance_rate"] == 0.05
    assert found["balanced"]["method"]["balance_high"] == 3
    assert found["gated"] == plain["gated"]
    assert not any(key.startswith("balance_") for key in found["gated"]["method"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_full_profiles_train_as_published(recipe: str, scans: str) -> None:
    """What PASSION's public code does, as far as it concerns all rows."""
    for settings in settings_of(recipe, scans).values():
        train = settings["train"]
        assert [train[key] for key in ("optimizer", "amsgrad", "lr", "weight_decay")] == ["adamw", True, 2e-4, 1e-4]
        assert [train[key] for key in ("epochs", "batch_size", "schedule", "warmup")] == [300, 1, "poly", 0]
        assert [train[key] for key in ("clip", "select", "precision")] == [None, "last", "float32"]
        assert train["patches"] == {
            "size": [80, 80, 80], "rotate": 10, "intensity": 0.1, "intensity_per": "slice", "flip": True,
        }  # fmt: skip
        assert [settings["evaluate"][key] for key in ("window", "stride")] == [[80, 80, 80], 40]
        assert settings["model"]["widths"] == [8, 16, 32, 64]
        assert settings["model"]["stem_stride"] == 1
        weights = {loss["term"]: (loss["weight"], loss["definition"]) for loss in settings["losses"]}
        published = {"fuse": 1, "sep": 1, "prm": 1, "pixel": 0.5, "proto": 0.1}
        assert weights == {term: (published[term], "released") for term in weights}


def test_the_published_balance(scans: str) -> None:
    method = settings_of("brats_components", scans)["balanced"]["method"]
    assert method["rates"] is True
    assert [method[f"balance_{key}"] for key in ("rate", "low", "high", "raised")] == [0.01, 0.1, 4.0, [0, 100, 200]]


def test_rows_of_two_recipes_that_say_the_same_are_the_same_run(scans: str) -> None:
    """Meta-Drop with its own masks, and the row of equal cost, stand in both tables."""
    one, two = settings_of("brats_metadrop", scans), settings_of("brats_meta_masks", scans)
    assert one["utd+meta"] == two["same"]
    assert one["utd+matched"] == two["matched"]
