"""Mean and spread over seeds, by exact sums (`math.fsum`), so that tables do not depend on the order of runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

LARGEST = 1e150
"""A score beyond this is none: squares of such numbers overflow."""


def average(values: Collection[float]) -> float:
    """Arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def deviation(values: Collection[float]) -> float:
    """Sample standard deviation (n - 1) of at least two values."""
    centre = average(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def mean(values: Mapping[str, float]) -> float | None:
    """Arithmetic mean over seeds; None without values."""
    return average(values.values()) if values else None


def std(values: Mapping[str, float]) -> float | None:
    """Sample standard deviation (n - 1); None below two seeds."""
    return deviation(values.values()) if len(values) > 1 else None


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
    return {s: average([v[s] for v in columns.values()]) for s in ordered}
