"""Figures as inline SVG: drawn by matplotlib, coloured by the page's style sheet, the same bytes every time.

Matplotlib draws in placeholder colours, which become CSS variables afterwards, so that one figure serves the
light and the dark theme. Text stays text. Legends are HTML and belong to the page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mmablate.analysis.table import Row, Table
from mmablate.report import labels, marks, numbers

PALETTE_SIZE = 8
_MOST_BARS = 8
# Placeholder colours and what they stand for on the page.
_INK, _MUTED, _RULE, _CARD, _CURVE, _BASE = "#0f0f01", "#0f0f02", "#0f0f03", "#0f0f04", "#0f0f05", "#0f0f06"
_BARS = tuple(f"#0f0f1{i}" for i in range(PALETTE_SIZE))
_LEVELS = tuple(f"#0f0f2{i}" for i in range(PALETTE_SIZE))
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _RULE: "--rule",
    _CARD: "--card",
    _CURVE: "--curve",
    _BASE: "--base",
    **{colour: f"--bar{i}" for i, colour in enumerate(_BARS)},
    **{colour: f"--level{i}" for i, colour in enumerate(_LEVELS)},
}
_SIZE = (4.6, 2.7)
_FONT_SIZE = 9.5


class LegendEntry(NamedTuple):
    """One swatch of a legend.

    Attributes:
        variable: CSS variable of its colour.
        label: may hold `_x` subscripts.
    """

    variable: str
    label: str


class Plot(NamedTuple):
    """A figure for the page.

    Attributes:
        heading: above it, as text.
        svg: markup, safe to inline: every text in it was escaped by matplotlib.
        description: what it shows, for those who cannot see it.
        note: below it, as text.
    """

    heading: str
    svg: str
    description: str
    legend: tuple[LegendEntry, ...] = ()
    note: str = ""


def _axes() -> tuple[Figure, Axes]:
    """An empty figure in the page's style: horizontal rules only."""
    figure = Figure(figsize=_SIZE, layout=None)
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.1, 0.12, 0.88, 0.82))
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.tick_params(length=0, labelsize=_FONT_SIZE, colors=_MUTED, pad=6)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _plain_ticks(axes: Axes, positions: Sequence[float], texts: Sequence[str]) -> None:
    """Ticks with texts that are never read as mathematics ("$" in a name is a "$")."""
    axes.set_xticks(list(positions), list(texts), parse_math=False)
    axes.set_xticks([], minor=True)


def _inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as an `<svg>` element for HTML.

    Args:
        figure: finished.
        prefix: of every id in it; ids must be unique on the page.
    """
    out = io.StringIO()
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "mmablate", "font.family": ["DejaVu Sans"]}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="svg")
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # The metadata hold the date; without them the same figure is the same text.
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', text)
    root = f'<svg {view_box[0] if view_box else ""} aria-hidden="true">'
    text = root + text[text.index(">") + 1 :]
    text = text.replace("xlink:href", "href").replace("'DejaVu Sans'", "inherit").replace('"DejaVu Sans"', "inherit")
    text = re.sub(r"font: ([\d.]+px) inherit", r"font-size: \1", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text).strip()


def _shown_rows(rows: Sequence[Row], column: str) -> list[Row]:
    """All rows, or the first, the best and the last of too many."""
    if len(rows) <= _MOST_BARS:
        return list(rows)
    best = next((row for row in rows if marks.cell(row, column).best), rows[-1])
    return [row for row in rows if row in (rows[0], best, rows[-1])]


def subset_bars(table: Table, prefix: str) -> Plot | None:
    """Grouped bars of the rows over the modality subsets, None for a table without subset columns."""
    metric = next((marks.info(table, c).metric for c in table.columns if marks.info(table, c).subset), None)
    columns = [c for c in table.columns if marks.info(table, c).subset and marks.info(table, c).metric == metric]
    measured = [row for row in table.rows if any(numbers.is_number(marks.cell(row, c).mean) for c in columns)]
    summary = marks.summary_column(table)
    if not table.column_info or len(columns) < 2 or not measured or summary is None:
        return None
    rows = _shown_rows(measured, summary)
    palette = _LEVELS if marks.sweep_curve(table) else _BARS  # levels have an order, other rows have none
    figure, axes = _axes()
    width = 0.8 / len(rows)
    for index, row in enumerate(rows):
        cells = [marks.cell(row, column) for column in columns]
        places = [i + (index - (len(rows) - 1) / 2) * width for i in range(len(columns))]
        found = [(x, c) for x, c in zip(places, cells, strict=True) if numbers.is_number(c.mean)]
        axes.bar([x for x, _ in found], [c.mean or 0.0 for _, c in found], width=width * 0.92, color=palette[index])
        whiskers = [(x, c.mean or 0.0, c.std) for x, c in found if numbers.is_number(c.std)]
        axes.errorbar(
            [x for x, _, _ in whiskers],
            [mean for _, mean, _ in whiskers],
            yerr=[std for _, _, std in whiskers],
            fmt="none",
            ecolor=_INK,
            elinewidth=0.8,
        )
    _plain_ticks(axes, range(len(columns)), [labels.clean(column) for column in columns])
    axes.margins(x=0.01)
    unit = marks.info(table, columns[0]).unit
    spread = any(numbers.is_number(marks.cell(row, column).std) for row in rows for column in columns)
    note = labels.clean(f"{metric}{f' in {unit}' if unit else ''}{'; whiskers: ± std over seeds' if spread else ''}")
    if len(rows) < len(measured):
        note += f"; first, best and last of {len(measured)} rows"
    return Plot(
        heading="By modality subset",
        svg=_inline_svg(figure, prefix),
        description=f"Bars of {labels.clean(str(metric))} for {len(rows)} rows over {len(columns)} subsets "
        "of the modalities; the numbers stand in the table.",
        legend=tuple(LegendEntry(_VARIABLES[palette[i]], row.label) for i, row in enumerate(rows)),
        note=note,
    )


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
    half = {p: len(numbers.level(p.value)) * _FONT_SIZE * 0.42 + 3 for p in points}  # in points, as are places
    ends = (points[0], points[-1])
    chosen: list[marks.SweepPoint] = []
    for point in sorted(points, key=lambda p: (not p.used, p not in ends)):
        if all(abs(places[point] - places[other]) >= half[point] + half[other] for other in chosen):
            chosen.append(point)
    return sorted(chosen, key=lambda p: p.value)


def sensitivity(table: Table, prefix: str) -> Plot | None:
    """The summary column over one swept numeric parameter, None for any other table."""
    curve = marks.sweep_curve(table)
    if curve is None:
        return None
    points = [p for p in curve.points if numbers.is_number(p.mean)]
    if len(points) < 2:
        return None
    figure, axes = _axes()
    figure.set_dpi(72)
    values, means = [p.value for p in points], [p.mean or 0.0 for p in points]
    spreads = [p.std if numbers.is_number(p.std) else 0.0 for p in points]
    if any(spreads):
        low = [mean - std for mean, std in zip(means, spreads, strict=True)]
        high = [mean + std for mean, std in zip(means, spreads, strict=True)]
        axes.fill_between(values, low, high, color=_CURVE, alpha=0.16, linewidth=0)
    _scale(axes, values)
    axes.margins(x=0.04, y=0.12)
    baseline = curve.baseline_mean
    if numbers.is_number(baseline):
        axes.axhline(baseline, color=_BASE, linewidth=1.2, dashes=(4, 3))
    axes.plot(values, means, color=_CURVE, linewidth=1.8, marker="o", markersize=4.5)
    ring = [(p.value, p.mean or 0.0) for p in points if p.used]
    axes.plot(
        [x for x, _ in ring],
        [y for _, y in ring],
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor=_CARD,
        markeredgecolor=_CURVE,
        markeredgewidth=2.2,
    )
    axes.autoscale_view()
    shown = _readable(axes, points)
    _plain_ticks(axes, [p.value for p in shown], [numbers.level(p.value) for p in shown])
    note = f"dashed: baseline ({numbers.fixed(curve.baseline_mean, table.n_decimals)})"
    parts = [note if numbers.is_number(curve.baseline_mean) else "", "ring: value used" if ring else ""]
    missing = len(curve.points) - len(points)
    parts.append(f"{missing} failed level{'' if missing == 1 else 's'} left out" if missing else "")
    return Plot(
        heading=f"Sensitivity to {curve.symbol} ({labels.clean(curve.column)})",
        svg=_inline_svg(figure, prefix),
        description=f"Curve of {labels.clean(curve.column)} over {len(points)} values of {curve.symbol}; "
        "the numbers stand in the table.",
        legend=(LegendEntry("--curve", "mean over seeds ± std" if any(spreads) else "mean over seeds"),),
        note="; ".join(part for part in parts if part),
    )


def plots(table: Table, prefix: str) -> list[Plot]:
    """The figures that this table gives reason for."""
    found = (sensitivity(table, f"{prefix}-curve"), subset_bars(table, f"{prefix}-bars"))
    return [plot for plot in found if plot is not None]
