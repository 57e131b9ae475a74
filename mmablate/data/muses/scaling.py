"""From raw values to what a network is fed: standardised, as ImageNet's, to 0-1, or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import Moments
from mmablate.data.muses.scenes import Source
from mmablate.data.muses.tree import Scene

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
UNIT_OFFSET = {"F": (0.0, 0.0, 0.0), "E": (0.0, 0.0, 0.0), "L": (0.0, 0.0, -50.0)}
UNIT_SCALE = {"F": (255.0, 255.0, 255.0), "E": (255.0, 255.0, 255.0), "L": (250.0, 255.0, 100.0)}


@dataclass(frozen=True)
class Scaling:
    """(value - mean) / std by channel; a pixel without event or return is 0 whatever they are.

    Attributes:
        mean, std: one a channel.
        clip: whether the result is held to 0-1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: bool = False

    def apply(self, values: np.ndarray, channel: int) -> NDArray[np.float32]:
        """Scaled values of one channel, of any shape; in float64 until the end."""
        scaled = (values.astype(np.float64) - self.mean[channel]) / self.std[channel]
        return (np.clip(scaled, 0.0, 1.0) if self.clip else scaled).astype(np.float32)


def fixed_scaling(normalise: str, modality: str) -> Scaling:
    """The scaling that does not look at the data.

    "unit" holds to 0-1: frames and counts / 255; range / 250 m and intensity / 255; z from -50 to 50 m.
    "imagenet": frames by the mean and deviation of ImageNet, everything else / 255.
    "none": as it is.
    """
    if normalise == "unit":
        return Scaling(UNIT_OFFSET[modality], UNIT_SCALE[modality], clip=True)
    if normalise == "imagenet":
        if modality == "F":
            return Scaling(tuple(255.0 * m for m in IMAGENET_MEAN), tuple(255.0 * s for s in IMAGENET_STD))
        return Scaling((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    return Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def measured_scaling(scenes: Sequence[Scene], source: Source, modality: str) -> Scaling | None:
    """Mean 0 and deviation 1 by channel over the pixels of these scenes.

    Of frames every pixel counts. Of events only the pixels with one, of LiDAR those with a return:
    the empty ones are most of an image and would decide alone; they are 0 after the scaling, the mean.

    Returns:
        None where no pixel counts.
    """
    if modality == "F":
        return _frame_scaling(scenes, source)
    moments = Moments(3)
    for scene in scenes:
        array = source.get(scene, modality)
        if modality == "L":
            moments.add(array["values"])
        else:
            counts = array[:, array.any(axis=0)].T
            moments.add(np.concatenate([counts, np.zeros((len(counts), 1), dtype=counts.dtype)], axis=1))
    if not moments.count:
        return None
    mean, std = moments.mean_std()
    return Scaling(tuple(mean.tolist()), tuple(std.tolist()))


def _frame_scaling(scenes: Sequence[Scene], source: Source) -> Scaling:
    """By a histogram of each channel, which is exact and quicker than the pixels."""
    counts = np.zeros((3, 256), dtype=np.int64)
    for scene in scenes:
        for channel, plane in enumerate(source.get(scene, "F")):
            counts[channel] += np.bincount(plane.ravel(), minlength=256)
    values, total = np.arange(256.0), counts.sum(axis=1)
    mean = (counts * values).sum(axis=1) / total
    std = np.sqrt((counts * np.square(values - mean[:, None])).sum(axis=1) / total)
    return Scaling(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))
