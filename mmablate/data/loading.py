"""Reading batches ahead: worker processes decode while the device computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mmablate.data.base import ArraySplit, LabelledSplit, Split
from mmablate.errors import MmablateError

IN_MEMORY = (ArraySplit, LabelledSplit)

Tensors = tuple[dict[str, Tensor], Tensor]


class BatchReader:
    """Batches of a split as tensors, in the order asked for.

    Each batch is read once, whoever trains on it. The reading is the same with and without workers.

    Args:
        split: to read.
        workers: processes that read ahead; 0 reads when asked. A split that lies in memory takes none.
        pin: whether to use page-locked memory, from which a CUDA device copies while it computes.
        device: that computes; a split in memory is kept there as a whole where it takes at most a quarter of what is
            free, and the batches then are tensors of that device. None, or a CPU: batches are CPU tensors.
    """

    def __init__(
        self, split: Split, *, workers: int = 0, pin: bool = False, device: torch.device | None = None
    ) -> None:
        self.split = split
        self._resident = _resident(split, device) if device is not None and device.type == "cuda" else None
        self.workers = 0 if isinstance(split, IN_MEMORY) else workers
        self.pin = pin
        self._ahead = Ahead(_Batches(split), self.workers, pin)

    def read(self, batches: Sequence[Sequence[int]]) -> Iterator[Tensors]:
        """Inputs, modality -> float32 (B, C_m, H, W), and labels int64 (B, H, W) of each batch of indices."""
        if self.workers == 0:
            for indices in batches:
                yield _tensors(self.split, indices) if self._resident is None else self._resident.batch(indices)
            return
        yield from self._ahead.read([list(indices) for indices in batches])


class Ahead:
    """Items of a dataset in the order asked for, read ahead by worker processes.

    An item may be an error of mmablate's own, so that its message arrives whole: it is raised here.

    Args:
        dataset: its keys are what `read` is asked for; copied into every process.
        workers: how many, from 1 on.
        pin: whether tensors come in page-locked memory.
    """

    def __init__(self, dataset: Dataset[Any], workers: int, pin: bool) -> None:
        self._dataset, self._workers, self._pin = dataset, workers, pin
        self._plan = _Plan()
        self._loader: DataLoader[Any] | None = None

    def read(self, keys: Sequence[Any]) -> Iterator[Any]:
        """The items of those keys."""
        # One loader for all epochs: its processes (spawned, since forking beside CUDA or threads is unsafe) live on.
        if self._loader is None:
            self._loader = DataLoader(
                self._dataset,
                batch_size=None,
                sampler=self._plan,
                num_workers=self._workers,
                multiprocessing_context="spawn",
                persistent_workers=True,
                prefetch_factor=2,  # batches wait in shared memory, which containers often keep small
                pin_memory=self._pin,
                # The loader draws a seed for its workers, which read and draw nothing from it: from a generator of its
                # own, so that the global one is left alone.
                generator=torch.Generator(),
            )
        self._plan.keys = list(keys)
        for found in self._loader:
            if isinstance(found, MmablateError):
                raise found
            yield found


class ResidentSplit:
    """A whole split as tensors of one device.

    Args:
        split: to copy.
        device: where to.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        inputs, labels = _tensors(split, range(len(split)))
        self.inputs = {name: values.to(device) for name, values in inputs.items()}
        self.labels = labels.to(device)

    def batch(self, indices: Sequence[int]) -> Tensors:
        """Copies of the samples at `indices`, as `BatchReader.read` gives them, but on the device."""
        chosen = torch.as_tensor(list(indices), dtype=torch.int64).to(self.labels.device, non_blocking=True)
        return {name: values[chosen] for name, values in self.inputs.items()}, self.labels[chosen]


def _resident(split: Split, device: torch.device) -> ResidentSplit | None:
    """The split on the device, where it lies in memory and takes at most a quarter of what the device has free."""
    if not isinstance(split, IN_MEMORY):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentSplit(split, device) if split.nbytes <= free / 4 else None


class _Plan(Sampler[Any]):
    """The items of the epoch at hand."""

    def __init__(self) -> None:
        self.keys: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class _Batches(Dataset[Any]):
    """A split seen as one item a batch; a fault of the files is an item too, so that its message arrives whole."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, indices: Any) -> Tensors | MmablateError:
        torch.set_num_threads(1)
        try:
            return _tensors(self.split, indices)
        except MmablateError as error:
            return error


def _tensors(split: Split, indices: Sequence[int]) -> Tensors:
    inputs, labels = split.batch(indices)
    return {name: torch.from_numpy(values) for name, values in inputs.items()}, torch.from_numpy(labels)
