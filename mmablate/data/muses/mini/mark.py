"""How the generated set says that it is synthetic, and how a reader finds out."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

SYNTHETIC_FILE = "SYNTHETIC.json"
GENERATOR = "mmablate data make muses"
VERSION = 1
FRAME_COMMENT = f"synthetic: {GENERATOR}"
"""Text chunk `Comment` of every PNG, and the attribute `comment` of every event file."""


def is_synthetic(root: Path) -> bool:
    """Whether the tree says so: by its SYNTHETIC.json, or, where that went lost, by the comment in its first frame."""
    if (root / SYNTHETIC_FILE).is_file():
        return True
    frame = next(iter(sorted((root / "frame_camera").rglob("*.png"))), None)
    if frame is None:
        return False
    try:
        with Image.open(frame) as image:
            return str(image.info.get("Comment", "")).startswith("synthetic:")
    except (OSError, ValueError, SyntaxError):
        return False


def made_with(root: Path) -> dict[str, object] | None:
    """Content of SYNTHETIC.json if this generator wrote it, else None."""
    try:
        found = json.loads((root / SYNTHETIC_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(found, dict) and found.get("generator") == GENERATOR:
        return found
    return None
