"""Training batches in an order fixed by the seed, augmented from a stream of their own; evaluation batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmablate.data.base import Split
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


class TrainingBatches:
    """The batches of all epochs of one seed, the same for every run that trains on them.

    Args:
        split: training split.
        batch_size: samples a step; the incomplete last batch of an epoch is left out, except that a split
            smaller than a batch is one batch.
        seed, role: key of the streams "order" and "augment"; a teacher's are its own.
        flip, vertical: mirror left-right, up-down, each sample with probability one half.
        crop: (h, w) of a random crop, None for whole images.

    Raises:
        ValueError: a crop that is larger than the images.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        role: str,
        device: torch.device,
        flip: bool = False,
        vertical: bool = False,
        crop: Sequence[int] | None = None,
    ) -> None:
        if crop is not None and (crop[0] > split.shape[0] or crop[1] > split.shape[1]):
            raise ValueError(f"crop {tuple(crop)} is larger than the images {split.shape}")
        self.split, self.batch_size, self.seed, self.role = split, min(batch_size, len(split)), seed, role
        self.device, self.flip, self.vertical, self.crop = device, flip, vertical, crop
        self.digest = hashlib.sha256()

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch, at least one."""
        return len(self.split) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of epoch 0, 1, ...; their indices go into `digest`."""
        order = torch.randperm(len(self.split), generator=generator(self.seed, self.role, "order", epoch))
        for step in range(self.steps_per_epoch()):
            indices = order[step * self.batch_size : (step + 1) * self.batch_size].tolist()
            self.digest.update(repr(indices).encode())
            yield self._batch(indices, epoch * self.steps_per_epoch() + step)

    def _batch(self, indices: list[int], step: int) -> Batch:
        arrays, label_array = self.split.batch(indices)
        inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
        labels = torch.from_numpy(label_array)
        draws = torch.rand(len(indices), 4, generator=generator(self.seed, self.role, "augment", step))
        if self.crop is not None:
            inputs, labels = _crop(inputs, labels, self.crop, draws[:, 2:])
        for wanted, column, axis in ((self.flip, 0, -1), (self.flip and self.vertical, 1, -2)):
            if wanted:
                inputs, labels = _mirror(inputs, labels, draws[:, column] < 0.5, axis)
        moved = {name: values.to(self.device, non_blocking=True) for name, values in inputs.items()}
        return Batch(moved, labels.to(self.device, non_blocking=True), tuple(indices))


def evaluation_batches(split: Split, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """The whole split in order, the last batch as small as it falls; nothing is left out."""
    for start in range(0, len(split), batch_size):
        indices = range(start, min(start + batch_size, len(split)))
        arrays, labels = split.batch(indices)
        inputs = {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}
        yield Batch(inputs, torch.from_numpy(labels).to(device), tuple(indices))


def _mirror(
    inputs: Mapping[str, Tensor], labels: Tensor, chosen: Tensor, axis: int
) -> tuple[dict[str, Tensor], Tensor]:
    pick = chosen[:, None, None]
    mirrored = {n: torch.where(pick[:, None], x.flip(axis), x) for n, x in inputs.items()}
    return mirrored, torch.where(pick, labels.flip(axis), labels)


def _crop(
    inputs: Mapping[str, Tensor], labels: Tensor, size: Sequence[int], draws: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    height, width = labels.shape[-2:]
    tops = (draws[:, 0] * (height - size[0] + 1)).long().clamp(max=height - size[0]).tolist()
    lefts = (draws[:, 1] * (width - size[1] + 1)).long().clamp(max=width - size[1]).tolist()

    corners = list(zip(tops, lefts, strict=True))

    def cut(x: Tensor) -> Tensor:
        return torch.stack([x[i, ..., t : t + size[0], c : c + size[1]] for i, (t, c) in enumerate(corners)])

    return {name: cut(x) for name, x in inputs.items()}, cut(labels)
