"""Update rules that ship with mmablate."""

from __future__ import annotations

from mmablate.catalog.entries import MethodEntry
from mmablate.catalog.losses import NoOptions

METHODS = (
    MethodEntry(
        name="anymodal",
        summary="anymodal distillation: a random non-empty modality subset a step, absent ones removed",
        options=NoOptions,
        target="mmablate.methods.anymodal:AnymodalDistillation",
        source="AnySeg, arXiv:2411.17141",
        terms=("sup", "mad", "umd", "cmd", "fusion_first"),
    ),
    MethodEntry(
        name="joint",
        summary="all modalities at every step, supervised: the multimodal (PML) teacher",
        options=NoOptions,
        target="mmablate.methods.joint:JointTraining",
        source="AnySeg, arXiv:2411.17141 (parallel multimodal learning)",
        terms=("sup",),
    ),
    MethodEntry(
        name="crossmodal",
        summary="cross-modal distillation: a student of one modality, a frozen teacher of another",
        options=NoOptions,
        target="mmablate.methods.crossmodal:CrossModalDistillation",
        source="Xue et al., The Modality Focusing Hypothesis, ICLR 2023",
        terms=("sup", "kd"),
        task="classification",
        teacher="crossmodal",
    ),
    MethodEntry(
        name="joint_pair",
        summary="teacher and student trained jointly, for the saliency of a `focus` (not for a recipe's `method`)",
        options=NoOptions,
        target="mmablate.methods.crossmodal:JointPair",
        source="Xue et al., The Modality Focusing Hypothesis, ICLR 2023, Algorithm 1",
        terms=("sup", "dist"),
        task="classification",
        teacher="crossmodal",
    ),
)
