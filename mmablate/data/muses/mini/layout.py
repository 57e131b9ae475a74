"""Draws the world of a scene: a road, what lines it, who is on it, and the rare things that the schedule asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmablate.data.muses.mini import things
from mmablate.data.muses.mini.things import Builder, Spot
from mmablate.data.muses.mini.world import CLASS_ID, Floats, Ground, Solid, World

RARE = (
    "train", "traffic light", "rider", "wall", "bus", "bicycle", "person", "fence", "motorcycle",
    "truck", "traffic sign",
)  # fmt: skip
"""Classes that a scene shows on purpose, in the order in which the schedule takes them."""
PER_SCENE = 6
DRAWS = 6
"""Streets drawn until every rare class finds a place."""

_SIDE = {1: 0, -1: 1}


def wanted(index: int, count: int) -> tuple[str, ...]:
    """Rare classes of scene `index` of a split of `count`: a window that moves over `RARE`, so that all get shown."""
    size = min(len(RARE), max(PER_SCENE, -(-2 * len(RARE) // count)))
    return tuple(RARE[(index * size + k) % len(RARE)] for k in range(size))


class Street:
    """A world being built.

    Args:
        stream: source of all its variation.
        asked: rare classes to place within sight.
    """

    def __init__(self, stream: np.random.Generator, asked: tuple[str, ...]) -> None:
        self.stream, self.asked = stream, asked
        self.solids: list[Solid] = []
        self.lamps: list[tuple[float, float, float]] = []
        self.taken: list[tuple[float, float, float]] = []
        self.urban = stream.random() < 0.65
        self.margin = {1: 0.0, -1: 0.0}
        self.bounded: set[int] = set()
        self.ground = self._draw_ground()

    def _draw_ground(self) -> Ground:
        stream = self.stream
        half = float(stream.uniform(3.6, 5.6))
        lane = float(stream.uniform(1.5, half - 1.4))
        walk = stream.uniform(1.6, 3.4, 2) * (stream.random(2) < (0.97 if self.urban else 0.6))
        grey, warm = stream.uniform(0.28, 0.40), stream.uniform(-0.02, 0.02)
        stone = stream.uniform(0.46, 0.62)
        grass = things.LEAVES[int(stream.integers(len(things.LEAVES)))]
        dry = stream.uniform(0, 1)
        terrain = tuple(float((1 - dry) * 1.3 * g + dry * e) for g, e in zip(grass, (0.44, 0.38, 0.20), strict=True))
        return Ground(
            offset=lane,  # the ego car drives on the right, on a lane of its own
            slope=float(stream.uniform(-0.05, 0.05)),
            bend=float(stream.uniform(-0.0035, 0.0035)),
            half_road=half,
            sidewalks=(float(walk[0]), float(walk[1])),
            marks=(0.0,) if half < 5 else (-half / 3, half / 3),
            edge_lines=bool(stream.random() < 0.5),
            rails=self._draw_rails(half, walk) if "train" in self.asked else None,
            colours=(
                (float(grey + warm), float(grey), float(grey - warm)),
                (float(stone + 0.06), float(stone), float(stone - 0.07)),
                (terrain[0], terrain[1], terrain[2]),
            ),
        )

    def _draw_rails(self, half: float, walk: Floats) -> float:
        """Where a tram runs: on the oncoming lane, or on a track of its own behind the left or the right edge."""
        where = int(self.stream.integers(3))
        if where == 0:
            return half - 1.5
        side = 1 if where == 1 else -1
        self.margin[side] = 3.6
        return side * (half + float(walk[_SIDE[side]]) + 1.9)

    def spot(self, x: float, s: float, *, turn: float = 0.0, speed: float = 0.0) -> Spot:
        """The place at x, a distance s left of the middle of the road, facing along the road plus `turn`."""
        return Spot(x, float(self.ground.middle(x)) + s, self.ground.heading(x) + turn, speed)

    def edge(self, side: int) -> float:
        """Distance from the middle of the road to where the terrain begins."""
        return self.ground.half_road + self.ground.sidewalks[_SIDE[side]]

    def side(self) -> int:
        """Left (1) or right (-1)."""
        return 1 if self.stream.random() < 0.5 else -1

    def free(self, s: float, near: float, far: float, room: float) -> float | None:
        """An x between near and far, and within the frame, with `room` metres free to both sides on the line s."""
        near = max(near, abs(self.ground.offset + s) / 0.58)
        far = max(far, near + 5)
        for _ in range(30):
            x = float(self.stream.uniform(near, far))
            if all(abs(s - other) > 1.7 or abs(x - at) > room + gap for at, other, gap in self.taken):
                self.taken.append((x, s, room))
                return x
        return None

    def put(self, thing: Callable[[Builder], None], spot: Spot) -> None:
        """Builds the thing at the spot."""
        builder = Builder(spot, self.stream)
        thing(builder)
        self.solids += builder.solids

    def _vehicle(self, thing: Callable[[Builder], None], near: float, far: float, length: float) -> bool:
        """On one of the lanes or parked at the edge."""
        half = self.ground.half_road
        line, turn, speed = self.LANES[int(self.stream.integers(len(self.LANES)))]
        s = (half - 1.15) * line
        middle = self.ground.offset + s
        if abs(middle) < 1.9:
            near, far = max(near, length + 8.0), far + 10.0
        return self._set(thing, s, (near, far), length, turn=turn, speed=speed * float(self.stream.uniform(4, 12)))

    LANES = ((1.0, np.pi, 0), (-1.0, 0.0, 0), (0.5, np.pi, 1), (-0.5, 0.0, 1), (0.9, np.pi, 1))

    def _roadside(self, thing: Callable[[Builder], None], near: float, far: float, room: float, back: float) -> bool:
        """Beside the road, `back` metres behind the kerb, facing any way for what walks and the traffic for a post."""
        side = self.side()
        s = side * (self.ground.half_road + back)
        return self._set(thing, s, (near, far), room, turn=0.0 if side < 0 else np.pi)

    def place(self, name: str) -> bool:
        """One thing of a rare class, near enough to be seen; False where there is no room."""
        stream, half = self.stream, self.ground.half_road
        if name in ("truck", "bus"):
            return self._vehicle(getattr(things, name), 9, 22, 4.0 if name == "truck" else 6.0)
        if name == "train":
            s = float(self.ground.rails or 0)
            return self._set(things.train, s, (24, 42), 15, turn=np.pi * (s > 0), speed=float(stream.uniform(0, 8)))
        if name in ("bicycle", "motorcycle"):
            s, turn = self.side() * (half + float(stream.uniform(-0.6, 0.6))), float(stream.uniform(-1.2, 1.2))
            return self._set(getattr(things, name), s, (5.0, 9.5), 1.2, turn=turn)
        if name == "rider":
            s = self.side() * float(stream.uniform(0.45, 0.85)) * half
            turn = np.pi * (s > 0) + float(stream.uniform(-0.3, 0.3))
            return self._set(things.rider, s, (5.5, 10), 1.5, turn=turn, speed=float(stream.uniform(1, 6)))
        if name == "person":
            s, turn = self.side() * (half + float(stream.uniform(-1.5, 1.2))), float(stream.uniform(-np.pi, np.pi))
            return self._set(things.person, s, (5.0, 9), 0.8, turn=turn, speed=float(stream.uniform(0, 1.6)))
        if name in ("wall", "fence"):
            side = self.side()
            side = -side if side in self.bounded else side
            self.bounded.add(side)
            self.boundary(name, side, 1.5 * self.edge(side), 30.0)
            return True
        thing = things.traffic_light if name == "traffic light" else things.traffic_sign
        return self._roadside(thing, 6.5, 11, 0.7, 0.45)

    def _set(
        self,
        thing: Callable[[Builder], None],
        s: float,
        within: tuple[float, float],
        room: float,
        *,
        turn: float,
        speed: float = 0.0,
    ) -> bool:
        """The thing on the line s at a free x; False where there is none."""
        x = self.free(s, *within, room)
        if x is not None:
            self.put(thing, self.spot(x, s, turn=turn, speed=speed))
        return x is not None

    def boundary(self, name: str, side: int, near: float, far: float) -> None:
        """Wall, fence or hedge in pieces along the edge of the terrain."""
        s = side * (self.edge(side) + self.margin[side] + float(self.stream.uniform(0.25, 0.9)))
        shape = {"wall": things.wall, "fence": things.fence, "hedge": things.hedge}[name]
        x = near
        kind = int(self.stream.integers(2**31))
        while x < far:
            half = 2.5
            place = self.spot(x + half, s)
            again = Builder(place, np.random.default_rng(kind))  # the same height and colour in every piece
            shape(again, half)
            self.solids += again.solids
            x += 2 * half

    def backdrop(self) -> None:
        """Houses or trees behind the road on both sides, and a line of woods at the horizon."""
        stream = self.stream
        for side in (1, -1):
            built = stream.random() < (0.85 if self.urban else 0.25)
            back = (
                self.edge(side)
                + self.margin[side]
                + float(stream.uniform(0.3, 3.0) if self.urban else stream.uniform(3, 9))
            )
            x = -12.0
            while x < 75:
                half = float(stream.uniform(3.5, 8.0))
                deep = float(stream.uniform(3.0, 5.0))
                if built and stream.random() < 0.85:
                    builder = Builder(self.spot(x + half, side * (back + deep)), stream)
                    things.building(builder, half, deep)
                    self.solids += builder.solids
                elif not built and stream.random() < 0.75:
                    away = side * (back + float(stream.uniform(0, 5)))
                    self.put(things.tree, self.spot(x + half, away))
                x += 2 * half + float(stream.choice([0.0, 0.2, 3.0]) if built else 0.0)
            if stream.random() < 0.3 and side not in self.bounded:
                self.boundary("hedge", side, float(stream.uniform(0, 15)), float(stream.uniform(20, 40)))
        for y in np.linspace(-110, 110, 12):
            size = float(stream.uniform(6, 13))
            solid = Builder(Spot(float(stream.uniform(95, 125)), float(y + stream.uniform(-6, 6)), 0.0), stream)
            solid.add(things.ROUND, (0, 0, 2), (8, 14, size), "vegetation", things.Material.LEAVES, things.LEAVES[0])
            self.solids += solid.solids

    def furniture(self) -> None:
        """Lamp posts, poles, trees, bushes and bins along the kerb."""
        stream = self.stream
        side, x = self.side(), float(stream.uniform(5, 12))
        while x < 70 and (self.urban or stream.random() < 0.7):
            s = side * (self.ground.half_road + 0.5)
            self.taken.append((x, s, 0.6))
            self.put(things.lamp_post, self.spot(x, s, turn=0.0 if side > 0 else np.pi))
            place = self.spot(x, s - side * 1.5)
            self.lamps.append((place.x, place.y, 6.2))
            x += float(stream.uniform(14, 22))
        for thing, count, back in (
            (things.post, 1, 0.5), (things.tree, 2, 1.3), (things.bush, 2, 2.6), (things.bin_, 1, 1.2),
        ):  # fmt: skip
            for _ in range(int(stream.integers(0, count + 1))):
                self._roadside(thing, 7, 35, 1.0, back)

    def crowd(self) -> None:
        """Cars and people that no schedule asks for."""
        stream = self.stream
        for _ in range(int(stream.integers(2, 6))):
            self._vehicle(things.car, 6.5, 34, 2.8)
        for _ in range(int(stream.integers(0, 3))):
            s = self.side() * (self.ground.half_road + float(stream.uniform(0.3, 1.4)))
            self._set(things.person, s, (7, 22), 0.8, turn=float(stream.uniform(-np.pi, np.pi)))
        for name in ("traffic sign", "traffic light"):
            if stream.random() < 0.3:
                self.place(name)


def draw_world(stream: np.random.Generator, asked: tuple[str, ...]) -> World:
    """A world with the rare classes `asked`; the same stream gives the same world."""
    order = sorted(asked, key=lambda name: (name not in ("train", "bus", "truck"), name))
    for _ in range(DRAWS):
        street = Street(stream, asked)
        placed = [street.place(name) for name in order]
        if all(placed):
            break
    street.furniture()
    street.crowd()
    street.backdrop()
    high, way = stream.uniform(0.35, 1.1), stream.uniform(-np.pi, np.pi)
    sun = np.array([np.cos(high) * np.cos(way), np.cos(high) * np.sin(way), np.sin(high)])
    return World(
        solids=tuple(street.solids),
        ground=street.ground,
        speed=float(stream.uniform(5, 13)),
        sun=sun,
        lamps=np.array(street.lamps, dtype=np.float64).reshape(-1, 3),
        clouds=float(stream.uniform(0, 0.7)),
        noise=int(stream.integers(2**31)),
    )


def shown(labels: np.ndarray, name: str) -> int:
    """Number of pixels of the class."""
    return int((labels == CLASS_ID[name]).sum())
