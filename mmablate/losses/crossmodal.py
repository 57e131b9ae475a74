"""Cross-modal distillation (cmd): how alike two modalities are follows how alike they are in the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from mmablate.losses.divergence import (
    Features,
    at_least_float32,
    check_feature_shapes,
    checked_modalities,
    chosen,
    stack_stages,
)


def cross_modal_distillation(
    student: Features,
    teacher: Features,
    *,
    present: Sequence[str],
    definition: str = "principled",
    centered: bool = False,
    eps: float = 1e-6,
) -> Tensor:
    """Difference between the cosine similarities of the modalities' feature maps.

    R(m, n) is the cosine between the flattened maps of modalities m and n: of channel j, stage i and
    image b, one number each.

    Args:
        student: features by modality, one tensor (B, C_i, H_i, W_i) a stage; unnormalised.
        teacher: the same of the teacher; detached here.
        present: names of the modalities A that the student saw, in any order.
        definition: one of

            - ``principled``: (R_student - R_teacher) squared; mean over images, channels and unordered
              pairs, then mean over stages.
            - ``paper``: R_student log(R_student / R_teacher), both cosines clamped at 1e-6 from below;
              summed over stages and channels, mean over images and pairs. Not a divergence: its minimum
              lies at R_teacher / e and its gradient at equality is 1 for each cosine. For reproduction
              only.
            - ``released``: the student's maps pass a *log*-softmax over image height, the teacher's a
              softmax over image height; the cosine is averaged over channels; and it is taken between
              all B |A| maps of the batch, so that images mix. Squared difference of the two matrices,
              mean over all their (B |A|) squared entries, the diagonal (zero by definition) included;
              summed over stages and divided by B. Not 0 at student = teacher.
        centered: subtract from each map its mean over pixels first (``principled`` and ``paper``). A
            shared offset, as after a ReLU, drives all cosines to 1 and blinds the term.
        eps: added to the sum of squares of each map before its root, in squared feature units. A map of
            zeros has cosine 0 with all others and a gradient bounded by 1 / sqrt(eps) in each cosine; a
            map of unit variance and 16 pixels changes its cosines by less than float32 resolves.

    Returns:
        Scalar, at least float32, unitless. With one present modality there is no pair: ``principled`` and
        ``paper`` give a constant 0, without a graph.

    Raises:
        ValueError: a modality is missing on one side, shapes differ, eps <= 0, unknown definition, or
            `centered` with ``released``.

    Stages weigh equally, whatever their channel count: as in `unimodal_distillation`, whose unit is the
    element mean of each stage, and as in the released matrices, which average channels before stages are
    added. Counting every channel alike would give the deepest stage half the term (256 of 512 channels
    of MiT-B0) and would tie the meaning of the weight to the widths of the encoder.

    Source: AnySeg, arXiv:2411.17141; ``paper`` as its authors' documentation gives the formula (for one
    pair of modalities), ``released`` as the code of its descendant computes it, from the list that holds
    all images of the batch. There equal stage shapes would merge into one matrix; here each stage has its
    own.
    """
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    if centered and definition == "released":
        raise ValueError("centered is not an option of the definition 'released'")
    names = checked_modalities(present, student=student, teacher=teacher)
    check_feature_shapes(student, names, teacher, names)
    compare = chosen(_DEFINITIONS, definition, "cmd")
    return compare(student, teacher, names, centered, eps)


def _principled(student: Features, teacher: Features, names: list[str], centered: bool, eps: float) -> Tensor:
    if len(names) == 1:
        return _no_pair(student, names)
    return torch.stack(
        [(ours - theirs).square().mean() for ours, theirs in _similarities(student, teacher, names, centered, eps)]
    ).mean()


def _paper(student: Features, teacher: Features, names: list[str], centered: bool, eps: float) -> Tensor:
    if len(names) == 1:
        return _no_pair(student, names)
    terms = []
    for ours, theirs in _similarities(student, teacher, names, centered, eps):
        ours, theirs = ours.clamp(min=1e-6), theirs.clamp(min=1e-6)
        terms.append((ours * (ours / theirs).log()).sum(-1).mean())
    return torch.stack(terms).sum()


def _released(student: Features, teacher: Features, names: list[str], centered: bool, eps: float) -> Tensor:
    height = 3  # of (modality, B, C, H, W)
    terms = []
    for ours, theirs in zip(stack_stages(student, names), stack_stages(teacher, names), strict=True):
        student_cosines = _mixed_cosines(torch.log_softmax(ours, height), eps)
        teacher_cosines = _mixed_cosines(torch.softmax(theirs.detach(), height), eps)
        terms.append((student_cosines - teacher_cosines).square().mean())
    n_images = student[names[0]][0].shape[0]
    return torch.stack(terms).sum() / n_images


def _no_pair(student: Features, names: list[str]) -> Tensor:
    feature = student[names[0]][0]
    return torch.zeros((), dtype=torch.promote_types(feature.dtype, torch.float32), device=feature.device)


def _similarities(
    student: Features, teacher: Features, names: list[str], centered: bool, eps: float
) -> list[tuple[Tensor, Tensor]]:
    """For each stage R of student and of teacher, (pairs, B, C_i) each."""
    n_stages = len(student[names[0]])
    return [
        (
            _pairwise_cosines([student[name][stage] for name in names], centered, eps),
            _pairwise_cosines([teacher[name][stage].detach() for name in names], centered, eps),
        )
        for stage in range(n_stages)
    ]


def _pairwise_cosines(maps: list[Tensor], centered: bool, eps: float) -> Tensor:
    """Cosines of the unordered pairs of `maps`, each (B, C, H, W); returns (pairs, B, C).

    Products of whole tensors, not a matrix product: autocast and TF32 would round that one, and stacks of
    3 x 3 matrices are slower on the CPU, too.
    """
    flat = [at_least_float32(m).flatten(2) for m in maps]
    if centered:
        flat = [z - z.mean(-1, keepdim=True) for z in flat]
    inverse_norms = [(z.square().sum(-1) + eps).rsqrt() for z in flat]
    return torch.stack(
        [
            (flat[m] * flat[n]).sum(-1) * inverse_norms[m] * inverse_norms[n]
            for m, n in combinations(range(len(flat)), 2)
        ]
    )


def _mixed_cosines(maps: Tensor, eps: float) -> Tensor:
    """Channel-mean cosines between all maps (modality, B, C, H, W) of a stage, (|A| B, |A| B), diagonal 0."""
    flat = maps.flatten(0, 1).flatten(2)
    unit = (flat * (flat.square().sum(-1, keepdim=True) + eps).rsqrt()).flatten(1)
    with torch.autocast(maps.device.type, enabled=False):
        cosines = unit @ unit.mT / flat.shape[1]
    return cosines * (1 - torch.eye(len(unit), dtype=cosines.dtype, device=cosines.device))


_DEFINITIONS = {"principled": _principled, "paper": _paper, "released": _released}
