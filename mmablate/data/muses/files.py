"""The image files of MUSES: frames, labels, and sensors already projected to the RGB plane.

Every kind of file has a look at its header, which is fast, and a reading of its values; both raise a
`FileFault` for whatever a file may have wrong. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from PIL import Image

from mmablate.data.faults import FileFault
from mmablate.data.muses.classes import N_CLASSES, VOID
from mmablate.data.muses.png import MAX_PIXELS, PALETTE, decode_png, read_png_header
from mmablate.data.muses.projection import MAX_COUNT
from mmablate.data.untrusted import BROKEN, reason

Size = tuple[int, int]
SCALE, SHIFT = 150.0, 100.0
"""A 16-bit PNG of the dataset's tool holds (value + SHIFT) * SCALE, rounded down."""
MAX_ITEM = 8  # bytes of a number in an array file
LABEL_LUT = np.array([k < N_CLASSES or k == VOID for k in range(256)])


def _png(path: Path, what: str, depth: int, colours: tuple[int, ...], wanted: str) -> Size:
    try:
        header = read_png_header(path)
    except BROKEN as error:
        raise FileFault(path, f"expected {what} as PNG, found {reason(error)}", f"{what} unreadable") from error
    if header.depth != depth or header.colour not in colours:
        lost = ", which has lost the low byte" if header.depth < depth else ""
        raise FileFault(path, f"expected {what} as {wanted}, found {header.kind} PNG{lost}", f"{what} depth")
    return header.height, header.width


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
            raise FileFault(path, f"expected a frame as PNG, found {reason(error)}", "a frame unreadable") from error


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Train ids, (H, W) uint8: 0-18, and 255 for void, which stays void. Raises FileFault."""
    label_size(path)
    with _pillow(path, "train ids") as image:
        try:
            labels = np.array(image)
        except BROKEN as error:
            raise FileFault(
                path, f"expected train ids as PNG, found {reason(error)}", "train ids unreadable"
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
        raise FileFault(path, f"expected {what} as PNG, found {reason(error)}", f"{what} unreadable") from error


def projected_size(path: Path, modality: str) -> Size:
    """Height and width of a projected sensor, "E" or "L", by the header. Raises FileFault."""
    what = _projected(modality)
    if path.suffix == ".png":
        depth = 16 if modality == "L" else 8
        return _png(path, what, depth, (2,), f"{depth}-bit RGB PNG")
    try:
        with _npy(path) as stream:
            shape, dtype = _npy_header(stream)
    except BROKEN as error:
        raise FileFault(path, f"expected {what}, found {reason(error)}", f"{what} unreadable") from error
    kinds = "f" if modality == "L" else "fiu"
    sound = len(shape) == 3 and shape[2] == 3 and min(shape) > 0 and shape[0] * shape[1] <= MAX_PIXELS
    if not sound or dtype.kind not in kinds or dtype.itemsize > MAX_ITEM:
        wanted = "(H, W, 3) of floats" if modality == "L" else "(H, W, 3) of counts"
        raise FileFault(path, f"expected {what} {wanted}, found {shape} of {dtype}", f"{what} shape")
    return shape[0], shape[1]


@contextlib.contextmanager
def _npy(path: Path) -> Iterator[IO[bytes]]:
    """The array file itself, or the one of an archive; raises one of `BROKEN`.

    The member is asked for by its full name: numpy would take another one, "arr_0", in its stead.
    """
    if path.suffix != ".npz":
        with path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("arr_0.npy").compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("a compression that numpy does not write")
        with archive.open("arr_0.npy") as stream:
            yield stream


def _projected(modality: str) -> str:
    return "projected LiDAR" if modality == "L" else "projected events"


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    if version != (1, 0):  # later ones have room for headers of 4 GiB, which are read whole
        raise ValueError(f"an array file of version {version}")
    shape, _, dtype = npy_format.read_array_header_1_0(stream)
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
        with _npy(path) as stream:
            return np.asarray(npy_format.read_array(stream, allow_pickle=False))
    except BROKEN as error:
        raise FileFault(path, f"expected {what}, found {reason(error)}", f"{what} unreadable") from error


def read_projected_lidar(path: Path) -> NDArray[np.float32]:
    """Range (m), intensity and sensor-frame z (m), (H, W, 3); 0 where there is no return. Raises FileFault.

    Two signs tell another order of the channels than the tool's. A return is no nearer than its height over
    the sensor: where most are, z stands elsewhere. And ranges are no whole numbers, but intensities are in
    many files: where most first channels are whole and few second ones, the two are swapped. Swapped
    intensities that are fractions, or range and z alone swapped above the sensor, are not noticed.
    """
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as such
        values = _projected_values(path, "L").astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise FileFault(path, "expected finite numbers, found NaN or infinite ones", "projected LiDAR not finite")
    returns = values[(values != 0).any(axis=-1)]
    if len(returns) and (_too_near(returns) or _swapped(returns)):
        raise FileFault(
            path, "expected range, intensity, z, found another order of channels", "projected LiDAR channel order"
        )
    return np.where(values[..., :1] > 0, values, np.float32(0))


def _too_near(returns: NDArray[np.float32]) -> bool:
    """Whether most returns (N, 3) are higher over the sensor than away from it; by half a metre, as z is rounded."""
    return bool(np.mean(returns[:, 0] + 0.5 < np.abs(returns[:, 2])) > 0.5)


def _swapped(returns: NDArray[np.float32]) -> bool:
    """Whether the first channel (N, 3) holds whole numbers and the second does not.

    A 16-bit file has steps of 1/150, so of its ranges one in 150 is whole by chance.
    """
    whole = (np.abs(returns[:, :2] - np.rint(returns[:, :2])) < 1e-3).mean(axis=0)
    return bool(whole[0] > 0.9 and whole[1] < 0.5)


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
