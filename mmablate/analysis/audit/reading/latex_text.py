"""The text of a LaTeX cell as runs: bold, colours, scripts, and the symbols that stand beside numbers.

An own reader, because the parsers at hand (pylatexenc, TexSoup) know no table, take the arguments of commands
that they do not know for plain text, and recurse as deep as the file wants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmablate.analysis.audit.colours import mixed_colour, model_colour
from mmablate.analysis.audit.model import Run, Script

MAX_DEPTH = 80
MAX_LENGTH = 5000  # of a cell's source; a longer one is prose

SYMBOLS = {
    "pm": "±", "mp": "∓", "uparrow": "↑", "downarrow": "↓", "Uparrow": "↑", "Downarrow": "↓", "nearrow": "↑",
    "searrow": "↓", "blacktriangle": "▲", "blacktriangledown": "▼", "triangle": "▲", "triangledown": "▼",
    "Delta": "Δ", "delta": "δ", "alpha": "α", "beta": "β", "gamma": "γ", "lambda": "λ", "eta": "η", "mu": "μ",
    "sigma": "σ", "tau": "τ", "theta": "θ", "phi": "φ", "omega": "ω", "Omega": "Ω", "rho": "ρ", "pi": "π",
    "epsilon": "ε", "varepsilon": "ε", "O": "Ø", "o": "ø", "varnothing": "∅", "emptyset": "∅", "diameter": "⌀",
    "times": "×", "cdot": "·", "ast": "*", "star": "*", "dagger": "†", "dag": "†", "ddagger": "‡", "ddag": "‡",
    "textdagger": "†", "textminus": "−", "textendash": "–", "textemdash": "—", "checkmark": "✓", "cmark": "✓",
    "xmark": "✗", "sim": "~", "approx": "≈", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "ldots": "…",
    "dots": "…", "rightarrow": "→", "to": "→", "textuparrow": "↑", "textdownarrow": "↓", "ss": "ß", "minus": "−",
    "textpm": "±", "textasciitilde": "~", "textpercent": "%", "S": "§", "P": "¶", "textdegree": "°", "infty": "∞",
    "textbackslash": "\\", "lt": "<", "gt": ">", "newline": " ", "quad": " ", "qquad": " ", "space": " ",
}  # fmt: skip
# What becomes of the arguments: text goes on in the run, others are read and dropped.
_DROPPED = {
    "label": 1, "ref": 1, "cref": 1, "Cref": 1, "autoref": 1, "eqref": 1, "cite": 1, "citep": 1, "citet": 1,
    "citealp": 1, "footnote": 1, "tablefootnote": 1, "footnotemark": 0, "tnote": 1, "phantom": 1, "hphantom": 1,
    "vphantom": 1, "hspace": 1, "vspace": 1, "kern": 0, "rule": 2, "fontsize": 2, "selectfont": 0, "ding": 1,
    "includegraphics": 1, "arrayrulecolor": 1, "rowcolor": 1, "setlength": 2, "cellcolor": 1, "color": 1,
    "hypertarget": 1, "index": 1, "pagebreak": 0,
}  # fmt: skip
_FIRST_IS_FORM = {"rotatebox", "scalebox", "raisebox", "adjustbox", "parbox", "href", "resizebox", "fcolorbox"}
_BOLD = {"textbf", "mathbf", "boldsymbol", "bm", "bold", "pmb", "textsfbf", "B", "bfseries", "bf", "mathbfit"}
_ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304"}
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_ONE = re.compile(r"\\[a-zA-Z@]+|\\.|.", re.DOTALL)
_TOKEN = re.compile(r"\\[a-zA-Z@]+\*?[ \t\n]*|\\.|[{}$^_~]|[^\\{}$^_~]+|\\", re.DOTALL)


@dataclass(frozen=True)
class _State:
    bold: bool = False
    colour: str | None = None
    script: Script = ""


@dataclass
class CellText:
    """What a cell says besides its runs, filled while it is read."""

    runs: list[Run] = field(default_factory=list)
    background: str | None = None
    n_columns: int = 1
    n_rows: int = 1


def braced(text: str, start: int, limit: int | None = None) -> int | None:
    """Index behind the "}" that closes the "{" at `start`; None where it is not closed within `limit` characters."""
    depth = 0
    for match in _BRACES.finditer(text, start, len(text) if limit is None else start + limit):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.end()
    return None


def argument(text: str, i: int, limit: int | None = None) -> tuple[str, int]:
    """The next argument, in braces or one token, and the index behind it; that of the end where it is not closed.

    Whoever asks at many places, without going on behind the argument, gives a limit: an argument longer than that
    counts as not closed, so that text full of opening braces is not read to its end from each of them.
    """
    while i < len(text) and text[i] in " \t\n":
        i += 1
    if i < len(text) and text[i] == "{":
        end = braced(text, i, limit)
        if end is not None:
            return text[i + 1 : end - 1], end
        return text[i + 1 : len(text) if limit is None else i + 1 + limit], len(text)
    match = _ONE.match(text, i)
    return (match[0], match.end()) if match else ("", i)


def option(text: str, i: int) -> tuple[str | None, int]:
    """An argument in brackets if one follows directly, and the index behind it."""
    j = i
    while j < len(text) and text[j] in " \t":
        j += 1
    if j < len(text) and text[j] == "[":
        end = text.find("]", j, j + MAX_LENGTH)
        if end != -1:
            return text[j + 1 : end], end + 1
    return None, i


class _Setter:
    """Sets one cell."""

    def __init__(self, defined: Mapping[str, str]) -> None:
        self.defined = defined
        self.cell = CellText()

    def say(self, text: str, state: _State) -> None:
        if text:
            self.cell.runs.append(Run(text, state.bold, state.colour, state.script))

    def set(self, text: str, state: _State, depth: int = 0) -> None:
        """Reads text in a state of its own; "{\\bf x}" changes it up to the end of the group."""
        if depth > MAX_DEPTH:
            raise ValueError(f"a cell with more than {MAX_DEPTH} nested groups")
        i = 0
        while i < len(text):
            match = _TOKEN.match(text, i)
            if match is None:
                break
            token, i = match[0], match.end()
            if token == "{":
                inner, i = argument(text, match.start())
                self.set(inner, state, depth + 1)
            elif token in ("^", "_"):
                inner, i = argument(text, i)
                script: Script = "sup" if token == "^" else "sub"
                self.set(inner, _State(state.bold, state.colour, script), depth + 1)
            elif token == "~":
                self.say(" ", state)
            elif token.startswith("\\"):
                state, i = self.command(token[1:].rstrip().rstrip("*"), text, i, state, depth)
            elif token not in ("$", "}"):
                self.say(token.replace("---", "—").replace("--", "–"), state)

    def command(self, name: str, text: str, i: int, state: _State, depth: int) -> tuple[_State, int]:
        """One command; the state after it and the index behind its arguments."""
        if name in ("color", "cellcolor", "textcolor", "colorbox"):
            return self._coloured(name, text, i, state, depth)
        if name in ("multicolumn", "multirow"):
            return state, self._spanning(name, text, i, state, depth)
        if name in _BOLD:
            return self._bold(name, text, i, state, depth)
        if name in ("textsubscript", "textsuperscript"):
            inner, i = argument(text, i)
            self.set(inner, _State(state.bold, state.colour, "sub" if "sub" in name else "sup"), depth + 1)
        elif name in ("textnormal", "textmd", "mdseries", "normalfont"):
            return _State(False, state.colour, state.script), i
        elif name in SYMBOLS:
            self.say(SYMBOLS[name], state)
        elif name in _DROPPED:
            _, i = option(text, i)
            for _ in range(_DROPPED[name]):
                _, i = argument(text, i)
        elif name in _FIRST_IS_FORM:
            _, i = option(text, i)
            _, i = argument(text, i)
            _, i = option(text, i)
        elif name in ("begin", "end"):
            i = self._environment(name, text, i, state)
        elif name in ("\\", "tabularnewline", "newline"):
            self.say(" ", state)
        elif name in ("makebox", "framebox"):
            _, i = option(text, i)
            _, i = option(text, i)
        elif name in ("makecell", "shortstack", "thead", "SI", "num", "qty"):
            _, i = option(text, i)
        elif name in _ACCENTS and i < len(text) and (text[i].isalpha() or text[i] == "{"):
            inner, i = argument(text, i)
            self.say(inner + _ACCENTS[name], state)
        elif len(name) == 1 and not name.isalpha():
            self.say({",": "\u2009", ";": " ", ":": " ", " ": " ", "!": "", "/": "", "-": ""}.get(name, name), state)
        return state, i  # a command that is not known: what its braces hold is read as text

    def _bold(self, name: str, text: str, i: int, state: _State, depth: int) -> tuple[_State, int]:
        bold = _State(True, state.colour, state.script)
        if name in ("bf", "bfseries"):
            return bold, i
        if name == "B" and text[i : i + 1] != "{":  # "\B 43.7" of siunitx tables
            return bold, i
        inner, i = argument(text, i)
        self.set(inner, bold, depth + 1)
        return state, i

    def _coloured(self, name: str, text: str, i: int, state: _State, depth: int) -> tuple[_State, int]:
        model, i = option(text, i)
        what, i = argument(text, i)
        colour = model_colour(model, what) if model is not None else mixed_colour(what, self.defined)
        if name == "cellcolor":
            self.cell.background = colour
            _, i = option(text, i)
            _, i = option(text, i)
        elif name == "color":
            return _State(state.bold, colour, state.script), i
        else:
            inner, i = argument(text, i)
            self.set(inner, _State(state.bold, colour, state.script), depth + 1)
        return state, i

    def _spanning(self, name: str, text: str, i: int, state: _State, depth: int) -> int:
        if name == "multirow":
            _, i = option(text, i)
        count, i = argument(text, i)
        number = re.match(r"\s*(\d{1,4})", count)
        n = int(number[1]) if number else 1
        if name == "multirow":
            _, i = option(text, i)
        _, i = argument(text, i)  # alignment or width
        if name == "multirow":
            _, i = option(text, i)
            self.cell.n_rows = n
        else:
            self.cell.n_columns = n
        inner, i = argument(text, i)
        self.set(inner, state, depth + 1)
        return i

    def _environment(self, name: str, text: str, i: int, state: _State) -> int:
        """A table within the cell only breaks lines: its columns' form is dropped."""
        what, i = argument(text, i)
        if name == "begin" and what in ("tabular", "array", "minipage"):
            _, i = option(text, i)
            _, i = argument(text, i)
        self.say(" ", state)
        return i


def cell(text: str, defined: Mapping[str, str]) -> CellText:
    """A cell between two "&".

    Args:
        text: without comments.
        defined: colours that the file defines, "#rrggbb" by name.

    Raises:
        ValueError: nested too deeply.
    """
    setter = _Setter(defined)
    if len(text) > MAX_LENGTH:
        setter.say(" ".join(text[:MAX_LENGTH].split()), _State())
        return setter.cell
    setter.set(text.strip(), _State())
    return setter.cell


def runs(text: str, defined: Mapping[str, str], *, bold: bool = False, colour: str | None = None) -> list[Run]:
    """Mathematics within other text; what is nested too deeply stays as it is written."""
    setter = _Setter(defined)
    try:
        setter.set(text, _State(bold, colour))
    except ValueError:
        return [Run(text, bold, colour)]
    return setter.cell.runs
