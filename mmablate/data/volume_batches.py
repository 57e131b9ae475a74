"""Training batches of 3D scans: patches with the modalities that each subject has, and meta batches beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mmablate.data.base import VolumeSplit
from mmablate.data.batches import ALL, Batch, Share, order_of
from mmablate.data.loading import Ahead
from mmablate.data.streams import generator
from mmablate.data.volume_augment import VolumeAugmentation, background
from mmablate.errors import MmablateError


@dataclass(frozen=True)
class VolumeBatch(Batch):
    """Patches on a device.

    Attributes:
        inputs: modality -> float32 (B, 1, h, w, z).
        labels: int64 (B, h, w, z).
        indices: subjects of the split that they are of.
        available: bool (B, M), the modalities of each subject: by its files and the mask list. On the CPU, as the
            draws: masks are decided there, which must not wait for a device.
        draws: float64 (B, 2) on [0, 1), from the stream of the masks: whoever hides modalities anew at every step
            decides by them, so that all rows of a seed hide alike.
    """

    available: Tensor | None = None
    draws: Tensor | None = None

    def parts(self) -> Sequence[VolumeBatch]:
        """The parts, in order; together they are this batch."""
        return [self._part(slice(a, b)) for a, b in pairwise((0, *(self.cuts or (len(self),))))]

    def _part(self, own: slice) -> VolumeBatch:
        return VolumeBatch(
            {name: x[own] for name, x in self.inputs.items()},
            self.labels[own],
            self.indices[own],
            available=None if self.available is None else self.available[own],
            draws=None if self.draws is None else self.draws[own],
        )


Made = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]
"""Inputs, labels, what is available and the draws of the masks, on the CPU."""


class VolumeBatches:
    """The batches of all epochs of one seed, the same for every run that trains on them.

    Order, changes and masks come from streams of their own, keyed by the step, so that any step's batch can be made
    without those before it.

    Args:
        split: to train on.
        batch_size: subjects a step; the incomplete last batch of a pass is left out, except that a split smaller than
            a batch is one batch.
        seed, role: key of the streams "order" and "augment"; that of "masks" is keyed by the seed alone.
        device: where the batches are to be.
        augmentation: what is done to each sample.
        modalities: names, in the order of the split's channels.
        steps: of an epoch, in place of one pass: as many passes as that takes.
        parts: into which each batch is cut.
        share: which of them this process sees; the draws are those of the whole batch.
        workers: processes that read an epoch's batches ahead and change them; 0 does so when asked, which is right
            for a split that lies in memory. The batches are the same.

    Raises:
        DataError: subjects that no batch can be made of, see `VolumeAugmentation.check`.
        ValueError: names that are not one a channel, fewer subjects a batch than parts, parts that cannot be dealt to
            the processes evenly, or batches of no subject.
    """

    def __init__(
        self,
        split: VolumeSplit,
        *,
        batch_size: int,
        seed: int,
        role: str,
        device: torch.device,
        augmentation: VolumeAugmentation,
        modalities: Sequence[str],
        steps: int | None = None,
        parts: int = 1,
        share: Share = ALL,
        workers: int = 0,
    ) -> None:
        self._patches = _Patches(split, augmentation, modalities, batch_size)
        self.split, self.seed, self.role, self.device = split, seed, role, device
        self.batch_size = self._patches.batch_size
        self._steps = steps
        self._own, self._cuts = share.of(self.batch_size, parts)
        making = _Steps(self._patches, seed, role, self._own)
        self._ahead = Ahead(making, workers, pin=device.type == "cuda") if workers > 0 else None
        self._making = making
        self.digest = hashlib.sha256()

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch, at least one."""
        return len(self.split) // self.batch_size if self._steps is None else self._steps

    def epoch(
        self, epoch: int, *, start: int = 0, passed: Callable[[int], object] = lambda step: None
    ) -> Iterator[VolumeBatch]:
        """The batches of epoch 0, 1, ...; their indices go into `digest`.

        Args:
            start: steps of the epoch that are behind every run; their batches are not read, only counted.
            passed: hears the number (over all epochs) of each step that is passed over.
        """
        first, wanted = epoch * self.steps_per_epoch(), self._wanted(epoch)
        for step in range(min(start, len(wanted))):
            self.digest.update(repr(wanted[step]).encode())
            passed(first + step)
        keys = [(first + step, wanted[step]) for step in range(start, len(wanted))]
        for (_, subjects), made in zip(keys, self._read(keys), strict=True):
            self.digest.update(repr(subjects).encode())
            yield self._batch(subjects, made)

    def step_batch(self, step: int) -> VolumeBatch:
        """The batch of a step, counted over all epochs; `digest` does not hear of it."""
        subjects = self.subjects(step)
        return self._batch(subjects, _raised(self._making[step, subjects]))

    def subjects(self, step: int) -> list[int]:
        """The subjects of the whole batch of a step, whatever this process's share of it."""
        epoch, place = divmod(step, self.steps_per_epoch())
        return self._wanted(epoch)[place]

    def _wanted(self, epoch: int) -> list[list[int]]:
        """The subjects of every step of an epoch."""
        return order_of(len(self.split), self.batch_size, self.steps_per_epoch(), epoch, seed=self.seed, role=self.role)

    def _read(self, keys: Sequence[tuple[int, list[int]]]) -> Iterator[Made]:
        return self._ahead.read(keys) if self._ahead is not None else (_raised(self._making[key]) for key in keys)

    def _batch(self, subjects: list[int], made: Made) -> VolumeBatch:
        return _on(self.device, made, subjects[self._own], self._cuts)


class MetaBatches:
    """Batches of other subjects of the training split, for the meta part of a step.

    They are drawn from streams of their own: whether they are drawn shifts nothing of the training batches.

    Args:
        split: that is trained on.
        batch_size: subjects of a meta batch, at most.
        seed, role: key of the streams "meta" and "meta-augment"; that of "meta-masks" is keyed by the seed alone.
        device: where the batches are to be.
        augmentation: what is done to each sample.
        modalities: names, in the order of the split's channels.

    Raises:
        DataError, ValueError: as `VolumeBatches`.
    """

    def __init__(
        self,
        split: VolumeSplit,
        *,
        batch_size: int,
        seed: int,
        role: str,
        device: torch.device,
        augmentation: VolumeAugmentation,
        modalities: Sequence[str],
    ) -> None:
        self._patches = _Patches(split, augmentation, modalities, batch_size)
        self.split, self.seed, self.role, self.device = split, seed, role, device

    def batch(
        self, step: int, exclude: Sequence[int], eligible: Literal["all", "complete"] = "all"
    ) -> VolumeBatch | None:
        """The meta batch of a step, counted over all epochs.

        Args:
            step: whose.
            exclude: subjects of the step's training batch.
            eligible: "all" subjects, or only those with all modalities ("complete", as HGA draws them).

        Returns:
            Subjects uniform over those that may be drawn, without repetition; fewer than a batch where there are fewer,
            None where there are none.

        Raises:
            ValueError: another `eligible`.
        """
        if eligible not in ("all", "complete"):
            raise ValueError(f"eligible must be 'all' or 'complete', not {eligible!r}")
        barred = set(exclude)
        allowed = [eligible == "all" or all(row) for row in self.split.presence.tolist()]
        order = torch.randperm(len(self.split), generator=generator(self.seed, self.role, "meta", step)).tolist()
        subjects = [i for i in order if allowed[i] and i not in barred][: self._patches.batch_size]
        if not subjects:
            return None
        streams = (self.role, "meta-augment", step), ("meta-masks", step)
        return _on(self.device, self._patches.make(subjects, self.seed, *streams), subjects)


class _Patches:
    """Makes batches of patches, on the CPU.

    Args:
        split, augmentation, modalities: as of `VolumeBatches`.
        batch_size: wanted; that of the split where it is smaller.
    """

    def __init__(
        self, split: VolumeSplit, augmentation: VolumeAugmentation, modalities: Sequence[str], batch_size: int
    ) -> None:
        channels = split.presence.shape[1]
        if len(modalities) != channels:
            raise ValueError(f"modalities must be one a channel, got {list(modalities)} for {channels} channels")
        if min(batch_size, len(split)) < 1:
            raise ValueError(f"batches of {batch_size} of {len(split)} subjects")
        self.split, self.augmentation, self.modalities = split, augmentation, tuple(modalities)
        self.batch_size = min(batch_size, len(split))
        augmentation.check(split, self.batch_size)
        self._backgrounds: dict[int, NDArray[np.float32]] = {}

    def make(
        self,
        subjects: Sequence[int],
        seed: int,
        augment: tuple[str | int, ...],
        masks: tuple[str | int, ...],
        own: slice = slice(None),
    ) -> Made:
        """What a batch is of.

        Args:
            subjects: of it.
            seed, augment, masks: keys of the streams of changes and of masks.
            own: places of the batch to make; the draws are the same whichever.
        """
        height = self.split.size(subjects[0])[0] if self.augmentation.patch is None else self.augmentation.patch[0]
        draws = self.augmentation.draw(len(subjects), len(self.modalities), height, seed, *augment)[own]
        chosen = list(subjects)[own]
        samples = [
            self.augmentation.sample(self.split, index, draw, self._background(index))
            for index, draw in zip(chosen, draws, strict=True)
        ]
        scans = torch.stack([scan for scan, _ in samples])
        return (
            {name: scans[:, m : m + 1].contiguous() for m, name in enumerate(self.modalities)},
            torch.stack([labels for _, labels in samples]),
            torch.from_numpy(self.split.presence[chosen]),
            torch.rand(len(subjects), 2, generator=generator(seed, *masks), dtype=torch.float64)[own],
        )

    def _background(self, index: int) -> NDArray[np.float32]:
        """What turned corners are filled with; looked up once a subject."""
        if self.augmentation.rotate == 0:
            return np.zeros(len(self.modalities), dtype=np.float32)  # nothing is filled
        if index not in self._backgrounds:
            self._backgrounds[index] = background(self.split, index)
        return self._backgrounds[index]


class _Steps(Dataset[Any]):
    """The training batches as one item a step, so that workers can make them; a fault of the files is an item too.

    Args:
        patches: that make them.
        seed, role: of the streams.
        own: places of every batch to make.
    """

    def __init__(self, patches: _Patches, seed: int, role: str, own: slice) -> None:
        self.patches, self.seed, self.role, self.own = patches, seed, role, own

    def __getitem__(self, key: tuple[int, list[int]]) -> Made | MmablateError:
        step, subjects = key
        if get_worker_info() is not None:
            torch.set_num_threads(1)
        try:
            streams = (self.role, "augment", step), ("masks", step)
            return self.patches.make(subjects, self.seed, *streams, own=self.own)
        except MmablateError as error:
            return error


def _raised(made: Made | MmablateError) -> Made:
    if isinstance(made, MmablateError):
        raise made
    return made


def _on(device: torch.device, made: Made, indices: Sequence[int], cuts: tuple[int, ...] = ()) -> VolumeBatch:
    inputs, labels, available, draws = made
    return VolumeBatch(
        inputs={name: x.to(device, non_blocking=True) for name, x in inputs.items()},
        labels=labels.to(device, non_blocking=True),
        indices=tuple(indices),
        cuts=cuts,
        available=available,
        draws=draws,
    )
