"""Claims and labels of rows, columns and factors that the table of a recipe will not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from mmablate.claims import Trend, among, is_about, parse_claim, rows_of
from mmablate.recipe import Recipe, subset_names
from mmablate.recipe.programs import ProgramRecipe
from mmablate.study.columns import accuracy_columns
from mmablate.study.volume_columns import dice_columns


class _Named(Protocol):
    """What a row is called, and the levels of its factors."""

    @property
    def name(self) -> str: ...
    @property
    def levels(self) -> Mapping[str, str]: ...


def claims_about_nothing(
    recipe: Recipe | ProgramRecipe, rows: Sequence[_Named], columns: set[str], *, reference: bool
) -> Iterator[str]:
    """Claims that name a row, column or factor which no table of the recipe will have: `check` could not decide them.

    Args:
        columns: of the table.
        reference: it has the teacher's row.

    A claim about one of the recipe's sweeps is not looked into: which values that takes is not known here.
    """
    names = {row.name for row in rows} | ({"teacher"} if reference else set())
    factors = {factor for row in rows for factor in row.levels}
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


def labels_of_nothing(recipe: Recipe | ProgramRecipe, rows: Sequence[_Named], columns: set[str]) -> Iterator[str]:
    """Labels of the report that no row and no column has."""
    known = {row.name for row in rows} | columns
    for name in recipe.report.labels:
        if name not in known:
            yield f"report.labels: {name!r} is no row and no column"


def sweeps_of_nothing(recipe: Recipe, rows: Sequence[_Named]) -> Iterator[str]:
    """Parameters that are to be varied in a row that there is not."""
    known = {row.name for row in rows}
    for name, parameter in recipe.sweep.items():
        if parameter.row is not None and parameter.row not in known:
            yield f"sweep.{name}.row: there is no {_lacking('row', parameter.row, known)}"


def columns_of(recipe: Recipe) -> set[str]:
    if recipe.evaluate.metric == "accuracy":
        return set(accuracy_columns(recipe))
    if recipe.evaluate.metric == "dice":
        return set(dice_columns(recipe))
    return {*subset_names(list(recipe.data.modalities or ())), "Mean"}
