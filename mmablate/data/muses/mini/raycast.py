"""Rays against the world: first hit, its place on the solid and its normal; numpy over all rays at once.

Every sum over x, y, z is written out: BLAS may divide a product among threads, and bytes must not depend on that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmablate.data.muses.classes import VOID
from mmablate.data.muses.mini.world import CLASS_ID, Floats, Ints, Shape, World

GROUND = -1
SKY = -2
NEAREST = 0.05
"""A ray that starts on a solid does not hit it (m)."""
BUNDLE = np.deg2rad(5.0)
"""Rays are sorted into bundles about so wide."""

_BOX, _CYLINDER = int(Shape.BOX), int(Shape.CYLINDER)


@dataclass(frozen=True)
class Hits:
    """Where N rays end.

    Attributes:
        distance: along the ray (N,) in metres; infinite for the sky.
        solid: index of the solid, GROUND or SKY (N,).
        point: ego-frame position (N, 3) at the ray's own time; 0 for the sky.
        local: position on the solid, along its own axes (N, 3), metres; the ego position on the ground.
        normal: outward unit normal (N, 3); 0 for the sky.
        label: train id or VOID (N,).
        direction: of the rays (N, 3), unit.
    """

    distance: Floats
    solid: Ints
    point: Floats
    local: Floats
    normal: Floats
    label: Ints
    direction: Floats


@dataclass(frozen=True)
class Rays:
    """Directions of N rays that nearly share an origin, sorted into bundles so that most of the pairs of a solid and
    a ray need no test.

    Attributes:
        direction: unit vectors (N, 3), ego frame.
        members: the rays of each bundle.
        middle: unit vector in the middle of each bundle (G, 3).
        width: largest angle between the middle and a ray of the bundle (G,), rad.
    """

    direction: Floats
    members: list[Ints]
    middle: Floats
    width: Floats

    @classmethod
    def of(cls, direction: Floats) -> Rays:
        """Bundles the directions by azimuth and elevation."""
        bins = np.floor(np.arctan2(direction[:, 1], direction[:, 0]) / BUNDLE).astype(np.int64) * 1000
        bins += np.floor(np.arcsin(np.clip(direction[:, 2], -1, 1)) / BUNDLE).astype(np.int64)
        order = np.argsort(bins, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(bins[order])) + 1)
        middle = np.stack([direction[rows].sum(axis=0) for rows in members])
        middle /= np.sqrt(np.square(middle).sum(axis=1))[:, None]
        nearest = [(direction[rows] * axis).sum(axis=1).min() for rows, axis in zip(members, middle, strict=True)]
        return cls(direction, members, middle, np.arccos(np.clip(nearest, -1, 1)))


def cast(world: World, rays: Rays, origin: Floats, time: Floats | float = 0.0) -> Hits:
    """First hits of the rays.

    Args:
        world: solids and ground.
        rays: N directions.
        origin: start of the rays (N, 3) or of all of them (3,), ego frame at the moment of exposure.
        time: of each ray (N,) or of all, seconds after the exposure; moving solids are met where they are then.
    """
    direction = rays.direction
    n = len(direction)
    origins = np.broadcast_to(np.asarray(origin, dtype=np.float64), (n, 3))
    times = np.broadcast_to(np.asarray(time, dtype=np.float64), (n,))
    with np.errstate(divide="ignore", invalid="ignore"):
        down = -origins[:, 2] / direction[:, 2]
    solid = np.where(direction[:, 2] < -1e-9, GROUND, SKY)
    nearest = np.where(solid == GROUND, down, np.inf)
    parts = np.ascontiguousarray(np.concatenate([origins, direction], axis=1).T)
    for index, least, bundles in _candidates(world, rays, origins, times):
        rows = np.concatenate([rays.members[g] for g in bundles])
        rows = rows[nearest[rows] > least]
        if len(rows) == 0:
            continue
        reach = _distance(world, index, parts[:, rows], times[rows])
        closer = reach < nearest[rows]
        rows = rows[closer]
        nearest[rows] = reach[closer]
        solid[rows] = index
    return _describe(world, origins, direction, times, nearest, solid)


def _candidates(world: World, rays: Rays, origin: Floats, time: Floats) -> list[tuple[int, float, Ints]]:
    """Solids from near to far that some bundle may meet: index, a distance below which no hit is, the bundles."""
    columns = world.columns
    start = origin.mean(axis=0)
    apart = np.sqrt(np.square(origin - start).sum(axis=1).max())
    moved = np.sqrt(np.square(columns.velocity[:-1]).sum(axis=1)) * np.abs(time).max()
    radius = np.sqrt(np.square(columns.half[:-1]).sum(axis=1)) + apart + moved
    way = columns.centre[:-1] - start
    far = np.sqrt(np.square(way).sum(axis=1))
    cone = np.where(far > radius, np.arcsin(np.minimum(1.0, radius / np.maximum(far, 1e-9))), np.pi)
    towards = sum(way[:, None, k] * rays.middle[None, :, k] for k in range(3)) / np.maximum(far, 1e-9)[:, None]
    near = np.arccos(np.clip(towards, -1, 1)) <= cone[:, None] + rays.width[None, :] + 1e-6
    order = np.argsort(far - radius, kind="stable")
    return [(int(k), float(far[k] - radius[k] - apart), np.flatnonzero(near[k])) for k in order if near[k].any()]


def _turned(vectors: Floats, yaw: Floats | float) -> Floats:
    """Vectors (N, 3) turned about z by -yaw, that is, seen along the axes of a solid."""
    c, s = np.cos(yaw), np.sin(yaw)
    x, y = vectors[:, 0], vectors[:, 1]
    return np.stack([c * x + s * y, c * y - s * x, vectors[:, 2]], axis=1)


def _distance(world: World, index: int, rays: Floats, time: Floats) -> Floats:
    """Distance to the solid along each of the rays (6, n), origin and direction; infinite for a miss."""
    columns = world.columns
    centre, half, velocity = columns.centre[index], columns.half[index], columns.velocity[index]
    c, s = float(np.cos(columns.yaw[index])), float(np.sin(columns.yaw[index]))
    x, y, z = rays[0] - centre[0], rays[1] - centre[1], rays[2] - centre[2]
    if velocity.any():
        x, y = x - velocity[0] * time, y - velocity[1] * time
    o = ((c * x + s * y) / half[0], (c * y - s * x) / half[1], z / half[2])
    d = ((c * rays[3] + s * rays[4]) / half[0], (c * rays[4] - s * rays[3]) / half[1], rays[5] / half[2])
    shape = int(columns.shape[index])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if shape == _BOX:
            return _into_box(o, d)
        upright = shape == _CYLINDER
        axes = range(2) if upright else range(3)
        a = sum(d[k] * d[k] for k in axes)
        b = sum(o[k] * d[k] for k in axes)
        c2 = sum(o[k] * o[k] for k in axes) - 1
        root = b * b - a * c2
        reach = (-b - np.sqrt(np.maximum(root, 0))) / a
        met = (root > 0) & (reach > NEAREST)
        if upright:
            met &= np.abs(o[2] + reach * d[2]) <= 1
        return np.where(met, reach, np.inf)


def _into_box(o: tuple[Floats, Floats, Floats], d: tuple[Floats, Floats, Floats]) -> Floats:
    """Distance along o + t d to the box [-1, 1]^3 (slab method; fmin and fmax pass over the NaN of 0 / 0)."""
    enter, leave = np.full(len(o[0]), -np.inf), np.full(len(o[0]), np.inf)
    for k in range(3):
        one, other = (-1 - o[k]) / d[k], (1 - o[k]) / d[k]
        enter = np.fmax(enter, np.fmin(one, other))
        leave = np.fmin(leave, np.fmax(one, other))
    return np.where((enter < leave) & (enter > NEAREST), enter, np.inf)


def _describe(world: World, origin: Floats, direction: Floats, time: Floats, distance: Floats, solid: Ints) -> Hits:
    """Point, local point, normal and label of every hit."""
    columns, n_solids = world.columns, len(world.solids)
    row = np.where(solid >= 0, solid, n_solids)
    sky = solid == SKY
    point = origin + np.where(sky, 0.0, distance)[:, None] * direction
    point[sky] = 0.0
    yaw, half, shape = columns.yaw[row], columns.half[row], columns.shape[row]
    local = _turned(point - columns.centre[row] - columns.velocity[row] * time[:, None], yaw)
    unit = local / half
    axis = np.abs(unit).argmax(axis=1)
    box = np.zeros((len(row), 3))
    each = np.arange(len(row))
    box[each, axis] = np.sign(unit[each, axis])
    round_ = unit / half
    round_[:, 2] *= shape == Shape.ELLIPSOID
    facing = np.where((shape == Shape.BOX)[:, None], box, round_)
    facing /= np.maximum(np.sqrt(np.square(facing).sum(axis=1)), 1e-12)[:, None]
    normal = _turned(facing, -yaw)
    ground = solid == GROUND
    normal[ground] = (0.0, 0.0, 1.0)
    normal[sky] = 0.0
    label = columns.label[row]
    label = np.where(ground, world.ground.labels(point[:, 0], point[:, 1]), label)
    label = np.where(sky, CLASS_ID["sky"], label)
    assert columns.label[n_solids] == VOID
    return Hits(distance, solid, point, local, normal, label, direction)
