"""Colours as HTML and LaTeX write them, and what a reader sees: warm, cold, green, or nothing."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from typing import Literal

Hue = Literal["warm", "yellow", "green", "cold"]

# The names that tables use (CSS and xcolor with its dvipsnames); an unknown name is no colour.
NAMES = {
    "red": "#ff0000", "orange": "#ffa500", "yellow": "#ffff00", "green": "#008000", "lime": "#00ff00",
    "blue": "#0000ff", "cyan": "#00ffff", "teal": "#008080", "purple": "#800080", "violet": "#800080",
    "magenta": "#ff00ff", "pink": "#ffc0cb", "brown": "#a52a2a", "olive": "#808000", "navy": "#000080",
    "black": "#000000", "white": "#ffffff", "gray": "#808080", "grey": "#808080", "lightgray": "#d3d3d3",
    "lightgrey": "#d3d3d3", "darkgray": "#a9a9a9", "darkgrey": "#a9a9a9", "silver": "#c0c0c0", "maroon": "#800000",
    "darkred": "#8b0000", "crimson": "#dc143c", "tomato": "#ff6347", "orangered": "#ff4500", "coral": "#ff7f50",
    "salmon": "#fa8072", "lightsalmon": "#ffa07a", "darksalmon": "#e9967a", "lightcoral": "#f08080",
    "indianred": "#cd5c5c", "firebrick": "#b22222", "darkorange": "#ff8c00", "gold": "#ffd700", "khaki": "#f0e68c",
    "moccasin": "#ffe4b5", "peachpuff": "#ffdab9", "mistyrose": "#ffe4e1", "wheat": "#f5deb3",
    "darkgreen": "#006400", "forestgreen": "#228b22", "seagreen": "#2e8b57", "limegreen": "#32cd32",
    "lightgreen": "#90ee90", "palegreen": "#98fb98", "springgreen": "#00ff7f", "mediumseagreen": "#3cb371",
    "lightblue": "#add8e6", "skyblue": "#87ceeb", "lightskyblue": "#87cefa", "deepskyblue": "#00bfff",
    "dodgerblue": "#1e90ff", "steelblue": "#4682b4", "royalblue": "#4169e1", "cornflowerblue": "#6495ed",
    "mediumblue": "#0000cd", "darkblue": "#00008b", "midnightblue": "#191970", "powderblue": "#b0e0e6",
    "lightcyan": "#e0ffff", "aliceblue": "#f0f8ff", "turquoise": "#40e0d0", "paleturquoise": "#afeeee",
    "cadetblue": "#5f9ea0", "lightsteelblue": "#b0c4de", "bluegreen": "#00b3b3", "cerulean": "#0080ff",
    "processblue": "#0af0f0", "brickred": "#b8211b", "burntorange": "#ff7d00", "bittersweet": "#c14b1d",
    "redorange": "#ff3b21", "yelloworange": "#ff9400", "goldenrod": "#ffe629", "pinegreen": "#00a087",
    "olivegreen": "#3c8031", "junglegreen": "#03ff7a", "emerald": "#00ff80", "tan": "#dba06b",
}  # fmt: skip

LARGEST = 1e6

_HEX = re.compile(r"#([0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})(?![0-9a-f])", re.IGNORECASE)
_FUNCTION = re.compile(r"(rgb|hsl)a?\(([^()]*)\)", re.IGNORECASE)


def _hex(red: float, green: float, blue: float) -> str:
    """#rrggbb of channels between 0 and 1."""
    return "#" + "".join(f"{round(255 * min(max(c, 0.0), 1.0)):02x}" for c in (red, green, blue))


def channels(colour: str) -> tuple[float, float, float]:
    """Channels of "#rrggbb", 0 to 1."""
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255


def _float(text: str) -> float | None:
    """A number of a size that colours have: neither NaN nor so large that arithmetic with it would overflow."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


def _floats(text: str, *, scale: float = 1.0) -> list[float]:
    """Numbers between commas or spaces; percentages are parts of one, others are divided by `scale`."""
    found = []
    for part in re.split(r"[\s,/]+", text.strip()):
        value = _float(part.removesuffix("%").removesuffix("deg"))
        if value is None:
            return []
        found.append(value / (100 if part.endswith("%") else scale))
    return found


def css_colour(text: str) -> str | None:
    """The colour in a CSS value such as "#FFD580", "rgb(255 0 0 / 40%)", "tomato !important"; None for no colour."""
    function = _FUNCTION.search(text)
    if function is not None:
        if function[1].lower() == "rgb":
            parts = _floats(function[2], scale=255)
            return _hex(*parts[:3]) if len(parts) >= 3 else None
        parts = _floats(function[2])
        return _hex(*colorsys.hls_to_rgb(parts[0] / 360 % 1, parts[2], parts[1])) if len(parts) >= 3 else None
    match = _HEX.search(text)
    if match is not None:
        digits = match[1].lower()
        return "#" + ("".join(2 * c for c in digits[:3]) if len(digits) <= 4 else digits[:6])
    for word in text.lower().split():
        if word in NAMES:
            return NAMES[word]
    return None


def model_colour(model: str, text: str) -> str | None:
    """A colour of an xcolor model: HTML, rgb, RGB, gray, cmyk, hsb."""
    if model.strip() == "HTML":
        return css_colour("#" + text.strip().lstrip("#"))
    parts = _floats(text, scale=255 if model.strip() == "RGB" else 1)
    kind = model.strip().lower()
    if kind == "rgb" and len(parts) == 3:
        return _hex(*parts)
    if kind == "gray" and len(parts) == 1:
        return _hex(*(3 * parts))
    if kind == "cmyk" and len(parts) == 4:
        return _hex(*((1 - min(1.0, c + parts[3])) for c in parts[:3]))
    if kind == "hsb" and len(parts) == 3:
        return _hex(*colorsys.hsv_to_rgb(*parts))
    return None


def mixed_colour(text: str, defined: Mapping[str, str]) -> str | None:
    """An xcolor expression: "red", "red!20", "red!20!blue", with names defined in the file; None if unknown."""
    parts = [part.strip() for part in text.split("!")]

    def named(name: str) -> str | None:
        return defined.get(name) or NAMES.get(name.lower()) or (css_colour(name) if name.startswith("#") else None)

    colour = named(parts[0])
    for index in range(1, len(parts), 2):
        other = named(parts[index + 1]) if index + 1 < len(parts) else "#ffffff"
        percent = _float(parts[index])
        if colour is None or other is None or percent is None:
            return None
        share = percent / 100
        colour = _hex(*(share * a + (1 - share) * b for a, b in zip(channels(colour), channels(other), strict=True)))
    return colour


def hue(colour: str | None) -> Hue | None:
    """What the colour says at a glance; None for white, grey, black, brown shadows and purple."""
    if colour is None:
        return None
    red, green, blue = channels(colour)
    spread = max(red, green, blue) - min(red, green, blue)
    if spread < 0.04:
        return None
    degrees = 360 * colorsys.rgb_to_hls(red, green, blue)[0]
    if degrees < 50 or degrees >= 335:
        return "warm"
    if degrees < 70:
        return "yellow"
    if degrees < 170:
        return "green"
    return "cold" if degrees < 262 else None
