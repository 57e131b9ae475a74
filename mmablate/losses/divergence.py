"""What the distillation terms share: explicit Kullback-Leibler sums in float32 and feature stacks.

The sums are written out because `torch.nn.KLDivLoss(reduction="mean")` announces that it will change
its meaning, and computed in float32 because in bfloat16 KL(x || x) comes out negative, where a clamp at
zero would remove the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Features = Mapping[str, Sequence[Tensor]]
"""Feature maps by modality name; one tensor (B, C_i, H_i, W_i) a stage."""

Definition = Callable[..., Tensor]
"""One named definition of a term."""


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or as it is where it is already wider (float64)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def kl_summands(student: Tensor, teacher: Tensor, *, dim: int) -> Tensor:
    """Summands p_T (log p_T - log p_S) of KL(teacher || student), softmax over `dim`.

    Args:
        student: unnormalised scores, any shape.
        teacher: same shape; detached here.
        dim: axis over which both are softmaxed.

    Returns:
        Same shape, nats, at least float32; its sum over `dim` is the divergence at each place. Equal
        inputs give exactly 0 everywhere.
    """
    log_teacher = torch.log_softmax(at_least_float32(teacher.detach()), dim)
    log_student = torch.log_softmax(at_least_float32(student), dim)
    return log_teacher.exp() * (log_teacher - log_student)


def reverse_kl_summands(student: Tensor, teacher: Tensor, *, dim: int) -> Tensor:
    """Summands p_S (log p_S - log p_T) of KL(student || teacher); otherwise as `kl_summands`."""
    log_teacher = torch.log_softmax(at_least_float32(teacher.detach()), dim)
    log_student = torch.log_softmax(at_least_float32(student), dim)
    return log_student.exp() * (log_student - log_teacher)


def stack_stages(features: Features, names: Sequence[str]) -> list[Tensor]:
    """One tensor (len(names), B, C_i, H_i, W_i) a stage, at least float32, in the order of `names`."""
    stages = zip(*(features[name] for name in names), strict=True)
    return [at_least_float32(torch.stack(stage)) for stage in stages]


def layer_normalise(x: Tensor, *, dim: int, eps: float = 1e-5) -> Tensor:
    """Parameter-free LayerNorm over `dim`: mean 0, biased variance 1."""
    centred = x - x.mean(dim, keepdim=True)
    return centred * (centred.square().mean(dim, keepdim=True) + eps).rsqrt()


def checked_modalities(present: Sequence[str], **owners: Features) -> list[str]:
    """`present`, sorted, after checking that every owner has each of its names.

    Sorting makes the order in which a caller lists the modalities irrelevant to the last bit.

    Raises:
        ValueError: `present` is empty, repeats a name, or names a modality that an owner lacks.
    """
    names = sorted(present)
    if not names:
        raise ValueError("no modality is present: a distillation term needs at least one")
    if len(set(names)) < len(names):
        raise ValueError(f"present modalities repeat a name: {names}")
    for owner, features in owners.items():
        missing = [name for name in names if name not in features]
        if missing:
            raise ValueError(f"{owner} has no features of {missing}; it has {sorted(features)}")
    return names


def check_feature_shapes(
    student: Features, student_names: Sequence[str], teacher: Features, teacher_names: Sequence[str]
) -> None:
    """Every named modality of both sides has the same stages, each of one shape (B, C, H, W).

    Raises:
        ValueError: the number of stages or a shape differs, a map is not 4-D, or there is no stage.
    """
    sides = [(f"student {n!r}", student[n]) for n in student_names]
    sides += [(f"teacher {n!r}", teacher[n]) for n in teacher_names]
    first, reference = sides[0]
    if len(reference) == 0:
        raise ValueError(f"{first} has no stage")
    for stage, feature in enumerate(reference):
        if feature.ndim != 4:
            raise ValueError(f"{first}, stage {stage}: (B, C, H, W) expected, got {tuple(feature.shape)}")
    for side, stages in sides[1:]:
        if len(stages) != len(reference):
            raise ValueError(f"{side} has {len(stages)} stages, {first} has {len(reference)}")
        for stage, (mine, theirs) in enumerate(zip(stages, reference, strict=True)):
            if mine.shape != theirs.shape:
                raise ValueError(f"stage {stage}: {side} is {tuple(mine.shape)}, {first} is {tuple(theirs.shape)}")


def check_same_shape(student: Tensor, teacher: Tensor, what: str) -> None:
    """Raise ValueError naming both shapes where they differ."""
    if student.shape != teacher.shape:
        raise ValueError(f"{what}: student {tuple(student.shape)}, teacher {tuple(teacher.shape)}")


def chosen(definitions: Mapping[str, Definition], name: str, term: str) -> Definition:
    """The function of definition `name`.

    Raises:
        ValueError: there is none of that name; lists those that exist.
    """
    if name not in definitions:
        raise ValueError(f"{term} has no definition {name!r}; choose one of {sorted(definitions)}")
    return definitions[name]
