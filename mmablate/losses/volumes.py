"""Supervision of 3D segmentation: cross-entropy plus soft Dice, of the final logits and of the deep supervision.

Every function gives one value a row; rows are samples, or (sample, modality) pairs. Nothing is summed over rows, so no
term grows with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, chosen

LEAST_PROBABILITY = 0.005  # released: what probabilities are clamped at before a logarithm
_DICE_EPS = 1e-7  # released: added to the denominator of Dice, in voxels


def volume_cross_entropy(logits: Tensor, labels: Tensor, *, definition: str = "principled") -> Tensor:
    """Cross-entropy of each row, over its voxels.

    Args:
        logits: (N, K, *S).
        labels: (N, *S) int64, each 0..K-1. Another value is an error with ``principled`` (on CUDA a
            device-side assertion); with ``released`` it is a voxel of no class.
        definition: one of

            - ``principled``: mean over voxels of -log softmax at the label.
            - ``released``: mean over voxels of -w_c log clamp(p, 0.005, 1) at the label c, where w_c = 1 - n_c / n with
              n_c of the n voxels of *that row* in class c. Rare classes weigh up to 1, a row of one class weighs 0. A
              voxel whose class has p < 0.005 gets no gradient.

    Returns:
        (N,), nats per voxel, at least float32.

    Raises:
        ValueError: the shapes do not belong together, no voxel, labels that are not int64, unknown definition.

    Source: the seed's CE; ``released`` is the weighted cross-entropy of PASSION's code, which sums it over the batch.
    """
    check_volumes(logits, labels)
    return chosen(_CROSS_ENTROPIES, definition, "volume cross-entropy")(logits, labels)


def soft_dice(logits: Tensor, labels: Tensor, *, definition: str = "principled") -> Tensor:
    """1 - soft Dice of each row: mean over classes c of 2 sum(p_c t_c) / (sum(p_c) + sum(t_c)), sums over voxels.

    Args:
        logits: (N, K, *S).
        labels: (N, *S) int64, each 0..K-1.
        definition: one of

            - ``principled``: mean over the classes that the row's labels have, the background among them. What is
              wrongly given to an absent class is missing from those that are there, and costs there.
            - ``released``: mean over all K classes, 1e-7 added to the denominator. A class that the row does not have
              has Dice 0 whatever the network says: a constant 1/K a class, without gradient, that no step can lower.

    Returns:
        (N,), 0 (perfect) to 1, unitless, at least float32.

    Raises:
        ValueError: as `volume_cross_entropy`.

    Source: the seed's Dice, after Milletari et al. 2016, arXiv:1606.04797, without squares in the denominator;
    ``released`` is that of PASSION's code.
    """
    check_volumes(logits, labels)
    compare = chosen(_DICES, definition, "soft Dice")
    return compare(at_least_float32(logits).softmax(1), labels)


def segmentation_loss(logits: Tensor, labels: Tensor, *, definition: str = "principled") -> Tensor:
    """`volume_cross_entropy` + `soft_dice` of each row: the seed's CE + Dice of L_fuse and L_uni.

    Args, Returns, Raises:
        as these two.
    """
    cross_entropy = volume_cross_entropy(logits, labels, definition=definition)
    return cross_entropy + soft_dice(logits, labels, definition=definition)


def region_supervision(
    regions: Sequence[Tensor], labels: Tensor, *, decay: float = 0.5, definition: str = "principled"
) -> Tensor:
    """Deep supervision (PRM): sum over levels s = 1, 2, ... of decay^s times the `segmentation_loss` of level s.

    Args:
        regions: logits (N, K, *s) of each level, finest first; at the size of the labels or coarser. Resampled to it
            linearly along every axis, corners aligned; a level of that size is taken as it is.
        labels: (N, *S) int64, each 0..K-1.
        decay: weight of the first level, and of each next one relative to the one before; 0.5 gives 2^-s, which stays
            below 1 in total.
        definition: of `segmentation_loss`, and of what is resampled: ``principled`` logits, ``released`` the softmax of
            them.

    Returns:
        (N,), at least float32.

    Raises:
        ValueError: no level, a level of another N or K, one finer than the level before, and as `segmentation_loss`.

    Source: the seed's L_PRM with gamma_s = 2^-s, which leaves open where s starts; PASSION's code starts at 1 with the
    finest level.
    """
    check_levels(regions, "regions")
    supervise = chosen(_REGIONS, definition, "region supervision")
    terms = [decay**s * supervise(level, labels) for s, level in enumerate(regions, start=1)]
    return torch.stack(terms).sum(0)


def resample(values: Tensor, size: Sequence[int]) -> Tensor:
    """(N, K, *s) at `size`, linear along every axis, corners aligned; as they are where they have that size.

    What `torch.nn.functional.interpolate` gives with these options, as one product with a small matrix an axis: on CPUs
    several times faster in both directions, on CUDA without its backward that adds in no fixed order.

    Raises:
        ValueError: another number of axes.
    """
    if len(size) != values.ndim - 2:
        raise ValueError(f"a volume {tuple(values.shape)} cannot be resampled to {tuple(size)}")
    for axis in reversed(range(2, values.ndim)):
        if values.shape[axis] != size[axis - 2]:
            values = _resampled_along(axis, values, size[axis - 2])
    return values


def _resampled_along(axis: int, values: Tensor, size: int) -> Tensor:
    own = values.shape[axis]
    places = torch.linspace(0, own - 1, size, dtype=torch.float64, device=values.device)
    samples = torch.arange(own, dtype=torch.float64, device=values.device)
    matrix = (1 - (places[:, None] - samples).abs()).clamp(min=0).to(values.dtype)  # (size, own)
    with torch.autocast(values.device.type, enabled=False):
        if axis == values.ndim - 1:
            return values @ matrix.mT
        return (matrix @ values.flatten(axis + 1)).unflatten(-1, values.shape[axis + 1 :])


def class_masks(labels: Tensor, n_classes: int) -> Tensor:
    """(N, K, V) bool: whether voxel v of row n is of class k."""
    # Not one_hot: it looks at the values, which stops a GPU and which vmap cannot do.
    classes = torch.arange(n_classes, device=labels.device)
    return labels.flatten(1)[:, None] == classes[:, None]


def check_volumes(values: Tensor, labels: Tensor, what: str = "logits (N, K, *S)") -> None:
    """Raise ValueError unless `values` (N, anything, *S) and int64 `labels` (N, *S) belong together."""
    if values.ndim < 3 or values.shape[:1] + values.shape[2:] != labels.shape:
        raise ValueError(f"{what} and labels (N, *S) expected, got {tuple(values.shape)} and {tuple(labels.shape)}")
    if 0 in values.shape[1:]:
        raise ValueError(f"{what} of at least one voxel expected, got {tuple(values.shape)}")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, got {labels.dtype}")


def check_levels(levels: Sequence[Tensor], what: str) -> None:
    """Raise ValueError unless there are levels, of one N, K and number of axes, none finer than the one before."""
    if len(levels) == 0:
        raise ValueError(f"{what}: no level")
    for i, level in enumerate(levels):
        if level.ndim < 3 or 0 in level.shape[1:]:
            raise ValueError(
                f"{what}: logits (N, K, *s) of a voxel at least expected, level {i} is {tuple(level.shape)}"
            )
    for i, (level, before) in enumerate(zip(levels[1:], levels[:-1], strict=True), start=1):
        if level.shape[:2] != before.shape[:2] or level.ndim != before.ndim:
            raise ValueError(f"{what}: level {i} is {tuple(level.shape)}, the one before {tuple(before.shape)}")
        if level.shape.numel() > before.shape.numel():
            raise ValueError(
                f"{what}: finest first expected, level {i} is {tuple(level.shape)} after {tuple(before.shape)}"
            )


def _plain_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    # Not torch's cross_entropy, to which the label -100 is a voxel to skip.
    of_label = at_least_float32(logits).log_softmax(1).gather(1, labels[:, None])
    return -of_label.flatten(1).mean(1)


def _weighted_cross_entropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    masks = class_masks(labels, probabilities.shape[1]).to(probabilities.dtype)
    share = masks.mean(2)
    of_class = (masks * probabilities.flatten(2).clamp(LEAST_PROBABILITY, 1).log()).mean(2)
    return -((1 - share) * of_class).sum(1)


def _dice_of_present(probabilities: Tensor, labels: Tensor) -> Tensor:
    overlap, sizes, counts = _overlaps(probabilities, labels)
    present = counts > 0
    dice = torch.where(present, 2 * overlap / torch.where(present, sizes, 1), 0)
    return 1 - dice.sum(1) / present.sum(1).clamp(min=1)


def _dice_of_all(probabilities: Tensor, labels: Tensor) -> Tensor:
    overlap, sizes, _ = _overlaps(probabilities, labels)
    return 1 - (2 * overlap / (sizes + _DICE_EPS)).mean(1)


def _overlaps(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, K) each: sum(p t), sum(p) + sum(t), sum(t)."""
    p = probabilities.flatten(2)
    masks = class_masks(labels, p.shape[1]).to(p.dtype)
    counts = masks.sum(2)
    return (p * masks).sum(2), p.sum(2) + counts, counts


def _region_of_logits(level: Tensor, labels: Tensor) -> Tensor:
    return segmentation_loss(resample(at_least_float32(level), labels.shape[1:]), labels)


def _region_of_probabilities(level: Tensor, labels: Tensor) -> Tensor:
    probabilities = resample(at_least_float32(level).softmax(1), labels.shape[1:])
    check_volumes(probabilities, labels)
    return _weighted_cross_entropy(probabilities, labels) + _dice_of_all(probabilities, labels)


def _released_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return _weighted_cross_entropy(at_least_float32(logits).softmax(1), labels)


_CROSS_ENTROPIES = {"principled": _plain_cross_entropy, "released": _released_cross_entropy}
_DICES = {"principled": _dice_of_present, "released": _dice_of_all}
_REGIONS = {"principled": _region_of_logits, "released": _region_of_probabilities}
