"""The JSON form of INTERFACE.md: unrounded numbers, and never a NaN (which is no JSON)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from mmablate.analysis.table import Table

_SURROGATE = re.compile("[\ud800-\udfff]")


def _finite(value: Any) -> Any:
    """The same value with NaN and infinity as null; an interval with such an end is null as a whole."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(v) if key == "values" else _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        if any(isinstance(item, float) and not math.isfinite(item) for item in value):
            return None
        return [_finite(item) for item in value]
    return value


def _without_nan(values: Any) -> Any:
    """Per-seed values without the seeds that have none: readers expect numbers there, not nulls."""
    if not isinstance(values, dict):
        return _finite(values)
    return {seed: v for seed, v in values.items() if not (isinstance(v, float) and not math.isfinite(v))}


def render(tables: Sequence[Table], *, single: bool) -> str:
    """One table's object, or an object that lists them."""
    objects = [_finite(table.to_json_dict()) for table in tables]
    document = objects[0] if single else {"schema": 1, "tables": objects}
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # no file can hold a lone one as it is
