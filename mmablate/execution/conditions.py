"""What the scores of a study can be told apart by: conditions of the samples, or subsets of the modalities."""

from __future__ import annotations

from mmablate.data.base import AnyData, VolumeData, conditions_of
from mmablate.recipe import Recipe
from mmablate.study.volume_columns import SUBSETS, UNSEEN, evaluated_subsets, groups_of_subsets, patterns


def axes_of(data: AnyData, recipe: Recipe) -> dict[str, list[str]]:
    """Axis -> the values that a table can be asked for."""
    if not isinstance(data, VolumeData):
        return conditions_of(data.splits[data.scored_split])
    subsets = evaluated_subsets(list(data.modalities), recipe.evaluate.subsets)
    groups = subset_groups(data, recipe)
    return {SUBSETS: [*subsets, *(name for name, some in groups.items() if some and name not in subsets)]}


def subset_groups(data: VolumeData, recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Group -> names of its subsets, of those that the recipe evaluates."""
    names = list(data.modalities)
    subsets = evaluated_subsets(names, recipe.evaluate.subsets)
    return groups_of_subsets(subsets, names, patterns(names, data.splits["train"].presence))


def notes_of(data: AnyData, recipe: Recipe) -> list[str]:
    """What training subjects have of the modalities, and which subsets are unseen where a table tells them apart."""
    if not isinstance(data, VolumeData):
        return []
    presence = data.splits["train"].presence
    told = [f"{int(own)} {name}" for name, own in zip(data.modalities, presence.sum(axis=0), strict=True)]
    source = recipe.data.options.get("masks")
    by = f"by the recipe's mask list {source}" if source else "without a mask list"
    notes = [f"Of {len(presence)} training subjects {', '.join(told)} are given, {by}."]
    if UNSEEN in recipe.evaluate.apart and (unseen := subset_groups(data, recipe)[UNSEEN]):
        text = f"Unseen are the subsets that no training subject has in the recipe's mask list: {', '.join(unseen)}."
        notes.append(text)
    return notes
