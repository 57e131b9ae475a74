"""One self-contained page: tables like those of a careful paper, figures inline, no request to anywhere.

This module turns tables into plain view values; the templates set them. Autoescaping is on, and the only
markup made here is `<sub>` around escaped runs and the figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from mmablate.analysis.table import HeatScale, Row, Table
from mmablate.report import canvas, colours, evidence, labels, marks, numbers, plots, script, templating

_MOST_REASONS = 20


class CellView(NamedTuple):
    """One cell as printed.

    Attributes:
        classes: heat class, "pale", "best", "sep".
        mean, std, delta: texts, empty where there is nothing to print.
        mark: "†" or "".
        test: what stands behind Δ: "ʷ", "n.s.", "baseline".
        hover: values of the single seeds, interval and p.
        key: number to sort by, "" where there is none.
    """

    classes: str
    mean: str
    std: str
    delta: str
    mark: str
    test: str
    hover: str
    key: str = ""


class RowView(NamedTuple):
    """One row as printed.

    Attributes:
        facts: small words under the label: "4 seeds only", "reference", "Δ to ...".
        failure: reasons, for a row without a value: they take the place of its cells.
        extras: parameters, FLOPs, seconds, each with its number to sort by.
    """

    label: Markup
    facts: list[Markup]
    failure: list[str]
    cells: list[CellView]
    extras: list[tuple[str, str]]


class SwatchView(NamedTuple):
    """One step of the colour scale."""

    classes: str
    number: str


class ScaleView(NamedTuple):
    """The colour scale of the columns of one metric, worst to best."""

    worse: list[SwatchView]
    better: list[SwatchView]
    unit: str


class ColumnView(NamedTuple):
    """The head of a column: class, name, note under it, and the direction that is sorted first."""

    classes: str
    name: Markup
    note: str
    first: str


class FigureView(NamedTuple):
    """One figure of a card: heading of its own or "", markup, and what it shows in words."""

    heading: Markup
    svg: Markup
    description: str


class EntryView(NamedTuple):
    """One entry of a legend: CSS variable of its colour, dash pattern of a line ("" for a patch), label."""

    variable: str
    dash: str
    label: Markup


class PlotView(NamedTuple):
    """A card with one figure, or with several side by side."""

    heading: Markup
    figures: list[FigureView]
    legend: list[EntryView]
    note: str


class TableView(NamedTuple):
    """Everything the template prints of one table."""

    anchor: str
    title: str
    measured: str
    chips: list[tuple[str, Markup]]
    row_header: Markup
    columns: list[ColumnView]
    extra_names: list[str]
    rows: list[RowView]
    caption: Markup
    key: str
    scales: list[ScaleView]
    failures: list[tuple[Markup, str]]
    evidence: evidence.EvidenceView | None
    plots: list[PlotView]
    notes: list[str]
    attribution: str


def label_html(label: str) -> Markup:
    """A label with real subscripts, every run escaped; a line breaks before a "+", never behind it."""
    return Markup(labels.with_sub_tags(label, lambda text: str(escape(text.replace(" + ", " +\N{NO-BREAK SPACE}")))))


def _heat_class(heat: str) -> str:
    return f"h{heat[1:].lower()}"


def _first_after_subsets(table: Table) -> str | None:
    """The column before which a thin rule stands: the first summary after the subsets."""
    kinds = [(c, marks.info(table, c).subset) for c in table.columns]
    return next((b for (_, x), (b, y) in itertools.pairwise(kinds) if x and not y), None)


def _cell_view(table: Table, row: Row, column: str, *, separated: bool, repeated: bool) -> CellView:
    cell = marks.cell(row, column)
    classes = ["sep"] if separated else []
    if marks.is_empty(cell):
        failed = marks.has_failed(table, row, column)
        classes.append("failed" if failed else "absent")
        return CellView(
            " ".join(classes), marks.absent(table, row, column), "", "", "", "", "" if failed else "no value"
        )
    n, sign = table.n_decimals, table.decimal
    has_mean, has_delta = numbers.is_number(cell.mean), numbers.is_number(cell.delta)
    doubt = marks.doubt(cell, repeated=repeated)
    if colours.is_colour(cell.heat):
        classes += [_heat_class(str(cell.heat)), *(["pale"] if doubt else [])]
    if cell.best:
        classes.append("best")
    test = f"{marks.welch_mark(cell, repeated=repeated)}{f' {doubt}' if doubt else ''}"
    if not has_delta:
        test = "baseline" if marks.is_baseline(row) and not marks.info(table, column).reference else ""
    return CellView(
        classes=" ".join(classes),
        mean=numbers.fixed(cell.mean, n, sign) if has_mean else numbers.signed(cell.delta, n, sign),
        std=f"±{numbers.fixed(cell.std, n, sign)}" if numbers.is_number(cell.std) else "",
        delta=numbers.signed(cell.delta, n, sign) if has_mean and has_delta else "",
        mark=marks.TIED if cell.tied and not cell.best else "",
        test=test,
        hover=evidence.hover(table, cell),
        key=evidence.sort_value(cell.mean if has_mean else cell.delta),
    )


def _row_views(table: Table) -> list[RowView]:
    first, repeated, extras = _first_after_subsets(table), marks.is_repeated(table), marks.extras(table)
    found = []
    for index, row in enumerate(table.rows):
        cells = [_cell_view(table, row, c, separated=c == first, repeated=repeated) for c in table.columns]
        shown = [(extra.texts[index], evidence.sort_value(getattr(row, extra.field))) for extra in extras]
        found.append(_row_view(table, row, cells, shown))
    return found


def _row_view(table: Table, row: Row, cells: list[CellView], extras: list[tuple[str, str]]) -> RowView:
    failure = []
    if row.status == "failed":
        failure = [labels.clean(error) for error in row.errors] or ["no run finished"]
        if len(failure) > _MOST_REASONS:
            failure = [*failure[:_MOST_REASONS], f"and {len(failure) - _MOST_REASONS} further runs"]
    facts = [label_html(fact) for fact in marks.row_facts(table, row) if fact != "baseline"]  # cells say that
    return RowView(label_html(row.label), facts, failure, [] if failure else cells, extras)


def _scale_view(scale: HeatScale, decimal: str) -> ScaleView:
    """Swatches with the size of Δ at which each begins."""
    bounds = marks.scale_bounds(scale, decimal)

    def swatches(side: Sequence[str]) -> list[SwatchView]:
        return [
            SwatchView(_heat_class(colour) if colours.is_colour(colour) else "", bound)
            for bound, colour in zip(bounds, side, strict=False)
        ]

    return ScaleView(swatches(scale.loss)[::-1], swatches(scale.gain), marks.scale_unit(scale))


def plot_views(found: Sequence[plots.Plot]) -> list[PlotView]:
    """Cards as the template prints them."""
    return [
        PlotView(
            heading=label_html(plot.heading),
            figures=[FigureView(label_html(p.heading), Markup(p.svg), p.description) for p in plot.panels],
            legend=[EntryView(e.variable, _dash(e.dash), label_html(e.label)) for e in plot.legend],
            note=plot.note,
        )
        for plot in found
    ]


def _dash(index: int | None) -> str:
    """The line style of a legend's swatch as an SVG dash pattern; "0" is a solid line."""
    if index is None:
        return ""
    style = canvas.DASHES[index]
    return "0" if isinstance(style, str) else " ".join(f"{1.6 * length:g}" for length in style[1])


def table_view(table: Table, anchor: str) -> TableView:
    """A table as the template prints it.

    Args:
        table: the table.
        anchor: id of its section, unique on the page.
    """
    separated = _first_after_subsets(table)
    notes = marks.column_notes(table)
    partial = [row for row in table.rows if row.status != "failed"]
    return TableView(
        anchor=anchor,
        title=marks.title(table),
        measured=marks.measured(table),
        chips=[(chip.kind, label_html(chip.text)) for chip in marks.chips(table)],
        row_header=label_html(table.row_header),
        columns=[
            ColumnView(
                classes="sep" if column == separated else "",
                name=label_html(marks.column_label(table, column)),
                note=notes[column],
                first="ascending" if marks.info(table, column).direction == "min" else "descending",
            )
            for column in table.columns
        ],
        extra_names=[extra.title for extra in marks.extras(table)],
        rows=_row_views(table),
        caption=Markup(labels.with_sub_tags(table.caption, lambda text: str(escape(text)))),
        key=marks.key(table, best="bold", delta="with a sign", pale=" (pale)"),
        scales=[_scale_view(scale, table.decimal) for scale in table.heat_scales] if marks.has_heat(table) else [],
        failures=[(label_html(row.label), labels.clean(error)) for row in partial for error in row.errors],
        evidence=evidence.evidence_view(table),
        plots=plot_views(plots.plots(table, anchor)),
        notes=[labels.clean(note) for note in table.notes],
        attribution=labels.clean(table.dataset.attribution or ""),
    )


def render_page(tables: Sequence[Table]) -> str:
    """One HTML page with all tables; opened from disk it needs nothing else."""
    views = [table_view(table, f"t{index}") for index, table in enumerate(tables, start=1)]
    heading = views[0].title if len(views) == 1 else f"{len(views)} ablation studies"
    return fill_page(tables, heading=heading, tables=views, listed=len(views) != 1)


def fill_page(sources: Sequence[Table], **values: Any) -> str:
    """page.html.j2 with these values and the heat colours of the tables that they came from."""
    heats = [(_heat_class(colour), style) for colour, style in colours.heat_styles(sources).items()]
    code = script.page_script()
    further = {"links": [], "scenes": None, "details": None, "saliency": None, "modalities": None, **values}
    return templating.fill("page.html.j2", heats=heats, script=code, policy=script.policy(code), **further)


def render(tables: Sequence[Table], *, single: bool) -> str:
    """The page; `single` makes no difference here."""
    return render_page(tables)
