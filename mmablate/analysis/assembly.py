"""From scores by row, column and seed to finished cells: Δ, tests, families, best and tied, heat.

Every table is made here, whether its scores come from a study, from somebody else's CSV, or are contrasts of
another table's rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmablate.analysis.differences import Difference, contrast, difference, difference_p
from mmablate.analysis.heat import heat, heat_scale
from mmablate.analysis.statistics import holm, mean, seeds_needed, spread_upper_bound, std
from mmablate.analysis.table import Cell, ColumnInfo, Family, HeatScale, Row, Table

ALPHA = 0.05
"""Level of `significant` and `tied` (INTERFACE.md)."""

Values = Mapping[str, Mapping[str, float]]
Place = tuple[int, str]


@dataclass(frozen=True)
class Rules:
    """How the cells of a table are tested.

    Attributes:
        primary: column whose p-values are a family of their own, where the table has it.
        family: "table": all other cells are one family; "column": each column is one, the primary like any other.
        confidence: of the intervals.
        smallest_effect: smallest |Δ| worth detecting, in the unit of the columns.
    """

    primary: str | None = "Mean"
    family: str = "table"
    confidence: float = 0.95
    smallest_effect: float | None = None

    @classmethod
    def of(cls, table: Table) -> Rules:
        """The rules that a table was made by."""
        return cls(table.primary, table.family, table.confidence, table.smallest_effect)


@dataclass(frozen=True)
class Draft:
    """A row before its cells are computed.

    Attributes:
        row: with everything but cells.
        values: column -> seed -> score; in a table of effects the contrast of that seed.
        scale: column -> size of the scores behind contrasts, which their rounding noise is measured against.
    """

    row: Row
    values: Values
    scale: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assembled:
    """Finished rows, in the order of the drafts, and what belongs to the table beside them.

    Attributes:
        constant: (row, column) of Δ ≠ 0 without any spread over seeds, which no test can judge.
    """

    rows: tuple[Row, ...]
    families: tuple[Family, ...]
    heat_scales: tuple[HeatScale, ...]
    constant: tuple[tuple[str, str], ...] = ()


@dataclass
class _Cells:
    """The fields of the cells under construction, by row number and column."""

    differences: dict[Place, Difference] = field(default_factory=dict)
    fields: dict[Place, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))


def assemble(
    drafts: Sequence[Draft], info: Mapping[str, ColumnInfo], rules: Rules, *, effects: bool = False
) -> Assembled:
    """Computes all cells.

    Args:
        drafts: rows with their scores. A row whose `baseline` is its own name, no row, or None has no Δ; a
            reference row has none either, is never the best and in no family; nor is a row that was pruned.
        info: what each column measures, in the order of the columns. A reference column has means alone.
        effects: the values are contrasts: each cell has a Δ only, which is their mean.
    """
    cells = _Cells()
    for place, own, base, scale in _cells_to_compare(drafts, info, effects=effects):
        found = contrast(own, scale, rules.confidence) if effects else difference(own, base, rules.confidence)
        if found is not None:
            cells.differences[place] = found
            cells.fields[place] |= found.fields()
    families = _families(info, rules, cells)
    for family in families:
        _adjust(family, cells, rules)
    if not effects:
        _mark_best(drafts, info, cells)
    scales = _paint(info, cells)
    rows = [
        draft.row.model_copy(update={"cells": {c: _cell(draft, i, c, cells, effects=effects) for c in info}})
        for i, draft in enumerate(drafts)
    ]
    constant = [(drafts[i].row.name, column) for (i, column), d in cells.differences.items() if d.constant]
    return Assembled(tuple(rows), tuple(families), scales, tuple(constant))


def _cells_to_compare(
    drafts: Sequence[Draft], info: Mapping[str, ColumnInfo], *, effects: bool
) -> Iterator[tuple[Place, Mapping[str, float], Mapping[str, float], float | None]]:
    """Every cell that can have a Δ: its place, its values, its baseline's."""
    by_name = {draft.row.name: draft for draft in reversed(drafts)}
    for index, draft in enumerate(drafts):
        base = draft if effects else by_name.get(draft.row.baseline or "")
        if draft.row.reference or draft.row.pruned or base is None or (base.row.name == draft.row.name and not effects):
            continue
        for column in _judged(info):
            yield (index, column), draft.values.get(column, {}), base.values.get(column, {}), draft.scale.get(column)


def _judged(info: Mapping[str, ColumnInfo]) -> list[str]:
    """The columns that say how good the rows are."""
    return [column for column, about in info.items() if not about.reference]


def _families(info: Mapping[str, ColumnInfo], rules: Rules, cells: _Cells) -> list[Family]:
    """The columns of each family with the number of its p-values; families without any are left out."""
    columns = _judged(info)
    if rules.family == "column":
        groups = [[column] for column in columns]
    elif rules.primary in columns:
        groups = [[str(rules.primary)], [column for column in columns if column != rules.primary]]
    else:
        groups = [columns]
    sizes: dict[str, int] = defaultdict(int)
    for (_, column), found in cells.differences.items():
        sizes[column] += found.p is not None
    counted = [Family(columns=tuple(group), size=sum(sizes[c] for c in group)) for group in groups]
    return [family for family in counted if family.size]


def _adjust(family: Family, cells: _Cells, rules: Rules) -> None:
    """Holm over the family; then the seeds that each of its cells would need, at Holm's first step."""
    members = set(family.columns)
    tested = [(place, d) for place, d in cells.differences.items() if place[1] in members and d.p is not None]
    adjusted = holm([d.p for _, d in tested if d.p is not None])
    for (place, found), p in zip(tested, adjusted, strict=True):
        cells.fields[place] |= {"p_adjusted": p, "significant": p < ALPHA}
        if rules.smallest_effect and found.spread:
            level = ALPHA / family.size
            upper = spread_upper_bound(found.spread, found.df)
            cells.fields[place] |= {
                "seeds_needed": seeds_needed(rules.smallest_effect, found.spread, level),
                "seeds_needed_upper": seeds_needed(rules.smallest_effect, upper, level),
            }


def _mark_best(drafts: Sequence[Draft], info: Mapping[str, ColumnInfo], cells: _Cells) -> None:
    """The best mean of every column (equal means are all the best), and what is not significantly worse.

    The dagger is a comparison of its own: each row against the best one, paired, Holm over the rows of the
    column (definitions, section 12).
    """
    for column in _judged(info):
        means = {
            i: m
            for i, draft in enumerate(drafts)
            if not (draft.row.reference or draft.row.pruned) and (m := mean(draft.values.get(column, {}))) is not None
        }
        if not means:
            continue
        best = (max if info[column].direction == "max" else min)(means.values())
        first = next(i for i, m in means.items() if m == best)
        against = {
            i: difference_p(drafts[i].values[column], drafts[first].values[column])
            for i, m in means.items()
            if m != best
        }
        p_values = {i: p for i, p in against.items() if p is not None}
        for i, p in zip(p_values, holm(list(p_values.values())), strict=True):
            cells.fields[i, column]["tied"] = p >= ALPHA
        for i, m in means.items():
            if m == best:
                cells.fields[i, column]["best"] = True


def _paint(info: Mapping[str, ColumnInfo], cells: _Cells) -> tuple[HeatScale, ...]:
    """Colours every Δ, by one scale for all columns of a metric."""
    deltas: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (_, column), found in cells.differences.items():
        deltas[info[column].metric, info[column].unit].append(found.delta)
    scales = {key: heat_scale(some, metric=key[0], unit=key[1]) for key, some in deltas.items()}
    for (index, column), found in cells.differences.items():
        about = info[column]
        colour = heat(found.delta, direction=about.direction, scale=scales[about.metric, about.unit])
        cells.fields[index, column]["heat"] = colour
    return tuple(scale for scale in scales.values() if scale)


def _cell(draft: Draft, index: int, column: str, cells: _Cells, *, effects: bool) -> Cell:
    values = dict(draft.values.get(column, {}))
    found = cells.fields.get((index, column), {})
    return Cell(mean=None if effects else mean(values), std=std(values), values=values, **found)


def largest(values: Iterable[float]) -> float:
    """The size of the largest finite score, 0 without any."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0)
