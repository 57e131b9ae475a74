"""Statistics over seeds, exactly rounded (`math.fsum`), so that tables do not depend on the order of runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Literal


def mean(values: Mapping[str, float]) -> float | None:
    """Arithmetic mean over seeds; None without values."""
    return statistics.fmean(values.values()) if values else None


def std(values: Mapping[str, float]) -> float | None:
    """Sample standard deviation (n - 1); None below two seeds."""
    return statistics.stdev(values.values()) if len(values) > 1 else None


def delta(
    values: Mapping[str, float], baseline: Mapping[str, float]
) -> tuple[float | None, Literal["paired", "welch"] | None]:
    """Difference of a row to its baseline, and by which comparison.

    With at least two common seeds the mean of the per-seed differences ("paired"), otherwise the difference
    of the means ("welch"). The two agree where both rows have the same seeds.

    Returns:
        (None, None) where either side has no values.
    """
    common = [seed for seed in values if seed in baseline]
    if len(common) >= 2:
        return math.fsum(values[s] - baseline[s] for s in common) / len(common), "paired"
    if not values or not baseline:
        return None, None
    return statistics.fmean(values.values()) - statistics.fmean(baseline.values()), "welch"


def mean_over_columns(columns: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Seed -> average over columns, for the seeds that have a value in every column.

    The order "within the seed first" gives each seed one score, whose spread is that of a whole run
    (definitions, section 8).
    """
    if not columns:
        return {}
    seeds = set.intersection(*(set(values) for values in columns.values()))
    first = next(iter(columns.values()))
    ordered = [seed for seed in first if seed in seeds]
    return {s: math.fsum(v[s] for v in columns.values()) / len(columns) for s in ordered}
