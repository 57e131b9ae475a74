"""Image files of one modality as samples, all of one size and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.clips import MediaReader, Scaled, measured
from mmablate.data.faults import FileFault
from mmablate.data.image_folder.images import Header, Kind, UnreadableImage, read_header, read_pixels, resize_image
from mmablate.data.image_folder.splits import IMAGENET_MEAN, IMAGENET_STD, LARGEST
from mmablate.data.pictures import to_rgb

Size = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """Reads image files, and arrays (H, W) or (H, W, C) in .npy files.

    Attributes:
        size: height and width of a sample.
        channels: which of a file's; transparency is not among the first `bands`.
        bands: channels of every file but transparency.
        kind: of every file's values.
        way: how files of another size are resized, "bilinear" or "nearest"; None refuses them.
    """

    size: Size
    channels: tuple[int, ...]
    bands: int
    kind: Kind
    way: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return len(self.channels), *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """Values as they are in the file, float32 (C, H, W). Raises FileFault."""
        values = self._values(path).astype(np.float32)
        if not np.isfinite(values).all():
            raise FileFault(path, "expected finite numbers, found NaN or infinity", "numbers that are not finite")
        return np.ascontiguousarray(np.moveaxis(values, -1, 0))

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The sample for people: colours as they are, anything else by its contrast."""
        values = self._values(path)
        if values.dtype == np.uint8 and values.shape[-1] in (1, 3):
            return np.array(np.broadcast_to(values, (*values.shape[:2], 3)))
        exact = np.moveaxis(values.astype(np.float64), -1, 0)
        return to_rgb((exact - exact.mean()) / (exact.std() or 1.0))

    def _values(self, path: Path) -> np.ndarray:
        """(H, W, C) of this size and these channels. Raises FileFault."""
        try:
            header = read_header(path)
            found = (header.usual, header.kind, (header.height, header.width))
            wanted = (self.bands, self.kind, found[2] if self.way else self.size)
            if found != wanted:
                raise FileFault(
                    path, f"expected {_told(*wanted)} as of the others, found {_told(*found)}", "unlike files"
                )
            values = read_pixels(path)[..., list(self.channels)]
        except UnreadableImage as error:
            raise FileFault(path, str(error), "unreadable images") from None
        return resize_image(values, self.size, self.way) if self.way else values


def _told(bands: int, kind: str, size: Size) -> str:
    values = {"8-bit": "8-bit values", "16-bit": "16-bit values"}.get(kind, "numbers")
    return f"{bands} channel{'s' if bands > 1 else ''} of {values}, {size[0]} x {size[1]}"


def picture_reader(
    name: str,
    paths: Sequence[Path],
    *,
    size: Size | None = None,
    way: str = "bilinear",
    channels: Sequence[int] | None = None,
) -> Picture:
    """The reader of a modality, by the first of its files that can be read.

    Args:
        name: of the modality, for the message.
        paths: of its files.
        size: height and width that images are brought to; None: that of the first, which all must have.
        way: "bilinear" or "nearest".
        channels: which; None for all but transparency.

    Raises:
        FileFault: no file can be read, or channels that it does not have.
    """
    header = first_header(paths)
    chosen = tuple(range(header.usual)) if channels is None else tuple(channels)
    if max(chosen) >= header.bands:
        text = f"expected channels {list(chosen)} of {name}, found {header.bands} channels"
        raise FileFault(paths[0], text, "channels that are not there")
    own = (header.height, header.width)
    return Picture(size or own, chosen, header.usual, header.kind, None if size is None else way)


def first_header(paths: Sequence[Path]) -> Header:
    """Of the first file that can be read. Raises FileFault of the first file where there is none."""
    failed: FileFault | None = None
    for path in paths:
        try:
            return read_header(path)
        except UnreadableImage as error:
            failed = failed or FileFault(path, str(error), "unreadable images")
    assert failed is not None
    raise failed


def scaled(reader: Picture, way: str, train: Sequence[Path]) -> MediaReader:
    """The reader brought to the range of a network.

    Args:
        reader: of the values as they are.
        way: "standard": mean 0, deviation 1 over the training files; "unit": 8-bit values / 255, 16-bit values /
            65535, others as they are; "imagenet": unit and then, of three such channels, ImageNet's mean and
            deviation; "none": as in the files.
        train: training files.

    Raises:
        FileFault: one of them.
    """
    if way == "standard":
        return measured(reader, train)
    largest, n = LARGEST[reader.kind], len(reader.channels)
    if way == "imagenet" and n == 3 and reader.kind != "other":
        return Scaled(
            reader, tuple(largest * mean for mean in IMAGENET_MEAN), tuple(largest * std for std in IMAGENET_STD)
        )
    return reader if way == "none" else Scaled(reader, (0.0,) * n, (largest,) * n)
