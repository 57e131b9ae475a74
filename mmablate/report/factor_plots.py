"""Curves over a factor whose levels are numbers: scores with those of the teacher above, Δ below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform

from mmablate.analysis.curves import Curve, FactorCurves, Interval, ReferenceCurve, factor_curves, split
from mmablate.analysis.table import Table
from mmablate.report import canvas, labels, marks, numbers, sensitivity
from mmablate.report.canvas import PAGE, PALETTE_SIZE, Drawing, LegendEntry, Palette

_MOST_CURVES = 6
_MOST_BANDS = 3  # of so many curves bands can be told apart; more have whiskers
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_DASHES = (0, 3, 2)  # of the rows; the teacher's is dashed
_TEACHER_DASH = 1
_MOST_TEACHERS = 3


class _Style(NamedTuple):
    """How a curve is drawn: colour, index into `canvas.DASHES`, marker."""

    colour: str
    dash: int
    marker: str


def curve_drawings(table: Table, palette: Palette = PAGE) -> list[Drawing]:
    """One figure with all curves, or one for each level of a factor where there are too many; none for other tables.

    In the upper axes the mean of the primary column over the factor with its interval, a curve for each combination
    of the other factors' levels, and the teacher's score dashed; in the lower axes Δ to each row's own baseline.
    """
    column = marks.primary_column(table)
    curves = factor_curves(table, column) if column is not None and column in table.column_info else None
    if curves is None:
        return []
    panels = split(curves, _MOST_CURVES)
    if panels is None:
        return []
    styles = _styles(panels, palette)
    limits = _limits(curves) if len(panels) > 1 else None
    return [_drawing(table, curves, level, some, styles, limits, palette) for level, some in panels]


def _name(levels: Sequence[str], level: str = "") -> str:
    """A curve by its levels, without the one that its panel is named by."""
    shown = [one for one in levels if one != level] if level else list(levels)
    return " + ".join(shown)


def _styles(panels: Sequence[tuple[str, Sequence[Curve]]], palette: Palette) -> dict[str, _Style]:
    """The style of each curve by its name, the same in all panels; baselines are grey."""
    base = {_name(curve.levels, level): curve.is_baseline for level, some in panels for curve in some}
    colours = list(palette.bars if any(base.values()) else (*palette.bars[1:], palette.bars[0]))
    found = {}
    for index, name in enumerate(sorted(base, key=lambda name: not base[name])):
        dash = _DASHES[index % len(_DASHES)]
        found[name] = _Style(colours[index % PALETTE_SIZE], dash, _MARKERS[index % len(_MARKERS)])
    return found


def _limits(curves: FactorCurves) -> tuple[Interval, Interval]:
    """Vertical ranges that hold all curves, so that panels side by side can be compared."""
    points = [point for curve in curves.curves for point in curve.points]
    upper = [v for p in points for v in (p.mean, *(p.interval or ()))]
    upper += [mean for reference in curves.references for _, mean in reference.points]
    lower = [0.0, *(v for p in points if p.delta is not None for v in (p.delta, *(p.delta_interval or ())))]
    return _padded(upper), _padded(lower)


def _padded(values: Sequence[float]) -> Interval:
    room = 0.07 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


def _drawing(
    table: Table,
    curves: FactorCurves,
    level: str,
    some: Sequence[Curve],
    styles: dict[str, _Style],
    limits: tuple[Interval, Interval] | None,
    palette: Palette,
) -> Drawing:
    """One panel; alone it is a card."""
    alone = limits is None
    figure, (upper, lower) = canvas.new_stack(palette, canvas.TALL_CARD if alone else canvas.TALL_PANEL)
    all_teachers = _teachers(curves, some)
    teachers = all_teachers[:_MOST_TEACHERS]
    for index, reference in enumerate(teachers):
        _teacher_line(upper, reference, canvas.DASHES[_teacher_dash(index)], palette)
    lower.axhline(0, color=palette.base, linewidth=1.2, dashes=(4, 3))
    for place, curve in enumerate(some):
        style = styles[_name(curve.levels, level)]
        shift = (place - (len(some) - 1) / 2) * 3.2 if len(some) > _MOST_BANDS else None
        _line(upper, [(p.x, p.mean, p.interval) for p in curve.points], style, shift)
        found = [(p.x, p.delta, p.delta_interval) for p in curve.points if p.delta is not None]
        if found:
            _line(lower, [(x, delta, ci) for x, delta, ci in found], style, shift)
    own, deltas = limits or _limits(FactorCurves(curves.factor, (), curves.column, tuple(some), tuple(teachers)))
    _set_axes(table, curves.xs, (upper, lower), (own, deltas))
    canvas.settle_stack(figure, (upper, lower), decimal=table.decimal)
    _level_ticks(table, curves.xs, (upper, lower))
    drawn = _told(table, curves, level, Drawing("", figure, "", ""), some, teachers, styles, palette, alone=alone)
    if len(all_teachers) > len(teachers):
        left_out = f"; {len(teachers)} of {len(all_teachers)} different teachers are drawn, the table has all"
        drawn = drawn._replace(note=drawn.note + left_out)
    return drawn


def _teachers(curves: FactorCurves, some: Sequence[Curve]) -> list[ReferenceCurve]:
    """Those of these curves: a line each where the teachers of rows differ."""
    shown = {curve.levels for curve in some}
    return [one for one in curves.references if shown & set(one.levels)]


def _teacher_dash(index: int) -> int:
    return (_TEACHER_DASH, 2, 3)[index % 3]


def _teacher_line(axes: Axes, reference: ReferenceCurve, dash: object, palette: Palette) -> None:
    xs, means = [x for x, _ in reference.points], [mean for _, mean in reference.points]
    marker = "" if len(xs) > 1 else "_"
    axes.plot(xs, means, color=palette.muted, linewidth=1.5, linestyle=dash, marker=marker)


def _line(
    axes: Axes, points: Sequence[tuple[float, float, Interval | None]], style: _Style, shift: float | None
) -> None:
    """A curve with a band, or with whiskers that stand `shift` points beside their place."""
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    ends = [(x, *(ci if ci is not None else (y, y))) for x, y, ci in points]
    if shift is None and any(ci is not None for *_, ci in points):
        axes.fill_between(
            [x for x, _, _ in ends], [low for _, low, _ in ends], [high for _, _, high in ends],
            color=style.colour, alpha=0.16, linewidth=0,
        )  # fmt: skip
    look = {"color": style.colour, "linewidth": 1.7, "linestyle": canvas.DASHES[style.dash], "marker": style.marker,
            "markersize": 4.2}  # fmt: skip
    if shift is None:
        axes.plot(xs, ys, **look)
        return
    moved = axes.transData + _points_to_the_right(axes, shift)
    axes.plot(xs, ys, transform=moved, **look)
    for x, low, high in ends:
        axes.plot([x, x], [low, high], color=style.colour, linewidth=1.1, transform=moved)


def _points_to_the_right(axes: Axes, points: float) -> Transform:

    return ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def _set_axes(table: Table, xs: Sequence[float], both: tuple[Axes, Axes], limits: tuple[Interval, Interval]) -> None:
    """Both axes hold the same levels in the same places."""
    for axes, (low, high) in zip(both, limits, strict=True):
        axes.update_datalim([(xs[0], low), (xs[-1], high)])  # both hold all levels, whichever curves they have
        sensitivity.scale(axes, xs)
        axes.margins(x=0.05)
        axes.autoscale_view(scaley=False)
        axes.set_ylim(low, high)


def _level_ticks(table: Table, xs: Sequence[float], both: tuple[Axes, Axes]) -> None:
    upper, lower = both
    points = [marks.SweepPoint(x, None, None, used=False, baseline=False) for x in xs]
    shown = sensitivity.readable(lower, points)
    canvas.name_ticks(lower, [p.value for p in shown], [numbers.level(p.value, table.decimal) for p in shown])
    canvas.name_ticks(upper, [], [])


def _told(
    table: Table,
    curves: FactorCurves,
    level: str,
    drawn: Drawing,
    some: Sequence[Curve],
    teachers: Sequence[ReferenceCurve],
    styles: dict[str, _Style],
    palette: Palette,
    *,
    alone: bool,
) -> Drawing:
    """The figure with its words."""
    factor, name = labels.clean(curves.factor), marks.column_label(table, curves.column)
    unit = {"%": " in points", "": ""}.get(about := marks.info(table, curves.column).unit, f" in {labels.clean(about)}")
    entries = [LegendEntry(s.colour, n or name, s.dash) for n, s in styles.items()]
    entries += [
        LegendEntry(palette.muted, _teacher_name(table, one, teachers), _teacher_dash(index))
        for index, one in enumerate(teachers)
    ]
    title = f"{name} over {factor}"
    return drawn._replace(
        name=f"curves_{curves.column}" + ("" if alone else f"_{level}"),
        heading=title if alone else level,
        description=f"{len(some)} curves of {labels.plain(name)} over {len(curves.xs)} values of {factor}, and below "
        "them their Δ; the numbers stand in the table.",
        legend=tuple(entries),
        note=_note(table, curves, unit, has_bands=len(some) <= _MOST_BANDS),
        group="" if alone else title,
        axis_names=(factor, sensitivity.measured(table, curves.column)),
        lower_name=f"Δ{unit}",
        further=(LegendEntry(palette.base, "no difference", dash=1),),
    )


def _teacher_name(table: Table, one: ReferenceCurve, teachers: Sequence[ReferenceCurve]) -> str:
    """The column, and whose teacher it is where rows have different ones."""
    name = marks.column_label(table, one.column)
    several = sum(other.column == one.column for other in teachers) > 1
    rows = ", ".join(_name(levels) for levels in one.levels[:2]) + (", …" if len(one.levels) > 2 else "")
    return f"{name} ({rows})" if several and rows else name


def _note(table: Table, curves: FactorCurves, unit: str, *, has_bands: bool) -> str:
    points = [point for curve in curves.curves for point in curve.points]
    what = [f"above: mean over seeds; below: Δ to the row's baseline{unit}"]
    if any(point.interval or point.delta_interval for point in points):
        what.append(
            f"{'bands' if has_bands else 'whiskers'}: {numbers.percent(table.confidence, table.decimal)} intervals"
        )
    what.append("dashed at 0: no difference")
    if curves.n_left_out:
        what.append(f"{curves.n_left_out} row{'' if curves.n_left_out == 1 else 's'} without a score left out")
    return "; ".join(what)
