"""All warnings of a study."""

from __future__ import annotations

from collections.abc import Sequence

from mmablate.recipe import Recipe
from mmablate.study.linting.claims import claims_about_nothing, labels_of_nothing
from mmablate.study.linting.sharing import Texts, grouped
from mmablate.study.plan import Row
from mmablate.study.rows import listed


def lint(recipe: Recipe, rows: Sequence[Row], *, swept: bool) -> list[str]:
    """One line a warning; under --strict they are errors.

    Args:
        recipe: of the study.
        rows: of the study.
        swept: the rows were made by a sweep; the recipe's claims are then about other rows.
    """
    texts = Texts()
    warnings = [] if swept else [*claims_about_nothing(recipe, rows), *labels_of_nothing(recipe, rows)]
    warnings += [
        f"the rows {listed(names, 4)} resolve to the same settings: their Δ is 0 by design"
        for names in grouped(rows, texts.settings).values()
        if len(names) > 1
    ]
    if len({texts.of(row.sections.data) for row in rows}) > 1:
        warnings.append("rows read the data with different options: they may be trained and scored on other samples")
    lengths = {row.sections.train.epochs for row in rows}
    if len(lengths) > 1:
        warnings.append(f"rows are trained for different numbers of epochs ({', '.join(map(str, sorted(lengths)))})")
    return warnings
