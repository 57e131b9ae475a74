"""The things of a street, each put together from a few solids that stand on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmablate.data.muses.mini.world import CLASS_ID, Material, Shape, Solid

Colour = tuple[float, float, float]

BOX, ROUND, UPRIGHT = Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER
_TYRE = (0.06, 0.06, 0.07)

CAR_COLOURS: tuple[Colour, ...] = (
    (0.75, 0.76, 0.78), (0.12, 0.12, 0.14), (0.55, 0.09, 0.09), (0.10, 0.20, 0.45),
    (0.42, 0.44, 0.46), (0.85, 0.85, 0.83), (0.10, 0.32, 0.22), (0.70, 0.55, 0.15),
)  # fmt: skip
TRUCK_COLOURS: tuple[Colour, ...] = (
    (0.86, 0.85, 0.80), (0.80, 0.74, 0.58), (0.72, 0.76, 0.80), (0.82, 0.66, 0.50),
)  # fmt: skip
BUS_COLOURS: tuple[Colour, ...] = (
    (0.85, 0.62, 0.10), (0.82, 0.50, 0.12), (0.80, 0.24, 0.12), (0.88, 0.72, 0.30),
)  # fmt: skip
TRAIN_COLOURS: tuple[Colour, ...] = (
    (0.12, 0.30, 0.66), (0.10, 0.48, 0.34), (0.16, 0.42, 0.58), (0.30, 0.28, 0.62),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (0.15, 0.17, 0.25), (0.55, 0.15, 0.15), (0.70, 0.68, 0.60), (0.15, 0.35, 0.30), (0.10, 0.10, 0.10),
    (0.75, 0.55, 0.15), (0.40, 0.30, 0.50),
)  # fmt: skip
HIGH_VIS: tuple[Colour, ...] = ((0.85, 0.85, 0.15), (0.90, 0.45, 0.08), (0.75, 0.20, 0.12), (0.15, 0.16, 0.18))
SKIN: tuple[Colour, ...] = ((0.80, 0.62, 0.50), (0.60, 0.42, 0.30), (0.36, 0.24, 0.17))
FACADES: tuple[Colour, ...] = (
    (0.66, 0.55, 0.40), (0.74, 0.66, 0.52), (0.58, 0.40, 0.32), (0.62, 0.58, 0.50), (0.76, 0.62, 0.38),
)  # fmt: skip
WALLS: tuple[Colour, ...] = (
    (0.52, 0.30, 0.24), (0.60, 0.36, 0.26), (0.48, 0.34, 0.30),
)  # fmt: skip
FENCES: tuple[Colour, ...] = (
    (0.42, 0.27, 0.15), (0.78, 0.76, 0.70), (0.50, 0.36, 0.22),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = ((0.20, 0.33, 0.12), (0.27, 0.38, 0.15), (0.16, 0.28, 0.14), (0.40, 0.38, 0.15))
SIGNAL_BOXES: tuple[Colour, ...] = ((0.08, 0.09, 0.08), (0.62, 0.50, 0.08))
SIGNS: tuple[Colour, ...] = ((0.75, 0.12, 0.12), (0.12, 0.28, 0.68), (0.88, 0.72, 0.12), (0.85, 0.85, 0.85))


@dataclass(frozen=True)
class Spot:
    """Where a thing stands: ground position (m), heading (rad) and speed along it (m/s)."""

    x: float
    y: float
    yaw: float
    speed: float = 0.0


class Builder:
    """Adds solids of one thing around its spot.

    Args:
        spot: the thing's place.
        stream: source of its variation.
    """

    def __init__(self, spot: Spot, stream: np.random.Generator) -> None:
        self.spot, self.stream = spot, stream
        self.solids: list[Solid] = []

    def add(
        self,
        shape: Shape,
        place: tuple[float, float, float],
        half: tuple[float, float, float],
        name: str,
        material: Material,
        colour: Colour,
    ) -> None:
        """One solid at `place` (ahead, left, up) of the spot, its colour varied a little."""
        c, s = np.cos(self.spot.yaw), np.sin(self.spot.yaw)
        x = self.spot.x + c * place[0] - s * place[1]
        y = self.spot.y + s * place[0] + c * place[1]
        r, g, b = np.clip(np.array(colour) * self.stream.uniform(0.85, 1.15), 0.02, 0.98).tolist()
        velocity = (float(self.spot.speed * c), float(self.spot.speed * s), 0.0)
        centre = (float(x), float(y), float(place[2]))
        self.solids.append(Solid(shape, centre, half, self.spot.yaw, CLASS_ID[name], material, (r, g, b), velocity))

    def pick(self, colours: tuple[Colour, ...]) -> Colour:
        """One of the colours."""
        return colours[int(self.stream.integers(len(colours)))]

    def scale(self, spread: float) -> float:
        """A factor around 1."""
        return float(self.stream.uniform(1 - spread, 1 + spread))

    def wheels(self, name: str, ahead: float, aside: float, radius: float) -> None:
        """Four wheels."""
        for x in (-ahead, ahead):
            for y in (-aside, aside):
                self.add(ROUND, (x, y, radius), (radius, 0.14, radius), name, Material.RUBBER, _TYRE)


def car(b: Builder) -> None:
    """A hatchback, saloon or van."""
    colour, k = b.pick(CAR_COLOURS), b.scale(0.07)
    van = b.stream.random() < 0.25
    b.add(BOX, (0, 0, 0.68), (2.1 * k, 0.88, 0.36), "car", Material.PAINT, colour)
    up = 0.52 if van else 0.34
    b.add(BOX, (-0.2 * k, 0, 1.04 + up), (1.25 * k + 0.4 * van, 0.78, up), "car", Material.GLASS, colour)
    b.wheels("car", 1.3 * k, 0.8, 0.33)


def truck(b: Builder) -> None:
    """A lorry: cab, gap, high plain load."""
    k = b.scale(0.12)
    b.add(BOX, (3.0 * k, 0, 1.65), (0.95, 1.15, 1.2), "truck", Material.GLASS, b.pick(CAR_COLOURS))
    b.add(BOX, (-0.7 * k, 0, 2.25), (2.6 * k, 1.25, 1.5), "truck", Material.PAINT, b.pick(TRUCK_COLOURS))
    b.add(BOX, (0, 0, 0.65), (3.4 * k, 1.0, 0.14), "truck", Material.PLAIN, (0.12, 0.12, 0.12))
    b.wheels("truck", 2.3 * k, 1.05, 0.48)


def bus(b: Builder) -> None:
    """A city bus: one long box with a band of windows."""
    k = b.scale(0.1)
    b.add(BOX, (0, 0, 1.75), (5.4 * k, 1.25, 1.4), "bus", Material.COACH, b.pick(BUS_COLOURS))
    b.wheels("bus", 3.4 * k, 1.15, 0.46)


def train(b: Builder) -> None:
    """A tram: two cars, low skirts, a pantograph."""
    colour = b.pick(TRAIN_COLOURS)
    for x in (-7.3, 7.3):
        b.add(BOX, (x, 0, 1.9), (7.0, 1.2, 1.6), "train", Material.COACH, colour)
        b.add(BOX, (x, 0, 3.6), (5.5, 0.8, 0.14), "train", Material.PLAIN, (0.35, 0.35, 0.36))
    b.add(BOX, (0, 0, 1.8), (0.4, 1.0, 1.45), "train", Material.PLAIN, (0.12, 0.12, 0.12))
    b.add(BOX, (6.0, 0, 4.2), (0.5, 0.6, 0.08), "train", Material.METAL, (0.3, 0.3, 0.3))


def _two_wheels(b: Builder, name: str, thick: float) -> None:
    for x in (-0.55, 0.55):
        b.add(ROUND, (x, 0, 0.34), (0.34, thick, 0.34), name, Material.RUBBER, _TYRE)


def bicycle(b: Builder) -> None:
    """Two thin wheels, a frame, a bar."""
    colour = b.pick(CAR_COLOURS)
    _two_wheels(b, "bicycle", 0.06)
    b.add(BOX, (0, 0, 0.58), (0.5, 0.05, 0.16), "bicycle", Material.METAL, colour)
    b.add(BOX, (0.45, 0, 0.95), (0.08, 0.27, 0.06), "bicycle", Material.METAL, (0.15, 0.15, 0.15))
    b.add(BOX, (-0.3, 0, 0.86), (0.12, 0.08, 0.05), "bicycle", Material.PLAIN, (0.1, 0.08, 0.08))


def motorcycle(b: Builder) -> None:
    """Two wheels, a thick body with a tank, a fork."""
    colour = b.pick(CAR_COLOURS)
    for x in (-0.68, 0.68):
        b.add(ROUND, (x, 0, 0.33), (0.33, 0.11, 0.33), "motorcycle", Material.RUBBER, _TYRE)
    b.add(ROUND, (0, 0, 0.62), (0.72, 0.24, 0.32), "motorcycle", Material.PAINT, colour)
    b.add(BOX, (0.55, 0, 0.95), (0.12, 0.36, 0.22), "motorcycle", Material.METAL, (0.2, 0.2, 0.2))
    b.add(BOX, (-0.3, 0, 0.9), (0.42, 0.17, 0.09), "motorcycle", Material.PLAIN, (0.08, 0.08, 0.08))


def _trunk_and_head(b: Builder, name: str, hips: float, lean: float) -> None:
    clothes = b.pick(HIGH_VIS if name == "rider" else CLOTHES)
    b.add(ROUND, (lean, 0, hips + 0.32), (0.18, 0.26, 0.40), name, Material.CLOTH, clothes)
    for y in (-0.26, 0.26):
        b.add(ROUND, (lean + 0.08, y, hips + 0.30), (0.12, 0.08, 0.30), name, Material.CLOTH, clothes)
    b.add(ROUND, (lean + 0.05, 0, hips + 0.82), (0.13, 0.12, 0.15), name, Material.CLOTH, b.pick(SKIN))


def person(b: Builder) -> None:
    """Somebody on foot."""
    hips, step, trousers = 0.85 * b.scale(0.08), b.stream.uniform(0.05, 0.2), b.pick(CLOTHES)
    for sign in (-1, 1):
        place = (sign * step, sign * 0.09, hips / 2)
        b.add(UPRIGHT, place, (0.09, 0.09, hips / 2), "person", Material.CLOTH, trousers)
    _trunk_and_head(b, "person", hips, 0.0)


def rider(b: Builder) -> None:
    """Somebody on a bicycle or a motorcycle, which keeps its own class."""
    (bicycle if b.stream.random() < 0.5 else motorcycle)(b)
    trousers = b.pick(CLOTHES)
    for y in (-0.17, 0.17):
        b.add(ROUND, (-0.02, y, 0.66), (0.17, 0.1, 0.36), "rider", Material.CLOTH, trousers)
    _trunk_and_head(b, "rider", 0.88, 0.0)


def traffic_light(b: Builder) -> None:
    """A signal box on a pole, facing the traffic that comes."""
    b.add(UPRIGHT, (0, 0, 1.4), (0.1, 0.1, 1.4), "pole", Material.METAL, (0.35, 0.36, 0.35))
    b.add(BOX, (0, 0, 3.3), (0.24, 0.28, 0.68), "traffic light", Material.SIGNAL, b.pick(SIGNAL_BOXES))


def traffic_sign(b: Builder) -> None:
    """A round or square plate, or two, on a post."""
    b.add(UPRIGHT, (0, 0, 1.1), (0.07, 0.07, 1.1), "pole", Material.METAL, (0.5, 0.5, 0.5))
    plates = 1 + int(b.stream.random() < 0.35)
    for k in range(plates):
        shape, size = (ROUND, BOX)[int(b.stream.integers(2))], 0.48 * b.scale(0.15)
        b.add(shape, (0, 0, 2.5 - 0.85 * k), (0.05, size, size), "traffic sign", Material.SIGN, b.pick(SIGNS))


def lamp_post(b: Builder) -> None:
    """A pole with an arm and a lamp over the road (towards the thing's right)."""
    grey = (0.40, 0.41, 0.42)
    b.add(UPRIGHT, (0, 0, 3.2), (0.12, 0.12, 3.2), "pole", Material.METAL, grey)
    b.add(BOX, (0, -0.7, 6.4), (0.07, 0.8, 0.07), "pole", Material.METAL, grey)
    b.add(BOX, (0, -1.5, 6.3), (0.18, 0.35, 0.1), "pole", Material.LAMP, (0.6, 0.6, 0.58))


def post(b: Builder) -> None:
    """A bare pole."""
    b.add(UPRIGHT, (0, 0, 2.0), (0.1, 0.1, 2.0), "pole", Material.METAL, (0.45, 0.42, 0.38))


def tree(b: Builder) -> None:
    """A trunk and two or three balls of leaves."""
    k, colour = b.scale(0.3), b.pick(LEAVES)
    b.add(UPRIGHT, (0, 0, 1.3 * k), (0.17 * k, 0.17 * k, 1.3 * k), "vegetation", Material.LEAVES, (0.28, 0.21, 0.15))
    for _ in range(int(b.stream.integers(2, 4))):
        dx, dy = b.stream.uniform(-0.8, 0.8, 2)
        size = float(b.stream.uniform(1.1, 1.8) * k)
        high = (3.4 + float(b.stream.uniform(-0.5, 0.8))) * k
        b.add(ROUND, (dx, dy, high), (size, size, size), "vegetation", Material.LEAVES, colour)


def bush(b: Builder) -> None:
    """One low ball of leaves."""
    size = float(b.stream.uniform(0.5, 1.1))
    half = (size * b.scale(0.3), size, 0.8 * size)
    b.add(ROUND, (0, 0, 0.6 * size), half, "vegetation", Material.LEAVES, b.pick(LEAVES))


def bin_(b: Builder) -> None:
    """A container: no class of the benchmark, so void."""
    colour = ((0.2, 0.3, 0.2), (0.25, 0.25, 0.27), (0.5, 0.4, 0.1))
    b.add(BOX, (0, 0, 0.6), (0.4, 0.45, 0.6), "void", Material.PLAIN, b.pick(colour))


def wall(b: Builder, half_length: float) -> None:
    """A free-standing wall along the spot's heading."""
    high = 0.9 * b.scale(0.3)
    b.add(BOX, (0, 0, high), (half_length, 0.18, high), "wall", Material.BRICK, b.pick(WALLS))


def fence(b: Builder, half_length: float) -> None:
    """A fence of bars along the spot's heading."""
    high = 0.8 * b.scale(0.25)
    b.add(BOX, (0, 0, high), (half_length, 0.05, high), "fence", Material.BARS, b.pick(FENCES))


def hedge(b: Builder, half_length: float) -> None:
    """A hedge along the spot's heading."""
    high = 0.8 * b.scale(0.3)
    b.add(BOX, (0, 0, high), (half_length, 0.45, high), "vegetation", Material.LEAVES, b.pick(LEAVES))


def building(b: Builder, half_length: float, half_depth: float) -> None:
    """A house along the spot's heading."""
    high = float(b.stream.uniform(2.2, 8.0))
    b.add(BOX, (0, 0, high), (half_length, half_depth, high), "building", Material.FACADE, b.pick(FACADES))
