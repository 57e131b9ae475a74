"""Sensitivity: scores over the values of one swept parameter or two, with bands, and the value used as a ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import canvas, labels, marks, numbers
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette

_MOST_PANELS = 12
_MOST_LINES = 8


def scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic spacing where the values span two decades or more; around zero if that is among them."""
    sizes = sorted(abs(value) for value in values if value != 0)
    if not sizes or sizes[-1] / sizes[0] < 100:
        return
    if min(values) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=sizes[0], linscale=0.5)


def readable(axes: Axes, points: Sequence[marks.SweepPoint]) -> list[marks.SweepPoint]:
    """The points whose tick labels do not run into each other; the ends and the used value come first."""
    places = {p: axes.transData.transform((p.value, 0))[0] for p in points}
    half = {p: len(numbers.level(p.value)) * canvas.FONT_SIZE * 0.42 + 3 for p in points}  # in points, as are places
    ends = (points[0], points[-1])
    chosen: list[marks.SweepPoint] = []
    for point in sorted(points, key=lambda p: (not p.used, p not in ends)):
        if all(abs(places[point] - places[other]) >= half[point] + half[other] for other in chosen):
            chosen.append(point)
    return sorted(chosen, key=lambda p: p.value)


def ring(axes: Axes, places: Sequence[tuple[float, float]], palette: Palette, size: float = 9) -> None:
    """Open circles around points that stand out."""
    axes.plot(
        [x for x, _ in places],
        [y for _, y in places],
        color=palette.curve,
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor=palette.card,
        markeredgecolor=palette.curve,
        markeredgewidth=2.2,
    )


def _level_ticks(figure: Figure, axes: Axes, table: Table, points: Sequence[marks.SweepPoint], n_ticks: int) -> None:
    """Scales, the room for the texts, and a tick at every value whose text has room."""
    axes.autoscale_view()
    canvas.settle(figure, axes, decimal=table.decimal, n_ticks=n_ticks)
    shown = readable(axes, points)
    texts = [numbers.level(p.value, table.decimal) for p in shown]
    canvas.name_ticks(axes, [p.value for p in shown], texts)


def sensitivity(table: Table, palette: Palette = PAGE) -> Drawing | None:
    """The summary column over one swept numeric parameter, None for any other table."""
    curve = marks.sweep_curve(table)
    points = [p for p in curve.points if numbers.is_number(p.mean)] if curve else []
    if curve is None or len(points) < 2:
        return None
    figure, axes = canvas.new_axes(palette)
    values, means = [p.value for p in points], [p.mean or 0.0 for p in points]
    spreads = [p.std if numbers.is_number(p.std) else 0.0 for p in points]
    if any(spreads):
        low = [mean - std for mean, std in zip(means, spreads, strict=True)]
        high = [mean + std for mean, std in zip(means, spreads, strict=True)]
        axes.fill_between(values, low, high, color=palette.curve, alpha=0.16, linewidth=0)
    scale(axes, values)
    axes.margins(x=0.04, y=0.12)
    if numbers.is_number(curve.baseline_mean):
        axes.axhline(curve.baseline_mean, color=palette.base, linewidth=1.2, dashes=(4, 3))
    axes.plot(values, means, color=palette.curve, linewidth=1.8, marker="o", markersize=4.5)
    used_ring = [(p.value, p.mean or 0.0) for p in points if p.used]
    ring(axes, used_ring, palette)
    _level_ticks(figure, axes, table, points, 5)
    base = numbers.fixed(curve.baseline_mean, table.n_decimals, table.decimal)
    parts = [f"dashed: baseline ({base})" if numbers.is_number(curve.baseline_mean) else ""]
    parts.append("ring: value used" if used_ring else "")
    missing = len(curve.points) - len(points)
    parts.append(f"{missing} failed level{'' if missing == 1 else 's'} left out" if missing else "")
    return Drawing(
        name="sensitivity",
        figure=figure,
        heading=f"Sensitivity to {curve.symbol} ({marks.column_label(table, curve.column)})",
        description=f"Curve of {labels.clean(curve.column)} over {len(points)} values of {curve.symbol}; "
        "the numbers stand in the table.",
        legend=(LegendEntry(palette.curve, "mean over seeds ± std" if any(spreads) else "mean over seeds"),),
        note="; ".join(part for part in parts if part),
        axis_names=(curve.symbol, measured(table, curve.column)),
        further=_further(palette, baseline=numbers.is_number(curve.baseline_mean), ring=bool(used_ring)),
    )


def _further(palette: Palette, *, baseline: bool, ring: bool) -> tuple[LegendEntry, ...]:
    """What a note says on the page, as entries of a legend."""
    entries = (LegendEntry(palette.base, "baseline", dash=1), LegendEntry(palette.curve, "value used", ring=True))
    return tuple(entry for entry, there in zip(entries, (baseline, ring), strict=True) if there)


def measured(table: Table, column: str) -> str:
    about = marks.info(table, column)
    name = (
        ""
        if labels.clean(column) == labels.clean(about.metric)
        else f", {labels.plain(marks.column_label(table, column))}"
    )
    return labels.clean(f"{about.metric}{name}{f' in {about.unit}' if about.unit else ''}")


def sensitivity_panels(table: Table, palette: Palette = PAGE) -> list[Drawing]:
    """Δ of every column over one swept numeric parameter, with its interval; none for any other table."""
    curve = marks.sweep_curve(table)
    if curve is None or len(table.columns) < 2:
        return []
    levels = {row.name: row.level.get(table.sweep.parameters[0]) for row in table.rows} if table.sweep else {}
    whole = [row for row in table.rows if not (row.reference or row.pruned)]
    rows = [row for row in whole if numbers.is_number(_level(levels[row.name]))]
    rows.sort(key=lambda row: _level(levels[row.name]) or 0.0)
    columns = [c for c in table.columns if sum(marks.cell(row, c).delta is not None for row in rows) >= 2]
    limits = _common_limits(table, rows, columns)
    found = []
    for column in columns[:_MOST_PANELS]:
        points = [(_level(levels[row.name]) or 0.0, row, marks.cell(row, column)) for row in rows]
        found.append(_delta_panel(table, curve, column, points, limits, palette))
    return found


def _level(value: object) -> float | None:
    """A level as a number, None for one that is none or that no axis can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not numbers.is_number(value):
        return None
    return float(value)


def _common_limits(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The vertical range of the columns of each metric, so that panels side by side can be compared."""
    ends: dict[str, list[float]] = {}
    for column in columns:
        for row in rows:
            cell = marks.cell(row, column)
            some = [cell.delta, *(cell.ci or ())]
            ends.setdefault(marks.info(table, column).metric, [0.0]).extend(x for x in some if numbers.is_number(x))
    found = {}
    for metric, values in ends.items():
        room = 0.06 * (max(values) - min(values)) or 1.0
        found[metric] = (min(values) - room, max(values) + room)
    return found


def _delta_panel(
    table: Table,
    curve: marks.SweepCurve,
    column: str,
    points: Sequence[tuple[float, Row, Cell]],
    limits: dict[str, tuple[float, float]],
    palette: Palette,
) -> Drawing:
    """One column of `sensitivity_panels`; a baseline among the levels is the zero that the others start from."""
    figure, axes = canvas.new_axes(palette, canvas.PANEL)
    drawn = [
        (x, row, cell.delta if cell.delta is not None else 0.0, cell.ci)
        for x, row, cell in points
        if numbers.is_number(cell.delta) or (marks.is_baseline(row) and numbers.is_number(cell.mean))
    ]
    axes.axhline(0, color=palette.base, linewidth=1.2, dashes=(4, 3))
    banded = [(x, ci or (delta, delta)) for x, _, delta, ci in drawn]
    has_intervals = any(ci for _, _, _, ci in drawn)
    if has_intervals:
        low, high = [ci[0] for _, ci in banded], [ci[1] for _, ci in banded]
        axes.fill_between([x for x, _ in banded], low, high, color=palette.curve, alpha=0.16, linewidth=0)
    axes.plot(
        [x for x, _, _, _ in drawn],
        [y for _, _, y, _ in drawn],
        color=palette.curve, linewidth=1.6, marker="o", markersize=3.5,
    )  # fmt: skip
    scale(axes, [x for x, _, _, _ in drawn])
    axes.margins(x=0.05)
    ring(axes, [(x, y) for x, row, y, _ in drawn if marks.is_used(table, row)], palette, 7)
    _level_ticks_of_panel(
        figure, axes, table, curve, [x for x, _, _, _ in drawn], limits[marks.info(table, column).metric]
    )
    about = marks.info(table, column)
    band = f"; band: {numbers.percent(table.confidence, table.decimal)} interval" if has_intervals else ""
    unit = {"%": " in points", "": ""}.get(about.unit, f" in {labels.clean(about.unit)}")
    return Drawing(
        name=f"sensitivity_{column}",
        figure=figure,
        heading=marks.column_label(table, column),
        description=f"Δ of {labels.clean(column)} over {len(drawn)} values of {curve.symbol}.",
        legend=(LegendEntry(palette.curve, f"Δ to the baseline{unit}{band}"),),
        note="ring: value used" if any(p.used for p in curve.points) else "",
        group=f"Sensitivity to {curve.symbol} by column",
        further=_further(palette, baseline=True, ring=any(p.used for p in curve.points)),
        axis_names=(curve.symbol, f"Δ {labels.plain(marks.column_label(table, column))}{unit}"),
    )


def _level_ticks_of_panel(
    figure: Figure,
    axes: Axes,
    table: Table,
    curve: marks.SweepCurve,
    values: Sequence[float],
    limits: tuple[float, float],
) -> None:
    axes.set_ylim(*limits)
    axes.autoscale_view(scaley=False)
    canvas.settle(figure, axes, decimal=table.decimal, n_ticks=4)
    kept = [point for point in curve.points if point.value in values]
    shown = readable(axes, kept) if kept else []
    canvas.name_ticks(axes, [p.value for p in shown], [numbers.level(p.value, table.decimal) for p in shown])


def sensitivity_grid(table: Table, palette: Palette = PAGE) -> Drawing | None:
    """The summary column over two swept numeric parameters: a line over the first for each value of the second.

    None for any other table, for more values of the second than can be told apart, and for samples that form
    no lines (a random search).
    """
    column = marks.summary_column(table)
    if table.sweep is None or len(table.sweep.parameters) != 2 or column is None:
        return None
    first, second = table.sweep.parameters
    lines: dict[float, list[tuple[float, Row]]] = {}
    for row in table.rows:
        x, z = _level(row.level.get(first)), _level(row.level.get(second))
        if x is not None and z is not None and not row.pruned and numbers.is_number(marks.cell(row, column).mean):
            lines.setdefault(z, []).append((x, row))
    lines = {z: sorted(some, key=lambda item: item[0]) for z, some in sorted(lines.items()) if len(some) > 1}
    if not 1 < len(lines) <= _MOST_LINES:
        return None
    symbols = [labels.clean(symbol) for symbol in (*table.sweep.symbols, first, second)[:2]]
    figure, axes = canvas.new_axes(palette)
    colours = canvas.line_levels(palette, len(lines))
    for place, some in enumerate(lines.values()):
        _grid_line(axes, some, column, colours[place], canvas.DASHES[place % len(canvas.DASHES)])
    values = sorted({x for some in lines.values() for x, _ in some})
    scale(axes, values)
    axes.margins(x=0.04, y=0.12)
    used = [(x, marks.cell(row, column).mean or 0.0)
            for some in lines.values() for x, row in some if marks.is_used(table, row)]  # fmt: skip
    ring(axes, used, palette)
    _level_ticks(figure, axes, table, [marks.SweepPoint(x, None, None, False, False) for x in values], 5)
    entries = (
        LegendEntry(colours[place], f"{symbols[1]} = {numbers.level(z, table.decimal)}", place % len(canvas.DASHES))
        for place, z in enumerate(lines)
    )
    name = marks.column_label(table, column)
    has_bands = any(marks.cell(row, column).std for some in lines.values() for _, row in some)
    notes = ("bands: ± std over seeds" if has_bands else "", "ring: values used" if used else "")
    return Drawing(
        name="sensitivity",
        figure=figure,
        heading=f"Sensitivity to {symbols[0]} and {symbols[1]} ({name})",
        description=f"{len(lines)} curves of {labels.plain(name)} over {symbols[0]}; the numbers stand in the table.",
        legend=tuple(entries),
        note="; ".join(part for part in notes if part),
        axis_names=(symbols[0], measured(table, column)),
        further=_further(palette, baseline=False, ring=bool(used)),
    )


def _grid_line(axes: Axes, some: Sequence[tuple[float, Row]], column: str, colour: str, dash: Any) -> None:
    xs = [x for x, _ in some]
    cells = [marks.cell(row, column) for _, row in some]
    means = [cell.mean or 0.0 for cell in cells]
    spreads = [cell.std if numbers.is_number(cell.std) else 0.0 for cell in cells]
    low = [mean - std for mean, std in zip(means, spreads, strict=True)]
    high = [mean + std for mean, std in zip(means, spreads, strict=True)]
    axes.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(xs, means, color=colour, linewidth=1.6, linestyle=dash, marker="o", markersize=3.5)
