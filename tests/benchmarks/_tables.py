"""Clean tables in the styles of papers, and faults planted in them; knows nothing of the reader that is tested.

Unrounded values are drawn first; what is printed follows from them by rounding or by cutting off. So it is known
of every printed number whether it is right, and of every fault whether the printed digits alone can prove it.
"""

from __future__ import annotations

import html as html_module
import random
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

KINDS = ("wrong_delta", "wrong_mean", "bold_not_best", "colour_contradicts")
FORMATS = ("html", "html in markdown", "markdown", "latex", "csv")

WARM_BLUE = (("#FFD580", "#FFA07A", "#FF6347", "#FF4500"), ("#E1F3FF", "#B5E0FC", "#87CEFA", "#5BB0EA"))
GREEN_RED = (("#d9f2d9", "#9fdf9f", "#5fbf5f"), ("#f9d5d5", "#f19999", "#e06666"))
NAMES = ("sup", "kd", "mad", "umd", "cmd", "ours", "w/o pixel", "full", "prompt", "late fusion", "Meta-Drop", "A + B")
METRICS = ("F", "E", "L", "FE", "FL", "EL", "FEL", "RGB", "Depth", "KS", "CREMA-D", "Dice", "Acc.", "T1ce", "Flair")
MINUSES = {
    "html": ("-", "−", "–", "&minus;"),
    "markdown": ("-", "−", "–"),
    "latex": ("-", "$-$", "math"),
    "csv": ("-",),
}


@dataclass(frozen=True)
class Style:
    """How a table is printed.

    Attributes:
        delta: "columns" of their own, "brackets", "bare" (behind the value), "script", "stacked", or "none".
        rule: "round", "truncate", or "printed": Δ and Mean computed from the rounded numbers.
        colour: "none", "warm-blue" or "green-red"; of the "background" or the "text".
        baseline: what the baseline's Δ prints: "-", "–", "", "0".
        reference: a teacher without Δ stands first.
        groups: a second header row names groups of columns.
        sections: rows that span all columns divide the table, or rules do.
    """

    digits: int = 2
    rule: str = "round"
    delta: str = "columns"
    mean: bool = True
    spread: bool = False
    bold: bool = True
    bold_tag: int = 0
    colour: str = "none"
    paint: str = "background"
    minus: int = 0
    comma: bool = False
    percent: bool = False
    baseline: str = "-"
    reference: bool = False
    groups: bool = False
    rules: bool = False
    daggers: bool = False
    delimiter: str = ","


@dataclass
class Printed:
    """A cell: its number, its Δ, and how both are marked."""

    value: Decimal
    delta: Decimal | None = None
    std: Decimal | None = None
    bold: bool = False
    colour: str | None = None
    dagger: bool = False


@dataclass
class Made:
    """A table with what is true of it.

    Attributes:
        cells: by row and column.
        lower: columns in which lower is better.
        planted: (kind, row, column, provable).
    """

    style: Style
    rows: list[str]
    columns: list[str]
    lower: set[str]
    cells: dict[tuple[str, str], Printed]
    base: str
    planted: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def ranked(self, column: str) -> list[str]:
        """Rows from the best to the worst; a teacher is not ranked."""
        rows = [row for row in self.rows if row != "teacher"]
        return sorted(rows, key=lambda r: self.cells[r, column].value, reverse=column not in self.lower)


def to_print(value: float, style: Style) -> Decimal:
    """The digits that are printed."""
    mode = ROUND_DOWN if style.rule == "truncate" else ROUND_HALF_UP
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-style.digits), mode)


def draw_style(stream: random.Random, form: str) -> Style:
    """A style that the format can show."""
    own = ["columns", "columns", "brackets", "bare", "none"]
    if form in ("html", "html in markdown", "latex"):
        own += ["script", "stacked"]
    csv = form == "csv"
    colour = "none" if csv else stream.choice(["none", "warm-blue", "warm-blue", "green-red"])
    comma = stream.random() < 0.2
    return Style(
        digits=stream.choice([1, 2, 2, 2, 3]),
        rule=stream.choice(["round", "round", "truncate", "printed"]),
        delta=stream.choice(own),
        mean=stream.random() < 0.7,
        spread=stream.random() < 0.25,
        bold=not csv and stream.random() < 0.8,
        bold_tag=stream.randrange(3),
        colour=colour,
        paint=stream.choice(["background", "text"]),
        minus=stream.randrange(4),
        comma=comma,
        percent=stream.random() < 0.1,
        baseline=stream.choice(["-", "–", "", "0"]),
        reference=stream.random() < 0.15,
        groups=form in ("html", "html in markdown", "latex") and stream.random() < 0.3,
        rules=stream.random() < 0.3,
        daggers=not csv and stream.random() < 0.2,
        delimiter=";" if comma else stream.choice([",", ";", "\t"]),
    )


def make(stream: random.Random, form: str, **fixed: object) -> Made:
    """A clean table."""
    style = replace(draw_style(stream, form), **fixed)  # type: ignore[arg-type]
    names = stream.sample(NAMES, stream.randint(3, 8))
    rows = (["teacher"] if style.reference else []) + names
    columns = stream.sample(METRICS, stream.randint(2, 8))
    lower: set[str] = set()
    if not style.mean and stream.random() < 0.4:
        columns.append(stream.choice(["HD95 ↓", "RMSE", "Error"]))
        lower.add(columns[-1])
    levels = {c: stream.uniform(15, 85) for c in columns}
    true = {(r, c): levels[c] + stream.uniform(-4, 4) for r in rows for c in columns}
    if style.mean:
        for row in rows:
            shown = [float(to_print(true[row, c], style)) if style.rule == "printed" else true[row, c] for c in columns]
            true[row, "Mean"] = sum(shown) / len(shown)
        columns = [*columns, "Mean"]
    cells = {key: Printed(to_print(value, style)) for key, value in true.items()}
    made = Made(style, rows, columns, lower, cells, names[0])
    if style.delta != "none":
        for row in names[1:]:
            for column in columns:
                exact = true[row, column] - true[names[0], column]
                between = cells[row, column].value - cells[names[0], column].value
                cells[row, column].delta = between if style.rule == "printed" else to_print(exact, style)
    for cell in cells.values():
        cell.std = to_print(stream.uniform(0.05, 0.9), style) if style.spread else None
        cell.dagger = style.daggers and stream.random() < 0.1
    mark(made)
    return made


def mark(made: Made) -> None:
    """Bold and colours as the printed numbers deserve them."""
    for column in made.columns:
        best = made.cells[made.ranked(column)[0], column].value
        for row in made.rows:
            cell = made.cells[row, column]
            cell.bold = made.style.bold and row != "teacher" and cell.value == best
            cell.colour = None
            if cell.delta and made.style.colour != "none":
                cell.colour = _shade(made, cell.delta, (cell.delta > 0) != (column in made.lower))


def _shade(made: Made, delta: Decimal, better: bool) -> str:
    side = (WARM_BLUE if made.style.colour == "warm-blue" else GREEN_RED)[0 if better else 1]
    step = min(int(abs(delta) / 2), len(side) - 1)
    return side[step if made.style.paint == "background" else -1]


def plant(stream: random.Random, made: Made, kind: str) -> bool:
    """Plants one fault; False where the table has no place for it."""
    unit = Decimal(1).scaleb(-made.style.digits)
    competing = [row for row in made.rows if row not in ("teacher", made.base)]
    row, column = stream.choice(competing), stream.choice(made.columns)
    cell = made.cells[row, column]
    shift = unit * stream.choice([1, 1, 2, 2, 3, 4, 7, 10, 30, 100]) * stream.choice([1, -1])
    if kind == "wrong_delta" and cell.delta is not None:
        cell.delta = -cell.delta if stream.random() < 0.1 and cell.delta else cell.delta + shift
        off = abs(cell.delta - (cell.value - made.cells[made.base, column].value))
        mark(made)
        made.planted.append((kind, row, column, off > Decimal("1.5") * unit))
        return True
    if kind == "wrong_mean" and made.style.mean:
        cell = made.cells[row, "Mean"]
        cell.value += shift
        if cell.delta is not None:
            cell.delta = cell.value - made.cells[made.base, "Mean"].value
        inputs = [made.cells[row, c].value for c in made.columns if c != "Mean"]
        # Inputs and result rounded or cut off: the printed mean can be off by less than one and a half units.
        off = abs(cell.value * len(inputs) - sum(inputs))
        mark(made)
        made.planted.append((kind, row, "Mean", off >= Decimal("1.5") * unit * len(inputs)))
        return True
    if kind == "bold_not_best" and made.style.bold:
        ranked = made.ranked(column)
        row = stream.choice(ranked[1:])
        cell = made.cells[row, column]
        if cell.bold:
            return False
        cell.bold = True
        if stream.random() < 0.6:
            for other in made.rows:
                made.cells[other, column].bold = other == row
        made.planted.append((kind, row, column, _bold_speaks(made, column)))
        return True
    if kind == "colour_contradicts" and cell.colour is not None and cell.delta:
        cell.colour = _shade(made, cell.delta, (cell.delta < 0) != (column in made.lower))
        made.planted.append((kind, row, column, _colours_speak(made)))
        return True
    return False


def _bold_speaks(made: Made, column: str) -> bool:
    """Whether bold claims what the numbers deny: not where it marks the lowest alone and nothing says "higher".

    An arrow says it, a known name, or a Mean over columns in which bold marks the highest.
    """
    worst = made.cells[made.ranked(column)[-1], column].value
    lowest_alone = all(cell.value == worst for (_, c), cell in made.cells.items() if c == column and cell.bold)
    said = made.style.delta == "columns" or made.style.mean or column in made.lower or column in ("Dice", "Acc.")
    return said or not lowest_alone


def _colours_speak(made: Made) -> bool:
    """Whether one wrong colour stands out: the others must show what the colours mean.

    One colour for all is decoration; shades of one side alone must leave no more than a quarter in doubt, and two
    sides no more than a third.
    """
    colours = [cell.colour for cell in made.cells.values() if cell.colour is not None]
    sides = {i for pair in (WARM_BLUE, GREEN_RED) for i, side in enumerate(pair) for c in colours if c in side}
    return len(set(colours)) > 1 and len(colours) >= (4 if len(sides) == 1 else 3)


# --- printing ---------------------------------------------------------------------------------------------


def _digits(value: Decimal, made: Made, form: str, *, signed: bool) -> str:
    minus = MINUSES[form][made.style.minus % len(MINUSES[form])]
    text = f"{abs(value):f}".replace(".", "," if made.style.comma else ".")
    sign = minus if value < 0 else "+" if signed and value > 0 else ""
    if sign == "math":
        return f"$-{text}$"
    return sign + text


def _value(cell: Printed, made: Made, form: str) -> str:
    return _digits(cell.value, made, form, signed=False) + ("\\%" if form == "latex" else "%") * made.style.percent


def _html_cells(made: Made, row: str, column: str) -> list[str]:
    style, cell = made.style, made.cells[row, column]
    bold = ("<strong>{}</strong>", "<b>{}</b>", '<span style="font-weight: 700">{}</span>')[style.bold_tag]
    value = _value(cell, made, "html")
    value = bold.format(value) if cell.bold else value
    value += "<sup>†</sup>" if cell.dagger else ""
    if cell.std is not None:
        value += f" <small>±{_digits(cell.std, made, 'html', signed=False)}</small>"
    if style.delta == "none":
        return [f"<td>{value}</td>"]
    empty = made.style.baseline if row == made.base else "-"
    delta = empty if cell.delta is None else _digits(cell.delta, made, "html", signed=True)
    what = "background-color" if style.paint == "background" else "color"
    paint = f' style="{what}: {cell.colour};"' if cell.colour else ""
    if style.delta == "columns":
        inner = bold.format(delta) if cell.bold and cell.delta is not None and style.bold_tag == 0 else delta
        return [f"<td>{value}</td>", f"<td{paint}>{inner}</td>"]
    if cell.delta is None:
        return [f"<td>{value}</td>"]
    form = {"brackets": " <span{}>({})</span>", "bare": " <span{}>{}</span>", "script": "<sub{}>{}</sub>"}
    return ["<td>" + value + form.get(style.delta, "<br><span{}>{}</span>").format(paint, delta) + "</td>"]


def _headers(made: Made) -> list[str]:
    """Column names, Δ between them."""
    twice = made.style.delta == "columns"
    return [text for column in made.columns for text in ([column, "Δ ↑"] if twice else [column])]


def to_html(made: Made) -> str:
    """A table element."""
    width = 2 if made.style.delta == "columns" else 1
    lines = ["<table>", "<caption>Results in %. Δ to the baseline.</caption>", "<thead>"]
    if made.style.groups:
        half = max(1, len(made.columns) // 2)
        rest = len(made.columns) - half - made.style.mean
        spans = [("single", half), ("several", rest), ("", int(made.style.mean))]
        cells = "".join(f'<th colspan="{n * width}">{name}</th>' for name, n in spans if n > 0)
        lines.append(f'<tr><th rowspan="2">Method</th>{cells}</tr>')
        lines.append("<tr>" + "".join(f"<th>{text}</th>" for text in _headers(made)) + "</tr>")
    else:
        lines.append("<tr><th>Method</th>" + "".join(f"<th>{text}</th>" for text in _headers(made)) + "</tr>")
    lines += ["</thead>", "<tbody>"]
    for index, row in enumerate(made.rows):
        if made.style.rules and index == len(made.rows) // 2:
            lines.append("")  # a blank line in the middle, as hand-written pages have them
        cells = "\n      ".join(cell for column in made.columns for cell in _html_cells(made, row, column))
        lines.append(f"    <tr>\n      <td>{html_module.escape(row)}</td>\n      {cells}\n    </tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


def _markdown_cells(made: Made, row: str, column: str) -> list[str]:
    style, cell = made.style, made.cells[row, column]
    value = _value(cell, made, "markdown")
    value = ("**{}**", "__{}__", "<b>{}</b>")[style.bold_tag].format(value) if cell.bold else value
    value += "†" if cell.dagger else ""
    if cell.std is not None:
        value += f" ± {_digits(cell.std, made, 'markdown', signed=False)}"
    if style.delta == "none":
        return [value]
    empty = style.baseline if row == made.base else "-"
    delta = empty if cell.delta is None else _digits(cell.delta, made, "markdown", signed=True)
    what = "background" if style.paint == "background" else "color"
    delta = f'<span style="{what}:{cell.colour}">{delta}</span>' if cell.colour else delta
    if style.delta == "columns":
        return [value, delta]
    if cell.delta is None:
        return [value]
    return [f"{value} ({delta})" if style.delta == "brackets" else f"{value} {delta}"]


def to_markdown(made: Made) -> str:
    """A pipe table."""
    names = ["Method", *_headers(made)]
    lines = ["| " + " | ".join(names) + " |", "|:---|" + "---:|" * (len(names) - 1)]
    for row in made.rows:
        cells = [cell for column in made.columns for cell in _markdown_cells(made, row, column)]
        lines.append("| " + " | ".join([row, *cells]) + " |")
    return "\n".join(lines)


def _latex_cells(made: Made, row: str, column: str) -> list[str]:
    style, cell = made.style, made.cells[row, column]
    value = _value(cell, made, "latex")
    if cell.bold:
        value = (f"\\textbf{{{value}}}", f"{{\\bf {value}}}", f"$\\mathbf{{{value}}}$")[style.bold_tag]
    value += "$^{\\dagger}$" if cell.dagger else ""
    if cell.std is not None:
        value += f" $\\pm$ {_digits(cell.std, made, 'latex', signed=False)}"
    if style.delta == "none":
        return [value]
    empty = style.baseline if row == made.base else "--"
    delta = empty if cell.delta is None else _digits(cell.delta, made, "latex", signed=True)
    if style.delta == "columns":
        if cell.colour and style.paint == "background":
            delta = f"\\cellcolor[HTML]{{{cell.colour[1:].upper()}}}{delta}"
        elif cell.colour:
            delta = f"\\textcolor[HTML]{{{cell.colour[1:].upper()}}}{{{delta}}}"
        return [value, delta]
    if cell.delta is None:
        return [value]
    if cell.colour:
        delta = f"\\textcolor[HTML]{{{cell.colour[1:].upper()}}}{{{delta}}}"
    form = {"brackets": " ({})", "bare": " {{\\scriptsize {}}}", "script": "\\textsubscript{{{}}}"}
    if style.delta == "stacked":
        return [f"\\makecell{{{value}\\\\{delta}}}"]
    return [value + form[style.delta].format(delta)]


def to_latex(made: Made) -> str:
    """A floating table."""
    names = [
        name.replace("Δ", "$\\Delta$").replace("↑", "$\\uparrow$").replace("↓", "$\\downarrow$")
        for name in _headers(made)
    ]
    width = 2 if made.style.delta == "columns" else 1
    lines = ["\\begin{table}[t]", "\\caption{Results in \\%. % a remark", "$\\Delta$ to the baseline.}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * len(names)}}}", "\\toprule"]
    if made.style.groups:
        half = max(1, len(made.columns) // 2)
        rest = len(made.columns) - half - made.style.mean
        spans = [("single", half), ("several", rest), ("", int(made.style.mean))]
        cells = [f"\\multicolumn{{{n * width}}}{{c}}{{{name}}}" for name, n in spans if n > 0]
        lines += [
            "\\multirow{2}{*}{Method} & " + " & ".join(cells) + " \\\\",
            f"\\cmidrule(lr){{2-{1 + half * width}}}",
        ]
        lines.append(" & " + " & ".join(names) + " \\\\")
    else:
        lines.append("Method & " + " & ".join(names) + " \\\\")
    lines.append("\\midrule")
    for index, row in enumerate(made.rows):
        if made.style.rules and index == len(made.rows) // 2:
            lines.append("% the second half")
        cells = [cell for column in made.columns for cell in _latex_cells(made, row, column)]
        lines.append(row + " & " + " & ".join(cells) + " \\\\[1pt]" * (index % 2) + " \\\\" * (1 - index % 2))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"])


def _csv_cells(made: Made, row: str, column: str) -> list[str]:
    style, cell = made.style, made.cells[row, column]
    value = _value(cell, made, "csv")
    if cell.std is not None and style.delta != "columns":
        value += f" ± {_digits(cell.std, made, 'csv', signed=False)}"
    if style.delta == "none":
        return [value]
    empty = style.baseline if row == made.base else "-"
    delta = empty if cell.delta is None else _digits(cell.delta, made, "csv", signed=True)
    if style.delta == "columns":
        return [value, delta]
    return [value if cell.delta is None else f"{value} ({delta})"]


def to_csv(made: Made) -> str:
    """Lines of fields."""
    names = _headers(made)
    if made.style.minus % 2 and made.style.delta == "columns":
        names = [text for column in made.columns for text in (column, f"{column}_delta")]
    lines = [["Method", *names]]
    lines += [[row, *(cell for c in made.columns for cell in _csv_cells(made, row, c))] for row in made.rows]
    return ("\ufeff" if made.style.minus == 2 else "") + "\n".join(made.style.delimiter.join(line) for line in lines)


def to_text(made: Made, form: str) -> str:
    """The file's content."""
    if form == "html":
        return f"<!DOCTYPE html>\n<html><head><title>x</title></head><body><p>Text</p>{to_html(made)}</body></html>\n"
    if form == "html in markdown":
        return f"---\ntitle: x\n---\n\n# Ablation\n\nSome *text*, a | pipe.\n\n{to_html(made)}\n\nMore text.\n"
    if form == "markdown":
        return f"# Ablation\n\nSome text.\n\n{to_markdown(made)}\n\nMore text.\n"
    if form == "latex":
        return f"\\section{{Ablation}}\n{to_latex(made)}\nMore text.\n"
    return to_csv(made) + "\n"


ENDINGS = {"html": ".html", "html in markdown": ".md", "markdown": ".md", "latex": ".tex", "csv": ".csv"}
