"""Where a run computes, and what is said about it in its record."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from typing import Any

import torch
from torch import nn

import mmablate
from mmablate.errors import UsageError
from mmablate.results.machine import processor


def choose_device(wanted: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises:
        UsageError: a device that this machine lacks, or none at all by that name.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"--device {wanted}: auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {wanted}: auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {wanted}: this torch ({torch.__version__}) sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {wanted}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def used_precision(device: torch.device, precision: str) -> str:
    """What "auto" means on this device: bf16 on CUDA, float32 elsewhere."""
    return {"auto": "bf16" if device.type == "cuda" else "float32"}.get(precision, precision)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 where asked for, or on "auto" on CUDA; otherwise float32."""
    if used_precision(device, precision) == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device; on CUDA one of 2D convolutions alone with its channels last, as its kernels like it."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if device.type == "cuda" and _flat(model) else model  # type: ignore[call-overload]


def _flat(model: nn.Module) -> bool:
    """Whether the model's layers are of pictures alone; weights of 3D convolutions cannot have their channels last."""
    return not any(isinstance(module, nn.Linear | nn.Conv3d) for module in model.modules())


def prepare_threads(device: torch.device, threads: int) -> None:
    """One thread a group on a CPU, so that neither -j nor a neighbour changes a bit; deterministic kernels."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """What a record says of the machine; it identifies the worker, not the person."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        "device": device.type,
        "device_name": name,
        "precision": used_precision(device, precision),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mmablate": mmablate.__version__,
    }
