"""What has been seen before it is scored: by a teacher, or by the choice of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmablate.catalog import find
from mmablate.recipe import Recipe
from mmablate.recipe.schema import Data
from mmablate.study.linting.sharing import Texts
from mmablate.study.plan import Row
from mmablate.study.rows import listed


def teacher_of_other_samples(recipe: Recipe, rows: Sequence[Row], texts: Texts) -> Iterator[str]:
    """Rows that read the data otherwise than the recipe, under a checkpoint that was trained before.

    A teacher that is trained here reads what its row reads; one that a user brings may have been trained on what
    another division of the data scores.
    """
    if recipe.teacher is None or recipe.teacher.checkpoint is None:
        return
    own = texts.of(recipe.data)
    other = [row.name for row in rows if row.sections.data is not recipe.data and texts.of(row.sections.data) != own]
    if other:
        yield (
            f"the rows {listed(other, 4)} read the data with other options than the recipe, under the same "
            "teacher.checkpoint: it may have been trained on what they are scored on"
        )


def teacher_of_other_data(recipe: Recipe) -> Iterator[str]:
    """One teacher for all seeds, on data that every seed draws for itself."""
    if recipe.teacher is not None and recipe.teacher.seed != "paired" and find("dataset", recipe.data.name).seeded:
        yield (
            f"teacher.seed is {recipe.teacher.seed}, and every seed draws data of its own: of those of the others "
            "its teacher may know nothing"
        )


def selection_on_the_test_split(rows: Sequence[Row]) -> Iterator[str]:
    """Splits that are one and the same.

    Where the data have no test labels nothing is selected: the last epoch is scored, and a note of the table says so.
    So one way is left for a recipe to select on what it scores: to give two splits one content.
    """
    told: dict[str, None] = {}
    for data in {id(row.sections.data): row.sections.data for row in rows}.values():
        for text in _same_splits(data):
            told[text] = None
    yield from told


def _same_splits(data: Data) -> Iterator[str]:
    splits = data.options.get("splits")
    if not isinstance(splits, dict):
        return
    meant = {"train": "trained on", "val": "used to select the epoch"}
    for name, use in meant.items():
        for other in ("val", "test"):
            if name != other and splits.get(name) is not None and splits.get(name) == splits.get(other):
                yield (
                    f"data.splits: {name} and {other} are both {splits[name]!r}: "
                    f"what is {use} would be {'scored' if other == 'test' else 'used to select the epoch'}"
                )
