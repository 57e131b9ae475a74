"""The grid of a terminal table: cells in short lines under each other, columns folded to the width.

A cell stands as mean, ±std, Δ, and "n.s." where it does not fit beside Δ. What does not fit the width is folded
into further groups of columns, never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import colours, folding, labels, marks, numbers
from mmablate.report.wrapping import wrap

BEST = "*"
DIM = Style(dim=True)
BOLD = Style(bold=True)
FAILURE = Style(bold=True, color="red")


class _Line(NamedTuple):
    """One line of a cell: a number (or word) and what hangs to its right, such as "†"."""

    text: str
    style: Style = Style.null()
    mark: str = ""


@dataclass(frozen=True)
class _Column:
    """A column ready for layout: its header lines and, for each row, the lines of its cell.

    Numbers end where the marks begin, so that decimals stand under each other with and without a mark.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[_Line, ...], ...]

    @cached_property
    def mark_width(self) -> int:
        """Room that the marks take to the right of the numbers."""
        return max((cell_len(line.mark) for cell in self.cells for line in cell), default=0)

    @cached_property
    def width(self) -> int:
        """Room of the widest line. A word ("failed") may reach into the room of the marks."""
        lines = [line for cell in self.cells for line in cell]
        numbers_width = max((cell_len(line.text) for line in lines if line.mark), default=0)
        words = [cell_len(text) for text in (*self.header, *(line.text for line in lines))]
        digits = [cell_len(line.text) for line in lines if line.text[-1:].isdigit()]
        return max(max([numbers_width, *digits]) + self.mark_width, *words)


def _heat(cell: Cell) -> Style:
    """The heat colour as a background with ink that is legible on it."""
    if not colours.is_colour(cell.heat):
        return Style.null()
    background = str(cell.heat)
    return Style(color=Color.parse(colours.ink_on(background)), bgcolor=Color.parse(background))


def _cell_lines(table: Table, row: Row, column: str, *, inline: bool, repeated: bool) -> tuple[_Line, ...]:
    """Mean, ±std, Δ; Δ comes first where there is no mean.

    Args:
        table, row, column: place of the cell.
        inline: "n.s." stands beside Δ instead of below it.
        repeated: what `marks.is_repeated` says of the table.
    """
    cell = marks.cell(row, column)
    if marks.is_empty(cell):
        failed = marks.has_failed(table, row, column)
        return (_Line(marks.absent(table, row, column), FAILURE if failed else DIM),)
    n, sign = table.n_decimals, table.decimal
    mean, spread, delta = [], [], []
    if numbers.is_number(cell.mean):
        mark = BEST if cell.best else marks.TIED if cell.tied else ""
        mean = [_Line(numbers.fixed(cell.mean, n, sign), BOLD if cell.best else Style.null(), mark)]
    if numbers.is_number(cell.std):
        spread = [_Line(f"±{numbers.fixed(cell.std, n, sign)}", DIM)]
    if numbers.is_number(cell.delta):
        welch = marks.welch_mark(cell, repeated=repeated)
        doubt = marks.doubt(cell, repeated=repeated)
        delta = _delta_lines(cell, numbers.signed(cell.delta, n, sign), welch, doubt, inline=inline)
    return (*mean, *spread, *delta) if mean else (*delta[:1], *spread, *delta[1:])


def _delta_lines(cell: Cell, delta: str, welch: str, doubt: str, *, inline: bool) -> list[_Line]:
    """Δ on its heat colour; without one where it is in doubt, which words say too."""
    if not doubt:
        return [_Line(delta, _heat(cell), welch)]
    if inline:
        return [_Line(delta, DIM, f"{welch} {doubt}")]
    return [_Line(delta, DIM, welch), _Line(doubt, DIM)]


def _metric_columns(table: Table, *, inline: bool) -> list[_Column]:
    columns = []
    notes, repeated = marks.column_notes(table), marks.is_repeated(table)
    for column in table.columns:
        note = notes[column]
        name = labels.plain(marks.column_label(table, column))
        header = [*wrap(name, folding.HEADER_MAX), *(wrap(note, folding.HEADER_MAX) if note else ())]
        cells = tuple(_cell_lines(table, row, column, inline=inline, repeated=repeated) for row in table.rows)
        columns.append(_Column(tuple(header), cells))
    return columns


def _extra_columns(table: Table) -> list[_Column]:
    """Parameters, FLOPs and time of a run, where the table has them."""
    return [_Column((extra.title,), tuple((_Line(text),) for text in extra.texts)) for extra in marks.extras(table)]


def _label_lines(table: Table, row: Row, width: int) -> list[_Line]:
    """The row's label, and below it what must not be missed about the row."""
    facts = folding.fact_lines(table, row, width)
    return [*map(_Line, folding.label_lines(row, width)), *(_Line(text, DIM) for text in facts)]


def _needs(columns: Sequence[_Column], gap: int) -> int:
    """Room that the columns take, with the gap before each."""
    return sum(gap + column.width for column in columns)


def _joined(label: _Line, label_width: int, cells: Sequence[_Line], columns: Sequence[_Column], gap: int) -> Text:
    """One printed line: the label to the left, every cell flush right in its column, before the marks."""
    line = Text(no_wrap=True)
    line.append(label.text, style=label.style)
    line.append(" " * (label_width - cell_len(label.text)))
    for cell, column in zip(cells, columns, strict=True):
        after = column.mark_width - cell_len(cell.mark)
        before = column.width - cell_len(cell.text + cell.mark) - after
        if before < 0:
            before, after = 0, after + before
        line.append(" " * (gap + before))
        line.append(cell.text, style=cell.style)
        line.append(cell.mark, style=cell.style if cell.style.bold else DIM)
        line.append(" " * after)
    line.rstrip()
    return line


def _line(lines: Sequence[_Line], index: int) -> _Line:
    """That line of a cell, or an empty one below its last."""
    return lines[index] if index < len(lines) else _Line("")


class Layout(NamedTuple):
    """What fits: the columns in groups, the label's width, the gap between columns.

    Attributes:
        extras: parameters and time stand beside the metrics.
    """

    groups: list[list[_Column]]
    label_width: int
    gap: int
    extras: bool


def grid(table: Table, columns: Sequence[_Column], layout: Layout) -> Iterator[Text]:
    """One group of columns with its rules."""
    total = layout.label_width + _needs(columns, layout.gap)
    heavy, light = Text("━" * total, no_wrap=True), Text("─" * total, style=DIM, no_wrap=True)
    head = [_Line(text, BOLD) for text in wrap(labels.plain(table.row_header), layout.label_width)]
    heads = [[_Line(text, BOLD) for text in column.header] for column in columns]
    blocks = [(head, heads)]
    for number, row in enumerate(table.rows):
        blocks.append((_label_lines(table, row, layout.label_width), [list(c.cells[number]) for c in columns]))
    for number, (label, cells) in enumerate(blocks):
        yield light if number else heavy
        for index in range(max(len(lines) for lines in (label, *cells))):
            found = [_line(lines, index) for lines in cells]
            yield _joined(_line(label, index), layout.label_width, found, columns, layout.gap)
    yield heavy


def find_layout(table: Table, width: int) -> Layout:
    """The roomiest layout that needs no folding; else groups of columns."""
    narrow, wanted = folding.label_room(table)
    inline, stacked = _metric_columns(table, inline=True), _metric_columns(table, inline=False)
    extras = _extra_columns(table)
    for columns, has_extras, least, gap in (
        ([*inline, *extras], True, wanted, 2),
        (inline, False, wanted, 2),
        ([*stacked, *extras], True, wanted, 2),
        ([*inline, *extras], True, narrow, 2),
        ([*stacked, *extras], True, narrow, 2),
        (stacked, False, narrow, 2),
        (stacked, False, narrow, 1),
    ):
        needs = _needs(columns, gap)
        if least + needs <= width:
            return Layout([list(columns)], min(wanted, width - needs), gap, has_extras or not extras)
    groups = folding.groups(stacked, (2 + column.width for column in stacked), max(width - narrow, 1))
    spare = max(min(width - _needs(group, 2) for group in groups), 1)
    return Layout(groups, min(wanted, spare), 2, not extras)
