"""Which row the Δ of a table refer to: told by empty Δ cells, by a name, or found by trying.

A scheme gives each row its baseline. The one that the table's form suggests is assumed; where another one
explains every Δ and the assumed one does not, the Δ follow that one and nobody is accused.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from mmablate.analysis.audit import words
from mmablate.analysis.audit.intervals import DIFFERENCE, Interval, Verdict, exact, judge, rounded
from mmablate.analysis.audit.model import PrintedNumber, PublishedTable, Series

SAMPLE = 40
MAX_TRIED = 200  # rows that are tried as the baseline of all others


@dataclass(frozen=True)
class Scheme:
    """A baseline for each row.

    Attributes:
        words: for messages: "row 'sup'", "the row above".
        source: the number that Δ of (series, row position) is taken from; None where there is none.
        relative: Δ in percent of the baseline.
    """

    words: str
    source: Callable[[Series, int], PrintedNumber | None]
    relative: bool = False


@dataclass(frozen=True)
class Judged:
    """One Δ under a scheme."""

    row: int
    printed: PrintedNumber
    computed: Decimal
    verdict: Verdict


@dataclass(frozen=True)
class Fit:
    """All Δ of one series under a scheme.

    Attributes:
        sign: +1 as value minus baseline, -1 as baseline minus value, 0 sizes without a sign.
    """

    series: Series
    sign: int
    judged: tuple[Judged, ...]

    @property
    def n_wrong(self) -> int:
        """Δ that the scheme does not explain."""
        return sum(item.verdict == "wrong" for item in self.judged)


def to_decimal(value: Fraction, digits: int) -> Decimal:
    """Rounded half away from zero to that many decimals."""
    scaled = abs(value) * 10**digits
    whole = int(scaled + Fraction(1, 2))
    return (Decimal(whole) if value >= 0 else -Decimal(whole)).scaleb(-digits)


def _relative_verdict(printed: PrintedNumber, value: PrintedNumber, base: PrintedNumber, sign: int) -> Verdict:
    """100 (value - base) / base, whatever was rounded or cut off: bounds one unit wide on both sides."""
    unit_v, unit_b = Fraction(value.unit), Fraction(base.unit)
    corners = [
        sign * 100 * (v - b) / abs(b)
        for v in (exact(value) - unit_v, exact(value) + unit_v)
        for b in (exact(base) - unit_b, exact(base) + unit_b)
        if b
    ]
    if not corners:
        return "wrong"
    return "by rounding" if Interval(min(corners), max(corners)).meets(rounded(printed)) else "wrong"


def _judged(
    row: int, printed: PrintedNumber, value: PrintedNumber, base: PrintedNumber, sign: int, relative: bool
) -> Judged:
    if relative:
        computed = (
            to_decimal(sign * 100 * (exact(value) - exact(base)) / abs(exact(base)), printed.digits)
            if base.value
            else Decimal(0)
        )
        verdict = _relative_verdict(printed, value, base, sign)
        same = verdict != "wrong" and computed == printed.value
        return Judged(row, printed, computed, "consistent" if same else verdict)
    pair = (value, base) if sign > 0 else (base, value)
    return Judged(row, printed, sign * (value.value - base.value), judge(printed, pair, DIFFERENCE))


def fit(table: PublishedTable, series: Series, scheme: Scheme) -> Fit:
    """The series under the scheme, with the sign by which most of it is right.

    A lower-is-better column, or one that says "drop", may print gains as baseline minus value; any other one
    is read so only where that explains all of at least two Δ. Sizes without any sign may mean either.
    """
    column = series.column.index

    def under(sign: int) -> Fit:
        items = []
        for row, printed in series.deltas.items():
            value, base = table.value(row, column), scheme.source(series, row)
            if value is None or base is None:
                continue
            way = sign or (1 if value.value >= base.value else -1)
            items.append(_judged(row, printed, value, base, way, scheme.relative))
        return Fit(series, sign, tuple(items))

    plain = under(1)
    if plain.n_wrong == 0:
        return plain
    turned = under(-1)
    turns = series.column.direction < 0 or words.LOSS_IS_PRINTED.search(series.header) is not None
    enough = sum(d.value != 0 for d in series.deltas.values()) >= 2
    if turned.n_wrong < plain.n_wrong and (turns or (turned.n_wrong == 0 and enough)):
        return turned
    if enough and not any(d.signed for d in series.deltas.values()):
        sizes = under(0)
        if sizes.n_wrong == 0:
            return sizes
    return plain


def is_plausible(table: PublishedTable, group: Sequence[Series], scheme: Scheme) -> bool:
    """Whether a scheme explains half of a sample of Δ in size: a cheap look before all are judged."""
    pairs = [(s, row) for s in group for row in s.deltas]
    seen = near = 0
    for series, row in pairs[:: max(1, len(pairs) // SAMPLE)]:
        value, base = table.value(row, series.column.index), scheme.source(series, row)
        if value is not None and base is not None:
            printed = series.deltas[row]
            unit = max(value.unit, base.unit, printed.unit)
            seen += 1
            near += abs(abs(value.value - base.value) - abs(printed.value)) < 3 * unit
    return scheme.relative or 2 * near >= seen > 0


def fixed(table: PublishedTable, row: int, *, relative: bool = False) -> Scheme:
    """One row for all."""
    form = f"row {table.rows[row].label!r}" + (", in percent of it" if relative else "")
    return Scheme(form, lambda series, _: table.value(row, series.column.index), relative)


def _above(table: PublishedTable) -> Scheme:
    """The nearest row above that has a value."""

    def source(series: Series, row: int) -> PrintedNumber | None:
        values = (table.value(r, series.column.index) for r in range(row - 1, -1, -1) if table.rows[r].role == "data")
        return next((v for v in values if v is not None), None)

    return Scheme("the row above", source)


def _nearest(table: PublishedTable, without: Sequence[int]) -> Scheme:
    """The nearest row above that has no Δ; for rows above the first of them that one."""

    def source(series: Series, row: int) -> PrintedNumber | None:
        above = bisect.bisect_left(without, row)
        return table.value(without[max(above - 1, 0)], series.column.index)

    return Scheme("the nearest row above without Δ", source)


def _same_key(table: PublishedTable, without: Sequence[int], key: int) -> Scheme:
    """In a long table (a row for each metric) the nearest row above without Δ that shares a label column."""
    alike: dict[str, list[int]] = {}
    for position in without:
        alike.setdefault(table.rows[position].keys[key], []).append(position)

    def source(series: Series, row: int) -> PrintedNumber | None:
        candidates = alike.get(table.rows[row].keys[key], [])
        above = bisect.bisect_left(candidates, row)
        return table.value(candidates[above - 1], series.column.index) if above else None

    return Scheme("the nearest row above of the same kind without Δ", source)


def _long_keys(table: PublishedTable) -> list[int]:
    """Label columns but the first in which texts repeat."""
    rows = [row.keys for row in table.rows]
    count = min(map(len, rows), default=0)
    return [k for k in range(1, count) if 1 < len({keys[k] for keys in rows}) < len(rows)]


def _section_first(table: PublishedTable) -> Scheme:
    """The first row of the section."""
    first: dict[int, int] = {}
    for position, row in enumerate(table.rows):
        if row.role == "data":
            first.setdefault(row.section, position)

    def source(series: Series, row: int) -> PrintedNumber | None:
        return table.value(first[table.rows[row].section], series.column.index)

    return Scheme("the first row of the section", source)


def _best_other(table: PublishedTable, without: Sequence[int]) -> Scheme:
    """The best of the rows without Δ, column by column: the strongest competitor."""

    @functools.cache
    def best_of(column: int, direction: int) -> PrintedNumber | None:
        values = [v for r in without if (v := table.value(r, column)) is not None]
        return max(values, key=lambda v: direction * v.value) if values else None

    def source(series: Series, _: int) -> PrintedNumber | None:
        return best_of(series.column.index, -1 if series.column.direction < 0 else 1)

    return Scheme("the best of the rows without Δ", source)


def _left_column(table: PublishedTable) -> Scheme:
    """Another column of the same row: Δ between "without" and "with"."""
    measured = table.measured()

    def source(series: Series, row: int) -> PrintedNumber | None:
        left = [c for c in measured if c.index < series.column.index]
        return table.value(row, left[-1].index) if left else None

    return Scheme("the column before it", source)


def without_delta(table: PublishedTable, group: Sequence[Series]) -> list[int]:
    """Positions of rows that have values and no Δ but zero in these series."""
    found = []
    for position, row in enumerate(table.rows):
        has_value = any(row.entries[s.column.index].value is not None for s in group)
        deltas = [s.deltas[position] for s in group if position in s.deltas]
        if row.role == "data" and has_value and all(d.value == 0 for d in deltas):
            found.append(position)
    return found


def named_row(table: PublishedTable, group: Sequence[Series]) -> int | None:
    """Position of the row that a header names: "Δ vs. sup"."""
    for series in group:
        match = words.AGAINST.search(series.header)
        wanted = words.bare(match[1]).lower() if match else ""
        for position, row in enumerate(table.rows):
            if wanted and words.bare(row.label).lower() == wanted:
                return position
    return None


def _tried(rows: Sequence[int], n_deltas: int) -> Sequence[int]:
    """Rows that are tried as the baseline of all others: fewer, the more Δ there are to be explained."""
    return rows[: min(MAX_TRIED, 1 + 100_000 // max(n_deltas, 1))]


def alternatives(table: PublishedTable, group: Sequence[Series], without: Sequence[int]) -> Iterator[Scheme]:
    """Schemes that tables use, the plainest first."""
    rows = [i for i, row in enumerate(table.rows) if row.role == "data"]
    n_deltas = sum(len(series.deltas) for series in group)
    for row in _tried(rows, n_deltas):
        yield fixed(table, row)
    yield _above(table)
    yield _section_first(table)
    if without:
        yield _nearest(table, without)
        yield _best_other(table, without)
    yield _left_column(table)
    for row in dict.fromkeys([*without[:5], *rows[:1]]):
        yield fixed(table, row, relative=True)


def assumed(
    table: PublishedTable, group: Sequence[Series], without: Sequence[int], named: int | None
) -> tuple[list[Scheme], bool]:
    """(schemes that the table's form allows, the form leaves no choice).

    Args:
        table, group: Δ of one rank.
        without: rows without Δ.
        named: a row that the user or a header names.
    """
    if named is not None:
        return [fixed(table, named)], True
    if len(without) == 1:
        return [fixed(table, without[0])], True
    n_deltas = sum(len(series.deltas) for series in group)
    if without:
        long = [_same_key(table, without, key) for key in _long_keys(table)]
        schemes = [*long, _nearest(table, without), *(fixed(table, row) for row in _tried(without, n_deltas))]
        return [*schemes, _best_other(table, without)], False
    labelled = [i for i, row in enumerate(table.rows) if row.role == "data" and words.BASELINE.search(row.label)]
    first = next((i for i, row in enumerate(table.rows) if row.role == "data"), 0)
    return [fixed(table, labelled[0] if len(labelled) == 1 else first)], False
