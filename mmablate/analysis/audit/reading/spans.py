"""Filling a grid from cells that may span rows and columns, as HTML lays tables out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from mmablate.analysis.audit.model import Cell

MAX_PLACES = 2_000_000
MAX_SPAN = 1000


class Spanning(NamedTuple):
    """A cell with its extent."""

    cell: Cell
    n_columns: int = 1
    n_rows: int = 1


def fill(rows: Iterable[Sequence[Spanning]], *, pushes: bool = True) -> tuple[tuple[Cell, ...], ...]:
    """The grid; each place knows the upper left corner of its cell.

    Args:
        rows: cells of each row from left to right.
        pushes: a cell that reaches down pushes those of later rows aside (HTML); otherwise it takes the place
            of the blank cells that stand there (LaTeX).

    Raises:
        ValueError: more than `MAX_PLACES` places.
    """
    held: dict[tuple[int, int], Cell] = {}
    width = n_rows = 0
    listed = [list(row) for row in rows]
    for y, row in enumerate(listed):
        x = 0
        for cell, n_columns, n_down in row:
            while pushes and (y, x) in held:
                x += 1
            across = min(max(n_columns, 1), MAX_SPAN)
            down = min(max(n_down, 1), len(listed) - y, MAX_SPAN)
            if len(held) + across * down > MAX_PLACES:
                raise ValueError(f"a table of more than {MAX_PLACES} places")
            for i in range(down):
                for j in range(across):
                    if pushes or (y + i, x + j) not in held or cell.runs:
                        held[y + i, x + j] = replace(cell, origin=(y, x))
            x += across
            width = max(width, x)
        n_rows = y + 1
    if n_rows * width > MAX_PLACES:
        raise ValueError(f"a table of more than {MAX_PLACES} places")
    return tuple(tuple(held.get((y, x)) or Cell(origin=(y, x)) for x in range(width)) for y in range(n_rows))
