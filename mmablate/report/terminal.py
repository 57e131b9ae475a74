"""Tables for a terminal of any width, 80 columns at least fit eight metric columns.

A cell stands in short lines under each other: mean, ±std, Δ, and "n.s." where it does not fit beside Δ.
What does not fit is folded into further groups of columns, never cut. Colour repeats what sign and marks say:
"*" is the best of a column, "†" is tied with it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import colours, labels, marks, numbers

_HEADER_MAX = 16
_LABEL_MIN, _LABEL_MAX = 14, 34
_BAR_WIDTH = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"
_BEST = "*"
_DIM = Style(dim=True)
_BOLD = Style(bold=True)
_WARNING = Style(bold=True, color="yellow")
_FAILURE = Style(bold=True, color="red")


class _Line(NamedTuple):
    """One line of a cell: a number (or word) and what hangs to its right, such as "†"."""

    text: str
    style: Style = Style.null()
    mark: str = ""


class _Column(NamedTuple):
    """A column ready for layout: its header lines and, for each row, the lines of its cell.

    Numbers end where the marks begin, so that decimals stand under each other with and without a mark.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[_Line, ...], ...]

    @property
    def mark_width(self) -> int:
        """Room that the marks take to the right of the numbers."""
        return max((cell_len(line.mark) for cell in self.cells for line in cell), default=0)

    @property
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


def _cell_lines(table: Table, row: Row, column: str, *, inline: bool) -> tuple[_Line, ...]:
    """Mean, ±std, Δ; `inline` sets "n.s." beside Δ instead of below it."""
    cell = marks.cell(row, column)
    if not numbers.is_number(cell.mean):
        return (_Line(marks.absent(row), _FAILURE if row.status != "ok" else _DIM),)
    mark = _BEST if cell.best else marks.TIED if cell.tied else ""
    lines = [_Line(numbers.fixed(cell.mean, table.n_decimals), _BOLD if cell.best else Style.null(), mark)]
    if numbers.is_number(cell.std):
        lines.append(_Line(f"±{numbers.fixed(cell.std, table.n_decimals)}", _DIM))
    if numbers.is_number(cell.delta):
        delta = numbers.signed(cell.delta, table.n_decimals)
        welch = marks.WELCH if marks.is_welch(cell) else ""
        if not marks.not_significant(cell):
            lines.append(_Line(delta, _heat(cell), welch))
        elif inline:
            lines.append(_Line(delta, _DIM, f"{welch} {marks.NOT_SIGNIFICANT}"))
        else:
            lines += [_Line(delta, _DIM, welch), _Line(marks.NOT_SIGNIFICANT, _DIM)]
    return tuple(lines)


def _metric_columns(table: Table, *, inline: bool) -> list[_Column]:
    columns = []
    for column in table.columns:
        note = marks.column_note(table, column)
        header = [*wrap(labels.clean(column), _HEADER_MAX), *(wrap(note, _HEADER_MAX) if note else ())]
        cells = tuple(_cell_lines(table, row, column, inline=inline) for row in table.rows)
        columns.append(_Column(tuple(header), cells))
    return columns


def _extra_columns(table: Table) -> list[_Column]:
    """Parameters, FLOPs and time of a run, where the table has them."""
    return [_Column((name,), tuple((_Line(text),) for text in texts)) for name, texts in marks.extras(table)]


def _break_word(word: str, width: int) -> list[str]:
    """A word in pieces of at most `width` cells; a character wider than that stands alone."""
    pieces = [""]
    for character in word:
        if pieces[-1] and cell_len(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def wrap(text: str, width: int, *, before_plus: bool = False) -> list[str]:
    """Lines of at most `width` cells, broken at spaces, or else inside a word.

    Args:
        text: one line.
        width: of the room.
        before_plus: break only before a " + " where that suffices: terms of a loss stay whole.
    """
    words = text.replace(" + ", "\0+ ").split("\0") if before_plus else text.split(" ")
    joint = " "
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1] + joint + word) <= width:
            lines[-1] += joint + word
        elif cell_len(word) <= width:
            lines.append(word)
        elif before_plus:
            lines += wrap(word, width)
        else:
            lines += _break_word(word, width)
    return lines or [""]


def _label_lines(table: Table, row: Row, width: int) -> list[_Line]:
    """The row's label, wrapped, and below it what must not be missed about the row."""
    lines = [_Line(text) for text in wrap(labels.plain(row.label), width, before_plus=True)]
    facts = [labels.plain(fact) for fact in marks.row_facts(table, row)]
    return lines + [_Line(text, _DIM) for fact in facts for text in wrap(fact, width)]


def _needs(columns: Sequence[_Column], gap: int) -> int:
    """Room that the columns take, with the gap before each."""
    return sum(gap + column.width for column in columns)


def _groups(columns: Sequence[_Column], room: int, gap: int) -> list[list[_Column]]:
    """The columns in groups that fit the room, as even as can be; a column too wide stands alone."""
    groups: list[list[_Column]] = [[]]
    for column in columns:
        if groups[-1] and _needs([*groups[-1], column], gap) > room:
            groups.append([])
        groups[-1].append(column)
    size = math.ceil(len(columns) / len(groups)) or 1
    even = [list(columns[start : start + size]) for start in range(0, len(columns), size)]
    return even if all(_needs(group, gap) <= room for group in even) else groups


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
        line.append(cell.mark, style=cell.style if cell.style.bold else _DIM)
        line.append(" " * after)
    line.rstrip()
    return line


def _line(lines: Sequence[_Line], index: int) -> _Line:
    """That line of a cell, or an empty one below its last."""
    return lines[index] if index < len(lines) else _Line("")


class _Layout(NamedTuple):
    """What fits: the columns in groups, the label's width, the gap between columns.

    Attributes:
        extras: parameters and time stand beside the metrics.
    """

    groups: list[list[_Column]]
    label_width: int
    gap: int
    extras: bool


def _grid(table: Table, columns: Sequence[_Column], layout: _Layout) -> Iterator[Text]:
    """One group of columns with its rules."""
    total = layout.label_width + _needs(columns, layout.gap)
    heavy, light = Text("━" * total, no_wrap=True), Text("─" * total, style=_DIM, no_wrap=True)
    head = [_Line(text, _BOLD) for text in wrap(labels.plain(table.row_header), layout.label_width)]
    heads = [[_Line(text, _BOLD) for text in column.header] for column in columns]
    blocks = [(head, heads)]
    for number, row in enumerate(table.rows):
        blocks.append((_label_lines(table, row, layout.label_width), [list(c.cells[number]) for c in columns]))
    for number, (label, cells) in enumerate(blocks):
        yield light if number else heavy
        for index in range(max(len(lines) for lines in (label, *cells))):
            found = [_line(lines, index) for lines in cells]
            yield _joined(_line(label, index), layout.label_width, found, columns, layout.gap)
    yield heavy


def _layout(table: Table, width: int) -> _Layout:
    """The roomiest layout that needs no folding; else groups of columns."""
    label = max((cell_len(labels.plain(row.label)) for row in table.rows), default=0)
    wanted = min(max(label, cell_len(labels.plain(table.row_header)), len("baseline")), _LABEL_MAX)
    narrow = min(wanted, _LABEL_MIN)
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
            return _Layout([list(columns)], min(wanted, width - needs), gap, has_extras or not extras)
    groups = _groups(stacked, max(width - narrow, 1), 2)
    spare = max(min(width - _needs(group, 2) for group in groups), 1)
    return _Layout(groups, min(wanted, spare), 2, not extras)


def _extra_lines(table: Table) -> Iterator[str]:
    """Parameters and time as sentences, where their columns did not fit."""
    for name, texts in marks.extras(table):
        title = "Time of a run" if name == "Time" else name
        if len(set(texts)) == 1:
            yield f"{title}: {texts[0]}"
        else:
            each = (f"{labels.plain(row.label)}: {text}" for row, text in zip(table.rows, texts, strict=True))
            yield f"{title}: {'; '.join(each)}"


def _chips(table: Table, width: int) -> Iterator[Text]:
    """The facts under the title, flowing: a line breaks between two facts where it can."""
    styles = {"plain": Style.null(), "warning": _WARNING, "failure": _FAILURE}
    facts = [(marks.measured(table), Style.null())]
    facts += [(labels.plain(chip.text), styles[chip.kind]) for chip in marks.chips(table)]
    line = Text(no_wrap=True)
    for text, style in facts:
        if line and line.cell_len + 3 + cell_len(text) > width:
            yield line
            line = Text(no_wrap=True)
        if line and text:
            line.append(" · ")
        *full, last = wrap(text, width)
        for part in full:
            yield Text(part, style=style, no_wrap=True)
        line.append(last, style=style)
    yield line


def _bar(share: float, width: int) -> str:
    """A bar of eighths of a cell; never empty, so that the lowest level is seen."""
    eighths = max(round(share * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _sensitivity(table: Table, width: int) -> Iterator[Text]:
    """Bars of the summary column over the levels of a swept parameter.

    The bars do not start at zero (differences would drown), which the heading says.
    """
    curve = marks.sweep_curve(table)
    means = [p.mean for p in curve.points if numbers.is_number(p.mean)] if curve else []
    if curve is None or not means:
        return
    low, high = min(means), max(means)
    start = low - 0.25 * (high - low) if high > low else low - 1
    n = table.n_decimals
    yield Text()
    what = f"Sensitivity to {curve.symbol} ({labels.clean(curve.column)})"
    heading = f"{what}; bars start at {numbers.fixed(start, n)}"
    for text in wrap(heading, width):
        yield Text(text, style=_BOLD)
    levels = [numbers.level(point.value) for point in curve.points]
    level_width = max(len(text) for text in levels)
    marks_text = [" ".join(w for w, on in (("baseline", p.baseline), ("used", p.used)) if on) for p in curve.points]
    value_width = max(len(numbers.fixed(mean, n)) for mean in means)
    tail = 1 + value_width + max(len(text) + bool(text) for text in marks_text)
    bar_width = max(min(_BAR_WIDTH, width - level_width - 4 - tail), 4)
    for point, text, said in zip(curve.points, levels, marks_text, strict=True):
        ring = "◯" if point.used else " "
        line = Text(f"{text:>{level_width}} {ring} ", no_wrap=True)
        if not numbers.is_number(point.mean):
            line.append("failed", style=_FAILURE)
        else:
            bar = _bar((point.mean - start) / (high - start), bar_width)
            line.append(bar, style=_DIM if point.baseline else Style(color="dark_orange3"))
            line.append(" " * (bar_width - len(bar) + 1))
            line.append(f"{numbers.fixed(point.mean, n):>{value_width}}{f' {said}' if said else ''}")
        yield line


def _bulleted(text: str, width: int, style: Style) -> Iterator[Text]:
    """A paragraph behind a bullet, its further lines indented."""
    for index, line in enumerate(wrap(text, max(width - 2, 1))):
        yield Text(("• " if index == 0 else "  ") + line, style=style, no_wrap=True)


def _below(table: Table, layout: _Layout, width: int) -> Iterator[Text]:
    """Key to the marks, caption, failed runs, notes."""
    paragraphs = [labels.clean(table.caption), marks.key(table, best=_BEST, delta="with a sign")]
    paragraphs += [] if layout.extras else _extra_lines(table)
    for paragraph in paragraphs:
        if paragraph:
            for line in wrap(paragraph, width):
                yield Text(line, no_wrap=True)
    for row in table.rows:
        for error in row.errors or (("no run finished",) if row.status == "failed" else ()):
            yield from _bulleted(f"failed: {labels.plain(row.label)}: {labels.clean(error)}", width, _FAILURE)
    for note in table.notes:
        yield from _bulleted(labels.clean(note), width, _DIM)
    if table.dataset.attribution:
        for line in wrap(labels.clean(table.dataset.attribution), width):
            yield Text(line, style=_DIM, no_wrap=True)


def lines(table: Table, width: int) -> Iterator[Text]:
    """Everything about one table, line by line, none wider than `width`."""
    for text in wrap(marks.title(table), width):
        yield Text(text, style=_BOLD, no_wrap=True)
    yield from _chips(table, width)
    layout = _layout(table, width)
    first = 1
    for group in layout.groups:
        last = first + len(group) - 1
        if len(layout.groups) > 1:
            span = f"columns {first} to {last}" if last > first else f"column {first}"
            yield Text(f"{span} of {len(table.columns)}", style=_DIM, no_wrap=True)
        yield from _grid(table, group, layout)
        first = last + 1
    yield from _below(table, layout, width)
    yield from _sensitivity(table, width)


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Prints the tables in the console's width and colours, an empty line between them."""
    for index, table in enumerate(tables):
        if index:
            console.print()
        for line in lines(table, console.width):
            console.print(line, soft_wrap=True)


def render(tables: Sequence[Table], *, single: bool, width: int = 80) -> str:
    """The tables as plain text; `single` makes no difference here."""
    out = io.StringIO()
    print_tables(tables, Console(file=out, width=width, color_system=None, force_terminal=False))
    return out.getvalue()
