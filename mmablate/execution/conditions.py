"""What the scores of a study can be told apart by: conditions of the samples, or subsets of the modalities."""

from __future__ import annotations

import numpy as np

from mmablate.data.base import AnyData, VolumeData, conditions_of
from mmablate.recipe import Recipe, subset_names
from mmablate.study.volume_columns import SUBSETS, UNSEEN, groups_of_subsets


def axes_of(data: AnyData, recipe: Recipe) -> dict[str, list[str]]:
    """Axis -> the values that a table can be asked for."""
    if not isinstance(data, VolumeData):
        return conditions_of(data.splits[data.scored_split])
    subsets = evaluated_subsets(data, recipe)
    groups = groups_of_subsets(subsets, list(data.modalities), patterns(data))
    return {SUBSETS: [*subsets, *(name for name, some in groups.items() if some and name not in subsets)]}


def evaluated_subsets(data: VolumeData, recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Name -> modalities of the subsets that the recipe evaluates."""
    names = subset_names(list(data.modalities))
    wanted = recipe.evaluate.subsets
    return names if wanted == "all" else {name: names[name] for name in wanted}


def patterns(data: VolumeData) -> list[tuple[str, ...]]:
    """The modalities that training subjects have, each pattern once."""
    names = np.array(list(data.modalities))
    return [tuple(names[row].tolist()) for row in np.unique(data.splits["train"].presence, axis=0)]


def notes_of(data: AnyData, recipe: Recipe) -> list[str]:
    """Which subsets of the modalities are unseen, where a table tells their scores apart."""
    if not isinstance(data, VolumeData) or UNSEEN not in recipe.evaluate.apart:
        return []
    groups = groups_of_subsets(evaluated_subsets(data, recipe), list(data.modalities), patterns(data))
    told = ", ".join(groups[UNSEEN])
    return [f"Unseen are the subsets that no training subject has in the recipe's mask list: {told}."] if told else []
