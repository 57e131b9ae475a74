"""From four MR sequences to the standardised crop that networks are trained on, as PASSION's code computes it.

Source: PASSION (Shi et al. 2024), released preprocessing of BraTS. What it computes is reproduced to the bit, its
exclusive upper index included: the last slice of the brain along each axis falls outside the crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SEQUENCES = ("flair", "t1ce", "t1", "t2")
"""Names of the sequences, in the order of the channels of a stored volume and of a row of a mask list."""

MIN_EXTENT = 128


def preprocess(
    volumes: Mapping[str, np.ndarray], labels: np.ndarray | None, min_extent: int = MIN_EXTENT
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Crops a subject to its brain and standardises each sequence.

    Each sequence is standardised by mean and population standard deviation over the voxels of the crop in which the
    sum of the sequences is above 0; the whole crop is shifted and scaled, so that the background is not 0. Label 4
    becomes 3.

    Args:
        volumes: sequence, of `SEQUENCES` -> intensities (H, W, Z); one that is missing is left out.
        labels: (H, W, Z) in 0, 1, 2, 4 or 0, 1, 2, 3; None: all background.
        min_extent: see `crop_of`.

    Returns:
        float32 (h, w, z, 4) in the order of `SEQUENCES`, 0 throughout where a sequence is missing or constant; and
        labels uint8 (h, w, z).

    Raises:
        ValueError: no sequence, shapes that differ, or no voxel above 0.
    """
    there = [name for name in SEQUENCES if name in volumes]
    if not there:
        raise ValueError(f"expected some of {', '.join(SEQUENCES)}, found none")
    shapes = {volumes[name].shape for name in there} | (set() if labels is None else {labels.shape})
    if len(shapes) > 1 or any(len(shape) != 3 for shape in shapes):
        raise ValueError(f"expected volumes of one shape (H, W, Z), found {sorted(shapes)}")
    box = crop_of([volumes[name] for name in there], min_extent)
    stacked = np.zeros((len(SEQUENCES), *(part.stop - part.start for part in box)), dtype=np.float32)
    for name in there:
        stacked[SEQUENCES.index(name)] = volumes[name][box]
    inside = stacked.sum(0) > 0
    if not inside.any():
        raise ValueError("expected a voxel in which the sum of the sequences is above 0, found none")
    for name in there:
        values = stacked[SEQUENCES.index(name)]
        measured = values[inside]
        deviation = measured.std()
        # A constant sequence tells nothing; dividing by its deviation would make it NaN.
        values[...] = (values - measured.mean()) / deviation if deviation > 0 else 0.0
    cut = np.zeros(inside.shape, dtype=np.uint8) if labels is None else labels[box].astype(np.uint8)
    cut[cut == 4] = 3
    return np.ascontiguousarray(stacked.transpose(1, 2, 3, 0)), np.ascontiguousarray(cut)


def crop_of(volumes: Sequence[np.ndarray], min_extent: int = MIN_EXTENT) -> tuple[slice, slice, slice]:
    """The box that a subject is cropped to.

    Along each axis from the first to before the last slice in which the maximum of the sequences is not 0 anywhere.
    A shorter extent e than `min_extent` is widened by floor((min_extent - e) / 2) below and one more above, to
    `min_extent` where their difference is odd and `min_extent` + 1 where it is even. A box that would begin below 0 is
    moved up to 0; one that would end beyond the volume ends with it, and is then shorter. So an axis of 64 voxels or
    less stays whole at the default.

    Args:
        volumes: of one shape (H, W, Z).
        min_extent: voxels, at least 1.

    Raises:
        ValueError: all voxels are 0, or `min_extent` is below 1.
    """
    if min_extent < 1:
        raise ValueError(f"min_extent must be at least 1, got {min_extent}")
    highest = volumes[0]
    for volume in volumes[1:]:
        highest = np.maximum(highest, volume)
    seen = highest != 0
    if not seen.any():
        raise ValueError("expected a voxel that is not 0, found none")
    parts = []
    for axis, length in enumerate(seen.shape):
        other = tuple(i for i in range(3) if i != axis)
        slices = np.flatnonzero(seen.any(axis=other))
        parts.append(_widened(int(slices[0]), int(slices[-1]), length, min_extent))
    return parts[0], parts[1], parts[2]


def _widened(low: int, high: int, length: int, least: int) -> slice:
    if high - low < least:
        margin = (least - (high - low)) // 2
        low, high = low - margin, high + margin + 1
    if low < 0:
        low, high = 0, high - low
    return slice(low, min(high, length))
