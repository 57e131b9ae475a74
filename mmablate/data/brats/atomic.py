"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file by this content at once."""
    _write(path, lambda file: file.write(content))


def write_array(path: Path, array: np.ndarray) -> None:
    """Replaces a .npy file by this array at once; without pickle."""
    _write(path, lambda file: np.save(file, array, allow_pickle=False))


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")  # hidden: no reader takes it for a file of the set
    try:
        with temporary.open("wb") as file:
            fill(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
