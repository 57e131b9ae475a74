"""Training batches in an order fixed by the seed, augmented from a stream of their own; evaluation batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from mmablate.data.augment import Augmentation
from mmablate.data.base import Split
from mmablate.data.clip_augment import CROP_DRAWS, FLIP_DRAWS, flip, random_resized_crop
from mmablate.data.loading import BatchReader
from mmablate.data.streams import generator


@dataclass(frozen=True)
class Batch:
    """Samples on a device.

    Attributes:
        inputs: modality -> float32 (B, C_m, H, W), or (B, ...) of samples with one label.
        labels: int64 (B, H, W), or (B,).
        indices: samples of the split that they are.
        cuts: where the parts end that a step takes one after the other; () for a batch in one part.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    indices: tuple[int, ...]
    cuts: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def parts(self) -> Sequence[Batch]:
        """The parts, in order; together they are this batch."""
        return [
            Batch({n: x[a:b] for n, x in self.inputs.items()}, self.labels[a:b], self.indices[a:b])
            for a, b in pairwise((0, *(self.cuts or (len(self),))))
        ]


@dataclass(frozen=True)
class Share:
    """The parts of every batch that one process of several works on.

    A batch is cut into the same parts whatever the number of processes, and whole parts are dealt out: what
    sees a part at a time (batch norm, terms that are no plain mean) then sees the same.

    Attributes:
        rank, world: which process of how many.
    """

    rank: int = 0
    world: int = 1

    def of(self, count: int, parts: int) -> tuple[slice, tuple[int, ...]]:
        """This process's places of a batch of `count` samples in `parts`, and where its own parts end.

        Raises:
            ValueError: parts that cannot be dealt out evenly, or fewer samples than parts.
        """
        if parts % self.world or count < parts:
            raise ValueError(f"{parts} parts of {count} samples cannot be dealt to {self.world} processes")
        bounds = [count * i // parts for i in range(parts + 1)]
        each = parts // self.world
        own = bounds[self.rank * each : (self.rank + 1) * each + 1]
        return slice(own[0], own[-1]), tuple(bound - own[0] for bound in own[1:])


ALL = Share()


class TrainingBatches:
    """The batches of all epochs of one seed, the same for every run that trains on them.

    Args:
        reader: of the training split, or the split itself.
        batch_size: samples a step, or "all"; the incomplete last batch of a pass is left out, except that a split
            smaller than a batch is one batch.
        seed, role: key of the streams "order" and "augment"; a teacher's are its own.
        augmentation: what is done to each batch.
        parts: into which each batch is cut.
        share: which of them this process sees; the draws are those of the whole batch.
        steps: of an epoch, in place of one pass: as many passes as that takes.
        pictures: modalities, crop and flip of samples with one label each (`recipe.schema.Pictures`).

    Raises:
        ValueError: a crop that is larger than the images, fewer samples a batch than parts, or parts that cannot
            be dealt to the processes evenly.
    """

    def __init__(
        self,
        reader: BatchReader | Split,
        *,
        batch_size: int | Literal["all"],
        seed: int,
        role: str,
        device: torch.device,
        augmentation: Augmentation | None = None,
        parts: int = 1,
        share: Share = ALL,
        steps: int | None = None,
        pictures: Mapping[str, Any] | None = None,
    ) -> None:
        self.pictures = pictures
        self.reader = reader if isinstance(reader, BatchReader) else BatchReader(reader)
        split = self.reader.split
        self.augmentation = augmentation or Augmentation()
        crop = self.augmentation.crop
        if crop is not None and self.augmentation.scale is None and _exceeds(crop, split.shape):
            raise ValueError(f"crop {tuple(crop)} is larger than the images {split.shape}")
        self.split, self.seed, self.role, self.device = split, seed, role, device
        self.batch_size = len(split) if batch_size == "all" else min(batch_size, len(split))
        self._steps = steps
        self._own, self._cuts = share.of(self.batch_size, parts)
        self.digest = hashlib.sha256()

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch, at least one."""
        return len(self.split) // self.batch_size if self._steps is None else self._steps

    def epoch(
        self, epoch: int, *, start: int = 0, passed: Callable[[int], object] = lambda step: None
    ) -> Iterator[Batch]:
        """The batches of epoch 0, 1, ...; their indices go into `digest`.

        Args:
            start: steps of the epoch that are behind every run; their batches are not read, only counted.
            passed: hears the number (over all epochs) of each step that is passed over.
        """
        first, wanted = epoch * self.steps_per_epoch(), self._wanted(epoch)
        for step in range(min(start, len(wanted))):
            self.digest.update(repr(wanted[step]).encode())
            passed(first + step)
        own = [indices[self._own] for indices in wanted[start:]]
        for step, (inputs, labels) in enumerate(self.reader.read(own), start):
            self.digest.update(repr(wanted[step]).encode())
            yield self._batch(inputs, labels, wanted[step], first + step)

    def _wanted(self, epoch: int) -> list[list[int]]:
        """The samples of every step of an epoch."""
        return order_of(len(self.split), self.batch_size, self.steps_per_epoch(), epoch, seed=self.seed, role=self.role)

    def _batch(self, inputs: Mapping[str, Tensor], labels: Tensor, indices: list[int], step: int) -> Batch:
        if labels.ndim == 1:
            if self.pictures is not None:
                inputs = self._pictured(inputs, self.pictures, len(indices), step)
            return _on(self.device, inputs, labels, indices[self._own], self._cuts)
        draws = torch.rand(len(indices), 4, generator=generator(self.seed, self.role, "augment", step))
        more = torch.rand(len(indices), 7, generator=generator(self.seed, self.role, "augment", step, "light"))
        inputs, labels = self.augmentation(inputs, labels, draws[self._own], more[self._own])
        return _on(self.device, inputs, labels, indices[self._own], self._cuts)

    def _pictured(
        self, inputs: Mapping[str, Tensor], settings: Mapping[str, Any], count: int, step: int
    ) -> dict[str, Tensor]:
        """Random crops and mirrored pictures, one draw a sample for all its frames and pictures."""
        stream = generator(self.seed, self.role, "pictures", step)
        draws = torch.rand(count, CROP_DRAWS + FLIP_DRAWS, generator=stream)[self._own]
        changed = dict(inputs)
        for name in settings["modalities"]:
            if name not in changed:  # of a run that does not see it
                continue
            if settings["crop"] is not None:
                changed[name] = random_resized_crop(changed[name], draws[:, :CROP_DRAWS], settings["crop"])
            if settings["flip"]:
                changed[name] = flip(changed[name], draws[:, CROP_DRAWS:])
        return changed


def order_of(count: int, size: int, steps: int, epoch: int, *, seed: int, role: str) -> list[list[int]]:
    """The samples of every step of an epoch: as many passes as that takes, each in an order of its own.

    Args:
        count: samples of the split.
        size: of a batch, at most `count`; the incomplete last batch of a pass is left out.
        steps: of an epoch.
        epoch: from 0 on.
        seed, role: key of the stream "order".

    Returns:
        `steps` lists of `size` indices.
    """
    each = count // size
    passes = -(-steps // each)
    wanted: list[list[int]] = []
    for number in range(epoch * passes, (epoch + 1) * passes):
        order = torch.randperm(count, generator=generator(seed, role, "order", number)).tolist()
        wanted += [order[step * size : (step + 1) * size] for step in range(each)]
    return wanted[:steps]


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


def _on(
    device: torch.device,
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    indices: Sequence[int],
    cuts: tuple[int, ...] = (),
) -> Batch:
    moved = {name: values.to(device, non_blocking=True) for name, values in inputs.items()}
    return Batch(moved, labels.to(device, non_blocking=True), tuple(indices), cuts)


def _exceeds(crop: Sequence[int], shape: tuple[int, int]) -> bool:
    return crop[0] > shape[0] or crop[1] > shape[1]
