"""Image files as arrays, without a bit lost: PNG, TIFF, JPEG and BMP by Pillow, and .npy.

Pillow reads some files with less than they hold and says nothing: PNG and TIFF of several 16-bit channels
come as 8 bits, TIFF of more than four channels as four. Such files are refused here by their headers.
Orientation tags are not applied: an image and its label must lie the same way in their files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".npy")
FORMATS = ("PNG", "TIFF", "JPEG", "BMP")
MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "I", "F")  # and those of 16 bits
REAL_KINDS = "fiub"
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 258, 262, 277  # tags of TIFF
WHITE_IS_ZERO = 0

Form = Literal["input", "ids", "colours"]
Kind = Literal["8-bit", "16-bit", "other"]
RESIZES = ("bilinear", "nearest")


class Header(NamedTuple):
    """What a file says of itself before its pixels are read.

    Attributes:
        height, width: in pixels.
        bands: channels of the array.
        alpha: whether the last one is transparency.
        kind: of the values.
        lossy: JPEG, whose values are not those that were written.
    """

    height: int
    width: int
    bands: int
    alpha: bool
    kind: Kind
    lossy: bool

    @property
    def usual(self) -> int:
        """Number of channels that are used where none are named: all but transparency."""
        return self.bands - self.alpha


class UnreadableImage(ValueError):
    """A file that is no image of use; the message says what was expected and what was found."""


@contextmanager
def _told() -> Iterator[None]:
    """Turns whatever a decoder raises on a damaged file into one message.

    Decoders of untrusted bytes raise errors of many types (SyntaxError, struct.error, IndexError, ...), so
    that any list of them would be incomplete.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnreadableImage:
        raise
    except Exception as fault:
        detail = (str(fault) or type(fault).__name__).splitlines()[0]
        if isinstance(fault, OSError) and fault.strerror:
            detail = fault.strerror
        raise UnreadableImage(f"expected a readable image, found: {detail}") from None


def read_header(path: Path, form: Form = "input") -> Header:
    """The header of a file, read for one of three uses.

    Args:
        path: a file with one of `SUFFIXES`.
        form: "input": values as they are, palettes as RGB; "ids": numbers, palettes as indices; "colours": RGB.

    Raises:
        UnreadableImage: no image, or one that cannot be read in full.
    """
    with _told():
        if path.suffix.lower() == ".npy":
            return _array_header(_load_array(path))
        with Image.open(path, formats=FORMATS) as image:
            return _image_header(path, image, form)


def read_pixels(path: Path, form: Form = "input") -> np.ndarray:
    """The values of a file, (H, W, C): uint8, uint16, or another real dtype; see `read_header`."""
    with _told():
        if path.suffix.lower() == ".npy":
            values = np.array(_load_array(path))
        else:
            with Image.open(path, formats=FORMATS) as image:
                header = _image_header(path, image, form)
                values = _image_values(path, image, form, header)
    return values[..., None] if values.ndim == 2 else values


def read_comment(path: Path) -> str:
    """The comment of a PNG or JPEG, "" where it has none; raises UnreadableImage as `read_header` does."""
    with _told(), Image.open(path, formats=("PNG", "JPEG")) as image:
        told = image.info.get("Comment", image.info.get("comment", ""))
        return told.decode("latin-1") if isinstance(told, bytes) else str(told)


def _load_array(path: Path) -> np.ndarray:
    values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.dtype.kind not in REAL_KINDS:
        raise UnreadableImage(f"expected real numbers, found dtype {values.dtype}")
    if values.ndim not in (2, 3) or min(values.shape) < 1:
        raise UnreadableImage(f"expected an array (H, W) or (H, W, C), found shape {values.shape}")
    return values


def _array_header(values: np.ndarray) -> Header:
    kinds: dict[str, Kind] = {"uint8": "8-bit", "uint16": "16-bit"}
    height, width, bands = (*values.shape, 1)[:3]
    return Header(height, width, bands, False, kinds.get(values.dtype.name, "other"), False)


def _png_depth(path: Path) -> tuple[int, bool]:
    """Bits of a channel, and whether the image is plain gray, from a PNG's first chunk."""
    with path.open("rb") as file:
        start = file.read(26)
    return start[24], start[25] == 0


def _depth(path: Path, image: Image.Image) -> tuple[int, bool]:
    """Bits of a channel in the file, and whether the image is plain gray."""
    if image.format == "PNG":
        return _png_depth(path)
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return 8, False
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnreadableImage(f"expected a TIFF of one page, found {frames}")
    samples = int(tags.get(SAMPLES_PER_PIXEL, 1))
    if samples > len(image.getbands()):
        raise UnreadableImage(
            f"expected a TIFF of up to 4 channels (gray, RGB or RGBA), found {samples}; save it as .npy (H, W, C)"
        )
    return max(tags.get(BITS_PER_SAMPLE, (8,))), samples == 1


def _image_header(path: Path, image: Image.Image, form: Form) -> Header:
    bits, _ = _depth(path, image)
    wide = image.mode.startswith("I;16")
    if image.mode not in MODES and not wide:
        raise UnreadableImage(f"expected gray, palette, RGB or RGBA, found an image of mode {image.mode}")
    if bits > 8 and image.mode in ("L", "P", "LA", "RGB", "RGBA"):
        wanted = "8 bits a channel where there are several"
        raise UnreadableImage(f"expected {wanted}, found {bits}; save it as .npy (H, W, C)")
    if form == "ids" and _inverted(image):
        raise UnreadableImage("expected numbers as they are, found a TIFF that stores them inverted (white is zero)")
    kind: Kind = "8-bit"
    if wide or (image.mode == "I" and bits == 16 and image.format == "PNG"):
        kind = "16-bit"
    elif image.mode in ("I", "F"):
        kind = "other"
    bands = len(image.getbands())
    if form == "colours" or (form == "input" and image.mode == "P"):
        bands = 3
        alpha = False
    else:
        alpha = image.mode in ("LA", "RGBA")
    if form == "colours" and kind != "8-bit":
        raise UnreadableImage(f"expected colours of 8 bits a channel, found gray of mode {image.mode}")
    return Header(image.height, image.width, bands, alpha, kind, image.format == "JPEG")


def _inverted(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None)
    return image.format == "TIFF" and tags is not None and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _image_values(path: Path, image: Image.Image, form: Form, header: Header) -> np.ndarray:
    if form == "colours" or (form == "input" and image.mode == "P"):
        return np.array(image.convert("RGB"))
    values = np.array(image)
    if image.mode == "1":
        return values.astype(np.uint8) * (1 if form == "ids" else 255)
    if header.kind == "16-bit":
        return values.astype(np.uint16)
    bits, gray = _depth(path, image)
    if form == "ids" and gray and bits in (2, 4) and image.mode == "L":
        return values // np.uint8(255 // (2**bits - 1))  # Pillow stretches them to 0-255
    return values


def resize_image(values: np.ndarray, size: Sequence[int], way: str = "bilinear") -> np.ndarray:
    """Values (H, W, C) at another height and width.

    Args:
        values: of any real type.
        size: height and width.
        way: "bilinear", the filter widened where it shrinks; 8-bit values stay 8-bit, others become float32. Or
            "nearest", as labels: for sparse values, which must not be mixed with the nothing around them.
    """
    height, width = size
    if values.shape[:2] == (height, width):
        return values
    if way == "nearest":
        return resize_labels(values, size)
    mode = "L" if values.dtype == np.uint8 else "F"
    planes = np.moveaxis(values, -1, 0) if mode == "L" else np.moveaxis(values, -1, 0).astype(np.float32)
    resized = [
        Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR)
        for plane in planes
    ]
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


def resize_labels(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Labels (H, W), or values (H, W, C), at another height and width, each pixel the nearest one's."""
    height, width = size
    if labels.shape[:2] == (height, width):
        return labels
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    return labels[rows[:, None], columns]
