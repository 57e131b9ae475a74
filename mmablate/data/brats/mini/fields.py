"""Smooth random fields and soft steps, the material that the phantoms are drawn with.

Lengths are in units of 1/48 of the volume's edge, so that a phantom has the same shape at every size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float32]

UNITS = 48.0
"""Edge of the volume, in the units of the phantoms."""


def stream(*key: int) -> np.random.Generator:
    """A source of random numbers of its own for each key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def grid(size: int) -> Field:
    """(3, size, size, size): places of the voxels' centres from the middle; x right, y anterior, z superior."""
    along = ((np.arange(size) - (size - 1) / 2) * (UNITS / size)).astype(np.float32)
    return np.stack(np.meshgrid(along, along, along, indexing="ij"))


def smooth(rng: np.random.Generator, size: int, length: float) -> Field:
    """White noise under a Gaussian of standard deviation `length`, brought to mean 0 and standard deviation 1."""
    white = rng.standard_normal((size, size, size), dtype=np.float32)
    found = gaussian_filter(white, length * size / UNITS, mode="reflect", truncate=3.0)
    found -= found.mean()
    return (found / max(float(found.std()), 1e-6)).astype(np.float32)


def ripples(rng: np.random.Generator, size: int, length: float) -> Field:
    """Band-limited noise, a difference of two Gaussians: its zero level set is a winding sheet."""
    scale = length * size / UNITS
    white = rng.standard_normal((size, size, size), dtype=np.float32)
    found = gaussian_filter(white, scale, truncate=3.0) - gaussian_filter(white, 2 * scale, truncate=3.0)
    return (found / max(float(found.std()), 1e-6)).astype(np.float32)


def step(distance: Field, width: float) -> Field:
    """Share of a voxel that lies within: from 0 far outside to 1 far inside, a logistic curve of this width."""
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-distance / np.float32(width)))).astype(np.float32)


def capsule(place: Field, start: tuple[float, float, float], end: tuple[float, float, float]) -> Field:
    """Distance of each place from the segment between two points."""
    a, way = (np.asarray(v, dtype=np.float32).reshape(3, 1, 1, 1) for v in (start, np.subtract(end, start)))
    along = np.clip(((place - a) * way).sum(axis=0) / max(float((way * way).sum()), 1e-6), 0, 1)
    return np.sqrt(np.square(place - a - along * way).sum(axis=0)).astype(np.float32)


def ellipsoid(place: Field, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Field:
    """Distance inwards from the surface of an ellipsoid, to first order; negative outside."""
    c, half = (np.asarray(v, dtype=np.float32).reshape(3, 1, 1, 1) for v in (centre, axes))
    rho = np.sqrt(np.square((place - c) / half).sum(axis=0))
    return ((1 - rho) * np.float32(np.mean(axes))).astype(np.float32)


def rotation(angles: tuple[float, float, float]) -> NDArray[np.float32]:
    """(3, 3): turns about x, then y, then z, in radians."""
    found = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        found = turn @ found
    return found.astype(np.float32)


def turned(matrix: NDArray[np.float32], place: Field) -> Field:
    """Places (3, ...) under a matrix."""
    return np.tensordot(matrix, place, axes=1).astype(np.float32)
