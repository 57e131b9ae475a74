"""meta.json of MUSES against the tree: the folders are followed, and must not contradict it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmablate.data.faults import Fault
from mmablate.data.muses.classes import SPLITS
from mmablate.data.muses.tree import Key
from mmablate.data.untrusted import BROKEN, read_json, reason

MOST_BYTES = 64 << 20
"""Of meta.json, which takes about 1 KiB a scene."""
FIELDS = ("split", "weather", "time_of_day")
WITHOUT_FILES = "meta scene without files"


def meta_faults(
    path: Path, keys: Sequence[Key], weather: Sequence[str] | None = None, time_of_day: Sequence[str] | None = None
) -> list[Fault]:
    """Where meta.json and the tree differ; [] where there is no such file.

    Split, weather and time of day of each scene must be those of its folder (fields that meta.json leaves
    out are not missed). A scene that only one of both knows is a fault too, within the splits that the tree
    has and the weather and time of day asked for: parts of the set may have been downloaded.

    Args:
        path: the file.
        keys: every scene of the tree, those without all their files among them.
        weather, time_of_day: the conditions asked for, None for all.
    """
    if not path.is_file():
        return []
    try:
        content = read_json(path, MOST_BYTES)
    except BROKEN as error:
        return [Fault(f"{path}: expected JSON, found {reason(error)}", "meta unreadable")]
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        return [Fault(f"{path}: expected an object of scenes, found another JSON value", "meta unreadable")]
    faults = []
    for key in keys:
        faults.extend(_scene_faults(path, key, content.get(key.name)))
    known = {key.name for key in keys}
    splits = {key.split for key in keys}
    asked = {"weather": weather, "time_of_day": time_of_day}
    for name, entry in content.items():
        told = {field: _text(entry.get(field)) for field in FIELDS}
        outside = any(wanted is not None and told[field] not in wanted for field, wanted in asked.items())
        if name in known or outside or told["split"] not in splits & set(SPLITS):
            continue
        line = f"{path}: expected the files of {name} in the split {told['split']}, found none"
        faults.append(Fault(line, WITHOUT_FILES, name))
    return faults


def _scene_faults(path: Path, key: Key, entry: dict[str, Any] | None) -> list[Fault]:
    if entry is None:
        return [Fault(f"{path}: expected an entry of {key.id}, found none", "meta without scene", key.id)]
    return [
        Fault(
            f"{path}: expected {field} {getattr(key, field)} of {key.id}, as its folder says, found {entry[field]}",
            "meta disagrees",
            key.id,
        )
        for field in FIELDS
        if field in entry and _text(entry[field]) != getattr(key, field)
    ]


def _text(value: Any) -> str:
    return str(value).strip().lower()
