"""Filling a grid from cells that may span rows and columns, as HTML lays tables out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from mmablate.analysis.audit.model import Cell

MAX_PLACES = 250_000  # of all tables of a file: 10,000 rows of 24 columns
MAX_COLUMNS = 2_000
MAX_SPAN = 1000


class Places:
    """How many places the tables of one file may still have: small files can ask for large ones by spans."""

    def __init__(self) -> None:
        self.left = MAX_PLACES

    def check(self, count: int) -> None:
        """Raises ValueError where that many are more than what is left."""
        if count > self.left:
            raise ValueError(f"tables of more than {MAX_PLACES:,} places")

    def take(self, n_rows: int, n_columns: int) -> None:
        """Takes those of a table, before it is made; ValueError where it is too wide or more than what is left."""
        if n_columns > MAX_COLUMNS:
            raise ValueError(f"a table of more than {MAX_COLUMNS:,} columns")
        self.check(n_rows * n_columns)
        self.left -= n_rows * n_columns


class Spanning(NamedTuple):
    """A cell with its extent."""

    cell: Cell
    n_columns: int = 1
    n_rows: int = 1


def fill(rows: Iterable[Sequence[Spanning]], places: Places, *, pushes: bool = True) -> tuple[tuple[Cell, ...], ...]:
    """The grid; each place knows the upper left corner of its cell.

    Args:
        rows: cells of each row from left to right.
        places: that the file may still have.
        pushes: a cell that reaches down pushes those of later rows aside (HTML); otherwise it takes the place
            of the blank cells that stand there (LaTeX).

    Raises:
        ValueError: more columns or places than may be.
    """
    held: dict[tuple[int, int], Cell] = {}
    width = n_rows = written = 0
    listed = [list(row) for row in rows]
    for y, row in enumerate(listed):
        x = 0
        for cell, n_columns, n_down in row:
            while pushes and (y, x) in held:
                x += 1
            across = min(max(n_columns, 1), MAX_SPAN)
            down = min(max(n_down, 1), len(listed) - y, MAX_SPAN)
            written += across * down
            places.check(written // 2)  # in LaTeX blank cells stand below one that reaches down
            for i in range(down):
                for j in range(across):
                    if pushes or (y + i, x + j) not in held or cell.runs:
                        held[y + i, x + j] = replace(cell, origin=(y, x))
            x += across
            width = max(width, x)
        n_rows = y + 1
    places.take(n_rows, width)
    return tuple(tuple(held.get((y, x)) or Cell(origin=(y, x)) for x in range(width)) for y in range(n_rows))
