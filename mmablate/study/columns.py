"""The columns of tables of classification."""

from __future__ import annotations

from typing import Any

from mmablate.catalog import find
from mmablate.recipe import Recipe

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
    focused = recipe.focus is not None or any("focus" in str(key) for levels in recipe.factors.values() for some in
                                              levels.values() for key in some)  # fmt: skip
    return focused and find("dataset", recipe.data.name).known_general
