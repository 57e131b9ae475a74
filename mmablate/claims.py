"""The grammar of claims: sentences of a recipe that `mmablate check` puts to the test (INTERFACE.md).

    A > B on COL            the score of row A is above that of row B (or of a number: A > 90 on COL)
    A > B by 0.5 on COL     ... by more than 0.5 (or: A > B on COL by 0.5)
    A < B on COL            below; "by" likewise
    A = B within 0.5 on COL they differ by less than 0.5
    COL rises with FACTOR   the score grows with the level of a factor or swept parameter; "falls" likewise
    COL rises with FACTOR for ROWS      ... among the rows whose name, or level of a factor, ROWS names (* and ?)

COL is a column; `Δ COL` is each row's difference to its baseline. `>` and `<` compare numbers, whichever is better.
Recipes are checked with this grammar when they are read; `mmablate.analysis.claims` evaluates it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

FORMS = (
    "A > B on COL", "A > B by 0.5 on COL", "A > 90 on COL", "A < B on COL", "A = B within 0.5 on COL",
    "[Δ] COL rises|falls with FACTOR [for ROWS]",
)  # fmt: skip

_ROW = r"[^\s<>]+"
_COMPARED = re.compile(
    rf"(?P<first>{_ROW})\s+(?P<sign>[<>=])\s+(?P<second>{_ROW})"
    r"(?:\s+(?P<word>by|within)\s+(?P<margin>\S+))?\s+on\s+(?P<column>\S.*?)"
    r"(?:\s+(?P<last_word>by|within)\s+(?P<last_margin>[-+.\d]\S*))?"
)
_TREND = re.compile(r"(?P<column>\S.*?)\s+(?P<verb>rises|falls)\s+with\s+(?P<factor>\S+)(?:\s+for\s+(?P<rows>\S+))?")
_DELTA = re.compile(r"[Δ∆]\s*(?P<column>\S.*)")  # Greek capital delta, or the increment sign


@dataclass(frozen=True)
class Quantity:
    """What a claim is about: a column, or the Δ of a column to each row's baseline."""

    column: str
    of_delta: bool = False

    def __str__(self) -> str:
        return f"Δ {self.column}" if self.of_delta else self.column


@dataclass(frozen=True)
class Comparison:
    """`first` is above (">") or below ("<") `second` by more than `margin`.

    Attributes:
        first: a row.
        second: a row, or a number in the unit of the column.
        margin: 0 or more, in the unit of the column.
        written: `second` as it was written, which a row may be called even where it reads as a number.
    """

    first: str
    sign: Literal[">", "<"]
    second: str | float
    margin: float
    quantity: Quantity
    written: str = field(default="", compare=False)


@dataclass(frozen=True)
class Equivalence:
    """`first` and `second` (a row, or a number) differ by less than `margin` > 0."""

    first: str
    second: str | float
    margin: float
    quantity: Quantity
    written: str = field(default="", compare=False)


@dataclass(frozen=True)
class Trend:
    """The quantity rises or falls with the levels of `factor`, among the rows that `rows` names (None: all)."""

    quantity: Quantity
    verb: Literal["rises", "falls"]
    factor: str
    rows: str | None = None


Claim = Comparison | Equivalence | Trend


def parse_claim(text: str) -> Claim:
    """Reads one claim.

    Raises:
        ValueError: it has none of the forms; says what is wrong.
    """
    line = " ".join(text.split())
    compared = _COMPARED.fullmatch(line)
    if compared:
        return _compared(compared)
    trend = _TREND.fullmatch(line)
    if trend:
        verb: Literal["rises", "falls"] = "rises" if trend["verb"] == "rises" else "falls"
        return Trend(_quantity(trend["column"]), verb, trend["factor"], trend["rows"])
    raise ValueError(f"a claim has one of the forms {'; '.join(FORMS)}")


def among(claim: Claim, rows: Collection[str]) -> Claim:
    """The claim with a number read as a row where one of the rows is called so."""
    if isinstance(claim, Trend) or isinstance(claim.second, str) or claim.written not in rows:
        return claim
    return replace(claim, second=claim.written)


def is_about(
    claim: Claim, *, rows: Collection[str], factors: Collection[str], sweeps: Collection[str], swept: bool
) -> bool:
    """Whether a claim of a recipe is about this one of its studies: the table, or a sweep.

    What is about none of them is not about another study: it stays, and is told to be about nothing.

    Args:
        rows: names of the study's rows, the teacher's included.
        factors: of the study's rows, swept parameters included.
        sweeps: names of the recipe's sweeps.
        swept: the study is a sweep.
    """
    if isinstance(claim, Trend):
        return claim.factor in factors or claim.factor not in sweeps
    elsewhere = [name for name in rows_of(among(claim, rows)) if name not in rows]
    if swept:
        return not elsewhere
    return not any(name.partition("=")[0] in sweeps for name in elsewhere)  # "beta=10" is a row of a sweep


def rows_of(claim: Claim) -> tuple[str, ...]:
    """The rows that a claim names one by one."""
    if isinstance(claim, Trend):
        return ()
    return tuple(name for name in (claim.first, claim.second) if isinstance(name, str))


def _compared(match: re.Match[str]) -> Comparison | Equivalence:
    number = _number(match["second"])
    second: str | float = match["second"] if number is None else number
    quantity = _quantity(match["column"])
    word, written = match["word"] or match["last_word"], match["margin"] or match["last_margin"]
    if match["word"] and match["last_word"]:
        raise ValueError("one margin, not two")
    if match["sign"] == "=":
        if word != "within":
            raise ValueError("= needs a margin: A = B within 0.5 on COL")
        within = _margin(written, positive=True)
        return Equivalence(match["first"], second, within, quantity, match["second"])
    if word == "within":
        raise ValueError(f"`within` goes with =; with {match['sign']} a margin is written `by`")
    sign: Literal[">", "<"] = ">" if match["sign"] == ">" else "<"
    margin = _margin(written, positive=False) if word else 0.0
    return Comparison(match["first"], sign, second, margin, quantity, match["second"])


def _quantity(text: str) -> Quantity:
    delta = _DELTA.fullmatch(text)
    return Quantity(delta["column"], of_delta=True) if delta else Quantity(text)


def _margin(text: str, *, positive: bool) -> float:
    number = _number(text)
    if number is None or number < 0 or (positive and number == 0):
        raise ValueError(f"the margin is a number {'above 0' if positive else 'of at least 0'}, got {text!r}")
    return number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
