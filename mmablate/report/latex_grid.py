"""The tabulars of a LaTeX table: cells in short lines under each other, columns folded to a page's width.

A row of the table takes two or three lines of the tabular: mean and ±std, Δ with its marks. Numbers are flush
right before a box of one width for all marks, so that decimals stand under each other. Widths are estimates
in points; TeX itself shrinks a tabular that is wider than the text after all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import colours, folding, labels, latex_text, marks, numbers
from mmablate.report.wrapping import wrap

# The text of a one-column article with the class's own margins, and with the usual narrower ones.
_NARROW, _ROOM = 345.0, 430.0
_PAGE_HEIGHT = 540.0
_SMALL_PT = 7.0  # \scriptsize
_EM = 0.53  # mean width of a character
_MARK_PT = 13.0
_GAP_PT = 6.0
_SKIP_PT = 3.0


class Size(NamedTuple):
    """A font size: its command, its points and the distance of its lines."""

    command: str
    points: float
    line: float


SMALL = Size(r"\small", 9.0, 11.0)
FOOTNOTE = Size(r"\footnotesize", 8.0, 9.5)


class _Line(NamedTuple):
    """One line of a cell: LaTeX, its length in characters, whether it is set small, its marks as LaTeX.

    `mark` is None for what is no number, which may reach into the room of the marks.
    """

    text: str
    length: float = 0
    small: bool = False
    mark: str | None = None


class _Cell(NamedTuple):
    """The lines of a cell on one background, "RRGGBB" or "" for none; `ink` likewise, "" for black."""

    lines: tuple[_Line, ...]
    fill: str = ""
    ink: str = ""


class _Column(NamedTuple):
    """A column ready for layout.

    Attributes:
        has_marks: some line has a mark, so that every number keeps room for one.
        first_summary: a gap before it parts it from the modality subsets.
    """

    header: tuple[str, ...]
    cells: tuple[_Cell, ...]
    header_length: int
    has_marks: bool = False
    first_summary: bool = False

    def width(self, size: Size) -> float:
        """Points, with the gap to the next column."""
        lines = [line for cell in self.cells for line in cell.lines]
        widest = max((_EM * line.length * (_SMALL_PT if line.small else size.points) for line in lines), default=0.0)
        body = widest + (_MARK_PT if self.has_marks else 0.0)
        extra = _GAP_PT if self.first_summary else 0.0
        return max(body, _EM * self.header_length * size.points) + _GAP_PT + extra


class Grid(NamedTuple):
    """A table cut into tabulars.

    Attributes:
        pages: the tabulars of each page, as LaTeX.
        size: of the font.
        width: estimated, in points.
        height: estimated, of the last page, in points.
        extras: parameters and time stand in columns.
    """

    pages: list[list[str]]
    size: Size
    width: float
    height: float
    extras: bool


def _cell(table: Table, row: Row, column: str, *, beside: bool, repeated: bool) -> _Cell:
    """Mean, ±std, Δ.

    Args:
        table, row, column: place of the cell.
        beside: the std stands behind the mean instead of under it.
        repeated: what `marks.is_repeated` says of the table.
    """
    cell = marks.cell(row, column)
    if marks.is_empty(cell):
        word = marks.absent(table, row, column)
        return _Cell((_Line(rf"\textit{{{latex_text.escape(word)}}}", len(word)),))
    doubt = marks.doubt(cell, repeated=repeated)
    beside_delta = marks.welch_mark(cell, repeated=repeated) + (rf"\,{doubt}" if doubt else "")
    has_mean = numbers.is_number(cell.mean)
    lines = [_mean_line(table, cell) if has_mean else _delta_line(table, cell, beside_delta, small=False)]
    if numbers.is_number(cell.std):
        std = "±" + numbers.fixed(cell.std, table.n_decimals, table.decimal)
        if beside:
            first = lines[0]
            lines[0] = first._replace(
                text=rf"{first.text}\,{{\scriptsize {std}}}", length=first.length + 0.8 * len(std) + 0.5
            )
        else:
            lines.append(_Line(rf"\scriptsize {std}", len(std), small=True, mark=""))
    if has_mean and numbers.is_number(cell.delta):
        lines.append(_delta_line(table, cell, beside_delta, small=True))
    return _Cell(tuple(lines), *_fill(cell, pale=bool(doubt)))


def _mean_line(table: Table, cell: Cell) -> _Line:
    mean = numbers.fixed(cell.mean, table.n_decimals, table.decimal)
    mark = r"\textsuperscript{†}" if cell.tied and not cell.best else ""
    return _Line(rf"\textbf{{{mean}}}" if cell.best else mean, len(mean), mark=mark)


def _delta_line(table: Table, cell: Cell, mark: str, *, small: bool) -> _Line:
    """Δ with a sign of the width of a plus, so that gains and losses stand alike."""
    delta = numbers.signed(cell.delta, table.n_decimals, table.decimal)
    text = f"$+${delta[1:]}" if delta.startswith("+") else delta
    return _Line(rf"\scriptsize {text}" if small else text, len(delta) + 0.5, small, mark)


def _fill(cell: Cell, *, pale: bool) -> tuple[str, str]:
    """Background and ink of a cell: its heat, or a breath of it."""
    if not colours.is_colour(cell.heat):
        return "", ""
    background = str(cell.heat)
    if pale:
        background = colours.heat_style(background, 0).pale
    ink = colours.ink_on(background)
    return background[1:].upper(), "" if colours.contrast("#000000", background) >= colours.AA else ink[1:].upper()


def _unbroken(label: str, parts: Sequence[str]) -> list[str]:
    """The lines of a label as LaTeX; one that was not broken keeps its braces."""
    return [latex_text.label(part) for part in ([label] if len(parts) == 1 else parts)]


def _header(label: str, note: str) -> tuple[tuple[str, ...], int]:
    """The lines above a column, as LaTeX, and the length of the longest."""
    whole = labels.plain(label)
    parts = [whole] if cell_len(whole) <= folding.HEADER_MAX else wrap(whole, folding.HEADER_MAX)
    lines = _unbroken(label, parts)
    below = wrap(note, folding.HEADER_MAX) if note else []
    return (*lines, *map(latex_text.escape, below)), max(cell_len(text) for text in (*parts, *below))


def _columns(table: Table, *, beside: bool) -> list[_Column]:
    notes, repeated = marks.column_notes(table), marks.is_repeated(table)
    subset = [marks.info(table, column).subset for column in table.columns]
    found = []
    for index, column in enumerate(table.columns):
        header, length = _header(marks.column_label(table, column), notes[column])
        cells = tuple(_cell(table, row, column, beside=beside, repeated=repeated) for row in table.rows)
        has_marks = any(line.mark for cell in cells for line in cell.lines)
        first = index > 0 and subset[index - 1] and not subset[index]
        found.append(_Column(header, cells, length, has_marks, first))
    return found


def _extra_columns(table: Table) -> list[_Column]:
    """Parameters, FLOPs and time of a run, where the table has them."""
    return [
        _Column((title,), tuple(_Cell((_Line(latex_text.escape(text), len(text)),)) for text in texts), len(title))
        for _, title, texts in marks.extras(table)
    ]


class _Layout(NamedTuple):
    """What fits: groups of columns, room of the row labels in characters, and the font size."""

    groups: list[list[_Column]]
    label: int
    size: Size
    width: float
    extras: bool


def _layout(table: Table) -> _Layout:
    """The roomiest layout that needs no folding; else groups of columns, parameters and time left to the notes."""
    least, wanted = folding.label_room(table)
    stacked, extras = _columns(table, beside=False), _extra_columns(table)
    for columns, shown, size, room, narrowest in (
        ([*_columns(table, beside=True), *extras], True, SMALL, _NARROW, wanted),
        ([*stacked, *extras], True, SMALL, _NARROW, wanted),
        ([*stacked, *extras], True, FOOTNOTE, _ROOM, least),
        (stacked, False, FOOTNOTE, _ROOM, least),
    ):
        needs = sum(column.width(size) for column in columns)
        spare = int((room - needs) / (_EM * size.points))
        if spare >= narrowest:
            text = min(wanted, spare)
            return _Layout([columns], text, size, needs + _EM * size.points * text, shown or not extras)
    widths = (column.width(FOOTNOTE) for column in stacked)
    groups = folding.groups(stacked, widths, _ROOM - _EM * FOOTNOTE.points * least)
    widest = max(sum(column.width(FOOTNOTE) for column in group) for group in groups)
    text = min(wanted, max(int((_ROOM - widest) / (_EM * FOOTNOTE.points)), least))
    return _Layout(groups, text, FOOTNOTE, widest + _EM * FOOTNOTE.points * text, not extras)


def _label_lines(table: Table, row: Row, width: int) -> list[str]:
    """The row's label, and below it, smaller, what must not be missed about the row."""
    facts = folding.fact_lines(table, row, width + 4)
    label = _unbroken(row.label, folding.label_lines(row, width))
    return [*label, *(rf"{{\scriptsize {latex_text.label(part)}}}" for part in facts)]


def _printed(cell: _Cell, index: int, has_marks: bool) -> str:
    """That line of a cell, on its background."""
    line = cell.lines[index] if index < len(cell.lines) else _Line("")
    fill = rf"\cellcolor[HTML]{{{cell.fill}}}" if cell.fill else ""
    ink = rf"\color[HTML]{{{cell.ink}}}" if cell.ink and line.text else ""
    mark = (
        rf"\ablmark{{{line.mark or ''}}}" if has_marks and line.length and not line.text.startswith(r"\textit") else ""
    )
    return f"{fill}{ink}{line.text}{mark}"


def _row_lines(label: Sequence[str], cells: Sequence[_Cell], columns: Sequence[_Column]) -> list[str]:
    """The lines of the tabular that one row takes."""
    height = max(len(label), *(len(cell.lines) for cell in cells), 1) if cells else max(len(label), 1)
    lines = []
    for index in range(height):
        texts = [_printed(cell, index, c.has_marks) for cell, c in zip(cells, columns, strict=True)]
        lines.append(" & ".join([label[index] if index < len(label) else "", *texts]) + r" \\")
    return lines


def _head_lines(header: Sequence[str], columns: Sequence[_Column]) -> list[str]:
    """Names of the columns, centred, the last line of each just above the rule."""
    height = max(len(header), *(len(column.header) for column in columns), 1) if columns else max(len(header), 1)
    lines = []
    for index in range(height):
        texts = []
        for column in columns:
            own = index - height + len(column.header)
            texts.append(rf"\multicolumn{{1}}{{c}}{{{column.header[own]}}}" if own >= 0 else "")
        own = index - height + len(header)
        lines.append(" & ".join([header[own] if own >= 0 else "", *texts]) + r" \\")
    return lines


def _tabular(head: Sequence[str], body: Sequence[str], columns: Sequence[_Column]) -> str:
    """One tabular, shrunk by TeX where it is wider than the text."""
    spec = "".join(r"!{\hspace{6pt}}r" if column.first_summary and i else "r" for i, column in enumerate(columns))
    lines = [
        r"\sbox2{%",
        rf"\begin{{tabular}}{{@{{}}l{spec}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd2>\linewidth\resizebox{\linewidth}{!}{\usebox2}\else\usebox2\fi",
    ]
    return "\n".join(lines)


def _pieces(table: Table, layout: _Layout, most: int) -> Iterator[list[list[str]]]:
    """For each group of columns the lines of each row; a row of more than `most` lines in pieces."""
    names = [_label_lines(table, row, layout.label) for row in table.rows]
    for group in layout.groups:
        rows: list[list[str]] = []
        for number, name in enumerate(names):
            lines = _row_lines(name, [column.cells[number] for column in group], group)
            rows += [lines[start : start + most] for start in range(0, len(lines), most)]
        yield rows


def grid(table: Table) -> Grid:
    """The table as tabulars that fit a page's width, dealt out to pages by their height."""
    layout = _layout(table)
    line = layout.size.line
    width = max(layout.label, folding.HEADER_MAX)
    header = [latex_text.label(part) for part in wrap(labels.plain(table.row_header), width)]
    pages: list[list[str]] = [[]]
    used = 0.0
    for group, rows in zip(layout.groups, _pieces(table, layout, int(_PAGE_HEIGHT / 2 / line)), strict=True):
        head = _head_lines(header, group)
        over = (len(head) + 2) * line
        body: list[str] = []
        needs = over
        for row in rows:
            height = len(row) * line + _SKIP_PT
            if used + needs + height > _PAGE_HEIGHT and (body or pages[-1]):
                if body:
                    pages[-1].append(_tabular(head, body, group))
                pages.append([])
                body, used, needs = [], 0.0, over
            body += [rf"\addlinespace[{_SKIP_PT:g}pt]", *row] if body else row
            needs += height
        pages[-1].append(_tabular(head, body, group))
        used += needs
    return Grid(pages, layout.size, layout.width, used, layout.extras)
