"""What stands behind each Δ: the text of a cell's hover, and the same as a table that touch and print can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import labels, marks, numbers

MOST_LINES = 2000
MOST_SEEDS = 12
"""Lines of the table, and seeds whose values are listed: a page of thousands of runs stays small."""


class LineView(NamedTuple):
    """One cell's numbers: row, column, and (text, number to sort by or "") for each heading."""

    row: Markup
    column: Markup
    cells: list[tuple[str, str]]


class EvidenceView(NamedTuple):
    """All numbers of a table.

    Attributes:
        headings: (text, explanation) of the columns behind row and column.
        left_out: what is not listed, in words; "" where all is.
    """

    headings: list[tuple[str, str]]
    lines: list[LineView]
    left_out: str


def sort_value(value: float | None) -> str:
    """A number for a data attribute, "" where there is none."""
    return f"{value:.9g}" if numbers.is_number(value) else ""


def seed_values(table: Table, cell: Cell) -> list[str]:
    """ "0: 43.190" for each seed, as many as are listed."""
    digits = table.n_decimals + 1
    texts = [
        f"{labels.clean(seed)}: {numbers.fixed(value, digits, table.decimal)}"
        for seed, value in list(cell.values.items())[:MOST_SEEDS]
    ]
    further = len(cell.values) - MOST_SEEDS
    return [*texts, f"and {further} more"] if further > 0 else texts


def hover(table: Table, cell: Cell) -> str:
    """What the pointer shows: values of the seeds, the interval of Δ, its tests, and how many seeds it takes."""
    sign, digits = table.decimal, table.n_decimals + 1
    lines = [text if text.startswith("and ") else f"seed {text}" for text in seed_values(table, cell)]
    if _has_interval(cell) and cell.ci is not None:
        low, high = (numbers.signed(end, digits, sign) for end in cell.ci)
        lines.append(f"Δ {numbers.percent(table.confidence, sign)} interval: {low} to {high}")
    if numbers.is_number(cell.p) and cell.test is not None:
        adjusted = ""
        if numbers.is_number(cell.p_adjusted):
            adjusted = f"; adjusted {numbers.p_value(cell.p_adjusted, sign)}"
        pairs = f" over {cell.n_pairs} seeds" if cell.n_pairs is not None else ""
        lines.append(f"{cell.test} test{pairs}: {numbers.p_value(cell.p, sign)}{adjusted}")
    if numbers.is_number(cell.p_sign_flip):
        lines.append(f"sign-flip test: {numbers.p_value(cell.p_sign_flip, sign)}")
    for name, value in (("correlation of the pairs", cell.correlation), ("effect size d", cell.effect_size)):
        if numbers.is_number(value):
            lines.append(f"{name}: {numbers.fixed(value, 2, sign)}")
    if table.smallest_effect is not None and cell.seeds_needed is not None:
        lines.append(f"seeds to detect {numbers.level(table.smallest_effect, sign)}: {_seeds(cell)}")
    return "\n".join(lines)


def _has_interval(cell: Cell) -> bool:
    return cell.ci is not None and all(numbers.is_number(end) for end in cell.ci)


def _seeds(cell: Cell) -> str:
    upper = cell.seeds_needed_upper
    return f"{cell.seeds_needed}{f' (up to {upper})' if upper is not None and upper != cell.seeds_needed else ''}"


Column = tuple[str, str, Callable[[Cell], tuple[str, float | None]]]


def _columns(table: Table) -> list[Column]:
    """Every heading with its explanation, and how a cell is printed and sorted under it."""
    sign, n = table.decimal, table.n_decimals

    def number(pick: Callable[[Cell], float | None], digits: int) -> Callable[[Cell], tuple[str, float | None]]:
        return lambda cell: (numbers.fixed(pick(cell), digits, sign), pick(cell))

    def p(pick: Callable[[Cell], float | None]) -> Callable[[Cell], tuple[str, float | None]]:
        def write(cell: Cell) -> tuple[str, float | None]:
            value = pick(cell)
            return (numbers.p_bare(value, sign) if numbers.is_number(value) else numbers.MISSING), value

        return write

    def interval(cell: Cell) -> tuple[str, float | None]:
        if cell.ci is None or not _has_interval(cell):
            return numbers.MISSING, None
        return numbers.interval(cell.ci, n, sign), cell.ci[0]

    def needed(cell: Cell) -> tuple[str, float | None]:
        return (numbers.MISSING, None) if cell.seeds_needed is None else (_seeds(cell), cell.seeds_needed)

    def delta(cell: Cell) -> tuple[str, float | None]:
        welch = marks.WELCH if marks.is_welch(cell) else ""
        return f"{numbers.signed(cell.delta, n, sign)}{welch}", cell.delta

    smallest = "" if table.smallest_effect is None else f" to detect {numbers.level(table.smallest_effect, sign)}"
    return [
        ("mean", "over seeds", number(lambda c: c.mean, n)),
        ("std", "standard deviation over seeds (n − 1)", number(lambda c: c.std, n)),
        ("Δ", "effect of the term or factor" if marks.is_effects(table) else "difference to the baseline", delta),
        (f"{numbers.percent(table.confidence, sign)} interval", "of Δ, from Student's t", interval),
        ("n", "pairs of seeds", lambda c: (str(c.n_pairs) if c.n_pairs is not None else numbers.MISSING, c.n_pairs)),
        ("p", "two-sided t test", p(lambda c: c.p)),
        ("p adj.", "adjusted by Holm within its family", p(lambda c: c.p_adjusted)),
        ("p flip", "exact sign-flip test, not adjusted", p(lambda c: c.p_sign_flip)),
        ("ρ", "correlation of the pairs", number(lambda c: c.correlation, 2)),
        ("d", "Δ in standard deviations of the differences", number(lambda c: c.effect_size, 2)),
        (f"seeds{smallest}", "for a power of 80 % at the spread seen, and at its 80 % upper bound", needed),
        ("by seed", "values of the single seeds", lambda c: (" · ".join(seed_values(table, c)), None)),
    ]


def evidence_view(table: Table) -> EvidenceView | None:
    """All numbers behind the cells, None where nothing stands behind them."""
    columns, left_out = _listed_columns(table)
    found: list[tuple[Row, str, Cell]] = [
        (row, column, marks.cell(row, column))
        for row in table.rows
        for column in columns
        if not marks.is_empty(marks.cell(row, column))
    ]
    if len(found) > MOST_LINES:
        left_out = f"the first {MOST_LINES} of {len(found)} cells{f', {left_out}' if left_out else ''}"
        found = found[:MOST_LINES]
    cells = [cell for _, _, cell in found]
    if not any(cell.values or cell.ci is not None or cell.p is not None for cell in cells):
        return None
    written = [(name, about, [write(cell) for cell in cells]) for name, about, write in _columns(table)]
    kept = [entry for entry in written if any(text not in ("", numbers.MISSING) for text, _ in entry[2])]
    lines = [
        LineView(
            Markup(labels.with_sub_tags(row.label, _escape)),
            Markup(labels.with_sub_tags(marks.column_label(table, column), _escape)),
            [(texts[i][0], sort_value(texts[i][1])) for _, _, texts in kept],
        )
        for i, (row, column, _) in enumerate(found)
    ]
    return EvidenceView([(name, about) for name, about, _ in kept], lines, left_out)


def _escape(text: str) -> str:
    return str(Markup.escape(text))


def _listed_columns(table: Table) -> tuple[list[str], str]:
    """All columns, or the primary one where there are too many cells; and words for what is left out."""
    primary = marks.primary_column(table)
    if len(table.rows) * len(table.columns) <= MOST_LINES or primary is None:
        return list(table.columns), ""
    return [primary], f"the column {labels.clean(primary)} only"
