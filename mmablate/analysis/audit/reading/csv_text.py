"""CSV: comma, semicolon or tab; tables of several studies or parts under each other."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator

from mmablate.analysis.audit.model import Cell, Grid, Run
from mmablate.analysis.audit.reading.spans import MAX_PLACES, Places

_DELIMITERS = (",", ";", "\t", "|")


def _parsed(text: str, delimiter: str, places: Places) -> list[list[str]]:
    """The fields of each line; ValueError where they are more than the places that the file may have."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows: list[list[str]] = []
    count = 0
    try:
        for row in reader:
            count += len(row)
            places.check(count)
            rows.append([field.strip() for field in row])
    except csv.Error as error:
        raise ValueError(f"not a CSV table: {error}") from error
    return rows


def _score(rows: list[list[str]]) -> tuple[float, int]:
    """How well a delimiter divides: the share of lines as wide as the most frequent width, then that width."""
    widths = [len(row) for row in rows if any(row)]
    if not widths:
        return 0.0, 0
    common = max(set(widths), key=lambda w: (widths.count(w) * (w > 1), w))
    return (widths.count(common) / len(widths) if common > 1 else 0.0), common


def _cell(text: str) -> Cell:
    """A cell; Markdown's bold is understood, the apostrophe against spreadsheets is taken off."""
    bold = len(text) > 4 and text.startswith("**") and text.endswith("**")
    plain = text[2:-2] if bold else text[1:] if text[:1] == "'" and text[1:2] in "=+-@" else text
    return Cell((Run(plain, bold),)) if plain else Cell()


def _views(rows: list[list[str]], places: Places) -> Iterator[list[list[str]]]:
    """Several studies, conditions or subsets under one header are tables of their own (`mmablate table`)."""
    header = rows[0]
    keys = [i for i, name in enumerate(header) if name in ("study", "condition", "subset")]
    if "row" not in header or not keys:
        yield rows
        return
    groups = itertools.groupby(rows[1:], key=lambda row: tuple(row[i] for i in keys if i < len(row)))
    for _, group in groups:
        lines = list(group)
        filled = {i for row in lines for i, field in enumerate(row[: len(header)]) if field}
        used = sorted(filled.difference(keys))
        places.check(len(used) * (1 + len(lines)))
        yield [[row[i] if i < len(row) else "" for i in used] for row in (header, *lines)]


def _is_prose(rows: list[list[str]]) -> bool:
    """Lines of unequal width, or without a column of numbers: sentences with commas."""
    if _score(rows)[0] < 1:
        return True
    return not any(all(re.match(r"[+\-−–]?[.\d]", row[x]) for row in rows[1:]) for x in range(1, len(rows[0])))


def read(text: str, places: Places, *, surely: bool = True) -> list[Grid]:
    """The tables of a CSV text; parts between empty lines are tables of their own.

    Args:
        text: to read.
        places: that the file may still have.
        surely: the file's name says that it is CSV; otherwise what may be prose is passed over.

    Raises:
        ValueError: not CSV, or too large a table.
    """
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    plain = "\n".join(lines).strip("\n")
    head = "\n".join(plain.split("\n")[:200])[:MAX_PLACES]  # by no delimiter more fields than characters
    best = max(_DELIMITERS, key=lambda d: (_score(_parsed(head, d, Places())), -_DELIMITERS.index(d)))
    grids = []
    for filled, part in itertools.groupby(_parsed(plain, best, places), key=any):
        rows = list(part)
        if not filled or len(rows) < 2 or max(map(len, rows)) < 2 or _score(rows)[0] < 0.5:
            continue
        if not surely and _is_prose(rows):
            continue
        for view in _views(rows, places):
            width = max(map(len, view))
            places.take(len(view), width)
            cells = tuple(
                tuple(
                    Cell(_cell(f).runs, header=y == 0, origin=(y, x))
                    for x, f in enumerate([*row, *[""] * (width - len(row))])
                )
                for y, row in enumerate(view)
            )
            grids.append(Grid(cells, n_header=1))
    return grids
