"""Renderers: a finished `Table` in, text out. They round and colour; they compute no statistic.

One module a format, imported only when that format is asked for, so that a CSV needs no matplotlib.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from mmablate.analysis.table import Table
from mmablate.errors import UsageError

FORMATS = ("terminal", "html", "markdown", "latex", "csv", "json")

_MODULES = {"csv": "csv_format", "json": "json_format"}


def render(tables: Sequence[Table], fmt: str, *, single: bool, standalone: bool = False) -> str:
    """The tables as text in one of `FORMATS`.

    Args:
        tables: in the order of print.
        fmt: name of the format.
        single: the user asked for one table (a study), not for a folder of studies; JSON is then that
            table's object instead of `{"schema": 1, "tables": [...]}`.
        standalone: LaTeX as a document that compiles as it is, not as a fragment for `\\input`.

    Raises:
        UsageError: the format is unknown, or has no standalone form.
    """
    if fmt not in FORMATS:
        raise UsageError(f"--format: unknown format {fmt!r}; choose from {', '.join(FORMATS)}")
    if single and len(tables) != 1:
        raise ValueError(f"single=True needs exactly one table, got {len(tables)}")
    if standalone and fmt != "latex":
        raise UsageError(f"--standalone makes a LaTeX document: it goes with --format latex, not {fmt}")
    module = importlib.import_module(f"mmablate.report.{_MODULES.get(fmt, fmt)}")
    options = {"standalone": True} if standalone else {}
    text: str = module.render(tables, single=single, **options)
    return text
