"""The columns of tables of classification."""

from __future__ import annotations

from typing import Any

from mmablate.catalog import find
from mmablate.recipe import Recipe
from mmablate.recipe.schema import RowSpec

ACCURACY, TEACHER, TAG = "Acc", "Teacher", "Tag"


def accuracy_columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Column -> what it measures: the student's accuracy, and what describes its teacher beside it."""
    column = {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False}
    info = {ACCURACY: column}
    if recipe.teacher is not None:
        info[TEACHER] = {**column, "reference": True}
    if recipe.teacher is not None and tags_known(recipe):
        info[TAG] = {**column, "metric": "tag accuracy", "reference": True}
    return info


def tags_known(recipe: Recipe) -> bool:
    """Whether the channels that a focus finds can be held against the truth."""
    rows = recipe.rows if isinstance(recipe.rows, list) else []
    levels = [level for some in recipe.factors.values() for level in some.values()]
    overrides = [*levels, *(row.overrides for row in rows if isinstance(row, RowSpec))]
    focused = recipe.focus is not None or any(key.partition(".")[0] == "focus" for some in overrides for key in some)
    return focused and find("dataset", recipe.data.name).known_general
