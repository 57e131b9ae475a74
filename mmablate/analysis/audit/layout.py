"""From a grid of cells to a table with its meaning: header, labels, metrics, Δ, sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mmablate.analysis.audit import words
from mmablate.analysis.audit.columns import make_columns
from mmablate.analysis.audit.means import with_true_means
from mmablate.analysis.audit.model import (
    Cell,
    Column,
    Entry,
    Grid,
    PrintedNumber,
    PublishedTable,
    Role,
    Row,
    Run,
    Series,
)
from mmablate.analysis.audit.numbers import has_decimal_commas, read_entry


def _unhighlighted(cell: Cell, label: Cell) -> Cell:
    """A background that the row's label shares marks the row, not the number."""
    return replace(cell, background=None) if cell.background and cell.background == label.background else cell


def header_rows(grid: Grid, entries: Sequence[Sequence[Entry]]) -> int:
    """Rows of the header: as the format says; else those before the first number, one at least."""
    rows = grid.rows
    if grid.n_header is None:
        count = next((y for y, row in enumerate(entries) if sum(e.value is not None for e in row[1:]) * 2 >= 1), 0)
        count = max(count, 1)
    else:
        count = grid.n_header
    reach = 0
    for y in range(min(count, len(rows))):  # a header cell that reaches down takes the rows it reaches with it
        reach = max([reach, *(_reach(rows, y, x) for x in range(len(rows[y])))])
    count = max(count, reach if reach < len(rows) else count)
    while count + 1 < len(rows) and _is_header(rows[count], entries[count]):
        count += 1
    return min(count, len(rows))


def _reach(rows: Sequence[Sequence[Cell]], y: int, x: int) -> int:
    """Index behind the last row that the cell at (y, x) covers."""
    origin, end = rows[y][x].origin, y + 1
    while end < len(rows) and rows[end][x].origin == origin:
        end += 1
    return end


def _is_header(row: Sequence[Cell], entries: Sequence[Entry]) -> bool:
    """A further header row: the label's place is empty, the others hold several different words, no numbers."""
    if any(entry.value is not None for entry in entries) or (row and row[0].text and not row[0].header):
        return False
    return len({cell.text for cell in row[1:] if any(c.isalpha() for c in cell.text)}) > 1


def _is_section(row: Sequence[Cell], entries: Sequence[Entry]) -> bool:
    """A row that only names the block below it: one cell across, or a label and nothing else."""
    if any(entry.value is not None for entry in entries[1:]):
        return False
    texts = {cell.text for cell in row if cell.text}
    spans = len({cell.origin for cell in row}) == 1 and len(row) > 1
    return spans or (len(texts) == 1 and bool(row[0].text) and not any(cell.text for cell in row[1:]))


def _label(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    """The first label; further ones are added by `_told_apart` where rows would be called the same."""
    return next((row[c.index].text for c in columns if c.kind == "label" and row[c.index].text), "")


def _told_apart(labels: list[str], grid_rows: list[Sequence[Cell]], columns: Sequence[Column]) -> list[str]:
    """Labels with all their label columns where the first one repeats."""
    if len(set(labels)) == len(labels):
        return labels
    found = []
    for row in grid_rows:
        parts = dict.fromkeys(row[c.index].text for c in columns if c.kind == "label" and row[c.index].text)
        found.append(", ".join(parts))
    return found


def _sections(grid: Grid, body: Sequence[int], skipped: frozenset[int]) -> list[int]:
    """Section of each body row. Rules above most rows are only lines and divide nothing."""
    rules = grid.rules & frozenset(body)
    divides = rules if len(rules) <= max(1, len(body) // 3) else frozenset[int]()
    found, section = [], 0
    for y in body:
        section += y in divides or y in skipped
        found.append(section)
    spans = [grid.rows[y][0].origin for y in body]  # a label that reaches over several rows groups them
    if len(set(spans)) < len(spans):
        marks = {origin: i for i, origin in enumerate(dict.fromkeys(spans))}
        found = [s * len(marks) + marks[o] for s, o in zip(found, spans, strict=True)]
    return found


def _goes_on(above: Cell, text: str, *, comma: bool) -> bool:
    """Whether a text below a value belongs to it: "±0.5", "+0.2", "-0.2"."""
    return read_entry(above, comma=comma).value is not None and re.match(r"[±+\-−–↑↓]\s*[\d.,]", text) is not None


def _joined(rows: Sequence[Sequence[Cell]], start: int, *, comma: bool) -> tuple[tuple[Cell, ...], ...]:
    """Rows that continue the one above them, "±0.52" or "+0.02" below a value, joined to it.

    Such a row has no label of its own, or a word about the row above ("baseline"); one of nothing but "±" always
    continues, and so does a row of differences behind it.
    """
    found: list[tuple[Cell, ...]] = []
    after_spread = False
    for y, row in enumerate(rows):
        said = [(x, cell.text) for x, cell in enumerate(row) if x and cell.text]
        spread = bool(said) and all(text.startswith("±") for _, text in said)
        free = row[0].text == "" or words.FACT.match(row[0].text) is not None or spread or after_spread
        continues = len(found) > start and bool(said) and free and row[0].origin[0] == y
        if not continues or not all(_goes_on(found[-1][x], text, comma=comma) for x, text in said):
            found.append(tuple(row))
            after_spread = False
            continue
        after_spread, above = spread, found[-1]
        tail = row[0].runs if words.PARTIAL.search(row[0].text) else ()
        cells = [replace(above[0], runs=(*above[0].runs, *((Run(" "), *tail) if tail else ())))]
        for over, under in zip(above[1:], row[1:], strict=True):
            runs = (*over.runs, Run(" "), *under.runs) if under.runs else over.runs
            cells.append(replace(over, runs=runs, background=over.background or under.background))
        found[-1] = tuple(cells)
    return tuple(found)


def _roles(labels: Sequence[str], rows: Sequence[Sequence[Entry]], measured: Sequence[Column]) -> list[Role]:
    """What each row holds: values, differences, or, if its numbers say so too, means of other rows."""
    signed = []
    for entries in rows:
        values = [v for v in (entries[c.index].value for c in measured) if v is not None]
        signed.append(bool(values) and all(v.signed or v.value == 0 for v in values))
    found: list[Role] = []
    for label, is_signed in zip(labels, signed, strict=True):
        named = words.DELTA.search(label) is not None
        if words.NOTHING_BUT_MEAN.fullmatch(label):
            found.append("mean")
        else:  # among rows without signs a row of signed numbers holds differences, whatever it is called
            found.append("delta" if is_signed and (named or 2 * sum(signed) < len(signed)) else "data")
    return found


def _rows(grid: Grid, entries: Sequence[Sequence[Entry]], columns: Sequence[Column], start: int) -> tuple[Row, ...]:
    body = range(start, len(grid.rows))
    skipped = frozenset(y for y in body if _is_section(grid.rows[y], entries[y]))
    kept = [y for y in body if y not in skipped]
    labels = _told_apart([_label(grid.rows[y], columns) for y in kept], [grid.rows[y] for y in kept], columns)
    measured = [c for c in columns if c.kind in ("metric", "mean")]
    sections = dict(zip(body, _sections(grid, list(body), skipped), strict=True))
    status = next((c.index for c in columns if c.header.lower() == "status"), None)
    roles = _roles(labels, [entries[y] for y in kept], measured)
    rows = []
    for y, label, role in zip(kept, labels, roles, strict=True):
        rows.append(
            Row(
                index=y - start + 1,
                label=label or f"row {y - start + 1}",
                section=sections[y],
                entries=tuple(entries[y]),
                keys=tuple(grid.rows[y][c.index].text for c in columns if c.kind == "label"),
                role=role,
                reference=words.REFERENCE.search(label) is not None,
                partial=words.PARTIAL.search(label) is not None
                or (status is not None and grid.rows[y][status].text == "partial"),
            )
        )
    return with_true_means(rows, measured)


def _series(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Series, ...]:
    """Every Δ of every metric: columns of their own, then those within the metric's cells."""
    found: list[Series] = []
    ranks: dict[int, int] = {}
    by_index = {c.index: c for c in columns}

    def add(metric: Column, header: str, deltas: dict[int, PrintedNumber]) -> None:
        if deltas:
            rank = ranks.get(metric.index, 0)
            ranks[metric.index] = rank + 1
            found.append(Series(metric, rank, header, deltas))

    for column in columns:
        if column.kind == "delta" and column.of is not None:
            values = {i: v for i, r in enumerate(rows) if (v := r.entries[column.index].value) is not None}
            add(by_index[column.of], column.header, {i: v for i, v in values.items() if rows[i].role == "data"})
    for column in columns:
        if column.kind in ("metric", "mean"):
            inner = {i: d for i, r in enumerate(rows) if (d := r.entries[column.index].delta) is not None}
            add(column, column.header, {i: d for i, d in inner.items() if rows[i].role == "data"})
    return tuple(found)


def publish(grid: Grid, number: int) -> PublishedTable:
    """The table that a grid prints.

    Args:
        grid: as laid out.
        number: 1 for the first table of the file.
    """
    comma = has_decimal_commas(cell for row in grid.rows for cell in row)
    entries = [[read_entry(_unhighlighted(cell, row[0]), comma=comma) for cell in row] for row in grid.rows]
    start = header_rows(grid, entries)
    joined = _joined(grid.rows, start, comma=comma)
    if len(joined) < len(grid.rows):
        grid = replace(grid, rows=joined, rules=frozenset())
        entries = [[read_entry(_unhighlighted(cell, row[0]), comma=comma) for cell in row] for row in joined]
    columns = make_columns(grid.rows[:start], grid.rows[start:], entries[start:])
    rows = _rows(grid, entries, columns, start)
    counted = [c.index for c in columns if c.kind not in ("label", "extra")]
    cells = [row.entries[i] for row in rows for i in counted]
    return PublishedTable(
        number=number,
        caption=grid.caption,
        columns=columns,
        rows=rows,
        series=_series(columns, rows),
        n_read=sum(cell.readable for cell in cells),
        n_unread=sum(not cell.readable for cell in cells),
    )
