"""Writing a synthetic set: whole or not at all, marked, and left alone where it is there already."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmablate.data.untrusted import BROKEN, read_json
from mmablate.errors import DataError

SYNTHETIC_FILE = "SYNTHETIC.json"


def write_set(root: Path, mark: Mapping[str, Any], write: Callable[[Path], None]) -> None:
    """Has a set written beside `root` and then moved there; one with the same mark is left alone.

    Args:
        root: folder to make; missing or empty, or a set of this mark.
        mark: content of its SYNTHETIC.json; `generator` and `options` are among the keys.
        write: writes the set into the folder it is given.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    if made_with(root, str(mark["generator"])) == mark:
        return
    try:
        if root.exists() and not root.is_dir():
            raise DataError(f"{root}: expected a folder to write to, found a file")
        if root.is_dir() and any(root.iterdir()):
            old = made_with(root, str(mark["generator"]))
            what = f"one of other options ({old.get('options')})" if old else "other files"
            raise DataError(f"{root}: expected an empty folder or a set of these options, found {what}")
        place = root.resolve()  # a link to a folder elsewhere stays one
        place.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.building."))
        try:
            write(building)
            write_json(building / SYNTHETIC_FILE, mark)
            building.chmod(0o755)
            if place.is_dir():
                place.rmdir()  # empty, as seen above
            os.replace(building, place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{root}: cannot be written: {error.strerror or error}") from error


def made_with(root: Path, generator: str) -> dict[str, object] | None:
    """Content of SYNTHETIC.json if this generator wrote it, else None."""
    try:
        found = read_json(root / SYNTHETIC_FILE, 1 << 20)
    except BROKEN:
        return None
    return found if isinstance(found, dict) and found.get("generator") == generator else None


def write_json(path: Path, value: Any) -> None:
    """Sorted keys, one space a level."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
