"""Features brought to mean 0 and deviation 1, by the training rows alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import Moments
from mmablate.errors import DataError

CHUNK = 4096  # rows at a time


def finite(path: Path, values: np.ndarray, rows: NDArray[np.int64]) -> None:
    """Refuses NaN and infinity, naming the first.

    Args:
        path: for the message.
        values: (N, ...).
        rows: of the file, (N,).
    """
    if values.dtype.kind != "f":
        return
    for start in range(0, len(values), CHUNK):
        bad = ~np.isfinite(values[start : start + CHUNK])
        if bad.any():
            first = np.argwhere(bad)[0]
            where = f"row {rows[start + first[0]] + 1}, feature {', '.join(map(str, first[1:]))}"
            found = values[start + first[0]][tuple(first[1:])]
            raise DataError(f"{path}: {where}: expected finite numbers, found {found}")


def standardised(path: Path, values: np.ndarray, train: NDArray[np.int64], way: str) -> NDArray[np.float32]:
    """Values as float32, standardised by the training rows; what is constant over them is 0 everywhere.

    Args:
        path: for the message.
        values: (N, C, ...), finite.
        train: row numbers.
        way: "channel", "each" or "none".

    Raises:
        DataError: numbers that float32 cannot hold.
    """
    made = np.empty(values.shape, dtype=np.float32)
    shift, scale = (None, None) if way == "none" else _statistics(path, values, train, way)
    for start in range(0, len(values), CHUNK):
        piece = np.asarray(values[start : start + CHUNK], dtype=np.float64)
        with np.errstate(over="ignore"):
            made[start : start + CHUNK] = piece if shift is None or scale is None else (piece - shift) * scale
    if not np.isfinite(made).all():
        raise _too_large(path, values)
    return made


def _too_large(path: Path, values: np.ndarray) -> DataError:
    return DataError(f"{path}: expected numbers within the range of float32, found {np.abs(values).max():g}")


def _statistics(path: Path, values: np.ndarray, train: NDArray[np.int64], way: str) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract and to multiply by, of the shape of a sample or so that it broadcasts."""
    shape = values.shape[1:]
    room = shape if way == "each" else (shape[0], *[1] * (len(shape) - 1))
    n = int(np.prod(room))
    moments, low, high = Moments(n), np.full(n, np.inf), np.full(n, -np.inf)
    for start in range(0, len(train), CHUNK):
        piece = np.asarray(values[train[start : start + CHUNK]], dtype=np.float64)
        flat = piece.reshape(len(piece), n, -1)
        low, high = np.minimum(low, flat.min(axis=(0, 2))), np.maximum(high, flat.max(axis=(0, 2)))
        with np.errstate(over="ignore", invalid="ignore"):
            moments.add(np.moveaxis(flat, 1, -1).reshape(-1, n))
    mean, std = moments.mean_std()
    if not np.isfinite(std).all():  # divided by it, the feature would be zeros
        raise _too_large(path, values)
    return mean.reshape(room), np.where(low < high, 1 / std, 0.0).reshape(room)
