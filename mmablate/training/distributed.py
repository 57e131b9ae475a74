"""One run over several processes, started by torchrun: what they share and who writes.

Each process works on its share of every batch and of every evaluation; gradients and counts are summed. The
process of rank 0 alone writes to the store. Without torchrun everything here is the identity, and torch's
process groups are not touched.
"""

from __future__ import annotations

import os
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
        broadcast_buffers=False,  # each process gathers its own, see `average_buffers`
        find_unused_parameters=unused,
    )


def average_buffers(model: nn.Module) -> None:
    """Makes running statistics (batch norm's) the mean over the processes, which each saw other parts."""
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
