"""3D scans in memory, small networks and runs on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmablate.data.base import SampleInfo, VolumeData
from mmablate.data.volume_augment import VolumeAugmentation
from mmablate.data.volume_batches import MetaBatches, VolumeBatch, VolumeBatches
from mmablate.study import RunSpec
from mmablate.training.bilevel import BiLevel, VolumeTrainee
from mmablate.training.trainee import Piece, Trainee

CPU = torch.device("cpu")
NAMES = ("flair", "t1ce", "t1", "t2")
EDGE = 12
TRAIN = {
    "epochs": 2, "batch_size": 2, "accumulate": 1, "optimizer": "sgd", "lr": 0.05, "weight_decay": 0.01,
    "momentum": 0.0, "schedule": "constant", "warmup": 0.0, "warmup_start": None, "clip": None, "select": "last",
    "precision": "float32",
}  # fmt: skip
TERMS = {
    "fuse": {"term": "fuse", "weight": 1.0, "definition": "principled"},
    "uni": {"term": "sep", "weight": 1.0, "definition": "principled"},
    "prm": {"term": "prm", "weight": 1.0, "definition": "principled", "decay": 0.5},
    "pixel": {
        "term": "pixel", "weight": 1.0, "definition": "principled", "decay": 0.5, "temperature": None, "weights": None,
    },
    "proto": {"term": "proto", "weight": 1.0, "definition": "principled", "weights": None},
}  # fmt: skip
META = {"masks": "same", "batch_size": None}


class MemoryVolumes:
    """Subjects in memory: noise in which a blob of each label is brighter, each label in a modality of its own."""

    def __init__(self, count: int, seed: int, presence: Sequence[Sequence[int]] | None = None) -> None:
        drawn = np.random.default_rng(seed)
        self.labels = np.zeros((count, EDGE, EDGE, EDGE), dtype=np.int64)
        self.scans = drawn.normal(size=(count, 4, EDGE, EDGE, EDGE)).astype(np.float32)
        for i in range(count):
            for k in (2, 1, 3):
                a = drawn.integers(1, EDGE - 5, size=3)
                self.labels[i, a[0] : a[0] + 4, a[1] : a[1] + 4, a[2] : a[2] + 4] = k
            for m in range(4):
                self.scans[i, m] += 2.0 * (self.labels[i] == m)
        given = np.ones((count, 4), dtype=bool) if presence is None else np.array(presence, dtype=bool)
        self._presence = given

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def presence(self) -> NDArray[np.bool_]:
        return self._presence

    @property
    def stored(self) -> NDArray[np.bool_]:
        return np.ones_like(self._presence)

    def size(self, index: int) -> tuple[int, int, int]:
        return EDGE, EDGE, EDGE

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        box = tuple(slice(a, a + b) for a, b in zip(corner, size or self.size(index), strict=True))
        return self.scans[index][(slice(None), *box)].copy(), self.labels[index][box].copy()

    def describe(self, index: int) -> SampleInfo:
        return SampleInfo(f"subject {index}")


MASKS = ((1, 0, 1, 1), (1, 1, 1, 1), (0, 0, 1, 0), (0, 1, 1, 0), (1, 1, 1, 1), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 0, 0))


def volume_data() -> VolumeData:
    """Eight subjects with masks to train on, two to validate, three to test."""
    splits: dict[str, Any] = {
        "train": MemoryVolumes(8, 0, MASKS), "val": MemoryVolumes(2, 1), "test": MemoryVolumes(3, 2),
    }  # fmt: skip
    return VolumeData(
        name="brats", modalities=dict.fromkeys(NAMES, 1), class_names=("background", "NCR/NET", "ED", "ET"),
        regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}, spacing=(1.0, 1.0, 1.0), splits=splits, synthetic=True,
        attribution=None, content=(),
    )  # fmt: skip


def volume_spec(
    method: Mapping[str, Any], terms: Sequence[str] = tuple(TERMS), seed: int = 0, masks: str = "permanent",
    losses: Mapping[str, Mapping[str, Any]] | None = None, **train: Any,
) -> RunSpec:  # fmt: skip
    """A run of a small network, by the settings that its trainee reads."""
    settings = {
        "data": {"name": "brats"},
        "model": {"name": "incomplete_segmentor", "widths": [2, 4], "stem_stride": 1, "depth": 1,
                  "negative_slope": 0.2},
        "method": {"gate": "none", "rates": False, "balance": "fixed", "meta": META, **method},
        "losses": [{"key": name, **{**TERMS, **(losses or {})}[name]} for name in terms],
        "train": {**TRAIN, **train},
        "masks": {"mode": masks, "distribution": "subset"},
        "teacher": None,
        "evaluate": {"metric": "dice", "subsets": "all", "classes": "present", "every": 1, "batch_size": 1},
    }  # fmt: skip
    return RunSpec("0" * 16, "student", seed, settings)


class Steps:
    """The steps of a run, as its group would make them.

    Args:
        size: subjects of a batch.
        total: steps of the whole run.
    """

    def __init__(self, data: VolumeData, *, seed: int = 0, size: int = 2, total: int = 8, parts: int = 1) -> None:
        self.data, self.total = data, total
        common: dict[str, Any] = {
            "seed": seed, "role": "student", "device": CPU, "modalities": NAMES,
            "augmentation": VolumeAugmentation(patch=(8, 8, 8), rotate=10, intensity=0.1),
        }  # fmt: skip
        split: Any = data.splits["train"]
        self.batches = VolumeBatches(split, batch_size=size, parts=parts, **common)
        self.metas = MetaBatches(split, batch_size=size, **common)

    def trainee(self, spec: RunSpec) -> VolumeTrainee:
        """A run at its beginning."""
        return VolumeTrainee(spec, self.data, CPU, self.total)

    def second(self, step: int) -> Any:
        """What hands out the second batch of that step."""

        def drawn(trainee: Trainee) -> Sequence[VolumeBatch]:
            eligible: Any = "complete" if trainee.method.meta["masks"] == "full" else "all"
            found = self.metas.batch(step, self.batches.subjects(step), eligible)
            return () if found is None else (found,)

        return drawn

    def pieces(self, step: int) -> list[Piece]:
        """The step's own batch, in its parts."""
        whole = self.batches.step_batch(step)
        parts = whole.parts()
        if len(parts) == 1:
            return [Piece(whole, (), None)]
        shares = [{"images": len(p) / len(whole), "pixels": len(p) / len(whole)} for p in parts]
        return [
            Piece(p, (), None, i, i == len(parts) - 1, s) for i, (p, s) in enumerate(zip(parts, shares, strict=True))
        ]

    def run(self, spec: RunSpec, steps: int = 4) -> VolumeTrainee:
        """The run after so many steps.

        Raises:
            AssertionError: it failed.
        """
        trainee = self.trainee(spec)
        for step in range(steps):
            BiLevel(self.second(step)).step([trainee], self.pieces(step))
            assert trainee.error is None, trainee.error
        return trainee


def weights(trainee: VolumeTrainee) -> dict[str, torch.Tensor]:
    """By parameter name."""
    return {name: p.detach().clone() for name, p in trainee.model.named_parameters()}
