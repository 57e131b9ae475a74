"""Sounds, pictures and videos of what a modality tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.io import wavfile

from mmablate.data.mini_clips.cause import SEEN, Floats

Pixels = NDArray[np.uint8]

LOWEST, HIGHEST = 350.0, 5600.0  # Hz of the bursts
SLOTS = 4
"""Times at which the numbers show: number k at slot k % 4, in sound and video alike."""
DECIBELS = 6.0  # of a burst, per unit of its number
SHADE = 20.0  # of 255, per unit
NOISE = 16.0
COMMENT = "synthetic: mmablate data make"


def wave(told: Floats, length: int, rate: int, voice: np.random.Generator, own: np.random.Generator) -> Floats:
    """A voice with eight bursts, each as loud as one number says; (length,) within -1..1.

    Args:
        told: (SEEN,).
        rate: Hz.
        voice: stream of the group: its pitch, timbre and loudness.
        own: stream of the clip: jitter in time, phases, noise.
    """
    seconds = np.arange(length) / rate
    pitch, stretch, loud = voice.uniform(90, 260), np.exp(voice.normal(0, 0.03)), 10 ** (voice.normal(0, 2.5) / 20)
    made = 0.002 * own.normal(size=length)
    for harmonic in range(1, 6):
        made += 0.03 / harmonic * np.sin(2 * np.pi * pitch * harmonic * seconds + own.uniform(0, 2 * np.pi))
    width = length / rate / 18
    for k, value in enumerate(told):
        hertz = LOWEST * (HIGHEST / LOWEST) ** (k / (SEEN - 1)) * stretch
        middle = length / rate * ((k % SLOTS + 0.5) / SLOTS + own.normal(0, 0.012))
        at = slice(*np.searchsorted(seconds, [middle - 3.5 * width, middle + 3.5 * width]))
        envelope = np.exp(-0.5 * np.square((seconds[at] - middle) / width))
        strength = 0.05 * 10 ** (DECIBELS * value / 20)
        made[at] += strength * envelope * np.sin(2 * np.pi * hertz * seconds[at] + own.uniform(0, 2 * np.pi))
    return np.asarray(np.tanh(loud * made))


def frames(
    told: Floats, size: tuple[int, int], count: int, face: np.random.Generator, own: np.random.Generator
) -> list[Pixels]:
    """A scene with eight spots, each as bright as one number says; one picture, or a video.

    Args:
        told: (SEEN,).
        size: height and width.
        count: 1 for a picture that shows all spots; in a video each shows at its slot.
        face: stream of the group: colours, and where the spots lie.
        own: stream of the clip: where the scene lies, noise.

    Returns:
        RGB (H, W, 3) each.
    """
    height, width = size
    rows, columns = np.mgrid[0.5:height] / height, np.mgrid[0.5:width] / width
    ground = face.uniform(70, 150, size=3) + face.normal(0, 25, size=3) * (rows[:, None, None] - 0.5)
    top, left = face.normal(0, 0.02, size=2) + own.normal(0, 0.012, size=2)
    scene = np.broadcast_to(ground, (height, width, 3))
    spots = []
    for k, value in enumerate(told):
        y, x = (k // SLOTS + 0.5) / 2 + top, (k % SLOTS + 0.5) / SLOTS + left
        shape = np.exp(-0.5 * (np.square((rows - y) / 0.12)[:, None] + np.square((columns - x) / 0.06)[None]))
        spots.append(SHADE * value * shape[:, :, None] * (1.0, 0.7, 0.4))
    times = np.array([0.5]) if count == 1 else (np.arange(count) + 0.5) / count
    made = []
    for time in times:
        picture = scene + NOISE * own.normal(size=(height, width, 3))
        for k, spot in enumerate(spots):
            shown = 1.0 if count == 1 else np.exp(-0.5 * ((time - (k % SLOTS + 0.5) / SLOTS) / 0.12) ** 2)
            picture = picture + shown * spot
        made.append(np.clip(picture, 0, 255).round().astype(np.uint8))
    return made


def write_wav(path: Path, samples: Floats, rate: int) -> None:
    """16-bit mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.round(samples * 32767).astype(np.int16))


def write_image(path: Path, pixels: Pixels) -> None:
    """PNG or JPEG by the ending, with a comment that it is synthetic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"format": "JPEG", "quality": 92, "comment": COMMENT.encode()}
    if path.suffix == ".png":
        note = PngInfo()
        note.add_text("Comment", COMMENT)
        options = {"format": "PNG", "pnginfo": note}
    Image.fromarray(pixels).save(path, **options)
