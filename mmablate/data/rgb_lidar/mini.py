"""A synthetic set of cubes and spheres in the layout of the public one.

What decides the class, the shape of the body, is seen by both sensors, and nothing else does: position, size, colour,
light and distance are drawn alike for both shapes, and outlines are of one area on average. By chance, and for each
sensor by itself, the body is hidden: painted as its background, or swallowing every pulse. So the shares that are
told at best are known: 1 - h/2 by a sensor that hides the body in a share h of the samples, and 1 - h_rgb h_lidar / 2
by both. What a network reaches lies below, for noise. Nothing was measured; folders and images say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.generated import SYNTHETIC_FILE, write_json, write_set
from mmablate.data.mini_clips.cause import stream
from mmablate.data.mini_clips.rendering import write_image
from mmablate.data.rgb_lidar.lidar import AZIMUTH, ZENITH, directions
from mmablate.data.rgb_lidar.scene import NONE, Body, Floats, blotches, camera_rays, lidar_angles

GENERATOR = "mmablate data make rgb_lidar"
VERSION = 1
CLASSES = ("cubes", "spheres")
FINER = 2  # rays of a pixel, across and upwards


def make_rgb_lidar(
    root: Path,
    *,
    samples: int = 1200,
    size: int = 64,
    hidden_rgb: float = 0.12,
    hidden_lidar: float = 0.2,
    spread: float = 0.5,
    clutter: float = 0.2,
    dropped: float = 0.1,
    noise: float = 0.5,
    seed: int = 0,
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        samples: of both classes together, which take turns.
        size: height and width of pictures and depth maps.
        hidden_rgb, hidden_lidar: share of samples whose body the sensor does not see, 0..1.
        spread: factor of how far from the middle of the view bodies lie.
        clutter: factor of the texture of bodies and background, of low contrast and of bars in front of them.
        dropped: share of returns that are lost, 0..1, on average over samples.
        noise: factor of the noise of colours and of distances.
        seed: same seed, same bytes.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    options: dict[str, Any] = {
        "samples": samples, "size": size, "hidden_rgb": hidden_rgb, "hidden_lidar": hidden_lidar,
        "spread": spread, "clutter": clutter, "dropped": dropped, "noise": noise, "seed": seed,
    }  # fmt: skip
    at_best = {
        "rgb": 1 - hidden_rgb / 2,
        "lidar": 1 - hidden_lidar / 2,
        "rgb+lidar": 1 - hidden_rgb * hidden_lidar / 2,
    }
    mark = {
        "synthetic": True, "generator": GENERATOR, "version": VERSION, "options": options,
        "decides": "the shape, which both sensors see", "accuracy_at_best": at_best,
    }  # fmt: skip
    write_set(Path(root), mark, lambda place: _write(place, options))


def _write(root: Path, options: dict[str, Any]) -> None:
    size = options["size"]
    azimuth, zenith = lidar_angles(size)
    pulses = np.moveaxis(directions(azimuth, zenith), 0, -1)
    rays = camera_rays(size, FINER)
    for kind in CLASSES:
        for folder in ("rgb", "lidar"):
            (root / kind / folder).mkdir(parents=True)
            # Each part of the tree that may be copied by itself says what it is.
            write_json(root / kind / folder / SYNTHETIC_FILE, {"synthetic": True, "generator": GENERATOR})
        np.save(root / kind / AZIMUTH, azimuth.astype(np.float32))
        np.save(root / kind / ZENITH, zenith.astype(np.float32))
    for number in range(options["samples"]):
        label, place = number % 2, number // 2
        key = (options["seed"], 11, label, place)
        body = Body.draw(label == 0, options["spread"], stream(*key, 0))
        unseen = stream(*key, 1).uniform(size=2) < (options["hidden_rgb"], options["hidden_lidar"])
        picture = photograph(body, rays, bool(unseen[0]), options["clutter"], options["noise"], stream(*key, 2))
        depth = scan(body, pulses, bool(unseen[1]), options["dropped"], options["noise"], stream(*key, 3))
        write_image(root / CLASSES[label] / "rgb" / f"{place:04d}.png", picture)
        np.save(root / CLASSES[label] / "lidar" / f"{place:04d}.npy", depth)


def photograph(
    body: Body, rays: Floats, hidden: bool, clutter: float, noise: float, own: np.random.Generator
) -> NDArray[np.uint8]:
    """A picture RGBA (H, W, 4).

    Args:
        body: in view.
        rays: of the camera, `FINER` by `FINER` a pixel.
        hidden: whether the body looks exactly as what is behind it.
        clutter, noise: as of `make_rgb_lidar`.
        own: stream of the picture.
    """
    fine = len(rays)
    behind = own.uniform(0.25, 0.75, size=3)
    texture = np.stack([blotches(fine, 6, own) for _ in range(3)], axis=-1)
    scene = behind + 0.015 * clutter * texture
    contrast = own.uniform(0.5, 1.5) / max(clutter, 1.0)
    colour = behind + contrast * _apart(own)
    paint = np.stack([blotches(fine, 9, own) for _ in range(3)], axis=-1)
    light = own.standard_normal(3) + np.array([0.0, -1.0, 1.0])
    ambient = own.uniform(0.5, 0.8)
    distance, normals = body.hit(rays)
    shade = ambient + (1 - ambient) * np.maximum(normals @ (light / np.linalg.norm(light)), 0)
    surface = (colour + 0.015 * clutter * paint) * shade[..., None]
    if not hidden:
        scene = np.where(np.isfinite(distance)[..., None], surface, scene)
    for _ in range(own.poisson(0.3 * clutter)):
        _bar(scene, own)
    small = scene.reshape(fine // FINER, FINER, fine // FINER, FINER, 3).mean(axis=(1, 3))
    small = small + 0.02 * noise * own.standard_normal(small.shape)
    opaque = np.full((*small.shape[:2], 1), 255, dtype=np.uint8)
    return np.concatenate([np.clip(255 * small, 0, 255).round().astype(np.uint8), opaque], axis=-1)


def _apart(own: np.random.Generator) -> Floats:
    """A direction of colour, (3,), of length 1."""
    drawn = own.standard_normal(3)
    return np.asarray(drawn / np.linalg.norm(drawn))


def _bar(scene: Floats, own: np.random.Generator) -> None:
    """Something long in front of everything."""
    fine = len(scene)
    thick, place = int(own.uniform(0.03, 0.10) * fine) + 1, int(own.uniform(0.1, 0.9) * fine)
    colour = own.uniform(0.1, 0.9, size=3)
    (scene if own.uniform() < 0.5 else scene.swapaxes(0, 1))[place : place + thick] = colour


def scan(
    body: Body, pulses: Floats, hidden: bool, dropped: float, noise: float, own: np.random.Generator
) -> NDArray[np.float32]:
    """A depth map, (rows, columns) of azimuth and zenith, metres; `NONE` without a return.

    Args:
        body: in view.
        pulses: unit vectors, (rows, columns, 3).
        hidden: whether the body swallows every pulse.
        dropped, noise: as of `make_rgb_lidar`.
        own: stream of the scan.
    """
    distance, _ = body.hit(pulses)
    lost = np.clip(dropped + own.uniform(-0.5, 0.5) * min(dropped, 1 - dropped) * 2, 0, 1)
    spread = 0.06 * noise * body.radius * own.uniform(0.5, 1.5)
    seen = np.isfinite(distance) & (own.uniform(size=distance.shape) >= lost) & (not hidden)
    measured = np.where(np.isfinite(distance), distance, 0.0) + spread * own.standard_normal(distance.shape)
    stray = own.uniform(size=distance.shape) < 0.015 * noise  # dust, reflections
    depth = np.where(seen, measured, NONE)
    depth = np.where(stray, own.uniform(2.0, 7.0, size=distance.shape), depth)
    return np.maximum(depth, 0.1).astype(np.float32)
