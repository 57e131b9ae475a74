"""One run over several processes, started by torchrun: what they share and who writes.

Each process works on its share of every batch and of every evaluation; gradients and counts are summed. The
process of rank 0 alone writes to the store. Without torchrun everything here is the identity, and torch's
process groups are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmablate.data.batches import ALL, Share
from mmablate.errors import UsageError


def launched() -> bool:
    """Whether torchrun (or its like) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def share() -> Share:
    """This process's part of the work."""
    return Share(dist.get_rank(), dist.get_world_size()) if _running() else ALL


def is_lead() -> bool:
    """Whether this process writes what is kept."""
    return int(os.environ.get("RANK", "0")) == 0 if launched() else True


def start(device: torch.device) -> torch.device:
    """Joins the other processes, once; returns this process's own device.

    Raises:
        UsageError: more processes on this machine than it has CUDA devices.
    """
    if not launched():
        return device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise UsageError(f"torchrun: process {local} of this machine has no CUDA device of its own")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if not _running():
        backend = "nccl" if device.type == "cuda" else "gloo"
        # Rank 0 may make data or evaluate alone for a while; the others wait for it.
        dist.init_process_group(backend, timeout=timedelta(hours=2))
    return device


def stop() -> None:
    """Leaves the other processes."""
    if _running():
        dist.destroy_process_group()


def parallel(model: nn.Module, device: torch.device, *, unused: bool) -> nn.Module:
    """The model as it is called in training: its gradients are averaged over the processes.

    Args:
        unused: whether some parameters get no gradient, as the decoder's where only features are compared.
    """
    if not _running():
        return model
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        broadcast_buffers=False,  # see `RunningStatistics`
        find_unused_parameters=unused,
    )


class RunningStatistics:
    """Batch norm's running statistics over the processes, which each see other parts of a batch.

    One process takes the parts one after the other and moves the statistics at each. Here every process moves its
    own at its own parts, and after the step all get what the parts of all, in their order, would have made: with
    rate m and k parts a process, r0 at the beginning and r_i at the end of process i of W,

        r = sum over i of (1 - m)^(k (W - 1 - i)) (r_i - (1 - m)^k r0) + (1 - m)^(k W) r0.

    Args:
        model: in the same state in all processes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers: list[tuple[float, Tensor, Tensor, Tensor]] = [
            (1.0 - layer.momentum, layer.num_batches_tracked, layer.running_mean, layer.running_var)
            for layer in model.modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and layer.momentum is not None
            and layer.running_mean is not None
            and layer.running_var is not None
            and layer.num_batches_tracked is not None
        ]
        self._note()

    def _note(self) -> None:
        self.before = [(count.clone(), mean.clone(), var.clone()) for _, count, mean, var in self.layers]

    @torch.no_grad()
    def gather(self) -> None:
        """Makes them equal in all processes, once a step; nothing where there is one process, or no batch norm."""
        if not (self.layers and _running()):
            return
        rank, world = dist.get_rank(), dist.get_world_size()
        own: list[Tensor] = []
        for (keep, count, *now), (first, *then) in zip(self.layers, self.before, strict=True):
            keeps = keep ** (count - first).double()
            for value, start in zip(now, then, strict=True):
                moved = (value.double() - keeps * start.double()) * keeps ** (world - 1 - rank)
                own.append(moved + keeps**world * start.double() / world)
        parts = iter(summed(torch.cat(own)).split([len(part) for part in own]))
        for (_, count, *now), (first, *_) in zip(self.layers, self.before, strict=True):
            count += (count - first) * (world - 1)
            for value in now:
                value.copy_(next(parts))
        self._note()


def average_buffers(model: nn.Module) -> None:
    """Makes other running statistics than batch norm's (see `RunningStatistics`) the mean over the processes."""
    if not _running():
        return
    world = dist.get_world_size()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world


def summed(value: Tensor) -> Tensor:
    """The sum of this tensor over all processes."""
    if _running():
        value = value.clone()
        dist.all_reduce(value)
    return value


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Gives every parameter the sum of its gradients over all processes, in one go; those without one keep none.

    In place of `parallel` where a gradient reaches parts of a model alone, which parts being a matter of the update
    rule: DistributedDataParallel refuses outputs that are looked at and not learned from. All processes must have
    gradients of the same parameters.
    """
    if not _running():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for kind in sorted({gradient.dtype for gradient in gradients}, key=str):
        some = [gradient for gradient in gradients if gradient.dtype == kind]
        whole = summed(torch.cat([gradient.flatten() for gradient in some]))
        for gradient, part in zip(some, whole.split([own.numel() for own in some]), strict=True):
            gradient.copy_(part.view_as(gradient))


def from_lead(value: Any) -> Any:
    """Rank 0's value, in every process."""
    if not _running():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if _running():
        dist.barrier()


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()
