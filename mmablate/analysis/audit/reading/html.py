"""Tables of HTML, also of pages in which end tags are left out; parsed by lxml, which bounds nesting by itself."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from mmablate.analysis.audit.model import APART, Cell, Grid, Run, Script
from mmablate.analysis.audit.reading import css, latex_text
from mmablate.analysis.audit.reading.spans import Places, Spanning, fill

# Elements whose text must not run into that beside it: "43.71<small>±0.52</small>" holds two numbers.
_BLOCKS = frozenset(("br", "div", "p", "li", "ul", "ol", "table", "td", "th", "tr", "hr", "small", "span"))
_INLINE = frozenset(("sup", "sub", "font", "i", "em", "wbr", "code", "kbd"))
_BOLD = frozenset(("b", "strong"))
_SKIPPED = frozenset(("script", "style", "svg", "template", "head", "del", "s", "strike", "title"))
_MATH = re.compile(r"\$([^$]{1,300})\$|\\\((.{1,300}?)\\\)", re.DOTALL)


def _classes(element: Any) -> tuple[str, frozenset[str]]:
    return str(element.tag).lower(), frozenset((element.get("class") or "").split())


class _Reader:
    """Reads the cells of one document with its style sheet."""

    def __init__(self, sheet: css.Sheet) -> None:
        self.sheet = sheet

    def style(self, element: Any) -> css.Style:
        """Style of one element, from weak to strong: its tag, old attributes, the sheet, its own style."""
        tag = str(element.tag).lower()
        own = css.Style(
            True if tag in _BOLD else None,
            css.css_colour(element.get("color") or "") if tag == "font" else None,
            css.css_colour(_hashed(element.get("bgcolor") or "")),
        )
        if self.sheet:
            chain = [_classes(e) for e in element.iterancestors()][::-1]
            own = css.over(own, self.sheet.style([*chain, _classes(element)]))
        return css.over(own, css.declarations(element.get("style") or ""))

    def cell(self, element: Any) -> Cell:
        """A td or th; a th is no bold number, for every browser sets headers bold."""
        style = self.style(element)
        runs: list[Run] = []
        header = str(element.tag).lower() == "th"
        self._walk(element, bool(style.bold), style.colour, "", runs)
        said = any(run.text.strip(f" \n\t{APART}") for run in runs)
        return Cell(tuple(runs) if said else (), style.background, header)

    def _walk(self, element: Any, bold: bool, colour: str | None, script: Script, runs: list[Run]) -> None:
        """Depth first; lxml keeps documents below 256 levels, so the recursion is bounded."""
        _add(runs, element.text, bold, colour, script)
        for child in element:
            tag = str(child.tag).lower()
            if isinstance(child.tag, str) and tag not in _SKIPPED:
                style = self.style(child)
                inner_script: Script = "sub" if tag == "sub" else "sup" if tag == "sup" else script
                between = [Run(" ")] if tag in _BLOCKS else [Run(APART)] if tag in _INLINE else []
                runs.extend(between)
                self._walk(
                    child,
                    bold if style.bold is None else style.bold,
                    style.background or style.colour or colour,
                    inner_script,
                    runs,
                )
                runs.extend(between)
            _add(runs, child.tail, bold, colour, script)


def _hashed(text: str) -> str:
    return f"#{text}" if re.fullmatch(r"[0-9a-fA-F]{6}", text) else text


def _add(runs: list[Run], text: str | None, bold: bool, colour: str | None, script: Script) -> None:
    """Text with its mathematics read as LaTeX."""
    if not text:
        return
    start = 0
    for match in _MATH.finditer(text):
        before = text[start : match.start()]
        if before:
            runs.append(Run(before, bold, colour, script))
        inner = latex_text.runs(match[1] or match[2] or "", {}, bold=bold, colour=colour)
        runs.extend(run if run.script or not script else run._replace(script=script) for run in inner)
        start = match.end()
    if text[start:]:
        runs.append(Run(text[start:], bold, colour, script))


def _rows(table: Any) -> Iterator[tuple[Any, Any]]:
    """(row, its thead/tbody/tfoot) of this table and not of those within its cells."""
    for child in table:
        tag = str(child.tag).lower()
        if tag == "tr":
            yield child, table
        elif tag in ("thead", "tbody", "tfoot"):
            for row in child:
                if str(row.tag).lower() == "tr":
                    yield row, child


def _number(element: Any, name: str) -> int:
    text = (element.get(name) or "1").strip()
    return int(text) if re.fullmatch(r"\d{1,4}", text) else 1


def _caption(table: Any) -> str:
    for place in (table.find("caption"), *(f.find("figcaption") for f in table.iterancestors("figure"))):
        if place is not None:  # many tables may share one long caption
            parts = (text[:2000] for text in itertools.islice(place.itertext(), 200))
            return " ".join("".join(parts).split())[:500]
    return ""


def _grid(table: Any, reader: _Reader, places: Places) -> Grid:
    rows, n_header, rules = [], 0, set()
    body: Any = None
    for index, (row, part) in enumerate(_rows(table)):
        cells = [c for c in row if str(c.tag).lower() in ("td", "th")]
        rows.append([Spanning(reader.cell(c), _number(c, "colspan"), _number(c, "rowspan") or 10**6) for c in cells])
        is_head = str(part.tag).lower() == "thead" or (
            bool(cells) and all(str(c.tag).lower() == "th" for c in cells) and index == n_header
        )
        if is_head and index == n_header:
            n_header += 1
        elif body is not None and part is not body:
            rules.add(index)
        body = part if index >= n_header else None
    return Grid(fill(rows, places), _caption(table), n_header or None, frozenset(rules))


def read(text: str, places: Places) -> list[Grid]:
    """All tables of a page, an inner one before the one that it stands in last.

    Raises:
        ValueError: too many places.
    """
    parser = lxml_html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = lxml_html.document_fromstring(text.encode("utf-8", errors="replace"), parser=parser)
    except etree.ParserError:  # nothing but blanks or comments
        return []
    reader = _Reader(css.Sheet(css.rules("\n".join(style.text or "" for style in root.iter("style")))))
    # A table that only lays out others has no numbers of its own.
    return [_grid(table, reader, places) for table in root.iter("table") if table.find(".//table") is None]
