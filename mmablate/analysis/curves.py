"""Scores over a factor whose levels are numbers: a curve for each combination of the other factors' levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmablate.analysis.statistics import LARGEST, mean_estimate
from mmablate.analysis.table import Cell, Row, Table

LEAST_LEVELS = 3
"""Fewer points are read better in the table."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class CurvePoint:
    """A row on its curve.

    Attributes:
        x: its level of the factor.
        mean: of the primary column, over seeds.
        interval: of the mean over seeds, by Student's t at the table's confidence; None below two seeds or without
            spread.
        delta, delta_interval: to the row's own baseline, as in the table.
        is_baseline: the row is its own baseline.
    """

    x: float
    mean: float
    interval: Interval | None
    delta: float | None
    delta_interval: Interval | None
    is_baseline: bool


@dataclass(frozen=True)
class Curve:
    """The rows of one combination of the other factors' levels, by x.

    Attributes:
        levels: of the factors that `FactorCurves.others` names.
        is_baseline: all of its rows are baselines.
    """

    levels: tuple[str, ...]
    points: tuple[CurvePoint, ...]

    @property
    def is_baseline(self) -> bool:
        """All of its rows are baselines."""
        return all(point.is_baseline for point in self.points)


@dataclass(frozen=True)
class ReferenceCurve:
    """What rows learn from, in the primary column's metric: (x, mean over seeds).

    Attributes:
        column: the reference column.
        levels: of the curves that it holds for, which have the same values wherever they have any.
    """

    column: str
    levels: tuple[tuple[str, ...], ...]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FactorCurves:
    """A table as curves.

    Attributes:
        factor: whose levels are numbers.
        others: the other factors that have two levels or more.
        column: the primary column.
        curves: in the order of the table.
        n_left_out: rows without a score.
    """

    factor: str
    others: tuple[str, ...]
    column: str
    curves: tuple[Curve, ...]
    references: tuple[ReferenceCurve, ...]
    n_left_out: int = 0

    @property
    def xs(self) -> list[float]:
        """All levels that some curve has."""
        return sorted({point.x for curve in self.curves for point in curve.points})


def number(level: str) -> float | None:
    """A level as a number, None where it is none that an axis can hold."""
    try:
        value = float(level)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


def factor_curves(table: Table, column: str) -> FactorCurves | None:
    """The curves of a table whose rows are combinations of factors, one of which is numeric.

    Of several such factors the one with most levels is the axis. None for any other table, a sweep's among them, and
    where two rows stand at one place.

    Args:
        table: of scores.
        column: whose scores are drawn.
    """
    rows = [row for row in table.rows if row.levels and not (row.reference or row.pruned)]
    if table.kind != "scores" or table.sweep is not None or not rows:
        return None
    if any(row.levels.keys() != rows[0].levels.keys() for row in rows):
        return None
    factor = _axis(rows)
    if factor is None:
        return None
    others = tuple(name for name in rows[0].levels if name != factor and len({row.levels[name] for row in rows}) > 1)
    places: dict[tuple[str, ...], dict[float, Row]] = {}
    for row in rows:
        line = places.setdefault(tuple(row.levels[name] for name in others), {})
        x = number(row.levels[factor])
        if x is None or x in line:
            return None
        line[x] = row
    curves = [Curve(levels, _points(table, line, column)) for levels, line in places.items()]
    drawn = tuple(curve for curve in curves if curve.points)
    n_points = sum(len(curve.points) for curve in drawn)
    found = FactorCurves(factor, others, column, drawn, _references(table, places, column), len(rows) - n_points)
    return found if len(found.xs) >= LEAST_LEVELS else None


def _axis(rows: Sequence[Row]) -> str | None:
    """The factor with most levels of those whose levels are all numbers, three of them or more."""
    sizes = {}
    for name in rows[0].levels:
        levels = [number(row.levels[name]) for row in rows]
        if None not in levels:
            sizes[name] = len(set(levels))
    axis = max(sizes, key=lambda name: sizes[name], default=None)
    return axis if axis is not None and sizes[axis] >= LEAST_LEVELS else None


def _points(table: Table, line: Mapping[float, Row], column: str) -> tuple[CurvePoint, ...]:
    found = []
    for x, row in sorted(line.items()):
        cell = row.cells.get(column, Cell())
        if cell.mean is None or not math.isfinite(cell.mean):
            continue
        estimate = mean_estimate(list(cell.values.values()), abs(cell.mean))
        interval = estimate.interval(table.confidence) if estimate else None
        is_baseline = row.baseline == row.name
        found.append(CurvePoint(x, cell.mean, interval, cell.delta, cell.ci, is_baseline))
    return tuple(found)


def _references(
    table: Table, places: Mapping[tuple[str, ...], Mapping[float, Row]], column: str
) -> tuple[ReferenceCurve, ...]:
    """The reference columns in the primary one's metric; curves whose teachers score alike share one."""
    own = table.column_info[column]
    alike = [
        c
        for c in table.columns
        if (i := table.column_info[c]).reference and (i.metric, i.unit) == (own.metric, own.unit)
    ]
    found = []
    for name in alike:
        merged: list[tuple[list[tuple[str, ...]], dict[float, float]]] = []
        for levels, line in places.items():
            means = {x: m for x, row in line.items() if (m := row.cells.get(name, Cell()).mean) is not None}
            if not means:
                continue
            same = next((one for one in merged if all(one[1].get(x, m) == m for x, m in means.items())), None)
            if same is None:
                merged.append(([levels], means))
            else:
                same[0].append(levels)
                same[1].update(means)
        found += [ReferenceCurve(name, tuple(some), tuple(sorted(means.items()))) for some, means in merged]
    return tuple(found)


def split(curves: FactorCurves, most: int) -> list[tuple[str, tuple[Curve, ...]]] | None:
    """The curves in panels of at most `most`: one without a name, or one for each level of another factor.

    Returns:
        (level, curves) of each panel, in the order of the table; None where no factor parts them so.
    """
    if len(curves.curves) <= most:
        return [("", curves.curves)]
    choices = []
    for place in range(len(curves.others)):
        by_level: dict[str, list[Curve]] = {}
        for curve in curves.curves:
            by_level.setdefault(curve.levels[place], []).append(curve)
        if len(by_level) <= most and max(map(len, by_level.values())) <= most:
            choices.append([(level, tuple(some)) for level, some in by_level.items()])
    return min(choices, key=len, default=None)
