"""CSV: one line a row of a table, numbers printed as in the paper, text that no spreadsheet will execute."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mmablate.analysis.table import Row, Table
from mmablate.report import labels, marks, numbers

_FORMULA_STARTS = ("=", "+", "-", "@")
_TAIL = ("n_seeds", "n_parameters", "seconds", "status", "dataset", "synthetic")


def safe_text(text: str) -> str:
    """Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    line = labels.clean(text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _metric_fields(table: Table, row: Row) -> dict[tuple[str, str], str]:
    """Mean, std and Δ of each column, keyed by (column, suffix)."""
    fields: dict[tuple[str, str], str] = {}
    for column in table.columns:
        cell = marks.cell(row, column)
        fields[column, ""] = numbers.fixed_ascii(cell.mean, table.n_decimals)
        fields[column, "_std"] = numbers.fixed_ascii(cell.std, table.n_decimals)
        fields[column, "_delta"] = numbers.signed_ascii(cell.delta, table.n_decimals)
    return fields


def _tail(table: Table, row: Row) -> list[str]:
    """What a line says of the row after its metrics, in the order of `_TAIL`."""
    return [
        str(row.n_seeds),
        "" if row.n_parameters is None else str(row.n_parameters),
        numbers.fixed_ascii(row.seconds, 2),
        row.status,
        safe_text(table.dataset.name),
        "true" if table.dataset.synthetic else "false",
    ]


def render(tables: Sequence[Table], *, single: bool) -> str:
    """All rows under one header.

    Several tables share the union of their columns, behind a first column `study`; a column that a table
    does not have is empty there. Tables of one condition or of one subset say so in a last column.
    """
    views = [name for name in ("condition", "subset") if any(getattr(table, name) is not None for table in tables)]
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    keys = [(column, suffix) for column in columns for suffix in ("", "_std", "_delta")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *([] if single else ["study"]),
            "row",
            "label",
            *(safe_text(c) + suffix for c, suffix in keys),
            *_TAIL,
            *views,
        ]
    )
    for table in tables:
        for row in table.rows:
            fields = _metric_fields(table, row)
            study = [] if single else [safe_text(table.study)]
            text = [safe_text(row.name), safe_text(labels.plain(row.label))]
            view = [safe_text(getattr(table, name) or "") for name in views]
            writer.writerow([*study, *text, *(fields.get(k, "") for k in keys), *_tail(table, row), *view])
    return out.getvalue()
