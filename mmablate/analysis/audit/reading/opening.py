"""Opening a file that may hold anything: size, encoding, format."""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable
from pathlib import Path

from mmablate.analysis.audit.model import Grid
from mmablate.analysis.audit.reading import csv_text, html, latex, markdown
from mmablate.analysis.audit.reading.spans import Places
from mmablate.errors import DataError

MAX_BYTES = 50_000_000

_HTML = re.compile(r"<table[\s>]", re.IGNORECASE)
_LATEX = re.compile(r"\\begin\s*\{\s*(?:" + "|".join(map(re.escape, latex.ENVIRONMENTS)) + r")\s*\}")
_PIPES = re.compile(r"^[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$", re.MULTILINE)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: missing, a folder, too large, binary or not UTF-8; names the path.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise DataError(f"{path}: is a folder, not a table")
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size / 1e6:.0f} MB is more than the {MAX_BYTES // 10**6} MB that are read")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # a pipe has no size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: more than the {MAX_BYTES // 10**6} MB that are read")
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start} of {len(content)})") from error
    if "\x00" in text:
        raise DataError(f"{path}: a binary file, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _readers(path: Path, text: str) -> list[str]:
    """Formats in the order in which they are tried."""
    suffix = path.suffix.lower()
    has_html, has_latex = _HTML.search(text) is not None, _LATEX.search(text) is not None
    pipes = any("|" in match[0] and "-" in match[0] for match in _PIPES.finditer(text))
    found = []
    if has_latex and (suffix == ".tex" or not (has_html or pipes)):
        found.append("latex")
    if has_html and (suffix in (".html", ".htm", ".xhtml") or (text.lstrip().startswith("<") and not pipes)):
        found.append("html")
    if has_html or pipes:
        found.append("markdown")
    if not found or suffix in (".csv", ".tsv"):
        found.append("csv")
    return found


def read_grids(path: Path) -> list[Grid]:
    """Every table of a file.

    Raises:
        DataError: cannot be read as text, holds no table, or larger ones than are read; names the path.
    """
    text = read_text(path)
    as_csv = functools.partial(csv_text.read, surely=path.suffix.lower() in (".csv", ".tsv"))
    places = Places()
    reader: dict[str, Callable[[str, Places], list[Grid]]] = {
        "latex": latex.read,
        "html": html.read,
        "markdown": markdown.read,
        "csv": as_csv,
    }
    for name in _readers(path, text):
        try:
            grids = [grid for grid in reader[name](text, places) if grid.rows and grid.rows[0]]
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        if grids:
            return grids
    raise DataError(f"{path}: no table in it (HTML, Markdown, LaTeX and CSV tables are read)")
