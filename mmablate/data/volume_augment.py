"""Changes of training patches of 3D scans: a random crop, a small rotation, changed intensity, mirrors.

Each sample's changes hang on the draws of its place in the step's batch only. Geometry changes all modalities and the
labels alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mmablate.data.base import VolumeSplit
from mmablate.data.streams import generator
from mmablate.errors import DataError

Size = tuple[int, int, int]

PLANES = ((0, 1), (1, 2), (0, 2))
"""Pairs of axes that a rotation turns."""

GEOMETRY_DRAWS = 8  # corner (3), plane, angle, mirrors (3)

SHOWN = 10  # subjects that one message names


@runtime_checkable
class Backed(Protocol):
    """A split that knows the value of its background (optional; the corners of a subject are looked at otherwise)."""

    def background(self, index: int) -> np.ndarray:
        """Of each modality of the subject at `index`, float32 (M,); 0 for a modality without a file."""
        ...


@dataclass(frozen=True)
class Draws:
    """What one sample's changes hang on.

    Attributes:
        geometry: uniform on [0, 1), float64 (GEOMETRY_DRAWS,): corner (3), plane, angle, mirrors (3).
        intensity: the same, (2, M, 1) or (2, M, h): factor and shift of each modality, or of each of its slices too.
    """

    geometry: NDArray[np.float64]
    intensity: NDArray[np.float64]


@dataclass(frozen=True)
class VolumeAugmentation:
    """What is done to every sample, in this order: crop, rotation, intensity, mirrors.

    Attributes:
        patch: voxels of a random crop along the three axes; None for whole subjects.
        rotate: largest angle A in degrees; an integer uniform over -A..A-1, as published, in one of the three planes,
            each voxel from its nearest one. What lies outside of the patch gets the background's value and label 0.
            0 for none.
        intensity: a in x·U(1-a, 1+a) + U(-a, a); 0 for none.
        intensity_per: drawn once a modality ("volume", a scanner's gain), or anew for each slice along the first axis
            ("slice", as released).
        flip: mirror each axis with probability one half.

    Raises:
        ValueError: values outside of these.

    Source: PASSION's released training transforms (crop of 80, rotate 10, intensity 0.1 a slice and flip). They fill
    turned corners with -1, in scans and labels, where -1 is neither the background nor a class.
    """

    patch: Sequence[int] | None = None
    rotate: int = 0
    intensity: float = 0.1
    intensity_per: Literal["volume", "slice"] = "volume"
    flip: bool = False

    def __post_init__(self) -> None:
        if self.patch is not None and (len(self.patch) != 3 or min(self.patch) < 1):
            raise ValueError(f"patch must be three sizes from 1 on, not {tuple(self.patch)}")
        if self.rotate != int(self.rotate) or not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate must be a whole number of degrees in 0..180, not {self.rotate}")
        if not 0 <= self.intensity < 1:
            raise ValueError(f"intensity must be in [0, 1), not {self.intensity}")
        if self.intensity_per not in ("volume", "slice"):
            raise ValueError(f"intensity_per must be 'volume' or 'slice', not {self.intensity_per!r}")

    def check(self, split: VolumeSplit, batch_size: int) -> None:
        """Tells whether batches can be made of this split, without reading a voxel.

        Raises:
            DataError: subjects smaller than the patch; or, where batches of several are of whole subjects, subjects of
                different sizes.
        """
        sizes = [split.size(index) for index in range(len(split))]
        if self.patch is not None:
            patch = tuple(self.patch)
            small = [i for i, size in enumerate(sizes) if any(a < b for a, b in zip(size, patch, strict=True))]
            if small:
                raise DataError(
                    f"{len(small)} of {len(sizes)} subjects are smaller than the patch of {_times(patch)} voxels along "
                    f"an axis: {_named(split, small)}"
                )
        elif batch_size > 1:
            odd = [i for i, size in enumerate(sizes) if size != sizes[0]]
            if odd:
                raise DataError(
                    f"batches of {batch_size} whole subjects need subjects of one size, but {len(odd)} of {len(sizes)} "
                    f"differ from {_named(split, [0])}: {_named(split, odd)}; set a patch, or batches of one"
                )

    def draw(self, count: int, modalities: int, height: int, seed: int, *purpose: str | int) -> list[Draws]:
        """The draws of the places 0..count-1 of a batch, from the stream of that key.

        A place's draws are the same whatever is switched on.

        Args:
            count: samples of the batch.
            modalities: M.
            height: voxels of a sample along the first axis.
            seed, purpose: key of the stream; the intensities have one of their own beside it.
        """
        geometry = _uniform((count, GEOMETRY_DRAWS), generator(seed, *purpose))
        shape = (count, 2, modalities, height if self.intensity_per == "slice" else 1)
        intensity = _uniform(shape, generator(seed, *purpose, "intensity"))
        return [Draws(g, i) for g, i in zip(geometry, intensity, strict=True)]

    def box(self, size: Size, draws: Draws) -> tuple[Size, Size]:
        """Corner and size of a sample within a subject of this size; every corner that fits is equally likely."""
        if self.patch is None:
            return (0, 0, 0), size
        spare = [whole - part for whole, part in zip(size, self.patch, strict=True)]
        h, w, z = (min(int(t * (s + 1)), s) for t, s in zip(draws.geometry, spare, strict=False))
        return (h, w, z), (self.patch[0], self.patch[1], self.patch[2])

    def sample(self, split: VolumeSplit, index: int, draws: Draws, fill: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """A changed piece of a subject.

        Args:
            split, index: whose.
            draws: of its place in the batch.
            fill: background of each modality (M,), see `background`.

        Returns:
            CPU tensors: float32 (M, h, w, z), 0 throughout for a modality that is so in the subject's piece; and int64
            (h, w, z).
        """
        corner, size = self.box(split.size(index), draws)
        scans, labels = split.read(index, corner, size)
        scans, labels = self._turned(scans, labels, draws, fill)
        if self.intensity > 0:
            scans = self._shaded(scans, draws)
        if self.flip:
            axes = tuple(axis for axis, draw in enumerate(draws.geometry[5:], -3) if draw < 0.5)
            scans, labels = np.flip(scans, axes), np.flip(labels, axes)
        # Flipped arrays have negative strides, which tensors do not know.
        return torch.from_numpy(np.ascontiguousarray(scans)), torch.from_numpy(np.ascontiguousarray(labels))

    def _turned(
        self, scans: np.ndarray, labels: np.ndarray, draws: Draws, fill: NDArray[np.float32]
    ) -> tuple[np.ndarray, np.ndarray]:
        angle = int(draws.geometry[4] * 2 * self.rotate) - self.rotate
        if angle == 0:
            return scans, labels
        plane = PLANES[min(int(draws.geometry[3] * len(PLANES)), len(PLANES) - 1)]
        return rotate(scans, angle, plane, fill[:, None, None, None]), rotate(labels, angle, plane, np.int64(0))

    def _shaded(self, scans: np.ndarray, draws: Draws) -> np.ndarray:
        signed = self.intensity * (2 * draws.intensity - 1)
        factor, shift = (x.astype(np.float32)[..., None, None] for x in (1 + signed[0], signed[1]))
        there = scans.any(axis=(1, 2, 3), keepdims=True)  # a modality without a file stays 0
        return np.where(there, scans * factor + shift, scans)


def rotate(values: np.ndarray, angle: float, plane: tuple[int, int], fill: np.ndarray | np.generic) -> np.ndarray:
    """Turns the last three axes within a plane about the middle; each voxel is its nearest one, as in scipy.

    scipy finds the places once, for a plane of numbers; all modalities and labels then are read from the same places.

    Args:
        values: (..., H, W, Z).
        angle: degrees, in scipy's direction.
        plane: the two axes of the three, 0..2, rising.
        fill: of what lies outside; broadcast against `values`.

    Returns:
        Of the shape and type of `values`; a new array.
    """
    axes = (plane[0] - 3, plane[1] - 3)
    sides = values.shape[axes[0]], values.shape[axes[1]]
    places = np.arange(sides[0] * sides[1], dtype=np.int64).reshape(sides)
    places = ndimage.rotate(places, angle, reshape=False, order=0, mode="constant", cval=-1)
    moved = np.moveaxis(values, axes, (-2, -1))
    found = moved.reshape(*moved.shape[:-2], -1)[..., np.maximum(places, 0)]
    filled = np.where(places >= 0, found, np.asarray(fill, dtype=values.dtype))
    return np.moveaxis(filled, (-2, -1), axes)


def background(split: VolumeSplit, index: int) -> NDArray[np.float32]:
    """The value of the background of each modality of a subject, (M,).

    Standardised scans have a background other than 0: that of raw scans, 0, shifted and scaled. It is their smallest
    value, and the corners of the box around a head show it; a split that knows it is asked instead.
    """
    if isinstance(split, Backed):
        return np.asarray(split.background(index), dtype=np.float32)
    ends = [(0, side - 1) for side in split.size(index)]
    corners = [split.read(index, (h, w, z), (1, 1, 1))[0] for h in ends[0] for w in ends[1] for z in ends[2]]
    lowest: NDArray[np.float32] = np.stack(corners).min(axis=(0, 2, 3, 4))
    return lowest


def _uniform(shape: Sequence[int], stream: torch.Generator) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = torch.rand(*shape, generator=stream, dtype=torch.float64).numpy()
    return drawn


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)


def _named(split: VolumeSplit, indices: Sequence[int]) -> str:
    names = [f"{split.describe(i).id} ({_times(split.size(i))})" for i in indices[:SHOWN]]
    more = len(indices) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
