"""A cube or a sphere in space, seen by a camera and by a LiDAR: rays, surfaces, light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HALF_VIEW = np.pi / 6
"""Half of the field of view, radians, across and upwards, of both sensors."""
SAME_AREA = float(np.sqrt(np.pi / 6))
"""Half edge of a cube by the radius of a sphere whose outline has the same area on average over all orientations:
the mean outline of a convex body is a quarter of its surface (Cauchy), pi r^2 and 6 h^2."""
NONE = 100.0  # depth of a ray that meets nothing


@dataclass(frozen=True)
class Body:
    """What is looked at.

    Attributes:
        is_cube: else a sphere.
        centre: (3,), metres: x to the right, y away from the sensors, z up.
        radius: of the sphere, or of the sphere that a cube's outline is as large as, metres.
        turn: rotation of the cube, (3, 3).
    """

    is_cube: bool
    centre: Floats
    radius: float
    turn: Floats

    @classmethod
    def draw(cls, is_cube: bool, spread: float, stream: np.random.Generator) -> Body:
        """Somewhere in view; the draws are the same for both shapes.

        Args:
            is_cube: which shape.
            spread: factor of how far from the middle of the view.
            stream: of the body.
        """
        distance = stream.uniform(3.2, 4.8)
        aside, up = 0.06 * spread * stream.uniform(-1, 1, size=2)
        yaw, tilt = stream.uniform(0, np.pi / 2), 0.35 * stream.standard_normal()
        radius = stream.uniform(0.9, 1.3)
        rows = [[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
        lean = [[1.0, 0.0, 0.0], [0.0, np.cos(tilt), -np.sin(tilt)], [0.0, np.sin(tilt), np.cos(tilt)]]
        centre = np.array([distance * np.tan(aside), distance, distance * np.tan(up)])
        return cls(is_cube, centre, radius, np.array(lean) @ np.array(rows))

    def hit(self, rays: Floats) -> tuple[Floats, Floats]:
        """Distance along each ray, infinite where it misses, and the surface's normal there.

        Args:
            rays: unit vectors from the origin, (..., 3).

        Returns:
            (...) and (..., 3).
        """
        return self._hit_cube(rays) if self.is_cube else self._hit_sphere(rays)

    def _hit_sphere(self, rays: Floats) -> tuple[Floats, Floats]:
        along = rays @ self.centre
        inside = along**2 - (self.centre @ self.centre - self.radius**2)
        distance = np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0)), np.inf)
        near = np.where(np.isfinite(distance), distance, 0.0)
        return distance, (near[..., None] * rays - self.centre) / self.radius

    def _hit_cube(self, rays: Floats) -> tuple[Floats, Floats]:
        half = SAME_AREA * self.radius
        own = rays @ self.turn  # in the cube's own axes
        own = np.where(np.abs(own) < 1e-12, 1e-12, own)
        start = -self.centre @ self.turn
        first, second = (-half - start) / own, (half - start) / own
        enter, leave = np.minimum(first, second), np.maximum(first, second).min(axis=-1)
        face = enter.argmax(axis=-1)
        distance = np.where((enter.max(axis=-1) < leave) & (leave > 0), enter.max(axis=-1), np.inf)
        outwards = -np.sign(np.take_along_axis(own, face[..., None], axis=-1))
        return distance, outwards * self.turn.T[face]


def camera_rays(size: int, finer: int) -> Floats:
    """Rays of a pinhole camera, (finer * size, finer * size, 3); the first row is the uppermost."""
    places = (np.arange(size * finer) + 0.5) / (size * finer) * 2 - 1
    across, up = np.meshgrid(np.tan(HALF_VIEW) * places, -np.tan(HALF_VIEW) * places)
    rays = np.stack([across, np.ones_like(across), up], axis=-1)
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def lidar_angles(size: int) -> tuple[Floats, Floats]:
    """Azimuth (size,) and zenith (size,), radians; see `lidar.directions`."""
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    return -HALF_VIEW * steps, HALF_VIEW * steps


def blotches(size: int, coarse: int, stream: np.random.Generator) -> Floats:
    """Smooth random texture of deviation about 1, (size, size): noise of a coarse grid, interpolated."""
    grid = stream.standard_normal((coarse + 1, coarse + 1))
    places = np.linspace(0, coarse, size, endpoint=False)
    low = places.astype(int)
    part = places - low
    part = part * part * (3 - 2 * part)
    rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
    return np.asarray((rows[:, low] * (1 - part) + rows[:, low + 1] * part) * 1.6)
