"""Models that ship with mmablate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmablate.catalog.entries import ModelEntry, Options

Width = Annotated[int, Field(ge=1)]


class AnymodalSegmentorOptions(Options):
    """One encoder shared by all modalities, per-stage mean over those present, one decoder."""

    backbone: Literal["conv"] = Field("conv", description="small convolutional encoder")
    in_channels: int = Field(3, ge=1, description="channels of the shared stem; a modality's repeat cyclically")
    widths: tuple[Width, ...] = Field((32, 64, 128), min_length=1, description="channels of each stage, C_i")
    depths: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="residual blocks of each stage; default one each"
    )
    strides: tuple[Width, ...] | None = Field(None, description="down-sampling of each stage; default 1, 2, 2, ...")
    decoder_width: int = Field(64, ge=1, description="channels of the fused map before the classifier")

    @model_validator(mode="after")
    def _one_a_stage(self) -> Self:
        for name in ("depths", "strides"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.widths):
                raise ValueError(f"{name} {list(given)} must have one entry a stage, as widths {list(self.widths)}")
        return self


MODELS = (
    ModelEntry(
        name="anymodal_segmentor",
        summary="shared encoder, per-stage mean over the modalities present, decoder on the fused stages",
        options=AnymodalSegmentorOptions,
        target="mmablate.models.anymodal:anymodal_segmentor",
        source="AnySeg, arXiv:2411.17141; a small convolutional backbone in place of MiT",
    ),
)
