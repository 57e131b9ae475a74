"""What an audit found, for people at any width and for scripts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mmablate.analysis.audit import Audit, Finding
from mmablate.report.labels import clean
from mmablate.report.numbers import MINUS

MAX_LISTED = 50  # of one kind on a terminal; JSON lists all
MAX_HARMLESS = 5

_HEADINGS = {
    "wrong_delta": ("wrong Δ", "no rounding of the printed numbers gives it"),
    "wrong_mean": ("wrong Mean", "no rounding of the printed numbers gives it"),
    "impossible": ("impossible accuracies", "no count of the samples gives it"),
    "bold_not_best": ("bold that is not best", ""),
    "colour_contradicts": ("colours that contradict Δ", ""),
    "only_by_rounding": ("right only by rounding", "no fault"),
}
_UNITS = {"delta": "Δ", "mean": "means", "bold": "bold values", "colour": "coloured Δ", "grim": "accuracies"}


def _number(value: Decimal) -> float | int:
    return float(value) if value.as_tuple().exponent else int(value)


def _entry(finding: Finding) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "row": finding.row,
        "column": finding.column,
        "printed": _number(finding.printed.value),
        "computed": _number(finding.computed),
        "printed_text": finding.printed.text,
        "against": finding.against,
        "table": finding.table,
        "row_index": finding.row_index,
    }
    return entry | ({"colour": finding.colour} if finding.colour else {})


def to_json(audit: Audit) -> str:
    """Flat lists of faults, each entry with its table; then what was read and what was assumed."""
    document: dict[str, Any] = {kind: [_entry(f) for f in getattr(audit, kind)] for kind in _HEADINGS}
    document["faults"] = audit.faults
    document["checked"] = audit.checked
    document["tables"] = [
        {
            "table": table.number,
            "caption": clean(table.caption),
            "rows": [row.label for row in table.rows],
            "columns": [column.name for column in table.columns],
            "cells_read": table.n_read,
            "cells_unread": table.n_unread,
        }
        for table in audit.tables
    ]
    document["notes"] = list(audit.notes)
    document["file"] = audit.path
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _signed(value: Decimal, finding: Finding, kind: str) -> str:
    sign = "+" if value > 0 and finding.printed.signed and kind in ("wrong_delta", "only_by_rounding") else ""
    return sign + f"{value:f}".replace("-", MINUS)


def _line(finding: Finding, kind: str, several: bool) -> Text:
    text = Text()
    if several:
        text.append(f"table {finding.table}, ")
    text.append(clean(finding.row), style="bold")
    text.append(", column ")
    text.append(clean(finding.column), style="bold")
    text.append(f": printed {clean(finding.printed.text)}")
    if kind == "colour_contradicts":
        text.append(f" on {finding.colour}; {clean(finding.against)}")
    elif kind == "bold_not_best":
        text.append(f", best {_signed(finding.computed, finding, kind)} ({clean(finding.against.partition(': ')[2])})")
    else:
        text.append(f", computed {_signed(finding.computed, finding, kind)}")
        text.append(f" ({clean(finding.against)})", style="dim")
    return text


def _summary(audit: Audit) -> str:
    n = len(audit.tables)
    parts = [f"{count} {_UNITS[kind]}" for kind, count in audit.checked.items() if count]
    return f"{n} table{'s' if n != 1 else ''}; checked: {', '.join(parts) or 'nothing'}"


def print_audit(audit: Audit, console: Console) -> None:
    """Faults by kind, then notes, then a verdict in one line."""
    console.print(Text(f"{clean(audit.path)}: {_summary(audit)}"))
    for kind, (heading, meaning) in _HEADINGS.items():
        found: tuple[Finding, ...] = getattr(audit, kind)
        if not found:
            continue
        fault = kind != "only_by_rounding"
        head = Text(f"\n{len(found)} {heading}", style="bold red" if fault else "bold")
        console.print(head.append(f" ({meaning})" if meaning else "", style="not bold"))
        most = MAX_LISTED if fault else MAX_HARMLESS
        for finding in found[:most]:
            console.print(Padding(_line(finding, kind, len(audit.tables) > 1), (0, 0, 0, 2)))
        if len(found) > most:
            console.print(f"  and {len(found) - most} more (--format json lists all)")
    if audit.notes:
        console.print(Text("\nnotes", style="bold"))
        for note in audit.notes:
            console.print(Padding(Text(clean(note)), (0, 0, 0, 2)))
    faults = audit.faults
    nothing = "no fault" if any(audit.checked.values()) else "nothing in it could be checked"
    console.print(Text(f"\n{faults} fault{'s' if faults != 1 else ''}" if faults else f"\n{nothing}"))
