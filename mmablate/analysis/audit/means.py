"""Every Mean: over columns of its row, or over rows of its column; and rows of differences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from mmablate.analysis.audit import words
from mmablate.analysis.audit.baselines import to_decimal
from mmablate.analysis.audit.intervals import DIFFERENCE, Verdict, judge, mean_weights, weighted
from mmablate.analysis.audit.model import Column, Finding, PrintedNumber, PublishedTable, Row

MAX_CHECKED = 100  # columns of means and rows of differences of one table, and rows that may be means of all above
_SAMPLE = 8  # differences that tell whether a pair of rows is worth a closer look


@dataclass
class MeanCheck:
    """What came of the Means of one table; rows of differences are Δ.

    Attributes:
        averaged: indices of the columns that a Mean is over, and its own.
    """

    wrong: list[Finding] = field(default_factory=list)
    by_rounding: list[Finding] = field(default_factory=list)
    wrong_delta: list[Finding] = field(default_factory=list)
    checked: int = 0
    notes: list[str] = field(default_factory=list)
    averaged: list[frozenset[int]] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    """A printed number and the numbers that it is the mean of."""

    row: int
    column: Column
    printed: PrintedNumber
    inputs: tuple[PrintedNumber, ...]
    weights: tuple[Fraction, ...]

    def verdict(self) -> Verdict:
        return judge(self.printed, self.inputs, self.weights)


class _Source(NamedTuple):
    """Columns or rows that a Mean may be over.

    Attributes:
        form: for messages.
        columns: their indices; none for rows.
        items: every Mean with what it would be the mean of.
        share: of them that must be right, that one be called wrong; fewer can be right by chance.
        minimum: how many at least must be right.
    """

    form: str
    columns: frozenset[int]
    items: list[_Item]
    share: Fraction
    minimum: int


def _finding(table: PublishedTable, item: _Item, against: str) -> Finding:
    row = table.rows[item.row]
    digits = max(item.printed.digits, *(n.digits for n in item.inputs))
    computed = to_decimal(weighted(item.inputs, item.weights), digits)
    return Finding(table.number, row.label, row.index, item.column.name, item.printed, computed, against)


def _column_sets(table: PublishedTable, mean: Column) -> Iterator[tuple[tuple[Column, ...], bool]]:
    """(columns that a Mean may average, a natural choice), the most natural first."""
    metrics = [c for c in table.columns if c.kind == "metric"]
    others = [c.index for c in table.columns if c.kind == "mean" and c.index != mean.index]
    left = [c for c in metrics if c.index < mean.index]
    right = [c for c in metrics if c.index > mean.index]
    last = max((i for i in others if i < mean.index), default=-1)
    following = min((i for i in others if i > mean.index), default=10**9)
    near = [c for c in left if c.index > last]
    kept = (
        [c for c in metrics if mean.group and c.group == mean.group],
        near,
        left,
        metrics,
        [c for c in right if c.index < following],
        right,
        [c for c in near if c.direction == mean.direction],
        [c for c in metrics if c.direction == mean.direction],
        [c for c in near if c.group == (near[-1].group if near else "")],
    )
    seen = set()
    trailing = [near[i:] for i in range(1, min(4, len(near)))]  # a parameter stands first without saying so
    for position, columns in enumerate((*kept, *trailing)):
        key = tuple(c.index for c in columns)
        if len(key) >= 2 and key not in seen:
            seen.add(key)
            yield tuple(columns), position < 6


def _over_columns(table: PublishedTable, mean: Column, columns: Sequence[Column]) -> list[_Item]:
    items = []
    for position, row in enumerate(table.rows):
        printed = row.entries[mean.index].value
        values = [row.entries[c.index].value for c in columns]
        inputs = tuple(v for v in values if v is not None)
        if row.role != "delta" and printed is not None and len(inputs) == len(values):
            items.append(_Item(position, mean, printed, inputs, tuple(mean_weights(len(inputs)))))
    return items


def _best(sources: Sequence[_Source]) -> tuple[_Source, list[tuple[_Item, Verdict]]] | None:
    """The source under which most numbers are right; None where none makes enough of them right."""
    best: tuple[_Source, list[tuple[_Item, Verdict]]] | None = None
    most = 0
    for source in sources:
        judged = [(item, item.verdict()) for item in source.items]
        right = sum(verdict != "wrong" for _, verdict in judged)
        if right > most and right >= source.minimum and right >= source.share * len(judged):
            best, most = (source, judged), right
            if right == len(judged):
                break
    return best


def _sort(table: PublishedTable, found: tuple[_Source, list[tuple[_Item, Verdict]]], check: MeanCheck) -> None:
    source, judged = found
    check.checked += len(judged)
    for item, verdict in judged:
        if verdict == "wrong":
            check.wrong.append(_finding(table, item, source.form))
        elif verdict == "by rounding":
            check.by_rounding.append(_finding(table, item, source.form))


def _mean_columns(table: PublishedTable, check: MeanCheck) -> None:
    means = [c for c in table.columns if c.kind == "mean"]
    if len(means) > MAX_CHECKED:
        check.notes.append(f"{len(means)} columns of means: the first {MAX_CHECKED} are checked")
    for mean in means[:MAX_CHECKED]:
        sets = []
        plain = words.NOTHING_BUT_MEAN.fullmatch(mean.header) is not None  # "Average Precision" may be anything
        for columns, natural in _column_sets(table, mean):
            items = _over_columns(table, mean, columns)
            if items:
                share, minimum = (Fraction(1, 3), 1) if natural and plain else (Fraction(3, 4), 2)
                indices = frozenset((mean.index, *(c.index for c in columns)))
                sets.append(_Source(f"mean of {', '.join(c.name for c in columns)}", indices, items, share, minimum))
        if not sets:
            check.notes.append(f"column {mean.name!r} has no columns that it could average; it is not checked")
            continue
        found = _best(sets)
        if found is None:
            check.notes.append(f"what column {mean.name!r} averages could not be found out; none is called wrong")
        else:
            _sort(table, found, check)
            check.averaged.append(found[0].columns)


def _row_sources(
    rows: Sequence[Row], measured: Sequence[Column], position: int, above: Sequence[int], *, far: bool
) -> list[_Source]:
    """Rows that a row may be the mean of: those of the last section above, perhaps its own, or all above.

    Args:
        rows: of the table.
        measured: columns of values.
        position: of the row in question.
        above: positions of the rows of data above it.
        far: whether all rows above are tried too.
    """
    last = itertools.takewhile(lambda i: rows[i].section == rows[above[-1]].section, reversed(above))
    sources = []
    for chosen in (list(last), *([above] if far else [])):
        items = []
        for column in measured:
            values = [rows[i].entries[column.index].value for i in chosen]
            inputs = tuple(v for v in values if v is not None)
            printed = rows[position].entries[column.index].value
            if printed is not None and len(inputs) == len(values) >= 2:
                items.append(_Item(position, column, printed, inputs, tuple(mean_weights(len(inputs)))))
        if items:
            form = f"mean of {len(chosen)} rows"
            sources.append(_Source(form, frozenset(), items, Fraction(3, 4), min(2, len(items))))
    return sources


def _closing(rows: Sequence[Row]) -> set[int]:
    """Positions of rows called means behind which no data stand in their section."""
    found: set[int] = set()
    closes = True
    for position in range(len(rows) - 1, -1, -1):
        row = rows[position]
        if position + 1 < len(rows) and row.section != rows[position + 1].section:
            closes = True
        if row.role == "mean" and closes:
            found.add(position)
        elif row.role == "data" and not words.STD.search(row.label):
            closes = False
    return found


def _found_means(
    rows: Sequence[Row], measured: Sequence[Column], candidates: set[int]
) -> Iterator[tuple[int, tuple[_Source, list[tuple[_Item, Verdict]]]]]:
    """(position, what it is the mean of) of the candidates whose numbers are means of rows above."""
    above: list[int] = []
    tried = 0
    for position, row in enumerate(rows):
        found = None
        if position in candidates:
            tried += 1
            found = _best(_row_sources(rows, measured, position, above, far=tried <= MAX_CHECKED))
        if found is not None:
            yield position, found
        elif row.role != "delta":
            above.append(position)


def with_true_means(rows: Sequence[Row], measured: Sequence[Column]) -> tuple[Row, ...]:
    """Rows that are called means stay such only if they close a section and their numbers are means of rows above.

    In doubt a row holds data: "average" may be a way of fusion.

    Args:
        rows: those of role "mean" are so by name alone.
        measured: columns of values.
    """
    true = {position for position, _ in _found_means(rows, measured, _closing(rows))}
    return tuple(
        replace(row, role="data") if row.role == "mean" and i not in true else row for i, row in enumerate(rows)
    )


def _mean_rows(table: PublishedTable, check: MeanCheck) -> None:
    means = {position for position, row in enumerate(table.rows) if row.role == "mean"}
    for _, found in _found_means(table.rows, table.measured(), means):
        _sort(table, found, check)
    for row in table.rows:
        if row.role == "data" and words.NOTHING_BUT_MEAN.fullmatch(row.label):
            check.notes.append(
                f"row {row.label!r} does not hold means of the rows above it; it is read as a row of data"
            )


def _delta_rows(table: PublishedTable, check: MeanCheck) -> None:
    """Rows called Δ: the difference of two rows above. Three quarters of it, and two, must be right."""
    others: list[int] = []
    tried = 0
    for position, row in enumerate(table.rows):
        if row.role != "delta":
            others.append(position)
            continue
        above = others[-30:]
        tried += 1
        if tried == MAX_CHECKED + 1:
            check.notes.append(f"of the rows of differences the first {MAX_CHECKED} are checked")
        if len(above) < 2 or tried > MAX_CHECKED:
            continue
        pairs = [(above[-1], i) for i in above[:-1]]
        pairs += [(a, b) for a in above for b in above if a != b and (a, b) not in pairs][:900]
        best: tuple[int, int, list[tuple[_Item, Verdict]]] = (0, 0, [])
        for pair in pairs:
            items = _differences(table, position, pair)
            sample = items[:: max(1, len(items) // _SAMPLE)]
            if 2 * sum(item.verdict() != "wrong" for item in sample) < len(sample):
                continue
            judged = [(item, item.verdict()) for item in items]
            right = sum(verdict != "wrong" for _, verdict in judged)
            if right > best[0]:
                best = (right, len(judged), judged)
        right, count, judged = best
        if right < 2 or 4 * right < 3 * count:
            check.notes.append(f"what row {row.label!r} is the difference of could not be found out")
            continue
        check.checked += count
        for item, verdict in judged:
            if verdict != "consistent":
                kept = check.wrong_delta if verdict == "wrong" else check.by_rounding
                kept.append(_finding(table, item, "difference of two rows"))


def _differences(table: PublishedTable, position: int, pair: tuple[int, int]) -> list[_Item]:
    items = []
    for column in table.measured():
        printed = table.value(position, column.index)
        first, second = table.value(pair[0], column.index), table.value(pair[1], column.index)
        if printed is not None and first is not None and second is not None:
            items.append(_Item(position, column, printed, (first, second), DIFFERENCE))
    return items


def check_means(table: PublishedTable) -> MeanCheck:
    """All Means and rows of differences of a table."""
    check = MeanCheck()
    _mean_columns(table, check)
    _mean_rows(table, check)
    _delta_rows(table, check)
    return check
