"""Figures that a table gives reason for: sensitivity curves and bars by modality subset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import canvas, labels, marks, numbers
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette

_MOST_BARS = 8
_MOST_SUBSETS = 40
_MOST_PANELS = 12


class Panel(NamedTuple):
    """One figure on the page.

    Attributes:
        heading: above it; may hold `_x` subscripts.
        svg: markup, safe to inline: every text in it was escaped by matplotlib.
        description: what it shows, for those who cannot see it.
    """

    heading: str
    svg: str
    description: str


class Plot(NamedTuple):
    """A card of the page: one figure, or several side by side under a common heading.

    Attributes:
        heading: above all of it; may hold `_x` subscripts.
        panels: its figures; a single one has no heading of its own.
        note: below it, as text.
    """

    heading: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendEntry, ...] = ()
    note: str = ""


def plots(table: Table, prefix: str) -> list[Plot]:
    """The cards that this table gives reason for.

    Args:
        table: the table.
        prefix: of every id in the figures, unique on the page.
    """
    return cards(drawings(table), prefix)


def cards(found: Sequence[Drawing], prefix: str) -> list[Plot]:
    """Drawings in the colours of the page as its cards; those of one group share one."""
    grouped: dict[str, list[Drawing]] = {}
    for drawing in found:
        grouped.setdefault(drawing.group or f"\0{drawing.name}", []).append(drawing)
    made = []
    for index, some in enumerate(grouped.values()):
        first = some[0]
        panels = tuple(
            Panel(d.heading if d.group else "", canvas.inline_svg(d.figure, f"{prefix}-{index}-{i}"), d.description)
            for i, d in enumerate(some)
        )
        made.append(Plot(first.group or first.heading, panels, first.legend, first.note))
    return made


def drawings(table: Table, palette: Palette = PAGE) -> list[Drawing]:
    """The figures that this table gives reason for, in the order of the page."""
    found = (sensitivity(table, palette), subset_bars(table, palette))
    return [*(drawing for drawing in found if drawing is not None), *sensitivity_panels(table, palette)]


# --- bars -------------------------------------------------------------------------------------------------


def _shown_rows(rows: Sequence[Row], column: str) -> list[Row]:
    """All rows, or the first, the best and the last of too many."""
    if len(rows) <= _MOST_BARS:
        return list(rows)
    best = next((row for row in rows if marks.cell(row, column).best), rows[-1])
    return [row for row in rows if row in (rows[0], best, rows[-1])]


def _bar_columns(table: Table) -> list[str]:
    """The subset columns that share one metric."""
    subsets = [c for c in table.columns if marks.info(table, c).subset]
    kinds = {c: (marks.info(table, c).metric, marks.info(table, c).unit) for c in subsets}
    return [c for c in subsets if kinds[c] == kinds[subsets[0]]]


def subset_bars(table: Table, palette: Palette = PAGE) -> Drawing | None:
    """Grouped bars of the rows over the modality subsets, None for a table without subset columns."""
    columns = _bar_columns(table)
    measured = [row for row in table.rows if any(numbers.is_number(marks.cell(row, c).mean) for c in columns)]
    summary = marks.summary_column(table)
    if not table.column_info or not 2 <= len(columns) <= _MOST_SUBSETS or not measured or summary is None:
        return None
    rows = _shown_rows(measured, summary)
    # Levels have an order, other rows have none.
    colours = palette.levels if marks.sweep_curve(table) else palette.bars
    figure, axes = canvas.new_axes(palette)
    for index, row in enumerate(rows):
        width = 0.8 / len(rows)
        places = [i + (index - (len(rows) - 1) / 2) * width for i in range(len(columns))]
        _bars(axes, places, [marks.cell(row, c) for c in columns], width * 0.92, colours[index], palette.ink)
    names = [labels.plain(marks.column_label(table, column)) for column in columns]
    upright = sum(len(name) + 1.5 for name in names) <= 58
    canvas.name_ticks(axes, range(len(columns)), names, rotation=0 if upright else 90)
    axes.margins(x=0.01)
    canvas.settle(axes, decimal=table.decimal)
    if not upright:
        _raise_bottom(figure, axes, max(map(len, names)))
    about = marks.info(table, columns[0])
    what = labels.clean(f"{about.metric}{f' in {about.unit}' if about.unit else ''}")
    spread = any(numbers.is_number(marks.cell(row, column).std) for row in rows for column in columns)
    note = f"{what}{'; whiskers: ± std over seeds' if spread else ''}"
    if len(rows) < len(measured):
        note += f"; first, best and last of {len(measured)} rows"
    return Drawing(
        name="subsets",
        figure=figure,
        heading="By modality subset",
        description=f"Bars of {labels.clean(about.metric)} for {len(rows)} rows over {len(columns)} subsets "
        "of the modalities; the numbers stand in the table.",
        legend=tuple(LegendEntry(colours[i], row.label) for i, row in enumerate(rows)),
        note=note,
        axis_names=("", what),
    )


def _bars(axes: Axes, places: Sequence[float], cells: Sequence[Cell], width: float, colour: str, ink: str) -> None:
    found = [(x, c) for x, c in zip(places, cells, strict=True) if numbers.is_number(c.mean)]
    axes.bar([x for x, _ in found], [c.mean or 0.0 for _, c in found], width=width, color=colour)
    whiskers = [(x, c.mean or 0.0, c.std) for x, c in found if numbers.is_number(c.std)]
    axes.errorbar(
        [x for x, _, _ in whiskers],
        [mean for _, mean, _ in whiskers],
        yerr=[std for _, _, std in whiskers],
        fmt="none",
        ecolor=ink,
        elinewidth=0.8,
    )


def _raise_bottom(figure: Figure, axes: Axes, longest: int) -> None:
    """Room for tick labels that stand upright; very long names get half of the figure."""
    box = axes.get_position()
    height = 72 * figure.get_size_inches()[1]
    bottom = min((min(longest, 24) * canvas.FONT_SIZE * 0.62 + 10) / height, 0.55)
    axes.set_position((box.x0, bottom, box.width, box.y1 - bottom))


# --- sensitivity ------------------------------------------------------------------------------------------


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic spacing where the values span two decades or more; around zero if that is among them."""
    sizes = sorted(abs(value) for value in values if value != 0)
    if not sizes or sizes[-1] / sizes[0] < 100:
        return
    if min(values) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=sizes[0], linscale=0.5)


def _readable(axes: Axes, points: Sequence[marks.SweepPoint]) -> list[marks.SweepPoint]:
    """The points whose tick labels do not run into each other; the ends and the used value come first."""
    places = {p: axes.transData.transform((p.value, 0))[0] for p in points}
    half = {p: len(numbers.level(p.value)) * canvas.FONT_SIZE * 0.42 + 3 for p in points}  # in points, as are places
    ends = (points[0], points[-1])
    chosen: list[marks.SweepPoint] = []
    for point in sorted(points, key=lambda p: (not p.used, p not in ends)):
        if all(abs(places[point] - places[other]) >= half[point] + half[other] for other in chosen):
            chosen.append(point)
    return sorted(chosen, key=lambda p: p.value)


def _ring(axes: Axes, places: Sequence[tuple[float, float]], palette: Palette, size: float = 9) -> None:
    axes.plot(
        [x for x, _ in places],
        [y for _, y in places],
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor=palette.card,
        markeredgecolor=palette.curve,
        markeredgewidth=2.2,
    )


def _level_ticks(axes: Axes, table: Table, points: Sequence[marks.SweepPoint], n_ticks: int) -> None:
    """Scales, the room for the texts, and a tick at every value whose text has room."""
    axes.autoscale_view()
    canvas.settle(axes, decimal=table.decimal, n_ticks=n_ticks)
    shown = _readable(axes, points)
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
    _scale(axes, values)
    axes.margins(x=0.04, y=0.12)
    if numbers.is_number(curve.baseline_mean):
        axes.axhline(curve.baseline_mean, color=palette.base, linewidth=1.2, dashes=(4, 3))
    axes.plot(values, means, color=palette.curve, linewidth=1.8, marker="o", markersize=4.5)
    ring = [(p.value, p.mean or 0.0) for p in points if p.used]
    _ring(axes, ring, palette)
    _level_ticks(axes, table, points, 5)
    base = numbers.fixed(curve.baseline_mean, table.n_decimals, table.decimal)
    parts = [f"dashed: baseline ({base})" if numbers.is_number(curve.baseline_mean) else ""]
    parts.append("ring: value used" if ring else "")
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
        axis_names=(curve.symbol, _measured(table, curve.column)),
        further=_further(palette, baseline=numbers.is_number(curve.baseline_mean), ring=bool(ring)),
    )


def _further(palette: Palette, *, baseline: bool, ring: bool) -> tuple[LegendEntry, ...]:
    """What a note says on the page, as entries of a legend."""
    entries = (LegendEntry(palette.base, "baseline", dash=1), LegendEntry(palette.curve, "value used", ring=True))
    return tuple(entry for entry, there in zip(entries, (baseline, ring), strict=True) if there)


def _measured(table: Table, column: str) -> str:
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
    rows = [row for row in table.rows if not row.reference and numbers.is_number(_level(levels[row.name]))]
    rows.sort(key=lambda row: _level(levels[row.name]) or 0.0)
    columns = [c for c in table.columns if sum(marks.cell(row, c).delta is not None for row in rows) >= 2]
    limits = _common_limits(table, rows, columns)
    found = []
    for column in columns[:_MOST_PANELS]:
        points = [(_level(levels[row.name]) or 0.0, row, marks.cell(row, column)) for row in rows]
        found.append(_delta_panel(table, curve, column, points, limits, palette))
    return found


def _level(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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
    _scale(axes, [x for x, _, _, _ in drawn])
    axes.margins(x=0.05)
    _ring(axes, [(x, y) for x, row, y, _ in drawn if marks.is_used(table, row)], palette, 7)
    _level_ticks_of_panel(axes, table, curve, [x for x, _, _, _ in drawn], limits[marks.info(table, column).metric])
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
    axes: Axes, table: Table, curve: marks.SweepCurve, values: Sequence[float], limits: tuple[float, float]
) -> None:
    axes.set_ylim(*limits)
    axes.autoscale_view(scaley=False)
    canvas.settle(axes, decimal=table.decimal, n_ticks=4)
    kept = [point for point in curve.points if point.value in values]
    shown = _readable(axes, kept) if kept else []
    canvas.name_ticks(axes, [p.value for p in shown], [numbers.level(p.value, table.decimal) for p in shown])
