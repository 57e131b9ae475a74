"""Lines of history.jsonl, read tolerantly: whatever is damaged or foreign takes away itself and nothing else."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from mmablate.results.history import finite_number as number
from mmablate.results.history import history_lines

__all__ = ["MOST_SEEDS", "epoch_of", "history_lines", "number", "spread", "thinned"]

T = TypeVar("T")

MOST_SEEDS = 10
"""Seeds a row whose histories are read."""
MOST_EPOCHS = 150
"""Points of a curve; longer trainings are thinned."""
_LAST_EPOCH = 10**9  # beyond is no number of an epoch, and no place on an axis


def epoch_of(line: Mapping[str, Any]) -> int | None:
    """The epoch that a line tells of, None where it names none."""
    epoch = line.get("epoch")
    if isinstance(epoch, bool) or not isinstance(epoch, int):
        return None
    return epoch if 0 <= epoch <= _LAST_EPOCH else None


def thinned(epochs: Collection[int]) -> list[int]:
    """In order, at most some 150 of them, the first and the last among them."""
    ordered = sorted(epochs)
    step = max(1, math.ceil(len(ordered) / MOST_EPOCHS))
    return sorted({*ordered[::step], *ordered[-1:]})


def spread(items: Sequence[T], most: int) -> list[T]:
    """All items, or `most` of them at even distances, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[:most])
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
