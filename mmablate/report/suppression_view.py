"""What encoders of several modalities were left to learn from, as plain view values for the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from markupsafe import Markup

from mmablate.analysis.suppression import SHARES, Looks, Point, Suppression
from mmablate.analysis.table import Table
from mmablate.report import evidence, html, labels, numbers, plots
from mmablate.report.gradient_plots import suppression_drawings

_GRADIENTS = {
    "larger": "|g_uni| > |g_multi|, %",
    "positive": "condition met, %",
    "larger_given": "|g_uni| > |g_multi| where met, %",
    "larger_otherwise": "|g_uni| > |g_multi| where not met, %",
    "surer_given": "p_y(multi) > p_y(uni) where met, %",
    "left": "mean |g_multi| / mean |g_uni|",
}
_WEAKNESS = {"strength": "strength", "unique": "unique, bits", "null": "95 % null, bits", "beta": "β"}
_DIGITS = {"left": 3, "strength": 3, "unique": 4, "null": 4, "beta": 3}


class CellView(NamedTuple):
    """One number: as printed, its interval or "", and the number to sort by or ""."""

    text: str
    interval: str
    key: str


class LineView(NamedTuple):
    """One modality of one row."""

    row: Markup
    modality: str
    epoch: str
    cells: list[CellView]
    seeds: str


class LooksView(NamedTuple):
    """The last looks as a table.

    Attributes:
        summary: what opens it.
        headings: of the quantities.
        note: below it.
    """

    summary: str
    headings: list[str]
    lines: list[LineView]
    note: str


class SuppressionView(NamedTuple):
    """Everything the template prints.

    Attributes:
        anchor, link: of the section, and what it is called where it is linked.
        plots: the cards of its figures.
        tables: numbers of the last epoch, under the figures.
    """

    anchor: str
    link: str
    heading: str
    plots: list[html.PlotView]
    tables: list[LooksView]
    synthetic: bool


def suppression_view(found: Suppression, table: Table) -> SuppressionView:
    """What was found, as the template prints it.

    Args:
        found: in the histories of a study.
        table: of the study; its decimal sign holds here, too, and whether its data are synthetic.
    """
    drawn = suppression_drawings(found, decimal=table.decimal)
    told = (
        (found.gradients, _GRADIENTS, "Gradients at the last epoch that was looked at"),
        (found.weakness, _WEAKNESS, "Weakness at the last look"),
    )
    return SuppressionView(
        anchor="modalities",
        link="modalities in training",
        heading="Modalities in training",
        plots=html.plot_views(plots.cards(drawn, "modalities")),
        tables=[_table(looks, names, summary, table.decimal) for looks, names, summary in told if looks is not None],
        synthetic=table.dataset.synthetic,
    )


def _table(looks: Looks, names: Mapping[str, str], summary: str, decimal: Literal[".", ","]) -> LooksView:
    lines = [
        LineView(
            html.label_html(row.row),
            labels.clean(modality),
            str(row.last_epoch),
            [_cell(row.at(modality, quantity, row.last_epoch), quantity, decimal) for quantity in names],
            numbers.whole(max((p.n_seeds for q in names if (p := row.at(modality, q, row.last_epoch))), default=0)),
        )
        for row in looks.rows
        for modality in row.modalities
    ]
    note = f"Means over seeds; in brackets {numbers.percent(looks.confidence, decimal)} intervals, each on its own"
    if looks.n_seeds[1] == 1:
        note = "One seed a row"
    if "positive" in names:
        note += "; condition: the other modalities together favour the true class over every other one"
    return LooksView(summary, list(names.values()), lines, f"{note}; {numbers.MISSING} : nothing to take it of.")


def _cell(point: Point | None, quantity: str, decimal: Literal[".", ","]) -> CellView:
    """Shares are in percent; their intervals end where shares do."""
    if point is None:
        return CellView(numbers.MISSING, "", "")
    factor = 100 if quantity in SHARES else 1
    digits = 1 if quantity in SHARES else _DIGITS[quantity]
    interval = ""
    if point.interval is not None:
        low, high = (factor * end for end in point.interval)
        if quantity in SHARES:
            low, high = max(0.0, low), min(100.0, high)
        parted = ";" if decimal == "," else ","
        interval = f"[{numbers.fixed(low, digits, decimal)}{parted} {numbers.fixed(high, digits, decimal)}]"
    return CellView(numbers.fixed(factor * point.mean, digits, decimal), interval, evidence.sort_value(point.mean))
