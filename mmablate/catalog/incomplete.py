"""Learning from 3D scans whose modalities are incomplete, as recipes see it: update rules and loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mmablate.catalog.entries import LossEntry, MethodEntry, NoOptions, Options

Weights = dict[str, Annotated[float, Field(ge=0)]]


class MetaBatch(Options):
    """The second batch of a step, of other subjects of the training split and from random streams of its own."""

    masks: Literal["same", "redrawn", "full"] = Field(
        "same",
        description="same: by the recipe's masks; redrawn: a non-empty subset of a subject's own mask; full: subjects "
        "that have all modalities, as the later released script",
    )
    batch_size: int | None = Field(None, ge=1, description="null: train.batch_size")


class BalanceOptions(Options):
    """How losses are weighed against one another, modality by modality (PASSION)."""

    gate: Literal["none", "principled", "released"] = Field(
        "none",
        description="uni and proto only for modalities that lag behind the fused prediction more than the others do; "
        "principled: by sample, always for a sample's only modality; released: by batch, never for that",
    )
    rates: bool = Field(
        False, description="weigh modalities by how rarely subjects have them, 1 / (1 - missing rate), as released"
    )
    balance: Literal["fixed", "preference", "meta"] = Field(
        "fixed",
        description="β by modality: as the recipe's weights; by relative preference, at the end of every epoch; or by "
        "the gradient of the meta batch's loss, at every step",
    )
    balance_rate: float = Field(0.01, gt=0, description="η of that")
    balance_raised: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="epochs, from 0 on, at which η is raised by a half; (0, 100, 200) as released"
    )
    balance_low: float = Field(0.1, ge=0, description="least β, before it is normed")
    balance_high: float = Field(4.0, gt=0, description="largest β, before it is normed")


class IncompleteOptions(BalanceOptions):
    """Single-level training, with the compute of a bi-level one where that is to be matched."""

    second: Literal["none", "step", "union"] = Field(
        "none",
        description="none: one batch a step; step: a second batch in an optimiser step of its own, which costs what a "
        "bi-level step costs; union: both batches in one step",
    )
    meta: MetaBatch = Field(MetaBatch(), description="the second batch, where there is one")


class MetaDropOptions(BalanceOptions):
    """The bi-level step φ ← φ0 + α(φ̃ − φ0) − η_out ∇L_meta(φ̃)."""

    alpha: float = Field(1.0, ge=0, le=2, description="share of the inner step that is kept")
    eta_out: float = Field(1e-2, ge=0, description="step size of the outer, plain gradient step; none was published")
    schedule_outer: bool = Field(True, description="η_out follows the schedule of train.lr, which is η_in")
    order: Literal["first", "second"] = Field(
        "first", description="second: ∇L_meta is taken through the inner step, exact for train.optimizer sgd"
    )
    meta: MetaBatch = Field(MetaBatch(), description="the meta batch")


_TERMS = ("fuse", "sep", "prm", "pixel", "proto")
_ABOUT = {"gate": ("sep", "proto")} | {key: ("pixel",) for key in BalanceOptions.model_fields if "balance" in key}


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    """How β is changed is nothing to a run with a fixed one, nor a second batch to a run without."""
    unread: set[str] = set()
    if options.get("eta_out") == 0:
        unread |= {"schedule_outer", "order"}
    if options.get("second") == "none" or (options.get("eta_out") == 0 and options.get("balance") != "meta"):
        unread |= {"meta"}
    if options.get("balance") == "fixed":
        unread |= {key for key in options if key.startswith("balance_")}
    elif options.get("balance") == "meta":
        unread |= {"balance_raised"}
    return {key: value for key, value in options.items() if key not in unread}


INCOMPLETE_METHODS = (
    MethodEntry(
        name="incomplete",
        summary="single-level training on subjects with the modalities that they have",
        options=IncompleteOptions,
        target="mmablate.methods.incomplete:IncompleteTraining",
        source="PASSION, arXiv:2407.14796; PRISM before Meta-Drop",
        terms=_TERMS,
        task="volumes",
        reads=_read,
        about=_ABOUT,
    ),
    MethodEntry(
        name="metadrop",
        summary="Meta-Drop: an inner step on one batch, an outer one by the loss on a batch of other subjects",
        options=MetaDropOptions,
        target="mmablate.methods.metadrop:MetaDrop",
        source="PRISM documentation, Meta-Drop; MAML, arXiv:1703.03400; Reptile, arXiv:1803.02999",
        terms=_TERMS,
        task="volumes",
        reads=_read,
        about=_ABOUT,
    ),
)


class PrmOptions(Options):
    """Deep supervision."""

    decay: float = Field(0.5, gt=0, le=1, description="γ: level s, finest first from s = 1, counts γ^s")


class PixelOptions(Options):
    """Self-distillation of the predictions."""

    decay: float = Field(0.5, gt=0, le=1, description="released: regional level s counts decay^s beside the final one")
    temperature: float | None = Field(None, gt=0, description="null: the definition's own, 1 or (released) 4")
    weights: Weights | None = Field(None, description="β_m: modality -> factor; null: 1 for all")


class ProtoOptions(Options):
    """Self-distillation of the prototypes."""

    weights: Weights | None = Field(None, description="δ_m: modality -> factor; null: 1 for all")


_SEGMENTATION = {
    "principled": "mean cross-entropy + 1 - mean Dice over the classes of the sample, mean over samples",
    "released": "class-weighted cross-entropy of clamped probabilities + 1 - mean Dice over all classes",
}
_IMAGES: dict[str, Literal["pixels", "images"]] = {"principled": "images", "released": "images"}
_SOURCE = "PRISM documentation, Meta-Drop, section 3; released: PASSION, arXiv:2407.14796"

INCOMPLETE_LOSSES = (
    LossEntry(
        name="fuse",
        summary="segmentation loss of the fused prediction: cross-entropy + Dice",
        options=NoOptions,
        target="mmablate.methods.volume_terms:fuse",
        label="fuse",
        definitions=_SEGMENTATION,
        averages=_IMAGES,
        source=_SOURCE,
    ),
    LossEntry(
        name="sep",
        summary="unimodal segmentation loss: that of a decoder which sees one encoder, summed over the modalities",
        options=NoOptions,
        target="mmablate.methods.volume_terms:sep",
        label="uni",
        definitions=_SEGMENTATION,
        averages=_IMAGES,
        source=_SOURCE,
    ),
    LossEntry(
        name="prm",
        summary="deep supervision of the region-aware fusion: segmentation loss of its maps, γ^s by level",
        options=PrmOptions,
        target="mmablate.methods.volume_terms:prm",
        label="PRM",
        definitions=_SEGMENTATION,
        averages=_IMAGES,
        source=_SOURCE,
    ),
    LossEntry(
        name="pixel",
        summary="pixel-wise self-distillation: the fused prediction teaches that of each modality alone",
        options=PixelOptions,
        target="mmablate.methods.volume_terms:pixel",
        symbol="β",
        label="pixel",
        definitions={
            "principled": "KL(modality‖fused) per voxel, summed over classes and levels, each at its own resolution",
            "released": "KL(fused‖modality) at T = 4, times T², mean over classes too, clamped, levels weighed",
        },
        averages=_IMAGES,
        source=_SOURCE,
    ),
    LossEntry(
        name="proto",
        summary="prototype self-distillation: class means of features, fused against each modality alone",
        options=ProtoOptions,
        target="mmablate.methods.volume_terms:proto",
        symbol="δ",
        label="proto",
        definitions={
            "principled": "squared distance of the prototypes, summed over the classes of the sample",
            "released": "mean squared difference of the maps of cosines to the prototypes",
        },
        averages=_IMAGES,
        source=_SOURCE,
    ),
)
