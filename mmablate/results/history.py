"""Reading history.jsonl, which a run may just be writing or have left half written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_BYTES = 8_000_000
"""Of one history; what stands behind is not read."""


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


def finite_number(value: Any) -> float | None:
    """A finite number that floats can hold and that can be drawn; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e100 else None
