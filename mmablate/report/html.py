"""One self-contained page: tables like those of a careful paper, figures inline, no request to anywhere.

This module turns tables into plain view values; the templates set them. Autoescaping is on, and the only
markup made here is `<sub>` around escaped runs and the figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from mmablate.analysis.table import Cell, HeatScale, Row, Table
from mmablate.report import colours, labels, marks, numbers, plots, templating


class CellView(NamedTuple):
    """One cell as printed.

    Attributes:
        classes: heat class, "pale", "best", "sep".
        mean, std, delta: texts, empty where there is nothing to print.
        mark: "†" or "".
        test: what stands behind Δ: "ʷ", "n.s.", "baseline".
        hover: values of the single seeds, interval and p.
    """

    classes: str
    mean: str
    std: str
    delta: str
    mark: str
    test: str
    hover: str


class RowView(NamedTuple):
    """One row as printed.

    Attributes:
        facts: small words under the label: "4 seeds only", "reference", "Δ to ...".
        failure: reasons, for a row without a value: they take the place of its cells.
        extras: parameters, FLOPs, seconds.
    """

    label: Markup
    facts: list[Markup]
    failure: list[str]
    cells: list[CellView]
    extras: list[str]


class SwatchView(NamedTuple):
    """One step of the colour scale."""

    classes: str
    number: str


class ScaleView(NamedTuple):
    """The colour scale of the columns of one metric, worst to best."""

    worse: list[SwatchView]
    better: list[SwatchView]
    unit: str


class TableView(NamedTuple):
    """Everything the template prints of one table."""

    anchor: str
    title: str
    measured: str
    chips: list[tuple[str, Markup]]
    row_header: Markup
    columns: list[tuple[str, str, str]]
    extra_names: list[str]
    rows: list[RowView]
    caption: Markup
    key: str
    scales: list[ScaleView]
    failures: list[tuple[Markup, str]]
    plots: list[tuple[plots.Plot, Markup, list[tuple[str, Markup]]]]
    notes: list[str]
    attribution: str


def label_html(label: str) -> Markup:
    """A label with real subscripts, every run escaped; a line breaks before a "+", never behind it."""
    return Markup(labels.with_sub_tags(label, lambda text: str(escape(text.replace(" + ", " +\N{NO-BREAK SPACE}")))))


def _heat_class(heat: str) -> str:
    return f"h{heat[1:].lower()}"


def _hover(table: Table, cell: Cell) -> str:
    """What the pointer shows: values of the seeds, the interval of Δ and its test."""
    digits = table.n_decimals + 1
    lines = [f"seed {labels.clean(seed)}: {numbers.fixed(value, digits)}" for seed, value in cell.values.items()]
    if cell.ci is not None:
        lines.append(f"Δ 95 % interval: {numbers.signed(cell.ci[0], digits)} to {numbers.signed(cell.ci[1], digits)}")
    if cell.p is not None and cell.test is not None:
        adjusted = f"; adjusted {numbers.p_value(cell.p_adjusted)}" if cell.p_adjusted is not None else ""
        lines.append(f"{cell.test} test: {numbers.p_value(cell.p)}{adjusted}")
    return "\n".join(lines)


def _first_after_subsets(table: Table) -> str | None:
    """The column before which a thin rule stands: the first summary after the subsets."""
    kinds = [(c, marks.info(table, c).subset) for c in table.columns]
    return next((b for (_, x), (b, y) in itertools.pairwise(kinds) if x and not y), None)


def _cell_view(table: Table, row: Row, column: str, separated: bool) -> CellView:
    cell = marks.cell(row, column)
    classes = ["sep"] if separated else []
    if not numbers.is_number(cell.mean):
        failed = row.status != "ok"
        classes.append("failed" if failed else "absent")
        return CellView(" ".join(classes), marks.absent(row), "", "", "", "", "" if failed else "no value")
    has_delta = numbers.is_number(cell.delta)
    quiet = marks.not_significant(cell)
    if colours.is_colour(cell.heat):
        classes += [_heat_class(str(cell.heat)), *(["pale"] if quiet else [])]
    if cell.best:
        classes.append("best")
    test = f"{marks.WELCH if marks.is_welch(cell) else ''}{f' {marks.NOT_SIGNIFICANT}' if quiet else ''}"
    if not has_delta:
        test = "baseline" if marks.is_baseline(row) else ""
    return CellView(
        classes=" ".join(classes),
        mean=numbers.fixed(cell.mean, table.n_decimals),
        std=f"±{numbers.fixed(cell.std, table.n_decimals)}" if numbers.is_number(cell.std) else "",
        delta=numbers.signed(cell.delta, table.n_decimals) if has_delta else "",
        mark=marks.TIED if cell.tied and not cell.best else "",
        test=test,
        hover=_hover(table, cell),
    )


def _row_view(table: Table, row: Row, index: int) -> RowView:
    separated = _first_after_subsets(table)
    failure = []
    if row.status == "failed":
        failure = [labels.clean(error) for error in row.errors] or ["no run finished"]
    facts = [label_html(fact) for fact in marks.row_facts(table, row) if fact != "baseline"]  # cells say that
    cells = [_cell_view(table, row, column, column == separated) for column in table.columns]
    extras = [texts[index] for _, texts in marks.extras(table)]
    return RowView(label_html(row.label), facts, failure, [] if failure else cells, extras)


def _scale_view(scale: HeatScale) -> ScaleView:
    """Swatches with the size of Δ at which each begins."""

    def swatches(side: Sequence[str]) -> list[SwatchView]:
        found = []
        for index, (bound, colour) in enumerate(zip(scale.steps, side, strict=False)):
            number = f">{bound:g}" if index == 0 else f"≥{bound:g}"
            found.append(SwatchView(_heat_class(colour) if colours.is_colour(colour) else "", number))
        return found

    what = labels.clean(f"points of {scale.metric}" if scale.unit == "%" else f"{scale.metric} {scale.unit}")
    return ScaleView(swatches(scale.loss)[::-1], swatches(scale.gain), what)


def _plot_views(table: Table, anchor: str) -> list[tuple[plots.Plot, Markup, list[tuple[str, Markup]]]]:
    return [
        (plot, Markup(plot.svg), [(e.variable, label_html(e.label)) for e in plot.legend])
        for plot in plots.plots(table, anchor)
    ]


def table_view(table: Table, anchor: str) -> TableView:
    """A table as the template prints it.

    Args:
        table: the table.
        anchor: id of its section, unique on the page.
    """
    separated = _first_after_subsets(table)
    has_heat = any(c.heat is not None for row in table.rows for c in row.cells.values())
    partial = [row for row in table.rows if row.status != "failed"]
    return TableView(
        anchor=anchor,
        title=marks.title(table),
        measured=marks.measured(table),
        chips=[(chip.kind, label_html(chip.text)) for chip in marks.chips(table)],
        row_header=label_html(table.row_header),
        columns=[
            ("sep" if c == separated else "", labels.clean(c), marks.column_note(table, c)) for c in table.columns
        ],
        extra_names=[name for name, _ in marks.extras(table)],
        rows=[_row_view(table, row, index) for index, row in enumerate(table.rows)],
        caption=Markup(labels.with_sub_tags(table.caption, lambda text: str(escape(text)))),
        key=marks.key(table, best="bold", delta="with a sign", pale=" (pale)"),
        scales=[_scale_view(scale) for scale in table.heat_scales] if has_heat else [],
        failures=[(label_html(row.label), labels.clean(error)) for row in partial for error in row.errors],
        plots=_plot_views(table, anchor),
        notes=[labels.clean(note) for note in table.notes],
        attribution=labels.clean(table.dataset.attribution or ""),
    )


def render_page(tables: Sequence[Table]) -> str:
    """One HTML page with all tables; opened from disk it needs nothing else."""
    views = [table_view(table, f"t{index}") for index, table in enumerate(tables, start=1)]
    heading = views[0].title if len(views) == 1 else f"{len(views)} ablation studies"
    return fill_page(tables, heading=heading, tables=views, listed=len(views) != 1, links=[], scenes=None)


def fill_page(sources: Sequence[Table], **values: Any) -> str:
    """page.html.j2 with these values and the heat colours of the tables that they came from."""
    heats = [(_heat_class(colour), style) for colour, style in colours.heat_styles(sources).items()]
    return templating.fill("page.html.j2", heats=heats, **values)


def render(tables: Sequence[Table], *, single: bool) -> str:
    """The page; `single` makes no difference here."""
    return render_page(tables)
