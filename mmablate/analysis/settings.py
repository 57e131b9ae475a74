"""What the rows of a study were trained with: settings as printed, what differs between two of them, no paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "–"
DEEPEST = 50
"""Levels of nested settings that are told; what lies deeper is an ellipsis."""
_LONGEST = 240
_ABSENT: Any = object()
# Identity of a run and of its data, not a choice that anybody made.
_NO_SETTINGS = frozenset(("run_id", "compute", "seed", "role", "fingerprint", "run", "runs", "depends_on"))
_OF_THE_MACHINE = frozenset(("root", "data_root", "out", "cwd"))
_PATH_START = re.compile(r"(?:~|[A-Za-z]:)?[\\/][^\\/\s]|~$|\\\\|file:")
_PATH_INSIDE = re.compile(r"(?<![\w:/.\\<])(?:~|[A-Za-z]:)?(?:[\\/][^\\/\s'\"`,;:]+){2,}")


@dataclass(frozen=True)
class Change:
    """One setting that two rows differ in, as printed; `ABSENT` where a row does not have it."""

    key: str
    before: str
    after: str


def without_paths(value: Any, *, depth: int = 0) -> Any:
    """The same settings without folders of the machine: keys such as `root` go, absolute paths keep their name.

    Args:
        value: settings, or one of them.
        depth: levels above it; what lies deeper than `DEEPEST` becomes an ellipsis.
    """
    inside = depth + 1
    if isinstance(value, Mapping | list | tuple) and value and depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        items = ((key, item) for key, item in value.items() if key not in _OF_THE_MACHINE)
        return {str(key): without_paths(item, depth=inside) for key, item in items}
    if isinstance(value, list | tuple):
        return [without_paths(item, depth=inside) for item in value]
    if not isinstance(value, str):
        return value
    if _PATH_START.match(value) and "\n" not in value:
        return "…/" + (re.split(r"[\\/]", value.rstrip("\\/"))[-1] or "")
    return _PATH_INSIDE.sub(lambda found: "…/" + re.split(r"[\\/]", found[0])[-1], value)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs between the resolved settings of two runs, in the order of the first one.

    Lists of things with a name (loss terms) are compared by it; a group that one side lacks is one change.
    """
    return tuple(_compare(_keyed(without_paths(before)), _keyed(without_paths(after)), ""))


def _keyed(value: Any) -> Any:
    """Lists of mappings with a "key" or "name" become mappings by it; what is no setting goes."""
    if isinstance(value, Mapping):
        return {key: _keyed(item) for key, item in value.items() if key not in _NO_SETTINGS}
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for name in ("key", "name"):
            names = [item.get(name) for item in value]
            if all(isinstance(n, str) for n in names) and len(set(names)) == len(names):
                return {
                    item[name]: _keyed({k: v for k, v in item.items() if k != name and v != item[name]})
                    for item in value
                }
    return value


def _compare(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _compare(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif _differ(before, after):
        yield Change(path, _say(before), _say(after))


def _differ(before: Any, after: Any) -> bool:
    """1 and 1.0 are one setting, 1 and true are two."""
    return isinstance(before, bool) != isinstance(after, bool) or bool(before != after)


def _say(value: Any) -> str:
    """One setting in a line."""
    if value is _ABSENT:
        return ABSENT
    text = ", ".join(f"{key} {item}" for key, item in _leaves(value, "")) if isinstance(value, Mapping) else ""
    text = text or _scalar(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _leaves(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, inner)
        else:
            yield inner, _scalar(item)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False, default=str)
