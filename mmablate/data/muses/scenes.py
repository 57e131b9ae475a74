"""From the files of a scene to its arrays, compact and of the size asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmablate.data.muses.files import read_frame, read_labels, read_projected_events, read_projected_lidar
from mmablate.data.muses.projection import (
    Calibration,
    dilate_counts,
    dilate_lidar_image,
    project_events,
    project_lidar,
    resize_nearest,
)
from mmablate.data.muses.sensors import read_events, read_lidar
from mmablate.data.muses.tree import LABELS, Scene

CODE_VERSION = 2
"""Goes up when the same files give other arrays: older caches are then left alone."""
RETURN = np.dtype([("at", "<u4"), ("values", "<f4", (3,))])


@dataclass(frozen=True, eq=False)
class SceneReader:
    """How the files of a scene become arrays.

    Attributes:
        layout: "raw" or "projected".
        shape: height and width of all arrays.
        dilate_events, dilate_lidar, event_window_us, min_range: as in `open_muses`.
        calibration: of the raw layout.
    """

    layout: str
    shape: tuple[int, int]
    dilate_events: int = 1
    dilate_lidar: int = 1
    event_window_us: int = 30_000
    min_range: float = 1.0
    calibration: Calibration | None = None

    def read(self, scene: Scene, kind: str) -> np.ndarray:
        """The compact array of one kind.

        Returns:
            "F": uint8 (3, H, W). "labels": uint8 (H, W). "E": uint8, or uint16 where a count exceeds 255,
            (2, H, W). "L": the returns alone, (N,) of `RETURN`: flat pixel, and range, intensity, z.

        Raises:
            FileFault: whatever the file has wrong.
        """
        path = scene.files[kind]
        if kind == "F":
            return np.ascontiguousarray(read_frame(path, self.shape).transpose(2, 0, 1))
        if kind == LABELS:
            return np.ascontiguousarray(resize_nearest(read_labels(path), self.shape))
        return self._events(path) if kind == "E" else self._lidar(path)

    def _events(self, path: Path) -> np.ndarray:
        if self.layout == "projected":
            counts = resize_nearest(read_projected_events(path), self.shape)
        else:
            assert self.calibration is not None
            counts = project_events(*read_events(path, self.event_window_us), self.calibration, self.shape)
        counts = dilate_counts(counts, self.dilate_events).transpose(2, 0, 1)
        return np.ascontiguousarray(counts, dtype=np.uint8 if counts.max() <= 255 else np.uint16)

    def _lidar(self, path: Path) -> NDArray[np.void]:
        if self.layout == "projected":
            image = resize_nearest(read_projected_lidar(path), self.shape)
        else:
            assert self.calibration is not None
            image = project_lidar(read_lidar(path), self.calibration, self.shape, self.min_range)
        flat = dilate_lidar_image(image, self.dilate_lidar).reshape(-1, 3)
        at = np.flatnonzero(flat[:, 0] > 0)
        returns = np.empty(len(at), dtype=RETURN)
        returns["at"], returns["values"] = at, flat[at]
        return returns

    def settings(self, kind: str) -> str:
        """All that the array of a kind depends on, the file apart."""
        parts: list[object] = [CODE_VERSION, kind, self.shape]
        if kind in ("E", "L"):
            parts.append(self.layout)
            parts += [self.dilate_events] if kind == "E" else [self.dilate_lidar]
        if kind in ("E", "L") and self.layout == "raw":
            parts += [self.event_window_us] if kind == "E" else [self.min_range]
            assert self.calibration is not None
            for name in ("rgb.K", *(("event.K", "event2rgb") if kind == "E" else ("lidar2rgb",))):
                parts.append(hashlib.sha256(self.calibration.matrices[name].tobytes()).hexdigest())
        return repr(parts)


class Source(Protocol):
    """Where compact arrays come from: the files, a folder of kept ones, or memory."""

    reader: SceneReader

    def get(self, scene: Scene, kind: str) -> np.ndarray:
        """As `SceneReader.read`."""
        ...


class Files:
    """The files themselves, read each time."""

    def __init__(self, reader: SceneReader) -> None:
        self.reader = reader

    def get(self, scene: Scene, kind: str) -> np.ndarray:
        """As `SceneReader.read`."""
        return self.reader.read(scene, kind)


class Remembered:
    """Arrays that are read once and then stay in memory: for sets that are small."""

    def __init__(self, source: Source) -> None:
        self.reader = source.reader
        self._source = source
        self._kept: dict[tuple[str, str], np.ndarray] = {}

    def get(self, scene: Scene, kind: str) -> np.ndarray:
        """As `SceneReader.read`; the array is not to be written to."""
        key = scene.key.id, kind
        if key not in self._kept:
            self._kept[key] = self._source.get(scene, kind)
        return self._kept[key]


def raw_planes(compact: Mapping[str, np.ndarray], kind: str, shape: tuple[int, int]) -> np.ndarray:
    """The compact array of a modality as (3, H, W): uint8 frames, counts with a third plane of 0, float32 LiDAR."""
    array = compact[kind]
    if kind == "F":
        return array
    if kind == "E":
        return np.concatenate([array, np.zeros((1, *shape), dtype=array.dtype)])
    planes = np.zeros((3, shape[0] * shape[1]), dtype=np.float32)
    planes[:, array["at"]] = array["values"].T
    return planes.reshape(3, *shape)
