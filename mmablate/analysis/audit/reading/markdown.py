"""Tables of Markdown: pipes and embedded HTML. markdown-it renders to HTML, and the HTML is read."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from mmablate.analysis.audit.model import Grid
from mmablate.analysis.audit.reading import html

_TABLE = re.compile(r"<table[\s>].*?</table\s*>", re.IGNORECASE | re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)


def _joined(match: re.Match[str]) -> str:
    """An HTML table as one block: for Markdown a blank line would end it, and an indented one would be code."""
    return "\n".join(line.strip() for line in match[0].splitlines() if line.strip())


def _without_fences(text: str, parser: MarkdownIt) -> str:
    """The text without fenced code: a table in it is an example."""
    lines = text.split("\n")
    for token in parser.parse(text):
        if token.type == "fence" and token.map:
            for index in range(*token.map):
                if index < len(lines):
                    lines[index] = ""
    return "\n".join(lines)


def _math_kept(text: str) -> str:
    """Backslashes and stars inside $...$ escaped, so that Markdown leaves mathematics alone."""
    return re.sub(r"(?<![\\$])\$([^$\n|]{1,200})\$", lambda m: "$" + re.sub(r"([\\*_])", r"\\\1", m[1]) + "$", text)


def read(text: str) -> list[Grid]:
    """All tables, in order."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    plain = _TABLE.sub(_joined, _without_fences(_FRONT.sub("", text), parser))
    kept, start = [], 0
    for match in _TABLE.finditer(plain):
        kept += [_math_kept(plain[start : match.start()]), match[0]]
        start = match.end()
    kept.append(_math_kept(plain[start:]))
    return html.read(parser.render("".join(kept)))
