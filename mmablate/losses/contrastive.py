"""InfoNCE: features of the two modalities of a sample are nearer than those of two samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, check_same_shape

LARGEST_SCALE = 100.0
_EPS = 1e-8  # of a squared norm: a feature of zeros gets cosine 0 and a gradient of 1e4 at most


def info_nce(a: Tensor, b: Tensor, log_scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE over the pairs of a batch.

    Logits are exp(s) times the cosines of every a with every b; the mean of the cross-entropies of rows and of
    columns, the true class of each being its own pair.

    Args:
        a: (B, D) features of one modality.
        b: (B, D) of the other, row i of the same sample.
        log_scale: s, a scalar, the logarithm of the inverse temperature; trained where it is a parameter. exp(s)
            counts as 100 above 100, but the gradient passes as if s stood at that bound: a step that overshoots can
            be undone, whereas a plain clamp would hold s for ever.

    Returns:
        Scalar, nats per sample, at least float32; log B where nothing is told apart, 0 for a batch of one. Depends on
        the batch size: compare only at the same one. Samples of one class count as strangers.

    Raises:
        ValueError: shapes differ or are not (B, D), no sample.

    Source: van den Oord et al. 2018, arXiv:1807.03748; symmetric and with a learned, bounded scale as in CLIP,
    arXiv:2103.00020, whose code clamps the parameter itself after each step.
    """
    check_same_shape(a, b, "features differ in shape")
    if a.ndim != 2 or a.shape[0] == 0:
        raise ValueError(f"features (B, D) of at least one sample expected, got {tuple(a.shape)}")
    a, b = _unit(a), _unit(b)
    s = torch.as_tensor(log_scale, dtype=torch.promote_types(a.dtype, b.dtype), device=a.device)
    s = s - (s.detach() - math.log(LARGEST_SCALE)).clamp(min=0)
    with torch.autocast(a.device.type, enabled=False):
        logits = s.exp() * (a.to(s.dtype) @ b.to(s.dtype).mT)
    own = logits.diagonal()
    return (logits.logsumexp(1) + logits.logsumexp(0) - 2 * own).mean() / 2


def _unit(features: Tensor) -> Tensor:
    features = at_least_float32(features)
    return features * (features.square().sum(1, keepdim=True) + _EPS).rsqrt()
