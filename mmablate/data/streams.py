"""Random streams: each keyed by seed, role, purpose and step, never one sequential generator.

One extra draw anywhere would shift everything after it in a sequential stream, and with it unpair the rows
of a seed. Here a stream depends on nothing but its key; rows are not part of it.
"""

from __future__ import annotations

import torch

from mmablate.data.keys import stream_key

__all__ = ["generator", "stream_key"]


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator at the start of that stream; the draws are the same whatever the device."""
    return torch.Generator().manual_seed(stream_key(seed, *purpose))
