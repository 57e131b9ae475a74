"""The event camera: changes of log intensity while the ego car drives 30 ms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmablate.data.muses.mini import rig
from mmablate.data.muses.mini.camera import bonnet, soften
from mmablate.data.muses.mini.raycast import cast
from mmablate.data.muses.mini.weather import Condition, View
from mmablate.data.muses.mini.world import World

WINDOW_US = 30_000
THRESHOLD = 0.22
"""Change of log intensity that fires an event."""
MOST = 4
"""Events of one pixel within the window, at most: its refractory time."""


@dataclass(frozen=True)
class Events:
    """A stream in the order of its times.

    Attributes:
        x, y: event-sensor pixels, uint16.
        t: microseconds since the start of the window, uint32.
        p: 1 for brighter, 0 for darker, uint8.
    """

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    p: np.ndarray


def views(world: World, size: tuple[int, int]) -> list[View]:
    """What the event camera sees at the start and at the end of the window, which is the moment of exposure."""
    found = []
    for time in (-WINDOW_US / 1e6, 0.0):
        start = rig.EVENT_POSE[:3, 3] + time * np.array([world.speed, 0.0, 0.0])
        found.append(View(world, cast(world, rig.event_rays(size), start, time)))
    return found


def fire(seen: list[View], size: tuple[int, int], condition: Condition, stream: np.random.Generator) -> Events:
    """The events of one scene.

    A pixel fires once for each threshold that its log intensity passes, with a threshold of its own (mismatch) and a
    random phase, plus background activity, more of it in the dark; rain and flakes leave short traces.
    """
    dark = 4e-4 if condition.night else 0.01
    logs = []
    for view in seen:
        light = view.radiance(condition)
        grey = (0.30 * light[:, 0] + 0.59 * light[:, 1] + 0.11 * light[:, 2]).reshape(*size, 1)
        logs.append(np.log(soften(grey)[..., 0] + dark))
    change = logs[1] - logs[0]
    threshold = np.maximum(THRESHOLD * (1 + 0.12 * stream.standard_normal(size)), 0.1)
    count = np.floor(np.abs(change) / threshold + stream.random(size) * 0.9).astype(np.int64)
    count = np.minimum(count, MOST) * ~bonnet(size)
    cell = np.repeat(np.arange(count.size), count.ravel())
    positive = (change > 0).ravel()[cell]
    extra, sign = _noise(size, condition, stream)
    cell, positive = np.concatenate([cell, extra]), np.concatenate([positive, sign])
    t = stream.integers(0, WINDOW_US, len(cell))
    order = np.lexsort((cell, t))
    x, y = rig.event_pixels(size)
    return Events(
        x[cell[order]].astype(np.uint16),
        y[cell[order]].astype(np.uint16),
        t[order].astype(np.uint32),
        positive[order].astype(np.uint8),
    )


def _noise(size: tuple[int, int], condition: Condition, stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cells and signs of events that no edge causes."""
    height, width = size
    share = 0.05 if condition.night else 0.012
    cells = [np.flatnonzero(stream.random(height * width) < share)]
    traces = {"rain": 90, "snow": 120}.get(condition.weather, 0)
    unit = height / 108
    for _ in range(int(traces * condition.drops)):
        length = int(stream.integers(4, 11) * unit) if condition.weather == "rain" else 2
        wide = 1 if condition.weather == "rain" else 2
        rows = int(stream.integers(height)) + np.arange(max(length, 1))
        columns = int(stream.integers(width)) + np.arange(wide)
        patch = (rows[:, None] * width + columns[None, :])[(rows < height)][:, columns < width].ravel()
        cells.append(patch[stream.random(len(patch)) < 0.8])
    found = np.concatenate(cells)
    return found, stream.random(len(found)) < 0.5
