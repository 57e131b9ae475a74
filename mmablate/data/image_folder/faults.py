"""Faults of files, kept with the sample they belong to, and told together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 4  # faults of one kind that are written out


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: what it is called where many alike are counted, in the plural, e.g. "missing files of L".
        line: path, what was expected and what was found.
        sample: split and name of the sample at fault; None where no sample can be dropped to be rid of it.
    """

    kind: str
    line: str
    sample: tuple[str, str] | None = None


def tell(faults: Iterable[Fault]) -> list[str]:
    """One line a fault; of many of one kind the first few and the number of the others."""
    groups: dict[str, list[str]] = {}
    for fault in faults:
        groups.setdefault(fault.kind, []).append(fault.line)
    lines = []
    for kind, group in groups.items():
        distinct = list(dict.fromkeys(group))
        lines.extend(distinct[:SHOWN])
        if len(distinct) > SHOWN:
            lines.append(f"... and {len(distinct) - SHOWN} more {kind}")
    return lines
