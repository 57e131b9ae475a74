"""Where the sensors sit: intrinsics and poses, the same for every scene, as calib.json tells them.

The sensor sizes are those of MUSES: an RGB camera of 1920 x 1080 pixels, an event camera of 1280 x 720. Frames are
rendered smaller; a pixel of a smaller frame stands for the block of camera pixels that it covers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mmablate.data.muses.classes import IMAGE_SIZE
from mmablate.data.muses.mini.raycast import Rays
from mmablate.data.muses.mini.world import Floats

EVENT_SIZE = (720, 1280)
"""Height and width of the event sensor, the unit of its K and of the x and y in its files."""

K_RGB = np.array([[1500.0, 0.0, 958.0], [0.0, 1502.0, 534.0], [0.0, 0.0, 1.0]])
K_EVENT = np.array([[1025.0, 0.0, 643.0], [0.0, 1026.0, 358.0], [0.0, 0.0, 1.0]])
# The field of view of the event camera is a little smaller than the frame's (64.0 and 65.2 degrees), so that its
# grid is no coarser than the frame's pixels once projected.


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Rz(yaw) Ry(pitch) Rx(roll), angles in degrees; a positive pitch looks down where x is forward."""
    z, y, x = np.deg2rad([yaw, pitch, roll])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    return np.asarray(about_z @ about_y @ about_x)


def _pose(turn: Floats, place: tuple[float, float, float]) -> Floats:
    """4 x 4 matrix from the sensor's frame to the ego frame."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, place
    return pose


# Camera axes (x right, y down, z forward) along the axes of the ego frame.
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

RGB_POSE = _pose(rotation(0.4, 2.0, 0.2) @ _OPTICAL, (0.45, 0.0, 1.55))
EVENT_POSE = _pose(rotation(-0.3, 2.4, -0.1) @ _OPTICAL, (0.45, -0.06, 1.55))
LIDAR_POSE = _pose(rotation(-2.5, 1.0, 0.3), (0.05, 0.08, 1.92))
GNSS_POSE = _pose(np.eye(3), (-0.3, 0.0, 1.85))
RADAR_POSE = _pose(rotation(1.0, 0.0, 0.0), (-0.1, -0.1, 1.62))


def _between(source: Floats, target: Floats) -> Floats:
    """From the frame of one sensor to that of another."""
    return np.asarray(np.linalg.inv(target) @ source)


def calibration() -> dict[str, dict[str, object]]:
    """Content of calib.json."""
    return {
        "intrinsics": {"rgb": {"K": K_RGB.tolist()}, "event": {"K": K_EVENT.tolist()}},
        "extrinsics": {
            "lidar2rgb": _between(LIDAR_POSE, RGB_POSE).tolist(),
            "event2rgb": _between(EVENT_POSE, RGB_POSE).tolist(),
            "radar2rgb": _between(RADAR_POSE, RGB_POSE).tolist(),
            "lidar2gnss": _between(LIDAR_POSE, GNSS_POSE).tolist(),
            "radar2gnss": _between(RADAR_POSE, GNSS_POSE).tolist(),
        },
    }


def _directions(pose: Floats, intrinsics: Floats, u: Floats, v: Floats) -> Floats:
    """Unit directions (N, 3) in the ego frame through the sensor positions u, v."""
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    length = np.sqrt(x * x + y * y + 1)
    turn = pose[:3, :3]
    return np.stack([(turn[i, 0] * x + turn[i, 1] * y + turn[i, 2]) / length for i in range(3)], axis=1)


@cache
def rgb_rays(size: tuple[int, int]) -> Rays:
    """Rays (h * w) through the middle of each pixel of a frame of `size`, row by row.

    Pixel i of w stands for the camera pixels around (i + 0.5) 1920 / w - 0.5. With K scaled by w / 1920, as the
    dataset's tools do, a point that projects to u lies on pixel floor(u), up to half a camera pixel.
    """
    height, width = size
    u = (np.arange(width) + 0.5) * IMAGE_SIZE[1] / width - 0.5
    v = (np.arange(height) + 0.5) * IMAGE_SIZE[0] / height - 0.5
    uu, vv = np.meshgrid(u, v)
    return Rays.of(_directions(RGB_POSE, K_RGB, uu.ravel(), vv.ravel()))


def event_pixels(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y (h * w,) of the event pixels that are simulated: the middle one of each cell of an h x w grid."""
    height, width = size
    x = np.floor((np.arange(width) + 0.5) * EVENT_SIZE[1] / width)
    y = np.floor((np.arange(height) + 0.5) * EVENT_SIZE[0] / height)
    xx, yy = np.meshgrid(x, y)
    return xx.ravel(), yy.ravel()


@cache
def event_rays(size: tuple[int, int]) -> Rays:
    """Rays (h * w) through `event_pixels`."""
    x, y = event_pixels(size)
    return Rays.of(_directions(EVENT_POSE, K_EVENT, x, y))
