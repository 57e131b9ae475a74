"""Modality masks: which modalities a training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from mmablate.data.streams import generator


def draw_subset(modalities: Sequence[str], *, seed: int, step: int, mode: str, distribution: str) -> tuple[str, ...]:
    """The modalities present at a step, in the order given; shared by the batch and by all rows of a seed.

    Args:
        modalities: all M names.
        mode: "none" hides nothing; "dynamic" draws a non-empty subset.
        distribution: "cardinality": k uniform over 1..M, then a uniform k-subset, so that a modality is
            present with probability (M + 1) / 2M; "subset": uniform over the 2^M - 1 subsets.

    Raises:
        ValueError: an unknown mode or distribution.

    Source: AnySeg's released anymodal dropout (cardinality).
    """
    if mode == "none":
        return tuple(modalities)
    if mode != "dynamic":
        raise ValueError(f"mode must be 'none' or 'dynamic', got {mode!r}")
    stream = generator(seed, "masks", step)
    count = len(modalities)
    if distribution == "cardinality":
        size = int(torch.randint(1, count + 1, (), generator=stream))
        chosen = sorted(torch.randperm(count, generator=stream)[:size].tolist())
    elif distribution == "subset":
        subsets = [c for k in range(1, count + 1) for c in combinations(range(count), k)]
        chosen = list(subsets[int(torch.randint(len(subsets), (), generator=stream))])
    else:
        raise ValueError(f"distribution must be 'cardinality' or 'subset', got {distribution!r}")
    return tuple(modalities[i] for i in chosen)


def hide(available: Tensor, draws: Tensor, *, mode: str, distribution: str) -> Tensor:
    """The modalities present of each sample of a batch; nothing but the arguments decides.

    Args:
        available: bool (B, M), those that each sample has: by its files and its mask list, or, for "free", by its files
            alone.
        draws: uniform on [0, 1), float64 (B, 2), a row a sample.
        mode: "permanent" (`utd`) and "none": the available ones. "dynamic" (`utd_drop`): a non-empty subset of the
            available ones, anew with every draw. "free" (`pdt`, VTD): a subset uniform over the non-empty ones of what
            has files, which are all 2^M - 1 where no file is missing; `distribution` plays no part.
        distribution: of "dynamic". "subset": uniform over the non-empty subsets, as published; "cardinality": the
            number uniform over 1..k, then the subset uniform over those of that size.

    Returns:
        bool (B, M) on the device of `available`.

    Raises:
        ValueError: an unknown mode or distribution, other shapes, or a sample with no modality.

    Source: PASSION's released masks (idt, idt_drop, pdt).
    """
    if mode not in ("none", "permanent", "dynamic", "free"):
        raise ValueError(f"mode must be 'none', 'permanent', 'dynamic' or 'free', got {mode!r}")
    if distribution not in ("subset", "cardinality"):
        raise ValueError(f"distribution must be 'cardinality' or 'subset', got {distribution!r}")
    if available.ndim != 2 or draws.shape != (len(available), 2):
        raise ValueError(f"draws must be (B, 2) for available (B, M), not {draws.shape} for {available.shape}")
    rows = available.tolist()
    if not all(any(row) for row in rows):
        raise ValueError(f"sample {[any(row) for row in rows].index(False)} of the batch has no modality")
    if mode in ("none", "permanent"):
        return available.clone()
    pick = _by_size if mode == "dynamic" and distribution == "cardinality" else _uniformly
    present = torch.zeros(available.shape, dtype=torch.bool)
    for i, (row, pair) in enumerate(zip(rows, draws.tolist(), strict=True)):
        own = [m for m, there in enumerate(row) if there]
        present[i, [own[place] for place in pick(len(own), pair)]] = True
    return present.to(available.device)


def _uniformly(count: int, draws: Sequence[float]) -> list[int]:
    """Places 0..count-1, each non-empty set of them equally likely: the binary digits of 1..2^count - 1."""
    number = 1 + _among(2**count - 1, draws[0])
    return [place for place in range(count) if number >> place & 1]


def _by_size(count: int, draws: Sequence[float]) -> list[int]:
    """Places 0..count-1: their number uniform over 1..count, then each set of so many equally likely."""
    subsets = list(combinations(range(count), 1 + _among(count, draws[0])))
    return list(subsets[_among(len(subsets), draws[1])])


def _among(count: int, draw: float) -> int:
    """One of 0..count-1, each for an equal part of [0, 1)."""
    return min(int(draw * count), count - 1)
