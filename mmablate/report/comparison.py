"""The comparison of two tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from mmablate.analysis.comparing import Compared, Pair
from mmablate.report import labels, numbers
from mmablate.report.wrapping import wrap

_BOLD, _DIM = Style(bold=True), Style(dim=True)
_QUESTIONS = {
    "same_sign": "Δ agree in sign",
    "b_inside_a": "Δ of B lie inside the interval of A",
    "a_inside_b": "Δ of A lie inside the interval of B",
}
_HEADER = ("column", "Δ of A", "interval", "Δ of B", "interval", "sign", "B in A", "A in B")


def _interval(ends: tuple[float, float] | None, digits: int) -> str:
    return numbers.MISSING if ends is None else f"{numbers.signed(ends[0], digits)} {numbers.signed(ends[1], digits)}"


def _answer(value: bool | None, yes: str, no: str) -> str:
    return numbers.MISSING if value is None else yes if value else no


def _fields(pair: Pair, digits: int) -> tuple[str, ...]:
    return (
        labels.clean(pair.column),
        numbers.signed(pair.delta_a, digits),
        _interval(pair.ci_a, digits),
        numbers.signed(pair.delta_b, digits),
        _interval(pair.ci_b, digits),
        _answer(pair.same_sign, "same", "differs"),
        _answer(pair.b_inside_a, "inside", "outside"),
        _answer(pair.a_inside_b, "inside", "outside"),
    )


def lines(compared: Compared, width: int) -> Iterator[Text]:
    """Everything about a comparison; text is none wider than `width`, the grid as wide as its numbers."""
    for name, title in (("A", compared.a), ("B", compared.b)):
        mark = "  SYNTHETIC DATA" if title in compared.synthetic else ""
        yield Text(f"{name}: {labels.clean(title)}{mark}", style=_BOLD, no_wrap=True)
    grid = [(pair.row, _fields(pair, compared.n_decimals)) for pair in compared.pairs]
    widths = [max(map(cell_len, column)) for column in zip(_HEADER, *(fields for _, fields in grid), strict=True)]
    shown = None
    yield _joined(_HEADER, widths, _DIM)
    for row, fields in grid:
        if row != shown:
            base = compared.baselines[row]
            yield Text(labels.clean(f"{row} (to {base})"), style=_BOLD, no_wrap=True)
            shown = row
        yield _joined(fields, widths, Style(color="red") if fields[5] == "differs" else Style.null())
    summary = compared.summary()
    told = [f"{summary[q]['yes']} of {summary[q]['of']} {text}" for q, text in _QUESTIONS.items() if summary[q]["of"]]
    for text in (f"{'; '.join(told)}." if told else "No Δ in common.", *compared.notes):
        for line in wrap(labels.clean(text), width):
            yield Text(line, no_wrap=True)


def _joined(fields: tuple[str, ...], widths: list[int], style: Style) -> Text:
    first, *others = (
        f"{field}{' ' * (width - cell_len(field))}" if i == 0 else f"{' ' * (width - cell_len(field))}{field}"
        for i, (field, width) in enumerate(zip(fields, widths, strict=True))
    )
    return Text("  ".join([first, *others]).rstrip(), style=style, no_wrap=True)


def print_comparison(compared: Compared, console: Console) -> None:
    """Prints a comparison in the console's width."""
    for line in lines(compared, console.width):
        console.print(line, soft_wrap=True)
