"""Training batches in an order fixed by the seed, augmented from a stream of their own; evaluation batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mmablate.data.augment import Augmentation
from mmablate.data.base import Split
from mmablate.data.loading import BatchReader
from mmablate.data.streams import generator


@dataclass(frozen=True)
class Batch:
    """Samples on a device.

    Attributes:
        inputs: modality -> float32 (B, C_m, H, W).
        labels: int64 (B, H, W).
        indices: samples of the split that they are.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def parts(self, number: int) -> list[Batch]:
        """At most `number` batches of nearly equal size, in order, that make up this one."""
        if number <= 1:
            return [self]
        bounds = [round(len(self) * i / number) for i in range(number + 1)]
        return [
            Batch({n: x[a:b] for n, x in self.inputs.items()}, self.labels[a:b], self.indices[a:b])
            for a, b in pairwise(bounds)
            if b > a
        ]


@dataclass(frozen=True)
class Share:
    """The part of every batch that one process of several works on.

    Attributes:
        rank, world: which process of how many.
    """

    rank: int = 0
    world: int = 1

    def of(self, indices: Sequence[int]) -> slice:
        """The places of a batch that are this process's; every place is one process's."""
        bounds = [len(indices) * i // self.world for i in range(self.world + 1)]
        return slice(bounds[self.rank], bounds[self.rank + 1])


ALL = Share()


class TrainingBatches:
    """The batches of all epochs of one seed, the same for every run that trains on them.

    Args:
        reader: of the training split, or the split itself.
        batch_size: samples a step; the incomplete last batch of an epoch is left out, except that a split
            smaller than a batch is one batch.
        seed, role: key of the streams "order" and "augment"; a teacher's are its own.
        augmentation: what is done to each batch.
        share: of each batch that this process sees; the draws are those of the whole batch.

    Raises:
        ValueError: a crop that is larger than the images, or fewer samples a batch than processes.
    """

    def __init__(
        self,
        reader: BatchReader | Split,
        *,
        batch_size: int,
        seed: int,
        role: str,
        device: torch.device,
        augmentation: Augmentation | None = None,
        share: Share = ALL,
    ) -> None:
        self.reader = reader if isinstance(reader, BatchReader) else BatchReader(reader)
        split = self.reader.split
        self.augmentation = augmentation or Augmentation()
        crop = self.augmentation.crop
        if crop is not None and self.augmentation.scale is None and _exceeds(crop, split.shape):
            raise ValueError(f"crop {tuple(crop)} is larger than the images {split.shape}")
        self.split, self.batch_size, self.seed, self.role = split, min(batch_size, len(split)), seed, role
        if self.batch_size < share.world:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared by {share.world} processes")
        self.device, self.share = device, share
        self.digest = hashlib.sha256()

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch, at least one."""
        return len(self.split) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of epoch 0, 1, ...; their indices go into `digest`."""
        order = torch.randperm(len(self.split), generator=generator(self.seed, self.role, "order", epoch)).tolist()
        size = self.batch_size
        wanted = [order[step * size : (step + 1) * size] for step in range(self.steps_per_epoch())]
        own = [indices[self.share.of(indices)] for indices in wanted]
        for step, (inputs, labels) in enumerate(self.reader.read(own)):
            self.digest.update(repr(wanted[step]).encode())
            yield self._batch(inputs, labels, wanted[step], epoch * self.steps_per_epoch() + step)

    def _batch(self, inputs: Mapping[str, Tensor], labels: Tensor, indices: list[int], step: int) -> Batch:
        share = self.share.of(indices)
        draws = torch.rand(len(indices), 4, generator=generator(self.seed, self.role, "augment", step))
        more = torch.rand(len(indices), 7, generator=generator(self.seed, self.role, "augment", step, "light"))
        inputs, labels = self.augmentation(inputs, labels, draws[share], more[share])
        return _on(self.device, inputs, labels, indices[share])


def evaluation_batches(
    reader: BatchReader | Split, batch_size: int, device: torch.device, share: Share = ALL
) -> Iterator[Batch]:
    """The whole split in order, the last batch as small as it falls; nothing is left out.

    Args:
        share: every `world`-th batch from `rank` on is this process's.
    """
    reader = reader if isinstance(reader, BatchReader) else BatchReader(reader)
    count = len(reader.split)
    starts = range(0, count, batch_size)
    wanted = [list(range(start, min(start + batch_size, count))) for start in starts][share.rank :: share.world]
    for indices, (inputs, labels) in zip(wanted, reader.read(wanted), strict=True):
        yield _on(device, inputs, labels, indices)


def _on(device: torch.device, inputs: Mapping[str, Tensor], labels: Tensor, indices: Sequence[int]) -> Batch:
    moved = {name: values.to(device, non_blocking=True) for name, values in inputs.items()}
    return Batch(moved, labels.to(device, non_blocking=True), tuple(indices))


def _exceeds(crop: Sequence[int], shape: tuple[int, int]) -> bool:
    return crop[0] > shape[0] or crop[1] > shape[1]
