"""Fusion-first distillation: the modalities' features are averaged, then distilled once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmablate.losses.divergence import (
    Features,
    check_feature_shapes,
    checked_modalities,
    stack_stages,
)
from mmablate.losses.unimodal import channel_divergence, modality_scale, sum_over_stages


def fusion_first_distillation(
    student: Features,
    teacher: Features,
    *,
    present: Sequence[str],
    teacher_modalities: str = "matched",
    normalise: bool = False,
    reduce: str = "sum",
) -> Tensor:
    """KL over channels between averaged feature maps, times the number of present modalities.

    The rival of `unimodal_distillation`: same stages, axis, direction, unit and total weight (one term of
    weight |A| against |A| terms of weight 1), but the average over modalities is taken before the
    comparison, so that opposite errors of two modalities cancel and all modalities get one gradient.

    Args:
        student: features by modality, one tensor (B, C_i, H_i, W_i) a stage; averaged over `present`.
        teacher: the same of the teacher; detached here.
        present: names of the modalities A that the student saw, in any order.
        teacher_modalities: ``matched`` averages the teacher over the same A; ``full`` over every modality
            that `teacher` holds, which adds information on the absent ones.
        normalise: LayerNorm over channels of both averages first, as in `unimodal_distillation`.
        reduce: ``sum`` keeps the factor |A|; ``mean`` drops it.

    Returns:
        Scalar, at least float32: nats per feature element, summed over stages. With one present modality
        and ``matched`` it equals `unimodal_distillation` to the bit, value and gradient.

    Raises:
        ValueError: a modality is missing on one side, shapes differ, unknown option.

    Source: the comparison is stated without formula in the write-up of AnySeg, arXiv:2411.17141; this one
    is mmablate's own, fair to the individual term by the factor |A|.
    """
    names = checked_modalities(present, student=student, teacher=teacher)
    choices = {"matched": names, "full": sorted(teacher)}
    if teacher_modalities not in choices:
        raise ValueError(f"teacher_modalities must be 'matched' or 'full', got {teacher_modalities!r}")
    teacher_names = choices[teacher_modalities]
    check_feature_shapes(student, names, teacher, teacher_names)
    scale = len(names) * modality_scale(reduce, len(names))
    total = sum_over_stages(
        channel_divergence,
        [_average(stage) for stage in stack_stages(student, names)],
        [_average(stage) for stage in stack_stages(teacher, teacher_names)],
        normalise=normalise,
    )
    return total * scale


def _average(stacked: Tensor) -> Tensor:
    """Mean over modalities, (1, B, C, H, W).

    One modality passes as it is: a mean of one may change the memory layout, hence the order of later
    sums, hence last bits.
    """
    return stacked if stacked.shape[0] == 1 else stacked.mean(0, keepdim=True)
