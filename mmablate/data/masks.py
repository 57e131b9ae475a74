"""Modality masks: which modalities a training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch

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
