"""How the generated set says that it is synthetic, and how a reader finds out."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from mmablate.data.generated import SYNTHETIC_FILE

GENERATOR = "mmablate data make brats"
VERSION = 1
DESCRIPTION = f"synthetic: {GENERATOR}"
"""Field `descrip` of the header of every NIfTI file."""

_FIELD = slice(148, 228)  # of `descrip` in a NIfTI-1 header


def is_synthetic(root: Path) -> bool:
    """Whether a tree, in either layout, says so, or any part of it.

    By a SYNTHETIC.json in it or in its folder of volumes, or, where none was copied, by the header of the first NIfTI
    file of each subject; .npy files have no place for a mark.
    """
    if (root / SYNTHETIC_FILE).is_file() or (root / "vol" / SYNTHETIC_FILE).is_file():
        return True
    folders = [path for depth in ("*", "*/*") for path in sorted(root.glob(depth)) if path.is_dir()]
    firsts = (sorted(path for path in folder.glob("*.nii*") if path.is_file())[:1] for folder in folders)
    return any(_tells(path) for found in firsts for path in found)


def _tells(path: Path) -> bool:
    """Whether the header of a NIfTI file says so; one that cannot be read does not."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(_FIELD.stop)[_FIELD].startswith(b"synthetic:")
    except (OSError, EOFError, zlib.error):
        return False
