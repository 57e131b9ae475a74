"""Samples made visible: where a sample comes from, its modalities as RGB pictures, which samples to show."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from mmablate.data.base import AnyData, AnySplit, Described, Pictured, SampleInfo, Split

PERCENTILES = (2.0, 98.0)
SMALLEST_SPAN = 1.0
"""In the unit of standardised inputs, one standard deviation: a picture without contrast stays without."""
STRIP_FRAMES = 4
"""Frames of a video in its picture."""
STRIP_RATIO = 16
HEAT_SPAN = 3.0
HEAT_COLOURS = np.array([(38, 99, 168), (238, 236, 232), (214, 96, 22)], dtype=np.float64)
"""RGB 0-255 far below, at and far above the mean."""


def sample_info(split: AnySplit, index: int) -> SampleInfo:
    """Id and conditions of a sample; its number where the split does not describe its samples."""
    return split.describe(index) if isinstance(split, Described) else SampleInfo(str(index))


def sample_pictures(split: Split, index: int) -> dict[str, np.ndarray]:
    """A sample's modalities for people: the split's own pictures, or what its inputs give.

    Returns:
        Modality -> uint8 RGB (H, W, 3), of the size of the labels where there is one a pixel. Of a video (C, T, H, W)
        up to `STRIP_FRAMES` frames side by side; numbers without a place are a strip of colours (`heat_strip`).
    """
    if isinstance(split, Pictured):
        return split.pictures(index)
    inputs, _ = split.batch([index])
    return {name: _drawn(values[0]) for name, values in inputs.items()}


def _drawn(values: np.ndarray) -> np.ndarray:
    """A sample of any shape."""
    if values.ndim == 1:
        return heat_strip(values)
    if values.ndim == 4:
        return to_rgb(np.concatenate([values[:, t] for t in frame_places(values.shape[1])], axis=-1))
    return to_rgb(values if values.ndim == 3 else values.reshape(1, -1, values.shape[-1]))


def frame_places(n: int) -> list[int]:
    """At most `STRIP_FRAMES` of n frames, evenly apart."""
    k = min(n, STRIP_FRAMES)
    return [(2 * i + 1) * n // (2 * k) for i in range(k)]


def heat_strip(values: np.ndarray) -> np.ndarray:
    """Standardised numbers (D,) as a strip of colours: blue below the mean, pale at it, orange above.

    Colours end at `HEAT_SPAN` standard deviations; numbers that are not finite are black. Numbers and rows are
    repeated so that the strip is about `STRIP_RATIO` times as wide as high, however many numbers there are.

    Returns:
        uint8 (H, k D, 3).
    """
    finite = np.isfinite(values)
    share = np.clip(np.where(finite, values, 0.0) / HEAT_SPAN, -1.0, 1.0)[:, None].astype(np.float64)
    ends = np.where(share < 0, HEAT_COLOURS[0], HEAT_COLOURS[2])
    shades = HEAT_COLOURS[1] + np.abs(share) * (ends - HEAT_COLOURS[1])
    row = np.where(finite[:, None], shades.round(), 0).astype(np.uint8)
    row = np.repeat(row, max(1, -(-4 * STRIP_RATIO // max(1, len(values)))), axis=0)
    return np.repeat(row[None], max(1, round(len(row) / STRIP_RATIO)), axis=0)


def to_rgb(channels: np.ndarray) -> np.ndarray:
    """Standardised channels as a picture; each channel is stretched between its own percentiles.

    One channel is grey; two are red and blue, with their mean as green; of more, the first three are red,
    green and blue. The stretch never covers less than `SMALLEST_SPAN`, so that noise is not blown up.

    Args:
        channels: float (C, H, W); values that are not finite are black.

    Returns:
        uint8 (H, W, 3).
    """
    shades = [_stretched(channel) for channel in channels[:3]]
    if len(shades) == 1:
        shades *= 3
    elif len(shades) == 2:
        shades.insert(1, (shades[0] + shades[1]) / 2)
    return np.asarray(np.stack(shades, axis=-1).round(), dtype=np.uint8)


def _stretched(channel: np.ndarray) -> np.ndarray:
    """0-255 as float64 between the percentiles of the finite values, clipped outside."""
    finite = np.isfinite(channel)
    if not finite.any():
        return np.zeros(channel.shape)
    values = np.where(finite, channel, 0.0).astype(np.float64)
    low, high = np.percentile(values[finite], PERCENTILES)
    missing = max(SMALLEST_SPAN - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    shades = np.clip((values - low) / (high - low), 0.0, 1.0) * 255
    return np.asarray(np.where(finite, shades, 0.0))


def spread(split: AnySplit, n: int) -> list[int]:
    """At most n samples that cover the conditions as evenly as possible; the same ones every time.

    Every combination of conditions gets its turn before one gets a second; where there are more combinations
    than turns, values that were shown least come first. Within a combination the samples are evenly apart.

    Returns:
        Indices, ascending; all of them where the split has no more than n.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more, not {n}")
    if len(split) <= n:
        return list(range(len(split)))
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index in range(len(split)):
        groups.setdefault(tuple(sorted(sample_info(split, index).conditions.items())), []).append(index)
    turns = _turns({key: len(members) for key, members in groups.items()}, n)
    return sorted(index for key, members in groups.items() for index in _evenly(members, turns[key]))


def _turns(sizes: dict[tuple[tuple[str, str], ...], int], n: int) -> Counter[tuple[tuple[str, str], ...]]:
    """How many samples of each combination."""
    turns: Counter[tuple[tuple[str, str], ...]] = Counter()
    shown: Counter[tuple[str, str]] = Counter()
    for _ in range(n):
        free = [key for key, size in sizes.items() if turns[key] < size]
        chosen = min(free, key=lambda key: (turns[key], sum(shown[value] for value in key)))
        turns[chosen] += 1
        shown.update(chosen)
    return turns


def _evenly(members: Sequence[int], k: int) -> list[int]:
    return [members[(2 * turn + 1) * len(members) // (2 * k)] for turn in range(k)]


def class_colours(data: AnyData) -> tuple[tuple[int, int, int], ...]:
    """RGB 0-255 of each class: the data's own, or a palette of distinct hues that avoids black and white."""
    return data.colours if data.colours is not None else palette(data.n_classes)


def palette(n: int) -> tuple[tuple[int, int, int], ...]:
    """n colours: hues evenly around the circle; above six, dark, middle and light ones take turns."""
    levels = ((0.50, 0.70),) if n <= 6 else ((0.36, 0.75), (0.55, 0.65), (0.72, 0.80))
    found = []
    for index in range(n):
        lightness, saturation = levels[index % len(levels)]
        red, green, blue = colorsys.hls_to_rgb((index / n + 0.58) % 1, lightness, saturation)
        found.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(found)
