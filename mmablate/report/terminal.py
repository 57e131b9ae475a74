"""Tables for a terminal of any width, 80 columns at least fit eight metric columns.

Title, facts, grid, key, evidence, notes and the bars of a sweep. Colour repeats what sign and marks say: "*" is
the best of a column, "†" is tied with it. Without colours (piped, NO_COLOR) nothing is lost but the scale.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence, Set

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from mmablate.analysis.table import HeatScale, Table
from mmablate.report import colours, evidence, labels, marks, numbers
from mmablate.report.terminal_grid import BEST, BOLD, DIM, FAILURE, Layout, find_layout, grid
from mmablate.report.wrapping import wrap

_BAR_WIDTH = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WARNING = Style(bold=True, color="yellow")


def _chips(table: Table, width: int) -> Iterator[Text]:
    """The facts under the title, flowing: a line breaks between two facts where it can."""
    styles = {"plain": Style.null(), "warning": _WARNING, "failure": FAILURE}
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
    n, sign = table.n_decimals, table.decimal
    yield Text()
    what = f"Sensitivity to {curve.symbol} ({labels.plain(marks.column_label(table, curve.column))})"
    heading = f"{what}; bars start at {numbers.fixed(start, n, sign)}"
    for text in wrap(heading, width):
        yield Text(text, style=BOLD)
    levels = [numbers.level(point.value, sign) for point in curve.points]
    level_width = max(len(text) for text in levels)
    marks_text = [" ".join(w for w, on in (("baseline", p.baseline), ("used", p.used)) if on) for p in curve.points]
    value_width = max(len(numbers.fixed(mean, n, sign)) for mean in means)
    tail = 1 + value_width + max(len(text) + bool(text) for text in marks_text)
    bar_width = max(min(_BAR_WIDTH, width - level_width - 4 - tail), 4)
    for point, text, said in zip(curve.points, levels, marks_text, strict=True):
        ring = "◯" if point.used else " "
        line = Text(f"{text:>{level_width}} {ring} ", no_wrap=True)
        if not numbers.is_number(point.mean):
            line.append("failed", style=FAILURE)
        else:
            bar = _bar((point.mean - start) / (high - start), bar_width)
            line.append(bar, style=DIM if point.baseline else Style(color="dark_orange3"))
            line.append(" " * (bar_width - len(bar) + 1))
            line.append(f"{numbers.fixed(point.mean, n, sign):>{value_width}}{f' {said}' if said else ''}")
        yield line


def _bulleted(text: str, width: int, style: Style) -> Iterator[Text]:
    """A paragraph behind a bullet, its further lines indented."""
    for index, line in enumerate(wrap(text, max(width - 2, 1))):
        yield Text(("• " if index == 0 else "  ") + line, style=style, no_wrap=True)


def _scale(scale: HeatScale, decimal: str, width: int) -> Iterator[Text]:
    """The colours with the size of Δ at which each begins, worst to best."""
    bounds = marks.scale_bounds(scale, decimal)
    steps = list(zip(bounds, scale.loss, scale.gain, strict=False))
    words = [("worse ", ""), *((b, loss) for b, loss, _ in reversed(steps)), (" ", "")]
    words += [*((b, gain) for b, _, gain in steps), (" better", "")]
    line = Text(no_wrap=True)
    for text, colour in words:
        if line and line.cell_len + cell_len(text) > width:
            yield line
            line = Text(no_wrap=True)
        style = Style.null()
        if colours.is_colour(colour):
            style = Style(color=Color.parse(colours.ink_on(colour)), bgcolor=Color.parse(colour))
        line.append(text, style=style)
    unit = f", |Δ| in {marks.scale_unit(scale)}"
    if line.cell_len + cell_len(unit) <= width:
        yield line.append(unit)
        return
    yield line
    yield from (Text(text, no_wrap=True) for text in wrap(unit.removeprefix(", "), width))


def _below(table: Table, layout: Layout, width: int, *, coloured: bool) -> Iterator[Text]:
    """Caption, key to the marks, colour scale, evidence, failed runs, notes."""
    pale = " (no colour)" if coloured else ""
    key = marks.key(table, best=BEST, delta="with a sign", pale=pale)
    for line in (*wrap(labels.plain(table.caption), width), *wrap(key, width)):
        if line:
            yield Text(line, no_wrap=True)
    if coloured and marks.has_heat(table):
        for scale in table.heat_scales:
            yield from _scale(scale, table.decimal, width)
    sentences = () if layout.extras else marks.extra_sentences(table)
    for sentence in (*sentences, evidence.key(table)):
        if sentence:
            yield from (Text(line, no_wrap=True) for line in wrap(labels.plain(sentence), width))
    for line in evidence.lines(table):
        yield from _bulleted(labels.plain(line), width, Style.null())
    for label, error in marks.failures(table):
        yield from _bulleted(f"failed: {labels.plain(label)}: {labels.clean(error)}", width, FAILURE)
    for note in table.notes:
        yield from _bulleted(labels.clean(note), width, DIM)
    if table.dataset.attribution:
        for line in wrap(labels.clean(table.dataset.attribution), width):
            yield Text(line, style=DIM, no_wrap=True)


def lines(table: Table, width: int, *, coloured: bool = True) -> Iterator[Text]:
    """Everything about one table, line by line, none wider than `width`.

    Args:
        table: the table.
        width: of the terminal, in cells.
        coloured: colours will be seen, so that their scale is shown.
    """
    for text in wrap(marks.title(table), width):
        yield Text(text, style=BOLD, no_wrap=True)
    yield from _chips(table, width)
    layout = find_layout(table, width)
    first = 1
    for group in layout.groups:
        last = first + len(group) - 1
        if len(layout.groups) > 1:
            span = f"columns {first} to {last}" if last > first else f"column {first}"
            yield Text(f"{span} of {len(table.columns)}", style=DIM, no_wrap=True)
        yield from grid(table, group, layout)
        first = last + 1
    yield from _below(table, layout, width, coloured=coloured)
    yield from _sensitivity(table, width)


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Prints the tables in the console's width and colours, an empty line between them."""
    coloured = console.color_system is not None and not console.no_color
    told: set[str] = set()
    for index, table in enumerate(tables):
        if index:
            console.print()
        for line in lines(_without(table, told), console.width, coloured=coloured):
            console.print(line, soft_wrap=True)
        told |= {*table.notes, table.dataset.attribution or ""}


def _without(table: Table, told: Set[str]) -> Table:
    """The table without the notes that stand under one printed before it."""
    dataset = table.dataset
    if dataset.attribution in told:
        dataset = dataset.model_copy(update={"attribution": None})
    notes = tuple(note for note in table.notes if note not in told)
    return table.model_copy(update={"notes": notes, "dataset": dataset})


def render(tables: Sequence[Table], *, single: bool, width: int = 80) -> str:
    """The tables as plain text; `single` makes no difference here."""
    out = io.StringIO()
    print_tables(tables, Console(file=out, width=width, color_system=None, force_terminal=False))
    return out.getvalue()
