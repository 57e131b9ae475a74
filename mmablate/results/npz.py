"""Arrays as npz files without pickle: written atomically, read with limits, since a results folder may be anybody's."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmablate.results.files import write_atomic

MAX_BYTES = 1 << 29
"""A file that claims to unpack to more than this is not read."""

# What reading a damaged or hostile npz can raise.
BROKEN = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, NotImplementedError, RuntimeError,
    MemoryError, SyntaxError, OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, durable: bool = True) -> None:
    """Writes a compressed npz atomically; equal arrays give equal bytes.

    Raises:
        StoreError: it cannot be written.
        ValueError: an array of objects, which only a pickle could hold.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomic(path, content.getvalue(), durable=durable)


def read_arrays(path: Path, most_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an npz.

    Args:
        most_bytes: that it may unpack to.

    Raises:
        One of `BROKEN`: missing, damaged, too large, not a file (a pipe may never end), or holding a pickle.
    """
    # numpy leaves a file open that it opened itself and found damaged.
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        with zipfile.ZipFile(file) as packed:
            if sum(item.file_size for item in packed.infolist()) > most_bytes:
                raise ValueError(f"unpacks to more than {most_bytes >> 20} MiB")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def integers(array: np.ndarray, dimensions: int) -> np.ndarray:
    """The array itself. Raises ValueError unless it holds integers in so many dimensions."""
    if array.ndim != dimensions or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"not integers in {dimensions} dimension{'s' if dimensions > 1 else ''}")
    return array


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
