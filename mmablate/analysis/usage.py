"""Memory and device that the rows of a study used, where their records say so."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.results import RunRecord

MEASURED = frozenset(("peak_memory_mb", "utilisation"))
"""What is measured during a run and is no property of its machine."""


@dataclass(frozen=True)
class RowUse:
    """What the finished runs of a row used; medians over those that tell it, None where none does.

    Attributes:
        row: label of the row; "teacher".
        peak_memory_mb: of the group that a run was trained in, in MB.
        utilisation: share of the device, or of one CPU core a thread, that was in use, 0 to 1.
        together: most runs that were trained in one group with one of this row, itself included; 1 where unknown.
    """

    row: str
    peak_memory_mb: float | None
    utilisation: float | None
    together: int = 1


def row_uses(rows: Mapping[str, Sequence[RunRecord]]) -> tuple[RowUse, ...]:
    """Label of a row -> its records, as what they used; rows that tell nothing are left out."""
    found = (_use(row, [r.environment for r in records if r.status == "ok"]) for row, records in rows.items())
    return tuple(use for use in found if use.peak_memory_mb is not None or use.utilisation is not None)


def _use(row: str, environments: Sequence[Mapping[str, Any]]) -> RowUse:
    groups = [some for some in (e.get("group") for e in environments) if isinstance(some, list)]
    return RowUse(
        row=row,
        peak_memory_mb=_median([e.get("peak_memory_mb") for e in environments]),
        utilisation=_median([e.get("utilisation") for e in environments]),
        together=max((len(group) for group in groups), default=1) or 1,
    )


def _median(values: Sequence[Any]) -> float | None:
    """Of those that are measures: finite and not negative."""
    good = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < 1e15]
    return statistics.median(good) if good else None
