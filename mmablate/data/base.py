"""What every dataset looks like to the rest of mmablate: splits that hand out batches of numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Batch = tuple[dict[str, np.ndarray], np.ndarray]


class Split(Protocol):
    """One split of a dataset: samples by index, all of one size, in a fixed order."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every sample, in pixels."""
        ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`, in that order; the arrays belong to the caller.

        Returns:
            Modality -> float32 (B, C_m, H, W), standardised, and labels int64 (B, H, W); of a
            `ClassificationData` float32 (B, *shape) and int64 (B,).
        """
        ...


@runtime_checkable
class LabelReader(Protocol):
    """A split that can read labels without their inputs (optional; counting is faster with it)."""

    def labels_of(self, indices: Sequence[int]) -> np.ndarray:
        """Labels int64 (B, H, W) of the samples at `indices`."""
        ...


@dataclass(frozen=True)
class SampleInfo:
    """Where a sample comes from.

    Attributes:
        id: unique in its split, e.g. "test/fog/night/REC0001_frame_000042".
        conditions: axis -> value, e.g. {"weather": "fog", "time_of_day": "night"}; the axes are the same for
            all samples of a dataset, and no value belongs to two of them.
    """

    id: str
    conditions: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Described(Protocol):
    """A split that knows where its samples come from (optional; scores by condition need it)."""

    def describe(self, index: int) -> SampleInfo:
        """Of the sample at `index`, without reading its pixels."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A split that can show its samples to people (optional; `mmablate.data.pictures` has a fallback)."""

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Modality -> uint8 RGB (H, W, 3), of the size of the labels."""
        ...


def conditions_of(split: Split) -> dict[str, list[str]]:
    """Axis -> values that occur in a split, sorted; {} where its samples have no conditions."""
    if not isinstance(split, Described):
        return {}
    found: dict[str, set[str]] = {}
    for index in range(len(split)):
        for axis, value in split.describe(index).conditions.items():
            found.setdefault(axis, set()).add(value)
    return {axis: sorted(values) for axis, values in found.items()}


SHOWN_WIDTH = 384
"""Pictures, labels and predictions are kept for people at no more than so many columns."""


def shown_stride(shape: tuple[int, int]) -> int:
    """Every how many pixels a map of this height and width is kept for people."""
    return -(-shape[1] // SHOWN_WIDTH)


class _InMemory:
    """What splits that lie in memory have in common, whatever the shape of a sample and of its label.

    Args:
        inputs: modality -> float32 (N, ...).
        labels: int64 (N, ...).
        infos: one a sample, or None.

    Raises:
        ValueError: another number of infos than of samples.
    """

    def __init__(
        self, inputs: Mapping[str, np.ndarray], labels: np.ndarray, infos: Sequence[SampleInfo] | None
    ) -> None:
        if infos is not None and len(infos) != len(labels):
            raise ValueError(f"{len(infos)} infos for {len(labels)} samples")
        self._infos = infos
        self._inputs = {name: np.asarray(values, dtype=np.float32) for name, values in inputs.items()}
        self._labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def nbytes(self) -> int:
        """Bytes that inputs and labels take."""
        return sum(values.nbytes for values in self._inputs.values()) + self._labels.nbytes

    def describe(self, index: int) -> SampleInfo:
        """The sample's own info, or its number where none was given."""
        return self._infos[index] if self._infos is not None else SampleInfo(str(index))

    def labels_of(self, indices: Sequence[int]) -> np.ndarray:
        """Copies of the labels at `indices`, int64 (B, ...)."""
        return self._labels[np.asarray(indices, dtype=np.int64)]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Copies of the samples at `indices`; see `Split.batch`. Raises IndexError outside the split."""
        chosen = np.asarray(indices, dtype=np.int64)
        return {name: values[chosen] for name, values in self._inputs.items()}, self._labels[chosen]


class ArraySplit(_InMemory):
    """A split that lies in memory.

    Args:
        inputs: modality -> float32 (N, C_m, H, W), standardised.
        labels: int64 (N, H, W).
        infos: one a sample, where the data have names and conditions.

    Raises:
        ValueError: no modality, or shapes that do not fit together.
    """

    def __init__(
        self, inputs: Mapping[str, np.ndarray], labels: np.ndarray, infos: Sequence[SampleInfo] | None = None
    ) -> None:
        if labels.ndim != 3 or not inputs:
            raise ValueError(f"labels must be (N, H, W) with at least one modality, not {labels.shape}")
        for name, values in inputs.items():
            if values.ndim != 4 or (values.shape[0], *values.shape[2:]) != labels.shape:
                raise ValueError(f"modality {name!r} is {values.shape}, labels are {labels.shape}")
        super().__init__(inputs, labels, infos)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every sample, in pixels."""
        return self._labels.shape[1], self._labels.shape[2]


@dataclass(frozen=True, eq=False)
class SegmentationData:
    """A dataset of pixel-wise labels seen in several modalities.

    Attributes:
        name: the dataset's name in the catalogue.
        modalities: name -> channels, in the order asked for.
        class_names: one a class; label k is `class_names[k]`.
        ignore_label: label of the pixels that count neither in a loss nor in a score.
        splits: "train", "val" and, where the set has one, "test".
        synthetic: the data were generated, not measured.
        attribution: whom the data come from and their terms, or None.
        content: the files read.
        colours: RGB 0-255 of each class, where the field has a custom.
        notes: sentences for every table made on these data, e.g. how many samples were dropped.
    """

    name: str
    modalities: dict[str, int]
    class_names: tuple[str, ...]
    ignore_label: int
    splits: dict[str, Split]
    synthetic: bool
    attribution: str | None
    content: tuple[Path, ...]
    colours: tuple[tuple[int, int, int], ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes, the ignored label not among them."""
        return len(self.class_names)

    @property
    def scored_split(self) -> str:
        """The split that a score is taken on: "test" where there is one, "val" otherwise."""
        return "test" if "test" in self.splits else "val"


class LabelledSplit(_InMemory):
    """A split of whole samples with one label each that lies in memory.

    Args:
        inputs: modality -> float32 (N, ...), any shape of a sample.
        labels: int64 (N,).
        infos: one a sample, where the data have names and conditions.

    Raises:
        ValueError: no modality, or lengths that do not fit together.
    """

    def __init__(
        self, inputs: Mapping[str, np.ndarray], labels: np.ndarray, infos: Sequence[SampleInfo] | None = None
    ) -> None:
        if labels.ndim != 1 or not inputs:
            raise ValueError(f"labels must be (N,) with at least one modality, not {labels.shape}")
        for name, values in inputs.items():
            if values.ndim < 2 or len(values) != len(labels):
                raise ValueError(f"modality {name!r} is {values.shape}, labels are {labels.shape}")
        super().__init__(inputs, labels, infos)

    @property
    def shape(self) -> tuple[int, int]:
        """One label a sample."""
        return 1, 1


@dataclass(frozen=True, eq=False)
class ClassificationData:
    """A dataset of one label a sample, seen in several modalities.

    Its splits hand out labels (B,) and inputs (B, *shape), of the modalities asked for alone; their `shape` is
    (1, 1).

    Attributes:
        name: the dataset's name in the catalogue.
        modalities: name -> shape of one sample, e.g. {"audio": (1, 40, 256)}, in the order asked for.
        class_names: one a class; label k is `class_names[k]`.
        splits: "train" and "test"; "val" where the set has one.
        synthetic: the data were generated, not measured.
        attribution: whom the data come from and their terms, or None.
        content: the files read.
        notes: sentences for every table made on these data.
        general: modality -> its channels that are known to carry modality-general decisive information, where
            the data were made so.
    """

    name: str
    modalities: dict[str, tuple[int, ...]]
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    synthetic: bool
    attribution: str | None
    content: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    general: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    ignore_label = -1  # no sample has it
    colours = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def scored_split(self) -> str:
        """The split that a score is taken on: "test" where there is one, "val" otherwise."""
        return "test" if "test" in self.splits else "val"


@runtime_checkable
class VolumeSplit(Protocol):
    """One split of a set of 3D scans: subjects by index, of sizes of their own, read in part or whole."""

    def __len__(self) -> int:
        """Number of subjects."""
        ...

    @property
    def presence(self) -> NDArray[np.bool_]:
        """(N, M): which modalities of each subject there are, by the files and, in training, by the mask list."""
        ...

    def size(self, index: int) -> tuple[int, int, int]:
        """Voxels of the subject at `index` along the three axes (H, W, Z)."""
        ...

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A box of a subject, from `corner` on; all of it where no size is given. The arrays are the caller's.

        Returns:
            float32 (M, h, w, z), standardised, 0 throughout for a modality without a file (one that the mask list
            alone hides is there: whoever trains must hide it); and labels int64 (h, w, z).
        """
        ...

    def describe(self, index: int) -> SampleInfo:
        """Of the subject at `index`, without reading its voxels."""
        ...


@dataclass(frozen=True, eq=False)
class VolumeData:
    """A dataset of 3D scans with a label a voxel, seen in several modalities that may be missing.

    Attributes:
        name: the dataset's name in the catalogue.
        modalities: name -> channels (1), in the order asked for.
        class_names: one a class; label k is `class_names[k]`, 0 the background.
        regions: name -> labels that make it up; what Dice and HD95 are of.
        spacing: edges of a voxel, in mm.
        splits: "train", "val" and "test".
        synthetic: the data were generated, not measured.
        attribution: whom the data come from and their terms, or None.
        content: the files read.
        colours: RGB 0-255 of each class, where the field has a custom.
        notes: sentences for every table made on these data.
    """

    name: str
    modalities: dict[str, int]
    class_names: tuple[str, ...]
    regions: dict[str, tuple[int, ...]]
    spacing: tuple[float, float, float]
    splits: dict[str, VolumeSplit]
    synthetic: bool
    attribution: str | None
    content: tuple[Path, ...]
    colours: tuple[tuple[int, int, int], ...] | None = None
    notes: tuple[str, ...] = ()

    ignore_label = -1  # no voxel has it

    @property
    def n_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.class_names)

    @property
    def scored_split(self) -> str:
        """The split that a score is taken on: "test" where there is one, "val" otherwise."""
        return "test" if "test" in self.splits else "val"


SampleData = SegmentationData | ClassificationData
"""Data whose splits hand out batches."""

AnyData = SampleData | VolumeData

AnySplit = Split | VolumeSplit


class Moments:
    """Mean and standard deviation per channel over values that come in pieces.

    Pieces are merged by the update of Chan, Golub and LeVeque (1979), which stays exact where a sum of
    squares would cancel; float64 throughout. The result depends on the order of the pieces only in the
    last bits.

    Args:
        channels: number of channels C.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)

    def add(self, values: np.ndarray) -> None:
        """Takes in values (n, C), any real dtype; n may be 0."""
        n = len(values)
        if n == 0:
            return
        piece = np.asarray(values, dtype=np.float64)
        mean = piece.mean(axis=0)
        squares = np.square(piece - mean).sum(axis=0)
        total = self.count + n
        shift = mean - self._mean
        self._mean = self._mean + shift * (n / total)
        self._squares = self._squares + squares + np.square(shift) * (self.count * n / total)
        self.count = total

    def mean_std(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and population standard deviation, (C,) each; 1 in place of a deviation of 0.

        Raises:
            ValueError: nothing was added.
        """
        if self.count == 0:
            raise ValueError("no values to standardise by")
        std = np.sqrt(self._squares / self.count)
        return self._mean.copy(), np.where(std > 0, std, 1.0)
