"""The pictures of a contact sheet: each stands in the page once, however many rows show it, as a class of its style."""

from __future__ import annotations

from typing import NamedTuple

from mmablate.report import labels
from mmablate.report.scenes import display_width

MOST_BYTES = 16_000_000
"""Of all pictures of a sheet; further ones are left out, and the page says so."""


class SheetPicture(NamedTuple):
    """A picture as printed.

    Attributes:
        name: below it.
        style: CSS class that holds it.
        width: on the page, in CSS pixels.
        ratio: width / height, for CSS.
        wide: it takes a line of its own on a narrow screen.
        crisp: its pixels are larger than the page's and stay sharp.
        alt: what it shows.
    """

    name: str
    style: str
    width: int
    ratio: str
    wide: bool
    crisp: bool
    alt: str


class SheetPictures:
    """Collects pictures.

    Attributes:
        n_left_out: pictures for which there was no room.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = most_bytes
        self._classes: dict[str, str] = {}
        self.n_left_out = 0

    def add(self, name: str, uri: str, shape: tuple[int, int], room: int, alt: str) -> SheetPicture | None:
        """A picture (h, w) in a square of side `room`; None where the page has no room left."""
        if uri not in self._classes:
            if len(uri) > self._room:
                self.n_left_out += 1
                return None
            self._room -= len(uri)
            self._classes[uri] = f"p{len(self._classes)}"
        width, crisp = display_width(shape, room)
        height, columns = shape
        return SheetPicture(
            labels.clean(name), self._classes[uri], width, f"{columns} / {height}", columns > 4 * height, crisp,
            labels.clean(alt),
        )  # fmt: skip

    @property
    def styles(self) -> list[tuple[str, str]]:
        """(class, data URI) of every picture."""
        return [(name, uri) for uri, name in self._classes.items()]
