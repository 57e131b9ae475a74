"""Relative preference: which modalities lag behind the fused ones, and what follows for their weights.

Nothing here is differentiated: distances in, weights out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, chosen

NORM = 2.0  # of the weights of all modalities; four of them at 1 each have it


def relative_preference(distances: Tensor, present: Tensor) -> Tensor:
    """r = d_m / d - 1 with d the mean of d_m over the modalities present: above 0 where a modality lags behind.

    Args:
        distances: (B, M), d_m >= 0 of each modality from the fused ones, as of `prototype_distance`; detached here.
            What stands at an absent modality is not read.
        present: (B, M) bool.

    Returns:
        (B, M), -1 to M - 1, unitless, at least float32. 0 at absent modalities, in rows with fewer than two present
        (d_m is 0 there but for rounding) and where d = 0.

    Raises:
        ValueError: shapes differ or are not (B, M), or `present` is not bool.

    Source: PASSION's code (its paper's RP is -r), which divides 0 by 0 in a row with one modality and shuts the gates
    of the whole batch with the NaN.
    """
    _check(distances, present)
    known = torch.where(present, at_least_float32(distances.detach()), 0)
    number = present.sum(1, keepdim=True)
    mean = known.sum(1, keepdim=True) / number.clamp(min=1)
    told = present & (number > 1) & (mean != 0)
    return torch.where(told, known / mean - 1, 0)


def preference_gate(preference: Tensor, present: Tensor, *, definition: str = "principled") -> Tensor:
    """Which modalities are trained on their own: omega, 1 where a modality lags behind, 0 elsewhere.

    Args:
        preference: r (B, M), as of `relative_preference`.
        present: (B, M) bool.
        definition: one of

            - ``principled``: sample by sample, 1 where r > 0; and 1 for the only modality of a sample, where there is
              nothing to balance.
            - ``released``: 1 where the sum of r over the samples of the batch that have the modality is above 0, the
              same for all samples; so it depends on the batch, and a batch of samples with one modality each, of which
              r = 0, trains none of them.

    Returns:
        (B, M) of 0 and 1, at least float32, without gradient; 0 at absent modalities.

    Raises:
        ValueError: shapes differ or are not (B, M), `present` is not bool, unknown definition.

    Source: PASSION's code; the gate of a sample and of a single modality are our own.
    """
    _check(preference, present)
    preference = at_least_float32(preference.detach())
    opened = chosen(_GATES, definition, "the preference gate")(preference, present)
    return (opened & present).to(preference.dtype)


def rebalanced(beta: Tensor, mean_distance: Tensor, *, rate: float, low: float = 0.1, high: float = 4.0) -> Tensor:
    """Weights of the modalities after an epoch: more for those that lag behind.

    beta - rate RP, clipped to [low, high], with RP_m = (d - d_m) / d and d the mean of d_m; then scaled to norm 2,
    which leaves four weights of 1 as they are and may lead out of [low, high] again.

    Args:
        beta: (M,), > 0.
        mean_distance: (M,), d_m of each modality, mean over the epoch; NaN for one that was not seen. Such a modality
            keeps its weight and is left out of d; those seen, n of M, are scaled to their part of the norm,
            2 sqrt(n / M).
        rate: step, unitless.
        low, high: bounds, 0 < low <= high.

    Returns:
        (M,), of the type of `beta`, computed in float64. `beta` itself, unscaled, where d = 0 or no modality was seen.

    Raises:
        ValueError: shapes differ or are not (M,), or bounds out of order.

    Source: PASSION's code, with low 0.1 and high 4, for its four modalities; what becomes of one never seen is our own.
    """
    if beta.ndim != 1 or beta.shape != mean_distance.shape:
        raise ValueError(
            f"one distance a weight (M,) expected, got {tuple(beta.shape)} and {tuple(mean_distance.shape)}"
        )
    if not 0 < low <= high:
        raise ValueError(f"bounds 0 < low <= high expected, got low {low} and high {high}")
    weights, distances = beta.detach().double(), mean_distance.detach().double()
    seen = ~distances.isnan()
    mean = torch.where(seen, distances, 0).sum() / seen.sum().clamp(min=1)
    if mean == 0:
        return beta.detach().clone()
    moved = torch.where(seen, weights - rate * (mean - distances) / mean, 0).clamp(low, high) * seen
    norm = NORM * seen.double().mean().sqrt()
    return torch.where(seen, norm * moved / torch.linalg.vector_norm(moved), weights).to(beta.dtype)


def _check(values: Tensor, present: Tensor) -> None:
    if values.ndim != 2 or values.shape != present.shape:
        raise ValueError(f"two (B, M) of one shape expected, got {tuple(values.shape)} and {tuple(present.shape)}")
    if present.dtype != torch.bool:
        raise ValueError(f"present must be bool, got {present.dtype}")


def _of_each_sample(preference: Tensor, present: Tensor) -> Tensor:
    return (preference > 0) | (present.sum(1, keepdim=True) == 1)


def _of_the_batch(preference: Tensor, present: Tensor) -> Tensor:
    return (torch.where(present, preference, 0).sum(0) > 0).expand_as(present)


_GATES = {"principled": _of_each_sample, "released": _of_the_batch}
