"""Splits whose samples are image files, and the scaling of their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import Batch, Moments, SampleInfo
from mmablate.data.image_folder.faults import Fault, tell
from mmablate.data.image_folder.images import Kind
from mmablate.data.image_folder.reading import SampleReader, Shape
from mmablate.data.image_folder.samples import Sample
from mmablate.errors import DataError

LARGEST: dict[Kind, float] = {"8-bit": 255.0, "16-bit": 65535.0, "other": 1.0}
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB from 0 to 1, over the ILSVRC 2012 training images
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Scaling:
    """(value - shift) / scale, per channel.

    Attributes:
        shift, scale: (C,) float64.
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, values: np.ndarray) -> NDArray[np.float32]:
        """Scaled values (C, H, W) of (H, W, C)."""
        exact = np.float32 if values.dtype.itemsize <= 2 else np.float64  # large numbers differ little
        scaled = (values.astype(exact) - self.shift.astype(exact)) / self.scale.astype(exact)
        return np.ascontiguousarray(np.moveaxis(scaled, -1, 0), dtype=np.float32)


def scalings(ways: Mapping[str, str], shape: Shape, moments: Mapping[str, Moments]) -> dict[str, Scaling]:
    """The scaling of each modality by the way it is to be brought to the range of a network.

    standard: mean 0, deviation 1 over the training pixels. unit: 8-bit values / 255, 16-bit values / 65535, others
    as they are. imagenet: unit, and then, for 8- and 16-bit modalities of three channels, ImageNet's mean and
    deviation. none: as in the files.
    """
    found = {}
    for name, channels in shape.channels.items():
        n, largest = len(channels), LARGEST[shape.kinds[name]]
        if ways[name] == "standard":
            found[name] = Scaling(*moments[name].mean_std())
        elif ways[name] == "imagenet" and n == 3 and shape.kinds[name] != "other":
            found[name] = Scaling(np.array(IMAGENET_MEAN) * largest, np.array(IMAGENET_STD) * largest)
        else:
            found[name] = Scaling(np.zeros(n), np.full(n, 1.0 if ways[name] == "none" else largest))
    return found


class FolderSplit:
    """A split whose samples are read from their files each time they are asked for; may be pickled.

    Args:
        samples: checked ones, in order.
        reader: of their files.
        scaling: modality -> how its values are scaled.
    """

    def __init__(self, samples: Sequence[Sample], reader: SampleReader, scaling: Mapping[str, Scaling]) -> None:
        self._samples, self._reader, self._scaling = tuple(samples), reader, dict(scaling)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every sample, in pixels."""
        return self._reader.shape.size

    def describe(self, index: int) -> SampleInfo:
        """Split and placeholders of a sample, joined by "/", and its conditions."""
        return self._samples[index].info

    def labels_of(self, indices: Sequence[int]) -> np.ndarray:
        """Labels int64 (B, H, W). Raises DataError where a file is at fault."""
        labels = np.empty((len(indices), *self.shape), dtype=np.int64)
        for i, index in enumerate(indices):
            labels[i] = self._labels(int(index))
        return labels

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`; see `Split.batch`. Raises DataError where a file is at fault."""
        inputs = {
            name: np.empty((len(indices), len(channels), *self.shape), dtype=np.float32)
            for name, channels in self._reader.shape.channels.items()
        }
        for i, index in enumerate(indices):
            for name, values in self._inputs(int(index)).items():
                inputs[name][i] = self._scaling[name].apply(values)
        return inputs, self.labels_of(indices)

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Modality -> uint8 RGB (H, W, 3) of the sample's files. Raises DataError where one is at fault."""
        return {name: picture(values) for name, values in self._inputs(index).items()}

    def _inputs(self, index: int) -> dict[str, np.ndarray]:
        """Values as in the files, (H, W, C)."""
        values, faults = self._reader.inputs(self._samples[index])
        if faults:
            raise DataError(tell(faults))
        return values

    def _labels(self, index: int) -> np.ndarray:
        labels, faults = self._reader.labels(self._samples[index])
        if faults or labels is None:
            raise DataError(tell(faults))
        return labels


class KeptSplit(FolderSplit):
    """A split read into memory at once, in the types of its files: 8-bit images take a byte a value.

    Raises:
        DataError: the faults of all files.
    """

    def __init__(self, samples: Sequence[Sample], reader: SampleReader, scaling: Mapping[str, Scaling]) -> None:
        super().__init__(samples, reader, scaling)
        self._kept: list[dict[str, np.ndarray]] = []
        self._kept_labels = np.empty((len(samples), *self.shape), dtype=reader.shape.label_type)
        faults: list[Fault] = []
        for i, sample in enumerate(self._samples):
            values, wrong = reader.inputs(sample)
            labels, wrong_labels = reader.labels(sample)
            faults.extend([*wrong, *wrong_labels])
            if labels is not None and not faults:
                self._kept.append(values)
                self._kept_labels[i] = labels
        if faults:
            raise DataError(tell(faults))

    def _inputs(self, index: int) -> dict[str, np.ndarray]:
        return self._kept[index]

    def _labels(self, index: int) -> np.ndarray:
        return self._kept_labels[index]


def picture(values: np.ndarray) -> NDArray[np.uint8]:
    """Values (H, W, C) as RGB to look at: 8-bit values as they are, others stretched.

    The stretch runs from the 1st to the 99th percentile of the image, all channels alike. One channel is gray,
    two are red and green, and of more than three the first three are shown.
    """
    shown = values[..., :3]
    if values.dtype != np.uint8:
        exact = shown.astype(np.float64)
        low, high = np.percentile(exact, [1, 99])
        if high <= low:
            low, high = exact.min(), exact.max()
        shown = np.clip((exact - low) / (high - low if high > low else 1.0), 0, 1) * 255
    if shown.shape[2] == 2:
        shown = np.concatenate([shown, np.zeros_like(shown[..., :1])], axis=-1)
    return np.ascontiguousarray(np.broadcast_to(np.asarray(shown, dtype=np.uint8), (*values.shape[:2], 3)))


def scan(
    reader: SampleReader, checked: Iterable[Sample], counted: Sequence[Sample]
) -> tuple[dict[str, Moments], list[Fault]]:
    """Reads samples once: their faults, and the moments of the inputs of those counted.

    Args:
        reader: of their files.
        checked: samples whose labels are looked at too; those counted need not be among them.
        counted: samples that give mean and deviation.
    """
    moments = {name: Moments(len(channels)) for name, channels in reader.shape.channels.items()}
    wanted = {(sample.split, sample.name) for sample in counted}
    labelled = {(sample.split, sample.name): sample for sample in checked}
    faults: list[Fault] = []
    for at, sample in ({(s.split, s.name): s for s in counted} | labelled).items():
        values, found = reader.inputs(sample)
        if at in labelled:
            found = found + reader.labels(sample)[1]
        faults.extend(found)
        if at in wanted and not found:
            for name, array in values.items():
                moments[name].add(array.reshape(-1, array.shape[2]))
    return moments, faults
