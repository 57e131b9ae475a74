"""Depth maps of a LiDAR as points in space: x, y, z and whether there was a return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import Moments
from mmablate.data.faults import FileFault
from mmablate.data.pictures import to_rgb
from mmablate.data.untrusted import BROKEN, reason

Floats = NDArray[np.float64]
AZIMUTH, ZENITH = "azimuth.npy", "zenith.npy"
REAL = "fiu"
FULL_TURN = 2 * np.pi + 1e-3


def load(path: Path, what: str, dims: Sequence[int]) -> np.ndarray:
    """A real array of one of these numbers of axes. Raises FileFault."""
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN as error:
        text = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
        raise FileFault(path, f"expected {what}, found: {text}", f"files without {what}") from None
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind not in REAL
        or values.ndim not in dims
        or not values.size
    ):
        found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "an archive"
        raise FileFault(path, f"expected {what}, found {found}", f"files of another form than {what}")
    return values


def directions(azimuth: Floats, zenith: Floats) -> Floats:
    """Unit vectors of the rays, (3, H, W).

    x = sin(-azimuth) cos(-zenith), y = cos(-azimuth) cos(-zenith), z = sin(-zenith), as the public cubes-and-spheres
    set is read: zenith is measured from the horizon.

    Args:
        azimuth: radians, one a row (H,), or (H, W).
        zenith: radians, one a column (W,), or (H, W).
    """
    a = -azimuth[:, None] if azimuth.ndim == 1 else -azimuth
    z = -zenith[None, :] if zenith.ndim == 1 else -zenith
    x, y, up = np.broadcast_arrays(np.sin(a) * np.cos(z), np.cos(a) * np.cos(z), np.sin(z))
    return np.stack([x, y, up])


def read_directions(folder: Path) -> Floats:
    """Of the angles that a folder of a class holds. Raises FileFault."""
    angles = []
    for name in (AZIMUTH, ZENITH):
        values = np.asarray(load(folder / name, "angles in radians, (n,) or (H, W)", (1, 2)), dtype=np.float64)
        largest = np.abs(values).max()
        if not largest <= FULL_TURN:
            text = f"expected angles in radians, found up to {largest:g}"
            raise FileFault(folder / name, text, "angles of another unit")
        angles.append(values)
    shapes = {values.shape for values in angles if values.ndim == 2}
    if len(shapes) > 1 or (len(shapes) == 1 and any(v.ndim == 1 and v.size not in min(shapes) for v in angles)):
        found = ", ".join(str(values.shape) for values in angles)
        raise FileFault(folder / ZENITH, f"expected angles that fit those of {AZIMUTH}, found {found}", "angles")
    return directions(*angles)


@dataclass(frozen=True)
class Lidar:
    """Reads depth maps (H, W) as x, y, z and a mask of returns.

    Attributes:
        rays: folder of a class -> unit vectors (3, H, W); all of one size.
        max_range: a depth of this or more, of 0 or less, or that is not finite, is no return.
        upright: swap the axes, so that azimuth runs along the columns, as in a picture.
        shift, scale: of x, y and z.
    """

    rays: Mapping[Path, NDArray[np.float32]]
    max_range: float
    upright: bool = False
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """(4, H, W)."""
        height, width = next(iter(self.rays.values())).shape[1:]
        return (4, width, height) if self.upright else (4, height, width)

    def read(self, path: Path) -> NDArray[np.float32]:
        """x, y, z, scaled, 0 where there is no return, and 1 where there is one, else 0. Raises FileFault.

        The published code keeps points beyond the range, too; its mask is the same.
        """
        depth, there = self._depth(path)
        rays = self.rays[path.parent.parent]
        points = depth * rays
        for axis in range(3):
            points[axis] = (points[axis] - self.shift[axis]) / self.scale[axis]
        made = np.concatenate([np.where(there, points, 0), there[None]]).astype(np.float32)
        return np.ascontiguousarray(made.swapaxes(1, 2)) if self.upright else made

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """Near is bright, no return black. Raises FileFault."""
        depth, there = self._depth(path)
        nearness = np.where(there, depth[there].mean() - depth if there.any() else 0, 0)
        shown = nearness / (nearness[there].std() or 1.0) if there.any() else nearness
        picture = to_rgb(shown[None]) * there[..., None].astype(np.uint8)
        return np.ascontiguousarray(picture.swapaxes(0, 1)) if self.upright else picture

    def _depth(self, path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Depth, 0 without a return, and where there is one."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and no return
            values = np.asarray(load(path, "a depth map (H, W)", (2,)), dtype=np.float32)
        wanted = self.rays[path.parent.parent].shape[1:]
        if values.shape != wanted:
            text = f"expected a depth map of {wanted[0]} x {wanted[1]}, as its angles say, found {values.shape}"
            raise FileFault(path, text, "depth maps of another size")
        there = np.isfinite(values) & (values > 0) & (values < self.max_range)
        return np.where(there, values, np.float32(0)), there


def lidar_reader(paths: Sequence[Path], *, max_range: float, upright: bool) -> Lidar:
    """The reader of these files, by the angles beside their folders. Raises FileFault."""
    folders = sorted({path.parent.parent for path in paths})
    rays = {folder: read_directions(folder).astype(np.float32) for folder in folders}
    first = rays[folders[0]].shape
    for folder in folders:
        if rays[folder].shape != first:
            text = (
                f"expected angles of {first[1]} x {first[2]}, as of {folders[0].name}, found {rays[folder].shape[1:]}"
            )
            raise FileFault(folder / AZIMUTH, text, "angles")
    return Lidar(rays, max_range, upright)


def standardised(reader: Lidar, train: Sequence[Path]) -> Lidar:
    """x, y, z to mean 0 and deviation 1 over the returns of the training files. Raises FileFault."""
    moments = Moments(3)
    for path in train:
        values = reader.read(path)
        moments.add(values[:3, values[3] > 0].T)
    if moments.count == 0:
        raise FileFault(train[0], f"expected returns within {reader.max_range:g}, found none", "files without returns")
    mean, std = moments.mean_std()
    shift, scale = ((float(x), float(y), float(z)) for x, y, z in (mean, std))
    return replace(reader, shift=shift, scale=scale)
