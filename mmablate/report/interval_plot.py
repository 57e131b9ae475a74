"""Δ of the rows in the primary column with its interval: what the colours of a table cannot show."""

from __future__ import annotations

from matplotlib.axes import Axes

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import canvas, evidence, labels, marks, numbers
from mmablate.report.canvas import PAGE, PALETTE_SIZE, Drawing, LegendEntry, Palette

_MOST_ROWS = 16


def delta_intervals(table: Table, palette: Palette = PAGE) -> Drawing | None:
    """A point with its interval for each row that has one; None for sweeps, whose curves show the same.

    Points are numbered and named in the legend; in a table of few rows they have the colours of its bars.
    """
    column = marks.primary_column(table)
    if column is None or table.sweep is not None:
        return None
    measured = [row for row in table.rows if not marks.is_empty(marks.cell(row, column))]
    found = [(place, row, marks.cell(row, column)) for place, row in enumerate(measured) if _has_interval(row, column)]
    if not 1 <= len(found) <= _MOST_ROWS:
        return None
    coloured = len(measured) <= PALETTE_SIZE and not marks.is_effects(table)
    colours = {place: palette.bars[place] if coloured else palette.curve for place, _, _ in found}
    figure, axes = canvas.new_axes(palette)
    axes.axhline(0, color=palette.base, linewidth=1.2, dashes=(4, 3))
    for x, (place, _, cell) in enumerate(found):
        _point(axes, x, cell, colours[place], palette)
    axes.set_xlim(-0.6, len(found) - 0.4)
    axes.margins(y=0.1)
    axes.autoscale_view(scalex=False)
    canvas.name_ticks(axes, range(len(found)), [str(x + 1) for x in range(len(found))])
    canvas.settle(figure, axes, decimal=table.decimal)
    name, about = marks.column_label(table, column), marks.info(table, column)
    unit = {"%": " in points", "": ""}.get(about.unit, f" in {labels.clean(about.unit)}")
    notes = [f"whiskers: {numbers.percent(table.confidence, table.decimal)} interval{unit}"]
    if any(marks.not_significant(cell) for _, _, cell in found):
        notes.append("open: not significant")
    notes.append("dashed: no difference")
    return Drawing(
        name="delta",
        figure=figure,
        heading=f"Δ of {name}, with its interval",
        description=f"Δ of {labels.plain(name)} with its interval, {len(found)} rows; the numbers stand in the table.",
        legend=tuple(
            LegendEntry(colours[place], f"{x}: {row.label}") for x, (place, row, _) in enumerate(found, start=1)
        ),
        note="; ".join(notes),
        axis_names=("", f"Δ {labels.plain(name)}{unit}"),
    )


def _has_interval(row: Row, column: str) -> bool:
    cell = marks.cell(row, column)
    return not row.reference and numbers.is_number(cell.delta) and evidence.interval_of(cell) is not None


def _point(axes: Axes, x: float, cell: Cell, colour: str, palette: Palette) -> None:
    """A filled point for a significant Δ or one without a test, an open one else."""
    delta = cell.delta or 0.0
    low, high = cell.ci or (delta, delta)
    axes.plot([x, x], [low, high], color=colour, linewidth=2.2, solid_capstyle="butt")
    face = palette.card if marks.not_significant(cell) else colour
    axes.plot(
        [x], [delta], linestyle="none", marker="o", markersize=7.5,
        color=colour, markerfacecolor=face, markeredgecolor=colour, markeredgewidth=1.8,
    )  # fmt: skip
