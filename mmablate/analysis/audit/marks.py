"""Bold that is not the best of its column, and colours that say the contrary of their Δ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmablate.analysis.audit import words
from mmablate.analysis.audit.colours import channels, hue
from mmablate.analysis.audit.intervals import rounded
from mmablate.analysis.audit.model import Column, Finding, PrintedNumber, PublishedTable, Series
from mmablate.analysis.directions import higher_is_better, lower_is_better

_TIED_BY_TEST = re.compile(
    r"signifi[ck]|\btied?\b|within|confidence|top[\s-]?(?:2|3|two|three)|second|zweit", re.IGNORECASE
)


class MarkCheck(NamedTuple):
    """What came of the marks of one table."""

    found: list[Finding]
    checked: int
    notes: list[str]


class _Bold(NamedTuple):
    """A bold value of a column, and the best that it should be.

    Attributes:
        worst: it is the worst of the column: bold may mark the lowest value.
    """

    column: Column
    row: int
    printed: PrintedNumber
    best: PrintedNumber
    best_row: int
    is_best: bool
    worst: bool


def _same(first: PrintedNumber, second: PrintedNumber) -> bool:
    """Equal as printed; numbers of different digits may be equal if their roundings meet."""
    if first.digits != second.digits:
        return rounded(first).meets(rounded(second))
    return first.value == second.value


def _best_of(values: Mapping[int, PrintedNumber], direction: int) -> int:
    """Position of the best value."""
    return max(values, key=lambda row: direction * values[row].value)


def _bold_of(table: PublishedTable, column: Column) -> list[_Bold]:
    """Every bold value of a column. One that is the best of its section, or of all but references, is the best."""
    rows = {i: v for i, r in enumerate(table.rows) if r.role == "data" and (v := r.entries[column.index].value)}
    bold = [i for i, v in rows.items() if v.bold]
    if len(rows) < 2 or not bold or len(bold) == len(rows) or column.direction == 0:
        return []
    own = {i: v for i, v in rows.items() if not table.rows[i].reference} or rows
    sections: dict[int, dict[int, PrintedNumber]] = {}
    for i, v in rows.items():
        sections.setdefault(table.rows[i].section, {})[i] = v
    fields = [rows, own, *(s for s in sections.values() if 1 < len(s) < len(rows))]
    tops: dict[int, set[int]] = {}
    for way in (column.direction, -column.direction):
        marked: set[int] = set()
        for field in fields:
            best = field[_best_of(field, way)]
            marked.update(i for i, v in field.items() if v.bold and _same(v, best))
        tops[way] = marked
    best_row = _best_of(own, column.direction)
    return [
        _Bold(column, i, rows[i], rows[best_row], best_row, i in tops[column.direction], i in tops[-column.direction])
        for i in bold
    ]


def _is_told(table: PublishedTable, column: Column) -> bool:
    """Whether the table says which direction is better in a column: by an arrow, also of its Δ, or by a known name."""
    texts = (column.header, column.group)
    if _has_arrow(table, column) or any(lower_is_better(text) or higher_is_better(text) for text in texts):
        return True
    return higher_is_better(table.caption) and not lower_is_better(table.caption)


def _has_arrow(table: PublishedTable, column: Column) -> bool:
    of_deltas = [s.header for s in table.series if s.column.index == column.index]
    return any(words.arrow(text) for text in (column.header, column.group, *of_deltas))


def _innocent(
    table: PublishedTable, columns: Sequence[list[_Bold]], averaged: Sequence[frozenset[int]]
) -> list[list[_Bold]]:
    """Columns whose bold marks the worst value alone, where the direction may be the other one.

    That is where most columns are so and no arrow says otherwise; and where nothing at all says what is better. A
    Mean over columns says that they are of one metric: then bold that marks the best in most of them tells it.
    """
    turned = [bold for bold in columns if all(b.worst and not b.is_best for b in bold)]
    free = [bold for bold in turned if not _has_arrow(table, bold[0].column)]
    if len(free) >= 2 and 2 * len(free) > len(columns):
        return free
    found = []
    for bold in free:
        index = bold[0].column.index
        akin = [other for group in averaged if index in group for other in columns if other[0].column.index in group]
        agree = sum(all(b.is_best for b in other) for other in akin)
        if not _is_told(table, bold[0].column) and not (agree and 2 * agree >= len(akin)):
            found.append(bold)
    return found


def check_bold(table: PublishedTable, averaged: Sequence[frozenset[int]]) -> MarkCheck:
    """Bold values that are not the best of their column in its direction.

    Args:
        table: to check.
        averaged: indices of columns that share a Mean, its own among them.
    """
    notes: list[str] = []
    columns = [bold for c in table.measured() if (bold := _bold_of(table, c))]
    checked = sum(map(len, columns))
    turned = _innocent(table, columns, averaged)
    if turned:
        names = ", ".join(bold[0].column.name for bold in turned)
        notes.append(f"bold marks the worst value of {names}: read as a direction that the header does not say")
        columns = [bold for bold in columns if not any(bold is other for other in turned)]
    several = _TIED_BY_TEST.search(table.caption) is not None
    found = []
    for bold in columns:
        if several and len(bold) > 1 and any(b.is_best for b in bold):
            continue
        for item in bold:
            if not item.is_best:
                row, best = table.rows[item.row], table.rows[item.best_row].label
                against = f"best of the column: {best}"
                found.append(
                    Finding(
                        table.number, row.label, row.index, item.column.name, item.printed, item.best.value, against
                    )
                )
    return MarkCheck(found, checked, notes)


class _Coloured(NamedTuple):
    """A coloured Δ.

    Attributes:
        side: "warm" or "other" (blue, green).
        better: the Δ is a gain.
    """

    series: Series
    row: int
    printed: PrintedNumber
    side: str
    better: bool


def _way(series: Series, sign: int) -> int:
    """+1 where a positive Δ is a gain, -1 where it is a loss, 0 where the headers contradict each other."""
    column = series.column
    plain = not re.search(r"[↑↓▲▼]", column.header + column.group)
    if plain and column.direction > 0 and re.search(r"[↓▼]", series.header):
        return 0
    return column.direction * (sign or 1)


def _coloured(table: PublishedTable, signs: Mapping[tuple[int, int], int]) -> list[_Coloured]:
    hues = [hue(d.colour) for s in table.series for d in s.deltas.values()]
    neutral = "yellow" if "green" in hues else None  # of a traffic light
    found = []
    for series in table.series:
        sign = signs.get((series.column.index, series.rank), 1)
        way = _way(series, sign)
        for row, delta in series.deltas.items():
            shade = hue(delta.colour)
            if shade is None or shade == neutral or delta.value == 0 or way == 0 or sign == 0:
                continue
            side = "warm" if shade in ("warm", "yellow") else "other"
            found.append(_Coloured(series, row, delta, side, (delta.value > 0) == (way > 0)))
    return found


def _warm_is_good(items: Sequence[_Coloured], green: bool) -> bool:
    """The reading of the colours with fewer contradictions; without a majority what is usual with this pair."""
    against = sum((item.side == "warm") != item.better for item in items)
    if 2 * against == len(items):
        return not green
    return 2 * against < len(items)


def check_colours(table: PublishedTable, signs: Mapping[tuple[int, int], int]) -> MarkCheck:
    """Colours that contradict the sign of their Δ, and a note where they do not follow its size.

    Args:
        table: to check.
        signs: by (column index, rank): -1 where Δ is printed as baseline minus value.
    """
    items = _coloured(table, signs)
    notes = _shades(items)
    printed = sum(d.value != 0 for s in table.series for d in s.deltas.values())
    if len(items) == printed and len({item.printed.colour for item in items}) == 1:
        return MarkCheck([], len(items), notes)  # one colour for every Δ is decoration
    green = any(hue(item.printed.colour) == "green" for item in items)
    warm_good = _warm_is_good(items, green)
    against = sum(((item.side == "warm") == warm_good) != item.better for item in items)
    one_side = len({item.side for item in items}) == 1
    if against * (4 if one_side else 3) > len(items) and len(items) > 2:
        notes.append(
            f"colours do not go with the sign of Δ ({against} of {len(items)} against it): none is called wrong"
        )
        return MarkCheck([], len(items), notes)
    found = []
    for item in items:
        if ((item.side == "warm") == warm_good) != item.better:
            row = table.rows[item.row]
            said, is_ = ("a gain", "a loss") if not item.better else ("a loss", "a gain")
            found.append(
                Finding(
                    table.number, row.label, row.index, item.series.column.name, item.printed, item.printed.value,
                    f"{_called(item)} marks {said} in this table, the Δ is {is_}", item.printed.colour,
                )
            )  # fmt: skip
    return MarkCheck(found, len(items), notes)


def _called(item: _Coloured) -> str:
    return {"cold": "blue", "green": "green"}.get(str(hue(item.printed.colour)), "a warm colour")


def _is_breath(colour: str | None) -> bool:
    return colour is not None and min(channels(colour)) > 0.9


def _shades(items: Sequence[_Coloured]) -> list[str]:
    """A note where a stronger and a weaker shade of one side overlap in the sizes of their Δ.

    A breath of colour is left aside: it says that a Δ is not significant, whatever its size.
    """
    notes = []
    for side in ("warm", "other"):
        sizes: dict[str, list[PrintedNumber]] = {}
        for item in items:
            if item.side == side and item.better == (side == "warm") and not _is_breath(item.printed.colour):
                sizes.setdefault(str(item.printed.colour), []).append(item.printed)
        ranges = [(min(abs(n.value) for n in v), max(abs(n.value) for n in v), c) for c, v in sizes.items()]
        ranges.sort()
        for (_, high, first), (low, _, second) in itertools.pairwise(ranges):
            if high > low:
                notes.append(
                    f"shades do not follow the size of Δ: {first} reaches |Δ| {high}, {second} begins at {low}"
                )
                break
    return notes
