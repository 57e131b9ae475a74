"""LiDAR points and events on the plane of the RGB camera; float64 throughout.

The published tool (github.com/timbroed/MUSES, processing/) is followed where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.faults import FileFault
from mmablate.data.muses.classes import IMAGE_SIZE
from mmablate.data.untrusted import BROKEN, read_json, reason

MAX_COUNT = np.iinfo(np.uint16).max
MOST_BYTES = 1 << 20
"""Of calib.json, which has a few hundred numbers."""
LARGEST = 1e9
"""Of the numbers of a matrix, in pixels or m: products of a few stay far from overflow."""
NEEDED = {
    "E": ((("intrinsics", "rgb", "K"), 3), (("intrinsics", "event", "K"), 3), (("extrinsics", "event2rgb"), 4)),
    "L": ((("intrinsics", "rgb", "K"), 3), (("extrinsics", "lidar2rgb"), 4)),
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calib.json says of the sensors asked for.

    Attributes:
        matrices: "rgb.K", "event.K" (3, 3), "lidar2rgb", "event2rgb" (4, 4), float64; those needed only.
    """

    matrices: dict[str, NDArray[np.float64]]

    def rgb(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Intrinsics of the RGB camera for images of (H, W); the file gives them for 1080 x 1920."""
        scale = np.array([[shape[1] / IMAGE_SIZE[1]], [shape[0] / IMAGE_SIZE[0]], [1.0]])
        return self.matrices["rgb.K"] * scale


def read_calibration(path: Path, modalities: Sequence[str]) -> tuple[Calibration, list[FileFault]]:
    """The matrices that the modalities need from calib.json, and all that is wrong with them."""
    needed = {keys: edge for modality in modalities for keys, edge in NEEDED.get(modality, ())}
    try:
        content = read_json(path, MOST_BYTES)
    except FileNotFoundError:
        return Calibration({}), [FileFault(path, "expected the calibration, found no file", "calib")]
    except BROKEN as error:
        return Calibration({}), [FileFault(path, f"expected JSON, found {reason(error)}", "calib")]
    matrices, faults = {}, []
    for keys, edge in needed.items():
        matrix = _matrix(content, keys)
        name = ".".join(keys)
        if matrix is None:
            faults.append(FileFault(path, f"expected {name} of {edge} x {edge} numbers, found none", "calib"))
        elif matrix.shape != (edge, edge) or not (np.abs(matrix) < LARGEST).all():  # False for NaN
            found = f"shape {matrix.shape}" if matrix.shape != (edge, edge) else "values that are not finite or larger"
            wanted = f"{name} of {edge} x {edge} finite numbers below {LARGEST:.0e}"
            faults.append(FileFault(path, f"expected {wanted}, found {found}", "calib"))
        elif abs(np.linalg.det(matrix)) < 1e-12:
            faults.append(FileFault(path, f"expected {name} to be invertible, found determinant 0", "calib"))
        else:
            matrices[".".join(keys[1:])] = matrix
    return Calibration(matrices), faults


def _matrix(content: Any, keys: Sequence[str]) -> NDArray[np.float64] | None:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return None
        content = content[key]
    try:
        return np.asarray(content, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def project_lidar(
    points: NDArray[np.float64], calibration: Calibration, shape: tuple[int, int], min_range: float
) -> NDArray[np.float32]:
    """LiDAR points as an image.

    uv = K (T [x, y, z, 1])_123 / Z with K scaled to the image; kept where 0 < u < W - 1 and 0 < v < H - 1;
    the pixel is (floor v, floor u).

    Three departures from the published tool. Points behind the camera are dropped (Z > 0 is asked for); there
    they come out mirrored into the image. Where several points fall on one pixel the nearest to the sensor
    wins, as it would hide the others; there the last of the file wins. K stays float64; there it is float32.

    Args:
        points: (N, 4 or more): x, y, z in m in the sensor's frame, intensity.
        calibration: with lidar2rgb.
        shape: height and width of the image.
        min_range: points nearer to the sensor than this (m) are dropped.

    Returns:
        (H, W, 3): range in m, intensity, z in m of the sensor's frame; 0 where there is no point.
    """
    height, width = shape
    image = np.zeros((height, width, 3), dtype=np.float32)
    ranges = np.sqrt(np.square(points[:, :3]).sum(axis=1))
    transform = calibration.matrices["lidar2rgb"]
    camera = points[:, :3] @ transform[:3, :3].T + transform[:3, 3]
    # A range of 0 marks a pixel without a point, so the origin itself never counts.
    kept = (camera[:, 2] > 0) & (ranges >= min_range) & (ranges > 0)
    points, ranges, camera = points[kept], ranges[kept], camera[kept]
    pixels = camera @ calibration.rgb(shape).T
    with np.errstate(over="ignore"):  # a point almost in the plane of the camera is far outside the image
        u, v = pixels[:, 0] / camera[:, 2], pixels[:, 1] / camera[:, 2]
    kept = (u > 0) & (u < width - 1) & (v > 0) & (v < height - 1)
    far_first = np.argsort(-ranges[kept], kind="stable")  # of repeated indices the last assignment stays
    rows, columns = v[kept].astype(np.intp)[far_first], u[kept].astype(np.intp)[far_first]
    values = np.stack([ranges, points[:, 3], points[:, 2]], axis=1)[kept][far_first]
    image[rows, columns] = values.astype(np.float32)
    return image


def event_homography(calibration: Calibration, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The map from pixels of the event camera to pixels of the RGB camera, (3, 3).

    The published tool rectifies both cameras (cv2.stereoRectify with CALIB_ZERO_DISPARITY and no
    distortion), maps events with undistortPoints(R=R2, P=P2), and undoes the rectification of the RGB
    camera with undistortPoints(K=P1, R=R1^-1, P=K_rgb). In homogeneous pixels that is

        K_rgb R1^-1 P1^-1 P2 R2 K_event^-1       (P1, P2 their left 3 x 3 parts).

    Zero disparity gives both the same new camera matrix, so P1^-1 P2 = 1. Rectified cameras look the same
    way: R1 X_rgb and R2 X_event are parallel for points at infinity, X_event = R X_rgb, so R2 R = R1 and
    R1^-1 R2 = R^-1, the rotation of event2rgb. What is left is

        K_rgb R(event2rgb) K_event^-1,

    exact for points at infinity; the parallax of near points (the cameras are some centimetres apart) is
    neglected there and here alike, as the depth of an event is not known.
    """
    rotation = calibration.matrices["event2rgb"][:3, :3]
    return np.asarray(calibration.rgb(shape) @ rotation @ np.linalg.inv(calibration.matrices["event.K"]))


def in_window(times: np.ndarray, window_us: int) -> NDArray[np.bool_]:
    """Which events lie in the last `window_us` microseconds, both ends included.

    The times are uint32 in the files: without a signed type `last - window` wraps where last < window.
    """
    signed = times.astype(np.int64)
    return np.asarray(signed >= signed.max() - window_us) if len(signed) else np.zeros(0, dtype=np.bool_)


def project_events(
    x: np.ndarray, y: np.ndarray, polarity: np.ndarray, calibration: Calibration, shape: tuple[int, int]
) -> NDArray[np.uint16]:
    """Events as counts on the plane of the RGB camera, by `event_homography`.

    K counts pixels from the centre of the first one: native pixel i covers i - 0.5 to i + 0.5. An image of
    width W puts W / 1920 of a pixel in the place of each native one, so a native position u lies on its
    pixel floor((u + 0.5) W / 1920), and likewise in y. K scaled by W / 1920 gives u' = u W / 1920 alone, so
    half of W / 1920 is added here: the pixel is floor(u' + 0.5 W / 1920). At the native size that is u
    rounded, as in the published tool; at a smaller one, rounding u' would put events up to half an image
    pixel right of and below what the frame, resized, shows.

    Departures from the published tool: events that fall outside the image are dropped (there they raise
    or, below 0, appear at the other edge), and counts are 16-bit (there they wrap at 256).

    Args:
        x, y: (N,), pixels of the event camera.
        polarity: (N,), 1 for brighter, 0 for darker.
        calibration: with event2rgb.
        shape: height and width of the image.

    Returns:
        (H, W, 2): number of positive and of negative events.
    """
    height, width = shape
    mapped = event_homography(calibration, shape) @ np.stack([x, y, np.ones(len(x))]).astype(np.float64)
    in_front = mapped[2] > 0
    with np.errstate(over="ignore"):
        columns, rows = (
            np.floor(mapped[i, in_front] / mapped[2, in_front] + 0.5 * shape[1 - i] / IMAGE_SIZE[1 - i]) for i in (0, 1)
        )
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    channels = np.where(polarity[in_front][inside] > 0, 0, 1)
    flat = (rows[inside].astype(np.int64) * width + columns[inside].astype(np.int64)) * 2 + channels
    counts = np.bincount(flat, minlength=height * width * 2)
    return np.minimum(counts, MAX_COUNT).astype(np.uint16).reshape(height, width, 2)


def dilate_counts(counts: np.ndarray, edge: int) -> np.ndarray:
    """The largest count in a square of `edge` pixels around each pixel of (H, W, C), by channel.

    An even square reaches one pixel further up and left, as a kernel of OpenCV does.
    """
    for axis in (0, 1):
        counts = np.maximum.reduce([_shifted(counts, by, axis) for by in _reach(edge)])
    return counts


def dilate_lidar_image(image: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    """The nearest return in a square of `edge` pixels around each pixel of (H, W, 3), all its channels.

    The published tool takes the maximum of each channel, which mixes channels of different points and
    lets the far one cover the near one.
    """
    for axis in (0, 1):
        best = image
        for by in _reach(edge):
            other = _shifted(image, by, axis)
            nearer = (other[..., 0] > 0) & ((best[..., 0] <= 0) | (other[..., 0] < best[..., 0]))
            best = np.where(nearer[..., None], other, best)
        image = best
    return image


def _reach(edge: int) -> range:
    return range(-(edge // 2), edge - edge // 2)


def _shifted(image: np.ndarray, by: int, axis: int) -> np.ndarray:
    """out[i] = image[i + by] along the axis, 0 from outside."""
    if by == 0:
        return image
    out = np.zeros_like(image)
    length = image.shape[axis]
    target = slice(max(0, -by), min(length, length - by))
    source = slice(max(0, by), min(length, length + by))
    if target.start < target.stop:
        place: list[slice] = [slice(None)] * image.ndim
        origin = list(place)
        place[axis], origin[axis] = target, source
        out[tuple(place)] = image[tuple(origin)]
    return out


def resize_nearest(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, ...) brought to another height and width; each pixel takes the one its centre falls on."""
    if image.shape[:2] == shape:
        return image
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(shape, image.shape[:2], strict=True)
    )
    return image[rows[:, None], columns]
