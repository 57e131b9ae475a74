"""Tables of LaTeX: tabular and its kin, booktabs, spans, colours and simple macros that the file defines."""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from mmablate.analysis.audit.colours import mixed_colour, model_colour
from mmablate.analysis.audit.model import Cell, Grid
from mmablate.analysis.audit.reading import latex_text
from mmablate.analysis.audit.reading.latex_text import MAX_LENGTH, argument, braced, option
from mmablate.analysis.audit.reading.spans import Places, Spanning, fill

ENVIRONMENTS = (
    "tabular*", "tabularx", "tabulary", "xltabular", "tabular", "longtable*", "longtable", "supertabular", "tabu",
    "NiceTabular", "NiceTabular*", "NiceTabularX", "tblr", "longtblr", "talltblr", "array",
)  # fmt: skip
_TWO_FORMS = frozenset(("tabular*", "tabularx", "tabulary", "xltabular", "NiceTabular*", "NiceTabularX"))

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*(?:\n[ \t]*)?")
_UNSET = re.compile(r"\\begin\{(verbatim|lstlisting|minted|comment)\}|\\(iffalse)\b")  # what is not typeset
_UNSET_END = {
    "iffalse": re.compile(r"\\fi\b"),
    **{name: re.compile(rf"\\end\{{{name}\}}") for name in ("verbatim", "lstlisting", "minted", "comment")},
}
_EDGE = re.compile(r"\\(begin|end)\s*\{\s*(" + "|".join(map(re.escape, ENVIRONMENTS)) + r")\s*\}")
_SPLIT = re.compile(
    r"\\begin\s*\{[^{}]*\}|\\end\s*\{[^{}]*\}|\\\\\*?|\\tabularnewline(?![a-zA-Z])|\\cr(?![a-zA-Z])|\\.|[{}&]",
    re.DOTALL,
)
_RULE = re.compile(
    r"\s*\\(?:(toprule|midrule|bottomrule|hline|Xhline|hhline|Hline|firsthline|lasthline|specialrule|addlinespace)"
    r"|(cmidrule|cline|morecmidrules|noalign|rowcolor|rowcolors|arrayrulecolor|pagebreak|nopagebreak|caption|label"
    r"|vspace|endfirsthead|endhead|endfoot|endlastfoot|centering|small|footnotesize|scriptsize|rowfont|SetRow))"
    r"(?![a-zA-Z])\*?(?:\s*\([a-z]*\))?"
)
_MACRO = re.compile(
    r"\\(?:new|renew|provide)command\*?\s*+\{?\s*+\\([a-zA-Z@]+)\s*+\}?\s*+(?:\[(\d)\])?+(\[[^\]]{0,500}\])?+\s*+(?=\{)"
)
_DEF = re.compile(r"\\def\s*+\\([a-zA-Z@]+)((?:#\d)*+)\s*+(?=\{)")
_NAME = re.compile(r"\\([a-zA-Z@]+)")
_FLOAT = re.compile(r"\\(begin|end)\{(?:wrap)?table")
_CAPTION = re.compile(r"\\caption(?:of\s*\{[^{}]*\})?\s*+(?=[\[{])")
MAX_NESTED = 50
MAX_GROWTH = 20  # of a file's tables by their macros
MAX_COLOUR = 200  # characters of a colour's name or form
MAX_UNCLOSED = 20  # macros whose body does not end


class _Macro(NamedTuple):
    n_arguments: int
    default: str | None
    body: str


def _colours(text: str) -> dict[str, str]:
    """Colours that the file defines."""
    found: dict[str, str] = {}
    for match in re.finditer(r"\\(definecolor|colorlet|providecolor)\b", text):
        _, i = option(text, match.end())
        name, i = argument(text, i, MAX_COLOUR)
        first, i = argument(text, i, MAX_COLOUR)
        second, _ = argument(text, i, MAX_COLOUR)
        colour = mixed_colour(first, found) if match[1] == "colorlet" else model_colour(first, second)
        if colour is not None:
            found[name] = colour
    return found


def _macros(text: str) -> dict[str, _Macro]:
    """Macros that the file defines and that cells may use; redefinitions of what is known here are not taken."""
    known = latex_text.SYMBOLS.keys() | {"textbf", "multirow", "multicolumn", "arraystretch", "tabcolsep"}
    found: dict[str, _Macro] = {}
    unclosed = 0
    for match in itertools.chain(_MACRO.finditer(text), _DEF.finditer(text)):
        if match[1] in known:
            continue
        end = braced(text, match.end(), MAX_LENGTH)
        unclosed += end is None
        if unclosed > MAX_UNCLOSED:
            break
        if end is not None:  # a longer one makes no cells
            body = text[match.end() + 1 : end - 1]
            if match.re is _DEF:
                found[match[1]] = _Macro(match[2].count("#"), None, body)
            else:
                found[match[1]] = _Macro(int(match[2] or 0), match[3][1:-1] if match[3] else None, body)
    return found


def _argument_of(values: list[str], match: re.Match[str]) -> str:
    """What "#1" stands for; nothing where the macro takes no such argument."""
    number = int(match[1])
    return values[number - 1] if 0 < number <= len(values) else ""


def _expanded(text: str, macros: dict[str, _Macro], room: int) -> str:
    """The text with its macros replaced, to a depth of eight.

    Args:
        text: of a table.
        macros: by name.
        room: how much longer it may become.

    Raises:
        ValueError: it grows beyond all measure (a macro that calls itself twice).
    """
    if not macros:
        return text
    limit = len(text) + room
    for _ in range(8):
        parts, start, size = [], 0, 0
        for match in _NAME.finditer(text):
            if match.start() < start or match[1] not in macros:
                continue
            macro, i = macros[match[1]], match.end()
            values = []
            if macro.default is not None:
                given, i = option(text, i)
                values.append(macro.default if given is None else given)
            while len(values) < macro.n_arguments:
                value, i = argument(text, i)
                values.append(value)
            body = re.sub(r"#(\d)", functools.partial(_argument_of, values), macro.body)
            parts += [text[start : match.start()], "{" + body + "}" if macro.n_arguments else body + " "]
            size += len(parts[-1]) + len(parts[-2])
            if size > limit:
                raise ValueError("LaTeX macros that expand without end")
            start = i
        if not parts:
            break
        text = "".join(parts) + text[start:]
    return text


def _bodies(text: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, name) of every environment that holds a table of its own.

    One within a cell that has no "&" only breaks lines; one that holds such tables only lays them out.
    """
    stack: list[tuple[str, int, int]] = []
    closed: list[tuple[int, int, int, str]] = []
    for match in _EDGE.finditer(text):
        if match[1] == "begin":
            stack.append((match[2], match.start(), match.end()))
            if len(stack) > MAX_NESTED:
                raise ValueError(f"more than {MAX_NESTED} nested tables")
        elif stack and stack[-1][0] == match[2]:
            name, outer, inner = stack.pop()
            closed.append((outer, inner, match.start(), name))
    real = sorted(c for c in closed if re.search(r"(?<!\\)&", text[c[1] : c[2]]))
    for index, (_, inner, end, name) in enumerate(real):
        if not (index + 1 < len(real) and real[index + 1][0] < end):
            yield inner, end, name


def _rows(body: str) -> Iterator[list[str]]:
    """Rows as texts between "&", divided outside of braces and inner environments only."""
    depth = inner = start = 0
    cells: list[str] = []
    for match in _SPLIT.finditer(body):
        token = match[0]
        if token == "{":
            depth += 1
        elif token == "}":
            depth = max(0, depth - 1)
        elif token.startswith("\\begin"):
            inner += 1
        elif token.startswith("\\end"):
            inner = max(0, inner - 1)
        elif depth or inner:
            continue
        elif token == "&":
            cells.append(body[start : match.start()])
            start = match.end()
        elif token.startswith("\\\\") or token[1:] in ("tabularnewline", "cr"):
            yield [*cells, body[start : match.start()]]
            cells, start = [], option(body, match.end())[1]
    if body[start:].strip() or cells:
        yield [*cells, body[start:]]


def _ruled(text: str) -> tuple[str, set[str]]:
    """The first cell of a row without the rules above it, and the names of what stood there."""
    seen: set[str] = set()
    i = 0
    while match := _RULE.match(text, i):
        seen.add(match[1] or match[2])
        i = match.end()
        for _ in range(4):
            given, j = option(text, i)
            k = j
            while k < len(text) and text[k] in " \t":
                k += 1
            if given is None and not (k < len(text) and text[k] == "{" and (match[1] or match[2]) in _TAKES):
                break
            i = j if given is not None else argument(text, k)[1]
    return text[i:], seen


_TAKES = frozenset(
    ("cmidrule", "cline", "hhline", "specialrule", "noalign", "rowcolor", "rowcolors", "arrayrulecolor", "caption",
     "label", "vspace", "Xhline", "rowfont", "SetRow")
)  # fmt: skip
_LINES = frozenset(("midrule", "hline", "specialrule", "Xhline", "hhline", "Hline"))


def _grid(body: str, caption: str, colours: dict[str, str], places: Places) -> Grid:
    rows: list[list[Spanning]] = []
    rules: set[int] = set()
    listed = [(_ruled(texts[0]), texts[1:]) for texts in _rows(body)]
    last = {name: position for position, ((_, seen), _) in enumerate(listed) for name in seen}
    last_foot = last.get("endlastfoot", -1)
    last_foot_of_any = max(last_foot, last.get("endfoot", -1))
    last_part = max(last_foot_of_any, last.get("endhead", -1))
    skipping = False
    for position, ((first, seen), others) in enumerate(listed):
        if "endfirsthead" in seen or ("endhead" in seen and last_foot_of_any >= 0):
            skipping = last_part > position  # header or foot of further pages
        elif seen & {"endhead", "endlastfoot"} or ("endfoot" in seen and skipping):
            skipping = last_foot > position
        if skipping:
            continue
        if seen & (_LINES | {"endhead", "endlastfoot", "endfirsthead"}):
            rules.add(len(rows))
        texts = [first, *others]
        if not any(text.strip() for text in texts):
            continue
        read = [latex_text.cell(text, colours) for text in texts]
        rows.append([Spanning(Cell(tuple(c.runs), c.background), c.n_columns, c.n_rows) for c in read])
    inner = sorted(rule for rule in rules if 0 < rule < len(rows))
    return Grid(fill(rows, places, pushes=False), caption, inner[0] if inner else None, frozenset(inner[1:]))


def _without_unset(text: str) -> str:
    """The text without what LaTeX does not typeset as such: verbatim, comments, \\iffalse."""
    parts: list[str] = []
    open_ended: set[str] = set()
    kept = start = 0
    while opening := _UNSET.search(text, start):
        name, start = opening[1] or opening[2], opening.end()
        closing = None if name in open_ended else _UNSET_END[name].search(text, start)
        if closing is None:  # then no later one of that kind is closed either
            open_ended.add(name)
            continue
        parts.append(text[kept : opening.start()])
        kept = start = closing.end()
    return "".join([*parts, text[kept:]])


class _Captions:
    """Captions of the floats of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        edges = list(_FLOAT.finditer(text))
        self.begins = [edge.start() for edge in edges if edge[1] == "begin"]
        self.ends = [edge.start() for edge in edges if edge[1] == "end"]
        self.places = [(match.start(), match.end()) for match in _CAPTION.finditer(text)]
        self.known: dict[int, str] = {}

    def around(self, begin: int) -> str:
        """The first caption of the float around a position; nothing outside of floats."""
        before, behind = bisect.bisect(self.begins, begin), bisect.bisect(self.ends, begin)
        if not before or behind == len(self.ends):
            return ""
        index = bisect.bisect(self.places, (self.begins[before - 1], 0))
        if index == len(self.places) or self.places[index][0] > self.ends[behind]:
            return ""
        if index not in self.known:
            _, i = option(self.text, self.places[index][1])
            inner, _ = argument(self.text, i, MAX_LENGTH)
            self.known[index] = Cell(tuple(latex_text.runs(inner, {}))).text[:500]
        return self.known[index]


def read(text: str, places: Places) -> list[Grid]:
    """All tables.

    Raises:
        ValueError: nested too deeply, macros without end, too many places.
    """
    plain = _without_unset(_COMMENT.sub(r"\1", text))
    colours, macros, captions = _colours(plain), _macros(plain), _Captions(plain)
    room = MAX_GROWTH * len(plain) + 10_000
    grids = []
    for begin, end, name in _bodies(plain):
        i = begin
        for _ in range(2 if name in _TWO_FORMS else 1):
            _, i = option(plain, i)
            _, i = argument(plain, i, MAX_LENGTH)
        _, i = option(plain, i)
        body = _expanded(plain[i:end], macros, room)
        room -= max(0, len(body) - (end - i))
        grids.append(_grid(body, captions.around(begin), colours, places))
    return grids
