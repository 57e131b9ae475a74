"""Update rules that ship with mmablate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmablate.catalog.entries import MethodEntry, Options
from mmablate.catalog.incomplete import INCOMPLETE_METHODS
from mmablate.catalog.losses import NoOptions


class FusionOptions(Options):
    """Options of joint training."""

    clip: Literal["separate", "joint"] = Field(
        "joint", description="train.clip bounds the gradient of every encoder and of the rest apart, or of all together"
    )


class DglOptions(Options):
    """The parts of DGL."""

    truncate: bool = Field(True, description="the joint loss ends at the fusion: no gradient of it reaches an encoder")
    detach_head: bool = Field(True, description="the unimodal losses train encoders alone, not a head that is shared")
    clip: Literal["separate", "joint"] = Field(
        "separate", description="train.clip bounds the gradient of every encoder and of the rest apart, or jointly"
    )


class OgmOptions(FusionOptions):
    """On-the-fly gradient modulation."""

    alpha: float = Field(0.3, ge=0, description="how sharply the gradient of a modality that is ahead is reduced")
    noise: bool = Field(True, description="GE: noise as large as the gradient is added to it")
    definition: Literal["principled", "released"] = Field(
        "principled", description="of all weights of an encoder, or of its 4-D convolutions, as in the released code"
    )
    first_epoch: int = Field(1, ge=1, description="from which epoch on")
    last_epoch: int | None = Field(None, ge=1, description="up to which; null: the last")


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
    MethodEntry(
        name="joint_fusion",
        summary="joint training of a model that fuses modalities: one loss on the fused output",
        options=FusionOptions,
        target="mmablate.methods.fusing:JointFusion",
        terms=("sup",),
        task="classification",
        fuses=True,
    ),
    MethodEntry(
        name="dgl",
        summary="disentangled gradient learning: encoders learn from unimodal losses, the fusion from the joint one",
        options=DglOptions,
        target="mmablate.methods.fusing:DisentangledGradients",
        source="DGL (ICCV 2025), and its seed",
        terms=("sup", "uni", "unique"),
        task="classification",
        fuses=True,
    ),
    MethodEntry(
        name="ogm_ge",
        summary="on-the-fly gradient modulation with generalisation enhancement: holds back the modality that is ahead",
        options=OgmOptions,
        target="mmablate.methods.fusing:GradientModulation",
        source="Peng et al., CVPR 2022, arXiv:2203.15332",
        terms=("sup",),
        task="classification",
        fuses=True,
    ),
    MethodEntry(
        name="contrastive",
        summary="encoders of several modalities learn which samples belong together (of a `pretrain`)",
        options=NoOptions,
        target="mmablate.methods.fusing:Contrastive",
        terms=("nce",),
        task="classification",
    ),
    *INCOMPLETE_METHODS,
)
