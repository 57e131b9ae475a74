"""Numbers as papers print them: signs and dashes of all kinds, arrows, ±, decimal commas, thin spaces, daggers.

A cell counts as a number only if nothing is left over that could change its meaning: "ResNet-50", "< 0.1" and
"12 / 15" are no numbers, and a cell that is not understood accuses nobody.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from mmablate.analysis.audit.colours import hue
from mmablate.analysis.audit.model import APART, Cell, Entry, PrintedNumber, Run

MAX_DIGITS = 15
MAX_CHARACTERS = 400  # a longer cell is prose

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"
_UP, _DOWN = "↑▲⬆△", "↓▼⬇▽"
_MISSING = frozenset(
    ("", "-", "--", "---", "n/a", "na", "nan", "none", "null", "/", "n.a.", "n.a", "failed", "baseline", "ref", "ref.",
     "(-)", "oom", "x", "✗", "×", "tba", "no value", "...", "…", "reference", "(ref.)", "(ref)", "(baseline)")
)  # fmt: skip
_NUMBER = re.compile(
    r"(?P<sign>±|\+\s*/\s*-|[+\-]|[↑▲⬆△↓▼⬇▽](?:\s*\(?\s*)[+\-]?)?[ \t]*"
    r"(?<![\d.,A-Za-z_])(?P<digits>\d+(?:[.,]\d+)*|[.,]\d+)(?P<exponent>[eE][+\-]?\d{1,3})?(?![\dA-Za-z])"
)
_SPACED = re.compile(r"(?<=\d)[\u2009\u202f\u00a0'’](?=\d{3}(?!\d))")
_INTERVAL = re.compile(r"[\[(]\s*[+\-]?[\d.,]+\s*(?:,\s+|;|-|to|…)\s*[+\-]?[\d.,]+\s*[\])]")
_PERCENT = re.compile(r"%|‰|(?<![a-z])(?:pp|p\.p\.|pts?|points?)\.?(?![a-z])", re.IGNORECASE)
# What may stand beside a number without changing it.
_BESIDE = re.compile(
    r"n\.s\.|ʷ|(?<![a-zA-Z])(?:ns|baseline|reference|ref\.?|best|ours)(?![a-zA-Z])|p\s*[=<]\s*|[\s()\[\]{}*†‡§¶#\\|✓⋆★☆◦•·,:;↑↓▲▼⬆⬇△▽_°^ªº¹²³⁴⁵⁶⁷⁸⁹⁰ᵃᵇᶜᵈ\u0300-\u036f]"
)
_FOOTNOTE = re.compile(r"(?:[a-z\d*†‡§¶#⋆],?){1,4}", re.IGNORECASE)  # blanks left out


class _Char(NamedTuple):
    text: str
    bold: bool
    colour: str | None


class _Found(NamedTuple):
    """A number in a cell with its place in the cell's text."""

    number: PrintedNumber
    sign: str
    start: int
    end: int
    raised: bool


def _characters(cell: Cell) -> list[_Char]:
    """The cell's characters as they count: footnote marks dropped, dashes made one, scripts set apart."""
    found: list[_Char] = []
    for script, group in itertools.groupby(cell.runs, key=lambda run: run.script):
        runs = list(group)
        text = "".join(run.text for run in runs)
        if script and (
            not any(c.isdigit() for c in text) or (script == "sup" and _FOOTNOTE.fullmatch("".join(text.split())))
        ):
            continue
        around = [Run(" ")] if script else []
        found += [_Char(_plain(c), run.bold, run.colour) for run in (*around, *runs, *around) for c in run.text]
    return found


def _plain(character: str) -> str:
    """One character for one, so that places keep their meaning."""
    if character in _DASHES:
        return "-"
    if character in "\u00ad\u200b\u200c\u200d\u2060\ufeff":
        return "\u200b"
    if character == "＋":
        return "+"
    return " " if character in ("\t", "\n", APART) else character


def _squeezed(characters: list[_Char]) -> list[_Char]:
    """Without characters of no width, and without thin spaces and apostrophes between thousands."""
    kept = [c for c in characters if c.text != "\u200b"]
    text = "".join(c.text for c in kept)
    drop = {match.start() for match in _SPACED.finditer(text)}
    blank = [c._replace(text=" ") if c.text in "\u2009\u202f\u00a0\u2007\u2008\u200a" else c for c in kept]
    return [c for i, c in enumerate(blank) if i not in drop]


def _decimal(digits: str, exponent: str, comma: bool) -> tuple[Decimal, int] | None:
    """Value and decimals of digits with points and commas; None where they cannot be told apart."""
    point, other = (",", ".") if comma else (".", ",")
    if digits.count(point) > 1:
        return None
    whole, _, fraction = digits.partition(point)
    if other in fraction or (other in whole and not re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", whole)):
        return None
    if len(whole) + len(fraction) > MAX_DIGITS:
        return None
    power = int(exponent[1:] or 0) if exponent else 0
    if abs(power) > MAX_DIGITS:
        return None
    plain = (whole.replace(other, "") or "0") + (f".{fraction}" if fraction else "")
    return Decimal(plain).scaleb(power), len(fraction) - power


def _value(match: re.Match[str], comma: bool) -> tuple[Decimal, int, str] | None:
    """Value, decimals and sign of a match; an arrow's sign counts."""
    read = _decimal(match["digits"], match["exponent"] or "", comma)
    if read is None:
        return None
    value, digits = read
    sign = (match["sign"] or "").strip()
    if sign[:1] in tuple(_DOWN) or (sign.endswith("-") and "/" not in sign):
        value = -value
    return value, max(digits, 0), sign


def _find(characters: Sequence[_Char], comma: bool, background: str | None) -> list[_Found] | None:
    """Numbers from left to right; None where one cannot be read."""
    text = "".join(c.text for c in characters)
    found = []
    for match in _NUMBER.finditer(text):
        read = _value(match, comma)
        if read is None:
            return None
        value, digits, sign = read
        own = characters[match.start("digits") : match.end("digits")]
        printed = (match["sign"] or "") + match["digits"] + (match["exponent"] or "")
        number = PrintedNumber(
            value=value,
            digits=digits,
            text=re.sub(r"[\s(]", "", printed).replace("-", "−") if sign else match["digits"],
            signed=bool(sign) and "±" not in sign and "/" not in sign,
            bold=all(c.bold for c in own),
            colour=next((c for c in (own[0].colour, background) if hue(c) is not None), None),
        )
        raised = bool(re.search(r"[(\[]\s*$", text[: match.start()]))
        found.append(_Found(number, sign, match.start(), match.end(), raised))
    return found


def read_entry(cell: Cell, *, comma: bool = False) -> Entry:
    """The numbers of a cell.

    Args:
        cell: as read from the file.
        comma: the table writes decimal commas.
    """
    if sum(len(run.text) for run in cell.runs) > 2 * MAX_CHARACTERS:
        return Entry(readable=False)
    characters = _squeezed(_characters(cell))
    if len(characters) > MAX_CHARACTERS:
        return Entry(readable=False)
    text = "".join(c.text for c in characters)
    if text.strip().strip("*†‡ ").lower() in _MISSING:
        return Entry(missing=True)
    if not any(c.isdigit() for c in text):
        return Entry(readable=True)
    inside = _INTERVAL.search(text)
    if inside is not None and text[: inside.start()].strip():
        characters = [*characters[: inside.start()], *characters[inside.end() :]]
        text = "".join(c.text for c in characters)
    found = _find(characters, comma, cell.background)
    if not found:
        return Entry(readable=False)
    left = text
    for item in reversed(found):
        left = left[: item.start] + " " + left[item.end :]
    left = _BESIDE.sub("", _PERCENT.sub("", left))
    if left.strip():
        return Entry(readable=False)
    return _roles(found, text)


def _roles(found: list[_Found], text: str) -> Entry:
    """Which number is the value, which a spread, which a Δ."""
    first, others = found[0], found[1:]
    if "±" in first.sign:
        return Entry(readable=False)
    delta: PrintedNumber | None = None
    has_std = False
    for item in others:
        if _is_range(item, text):
            return Entry(readable=False)
        if "±" in item.sign or "/" in item.sign:
            has_std = True
        elif delta is None and (item.number.signed or item.number.value == 0):
            delta = item.number
        elif item.raised or re.search(r"p\s*[=<]\s*$", text[: item.start]):
            continue  # "(0.3)": a spread or a rank, no Δ without a sign; "p = 0.03"
        else:
            return Entry(readable=False)
    return Entry(value=first.number, delta=delta, has_std=has_std)


def _is_range(item: _Found, text: str) -> bool:
    """ "45-50" and "45 - 50" are no value with a Δ; "45 -5" and "45 (-5)" are."""
    if not item.sign.startswith("-") or item.raised:
        return False
    return text[: item.start][-1:].isdigit() or re.match(r"\s*-\s", text[item.start :]) is not None


def has_decimal_commas(cells: Iterable[Cell]) -> bool:
    """Whether a table writes "43,71": commas that cannot divide thousands, and no decimal points.

    Where every number has three digits behind its only comma ("43,712"), it is read as a decimal comma too.
    """
    commas = points = thirds = 0
    for cell in cells:
        text = "".join(run.text for run in cell.runs)
        commas += len(re.findall(r"(?<![\d.,])(?:\d+,(?:\d{1,2}|\d{4,})|0,\d{3})(?![\d.,])", text))
        points += len(re.findall(r"(?<![\d.,])\d+\.\d+(?![\d.,])", text))
        thirds += len(re.findall(r"(?<![\d.,])\d{1,2},\d{3}(?![\d.,])", text))
    return commas > points or (thirds > 3 and points == 0)
