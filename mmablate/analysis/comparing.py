"""Two tables side by side: which Δ agree in sign, and which lie inside the other's interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.analysis.assembly import Draft, Rules, assemble
from mmablate.analysis.table import Cell, Table
from mmablate.errors import UsageError


@dataclass(frozen=True)
class Pair:
    """Δ of one row in one column, in both tables.

    Attributes:
        delta_a, delta_b: in the unit of the column.
        ci_a, ci_b: their intervals; None where a table has a single run.
        same_sign: None where a Δ is exactly zero.
        b_inside_a: whether Δ of B lies in the interval of A; None without one.
        a_inside_b: the other way round.
    """

    row: str
    column: str
    delta_a: float
    delta_b: float
    ci_a: tuple[float, float] | None = None
    ci_b: tuple[float, float] | None = None
    same_sign: bool | None = None
    b_inside_a: bool | None = None
    a_inside_b: bool | None = None


@dataclass(frozen=True)
class Compared:
    """Two tables, row by row.

    Attributes:
        a, b: titles.
        baselines: row -> the row that its Δ refers to, the same in both tables.
        notes: what could not be compared.
        synthetic: titles of those that were measured on synthetic data.
    """

    a: str
    b: str
    baselines: Mapping[str, str]
    pairs: tuple[Pair, ...]
    confidence: tuple[float, float]
    n_decimals: int
    notes: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()

    def summary(self) -> dict[str, dict[str, int]]:
        """Question -> how many cells say yes, of how many that can be asked."""
        questions = ("same_sign", "b_inside_a", "a_inside_b")
        answers = {q: [getattr(p, q) for p in self.pairs if getattr(p, q) is not None] for q in questions}
        return {q: {"yes": sum(some), "of": len(some)} for q, some in answers.items()}

    def to_json_dict(self) -> dict[str, Any]:
        """The comparison as JSON."""
        cells = [
            {**vars(p), "ci_a": list(p.ci_a) if p.ci_a else None, "ci_b": list(p.ci_b) if p.ci_b else None}
            for p in self.pairs
        ]
        return {
            "schema": 1, "a": self.a, "b": self.b, "baselines": dict(self.baselines), "cells": cells,
            "summary": self.summary(), "synthetic": list(self.synthetic), "notes": list(self.notes),
        }  # fmt: skip


def compare(a: Table, b: Table) -> Compared:
    """Compares the Δ of the rows and columns that two tables share, by name.

    Every Δ is taken to the same row in both: the row's baseline in `a` where `b` has that row, too, else in `b`,
    else the first row that they share.

    Raises:
        UsageError: they share no column, or fewer than two rows; or one is a table of effects.
    """
    for table in (a, b):
        if table.kind == "effects":
            raise UsageError(f"compare: {_title(table)} is a table of effects, whose rows are differences already")
    columns = [c for c in a.columns if c in b.columns]
    rows = [row.name for row in a.rows if any(other.name == row.name for other in b.rows)]
    if not columns or len(rows) < 2:
        lacking = "no column" if not columns else f"{'no' if not rows else 'only one'} row"
        raise UsageError(
            f"compare: {_title(a)} and {_title(b)} share {lacking} "
            f"(rows: {_list([r.name for r in a.rows])} and {_list([r.name for r in b.rows])}; "
            f"columns: {_list(a.columns)} and {_list(b.columns)})"
        )
    baselines = _baselines(a, b, rows)
    cells_a, cells_b = (_rebased(table, rows, columns, baselines) for table in (a, b))
    pairs = [
        pair
        for row in rows
        for column in columns
        if (pair := _pair(row, column, cells_a[row, column], cells_b[row, column])) is not None
    ]
    return Compared(
        a=_title(a), b=_title(b), baselines=baselines, pairs=tuple(pairs),
        confidence=(a.confidence, b.confidence), n_decimals=max(a.n_decimals, b.n_decimals),
        notes=tuple(_notes(a, b, rows, columns)),
        synthetic=tuple(_title(table) for table in (a, b) if table.dataset.synthetic),
    )  # fmt: skip


def _title(table: Table) -> str:
    return table.title or table.study


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _baselines(a: Table, b: Table, rows: Sequence[str]) -> dict[str, str]:
    own = {row.name: row.baseline for row in a.rows}
    other = {row.name: row.baseline for row in b.rows}
    found = {}
    for row in rows:
        choices = [own[row], other[row], rows[0]]
        found[row] = next(name for name in choices if name is not None and name in rows)
    return found


def _rebased(
    table: Table, rows: Sequence[str], columns: Sequence[str], baselines: Mapping[str, str]
) -> dict[tuple[str, str], Cell]:
    """The cells of some rows and columns with the baselines given."""
    chosen = [row for name in rows for row in table.rows if row.name == name]
    drafts = [
        Draft(
            row.model_copy(update={"baseline": baselines[row.name], "reference": False}),
            {c: row.cells[c].values for c in columns},
        )
        for row in chosen
    ]
    made = assemble(drafts, {c: table.column_info[c] for c in columns}, Rules.of(table))
    return {(row.name, c): row.cells[c] for row in made.rows for c in columns}


def _pair(row: str, column: str, a: Cell, b: Cell) -> Pair | None:
    if a.delta is None or b.delta is None:
        return None
    zero = a.delta == 0 or b.delta == 0
    return Pair(
        row, column, a.delta, b.delta, a.ci, b.ci,
        same_sign=None if zero else (a.delta > 0) == (b.delta > 0),
        b_inside_a=None if a.ci is None else a.ci[0] <= b.delta <= a.ci[1],
        a_inside_b=None if b.ci is None else b.ci[0] <= a.delta <= b.ci[1],
    )  # fmt: skip


def _notes(a: Table, b: Table, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    notes = []
    for one in (a, b):
        alone = [row.name for row in one.rows if row.name not in rows]
        if alone:
            notes.append(f"Only in {_title(one)}: the rows {_list(alone)}.")
        alone = [c for c in one.columns if c not in columns]
        if alone:
            notes.append(f"Only in {_title(one)}: the columns {_list(alone)}.")
        if max((row.n_seeds for row in one.rows), default=0) < 2:
            notes.append(
                f"{_title(one)} has single runs: its Δ have no interval, and what they would vary by is unknown."
            )
    if a.dataset.name and b.dataset.name and a.dataset.name != b.dataset.name:
        notes.append(f"Measured on different data: {a.dataset.name} and {b.dataset.name}.")
    averaged = [{c for c in t.columns if t.column_info[c].subset} for t in (a, b)]
    if "Mean" in columns and averaged[0] and averaged[1] and averaged[0] != averaged[1]:
        notes.append("Mean averages different columns in the two.")
    differing = [c for c in columns if a.column_info[c].metric != b.column_info[c].metric and a.column_info[c].unit]
    if differing and all(t.column_info[c].unit for t in (a, b) for c in differing):
        notes.append(f"The tables measure different things in {_list(differing)}.")
    return notes
