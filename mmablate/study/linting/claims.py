"""Claims and labels of rows, columns and factors that the table of a recipe will not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from mmablate.claims import Trend, among, is_about, parse_claim, rows_of
from mmablate.recipe import Recipe, subset_names
from mmablate.study.plan import Row


def claims_about_nothing(recipe: Recipe, rows: Sequence[Row]) -> Iterator[str]:
    """Claims that name a row, column or factor which no table of the recipe will have: `check` could not decide them.

    A claim about one of the recipe's sweeps is not looked into: which values that takes is not known here.
    """
    names = {row.name for row in rows} | ({"teacher"} if recipe.teacher and recipe.teacher.row else set())
    factors = {factor for row in rows for factor in row.levels}
    columns = _columns(recipe)
    for text in recipe.claims:
        claim = among(parse_claim(text), names)
        if not is_about(claim, rows=names, factors=factors, sweeps=recipe.sweep, swept=False):
            continue
        lacking = [_lacking("row", name, names) for name in rows_of(claim) if name not in names]
        if isinstance(claim, Trend) and claim.factor not in factors:
            lacking.append(_lacking("factor", claim.factor, factors | set(recipe.sweep)))
        if claim.quantity.column not in columns:
            lacking.append(_lacking("column", claim.quantity.column, columns))
        if lacking:
            yield f"the claim {text!r} cannot be checked: the table has no {' and no '.join(lacking)}"


def _lacking(kind: str, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{kind} {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def labels_of_nothing(recipe: Recipe, rows: Sequence[Row]) -> Iterator[str]:
    """Names of `report.labels` that nothing has."""
    known = {row.name for row in rows} | _columns(recipe)
    for name in recipe.report.labels:
        if name not in known:
            yield f"report.labels: {name!r} is no row and no column"


def _columns(recipe: Recipe) -> set[str]:
    return {*subset_names(list(recipe.data.modalities or ())), "Mean"}
