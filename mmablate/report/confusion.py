"""Confusion matrices small enough to stand side by side: shares of each true class, right ones blue, wrong orange."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from mmablate.report import labels

MOST_DRAWN = 20
"""Classes up to which a matrix is drawn cell by cell, with names and hover texts; larger ones are pictures."""
MOST_NUMBERED = 12
"""Classes up to which the cells carry their percentages."""

RIGHT, WRONG = (59, 130, 196), (221, 106, 31)
_CELL, _LONGEST, _LETTER = 25, 14, 6.2


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts (K, K) over the sum of their row, 0-1; a class without a sample has zeros."""
    sizes = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(sizes, 1))


def matrix_svg(counts: np.ndarray, class_names: Sequence[str], title: str) -> Markup:
    """The matrix as SVG in the colours of the page; rows are true classes, columns predicted ones.

    Args:
        counts: int (K, K), K at most `MOST_DRAWN`.
        class_names: K.
        title: what it shows, in plain text.
    """
    k = len(counts)
    names = [_short(name) for name in class_names]
    cell = _CELL if k > 4 else _CELL + 10
    margin = 10 + round(_LETTER * max(map(len, names), default=0))
    side = k * cell
    parts = [
        f'<svg viewBox="0 0 {margin + side + 2} {side + margin + 2}" role="img" aria-label="{escape(title)}" '
        f'style="width: {margin + side + 2}px">'
    ]
    known = shares(counts)
    for row in range(k):
        y = row * cell
        parts.append(f'<text class="side" x="{margin - 5}" y="{y + cell / 2 + 4:g}">{escape(names[row])}</text>')
        parts += [_cell(counts, known, class_names, (row, column), (margin, cell)) for column in range(k)]
    for column in range(k):
        x, y = margin + column * cell + cell / 2 + 4, side + 8
        text = escape(names[column])
        parts.append(f'<text class="side" x="{x:g}" y="{y}" transform="rotate(-90 {x:g} {y})">{text}</text>')
    parts.append(f'<rect class="frame" x="{margin}" y="0.5" width="{side}" height="{side}"/></svg>')
    return Markup("".join(parts))


def _cell(
    counts: np.ndarray, known: np.ndarray, class_names: Sequence[str], place: tuple[int, int], room: tuple[int, int]
) -> str:
    row, column = place
    margin, cell = room
    x, y, count, share = margin + column * cell, row * cell, int(counts[place]), float(known[place])
    if not count:
        return ""
    true, said = (escape(labels.clean(class_names[i])) for i in place)
    kind = "right" if row == column else "wrong"
    # A single error among many is to be seen, too.
    opacity = 0.12 + 0.78 * share
    told = f"{true}, predicted {said}: {count:,} of {int(counts[row].sum()):,} ({_percent(share)} %)"
    number = ""
    if len(counts) <= MOST_NUMBERED:
        strong = ' class="strong"' if opacity > 0.5 else ""
        number = f'<text{strong} x="{x + cell / 2:g}" y="{y + cell / 2 + 3.5:g}">{_percent(share)}</text>'
    rect = f'<rect class="{kind}" x="{x}" y="{y + 0.5:g}" width="{cell}" height="{cell}" fill-opacity="{opacity:.3f}"/>'
    return f"<g><title>{told}</title>{rect}{number}</g>"


def _percent(share: float) -> str:
    value = 100 * share
    return "<1" if 0 < value < 0.5 else f"{value:.0f}"


def _short(name: str) -> str:
    text = labels.clean(name)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def matrix_pixels(counts: np.ndarray) -> np.ndarray:
    """The matrix as a picture with one pixel a cell, uint8 RGBA (K, K, 4), for a page of any colour."""
    known = shares(counts)
    k = len(counts)
    pixels = np.zeros((k, k, 4), dtype=np.uint8)
    pixels[..., :3] = WRONG
    pixels[np.arange(k), np.arange(k), :3] = RIGHT
    # The root: what is rare, as most errors among many classes are, is seen too.
    pixels[..., 3] = np.where(counts > 0, np.round(255 * (0.25 + 0.75 * np.sqrt(known))), 0)
    return pixels
