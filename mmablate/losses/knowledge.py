"""Terms between two classifiers: knowledge distillation, and the joint training of Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, check_same_shape, chosen, kl_summands
from mmablate.losses.supervised import cross_entropy


def knowledge_distillation(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0, definition: str = "principled"
) -> Tensor:
    """KL(teacher || student) between softened class distributions.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); detached here.
        temperature: softening divisor T of both logits, unitless, > 0. The result carries the factor T squared,
            which keeps the size of the gradient.
        definition: one of

            - ``principled``: summed over classes, mean over samples (torch's reduction ``batchmean``).
            - ``released``: mean over all N K elements (torch's reduction ``mean``), that is ``principled`` / K. The
              published weight of the Gaussian and RAVDESS experiments belongs to it: 1 here is 1/2 and 1/8 there.

    Returns:
        Scalar, at least float32: nats per sample (``released``: and class), times T squared.

    Raises:
        ValueError: shapes differ or are not (N, K), no sample, temperature <= 0, unknown definition.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2; the modality focusing hypothesis, arXiv:2206.06487,
    whose code has T = 1 throughout, and lets gradients run into a teacher that nobody steps.
    """
    _check_logits(student_logits, teacher_logits)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if temperature != 1.0:
        student_logits = at_least_float32(student_logits) / temperature
        teacher_logits = at_least_float32(teacher_logits) / temperature
    summands = kl_summands(student_logits, teacher_logits, dim=1)
    return chosen(_DEFINITIONS, definition, "kd")(summands) * temperature**2


def logit_distance(first: Tensor, second: Tensor, definition: str = "squared") -> Tensor:
    """Mean distance between the logits of two networks; neither is detached.

    Args:
        first, second: (N, K).
        definition: ``squared``, as published for the joint training of Algorithm 1 and for the saliency of the
            Gaussian and RAVDESS experiments, or ``l1``, as for the saliency of VGGSound.

    Returns:
        Scalar, at least float32: mean over all N K elements.

    Raises:
        ValueError: shapes differ or are not (N, K), no sample, unknown definition.

    Source: arXiv:2206.06487, Algorithm 1, and its code.
    """
    _check_logits(first, second)
    return chosen(DISTANCES, definition, "the distance")(at_least_float32(first) - at_least_float32(second)).mean()


def joint_loss(
    teacher_logits: Tensor, student_logits: Tensor, labels: Tensor, *, weight: float = 1.0, distance: str = "squared"
) -> Tensor:
    """What Algorithm 1 trains teacher and student together on: CE(teacher) + CE(student) + weight * distance.

    Args:
        teacher_logits, student_logits: (N, K), of two modalities of the same samples; both are trained.
        labels: (N,) int64.
        weight: of the distance; published 1.
        distance: see `logit_distance`.

    Returns:
        Scalar, at least float32.

    Raises:
        ValueError: shapes that do not belong together, no sample, unknown distance.

    Source: arXiv:2206.06487, Algorithm 1, and its code.
    """
    supervised = cross_entropy(teacher_logits, labels, ignore_label=None)
    supervised = supervised + cross_entropy(student_logits, labels, ignore_label=None)
    if weight == 0:
        return supervised
    return supervised + weight * logit_distance(teacher_logits, student_logits, distance)


def _check_logits(first: Tensor, second: Tensor) -> None:
    check_same_shape(first, second, "logits differ in shape")
    if first.ndim != 2 or len(first) == 0:
        raise ValueError(f"logits (N, K) of at least one sample expected, got {tuple(first.shape)}")


def _principled(summands: Tensor) -> Tensor:
    return summands.sum() / summands.shape[0]


def _released(summands: Tensor) -> Tensor:
    return summands.sum() / summands.numel()


_DEFINITIONS = {"principled": _principled, "released": _released}
DISTANCES = {"squared": torch.square, "l1": torch.abs}
