"""A small synthetic set in the layout of MUSES: ray-cast streets seen by a frame camera, an event camera and a LiDAR.

Every scene is one 3D world; the three sensors sit at different places of the ego car and each casts its own rays
against it, so they agree as real sensors do. The weather and the time of day hurt each of them in its own way. Nothing
in the set was measured, and every frame, label image and event file says so.

What is simpler than in MUSES: frames are `size` pixels, not 1920 x 1080 (calib.json still gives K for the latter, as
the dataset's tools expect). The event sensor has its 1280 x 720 pixels, but only one pixel in each cell of a grid of
`size` can fire; projected to an image larger than `size`, events form a grid of dots. The LiDAR scans 26 rings. There
is no radar, panoptic or uncertainty annotation, and no reference frame.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.muses.classes import SPLITS
from mmablate.data.muses.mini import camera, events, lidar, rig
from mmablate.data.muses.mini.layout import draw_world, shown, wanted
from mmablate.data.muses.mini.mark import GENERATOR, SYNTHETIC_FILE, VERSION, made_with
from mmablate.data.muses.mini.raycast import Rays, cast
from mmablate.data.muses.mini.weather import CONDITIONS, Condition, View, draw_condition
from mmablate.data.muses.mini.world import World
from mmablate.data.muses.mini.writing import (
    Address,
    write_events,
    write_gnss,
    write_json,
    write_labels,
    write_lidar,
    write_png,
)
from mmablate.errors import DataError

__all__ = ["make_muses"]

TRIES = 8
"""Worlds drawn until one shows the rare classes that its scene is to show."""
SHOWN = 24
"""Pixels of a rare class, of 108 x 192, from which on it counts as shown."""
FIRST_US = 1_600_000_000_000_000


def make_muses(
    root: Path, *, train: int = 60, val: int = 20, test: int = 20, size: tuple[int, int] = (108, 192), seed: int = 0
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    Training and validation scenes take the eight conditions in turn; every test scene is written under all eight, the
    same world each time: REC####_frame_###### with one recording a split and condition and one frame number a world.

    Args:
        root: folder to make; missing, empty, or a set that this generator made before, which is replaced.
        train, val, test: number of worlds of each split.
        size: height and width of frames and labels, and of the grid of event pixels.
        seed: same seed, same bytes.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    root = Path(root)
    counts = {"train": train, "val": val, "test": test}
    options: dict[str, Any] = {**counts, "size": list(size), "seed": seed}
    mark = {"synthetic": True, "generator": GENERATOR, "version": VERSION, "options": options}
    if made_with(root) == mark:
        return
    try:
        if root.exists() and not root.is_dir():
            raise DataError(f"{root}: expected a folder to write to, found a file")
        if root.is_dir() and made_with(root) is None and any(root.iterdir()):
            raise DataError(f"{root}: expected an empty folder or a set made by `{GENERATOR}`, found other files")
        place = root.resolve()  # a link to a folder elsewhere stays one
        place.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.building."))
        try:
            _write_set(building, counts, (int(size[0]), int(size[1])), seed)
            write_json(building / SYNTHETIC_FILE, mark)
            building.chmod(0o755)
            _move(building, place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{root}: cannot be written: {error.strerror or error}") from error


def _move(building: Path, root: Path) -> None:
    """Puts the finished folder in its place; an older set goes only once the new one is complete."""
    if root.is_dir():
        old = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.old."))
        os.replace(root, old / "set")
        os.replace(building, root)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(building, root)


def _write_set(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    """All scenes, meta.json and calib.json."""
    meta: dict[str, dict[str, Any]] = {}
    number = 0
    for place, split in enumerate(SPLITS):
        for index in range(counts[split]):
            world = _world(seed, place, index, wanted(index, counts[split]), size)
            chosen = range(len(CONDITIONS)) if split == "test" else [index % len(CONDITIONS)]
            scene = _Scene(root, world, size)
            for k in chosen:
                weather, time_of_day = CONDITIONS[k]
                name = f"REC{1 + place * len(CONDITIONS) + k:04d}_frame_{number:06d}"
                stream = _stream(seed, 1, place, index, k)
                condition = draw_condition(weather, time_of_day, stream)
                meta[name] = scene.write(Address(split, weather, time_of_day, name), condition, stream, number)
            number += 1
    write_json(root / "meta.json", meta)
    write_json(root / "calib.json", rig.calibration())


def _stream(*key: int) -> np.random.Generator:
    """A source of random numbers of its own for each key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@cache
def _coarse_rays(size: tuple[int, int]) -> Rays:
    """Every second row and column of the frame, the bonnet left out."""
    coarse = (np.arange(size[0]) % 2 == 1)[:, None] & (np.arange(size[1]) % 2 == 1)[None, :]
    coarse &= ~camera.bonnet(size)
    return Rays.of(np.ascontiguousarray(rig.rgb_rays(size).direction[coarse.ravel()]))


def _world(seed: int, place: int, index: int, asked: tuple[str, ...], size: tuple[int, int]) -> World:
    """A world that shows the classes asked for; the best of `TRIES`, judged by every second pixel of its frame."""
    rays = _coarse_rays(size)
    enough = max(1, SHOWN * len(rays.direction) // (108 * 192))
    best: tuple[int, World] | None = None
    for attempt in range(TRIES):
        world = draw_world(_stream(seed, 0, place, index, attempt), asked)
        labels = cast(world, rays, rig.RGB_POSE[:3, 3]).label
        score = sum(shown(labels, name) >= enough for name in asked)
        if best is None or score > best[0]:
            best = (score, world)
        if score == len(asked):
            break
    assert best is not None
    return best[1]


class _Scene:
    """What of a world does not depend on the condition: cast once, seen under one condition or under eight."""

    def __init__(self, root: Path, world: World, size: tuple[int, int]) -> None:
        self.root, self.world, self.size = root, world, size
        self.view = View(world, cast(world, rig.rgb_rays(size), rig.RGB_POSE[:3, 3]))
        self.labels = camera.labels(self.view.hits.label, size)
        self.views = events.views(world, size)
        self.sweep = lidar.sweep(world)

    def write(self, address: Address, condition: Condition, stream: np.random.Generator, number: int) -> dict[str, Any]:
        """Writes the files of one scene and returns its entry in meta.json."""
        exposed_us = FIRST_US + number * 10_000_000 + CONDITIONS.index((address.weather, address.time_of_day)) * 10**11
        paths = {
            "path_to_frame_camera": address.path("frame_camera", "frame_camera.png"),
            "path_to_event_camera": address.path("event_camera", "event_camera.h5"),
            "path_to_lidar": address.path("lidar", "lidar.bin"),
            "path_to_gnss": address.path("gnss", "gnss.txt"),
        }
        frame = camera.frame(self.view.radiance(condition), self.size, condition, stream)
        write_png(self.root / paths["path_to_frame_camera"], frame)
        stream_of_events = events.fire(self.views, self.size, condition, stream)
        write_events(self.root / paths["path_to_event_camera"], stream_of_events, exposed_us - events.WINDOW_US)
        cloud = lidar.points(*self.sweep, condition, stream)
        cloud[:, 5] += exposed_us / 1e6
        write_lidar(self.root / paths["path_to_lidar"], cloud)
        write_gnss(self.root / paths["path_to_gnss"], exposed_us, self.world.speed)
        write_labels(self.root, address, self.labels)
        half_us = 10_000 if condition.night else 1_500
        return {**paths, **_about(address, condition), **_exposure(exposed_us, half_us)}


def _exposure(middle_us: int, half_us: int) -> dict[str, int]:
    """Start and end of the frame's exposure."""
    return {
        "frame_camera_exposure_start_timestamp_us": middle_us - half_us,
        "frame_camera_exposure_end_timestamp_us": middle_us + half_us,
    }


def _about(address: Address, condition: Condition) -> dict[str, Any]:
    """What meta.json says about the condition."""
    falls = condition.weather in ("rain", "snow")
    ground = {"clear": "dry", "fog": "dry", "rain": "wet", "snow": "snow"}[condition.weather]
    level = (
        ("light" if condition.drops < 0.9 else "moderate" if condition.drops < 1.15 else "heavy") if falls else "none"
    )
    return {
        "split": address.split,
        "weather": address.weather,
        "time_of_day": address.time_of_day,
        "ground_condition": ground,
        "precipitation_level": level,
        "precipitation_tag": condition.weather if falls else "none",
        "sun_level": "dark" if condition.night else "sunlight" if condition.weather == "clear" else "overcast",
        "tunnel": False,
    }
