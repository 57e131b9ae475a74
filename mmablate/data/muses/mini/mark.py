"""How the generated set says that it is synthetic, and how a reader finds out."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mmablate.data.generated import SYNTHETIC_FILE
from mmablate.data.muses.png import read_png_header
from mmablate.data.untrusted import BROKEN

GENERATOR = "mmablate data make muses"
VERSION = 1
FRAME_COMMENT = f"synthetic: {GENERATOR}"
"""Text chunk `Comment` of every PNG, and the attribute `comment` of every event file."""


def is_synthetic(root: Path) -> bool:
    """Whether a tree says so, or any part of it.

    By its SYNTHETIC.json, or, where that was not copied, by the comments in the first frame, the first label
    image and the first event file of every folder: a study of events and LiDAR has no frames, and a tree may
    hold synthetic scenes beside others. LiDAR files have no place for a mark, but no study is without labels.
    """
    if (root / SYNTHETIC_FILE).is_file():
        return True
    return any(told(path) for folder, ending, told in MARKED for path in _firsts(root / folder, ending))


def _firsts(folder: Path, ending: str) -> list[Path]:
    """The first file of each folder of split, weather and time of day, and of those above them."""
    firsts: dict[Path, Path] = {}
    for depth in range(4):  # unlike "**" these follow links to folders, as the reader does
        for path in sorted(folder.glob("*/" * depth + f"*{ending}")):
            if not path.name.startswith("."):
                firsts.setdefault(path.parent, path)
    return list(firsts.values())


def _png_tells(path: Path) -> bool:
    try:
        read_png_header(path)  # refuses sizes of which Pillow would warn
        with Image.open(path) as image:
            return _tells(image.info.get("Comment"))
    except BROKEN:
        return False


def _events_tell(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return _tells(file.attrs.get("comment"))
    except BROKEN:
        return False


def _tells(comment: object) -> bool:
    text = comment.decode(errors="replace") if isinstance(comment, bytes) else comment
    return isinstance(text, str) and text.startswith("synthetic:")


MARKED = (
    ("frame_camera", ".png", _png_tells),
    ("gt_semantic", ".png", _png_tells),
    ("event_camera", ".h5", _events_tell),
)
"""Folder, ending and reader of the files that carry the mark."""
