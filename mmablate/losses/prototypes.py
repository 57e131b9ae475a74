"""Prototype self-distillation (proto): the mean feature of each class, of a modality alone and of all fused."""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32, check_same_shape, chosen
from mmablate.losses.volumes import check_volumes, class_masks

_EPS = 1e-8  # of a squared norm: a feature of zeros has cosine 0 and a gradient of 1e4 at most


def prototype_distillation(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    n_classes: int,
    definition: str = "principled",
    classes: Tensor | None = None,
) -> Tensor:
    """Distance between the class prototypes of student and teacher; a prototype is the mean feature of a class.

    Args:
        student: features (N, C, *S) of a modality alone, before the layer that makes the logits.
        teacher: the same of the fused modalities, row by row; detached here.
        labels: (N, *S) int64, each 0..n_classes-1.
        n_classes: K.
        classes: (N, K) bool, which classes may count; None for all. One that the row's labels do not have never counts.
            PASSION's code counts only those that every sample of the batch has: the caller's to say, since rows know
            nothing of each other.
        definition: one of

            - ``principled``: sum over the classes that count of the squared Euclidean distance between the two
              prototypes. Grows with the size of the features and with C.
            - ``released``: cosine of every voxel's feature with the prototype of its own side; squared difference of
              the two maps, mean over all voxels and the classes that count. Blind to the length of features and
              to a rotation of all of them.

    Returns:
        (N,), squared feature units (``released``: unitless, 0 to 4), at least float32. 0 without gradient for a row of
        which no class counts.

    Raises:
        ValueError: shapes that do not belong together, no voxel, labels that are not int64, `classes` that are not
            (N, K) bool, unknown definition.

    Source: the seed's L_proto; ``released`` is PASSION's code, which adds 1e-5 to the number of voxels of a class and
    bounds the norms at 1e-5 from below; here the root of a squared norm + 1e-8, whose gradient is finite at 0.
    """
    counted, masks = _counted(student, teacher, labels, n_classes, classes)
    distance = chosen(_DEFINITIONS, definition, "prototype distillation")
    return distance(_flat(student), _flat(teacher.detach()), masks, counted)


def prototype_distance(
    student: Tensor, teacher: Tensor, labels: Tensor, *, n_classes: int, classes: Tensor | None = None
) -> Tensor:
    """How far a modality alone is from all fused: d_m, from which `relative_preference` is made.

    Mean over voxels and the classes that count of the absolute difference between the cosine maps of the ``released``
    `prototype_distillation`.

    Args:
        student, teacher, labels, n_classes, classes: as there; neither side is differentiated.

    Returns:
        (N,), 0 to 2, unitless, at least float32, without gradient. 0 for a row of which no class counts.

    Raises:
        ValueError: as there.

    Source: PASSION's code.
    """
    counted, masks = _counted(student, teacher, labels, n_classes, classes)
    gap = _gap_of_maps(_flat(student.detach()), _flat(teacher.detach()), masks)
    return _mean_over(counted, gap.abs().mean(2))


def _counted(
    student: Tensor, teacher: Tensor, labels: Tensor, n_classes: int, classes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(N, K) bool, the classes that count, and (N, K, V) bool, the voxels of each."""
    check_same_shape(student, teacher, "features differ in shape")
    check_volumes(student, labels, "features (N, C, *S)")
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    masks = class_masks(labels, n_classes)
    counted = masks.any(2)
    if classes is not None:
        if classes.shape != counted.shape or classes.dtype != torch.bool:
            raise ValueError(f"classes must be bool {tuple(counted.shape)}, got {classes.dtype} {tuple(classes.shape)}")
        counted = counted & classes
    return counted, masks


def _flat(features: Tensor) -> Tensor:
    return at_least_float32(features).flatten(2)


def _prototypes(features: Tensor, masks: Tensor) -> Tensor:
    """(N, K, C) mean features; zeros for a class without voxels."""
    weights = masks.to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        sums = weights @ features.mT
    return sums / weights.sum(2, keepdim=True).clamp(min=1)


def _gap_of_maps(student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
    """(N, K, V): cosine map of the student less that of the teacher."""
    return _cosine_maps(student, masks) - _cosine_maps(teacher, masks)


def _cosine_maps(features: Tensor, masks: Tensor) -> Tensor:
    prototypes = _unit(_prototypes(features, masks), dim=2)
    with torch.autocast(features.device.type, enabled=False):
        return prototypes @ _unit(features, dim=1)


def _unit(vectors: Tensor, *, dim: int) -> Tensor:
    return vectors * (vectors.square().sum(dim, keepdim=True) + _EPS).rsqrt()


def _mean_over(counted: Tensor, values: Tensor) -> Tensor:
    """(N,): mean of `values` (N, K) where `counted`, 0 where nothing is."""
    return torch.where(counted, values, 0).sum(1) / counted.sum(1).clamp(min=1)


def _squared_distance(student: Tensor, teacher: Tensor, masks: Tensor, counted: Tensor) -> Tensor:
    squared = (_prototypes(student, masks) - _prototypes(teacher, masks)).square().sum(2)
    return torch.where(counted, squared, 0).sum(1)


def _squared_gap(student: Tensor, teacher: Tensor, masks: Tensor, counted: Tensor) -> Tensor:
    return _mean_over(counted, _gap_of_maps(student, teacher, masks).square().mean(2))


_DEFINITIONS = {"principled": _squared_distance, "released": _squared_gap}
