"""The world of a scene: solids on a plane ground along a road, in the ego frame at the moment of exposure.

Ego frame: x forward, y left, z up, metres, origin on the ground below the sensors. The ego car drives along x
with `World.speed`; solids may move with a velocity of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mmablate.data.muses.classes import CLASS_NAMES, VOID

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASS_ID = {name: index for index, name in enumerate(CLASS_NAMES)} | {"void": VOID}


class Shape(IntEnum):
    """Forms of a solid, each inside the box of its half sizes."""

    BOX = 0
    ELLIPSOID = 1
    CYLINDER = 2


class Material(IntEnum):
    """What a surface is made of: its texture, its reflectivity, whether it glows at night."""

    PLAIN = 0
    FACADE = 1
    BRICK = 2
    BARS = 3
    PAINT = 4
    COACH = 5
    LEAVES = 6
    METAL = 7
    SIGN = 8
    SIGNAL = 9
    CLOTH = 10
    RUBBER = 11
    LAMP = 12
    GLASS = 13


@dataclass(frozen=True)
class Solid:
    """One primitive.

    Attributes:
        shape: its form.
        centre: x, y, z (m) at the moment of exposure.
        half: half sizes (m) along its own axes.
        yaw: rotation of its own axes about z (rad).
        label: train id, or VOID.
        material: its surface.
        colour: sRGB 0-1 of the surface.
        velocity: x, y, z (m/s).
    """

    shape: Shape
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    label: int
    material: Material
    colour: tuple[float, float, float]
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Ground:
    """The plane z = 0, divided by the distance s from the middle of the road (positive to the left).

    The middle of the road runs along y = offset + slope x + bend x^2.

    Attributes:
        half_road: half width of the road (m).
        sidewalks: width (m) of the sidewalk on the left and on the right, 0 for none.
        marks: s of the dashed lines; the edges carry solid lines where `edge_lines`.
        rails: s of the middle of a tram track, or None.
        colours: sRGB of road, sidewalk and terrain.
    """

    offset: float
    slope: float
    bend: float
    half_road: float
    sidewalks: tuple[float, float]
    marks: tuple[float, ...]
    edge_lines: bool
    rails: float | None
    colours: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

    def middle(self, x: Floats | float) -> Floats | float:
        """y of the middle of the road at x."""
        return self.offset + self.slope * x + self.bend * x * x

    def heading(self, x: float) -> float:
        """Direction of the road at x (rad)."""
        return float(np.arctan(self.slope + 2 * self.bend * x))

    def labels(self, x: Floats, y: Floats) -> Ints:
        """Train ids of points on the ground."""
        s = y - self.middle(x)
        walk = np.where(s > 0, self.sidewalks[0], self.sidewalks[1])
        beyond = np.abs(s) - self.half_road
        return np.where(
            beyond <= 0,
            CLASS_ID["road"],
            np.where(beyond <= walk, CLASS_ID["sidewalk"], CLASS_ID["terrain"]),
        )


@dataclass(frozen=True)
class World:
    """Everything of one scene that does not depend on the weather or the time of day.

    Attributes:
        solids: the things, in a fixed order.
        ground: the plane.
        speed: of the ego car along x (m/s).
        sun: unit vector towards the sun.
        lamps: positions (K, 3) of the street lamps, lit at night.
        clouds: 0-1, how much of a clear sky is white.
        noise: seed of the textures.
    """

    solids: Sequence[Solid]
    ground: Ground
    speed: float
    sun: Floats
    lamps: Floats
    clouds: float
    noise: int
    columns: Columns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", Columns.of(self.solids))


@dataclass(frozen=True)
class Columns:
    """The solids as arrays, one row a solid and one last row for the ground and the sky."""

    shape: Ints
    centre: Floats
    half: Floats
    yaw: Floats
    label: Ints
    material: Ints
    colour: Floats
    velocity: Floats

    @classmethod
    def of(cls, solids: Sequence[Solid]) -> Columns:
        """Gathers the fields; the last row is a unit box at the origin with the label VOID."""
        rest = Solid(Shape.BOX, (0, 0, 0), (1, 1, 1), 0.0, VOID, Material.PLAIN, (0.5, 0.5, 0.5))
        rows = [*solids, rest]
        return cls(
            shape=np.array([row.shape for row in rows], dtype=np.int64),
            centre=np.array([row.centre for row in rows], dtype=np.float64),
            half=np.array([row.half for row in rows], dtype=np.float64),
            yaw=np.array([row.yaw for row in rows], dtype=np.float64),
            label=np.array([row.label for row in rows], dtype=np.int64),
            material=np.array([row.material for row in rows], dtype=np.int64),
            colour=np.array([row.colour for row in rows], dtype=np.float64),
            velocity=np.array([row.velocity for row in rows], dtype=np.float64),
        )
