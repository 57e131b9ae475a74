"""Heat colours made legible: text contrast of WCAG AA on every colour, in a light and a dark theme.

A cell's `heat` is one colour chosen for a light page. The dark theme keeps its hue and sets it dark; a cell
whose Δ is not significant keeps only a breath of it.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from typing import NamedTuple

from mmablate.analysis.table import Table

AA = 4.5
INK = "#17171a"
DARK_INK = "#f4f4f5"
PAGE = "#ffffff"
DARK_PAGE = "#141416"

_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
# (lightness, saturation) of the four steps on a dark page, weakest first
_DARK_STEPS = ((0.17, 0.45), (0.23, 0.50), (0.31, 0.60), (0.40, 0.85))


class HeatStyle(NamedTuple):
    """Backgrounds and text colours of one heat colour."""

    background: str
    ink: str
    pale: str
    dark_background: str
    dark_pale: str


def is_colour(text: str | None) -> bool:
    """True for "#RRGGBB" and nothing else: anything else never reaches a style sheet."""
    return text is not None and _HEX.fullmatch(text) is not None


def _channels(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255


def _hex(red: float, green: float, blue: float) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in (red, green, blue))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio as WCAG defines it, 1 to 21."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def ink_on(background: str) -> str:
    """The gentlest text colour that is legible on the background; black or white always is."""
    inks = (INK, PAGE, "#000000")
    return next(
        (ink for ink in inks if contrast(ink, background) >= AA),
        max(inks, key=lambda i: contrast(i, background)),
    )


def _with(colour: str, lightness: float, saturation: float) -> str:
    """The colour's hue at another lightness and at most that saturation; grey stays grey."""
    hue, _, own = colorsys.rgb_to_hls(*_channels(colour))
    return _hex(*colorsys.hls_to_rgb(hue, lightness, min(own, saturation)))


def heat_style(heat: str, step: int) -> HeatStyle:
    """Both themes of a heat colour.

    Args:
        heat: "#RRGGBB".
        step: 0 (weakest) to 3.
    """
    lightness, saturation = _DARK_STEPS[min(max(step, 0), 3)]
    dark = _with(heat, lightness, saturation)
    while contrast(DARK_INK, dark) < AA:
        lightness -= 0.01
        dark = _with(heat, lightness, saturation)
    return HeatStyle(heat.lower(), ink_on(heat), _with(heat, 0.965, 0.9), dark, _with(heat, 0.13, 0.3))


def heat_styles(tables: Sequence[Table]) -> dict[str, HeatStyle]:
    """Every heat colour of the tables' cells and scales, keyed by the colour as written.

    A colour has one style on a page: its step in a scale wins over a cell of a table without scales.
    """
    scales = [scale for table in tables for scale in table.heat_scales]
    steps = {c: i for scale in scales for side in (scale.gain, scale.loss) for i, c in enumerate(side)}
    rows = [row for table in tables for row in table.rows]
    cells = {cell.heat: 2 for row in rows for cell in row.cells.values() if cell.heat is not None}
    return {c: heat_style(c, step) for c, step in sorted((cells | steps).items()) if is_colour(c)}
