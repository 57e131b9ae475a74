"""How weak a modality is, and how much weight its unique-information expert gets for it.

Strength is measured by a probe on held-out samples, not by the softmax of a training batch, which knows the labels
it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mmablate.metrics.classification import checked_logits, log_loss


def strength(logits: Tensor, labels: Tensor) -> float:
    """Share of the label's entropy that a classifier removes: r = (H(Y) - CE) / H(Y).

    Args:
        logits: (N, K) calibrated and of held-out samples; of others r flatters the modality.
        labels: (N,) integer classes.

    Returns:
        At most 1; not clipped: below 0 where the classifier is worse than the frequencies of the labels. H(Y) is
        that of these very labels. 0 where all of them are of one class, so that there is nothing to know.

    Raises:
        ValueError: shapes, no sample, or a class outside 0..K-1.
    """
    logits, labels = checked_logits(logits, labels)
    shares = torch.bincount(labels).double() / len(labels)
    entropy = -float(torch.special.xlogy(shares, shares).sum())
    return (entropy - log_loss(logits, labels)) / entropy if entropy > 0 else 0.0


def adaptive_weights(
    strengths: Mapping[str, float], base: float, largest: float, open: Mapping[str, bool]
) -> dict[str, float]:
    """The weaker a modality, the larger its weight: beta_m = clip(base (1 - r_m / max r), 0, largest) if open.

    Args:
        strengths: modality -> r, as `strength` gives it.
        base: weight of a modality that knows nothing, >= 0; 0 gives all of them 0.
        largest: bound >= 0.
        open: modality -> whether it may have a weight: its unique information lies above what permuted labels give.
            It keeps modalities that are weak because they know nothing from being pushed to learn noise.

    Returns:
        Modality -> beta, in the order of `strengths`. The strongest gets 0, and so do all that are as strong, and a
        modality alone. Where no strength is above 0, there is no strongest to compare with, and all get 0.

    Raises:
        ValueError: no modality, a strength that is not finite or above 1, a modality that `open` lacks, base or
            largest negative or not finite.
    """
    if not strengths:
        raise ValueError("no modality to weigh")
    for name, r in strengths.items():
        if not (math.isfinite(r) and r <= 1):
            raise ValueError(f"strength of {name!r} must be finite and at most 1, got {r}")
        if name not in open:
            raise ValueError(f"open lacks {name!r}; it has {sorted(open)}")
    for what, value in (("base", base), ("largest", largest)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{what} must be finite and at least 0, got {value}")
    strongest = max(strengths.values())
    if strongest <= 0 or base == 0:
        return dict.fromkeys(strengths, 0.0)
    return {
        name: min(max(base * (1 - r / strongest), 0.0), largest) if open[name] else 0.0 for name, r in strengths.items()
    }


def uniform_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Their total, shared out alike: the control of whether it matters who gets the weight."""
    return dict.fromkeys(weights, math.fsum(weights.values()) / len(weights)) if weights else {}


def inverted_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights with ranks reversed: the largest to whom the smallest was due.

    Modalities with equal weights share what falls to their ranks, so that the order of names does not matter and the
    total stays.
    """
    ascending = sorted(weights.values())
    last = len(ascending) - 1
    found = {}
    for name, value in weights.items():
        ranks = [rank for rank, other in enumerate(ascending) if other == value]
        found[name] = math.fsum(ascending[last - rank] for rank in ranks) / len(ranks)
    return found


def shuffled_weights(weights: Mapping[str, float], generator: torch.Generator) -> dict[str, float]:
    """The same weights dealt out at random, every order alike.

    Of two modalities every deal is either the weights or their inversion: draw anew each epoch.

    Args:
        generator: of the CPU; draws one permutation.
    """
    values = list(weights.values())
    order = torch.randperm(len(values), generator=generator).tolist()
    return {name: values[place] for name, place in zip(weights, order, strict=True)}
