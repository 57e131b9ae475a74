"""Random streams: each keyed by seed, role, purpose and step, never one sequential generator.

One extra draw anywhere would shift everything after it in a sequential stream, and with it unpair the rows
of a seed. Here a stream depends on nothing but its key; rows are not part of it.
"""

from __future__ import annotations

import hashlib

import torch


def stream_key(seed: int, *purpose: str | int) -> int:
    """A 63-bit key, well mixed, the same on every machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator at the start of that stream; the draws are the same whatever the device."""
    return torch.Generator().manual_seed(stream_key(seed, *purpose))
