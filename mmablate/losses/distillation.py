"""Modality-agnostic distillation (mad): the student's prediction follows the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.losses.divergence import (
    at_least_float32,
    check_same_shape,
    chosen,
    kl_summands,
    reverse_kl_summands,
)


def modality_agnostic_distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    valid: Tensor | None = None,
    temperature: float = 1.0,
    definition: str = "principled",
) -> Tensor:
    """KL between the softened class distributions of teacher and student.

    Args:
        student_logits: (B, K, H, W), at label resolution, from the present modalities.
        teacher_logits: (B, K, H, W), from all modalities; detached here.
        valid: (B, H, W) bool, True where the pixel has a label; None counts every pixel.
        temperature: softening divisor T of both logits, unitless, > 0. The result carries the factor
            T squared, which keeps the size of the gradient.
        definition: one of

            - ``principled``: KL(teacher || student), summed over valid pixels, divided by (number of
              valid pixels) x K. Its gradient with respect to a logit is (p_S - p_T) / (N K) at T = 1.
            - ``released``: same direction and unit, but every pixel counts, void included (`valid` is
              ignored), and the result is clamped at 0.
            - ``paper``: KL(student || teacher), mean over valid pixels, not divided by K. It vanishes
              where the student is confidently wrong.

    Returns:
        Scalar, at least float32: nats per pixel and class (``paper``: nats per pixel), times T squared.
        0 with zero gradient where no pixel is valid.

    Raises:
        ValueError: shapes differ, `valid` is not a mask of the pixels, temperature <= 0, unknown
            definition.

    Source: AnySeg, arXiv:2411.17141. The unit is that of the code of its descendant (element mean), in
    which the published weight 50 belongs to K = 19; there ``released`` is computed. ``paper`` is the
    formula as its authors' documentation gives it.
    """
    check_same_shape(student_logits, teacher_logits, "logits differ in shape")
    if student_logits.ndim < 2:
        raise ValueError(f"logits (B, K, H, W) expected, got {tuple(student_logits.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    pixels = student_logits.shape[:1] + student_logits.shape[2:]
    if valid is None:
        valid = torch.ones(pixels, dtype=torch.bool, device=student_logits.device)
    if valid.shape != pixels or valid.dtype != torch.bool:
        raise ValueError(f"valid must be bool {tuple(pixels)}, got {valid.dtype} {tuple(valid.shape)}")
    if temperature != 1.0:
        # In float32 before the division: bfloat16 would round the quotient.
        student_logits = at_least_float32(student_logits) / temperature
        teacher_logits = at_least_float32(teacher_logits) / temperature
    divergence = chosen(_DEFINITIONS, definition, "mad")(student_logits, teacher_logits, valid)
    return divergence * temperature**2


def _principled(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    return _valid_mean(kl_summands(student, teacher, dim=1).sum(1), valid) / student.shape[1]


def _released(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    return kl_summands(student, teacher, dim=1).mean().clamp(min=0)


def _paper(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    return _valid_mean(reverse_kl_summands(student, teacher, dim=1).sum(1), valid)


def _valid_mean(pixels: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, pixels, 0).sum() / valid.sum().clamp(min=1)


_DEFINITIONS = {"principled": _principled, "released": _released, "paper": _paper}
