"""CSV: one line a row of a table, numbers printed as in the paper, text that no spreadsheet will execute.

Means, deviations and Δ are rounded as everywhere; p-values are not, since a reader may adjust them anew. The
decimal sign is the point, whatever people read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mmablate.analysis.table import Row, Table
from mmablate.report import labels, marks, numbers

_FORMULA_STARTS = ("=", "+", "-", "@")
_TAIL = ("n_seeds", "n_parameters", "seconds", "status", "dataset", "synthetic")
_VIEWS = ("kind", "condition", "subset")
_EVIDENCE = ("_ci_low", "_ci_high", "_test", "_p", "_p_adjusted", "_significant", "_best", "_tied")


def safe_text(text: str) -> str:
    """Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    line = labels.clean(text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _metric_fields(table: Table, row: Row) -> dict[tuple[str, str], str]:
    """Mean, std and Δ of each column and what is known of them, keyed by (column, suffix)."""
    fields: dict[tuple[str, str], str] = {}
    n = table.n_decimals
    for column in table.columns:
        cell = marks.cell(row, column)
        low, high = cell.ci or (None, None)
        fields |= {
            (column, ""): numbers.fixed_ascii(cell.mean, n),
            (column, "_std"): numbers.fixed_ascii(cell.std, n),
            (column, "_delta"): numbers.signed_ascii(cell.delta, n),
            (column, "_ci_low"): numbers.signed_ascii(low, n),
            (column, "_ci_high"): numbers.signed_ascii(high, n),
            (column, "_test"): cell.test or "",
            (column, "_p"): _short(cell.p),
            (column, "_p_adjusted"): _short(cell.p_adjusted),
            (column, "_significant"): _flag(cell.significant) if cell.p_adjusted is not None else "",
            (column, "_best"): "" if marks.is_empty(cell) else _flag(cell.best),
            (column, "_tied"): "" if marks.is_empty(cell) else _flag(cell.tied),
        }
    return fields


def _short(value: float | None) -> str:
    """Six significant digits, "" for a missing value."""
    return f"{value:.6g}" if numbers.is_number(value) else ""


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _tail(table: Table, row: Row) -> list[str]:
    """What a line says of the row after its metrics, in the order of `_TAIL`."""
    return [
        str(row.n_seeds),
        "" if row.n_parameters is None else str(row.n_parameters),
        numbers.fixed_ascii(row.seconds, 2),
        row.status,
        safe_text(table.dataset.name),
        _flag(table.dataset.synthetic),
    ]


def _views(tables: Sequence[Table]) -> list[str]:
    """The fields that tell tables of one condition, of one subset and of effects from those of scores."""
    usual = Table(study="")
    return [name for name in _VIEWS if any(getattr(table, name) != getattr(usual, name) for table in tables)]


def render(tables: Sequence[Table], *, single: bool) -> str:
    """All rows under one header.

    Several tables share the union of their columns, behind a first column `study`; a column that a table
    does not have is empty there. Tables of one condition, of one subset or of effects say so in a column of
    their own. Behind all these stand the baseline, the FLOPs and the evidence of each column.
    """
    views = _views(tables)
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    keys = [(column, suffix) for column in columns for suffix in ("", "_std", "_delta")]
    evidence = [(column, suffix) for column in columns for suffix in _EVIDENCE]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = {column: safe_text(column) for column in columns}
    writer.writerow(
        [
            *([] if single else ["study"]),
            "row",
            "label",
            *(names[c] + suffix for c, suffix in keys),
            *_TAIL,
            *views,
            "baseline",
            "flops",
            *(names[c] + suffix for c, suffix in evidence),
        ]
    )
    for table in tables:
        for row in table.rows:
            fields = _metric_fields(table, row)
            line = [] if single else [safe_text(table.study)]
            line += [safe_text(row.name), safe_text(labels.plain(row.label))]
            line += [fields.get(key, "") for key in keys] + _tail(table, row)
            line += [safe_text(getattr(table, name) or "") for name in views]
            line += [safe_text(row.baseline or ""), _short(row.flops)]
            writer.writerow(line + [fields.get(key, "") for key in evidence])
    return out.getvalue()
