"""One split of MUSES: batches from kept arrays or from files, infos and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import ArraySplit, Batch, SampleInfo
from mmablate.data.muses.pictures import picture
from mmablate.data.muses.scaling import Scaling
from mmablate.data.muses.scenes import Files, Source
from mmablate.data.muses.tree import LABELS, Scene


class SceneSplit:
    """Scenes read when they are asked for, in a fixed order.

    Args:
        scenes: sound, of one size.
        source: of their compact arrays.
        scalings: modality -> scaling, in the order of the modalities.
    """

    def __init__(self, scenes: Sequence[Scene], source: Source, scalings: Mapping[str, Scaling]) -> None:
        self.scenes, self.source, self.scalings = tuple(scenes), source, dict(scalings)
        # A frame has 256 values, so each is scaled once, here.
        every = np.arange(256, dtype=np.uint8)
        self._tables = {
            name: np.stack([scaling.apply(every, channel) for channel in range(3)])
            for name, scaling in self.scalings.items()
        }

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every sample, in pixels."""
        return self.source.reader.shape

    def describe(self, index: int) -> SampleInfo:
        """Of the sample at `index`, without reading its pixels."""
        return self.scenes[index].info

    def labels_of(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Labels int64 (B, H, W). Raises DataError where a file is at fault, IndexError outside the split."""
        labels = np.empty((len(indices), *self.shape), dtype=np.int64)
        for i, index in enumerate(indices):
            labels[i] = self.source.get(self.scenes[int(index)], LABELS)
        return labels

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`; see `Split.batch`. Raises as `labels_of`."""
        inputs = {
            name: np.zeros((len(indices), 3, *self.shape), dtype=np.float32)  # pages of zeros cost nothing
            for name in self.scalings
        }
        for name, values in inputs.items():
            for i, index in enumerate(indices):
                self._fill(values[i], name, self.source.get(self.scenes[int(index)], name))
        return inputs, self.labels_of(indices)

    def _fill(self, out: NDArray[np.float32], name: str, compact: np.ndarray) -> None:
        """Writes the scaled planes of a modality over zeros (3, H, W)."""
        scaling, table = self.scalings[name], self._tables[name]
        if name == "L":
            flat = out.reshape(3, -1)
            for channel in range(3):
                flat[channel, compact["at"]] = scaling.apply(compact["values"][:, channel], channel)
            return
        if name == "F":
            for channel in range(3):
                np.take(table[channel], compact[channel], out=out[channel], mode="clip")
            return
        flat, at = out.reshape(3, -1), np.flatnonzero(compact.any(axis=0))
        for channel in range(2):
            counts = compact[channel].ravel()[at]
            small = counts.dtype == np.uint8
            flat[channel, at] = table[channel][counts] if small else scaling.apply(counts, channel)
        flat[2, at] = table[2][0]

    def pictures(self, index: int) -> dict[str, NDArray[np.uint8]]:
        """Modality -> uint8 RGB (H, W, 3): frames as they are, events and LiDAR coloured on dark."""
        scene = self.scenes[index]
        return {name: picture(name, self.source.get(scene, name), self.shape) for name in self.scalings}


class KeptSplit(ArraySplit):
    """A split that lies in memory, scaled; pictures come from its files.

    Args:
        split: the same scenes, read into memory here.
    """

    def __init__(self, split: SceneSplit) -> None:
        inputs, labels = split.batch(range(len(split)))
        super().__init__(inputs, labels, [scene.info for scene in split.scenes])
        self._pictured = SceneSplit(split.scenes, Files(split.source.reader), split.scalings)

    def pictures(self, index: int) -> dict[str, NDArray[np.uint8]]:
        """As `SceneSplit.pictures`."""
        return self._pictured.pictures(index)
