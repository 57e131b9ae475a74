"""Tables of Markdown: pipes and embedded HTML. markdown-it renders to HTML, and the HTML is read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

from mmablate.analysis.audit.model import Grid
from mmablate.analysis.audit.reading import html
from mmablate.analysis.audit.reading.spans import Places

_OPENING = re.compile(r"<table[\s>]", re.IGNORECASE)
_CLOSING = re.compile(r"</table\s*+>", re.IGNORECASE)
MAX_INLINE = 20_000  # characters of a cell

_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)


def _tables(text: str) -> Iterator[tuple[str, str]]:
    """(text before, HTML table) pairs, and the text behind the last table with none."""
    start = 0
    while opening := _OPENING.search(text, start):
        closing = _CLOSING.search(text, opening.end())
        if closing is None:  # no later table can be closed either
            break
        yield text[start : opening.start()], text[opening.start() : closing.end()]
        start = closing.end()
    yield text[start:], ""


def _joined(table: str) -> str:
    """An HTML table as one block: for Markdown a blank line would end it, and an indented one would be code."""
    return "\n".join(line.strip() for line in table.splitlines() if line.strip())


def _without_fences(text: str, parser: MarkdownIt) -> str:
    """The text without fenced code: a table in it is an example."""
    lines = text.split("\n")
    for token in parser.parse(text):
        if token.type == "fence" and token.map:
            for index in range(*token.map):
                if index < len(lines):
                    lines[index] = ""
    return "\n".join(lines)


def _only_tables(state: StateCore) -> None:
    """Leaves prose out before its marks are read: of unclosed brackets that takes the square of their number."""
    depth = 0
    for token in state.tokens:
        depth += (token.type == "table_open") - (token.type == "table_close")
        kept = len(token.content) <= MAX_INLINE if depth else _OPENING.search(token.content) is not None
        if token.type == "inline" and not kept:
            token.content = ""


def _math_kept(text: str) -> str:
    """Backslashes and stars inside $...$ escaped, so that Markdown leaves mathematics alone."""
    return re.sub(r"(?<![\\$])\$([^$\n|]{1,200})\$", lambda m: "$" + re.sub(r"([\\*_])", r"\\\1", m[1]) + "$", text)


def read(text: str, places: Places) -> list[Grid]:
    """All tables, in order.

    Raises:
        ValueError: too many places.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    plain = _without_fences(_FRONT.sub("", text), MarkdownIt("commonmark").enable("table").disable("inline"))
    parser.core.ruler.before("inline", "only_tables", _only_tables)
    kept = [_math_kept(before) + _joined(table) for before, table in _tables(plain)]
    return html.read(parser.render("".join(kept)), places)
