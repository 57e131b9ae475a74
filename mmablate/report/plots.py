"""Figures that a table gives reason for, as cards of the page; bars by modality subset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import canvas, labels, marks, numbers
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette
from mmablate.report.factor_plots import curve_drawings
from mmablate.report.interval_plot import delta_intervals
from mmablate.report.search_plots import search_drawings
from mmablate.report.sensitivity import sensitivity, sensitivity_grid, sensitivity_panels

_MOST_BARS = 8
_MOST_SUBSETS = 40


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
    curves = curve_drawings(table, palette)
    found = (
        *search_drawings(table, palette),
        sensitivity(table, palette),
        sensitivity_grid(table, palette),
        *curves,
        subset_bars(table, palette),
        None if curves else delta_intervals(table, palette),  # curves show the same
    )
    return [*(drawing for drawing in found if drawing is not None), *sensitivity_panels(table, palette)]


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
    whole = [row for row in table.rows if not row.pruned]
    measured = [row for row in whole if any(numbers.is_number(marks.cell(row, c).mean) for c in columns)]
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
    canvas.settle(figure, axes, decimal=table.decimal)
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
