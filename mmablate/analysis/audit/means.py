"""Every Mean: over columns of its row, or over rows of its column; and rows of differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from mmablate.analysis.audit.baselines import to_decimal
from mmablate.analysis.audit.intervals import DIFFERENCE, Verdict, judge, mean_weights, weighted
from mmablate.analysis.audit.model import Column, Finding, PrintedNumber, PublishedTable


@dataclass
class MeanCheck:
    """What came of the Means of one table; rows of differences are Δ."""

    wrong: list[Finding] = field(default_factory=list)
    by_rounding: list[Finding] = field(default_factory=list)
    wrong_delta: list[Finding] = field(default_factory=list)
    checked: int = 0
    notes: list[str] = field(default_factory=list)


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


def _best(candidates: Sequence[tuple[str, list[_Item], bool]]) -> tuple[str, list[tuple[_Item, Verdict]]] | None:
    """The candidate under which most numbers are right; None where none makes enough of them right.

    One right number among three is asked for: fewer can be right by chance, where something else is averaged.
    Of a set of columns or rows that is no natural choice three quarters, and two, must be right.
    """
    best: tuple[str, list[tuple[_Item, Verdict]]] | None = None
    most = 0
    for text, items, natural in candidates:
        judged = [(item, item.verdict()) for item in items]
        right = sum(verdict != "wrong" for _, verdict in judged)
        enough = 3 * right >= len(judged) if natural else right >= 2 and 4 * right >= 3 * len(judged)
        if right > most and enough:
            best, most = (text, judged), right
            if right == len(judged):
                break
    return best


def _sort(table: PublishedTable, found: tuple[str, list[tuple[_Item, Verdict]]], check: MeanCheck) -> None:
    against, judged = found
    check.checked += len(judged)
    for item, verdict in judged:
        if verdict == "wrong":
            check.wrong.append(_finding(table, item, against))
        elif verdict == "by rounding":
            check.by_rounding.append(_finding(table, item, against))


def _mean_columns(table: PublishedTable, check: MeanCheck) -> None:
    for mean in (c for c in table.columns if c.kind == "mean"):
        sets = []
        for columns, natural in _column_sets(table, mean):
            items = _over_columns(table, mean, columns)
            if items:
                sets.append((f"mean of {', '.join(c.name for c in columns)}", items, natural))
        if not sets:
            check.notes.append(f"column {mean.name!r} has no columns that it could average; it is not checked")
            continue
        found = _best(sets)
        if found is None:
            check.notes.append(f"what column {mean.name!r} averages could not be found out; none is called wrong")
        else:
            _sort(table, found, check)


def _mean_rows(table: PublishedTable, check: MeanCheck) -> None:
    data = [i for i, row in enumerate(table.rows) if row.role == "data"]
    for position, row in enumerate(table.rows):
        if row.role != "mean":
            continue
        above = [i for i in data if i < position]
        sets = ([i for i in above if table.rows[i].section == row.section], above, data)
        candidates = []
        for rows in sets:
            items = []
            for column in table.measured():
                values = [table.value(i, column.index) for i in rows]
                inputs = tuple(v for v in values if v is not None)
                printed = row.entries[column.index].value
                if printed is not None and len(inputs) == len(values) >= 2:
                    items.append(_Item(position, column, printed, inputs, tuple(mean_weights(len(inputs)))))
            if items:
                candidates.append((f"mean of {len(rows)} rows", items, True))
        found = _best(candidates)
        if found is not None:
            _sort(table, found, check)
        elif candidates:
            check.notes.append(f"what row {row.label!r} averages could not be found out; none is called wrong")


def _delta_rows(table: PublishedTable, check: MeanCheck) -> None:
    """Rows called Δ: the difference of two rows above. Three quarters of it, and two, must be right."""
    for position, row in enumerate(table.rows):
        above = [i for i in range(position) if table.rows[i].role != "delta"][-30:]
        if row.role != "delta" or len(above) < 2:
            continue
        pairs = [(above[-1], i) for i in above[:-1]]
        pairs += [(a, b) for a in above for b in above if a != b and (a, b) not in pairs][:900]
        best: tuple[int, int, list[tuple[_Item, Verdict]]] = (0, 0, [])
        for pair in pairs:
            judged = [(item, item.verdict()) for item in _differences(table, position, pair)]
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
