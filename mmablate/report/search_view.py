"""What a search has come to, in a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mmablate.analysis.table import Table
from mmablate.report import labels, marks, numbers
from mmablate.report.wrapping import wrap


def closing_lines(table: Table, check: Table | None, width: int) -> list[str]:
    """The chosen row, its objective, and its Δ to the baseline on fresh seeds, honestly.

    Args:
        table: of the search.
        check: of the chosen row and the baseline on fresh seeds, where that was made.
        width: in columns.
    """
    return ["", *(line for text in _texts(table, check) for line in wrap(text, width))]


def _texts(table: Table, check: Table | None) -> Iterator[str]:
    search = table.search
    if search is None:
        return
    if search.chosen is None or search.chosen_objective is None:
        yield "The search has no complete trial: nothing is chosen."
        return
    n, sign = table.n_decimals, table.decimal
    what = "mean" if search.objective == "mean" else f"{numbers.percent(search.confidence, sign)} confidence bound"
    base = search.baseline_objective
    against = f", baseline {numbers.fixed(base, n, sign)}" if base is not None else ""
    yield (
        f"Chosen: {search.chosen}, by the {what} of the validation {search.column}: "
        f"{numbers.fixed(search.chosen_objective, n, sign)}{against}"
    )
    if base is not None and (base >= search.chosen_objective) == (search.direction == "max"):
        yield "No trial is better than the baseline on validation."
    if check is not None:
        yield from _fresh(search.chosen, check, optimistic=search.optimistic)


def _fresh(chosen: str, check: Table, *, optimistic: bool) -> Iterator[str]:
    """The chosen row's Δ in the table of the check."""
    row = next((row for row in check.rows if row.name == chosen), None)
    column = marks.summary_column(check)
    if row is None or column is None:
        yield f"On fresh seeds {chosen} has no score."
        return
    cell = marks.cell(row, column)
    if not numbers.is_number(cell.delta):
        yield f"On fresh seeds {chosen} has no Δ to the baseline."
        return
    n, sign = check.n_decimals, check.decimal
    ends = f" {numbers.interval(cell.ci, n, sign)}" if cell.ci is not None else ""
    p = f", {numbers.p_value(cell.p, sign)}" if numbers.is_number(cell.p) else ""
    verdict = "significant" if cell.significant else "not significant" if numbers.is_number(cell.p) else "no test"
    split = "validation (the data have no test labels)" if optimistic else "test"
    yield (
        f"On fresh seeds ({', '.join(cell.values)}), {split}: Δ {labels.plain(marks.column_label(check, column))} "
        f"{numbers.signed(cell.delta, n, sign)}{ends}{p}: {verdict}"
    )
    if optimistic:
        yield "The row was chosen on that same split, so this Δ is optimistic."
