"""The supervised term: cross-entropy over labelled pixels, plain or of hard pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32

_NO_LABEL = -(2**63)  # stands in for "no void label"; torch's own default, -100, is a value users choose


def cross_entropy(logits: Tensor, labels: Tensor, *, ignore_label: int | None) -> Tensor:
    """Mean cross-entropy over the valid pixels, or over samples with one label each.

    Args:
        logits: (B, K, H, W); any number of trailing axes works, also none: (B, K) of a classifier.
        labels: (B, H, W), of a classifier (B,), int64, each 0..K-1 or `ignore_label`. Another value is an
            IndexError on the CPU and a device-side assertion on CUDA.
        ignore_label: label of void pixels; None where every pixel counts.

    Returns:
        Scalar, nats per valid pixel (of a classifier: per sample), at least float32. 0 with zero gradient where
        no pixel is valid (torch gives NaN).

    Raises:
        ValueError: the shapes do not belong together, or labels are not int64.

    The mean is over the pixels of this call: under gradient accumulation or on several devices the mean
    of shard means is another number, as shards differ in their count of valid pixels.

    Source: PML teacher loss of AnySeg, arXiv:2411.17141 (as documented by its authors; the released
    descendant trains with `ohem_cross_entropy`).
    """
    losses, valid = _pixel_losses(logits, labels, ignore_label)
    return losses.sum() / valid.sum().clamp(min=1)


def ohem_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_label: int | None,
    threshold: float = 0.7,
    min_fraction: float = 1 / 16,
) -> Tensor:
    """Mean cross-entropy over the hard pixels (online hard example mining).

    Hard are the pixels whose true class has a probability below `threshold`, that is a loss above
    -ln(threshold). Where they are fewer than floor(N_valid * min_fraction), that many pixels of highest
    loss count instead, at least one.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, each 0..K-1 or `ignore_label`.
        ignore_label: label of void pixels; None where every pixel counts.
        threshold: probability, 0 < threshold <= 1.
        min_fraction: share of the valid pixels that counts at least, 0..1.

    Returns:
        Scalar, nats per counted pixel; never below `cross_entropy`. 0 with zero gradient where no pixel
        is valid. Not additive over the batch: hard pixels of a doubled batch are the same, but the top
        share is taken over the whole batch.

    Raises:
        ValueError: shapes, `threshold` or `min_fraction` out of range.

    Source: Shrivastava et al. 2016, arXiv:1604.03540; thresholds as in the released AnySeg descendant.
    Departs from it in guarding the empty selection (there: mean of nothing).
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    if not 0 <= min_fraction <= 1:
        raise ValueError(f"min_fraction must lie in [0, 1], got {min_fraction}")
    losses, valid = _pixel_losses(logits, labels, ignore_label)
    losses, valid = losses.flatten(), valid.flatten()

    hard = valid & (losses > -math.log(threshold))
    n_hard = hard.sum()
    mean_hard = torch.where(hard, losses, 0).sum() / n_hard.clamp(min=1)

    # The count to take depends on the data; its bound does not, so the selection has a fixed shape.
    n_least = (valid.sum().double() * min_fraction).floor().clamp(min=1)
    at_most = max(1, math.floor(losses.numel() * min_fraction))
    top = losses.topk(min(at_most, losses.numel())).values
    rank = torch.arange(top.numel(), device=top.device)
    mean_top = torch.where(rank < n_least, top, 0).sum() / n_least.to(losses.dtype)

    return torch.where(n_hard >= n_least, mean_hard, mean_top)


def _pixel_losses(logits: Tensor, labels: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each pixel (0 where void) and the mask of valid pixels, both shaped as `labels`."""
    if logits.ndim < 2 or logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise ValueError(
            f"logits (B, K, H, W) and labels (B, H, W) expected, got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, got {labels.dtype}")
    ignored = _NO_LABEL if ignore_label is None else ignore_label
    # Unreduced: its own mean gives NaN on void maps, and on CUDA reduces in no fixed order.
    losses = torch.nn.functional.cross_entropy(at_least_float32(logits), labels, ignore_index=ignored, reduction="none")
    return losses, labels != ignored
