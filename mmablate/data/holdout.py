"""Holding some training samples back from training, the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmablate.data.base import Batch, LabelReader, SampleInfo, Split
from mmablate.data.streams import generator

Indices = NDArray[np.int64]


class Part:
    """Some samples of a split, as a split.

    Args:
        whole: the split.
        indices: which of its samples, in order.
    """

    def __init__(self, whole: Split, indices: Sequence[int] | Indices) -> None:
        self.whole, self.indices = whole, np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """As of the whole."""
        return self.whole.shape

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at these places of the part."""
        return self.whole.batch(self.indices[np.asarray(indices, dtype=np.int64)].tolist())

    def labels_of(self, indices: Sequence[int]) -> np.ndarray:
        """Labels at these places of the part."""
        return labels_of(self.whole, self.indices[np.asarray(indices, dtype=np.int64)].tolist())

    def describe(self, index: int) -> SampleInfo:
        """As of the whole, or the sample's number in it."""
        own = int(self.indices[index])
        describe = getattr(self.whole, "describe", None)
        return describe(own) if describe is not None else SampleInfo(str(own))


def labels_of(split: Split, indices: Sequence[int]) -> np.ndarray:
    """Labels int64 (B,) without the inputs where the split can do that."""
    if isinstance(split, LabelReader):
        return split.labels_of(indices)
    return split.batch(indices)[1]


def hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[Indices, Indices]:
    """Deals samples into those that are trained on and those that are held back.

    round(share * N) are held back; each class gives its share of them, rounded by largest remainder, so that class
    frequencies stay as they are. Which of a class's samples go is drawn from the stream "holdout" of the seed.

    Args:
        labels: (N,), of the training split.
        share: in [0, 1).
        seed: of the run.

    Returns:
        Numbers kept and numbers held back, each in rising order.
    """
    count = round(share * len(labels))
    classes, sizes = np.unique(labels, return_counts=True)
    wanted = count * sizes / len(labels)
    taken = np.floor(wanted).astype(int)
    order = np.argsort(-(wanted - taken), kind="stable")
    taken[order[: count - taken.sum()]] += 1
    held = []
    for name, number in zip(classes, taken, strict=True):
        members = np.flatnonzero(labels == name)
        drawn = torch.randperm(len(members), generator=generator(seed, "holdout", int(name)))[:number]
        held.append(members[drawn.numpy()])
    back = np.sort(np.concatenate(held)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels)), back).astype(np.int64), back
