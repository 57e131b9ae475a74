"""Small MUSES trees for the tests: calibration, raw files, and projected files as the dataset's tool writes them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

SIZE = (36, 64)
FOLDERS = {"F": "frame_camera", "E": "event_camera", "L": "lidar", "labels": "gt_semantic"}
SUFFIXES = {"F": "_frame_camera", "E": "_event_camera", "L": "_lidar", "labels": "_gt_labelTrainIds"}
SCENES = (
    ("train", "clear", "day", "REC0001_frame_000001"),
    ("train", "fog", "night", "REC0002_frame_000002"),
    ("train", "rain", "day", "REC0003_frame_000003"),
    ("train", "snow", "night", "REC0004_frame_000004"),
    ("val", "clear", "day", "REC0005_frame_000005"),
    ("val", "fog", "night", "REC0006_frame_000006"),
    ("test", "clear", "day", "REC0007_frame_000007"),
    ("test", "fog", "night", "REC0008_frame_000008"),
)


def rotation(about_x: float, about_y: float, about_z: float) -> np.ndarray:
    """Rz Ry Rx, angles in rad."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([about_x, about_y, about_z]), np.sin([about_x, about_y, about_z])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return rz @ ry @ rx


def calibration() -> dict[str, Any]:
    """LiDAR: x forward, y left, z up; cameras: x right, y down, z forward; the event camera turned a little."""
    lidar2rgb, event2rgb = np.eye(4), np.eye(4)
    lidar2rgb[:3, :3] = rotation(0.02, -0.01, 0.03) @ np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    lidar2rgb[:3, 3] = [0.1, -0.3, -0.2]
    event2rgb[:3, :3] = rotation(0.01, -0.02, 0.015)
    event2rgb[:3, 3] = [0.08, 0.02, -0.01]
    return {
        "intrinsics": {
            "rgb": {"K": [[1500.0, 0, 950.0], [0, 1510.0, 545.0], [0, 0, 1]]},
            "event": {"K": [[1010.0, 0, 630.0], [0, 1000.0, 365.0], [0, 0, 1]]},
        },
        "extrinsics": {"lidar2rgb": lidar2rgb.tolist(), "event2rgb": event2rgb.tolist()},
    }


def lidar_points(seed: int, number: int = 3000) -> np.ndarray:
    """(N, 6) all around the car, some within 1 m."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(number, 6)) * [15, 15, 2, 1, 1, 1]
    points[:, 3] = rng.integers(1, 256, number)
    points[: number // 20, :3] *= 0.02
    return points


def events(seed: int, number: int = 4000) -> dict[str, np.ndarray]:
    """x, y, t, p as the files have them; times start below 30 000."""
    rng = np.random.default_rng(seed)
    return {
        "x": rng.integers(0, 1280, number).astype(np.uint16),
        "y": rng.integers(0, 720, number).astype(np.uint16),
        "t": np.sort(rng.integers(0, 29_000, number)).astype(np.uint32),
        "p": rng.integers(0, 2, number).astype(np.uint8),
    }


def write_events(path: Path, data: dict[str, np.ndarray], **options: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file.create_dataset(f"events/{name}", data=values, **options)


def place(root: Path, kind: str, scene: tuple[str, ...], ending: str) -> Path:
    """Where a file of a scene lies; the folder is made."""
    folder = root / FOLDERS[kind] / Path(*scene[:3])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{scene[3]}{SUFFIXES[kind]}{ending}"


def write_tree(
    root: Path, scenes: Sequence[tuple[str, ...]] = SCENES, size: tuple[int, int] = SIZE, kinds: str = "FEL"
) -> Path:
    """A sound raw tree."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, scene in enumerate(scenes):
        rng = np.random.default_rng(100 + seed)
        labels = rng.choice([*range(19), 255], size=size).astype(np.uint8)
        Image.fromarray(labels).save(place(root, "labels", scene, ".png"))
        if "F" in kinds:
            frame = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
            Image.fromarray(frame).save(place(root, "F", scene, ".png"))
        if "E" in kinds:
            write_events(place(root, "E", scene, ".h5"), events(seed))
        if "L" in kinds:
            lidar_points(seed).tofile(place(root, "L", scene, ".bin"))
    (root / "calib.json").write_text(json.dumps(calibration()))
    meta = {
        scene[3]: {"split": scene[0], "weather": scene[1], "time_of_day": scene[2], "sun_level": "high"}
        for scene in scenes
    }
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def png_bytes(pixels: np.ndarray, filters: Sequence[int] | None = None) -> bytes:
    """A PNG of (H, W, C) uint8 or uint16, its rows filtered as told (0 by default); one byte at a time."""
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    step = channels * depth // 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    rows = [rows[i * width * step : (i + 1) * width * step] for i in range(height)]
    raw, above = bytearray(), bytes(width * step)
    for row, kind in zip(rows, filters or [0] * height, strict=True):
        raw.append(kind)
        for i, value in enumerate(row):
            a, b = (row[i - step] if i >= step else 0), above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            nearest = min((a, b, c), key=lambda q, p=p: abs(p - q))
            raw.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        above = row
    header = struct.pack(">IIBBBBB", width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    packed = zlib.compress(bytes(raw))
    parts = [(b"IHDR", header), (b"IDAT", packed[:50]), (b"IDAT", packed[50:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def imwrite(path: Path, array: np.ndarray) -> None:
    """As cv2.imwrite: the array's first channel is taken for blue, so the file holds it last."""
    path.write_bytes(png_bytes(array[..., ::-1]))


def write_projected(path: Path, modality: str, array: np.ndarray) -> None:
    """A projected file as the dataset's tool writes it, by the ending of its name.

    Args:
        array: (H, W, 3), float32 for LiDAR, uint8 for events.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez_compressed(path, array)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        imwrite(path, ((array + 100) * 150).astype(np.uint16) if modality == "L" else array)
