"""The columns of tables of 3D scans: Dice of the regions, their mean, and the surface distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.recipe import Recipe, subset_names
from mmablate.recipe.volumes import DICE, HD95, REGIONS, apart_column

SUBSETS = "modalities"
"""Axis of the subsets of modalities among the conditions that a table can be asked for."""

FULL, SINGLE, UNSEEN = "full", "single", "unseen"


def dice_columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Column -> what it measures: means over the subsets of modalities."""
    dice = {"metric": "Dice", "unit": "%", "direction": "max", "subset": False}
    info: dict[str, dict[str, Any]] = {name: dict(dice) for name in (*REGIONS, DICE)}
    info |= {apart_column(group): dict(dice) for group in recipe.evaluate.apart}
    if recipe.evaluate.hd95:
        info[HD95] = {"metric": "HD95", "unit": "mm", "direction": "min", "subset": False}
    return info


_GIVEN = {
    FULL: "with all modalities",
    SINGLE: "over the single modalities",
    UNSEEN: "over the subsets that are no training subject's in the mask list (dynamic masks may draw them)",
}


def volume_caption(recipe: Recipe, split: str) -> str:
    """What the columns are."""
    names = list(recipe.data.modalities or ())
    count = len(subset_names(names)) if recipe.evaluate.subsets == "all" else len(recipe.evaluate.subsets)
    over = f"and then over {count} subsets of {', '.join(names)}" if count > 1 else "from one subset of the modalities"
    text = _regions(recipe, split, f"mean over the subjects {over}")
    text += "".join(f"; {apart_column(group)}: {DICE} {_GIVEN[group]}" for group in recipe.evaluate.apart)
    return text + _surface(recipe)


def given_layout(recipe: Recipe, split: str, against: str) -> dict[str, Any]:
    """What tables of one subset of the modalities, or of one group of them, say in place of the study's.

    Args:
        against: the end of a caption, what Δ is.

    Returns:
        "groups": group -> what its scores are means over; "apart": columns that such tables do not have; "caption":
        with {given} where the subset or the group is to stand.
    """
    return {
        "groups": dict(_GIVEN),
        "apart": [apart_column(group) for group in recipe.evaluate.apart],
        "caption": recipe.caption or f"{_regions(recipe, split, '{given}')}{_surface(recipe)}. {against}",
    }


def _regions(recipe: Recipe, split: str, how: str) -> str:
    text = f"{', '.join(REGIONS)}: Dice in percent on the {split} split, {how}"
    return f"{text}; {DICE}: mean of the {len(REGIONS)} regions"


def _surface(recipe: Recipe) -> str:
    return f"; {HD95}: 95th percentile of the surface distance in mm" if recipe.evaluate.hd95 else ""


def evaluated_subsets(modalities: Sequence[str], wanted: Any) -> dict[str, tuple[str, ...]]:
    """Name -> modalities of the subsets that are evaluated.

    Args:
        wanted: "all", or the names of some (`evaluate.subsets`).
    """
    names = subset_names(list(modalities))
    return names if wanted == "all" else {name: names[name] for name in wanted}


def patterns(modalities: Sequence[str], presence: NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """The modalities that subjects have, each pattern once.

    Args:
        presence: (N, M), in the order of the modalities.
    """
    return [
        tuple(name for name, there in zip(modalities, row, strict=True) if there) for row in np.unique(presence, axis=0)
    ]


def groups_of_subsets(
    subsets: Mapping[str, Sequence[str]], modalities: Sequence[str], patterns: Sequence[Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Group -> names of its subsets, of those that are evaluated.

    Args:
        subsets: name -> modalities, that are evaluated.
        modalities: all names.
        patterns: the modalities that training subjects have, by the mask list.
    """
    seen = {frozenset(pattern) for pattern in patterns}
    return {
        FULL: tuple(name for name, some in subsets.items() if len(some) == len(modalities)),
        SINGLE: tuple(name for name, some in subsets.items() if len(some) == 1),
        UNSEEN: tuple(name for name, some in subsets.items() if frozenset(some) not in seen),
    }
