"""The eight conditions and the light that reaches a camera under each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmablate.data.muses.classes import TIMES, WEATHERS
from mmablate.data.muses.mini.raycast import GROUND, SKY, Hits
from mmablate.data.muses.mini.surface import Surface, describe, scatter
from mmablate.data.muses.mini.world import CLASS_ID, Floats, World


@dataclass(frozen=True)
class Condition:
    """Weather and time of day of one scene, with the strength drawn for it.

    Attributes:
        weather: clear, fog, rain or snow.
        time_of_day: day or night.
        extinction: of the air for visible light (1/m); 3 / extinction is about how far one sees (Koschmieder).
        cover: 0-1, how much of open ground is white.
        drops: rain on the lens and in the air, or flakes, relative to the middle of its kind.
    """

    weather: str
    time_of_day: str
    extinction: float
    cover: float = 0.0
    drops: float = 0.0

    @property
    def night(self) -> bool:
        """After dark."""
        return self.time_of_day == "night"

    @property
    def wet(self) -> bool:
        """Rain on the ground."""
        return self.weather == "rain"


CONDITIONS = tuple((weather, time) for time in TIMES for weather in WEATHERS)
"""The eight, in the order in which scenes take them."""


def draw_condition(weather: str, time_of_day: str, stream: np.random.Generator) -> Condition:
    """The condition with a strength of its own."""
    strength = float(stream.uniform(0.75, 1.3))
    if weather == "fog":
        return Condition(weather, time_of_day, 3.0 / float(stream.uniform(26, 48)))
    if weather == "rain":
        return Condition(weather, time_of_day, 3.0 / 350, drops=strength)
    if weather == "snow":
        return Condition(weather, time_of_day, 3.0 / 180, cover=float(stream.uniform(0.7, 0.95)), drops=strength)
    return Condition(weather, time_of_day, 3.0 / 4000)


class View:
    """What one camera sees of a world at one moment; what no weather changes is worked out once.

    Args:
        world: the scene.
        hits: of the camera's rays (N).
    """

    def __init__(self, world: World, hits: Hits) -> None:
        self.world, self.hits = world, hits
        self.surface = describe(world, hits)

    @cached_property
    def _lamplight(self) -> Floats:
        return _night(self.world, self.hits)

    def radiance(self, condition: Condition) -> Floats:
        """Linear RGB (N, 3) that reaches the camera; 1 is a white wall in daylight.

        Lambert surfaces under the sky, the sun, the ego car's headlights and street lamps; glowing parts; then the
        air: L exp(-k d) + A (1 - exp(-k d)) with extinction k, distance d and air light A (Koschmieder 1924).
        """
        world, hits, surface = self.world, self.hits, self.surface
        albedo = _weathered(world, hits, surface, condition)
        light = self._lamplight if condition.night else _day(world, hits, condition)
        found = albedo * light + surface.signal * (0.25 if condition.night else 0.8)
        if condition.night:
            found += 0.12 * surface.glow
        if condition.wet:
            found += _mirror(hits, condition)
        sky = hits.solid == SKY
        found[sky] = _sky(world, hits.direction[sky], condition)
        air = _air(hits, condition)
        kept = np.exp(-condition.extinction * np.minimum(hits.distance, 1e4))
        kept = np.where(sky & (condition.extinction < 0.005), 1.0, kept)[:, None]
        return found * kept + air * (1 - kept)


def _weathered(world: World, hits: Hits, surface: Surface, condition: Condition) -> Floats:
    """Albedo, wet or under snow."""
    albedo = surface.albedo
    if condition.wet:
        porous = np.where(hits.solid == GROUND, 0.5, 0.8)
        return albedo * porous[:, None]
    if condition.cover > 0:
        cells = np.floor(hits.point[:, :2] / 0.35).astype(np.int64)
        patchy = scatter(world.noise + 23, cells[:, 0], cells[:, 1])
        lies = np.clip(hits.normal[:, 2] * 1.6 - 0.5, 0, 1) * condition.cover
        lies *= 1 - 0.85 * surface.tracks * (hits.label == CLASS_ID["road"])
        lies = np.clip(lies * (0.75 + 0.5 * patchy), 0, 0.97)[:, None]
        return albedo * (1 - lies) + np.array([0.80, 0.83, 0.88]) * lies
    return albedo


def _day(world: World, hits: Hits, condition: Condition) -> Floats:
    """Irradiance by day: the sun only where the sky is clear."""
    up = 0.55 + 0.45 * hits.normal[:, 2]
    if condition.weather != "clear":
        grey = {"fog": 0.80, "rain": 0.52, "snow": 0.78}[condition.weather]
        return up[:, None] * np.array([0.97, 1.0, 1.03]) * grey
    facing = sum(hits.normal[:, i] * world.sun[i] for i in range(3))
    direct = np.maximum(facing, 0.0) * (1 - 0.5 * world.clouds)
    return up[:, None] * np.array([0.36, 0.40, 0.47]) + np.asarray(direct)[:, None] * np.array([0.85, 0.78, 0.66])


def _night(world: World, hits: Hits) -> Floats:
    """Irradiance at night: a faint sky, the headlights, the street lamps."""
    light = np.full((len(hits.distance), 3), 0.0022) * np.array([0.8, 0.9, 1.2])
    lamp = np.array([1.6, 0.0, 0.7])
    way = hits.point - lamp
    square = np.maximum((way * way).sum(axis=1), 1.0)
    reach = np.sqrt(square)
    across = way[:, 1] / np.maximum(way[:, 0], 0.1)
    high = way[:, 2] / reach
    beam = np.exp(-np.square(across / 0.42)) * (way[:, 0] > 0) * (0.10 + 0.90 / (1 + np.exp((high - 0.02) / 0.03)))
    facing = -(hits.normal * way).sum(axis=1) / reach
    light += (3.2 * beam * np.clip(facing + 0.12, 0, 1) / square * np.minimum(reach / 4, 1.5))[:, None] * 2.2
    for place in world.lamps:
        way = hits.point - place
        square = np.maximum((way * way).sum(axis=1), 1.0)
        reach = np.sqrt(square)
        down = np.clip(-way[:, 2] / reach, 0, 1)
        facing = np.clip(-(hits.normal * way).sum(axis=1) / reach, 0, 1)
        light += (1.9 * down * facing / square)[:, None] * np.array([1.0, 0.74, 0.42])
    return light


def _mirror(hits: Hits, condition: Condition) -> Floats:
    """Sky seen in wet ground, more at grazing angles (Schlick's approximation)."""
    ground = hits.solid == GROUND
    grazing = 0.03 + 0.97 * np.power(np.clip(1 + hits.direction[:, 2], 0, 1), 5)
    sky = 0.003 if condition.night else 0.30
    return (ground * grazing * sky)[:, None] * np.array([0.95, 1.0, 1.05])


def _sky(world: World, direction: Floats, condition: Condition) -> Floats:
    """Radiance of the sky along unit directions (N, 3)."""
    high = np.clip(direction[:, 2], 0, 1)[:, None]
    if condition.night:
        return np.array([0.0012, 0.0012, 0.0017]) * (1.6 - high)
    if condition.weather != "clear":
        return np.full((len(direction), 3), {"fog": 0.72, "rain": 0.45, "snow": 0.70}[condition.weather])
    blue = np.array([0.50, 0.66, 0.88]) * (1 - high) + np.array([0.16, 0.34, 0.74]) * high
    flat = direction[:, :2] / np.maximum(direction[:, 2:] + 0.15, 0.15)
    thick = 0.65 * _billow(world, flat * 2.0, 29) + 0.35 * _billow(world, flat * 5.0, 31)
    cloud = np.clip((thick - 0.75 + 0.55 * world.clouds) * 5, 0, 1)[:, None] * 0.8
    return blue * (1 - cloud) + 0.85 * cloud


def _billow(world: World, place: Floats, salt: int) -> Floats:
    """Smooth noise in [0, 1): random values on a grid, blended between (Perlin's fade)."""
    cell = np.floor(place).astype(np.int64)
    rest = place - cell
    fade = rest * rest * (3 - 2 * rest)
    total = np.zeros(len(place))
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - fade[:, 0]) * np.abs(1 - dy - fade[:, 1])
            total += weight * scatter(world.noise + salt, cell[:, 0] + dx, cell[:, 1] + dy)
    return total


def _air(hits: Hits, condition: Condition) -> Floats:
    """Light that the air itself sends towards the camera."""
    if condition.night:
        ahead = np.clip(-hits.direction[:, 2:] * 2 + 0.5, 0, 1)  # the headlights' own beam, thrown back
        return np.array([0.0075, 0.0075, 0.0078]) * (0.35 + ahead)
    level = {"clear": 0.65, "fog": 0.72, "rain": 0.45, "snow": 0.70}[condition.weather]
    return np.full((len(hits.distance), 3), level) * np.array([0.98, 1.0, 1.02])
