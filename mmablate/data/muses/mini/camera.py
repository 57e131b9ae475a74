"""The frame camera: exposure, lens, noise, what falls before it; and its labels."""

from __future__ import annotations

import numpy as np

from mmablate.data.muses.classes import VOID
from mmablate.data.muses.mini.weather import Condition
from mmablate.data.muses.mini.world import Floats

GREY = 0.30
"""Mean that the exposure aims at, of linear light 0-1."""
LONGEST = 9.0
"""Gain at which the exposure stops growing: night stays dark, and noisy."""


def bonnet(size: tuple[int, int]) -> np.ndarray:
    """Pixels (h, w) where the ego car hides the scene: a shallow arc at the bottom of the image."""
    height, width = size
    u = (np.arange(width) + 0.5) / width * 2 - 1
    v = (np.arange(height) + 0.5) / height
    return np.asarray(v[:, None] > 0.955 + 0.06 * np.square(u)[None, :] / 0.8)


def labels(seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Train ids (h, w) uint8 of the pixels; the bonnet is void."""
    image = seen.reshape(size).astype(np.uint8)
    image[bonnet(size)] = VOID
    return image


def soften(image: Floats) -> Floats:
    """A lens's blur: 1-4-1 along rows and columns of (h, w, C)."""
    for axis in (0, 1):
        padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        count = image.shape[axis]
        before, here, after = (padded.take(range(k, k + count), axis) for k in range(3))
        image = (before + 4 * here + after) / 6
    return image


def frame(light: Floats, size: tuple[int, int], condition: Condition, stream: np.random.Generator) -> np.ndarray:
    """The frame (h, w, 3) uint8 sRGB.

    Args:
        light: linear RGB (h * w, 3).
        size: height and width.
        condition: weather and time of day.
        stream: source of noise, drops and flakes.
    """
    image = (light * _gain(light)).reshape(*size, 3)
    hidden = bonnet(size)
    image[hidden] = 0.05 * (0.25 if condition.night else 1.0)
    image = soften(image)
    if condition.weather == "rain":
        _rain(image, condition, stream)
    elif condition.weather == "snow":
        _flakes(image, condition, stream)
    shot, read = (0.07, 0.035) if condition.night else (0.008, 0.003)
    spread = np.sqrt(shot * shot * np.maximum(image, 0) + read * read)
    image = image + stream.standard_normal(image.shape) * spread
    return np.asarray(np.rint(255 * np.power(np.clip(image, 0, 1), 1 / 2.2)), dtype=np.uint8)


def _gain(light: Floats) -> float:
    """Automatic exposure: the mean of the image to `GREY`, up to the longest exposure that driving allows."""
    return float(np.clip(GREY / np.minimum(light, 1.0).mean(), 0.3, LONGEST))


def _rain(image: Floats, condition: Condition, stream: np.random.Generator) -> None:
    """Streaks in the air, and drops on the lens that show the scene turned over; in place."""
    height, width = image.shape[:2]
    unit = height / 108
    level = float(image.mean())
    for _ in range(int(70 * condition.drops)):
        length = int(stream.integers(3, 10) * unit) + 1
        top, left, lean = int(stream.integers(height)), int(stream.integers(width)), float(stream.uniform(-0.2, 0.2))
        rows = np.arange(top, min(top + length, height))
        columns = np.clip(np.rint(left + lean * (rows - top)).astype(int), 0, width - 1)
        image[rows, columns] = 0.8 * image[rows, columns] + 0.2 * (1.5 * level + 0.05)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(int(stream.integers(5, 14) * condition.drops)):
        radius = float(stream.uniform(1.5, 5.0)) * unit
        y, x = float(stream.uniform(0, height)), float(stream.uniform(0, width))
        inside = np.square(rows - y) + np.square(columns - x) < radius * radius
        if not inside.any():
            continue
        r, c = rows[inside], columns[inside]
        over = image[np.clip(np.rint(y + 3 * (y - r)).astype(int), 0, height - 1),
                     np.clip(np.rint(x + 3 * (x - c)).astype(int), 0, width - 1)]  # fmt: skip
        image[r, c] = 0.25 * image[r, c] + 0.55 * over + 0.2 * level


def _flakes(image: Floats, condition: Condition, stream: np.random.Generator) -> None:
    """Falling flakes: many small ones, a few large and out of focus; in place."""
    height, width = image.shape[:2]
    unit = height / 108
    bright = 0.5 * float(image.mean()) + (0.10 if condition.night else 0.45)
    for _ in range(int(150 * condition.drops)):
        size = max(1, round(float(stream.choice([1, 1, 1, 2, 2, 3])) * unit))
        y, x = int(stream.integers(height)), int(stream.integers(width))
        patch = image[y : y + size, x : x + size]
        patch *= 1 - 0.7 / size**0.5
        patch += bright * 0.7 / size**0.5
