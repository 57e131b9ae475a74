"""Running out of memory: told from other errors, since a smaller group may still fit."""

from __future__ import annotations

import torch


class OutOfMemory(Exception):
    """The device or the machine had no room for a step; the group's owner may go on with fewer runs at a time."""


class GroupTooLarge(Exception):
    """A group did not fit; the states of its runs are saved, and smaller groups go on from there."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: CUDA's, the CPU allocator's, or Python's own."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def free_cached(device: torch.device) -> None:
    """Gives memory that torch keeps in reserve back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
