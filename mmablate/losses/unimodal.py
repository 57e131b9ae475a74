"""Unimodal distillation (umd): each modality's features follow the teacher's of the same modality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmablate.losses.divergence import (
    Features,
    check_feature_shapes,
    checked_modalities,
    chosen,
    kl_summands,
    layer_normalise,
    stack_stages,
)

CHANNELS, HEIGHT = 2, 3  # axes of a stacked stage (modality, B, C, H, W)


def unimodal_distillation(
    student: Features,
    teacher: Features,
    *,
    present: Sequence[str],
    definition: str = "principled",
    normalise: bool = False,
    reduce: str = "sum",
) -> Tensor:
    """Divergence between the feature maps of student and teacher, summed over stages and modalities.

    Args:
        student: features by modality, one tensor (B, C_i, H_i, W_i) a stage, taken after the stage's
            norm. May hold more modalities than `present`; they are left out.
        teacher: the same of the teacher; detached here.
        present: names of the modalities that the student saw, in any order.
        definition: one of

            - ``principled``: KL(teacher || student) of softmaxes over channels, summed over images and
              pixels, divided by B C_i H_i W_i. Blind to a constant added to all channels of a pixel.
            - ``released``: softmax over image *height*; element mean of each image, clamped at 0, mean
              over images.
            - ``spatial``: softmax over the H_i W_i pixels of a channel, same divisor as ``principled``.
            - ``mse``: squared difference, mean over all elements.
        normalise: pass both sides through a parameter-free LayerNorm over channels first. For features
            taken without a norm: the softmax is not scale-invariant (at a feature standard deviation of
            0.1 the term equals half the centred mean squared error, at 10 it saturates).
        reduce: ``sum`` over the present modalities, as released, or ``mean``, which divides by their
            number.

    Returns:
        Scalar, at least float32: nats per feature element (``mse``: squared feature units), summed over
        stages and, with ``sum``, modalities.

    Raises:
        ValueError: a modality is missing on one side, shapes differ, unknown definition or reduction.

    Source: AnySeg, arXiv:2411.17141, whose released descendant computes ``released`` (``dim=1`` of an
    unbatched map is its height); the published weight 5 belongs to sum_i 1/C_i = 0.0570. ``spatial`` is
    the channel-wise distillation of Shu et al., arXiv:2011.13256, which divides by C only; here by all
    elements, so that the definitions share one unit.
    """
    names = checked_modalities(present, student=student, teacher=teacher)
    check_feature_shapes(student, names, teacher, names)
    compare = chosen(_DEFINITIONS, definition, "umd")
    scale = modality_scale(reduce, len(names))
    total = sum_over_stages(compare, stack_stages(student, names), stack_stages(teacher, names), normalise=normalise)
    return total * scale


def sum_over_stages(
    compare: Callable[[Tensor, Tensor], Tensor],
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    normalise: bool,
) -> Tensor:
    """Sum of `compare` over stages (modality, B, C_i, H_i, W_i), both sides normalised where wished."""
    terms = []
    for ours, theirs in zip(student, teacher, strict=True):
        theirs = theirs.detach()
        if normalise:
            ours, theirs = layer_normalise(ours, dim=CHANNELS), layer_normalise(theirs, dim=CHANNELS)
        terms.append(compare(ours, theirs))
    return torch.stack(terms).sum()


def modality_scale(reduce: str, n_modalities: int) -> float:
    """Factor that turns the sum over modalities into what `reduce` names.

    Raises:
        ValueError: `reduce` is neither ``sum`` nor ``mean``.
    """
    scales = {"sum": 1.0, "mean": 1 / n_modalities}
    if reduce not in scales:
        raise ValueError(f"reduce must be 'sum' or 'mean', got {reduce!r}")
    return scales[reduce]


def channel_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL over channels of a stacked stage (modality, B, C, H, W), divided by B C H W: ``principled``."""
    return kl_summands(student, teacher, dim=CHANNELS).sum() / _elements(student)


def _released(student: Tensor, teacher: Tensor) -> Tensor:
    image_means = kl_summands(student, teacher, dim=HEIGHT).mean((2, 3, 4)).clamp(min=0)
    return image_means.mean(1).sum()


def _spatial(student: Tensor, teacher: Tensor) -> Tensor:
    return kl_summands(student.flatten(3), teacher.flatten(3), dim=3).sum() / _elements(student)


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum() / _elements(student)


def _elements(stacked: Tensor) -> int:
    """B C H W of a stacked stage."""
    return stacked.numel() // stacked.shape[0]


_DEFINITIONS = {
    "principled": channel_divergence,
    "released": _released,
    "spatial": _spatial,
    "mse": _mse,
}
