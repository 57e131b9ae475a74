"""What a dataset holds, in numbers: sizes, how often each class occurs, and the score of always saying one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import AnyData, ClassificationData, LabelReader, Split, VolumeData

CHUNK = 16  # samples read at a time


@dataclass(frozen=True)
class DatasetSummary:
    """The card of a dataset.

    Attributes:
        name, synthetic, attribution: as in the data.
        n_train, n_val, n_test: samples a split; 0 where there is no such split.
        shape: height and width of a training sample, in pixels; (1, 1) where a sample has one label; of 3D scans the
            voxels along each axis of the largest training subject.
        modalities: name -> channels; of classification, name -> shape of one sample.
        class_names: one a class.
        class_pixels: split -> pixels of each class as the samples show them (where training tiles
            overlap, a pixel counts once a tile); of classification, samples.
        valid_fraction: split -> share of its pixels that carry a class, 0-1.
        scored_split: "test" where there is one, "val" otherwise.
        majority_class: the class most frequent in train, None where train has no labelled pixel.
        majority_miou: mIoU in percent of always predicting it on the scored split; None where undefined, and in
            classification.
        task: what is predicted.
        majority_accuracy: of classification, accuracy in percent in place of that mIoU.
        presence: of 3D scans, split -> modality -> subjects that have it; their voxels are not counted, which would
            mean to read all scans.
    """

    name: str
    synthetic: bool
    n_train: int
    n_val: int
    n_test: int
    shape: tuple[int, ...]
    modalities: dict[str, int | tuple[int, ...]]
    class_names: tuple[str, ...]
    class_pixels: dict[str, tuple[int, ...]]
    valid_fraction: dict[str, float]
    scored_split: str
    majority_class: str | None
    majority_miou: float | None
    attribution: str | None
    task: Literal["segmentation", "classification", "volumes"] = "segmentation"
    majority_accuracy: float | None = None
    presence: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def majority(self) -> tuple[float, str] | None:
        """Score in percent of always predicting `majority_class`, and what it is called; None where undefined."""
        if self.majority_accuracy is not None:
            return self.majority_accuracy, "accuracy"
        return None if self.majority_miou is None else (self.majority_miou, "mIoU")

    @property
    def unit(self) -> str:
        """What `class_pixels` counts."""
        return {"segmentation": "pixels", "volumes": "voxels"}.get(self.task, "samples")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types; tuples become lists.

        Those of classification name their task, have `class_samples` and `majority_accuracy`, and nothing of pixels.
        """
        fields = asdict(self)
        presence = fields.pop("presence")
        counts = {name: list(found) for name, found in self.class_pixels.items()}
        fields["class_names"] = list(self.class_names)
        if self.task == "segmentation":
            del fields["task"], fields["majority_accuracy"]
            return {**fields, "shape": list(self.shape), "class_pixels": counts}
        if self.task == "volumes":
            for key in ("class_pixels", "valid_fraction", "majority_class", "majority_miou", "majority_accuracy"):
                del fields[key]
            return {**fields, "shape": list(self.shape), "presence": presence}
        for key in ("shape", "class_pixels", "valid_fraction", "majority_miou"):
            del fields[key]
        shapes = {name: list(shape) for name, shape in self.modalities.items() if isinstance(shape, tuple)}
        return {**fields, "modalities": shapes, "class_samples": counts}


def labels_of(split: Split, indices: Sequence[int]) -> np.ndarray:
    """Labels int64 (B, H, W), of classification (B,), without their inputs where the split can."""
    return split.labels_of(indices) if isinstance(split, LabelReader) else split.batch(indices)[1]


def count_classes(split: Split, n_classes: int, ignore_label: int) -> NDArray[np.int64]:
    """Labelled pixels (or samples) of each class in a split, (n_classes,); ignored pixels count nowhere.

    Raises:
        ValueError: a label outside 0..n_classes-1 that is not `ignore_label`.
    """
    counts = np.zeros(n_classes, dtype=np.int64)
    for start in range(0, len(split), CHUNK):
        indices = range(start, min(start + CHUNK, len(split)))
        labels = labels_of(split, indices)
        kept = labels[labels != ignore_label]
        if kept.size and (kept.min() < 0 or kept.max() >= n_classes):
            raise ValueError(f"labels reach from {kept.min()} to {kept.max()}, expected 0..{n_classes - 1}")
        counts += np.bincount(kept, minlength=n_classes)
    return counts


def majority_miou(train: NDArray[np.int64], scored: NDArray[np.int64]) -> float | None:
    """mIoU of predicting the class most frequent in train at every pixel, in percent.

    That class has the IoU n_k / N, every other class of the truth 0; classes absent from truth and
    prediction are left out of the mean.

    Args:
        train: pixels of each class in train, (K,).
        scored: the same of the scored split.

    Returns:
        Percent; None where either split has no labelled pixel.
    """
    if train.sum() == 0 or scored.sum() == 0:
        return None
    guess = int(train.argmax())
    # Where the truth lacks the guess, the mean is 0 whatever it is taken over.
    return float(100.0 * scored[guess] / scored.sum() / (scored > 0).sum())


def majority_accuracy(train: NDArray[np.int64], scored: NDArray[np.int64]) -> float | None:
    """Accuracy, in percent, of predicting the class most frequent in train for every sample.

    Args:
        train: samples of each class in train, (K,).
        scored: the same of the scored split.

    Returns:
        Percent; None where either split is empty.
    """
    if train.sum() == 0 or scored.sum() == 0:
        return None
    return float(100.0 * scored[int(train.argmax())] / scored.sum())


def summarise(data: AnyData) -> DatasetSummary:
    """Counts a dataset; reads the labels of every split once, but not those of 3D scans."""
    if isinstance(data, VolumeData):
        return _summarise_volumes(data)
    counts = {name: count_classes(split, data.n_classes, data.ignore_label) for name, split in data.splits.items()}
    pixels = {name: len(split) * split.shape[0] * split.shape[1] for name, split in data.splits.items()}
    sizes = {name: len(split) for name, split in data.splits.items()}
    train, scored = counts["train"], counts[data.scored_split]
    whole = isinstance(data, ClassificationData)
    return DatasetSummary(
        name=data.name,
        synthetic=data.synthetic,
        n_train=sizes["train"],
        n_val=sizes.get("val", 0),
        n_test=sizes.get("test", 0),
        shape=data.splits["train"].shape,
        modalities={**data.modalities},
        class_names=data.class_names,
        class_pixels={name: tuple(int(n) for n in found) for name, found in counts.items()},
        valid_fraction={name: float(counts[name].sum() / max(1, pixels[name])) for name in counts},
        scored_split=data.scored_split,
        majority_class=data.class_names[int(train.argmax())] if train.sum() else None,
        majority_miou=None if whole else majority_miou(train, scored),
        attribution=data.attribution,
        task="classification" if whole else "segmentation",
        majority_accuracy=majority_accuracy(train, scored) if whole else None,
    )


def _summarise_volumes(data: VolumeData) -> DatasetSummary:
    sizes = {name: len(split) for name, split in data.splits.items()}
    train = data.splits["train"]
    edges = np.array([train.size(index) for index in range(len(train))])
    presence = {
        name: dict(zip(data.modalities, split.presence.sum(axis=0).tolist(), strict=True))
        for name, split in data.splits.items()
    }
    return DatasetSummary(
        name=data.name,
        synthetic=data.synthetic,
        n_train=sizes["train"],
        n_val=sizes.get("val", 0),
        n_test=sizes.get("test", 0),
        shape=tuple(edges.max(axis=0).tolist()),
        modalities={**data.modalities},
        class_names=data.class_names,
        class_pixels={},
        valid_fraction={},
        scored_split=data.scored_split,
        majority_class=None,
        majority_miou=None,
        attribution=data.attribution,
        task="volumes",
        presence=presence,
    )
