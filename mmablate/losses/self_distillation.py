"""Pixel-wise self-distillation (pixel): each modality alone follows what the fused decoder says of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, check_same_shape, chosen, reverse_kl_summands
from mmablate.losses.volumes import LEAST_PROBABILITY, check_levels, resample


def pixel_distillation(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    size: Sequence[int],
    decay: float = 0.5,
    temperature: float | None = None,
    definition: str = "principled",
) -> Tensor:
    """Divergence between the class distributions of student and teacher at each voxel, summed over levels.

    Args:
        student: logits (N, K, *s_l) of the levels of a modality alone: the final ones, then the deep supervision,
            finest first.
        teacher: the same of the fused modalities, row by row; detached here.
        size: of the labels; what ``released`` resamples to.
        decay: ``released`` weighs the final level 1 and the s-th of the deep supervision decay^s; ``principled`` weighs
            all alike, as the seed writes it.
        temperature: T, divides both logits; the result is multiplied by T squared, which keeps the size of the
            gradient. None: 1 for ``principled``, 4 for ``released``.
        definition: one of

            - ``principled``: KL(student || teacher), summed over classes, mean over the voxels of each level at its
              own resolution, so that a voxel of a coarse level counts for more than one of a fine level.
            - ``released``: the other direction, sum of p_T (log p_T - log p_S), divided by the number of classes too.
              The softmax is resampled to `size` (linearly, corners aligned) and then clamped at 0.005 from below, on
              both sides: no longer normalised, hence not a divergence and possibly negative; a clamped entry has no
              gradient, and where one is, the gradient at student = teacher is not quite 0.

    Returns:
        (N,), nats per voxel (``released``: and class) times T squared, at least float32. 0 where student and teacher
        are equal, as they are in a row of which only one modality is present.

    Raises:
        ValueError: no level, another number of levels or another shape on one side, levels of different K, one finer
            than the level before, a `size` of other axes, temperature <= 0, unknown definition.

    Source: the seed's L_pixel; ``released`` is PASSION's code, which sums over the batch.
    """
    if len(student) != len(teacher):
        raise ValueError(f"student has {len(student)} levels, teacher {len(teacher)}")
    check_levels(student, "student")
    for i, (mine, theirs) in enumerate(zip(student, teacher, strict=True)):
        check_same_shape(mine, theirs, f"logits of level {i} differ in shape")
    compare = chosen(_DEFINITIONS, definition, "pixel distillation")
    t = _TEMPERATURES[definition] if temperature is None else temperature
    if not t > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    weights = _weights(definition, len(student), decay)
    terms = [
        weight * compare(at_least_float32(mine) / t, at_least_float32(theirs.detach()) / t, size)
        for weight, mine, theirs in zip(weights, student, teacher, strict=True)
    ]
    return torch.stack(terms).sum(0) * t**2


def _weights(definition: str, n_levels: int, decay: float) -> list[float]:
    return [decay**s if definition == "released" else 1.0 for s in range(n_levels)]


def _principled(student: Tensor, teacher: Tensor, size: Sequence[int]) -> Tensor:
    return reverse_kl_summands(student, teacher, dim=1).sum(1).flatten(1).mean(1)


def _released(student: Tensor, teacher: Tensor, size: Sequence[int]) -> Tensor:
    p_student, p_teacher = (
        resample(logits.softmax(1), size).clamp(LEAST_PROBABILITY, 1) for logits in (student, teacher)
    )
    return (p_teacher * (p_teacher.log() - p_student.log())).flatten(1).mean(1)


_DEFINITIONS = {"principled": _principled, "released": _released}
_TEMPERATURES = {"principled": 1.0, "released": 4.0}
