"""The image files of MUSES: frames, labels, and sensors already projected to the RGB plane.

Every kind of file has a look at its header, which is fast, and a reading of its values; both raise a
`FileFault` for whatever a file may have wrong. Nothing is unpickled.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from PIL import Image

from mmablate.data.muses.classes import N_CLASSES, VOID
from mmablate.data.muses.faults import FileFault
from mmablate.data.muses.png import MAX_PIXELS, PALETTE, decode_png, read_png_header
from mmablate.data.muses.projection import MAX_COUNT

Size = tuple[int, int]
SCALE, SHIFT = 150.0, 100.0
"""A 16-bit PNG of the dataset's tool holds (value + SHIFT) * SCALE, rounded down."""
LABEL_LUT = np.array([k < N_CLASSES or k == VOID for k in range(256)])
# What decoders raise on damaged bytes; numpy parses an array's header as Python source, hence the tokeniser's error.
BROKEN = (
    OSError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError,
    MemoryError, SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error, NotImplementedError,
)  # fmt: skip


def _png(path: Path, what: str, depth: int, colours: tuple[int, ...], wanted: str) -> Size:
    try:
        header = read_png_header(path)
    except (OSError, ValueError) as error:
        raise FileFault(path, f"expected {what} as PNG, found {_reason(error)}", f"{what} unreadable") from error
    if header.depth != depth or header.colour not in colours:
        lost = ", which has lost the low byte" if header.depth < depth else ""
        raise FileFault(path, f"expected {what} as {wanted}, found {header.kind} PNG{lost}", f"{what} depth")
    return header.height, header.width


def _reason(error: BaseException) -> str:
    """Why a file could not be read, without its path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def frame_size(path: Path) -> Size:
    """Height and width of a frame. Raises FileFault unless it is an RGB PNG of 8 bits a channel."""
    return _png(path, "a frame", 8, (2,), "8-bit RGB PNG")


def label_size(path: Path) -> Size:
    """Height and width of a label image. Raises FileFault unless it is a PNG of one 8-bit channel."""
    return _png(path, "train ids", 8, (0, PALETTE), "8-bit PNG of one channel")


def read_frame(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """A frame, (H, W, 3) uint8 RGB, brought to `size` bilinearly. Raises FileFault."""
    frame_size(path)
    with _pillow(path, "a frame") as image:
        try:
            if size is not None and (image.height, image.width) != size:
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            return np.array(image)
        except BROKEN as error:
            raise FileFault(path, f"expected a frame as PNG, found {_reason(error)}", "a frame unreadable") from error


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Train ids, (H, W) uint8: 0-18, and 255 for void, which stays void. Raises FileFault."""
    label_size(path)
    with _pillow(path, "train ids") as image:
        try:
            labels = np.array(image)
        except BROKEN as error:
            raise FileFault(
                path, f"expected train ids as PNG, found {_reason(error)}", "train ids unreadable"
            ) from error
    if not LABEL_LUT[labels].all():
        wrong = np.unique(labels[~LABEL_LUT[labels]])
        found = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        wanted = f"train ids 0-{N_CLASSES - 1} and {VOID}"
        raise FileFault(path, f"expected {wanted}, found {found}", "train ids out of range")
    return labels


def _pillow(path: Path, what: str) -> Image.Image:
    try:
        return Image.open(path)
    except BROKEN as error:
        raise FileFault(path, f"expected {what} as PNG, found {_reason(error)}", f"{what} unreadable") from error


def projected_size(path: Path, modality: str) -> Size:
    """Height and width of a projected sensor, "E" or "L", by the header. Raises FileFault."""
    what = _projected(modality)
    if path.suffix == ".png":
        depth = 16 if modality == "L" else 8
        return _png(path, what, depth, (2,), f"{depth}-bit RGB PNG")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as stream:
                shape, dtype = _npy_header(stream)
        else:
            with path.open("rb") as stream:
                shape, dtype = _npy_header(stream)
    except BROKEN as error:
        raise FileFault(path, f"expected {what}, found {_reason(error)}", f"{what} unreadable") from error
    kinds = "f" if modality == "L" else "fiu"
    if len(shape) != 3 or shape[2] != 3 or dtype.kind not in kinds or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        wanted = "(H, W, 3) of floats" if modality == "L" else "(H, W, 3) of counts"
        raise FileFault(path, f"expected {what} {wanted}, found {shape} of {dtype}", f"{what} shape")
    return shape[0], shape[1]


def _projected(modality: str) -> str:
    return "projected LiDAR" if modality == "L" else "projected events"


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array file of version {version}")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _projected_values(path: Path, modality: str) -> np.ndarray:
    """What a projected file holds, (H, W, 3) in the order of the dataset's tool.

    The tool hands its arrays to cv2.imwrite, which takes the first channel for blue: in the PNG file the
    channels stand in the opposite order, and are turned round here.
    """
    projected_size(path, modality)
    what = _projected(modality)
    try:
        if path.suffix == ".png":
            values = decode_png(path.read_bytes())[..., ::-1]
            return values if modality == "E" else (values / SCALE - SHIFT).astype(np.float32)
        loaded = np.load(path, allow_pickle=False)
        if path.suffix != ".npz":
            return np.asarray(loaded)
        with loaded:
            return np.asarray(loaded["arr_0"])
    except BROKEN as error:
        raise FileFault(path, f"expected {what}, found {_reason(error)}", f"{what} unreadable") from error


def read_projected_lidar(path: Path) -> NDArray[np.float32]:
    """Range (m), intensity and sensor-frame z (m), (H, W, 3); 0 where there is no return. Raises FileFault.

    A return is no nearer than its height over the sensor; where most of them are, the channels stand in
    another order than the tool's.
    """
    values = _projected_values(path, "L").astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise FileFault(path, "expected finite numbers, found NaN or infinite ones", "projected LiDAR not finite")
    returns = values[(values != 0).any(axis=-1)]
    if len(returns) and np.mean(returns[:, 0] + 0.5 < np.abs(returns[:, 2])) > 0.5:
        raise FileFault(
            path, "expected range, intensity, z, found another order of channels", "projected LiDAR channel order"
        )
    return np.where(values[..., :1] > 0, values, np.float32(0))


def read_projected_events(path: Path) -> NDArray[np.uint16]:
    """Counts of positive and of negative events, (H, W, 2); the third channel must be 0. Raises FileFault."""
    values = _projected_values(path, "E")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise FileFault(path, "expected counts, found NaN or infinite ones", "projected events not counts")
    if values.min() < 0 or values.max() > MAX_COUNT or not np.array_equal(values, np.rint(values)):
        raise FileFault(path, f"expected counts 0-{MAX_COUNT}, found other numbers", "projected events not counts")
    if values[..., 2].any():
        raise FileFault(
            path,
            "expected positive, negative, 0, found a third channel that is not 0",
            "projected events channel order",
        )
    return values[..., :2].astype(np.uint16)
