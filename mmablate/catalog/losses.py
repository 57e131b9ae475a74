"""Loss terms that ship with mmablate, with their symbols and named definitions.

`principled` is what the term is meant to be; `released` what the public code of the paper computes.
The formulas stand in the docstrings of `mmablate.losses`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmablate.catalog.entries import LossEntry, NoOptions, Options
from mmablate.catalog.incomplete import INCOMPLETE_LOSSES


class SupOptions(Options):
    """Options of the supervised term."""

    threshold: float = Field(0.7, gt=0, lt=1, description="ohem: keep pixels whose true class is below it")
    min_fraction: float = Field(1 / 16, gt=0, le=1, description="ohem: least share of pixels kept")


class MadOptions(Options):
    """Options of modality-agnostic distillation."""

    temperature: float = Field(1.0, gt=0, description="softening divisor; the loss is multiplied by T²")


class KdOptions(Options):
    """Options of knowledge distillation between classifiers."""

    temperature: float = Field(1.0, gt=0, description="softening divisor; the loss is multiplied by T²")


class UniqueOptions(Options):
    """Options of the experts for unique information."""

    adapt: Literal["adaptive", "uniform", "inverted", "shuffled"] = Field(
        "adaptive",
        description="how the weight is dealt to the modalities: more to the weaker; evenly; the other way round; "
        "shuffled anew every epoch; always the same total",
    )
    redundancy: float = Field(0.1, ge=0, description="factor of I(u; z') - I(u; z'|Y), what the expert shares; nats")
    width: int = Field(16, ge=1, le=64, description="channels u of an expert, and those that z' is projected to")
    largest: float | None = Field(None, gt=0, description="largest weight of one modality; null: that of the term")
    every: int = Field(1, ge=1, description="epochs between two looks at how weak each modality is")
    average: float = Field(0.5, ge=0, lt=1, description="share of the earlier looks in the moving average")
    permutations: int = Field(100, ge=20, description="of the labels, for the null that a modality must exceed")


class UmdOptions(Options):
    """Options of unimodal distillation."""

    normalise: bool = Field(False, description="parameter-free layer norm over channels on both sides")
    reduce: Literal["sum", "mean"] = Field("sum", description="over the modalities present")


class CmdOptions(Options):
    """Options of cross-modal distillation."""

    centered: bool = Field(False, description="subtract each map's mean before the cosine")


class FusionFirstOptions(UmdOptions):
    """Options of fusion-first distillation; those that it shares with umd keep the two arms comparable."""

    teacher_modalities: Literal["matched", "full"] = Field(
        "matched", description="teacher maps averaged over the student's modalities, or over all"
    )


LOSSES = (
    LossEntry(
        name="sup",
        summary="cross-entropy with the labels",
        options=SupOptions,
        target="mmablate.methods.terms:sup",
        label="sup",
        definitions={
            "ce": "mean cross-entropy over valid pixels",
            "ohem": "online hard example mining, as the AnySeg family trains",
        },
        averages={"ce": "pixels", "ohem": "pixels"},
        source="definitions: mmablate.losses.supervised",
    ),
    LossEntry(
        name="mad",
        summary="modality-agnostic distillation: KL between the class distributions of teacher and student",
        options=MadOptions,
        target="mmablate.methods.terms:mad",
        symbol="λ",
        label="mad",
        needs_teacher=True,
        definitions={
            "principled": "KL(teacher‖student) over classes, valid pixels, divided by their number and K",
            "released": "the same with void pixels included, clamped at zero",
            "paper": "KL(student‖teacher) per pixel",
        },
        averages={"principled": "pixels", "paper": "pixels"},
        source="AnySeg, arXiv:2411.17141",
    ),
    LossEntry(
        name="umd",
        summary="unimodal distillation: KL between the features of each modality, summed over stages",
        options=UmdOptions,
        target="mmablate.methods.terms:umd",
        symbol="α",
        label="umd",
        needs_teacher=True,
        compares_features=True,
        definitions={
            "principled": "softmax over channels",
            "released": "softmax over image height",
            "spatial": "softmax over the positions of each channel",
            "mse": "mean squared error",
        },
        source="AnySeg, arXiv:2411.17141",
    ),
    LossEntry(
        name="cmd",
        summary="cross-modal distillation: squared error between the cosine relations of modality pairs",
        options=CmdOptions,
        target="mmablate.methods.terms:cmd",
        symbol="β",
        label="cmd",
        needs_teacher=True,
        compares_features=True,
        definitions={
            "principled": "mean squared difference of cosines over images, stages, channels and pairs",
            "paper": "S_g·log(S_g/S_f) with clamped cosines: not a divergence, kept for comparison",
            "released": "channel-averaged matrices of (log-)softmax maps, images mixed",
        },
        source="AnySeg, arXiv:2411.17141",
    ),
    LossEntry(
        name="fusion_first",
        summary="features averaged over modalities first, then distilled",
        options=FusionFirstOptions,
        target="mmablate.methods.terms:fusion_first",
        symbol="α",
        label="ff",
        needs_teacher=True,
        compares_features=True,
        definitions={"principled": "|A| times the channel KL between the averaged maps, summed over stages"},
        source="the arm that the AnySeg ablation argues against; no formula was published",
    ),
    LossEntry(
        name="kd",
        summary="knowledge distillation: KL between the class distributions of two classifiers",
        options=KdOptions,
        target="mmablate.methods.terms:kd",
        symbol="λ",
        label="kd",
        needs_teacher=True,
        definitions={
            "principled": "KL(teacher‖student), summed over classes, mean over samples",
            "released": "the same divided by the number of classes K, as torch's reduction mean does",
        },
        averages={"principled": "images", "released": "images"},
        source="Hinton et al. 2015, arXiv:1503.02531; modality focusing hypothesis, arXiv:2206.06487",
    ),
    LossEntry(
        name="uni",
        summary="unimodal losses: cross-entropy of the model's output for each modality alone, summed",
        options=NoOptions,
        target="mmablate.methods.terms:uni",
        symbol="α",
        label="uni",
        definitions={"ce": "sum over modalities of the mean cross-entropy"},
        averages={"ce": "images"},
        source="disentangled gradient learning (DGL); its seed, methods: mmablate.methods.fusing",
    ),
    LossEntry(
        name="unique",
        summary="unique information: an expert for each modality, on what the others do not tell",
        options=UniqueOptions,
        target="mmablate.methods.terms:unique",
        symbol="β",
        label="unique",
        definitions={
            "principled": "cross-entropy of an expert, weighed by the others' error, less what it shares with them",
            "residual": "cross-entropy of the shared head with the others' logits held fixed (undoes DGL's truncation)",
        },
        averages={"principled": "images", "residual": "images"},
        experts=True,
        source="after FactorCL, arXiv:2306.05268, equation of I(X1;Y|X2); the weighting is a heuristic",
    ),
    LossEntry(
        name="nce",
        summary="contrastive: symmetric InfoNCE over the batch between modalities (of a `pretrain`)",
        options=NoOptions,
        target="mmablate.methods.terms:nce",
        label="nce",
        definitions={"infonce": "mean over all pairs of modalities and both directions"},
        averages={"infonce": "images"},
        source="van den Oord et al. 2018, arXiv:1807.03748; CLIP, arXiv:2103.00020",
    ),
    LossEntry(
        name="dist",
        summary="distance between the logits of a teacher and a student that are trained jointly (of a `focus`)",
        options=NoOptions,
        target="mmablate.methods.terms:dist",
        label="dist",
        definitions={"squared": "mean squared difference", "l1": "mean absolute difference"},
        averages={"squared": "images", "l1": "images"},
        joins=True,
        source="modality focusing hypothesis, arXiv:2206.06487, Algorithm 1",
    ),
    *INCOMPLETE_LOSSES,
)
