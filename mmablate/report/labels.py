"""Text that came from a recipe: cleaned once, and split into plain and subscript runs once.

Titles, labels, notes and error lines are untrusted. `clean` takes away what no format can print safely
(control characters, direction overrides, lone surrogates); escaping belongs to each format.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

# A subscript follows a lone L ("L_sup", "λL_mad", "0.5L_cmd") or a Greek letter ("λ_1"), in braces or not.
# In names such as "fusion_first_all" or "ALL_x" no letter before the "_" stands alone.
_SUBSCRIPT = re.compile(r"(?:(?<![A-Za-z_])L|[Α-Ωα-ω])(_\{([^{}]+)\}|_([^\W_]+(?:_[^\W_]+)*))")

_BECOME_SPACE = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_DROPPED = frozenset(("Cc", "Cf", "Cs"))


class Run(NamedTuple):
    """A stretch of a label that is set in one way."""

    text: str
    subscript: bool


def clean(text: str) -> str:
    """One line without control, formatting or surrogate characters; line breaks and tabs become spaces."""
    spaced = (" " if c in _BECOME_SPACE else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in _DROPPED).strip()


def runs(label: str) -> list[Run]:
    """The label as runs: "λL_mad" -> [("λL", False), ("mad", True)]."""
    text = clean(label)
    found: list[Run] = []
    start = 0
    for match in _SUBSCRIPT.finditer(text):
        before = text[start : match.start(1)]
        if before:
            found.append(Run(before, subscript=False))
        found.append(Run(match[2] or match[3], subscript=True))
        start = match.end()
    if start < len(text):
        found.append(Run(text[start:], subscript=False))
    return found


def plain(label: str) -> str:
    """The label where no subscripts can be set: "L_{sup}" and "L_sup" both read "L_sup"."""
    return "".join(f"_{run.text}" if run.subscript else run.text for run in runs(label))


def with_sub_tags(label: str, escape: Callable[[str], str]) -> str:
    """The label with `<sub>` around subscripts and every run escaped by the format's own rule."""
    return "".join(f"<sub>{escape(run.text)}</sub>" if run.subscript else escape(run.text) for run in runs(label))
