"""What the grids of a terminal and of LaTeX share: room for row labels, columns folded to a width."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from rich.cells import cell_len

from mmablate.analysis.table import Row, Table
from mmablate.report import labels, marks
from mmablate.report.wrapping import wrap

HEADER_MAX = 16
"""Characters of a line above a column."""
_LABEL_MIN, _LABEL_MAX = 14, 34

Column = TypeVar("Column")


class LabelRoom(NamedTuple):
    """Characters that the row labels have at least, and those that they would like."""

    least: int
    wanted: int


def label_room(table: Table) -> LabelRoom:
    """Room for the labels of the rows: the longest on a line of its own, within bounds."""
    label = max((cell_len(labels.plain(row.label)) for row in table.rows), default=0)
    wanted = min(max(label, cell_len(labels.plain(table.row_header)), len("baseline")), _LABEL_MAX)
    return LabelRoom(min(wanted, _LABEL_MIN), wanted)


def label_lines(row: Row, width: int) -> list[str]:
    """The row's label as plain lines."""
    return wrap(labels.plain(row.label), width, before_plus=True)


def fact_lines(table: Table, row: Row, width: int) -> list[str]:
    """What must not be missed about the row, as plain lines."""
    return [part for fact in marks.row_facts(table, row) for part in wrap(labels.plain(fact), width)]


def groups(columns: Sequence[Column], widths: Iterable[float], room: float) -> list[list[Column]]:
    """The columns in groups that fit the room, as even as can be; a column too wide stands alone.

    Args:
        columns: in the order of print.
        widths: of each, with the gap beside it.
        room: of a group.
    """
    needs = list(widths)
    cuts, used = [0], 0.0
    for index, width in enumerate(needs):
        if index > cuts[-1] and used + width > room:
            cuts.append(index)
            used = 0.0
        used += width
    size = math.ceil(len(columns) / len(cuts)) or 1
    even = list(range(0, len(columns), size)) or [0]
    if all(sum(needs[start : start + size]) <= room for start in even):
        cuts = even
    return [list(columns[start:end]) for start, end in itertools.pairwise([*cuts, len(columns)])]
