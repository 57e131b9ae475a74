"""All warnings of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from mmablate.catalog import find
from mmablate.recipe import Recipe
from mmablate.study.datasets import data_settings, shown_settings
from mmablate.study.linting.claims import claims_about_nothing, columns_of, labels_of_nothing, sweeps_of_nothing
from mmablate.study.linting.leaks import selection_on_the_test_split, teacher_of_other_data, teacher_of_other_samples
from mmablate.study.linting.mixing import changing_more, mixed_levels, options_left_behind
from mmablate.study.linting.sharing import Texts, grouped
from mmablate.study.linting.sizes import unequal_parameters, unequal_steps
from mmablate.study.plan import Row
from mmablate.study.reading import modalities_read, restricted
from mmablate.study.rows import listed

SHOWN = 5  # warnings of one kind


def lint(recipe: Recipe, rows: Sequence[Row], baseline: Mapping[str, str], *, swept: bool) -> list[str]:
    """One line a warning; under --strict they are errors.

    Args:
        recipe: of the study.
        rows: of the study.
        baseline: row name -> name of its baseline row.
        swept: the rows were made by a sweep; the recipe's claims are then about other rows.
    """
    texts = Texts()
    kinds = [
        _same_settings(rows, texts),
        _other_samples(rows, baseline, texts),
        unequal_steps(rows),
        unequal_parameters(rows, baseline, texts),
        changing_more(rows, baseline, texts),
        mixed_levels(recipe, rows),
        options_left_behind(recipe, rows),
        teacher_of_other_samples(recipe, rows, texts),
        teacher_of_other_data(recipe),
        selection_on_the_test_split(rows),
    ]
    columns, reference = columns_of(recipe), bool(recipe.teacher and recipe.teacher.row)
    about = [] if swept else list(claims_about_nothing(recipe, rows, columns, reference=reference))
    about += [] if swept else [*labels_of_nothing(recipe, rows, columns), *sweeps_of_nothing(recipe, rows)]
    return [*about, *chain.from_iterable(map(_some, kinds))]


def _some(warnings: Iterator[str]) -> list[str]:
    """Those of one kind; of very many, the first."""
    told = list(warnings)
    more = len(told) - SHOWN
    return told if more <= 1 else [*told[:SHOWN], f"... and {more} more warnings like the last"]


def _same_settings(rows: Sequence[Row], texts: Texts) -> Iterator[str]:
    for names in grouped(rows, texts.settings).values():
        if len(names) > 1:
            yield f"the rows {listed(names, 4)} resolve to the same settings: their Δ is 0 by design"


def _other_samples(rows: Sequence[Row], baseline: Mapping[str, str], texts: Texts) -> Iterator[str]:
    """Rows that read the data otherwise than their baseline, as far as their students see them."""
    by_name = {row.name: row for row in rows}

    def read(row: Row) -> str:
        data = row.sections.data
        if find("dataset", data.name).hides:
            return json.dumps(shown_settings(data), sort_keys=True)
        if modalities_read(data, row.sections.model) is None:
            return texts.of(data)
        return json.dumps(restricted(data_settings(data), modalities_read(data, row.sections.model)), sort_keys=True)

    if any(row.sections.data is not (base := by_name[baseline[row.name]]).sections.data and read(row) != read(base)
           for row in rows):  # fmt: skip
        yield "rows read the data with different options: they may be trained and scored on other samples"
