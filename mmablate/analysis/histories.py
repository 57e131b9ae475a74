"""Lines of history.jsonl, read tolerantly: whatever is damaged or foreign takes away itself and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MOST_SEEDS = 10
"""Seeds a row whose histories are read."""
MOST_BYTES = 8_000_000
"""Of one history; what stands behind is not read."""
MOST_EPOCHS = 150
"""Points of a curve; longer trainings are thinned."""
_LAST_EPOCH = 10**9  # beyond is no number of an epoch, and no place on an axis


def history_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The lines that are JSON objects: one that was half written when a run was killed is left out."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
    except OSError:
        return
    for line in content.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def epoch_of(line: Mapping[str, Any]) -> int | None:
    """The epoch that a line tells of, None where it names none."""
    epoch = line.get("epoch")
    if isinstance(epoch, bool) or not isinstance(epoch, int):
        return None
    return epoch if 0 <= epoch <= _LAST_EPOCH else None


def number(value: Any) -> float | None:
    """A finite number that floats can hold and that can be drawn; anything else is left out."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e100 else None


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
