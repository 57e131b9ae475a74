"""Class maps and pictures as PNG in data URIs: palettes, so that a page with many of them stays small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

LARGEST = 256
"""Longest side of a picture on a page, in pixels."""
LONGEST = 1024
"""The same of a picture much wider than high, such as a range image."""

_VOID, _HATCH = (0, 0, 0), (92, 92, 96)
_RIGHT, _WRONG = (226, 228, 231), (214, 48, 36)
_SHADES = 96  # colours of a photograph on a page

Colour = tuple[int, int, int]


def step(shape: tuple[int, int]) -> int:
    """Every how many pixels are kept of a picture (h, w), so that it is not larger than the page needs."""
    height, width = shape
    largest = LONGEST if width > 4 * height else LARGEST
    return max(1, -(-max(height, width) // largest))


def picture_uri(picture: np.ndarray) -> str:
    """An RGB picture, uint8 (h, w, 3); a large one is averaged down by whole factors."""
    k = step(picture.shape[:2])
    image = Image.fromarray(np.ascontiguousarray(picture))
    if k > 1:
        image = image.reduce(k)
    return _uri(image.quantize(_SHADES, dither=Image.Dither.NONE))


def cells_uri(pixels: np.ndarray) -> str:
    """A picture of few pixels that lets the page show through, uint8 RGBA (h, w, 4), as it is."""
    return _uri(Image.fromarray(np.ascontiguousarray(pixels)))


def classes_uri(classes: np.ndarray, colours: Sequence[Colour], void: np.ndarray) -> str:
    """A class map (h, w) in the colours of its classes; void pixels are black and hatched.

    Args:
        classes: integers; a class without a colour is void, too.
        void: bool (h, w).
    """
    k = step(classes.shape)
    classes, hidden = classes[::k, ::k], void[::k, ::k]
    unknown = hidden | (classes < 0) | (classes >= min(len(colours), 254))
    return _indexed(np.where(unknown, 0, classes), colours[:254], unknown)


def errors_uri(classes: np.ndarray, labels: np.ndarray, void: np.ndarray) -> str:
    """Where a class map (h, w) differs from the labels: wrong pixels red, right ones pale, void ones hatched."""
    k = step(classes.shape)
    wrong = (classes != labels)[::k, ::k]
    return _indexed(wrong.astype(np.int64), (_RIGHT, _WRONG), void[::k, ::k])


def _indexed(values: np.ndarray, colours: Sequence[Colour], void: np.ndarray) -> str:
    """Palette indices with the two colours of the hatch behind those of the values."""
    rows, columns = np.indices(values.shape)
    hatch = (rows + columns) % 5 == 0
    shown = np.where(void, len(colours) + hatch, values).astype(np.uint8)
    image = Image.fromarray(shown)
    image.putpalette([channel for colour in (*colours, _VOID, _HATCH) for channel in colour])
    return _uri(image)


def _uri(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
