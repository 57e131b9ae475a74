"""Classifiers of several modalities that ship with mmablate, and encoders to pre-train for them.

None has an option `modality`: they see all modalities of the data, or those that `modalities` names (`seen`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmablate.catalog.classifiers import Rate, Widths
from mmablate.catalog.entries import ModelEntry, Options

VectorFusion = Literal["concat", "sum", "gated", "film", "bilinear", "late"]
MapFusion = Literal["late", "concat", "add", "matmul", "matmul_unscaled", "hadamard"]
Downsampling = Literal["max", "strided"]
Norm = Literal["batch", "none"]
OF_TWO = frozenset({"gated", "film", "bilinear", "matmul", "matmul_unscaled"})  # which join exactly two modalities


class Resnet18Encoder(Options):
    """ResNet-18 without its last layer, for spectrograms, pictures and clips."""

    kind: Literal["resnet18"]
    widths: Widths = Field((64, 128, 256, 512), description="channels of each stage; the stem has the first one's")
    depths: Widths = Field((2, 2, 2, 2), description="residual blocks of each stage")
    stem_padding: int = Field(3, ge=0, description="of the stem's convolution of kernel 7")

    @model_validator(mode="after")
    def _one_a_stage(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {list(self.depths)} must have one entry a stage, as widths {list(self.widths)}")
        return self


class ConvEncoder(Options):
    """Convolutional blocks, then the mean over rows and columns; its weights fit a map_fusion_classifier."""

    kind: Literal["conv"]
    widths: Widths = Field((16, 32, 64), description="channels of each block, which halves rows and columns")
    downsampling: Downsampling = Field("max", description="max pooling, or a strided convolution in its place")
    norm: Norm = Field("batch", description="batch norm behind each convolution, or none")


class MlpEncoder(Options):
    """Linear layers with ReLU behind each."""

    kind: Literal["mlp"]
    hidden: Widths = Field((64,), description="width of each layer; the last one's is that of the features")
    dropout: Rate = Field(0.0, description="rate at which units are dropped in training")


class LinearEncoder(Options):
    """One linear layer."""

    kind: Literal["linear"]
    dim: int = Field(64, ge=1, description="width of the features")


class IdentityEncoder(Options):
    """The flattened sample itself."""

    kind: Literal["identity"]


Encoder = Annotated[
    Resnet18Encoder | ConvEncoder | MlpEncoder | LinearEncoder | IdentityEncoder, Field(discriminator="kind")
]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class SeveralOptions(Options):
    """What every model of several modalities is told."""

    modalities: Names | None = Field(
        None, description="those that the model sees, in the order of fusion; default all of the data"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.modalities is not None and len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"modalities must name each once, got {', '.join(self.modalities)}")
        return self


class _Encoded(SeveralOptions):
    encoder: Encoder = Field(
        Resnet18Encoder(kind="resnet18"),
        description="kind of every modality's encoder (resnet18, conv, mlp, linear, identity) and its options",
    )
    encoders: dict[str, Encoder] = Field(
        default_factory=dict, description="modality: kind and options of its own encoder in place of that"
    )


class _Match(Options):
    @model_validator(mode="after")
    def _something(self) -> Self:
        if all(value is None for value in self.model_dump().values()):
            raise ValueError(f"match must give at least one of {', '.join(type(self).model_fields)}")
        return self


class VectorMatch(_Match):
    """Options of the model whose number of parameters is to be matched; the others are the same."""

    fusion: VectorFusion | None = Field(None, description="its fusion")
    hidden: int | None = Field(None, ge=1, description="its hidden width")


class MapMatch(_Match):
    """Options of the model whose number of parameters is to be matched; the others are the same."""

    fusion: MapFusion | None = Field(None, description="its fusion")
    downsampling: Downsampling | None = Field(None, description="its down-sampling")
    widths: Widths | None = Field(None, description="its encoders' widths")
    norm: Norm | None = Field(None, description="its norm")
    hidden: int | None = Field(None, ge=1, description="its hidden width")


class FusionOptions(_Encoded):
    """One encoder a modality to vectors, and a fusion of the vectors."""

    fusion: VectorFusion = Field(
        "concat",
        description="concat, sum, late (mean of separate heads), or of two modalities: gated, film, bilinear (outer "
        "product: what the code of DGL calls film)",
    )
    unimodal: Literal["principled", "released"] = Field(
        "principled",
        description="what one modality alone gives: concat, sum with the others at zero, gated, film, bilinear by a "
        "head of its own; or as the code of DGL has it",
    )
    hidden: int | None = Field(
        None, ge=1,
        description="hidden width of the fusion; default: concat, sum, late have linear heads, gated and bilinear the "
        "width of the second modality's features, film modulates them directly",
    )  # fmt: skip
    conditions: str | None = Field(
        None, min_length=1,
        description="gated, film, bilinear: modality that gates or modulates the other; default the first",
    )  # fmt: skip
    match: VectorMatch | None = Field(
        None,
        description="fusion, hidden of the model whose number of parameters this one is to have within 2 %, by its "
        "hidden width; default none",
    )


class MapFusionOptions(SeveralOptions):
    """One convolutional encoder a modality to feature maps, and a fusion of the maps."""

    fusion: MapFusion = Field(
        "concat",
        description="late (mean of separate logits), concat, add, hadamard (elementwise product), or of two "
        "modalities matmul (z1 z2 / sqrt(W) a channel), matmul_unscaled",
    )
    downsampling: Downsampling = Field("max", description="max pooling, or a strided convolution in its place")
    widths: Widths = Field((16, 32, 64), description="channels of each encoder's blocks")
    norm: Norm = Field("batch", description="batch norm behind each convolution, or none")
    hidden: int = Field(192, ge=1, description="channels of the shared convolution and width of the hidden layer")
    match: MapMatch | None = Field(
        None,
        description="fusion, downsampling, widths, norm, hidden of the model whose number of parameters this one is "
        "to have within 2 %, by its hidden width; default none",
    )


class ContrastiveOptions(_Encoded):
    """One encoder and one projection a modality, and a learnt scale."""

    dim: int = Field(128, ge=1, description="width of the common space")


def _map_encoders(options: Mapping[str, Any]) -> dict[str, Any]:
    """The encoders of a map_fusion_classifier, as those of vectors are described."""
    encoder = {"kind": "conv", **{key: options[key] for key in ("widths", "downsampling", "norm")}}
    return {"modalities": options["modalities"], "encoder": encoder, "encoders": {}}


def seen(options: Mapping[str, Any], modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities that a model of these options sees of those that the data have, in the order of fusion."""
    return tuple(options.get("modalities") or modalities)


def faults(options: Mapping[str, Any], modalities: Sequence[str]) -> list[str]:
    """What of a model's options does not fit data of these modalities, each as "option: what is wrong".

    Modalities that the data do not have, encoders of such, and a fusion that does not exist
    for that many modalities.
    """
    there = f"(there are: {', '.join(modalities)})"
    sees = seen(options, modalities)
    told = [f"modalities: the data have no {name!r} {there}" for name in sees if name not in modalities]
    sight = f"(it sees: {', '.join(sees)})"
    # Encoders of modalities that a row leaves out do no harm.
    told += [
        f"encoders: the data have no {name!r} {there}"
        for name in options.get("encoders") or {}
        if name not in modalities
    ]
    conditions = options.get("conditions")
    if conditions is not None and conditions not in sees:
        told.append(f"conditions: the model sees no {conditions!r} {sight}")
    named = {"fusion": options.get("fusion"), "match.fusion": (options.get("match") or {}).get("fusion")}
    for key, fusion in named.items():
        if fusion in OF_TWO and len(sees) != 2:
            told.append(f"{key}: {fusion} joins exactly two modalities, the model sees {len(sees)} ({', '.join(sees)})")
    return told


def contrastive_faults(options: Mapping[str, Any], modalities: Sequence[str]) -> list[str]:
    """As `faults`; also fewer than two modalities."""
    told = faults(options, modalities)
    sees = seen(options, modalities)
    if len(sees) < 2:
        told.append(f"modalities: contrastive encoders need at least two, the model sees {', '.join(sees)}")
    return told


MULTIMODAL = (
    ModelEntry(
        name="fusion_classifier",
        summary="one encoder a modality, a fusion of their vectors",
        options=FusionOptions,
        target="mmablate.models.fusion.building:fusion_classifier",
        source="networks of OGM-GE, arXiv:2203.15332, and DGL",
        task="classification",
        multimodal=True,
        encoders=lambda options: {key: options[key] for key in ("modalities", "encoder", "encoders")},
        faults=faults,
    ),
    ModelEntry(
        name="map_fusion_classifier",
        summary="one convolutional encoder a modality, a fusion of their feature maps",
        options=MapFusionOptions,
        target="mmablate.models.fusion.building:map_fusion_classifier",
        source="RGB and LiDAR fusion study",
        task="classification",
        multimodal=True,
        encoders=_map_encoders,
        faults=faults,
    ),
    ModelEntry(
        name="contrastive_encoders",
        summary="one encoder a modality with a projection, for contrastive pre-training",
        options=ContrastiveOptions,
        target="mmablate.models.fusion.building:contrastive_encoders",
        source="CLIP, arXiv:2103.00020",
        task="classification",
        faults=contrastive_faults,
    ),
)
