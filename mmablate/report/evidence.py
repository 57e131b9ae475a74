"""What stands behind each Δ: in lines below a table, as the text of a cell's hover, and as a table of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def interval_of(cell: Cell) -> tuple[float, float] | None:
    """The interval of Δ, None where an end is no number."""
    return cell.ci if cell.ci is not None and all(numbers.is_number(end) for end in cell.ci) else None


def _evident(table: Table) -> list[tuple[str, Row, Cell]]:
    """The cells of the evident columns that have an interval, row by row."""
    found = [
        (column, row, marks.cell(row, column))
        for row in table.rows
        if not row.reference
        for column in marks.evident_columns(table)
    ]
    return [(c, row, one) for c, row, one in found if numbers.is_number(one.delta) and interval_of(one) is not None]


def lines(table: Table) -> list[str]:
    """What is known of Δ in the evident columns: one line for each of their cells that has an interval.

    A line is a label: it may hold `_x` subscripts. "Mean, L_sup + λL_mad: Δ +0.31 [−0.12, +0.74], p = 0.110
    (adjusted 0.220), sign-flip p = 0.125, n = 5, ρ = 0.31, d = 0.90; seeds to detect 0.5: 8 (up to 19)".
    """
    return [
        f"{marks.column_label(table, column)}, {labels.clean(row.label)}: {_told(table, one)}"
        for column, row, one in _evident(table)
    ]


def _told(table: Table, cell: Cell) -> str:
    """Δ of a cell with its interval, tests and pairs."""
    n, sign = table.n_decimals, table.decimal
    ends = interval_of(cell)
    parts = [f"Δ {numbers.signed(cell.delta, n, sign)}{f' {numbers.interval(ends, n, sign)}' if ends else ''}"]
    if numbers.is_number(cell.p):
        adjusted = f" (adjusted {numbers.p_bare(cell.p_adjusted, sign)})" if numbers.is_number(cell.p_adjusted) else ""
        welch = "Welch's " if cell.test == "welch" else ""
        parts.append(f"{welch}{numbers.p_value(cell.p, sign)}{adjusted}")
    if numbers.is_number(cell.p_sign_flip):
        parts.append(f"sign-flip {numbers.p_value(cell.p_sign_flip, sign)}")
    if cell.n_pairs is not None:
        parts.append(f"n = {numbers.whole(cell.n_pairs)}")
    for symbol, value in (("ρ", cell.correlation), ("d", cell.effect_size)):
        if numbers.is_number(value):
            parts.append(f"{symbol} = {numbers.fixed(value, 2, sign)}")
    needed = _needed(table, cell)
    return (", " if sign == "." else "; ").join(parts) + (f"; {needed}" if needed else "")


def _needed(table: Table, cell: Cell) -> str:
    """How many seeds the smallest effect worth detecting takes, where the recipe names one."""
    if table.smallest_effect is None or cell.seeds_needed is None:
        return ""
    return f"seeds to detect {numbers.level(table.smallest_effect, table.decimal)}: {_seeds(cell)}"


def _seeds(cell: Cell) -> str:
    upper = cell.seeds_needed_upper
    most = f" (up to {numbers.whole(upper)})" if upper is not None and upper != cell.seeds_needed else ""
    return f"{numbers.whole(cell.seeds_needed)}{most}"


def key(table: Table) -> str:
    """The key to what stands in `lines`, "" where there are none."""
    cells = [one for _, _, one in _evident(table)]
    if not cells:
        return ""
    facts = (
        (True, "In square brackets: interval of Δ"),
        (any(c.p is not None for c in cells), "p: two-sided t test, adjusted by Holm within its family"),
        (any(c.p_sign_flip is not None for c in cells), "sign-flip p: exact, not adjusted"),
        (any(c.n_pairs is not None for c in cells), f"n: {_counted(table)}"),
        (any(c.correlation is not None for c in cells), "ρ: correlation of the pairs"),
        (any(c.effect_size is not None for c in cells), f"d: {_size_unit(table, cells)}"),
        (
            table.smallest_effect is not None and any(c.seeds_needed is not None for c in cells),
            "seeds: for a power of 80 % at the spread seen (at its 80 % upper bound)",
        ),
    )
    return "; ".join(text for holds, text in facts if holds)


def _counted(table: Table) -> str:
    """What n counts."""
    return "seeds" if marks.is_effects(table) else "pairs of seeds"


def _size_unit(table: Table, cells: Sequence[Cell]) -> str:
    """What d is in, by the tests of the cells that have one."""
    start = "Δ in standard deviations of"
    if marks.is_effects(table):
        return f"{start} the effect over seeds"
    tests = {cell.test for cell in cells if cell.effect_size is not None}
    if tests == {"welch"}:
        return f"{start} the two rows, pooled"
    return f"{start} the differences{' (not paired: of the two rows, pooled)' if 'welch' in tests else ''}"


def hover(table: Table, cell: Cell) -> str:
    """What the pointer shows: values of the seeds, the interval of Δ, its tests, and how many seeds it takes."""
    sign, digits = table.decimal, table.n_decimals + 1
    ends, needed = interval_of(cell), _needed(table, cell)
    found = [text if text.startswith("and ") else f"seed {text}" for text in seed_values(table, cell)]
    if ends is not None:
        low, high = (numbers.signed(end, digits, sign) for end in ends)
        found.append(f"Δ {numbers.percent(table.confidence, sign)} interval: {low} to {high}")
    if numbers.is_number(cell.p) and cell.test is not None:
        adjusted = ""
        if numbers.is_number(cell.p_adjusted):
            adjusted = f"; adjusted {numbers.p_value(cell.p_adjusted, sign)}"
        pairs = f" over {numbers.whole(cell.n_pairs)} seeds" if cell.n_pairs is not None else ""
        found.append(f"{cell.test} test{pairs}: {numbers.p_value(cell.p, sign)}{adjusted}")
    if numbers.is_number(cell.p_sign_flip):
        found.append(f"sign-flip test: {numbers.p_value(cell.p_sign_flip, sign)}")
    for name, value in (("correlation of the pairs", cell.correlation), ("effect size d", cell.effect_size)):
        if numbers.is_number(value):
            found.append(f"{name}: {numbers.fixed(value, 2, sign)}")
    return "\n".join([*found, needed] if needed else found)


Column = tuple[str, str, Callable[[Cell], tuple[str, float | None]]]


def _columns(table: Table, cells: Sequence[Cell]) -> list[Column]:
    """Every heading with its explanation for these cells, and how a cell is printed and sorted under it."""
    sign, n, repeated = table.decimal, table.n_decimals, marks.is_repeated(table)

    def number(pick: Callable[[Cell], float | None], digits: int) -> Callable[[Cell], tuple[str, float | None]]:
        return lambda cell: (numbers.fixed(pick(cell), digits, sign), pick(cell))

    def p(pick: Callable[[Cell], float | None]) -> Callable[[Cell], tuple[str, float | None]]:
        def write(cell: Cell) -> tuple[str, float | None]:
            value = pick(cell)
            return (numbers.p_bare(value, sign) if numbers.is_number(value) else numbers.MISSING), value

        return write

    def interval(cell: Cell) -> tuple[str, float | None]:
        ends = interval_of(cell)
        return (numbers.MISSING, None) if ends is None else (numbers.interval(ends, n, sign), ends[0])

    def needed(cell: Cell) -> tuple[str, float | None]:
        return (numbers.MISSING, None) if cell.seeds_needed is None else (_seeds(cell), cell.seeds_needed)

    def delta(cell: Cell) -> tuple[str, float | None]:
        return f"{numbers.signed(cell.delta, n, sign)}{marks.welch_mark(cell, repeated=repeated)}", cell.delta

    smallest = "" if table.smallest_effect is None else f" to detect {numbers.level(table.smallest_effect, sign)}"
    return [
        ("mean", "over seeds", number(lambda c: c.mean, n)),
        ("std", "standard deviation over seeds (n − 1)", number(lambda c: c.std, n)),
        ("Δ", "effect of the term or factor" if marks.is_effects(table) else "difference to the baseline", delta),
        (f"{numbers.percent(table.confidence, sign)} interval", "of Δ, from Student's t", interval),
        ("n", _counted(table), lambda c: (numbers.whole(c.n_pairs), c.n_pairs)),
        ("p", "two-sided t test", p(lambda c: c.p)),
        ("p adj.", "adjusted by Holm within its family", p(lambda c: c.p_adjusted)),
        ("p flip", "exact sign-flip test, not adjusted", p(lambda c: c.p_sign_flip)),
        ("ρ", "correlation of the pairs", number(lambda c: c.correlation, 2)),
        ("d", _size_unit(table, cells), number(lambda c: c.effect_size, 2)),
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
    written = [(name, about, [write(cell) for cell in cells]) for name, about, write in _columns(table, cells)]
    kept = [entry for entry in written if any(text not in ("", numbers.MISSING) for text, _ in entry[2])]
    views = [
        LineView(
            Markup(labels.with_sub_tags(row.label, _escape)),
            Markup(labels.with_sub_tags(marks.column_label(table, column), _escape)),
            [(texts[i][0], sort_value(texts[i][1])) for _, _, texts in kept],
        )
        for i, (row, column, _) in enumerate(found)
    ]
    return EvidenceView([(name, about) for name, about, _ in kept], views, left_out)


def _escape(text: str) -> str:
    return str(Markup.escape(text))


def _listed_columns(table: Table) -> tuple[list[str], str]:
    """All columns, or the primary one where there are too many cells; and words for what is left out."""
    primary = marks.primary_column(table)
    if len(table.rows) * len(table.columns) <= MOST_LINES or primary is None:
        return list(table.columns), ""
    return [primary], f"the column {labels.clean(primary)} only"
