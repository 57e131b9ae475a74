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

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.generated import write_json, write_set
from mmablate.data.muses.classes import SPLITS
from mmablate.data.muses.mini import camera, events, lidar, rig
from mmablate.data.muses.mini.layout import draw_world, shown, wanted
from mmablate.data.muses.mini.mark import GENERATOR, VERSION
from mmablate.data.muses.mini.raycast import Rays, cast
from mmablate.data.muses.mini.weather import CONDITIONS, Condition, View, draw_condition
from mmablate.data.muses.mini.world import World
from mmablate.data.muses.mini.writing import (
    Address,
    write_events,
    write_gnss,
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
PACKAGE_PARENT = Path(__file__).resolve().parents[4]
WORLDS_A_PROCESS = 12
"""A process takes a second to start; so many worlds repay it."""

_Job = tuple[Path, str, int, int, int, tuple[int, int], int, int]
"""root, split, its place, world of the split, worlds of the split, size, seed, number of the world in the set."""


def make_muses(
    root: Path, *, train: int = 60, val: int = 20, test: int = 20, size: tuple[int, int] = (108, 192), seed: int = 0
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    Training and validation scenes take the eight conditions in turn; every test scene is written under all eight, the
    same world each time: REC####_frame_###### with one recording a split and condition and one frame number a world.

    Args:
        root: folder to make; missing or empty, or a set of these options.
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
    write_set(root, mark, lambda place: _write_set(place, counts, (int(size[0]), int(size[1])), seed))


def _write_set(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    """All scenes, meta.json and calib.json.

    Worlds draw from streams of their own, so they can be made in any order by any number of processes.
    """
    jobs = [
        (root, split, place, index, counts[split], size, seed, index + sum(list(counts.values())[:place]))
        for place, split in enumerate(SPLITS)
        for index in range(counts[split])
    ]
    meta: dict[str, dict[str, Any]] = {}
    for entries in _made(jobs):
        meta |= entries
    write_json(root / "meta.json", meta)
    write_json(root / "calib.json", rig.calibration())


def _made(jobs: Sequence[_Job]) -> Iterator[dict[str, dict[str, Any]]]:
    """The entries of each world, in order; a large set is shared by the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(jobs) // WORLDS_A_PROCESS)
    if workers < 2:
        yield from map(_write_world, jobs)
        return
    # Interpreters of their own: unlike processes of multiprocessing they never run the caller's script again, and
    # a process that may have no children of that kind can start them too.
    started: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            started.extend(_start(jobs[i::workers]) for i in range(workers))
            waiting = [pool.submit(_finished, process) for process in started]
            for done in as_completed(waiting):
                done.result()  # raises as soon as one has failed
            parts = [done.result() for done in waiting]
        finally:
            for process in started:
                process.kill()  # none may go on writing into a folder that is about to be removed
                process.wait()
    for index in range(len(jobs)):
        yield parts[index % workers][index // workers]


def _start(jobs: Sequence[_Job]) -> subprocess.Popen[str]:
    """An interpreter that writes these worlds; `mmablate.data.muses.mini.__main__` is its other end."""
    # -P, and no empty part in the search path: a json.py of the folder that the user works in is not for us.
    command = [sys.executable, "-P", "-m", "mmablate.data.muses.mini"]
    places = [str(PACKAGE_PARENT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in places if part)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # one that died early tells why when its end is waited for
        process.stdin.write(json.dumps([[str(job[0]), *job[1:]] for job in jobs]))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdin = None
    return process


def _finished(process: subprocess.Popen[str]) -> list[dict[str, dict[str, Any]]]:
    """What an interpreter has written. DataError where it failed."""
    out, err = process.communicate()
    if process.returncode != 0:
        raise DataError(f"a process of the generator ended with status {process.returncode}: {err.strip()[-300:]}")
    try:
        entries: list[dict[str, dict[str, Any]]] = json.loads(out)
    except ValueError as error:
        raise DataError(f"a process of the generator answered {out[-300:]!r}, expected JSON") from error
    return entries


def write_worlds(jobs: Sequence[Sequence[Any]]) -> list[dict[str, dict[str, Any]]]:
    """Writes the worlds of these jobs, as JSON has them."""
    return [
        _write_world((Path(root), split, place, index, count, (size[0], size[1]), seed, number))
        for root, split, place, index, count, size, seed, number in jobs
    ]


def _write_world(job: _Job) -> dict[str, dict[str, Any]]:
    """Writes one world under its conditions; its entries in meta.json."""
    root, split, place, index, count, size, seed, number = job
    world = _world(seed, place, index, wanted(index, count), size)
    chosen = range(len(CONDITIONS)) if split == "test" else [index % len(CONDITIONS)]
    scene = _Scene(root, world, size)
    entries = {}
    for k in chosen:
        weather, time_of_day = CONDITIONS[k]
        name = f"REC{1 + place * len(CONDITIONS) + k:04d}_frame_{number:06d}"
        stream = _stream(seed, 1, place, index, k)
        condition = draw_condition(weather, time_of_day, stream)
        entries[name] = scene.write(Address(split, weather, time_of_day, name), condition, stream, number)
    return entries


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
