"""Files of one subject; the same values give the same bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from mmablate.data.brats.mini.mark import DESCRIPTION
from mmablate.errors import MissingExtra

LEVEL = 3
"""Of gzip: noise does not get smaller with more."""


def needs_nibabel() -> None:
    """Tells at once, before anything is drawn. MissingExtra where nibabel is missing."""
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        message = f'writing NIfTI files needs nibabel: pip install "mmablate[medical]", or make without raw ({error})'
        raise MissingExtra(message) from error


def write_nifti(path: Path, volume: np.ndarray) -> None:
    """NIfTI-1 of (H, W, Z), int16 or uint8, with voxels of 1 mm, that says it is synthetic."""
    import nibabel

    image = nibabel.Nifti1Image(volume, np.eye(4))
    image.header["descrip"] = DESCRIPTION.encode("ascii")
    image.header.set_xyzt_units("mm")
    with path.open("wb") as file, gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
        packed.write(image.to_bytes())
