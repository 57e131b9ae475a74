"""Files of one scene, in the formats of MUSES; the same values give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmablate.data.muses.classes import LABEL_IDS, VOID
from mmablate.data.muses.mini.events import WINDOW_US, Events
from mmablate.data.muses.mini.mark import FRAME_COMMENT
from mmablate.data.muses.mini.world import Floats

_TO_LABEL_ID = np.zeros(256, dtype=np.uint8)
_TO_LABEL_ID[: len(LABEL_IDS)] = LABEL_IDS


@dataclass(frozen=True)
class Address:
    """Where a scene's files lie.

    Attributes:
        split, weather, time_of_day: folders.
        name: REC####_frame_######, unique in the set.
    """

    split: str
    weather: str
    time_of_day: str
    name: str

    def path(self, folder: str, ending: str) -> str:
        """Path below the root, with slashes."""
        return f"{folder}/{self.split}/{self.weather}/{self.time_of_day}/{self.name}_{ending}"


def write_png(path: Path, image: np.ndarray) -> None:
    """PNG of (h, w) or (h, w, 3) uint8 that says it is synthetic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note = PngInfo()
    note.add_text("Comment", FRAME_COMMENT)
    Image.fromarray(image).save(path, format="PNG", pnginfo=note, compress_level=6)


def write_labels(root: Path, address: Address, labels: np.ndarray) -> None:
    """Train ids as they are, and Cityscapes ids with 0 for void."""
    write_png(root / address.path("gt_semantic", "gt_labelTrainIds.png"), labels)
    ids = np.where(labels == VOID, 0, _TO_LABEL_ID[labels]).astype(np.uint8)
    write_png(root / address.path("gt_semantic", "gt_labelIds.png"), ids)


def write_events(path: Path, events: Events, start_us: int) -> None:
    """HDF5 of one 30 ms window; `ms_to_idx[k]` is the first event at or after k ms, `t_offset` the window's start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        file.attrs["comment"] = FRAME_COMMENT
        group = file.create_group("events")
        for name in ("p", "t", "x", "y"):
            values = getattr(events, name)
            group.create_dataset(name, data=values, track_times=False, **_packing(len(values)))
        steps = np.searchsorted(events.t, np.arange(WINDOW_US // 1000) * 1000)
        file.create_dataset("ms_to_idx", data=steps.astype(np.uint64), track_times=False)
        file.create_dataset("t_offset", data=np.int64(start_us), track_times=False)


def _packing(count: int) -> dict[str, Any]:
    """Compression; an empty dataset cannot be chunked."""
    return {"compression": "gzip", "compression_opts": 4, "shuffle": True} if count else {}


def write_lidar(path: Path, cloud: Floats) -> None:
    """Little-endian float64, N x 6, no header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cloud.astype("<f8").tobytes())


def write_gnss(path: Path, time_us: int, speed: float) -> None:
    """One line of 28 integers of a car that drives straight on, in the order of the dataset's tools.

    iTOW (ms), timestamp (us), tAcc, lon, lat (1e-7 degrees), height, hMSL (mm), fixType, numSV, hAcc, vAcc, roll,
    pitch, heading (1e-5 degrees) and their accuracies, rates of roll, pitch and heading, velN, velE, velD, gSpeed
    (mm/s), sAcc, pDOP, magDec, magAcc.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pace = round(1000 * speed)
    week_ms = (time_us // 1000) % (7 * 24 * 3600 * 1000)
    line = [week_ms, time_us, 25, 0, 0, 0, 0, 3, 12, 400, 600, 0, 0, 0, 20000, 20000, 50000, 0, 0, 0]
    line += [pace, 0, 0, pace, 50, 120, 0, 0]
    path.write_text(" ".join(map(str, line)) + "\n", encoding="ascii")
