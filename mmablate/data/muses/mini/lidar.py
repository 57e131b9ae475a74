"""The LiDAR: a turning fan of rays, cast against the same world, and what weather does to its returns."""

from __future__ import annotations

from functools import cache

import numpy as np

from mmablate.data.muses.mini import rig
from mmablate.data.muses.mini.raycast import SKY, Hits, Rays, cast
from mmablate.data.muses.mini.surface import describe
from mmablate.data.muses.mini.weather import Condition
from mmablate.data.muses.mini.world import CLASS_ID, Floats, World

RINGS = 26
FRONT = 44.0
"""Half of the sector ahead (degrees) that is scanned densely."""
TURN_S = 0.05
"""Seconds of one turn, the middle of the sector ahead at the moment of exposure."""
REACH = 120.0
NOISE = 0.02
"""Standard deviation of a range (m)."""


def scan() -> tuple[Floats, Floats, Floats]:
    """Ray directions in the sensor's frame (N, 3), ring (N,) and time (N,) in s after the exposure.

    26 rings from 24 degrees below to 9 above, denser near the horizon. The sector ahead is scanned every 0.76
    degrees, the rest, which no frame shows, every 7.
    """
    below = -24 + 33 * np.power(np.linspace(0, 1, RINGS), 0.62)
    ahead = np.arange(-FRONT, FRONT + 0.01, 0.76)
    behind = np.arange(FRONT + 7, 360 - FRONT - 6.9, 7.0)
    azimuth = np.concatenate([ahead, np.where(behind > 180, behind - 360, behind)])
    azimuth.sort()
    turn, ring = np.meshgrid(azimuth, np.arange(RINGS), indexing="ij")
    a, e = np.deg2rad(turn.ravel()), np.deg2rad(below[ring.ravel()])
    a = a + 0.0035 * (ring.ravel() % 3 - 1)  # the beams of a column do not leave at one angle
    direction = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    return direction, ring.ravel().astype(np.float64), -turn.ravel() / 360 * TURN_S


@cache
def _fan() -> Rays:
    """The scan's rays in the ego frame."""
    direction, pose = scan()[0], rig.LIDAR_POSE
    return Rays.of(np.stack([sum(direction[:, k] * pose[i, k] for k in range(3)) for i in range(3)], axis=1))


def sweep(world: World) -> tuple[Hits, Floats]:
    """What every ray of the scan meets, and the reflectivity there (N,)."""
    _, _, time = scan()
    start = rig.LIDAR_POSE[:3, 3] + time[:, None] * np.array([world.speed, 0.0, 0.0])
    hits = cast(world, _fan(), start, time)
    return hits, describe(world, hits).reflectivity


def points(hits: Hits, reflectivity: Floats, condition: Condition, stream: np.random.Generator) -> Floats:
    """The cloud (n, 6) float64: x, y, z (m, sensor frame), intensity 0-255, ring, time after the exposure (s).

    The power of a return falls with exp(-2 k d) and, beyond 25 m, with the square of the distance; a return below the
    threshold is lost. Fog, flakes and drops send back light of their own from nearby.
    """
    direction, ring, time = scan()
    n = len(ring)
    facing = np.abs(sum(hits.normal[:, i] * hits.direction[:, i] for i in range(3)))
    bright = reflectivity * (0.35 + 0.65 * np.sqrt(facing))
    if condition.wet:
        bright = bright * np.where(hits.normal[:, 2] > 0.7, 0.45, 0.85)  # the beam glances off the water
    if condition.cover > 0:
        lies = np.clip(hits.normal[:, 2], 0, 1) * condition.cover
        bright = bright * (1 - 0.5 * lies) + 0.30 * lies
    distance = np.where(hits.solid == SKY, REACH * 10, hits.distance)
    thin = np.exp(-2 * _extinction(condition) * distance) * np.square(np.minimum(1, 25 / distance))
    power = bright * thin * np.exp(0.12 * stream.standard_normal(n))
    seen = (power > 0.010 * np.exp(0.5 * stream.standard_normal(n))) & (distance < REACH)
    seen &= stream.random(n) > {"clear": 0.01, "fog": 0.03, "rain": 0.08, "snow": 0.05}[condition.weather]
    rough = np.where(hits.label == CLASS_ID["vegetation"], 0.15, NOISE)
    ranged = distance + stream.standard_normal(n) * rough
    value = bright * np.sqrt(thin) * np.exp(0.12 * stream.standard_normal(n))

    chance, typical = {"clear": (0.0, 1.0), "fog": (0.25, 4.0), "rain": (0.02, 2.5), "snow": (0.10, 3.5)}[
        condition.weather
    ]
    near = 0.7 + stream.gamma(2.0, typical / 2.0, n)
    clutter = (stream.random(n) < chance * np.where(seen, 0.6, 1.5)) & (near < distance)
    ranged = np.where(clutter, near, ranged)
    value = np.where(clutter, stream.uniform(0.01, 0.15, n), value)
    kept = (seen | clutter) & (ranged > 0.5)
    place = direction * ranged[:, None]
    cloud = np.column_stack([place, np.clip(np.rint(255 * value), 0, 255), ring, time])
    return np.ascontiguousarray(cloud[kept])


def _extinction(condition: Condition) -> float:
    """Of the air at the LiDAR's wavelength (1/m): fog as for the eye, large drops and flakes less."""
    return condition.extinction * {"clear": 1.0, "fog": 1.0, "rain": 0.8, "snow": 0.6}[condition.weather]
