"""The little of CSS that marks numbers: bold and colour, inline or by simple rules of a style sheet.

Selectors of tags and classes joined by spaces are understood ("td.best", ".best b"); everything else, media
queries included, is passed over, for what cannot be read must not accuse anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mmablate.analysis.audit.colours import css_colour

_COMMENT = re.compile(r"/\*(?:[^*]|\*(?!/))*+(?:\*/)?")  # one that is not closed reaches to the end
_RULE = re.compile(r"([^{}]{1,500})\{([^{}]{0,4000})\}")
_SIMPLE = re.compile(r"([a-z][a-z0-9]*)?((?:\.[\w-]+)*)", re.IGNORECASE)


class Style(NamedTuple):
    """What a declaration says; None where it says nothing."""

    bold: bool | None = None
    colour: str | None = None
    background: str | None = None


class Rule(NamedTuple):
    """A selector as (tag, classes) from the outermost to the innermost, and its style."""

    steps: tuple[tuple[str, frozenset[str]], ...]
    style: Style

    @property
    def weight(self) -> tuple[int, int]:
        """Specificity: classes before tags."""
        return sum(len(classes) for _, classes in self.steps), sum(bool(tag) for tag, _ in self.steps)


def declarations(text: str) -> Style:
    """The style of "font-weight: 700; background: #ff0"."""
    bold: bool | None = None
    colour = background = None
    for part in text.split(";"):
        name, _, value = part.partition(":")
        key, value = name.strip().lower(), value.strip().lower()
        if key == "font-weight":
            number = re.match(r"\d{1,4}", value)
            bold = int(number[0]) >= 600 if number else value.startswith("bold")
        elif key == "color":
            colour = css_colour(value) or colour
        elif key in ("background", "background-color"):
            background = css_colour(value) or background
    return Style(bold, colour, background)


def rules(sheet: str) -> list[Rule]:
    """Rules of a style sheet that say something, weakest first."""
    text = _COMMENT.sub("", sheet)
    text = re.sub(r"@[^{};]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}|@[^{};]*;", "", text)
    found = []
    for match in _RULE.finditer(text):
        style = declarations(match[2])
        if style == Style():
            continue
        for selector in match[1].split(","):
            steps = [_SIMPLE.fullmatch(word) for word in selector.split()]
            if steps and all(steps):
                parts = tuple((s[1] or "", frozenset(filter(None, s[2].split(".")))) for s in steps if s)
                found.append(Rule(tuple((tag.lower(), classes) for tag, classes in parts), style))
    return sorted(found, key=lambda rule: rule.weight)


MAX_RULES = 1000  # of a style sheet that bear on one kind of element


class Sheet:
    """The rules of a document, found by the tag or class that their last step names."""

    def __init__(self, sheet: Sequence[Rule]) -> None:
        self._by_name: dict[str, list[tuple[int, Rule]]] = {}
        self._known: dict[tuple[tuple[str, frozenset[str]], ...], Style] = {}
        for position, rule in enumerate(sheet):
            tag, classes = rule.steps[-1]
            self._by_name.setdefault("." + min(classes) if classes else tag, []).append((position, rule))

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def style(self, chain: Sequence[tuple[str, frozenset[str]]]) -> Style:
        """Style of the last element of a chain, outermost first; elements alike are looked up once."""
        key = tuple(chain)
        if key not in self._known:
            tag, classes = chain[-1]
            bearing = [pair for name in (tag, *(f".{c}" for c in classes)) for pair in self._by_name.get(name, [])]
            if len(bearing) > MAX_RULES:
                raise ValueError(f"a style sheet with more than {MAX_RULES} rules for one element")
            self._known[key] = style_of(chain, [rule for _, rule in sorted(bearing, key=lambda pair: pair[0])])
        return self._known[key]


def style_of(chain: Sequence[tuple[str, frozenset[str]]], sheet: Sequence[Rule]) -> Style:
    """Style that the rules give the last element of a chain of (tag, classes), outermost first."""
    result = Style()
    tag, classes = chain[-1]
    for rule in sheet:
        last_tag, last_classes = rule.steps[-1]
        if (last_tag and last_tag != tag) or not last_classes <= classes:
            continue
        waiting = list(rule.steps[:-1])
        for outer_tag, outer_classes in reversed(chain[:-1]):
            if waiting and (not waiting[-1][0] or waiting[-1][0] == outer_tag) and waiting[-1][1] <= outer_classes:
                waiting.pop()
        if not waiting:
            result = over(result, rule.style)
    return result


def over(below: Style, above: Style) -> Style:
    """`above` wins where it says something."""
    return Style(
        below.bold if above.bold is None else above.bold,
        above.colour or below.colour,
        above.background or below.background,
    )
