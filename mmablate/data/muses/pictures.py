"""Pictures of the modalities for people; nothing is computed from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmablate.data.muses.projection import dilate_counts, dilate_lidar_image

DARK = (16, 16, 24)
POSITIVE, NEGATIVE = (255, 80, 60), (70, 130, 255)
NEAR, FAR = 2.0, 100.0
"""Range in m of the first and the last colour, on a logarithmic scale."""
RAMP = np.array([(255, 236, 110), (250, 150, 60), (200, 60, 90), (120, 45, 140), (60, 50, 160)], dtype=np.float64)
PIXELS_A_POINT = 480
"""A point is widened by one pixel for every so many columns, to be seen at all."""


def picture(modality: str, compact: np.ndarray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3) of a compact array of `SceneReader.read`.

    Frames are shown as they are; positive events red and negative ones blue, the more the brighter; LiDAR
    returns from yellow (near) to blue (far). Events and returns are widened to be seen.
    """
    if modality == "F":
        return np.ascontiguousarray(compact.transpose(1, 2, 0))
    edge = max(1, round(shape[1] / PIXELS_A_POINT))
    if modality == "E":
        return _events(dilate_counts(compact.transpose(1, 2, 0), edge))
    image = np.zeros((shape[0] * shape[1], 3), dtype=np.float32)
    image[compact["at"]] = compact["values"]
    return _lidar(dilate_lidar_image(image.reshape(*shape, 3), edge))


def _events(counts: np.ndarray) -> NDArray[np.uint8]:
    some = counts[counts > 0]
    most = np.percentile(some, 99) if len(some) else 1.0
    strength = np.clip(np.log1p(counts) / np.log1p(most), 0, 1)
    out = np.empty((*counts.shape[:2], 3))
    out[:] = DARK
    for channel, colour in enumerate((POSITIVE, NEGATIVE)):
        shown = np.where(counts[..., channel] > 0, 0.35 + 0.65 * strength[..., channel], 0)
        out += shown[..., None] * np.subtract(colour, DARK)
    return np.clip(out, 0, 255).astype(np.uint8)


def _lidar(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    ranges = image[..., 0]
    place = np.log(np.maximum(ranges, NEAR) / NEAR) / np.log(FAR / NEAR) * (len(RAMP) - 1)
    colours = np.stack([np.interp(place, np.arange(len(RAMP)), RAMP[:, c]) for c in range(3)], axis=-1)
    return np.where((ranges > 0)[..., None], colours, DARK).astype(np.uint8)
