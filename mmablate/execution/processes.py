"""What torchrun tells a process by its environment (no torch here)."""

from __future__ import annotations

import os


def world_size() -> int:
    """Number of processes that train together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched() -> bool:
    """Whether this process is one of several."""
    return world_size() > 1


def is_lead() -> bool:
    """Whether this process writes results and prints."""
    return not launched() or int(os.environ.get("RANK", "0")) == 0
