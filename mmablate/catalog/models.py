"""Models that ship with mmablate."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from mmablate.catalog.classifiers import CLASSIFIERS
from mmablate.catalog.entries import ModelEntry, Options
from mmablate.catalog.multimodal import MULTIMODAL
from mmablate.catalog.volume_models import VOLUME_MODELS
from mmablate.errors import MissingExtra

Width = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]

# Of the authors' code; `mmablate.models.segformer` builds them, and a test holds the two together.
_WIDE = (64, 128, 320, 512)
MIT_WIDTHS = {"mit_b0": (32, 64, 160, 256), **{f"mit_b{i}": _WIDE for i in range(1, 6)}}
MIT_STRIDES = (4, 2, 2, 2)
MIT_MIN_SIZE = 29

# What an option is where a recipe does not say.
_CONV: dict[str, Any] = {"widths": (32, 64, 128), "decoder_width": 64}
_MIT: dict[str, Any] = {"decoder_width": 768, "drop_path": 0.1, "dropout": 0.1}


class AnymodalSegmentorOptions(Options):
    """One encoder shared by all modalities, per-stage mean over those present, one decoder."""

    backbone: Literal["conv", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = Field(
        "conv", description="small convolutional encoder, or a Mix Transformer of SegFormer (needs transformers)"
    )
    in_channels: int = Field(
        3, ge=1, description="channels of the shared stem, 3 for mit; a modality's repeat cyclically"
    )
    widths: tuple[Width, ...] | None = Field(
        None, min_length=1, validate_default=True, description="conv: channels of each stage, C_i; default 32, 64, 128"
    )
    depths: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="conv: residual blocks of each stage; default one each"
    )
    strides: tuple[Width, ...] | None = Field(
        None, description="conv: down-sampling of each stage; default 1, 2, 2, ..."
    )
    decoder_width: int | None = Field(
        None, ge=1, validate_default=True,
        description="channels of the fused map before the classifier; default 64, with mit 768",
    )  # fmt: skip
    drop_path: Rate | None = Field(
        None, validate_default=True,
        description="mit: rate at which the last block is skipped in training; default 0.1",
    )  # fmt: skip
    dropout: Rate | None = Field(
        None, validate_default=True,
        description="mit: rate at which channels before the classifier are dropped; default 0.1",
    )  # fmt: skip
    weights: str | None = Field(None, description="file that the encoder starts from, e.g. mit_b0.pth; default none")

    @field_validator("in_channels")
    @classmethod
    def _three(cls, value: int, info: ValidationInfo) -> int:
        if _is_mit(info) and value != 3:
            raise ValueError(f"fixed at 3 by the backbone {info.data['backbone']}")
        return value

    @field_validator("widths", "depths", "strides")
    @classmethod
    def _of_conv(cls, value: Any, info: ValidationInfo) -> Any:
        if _is_mit(info) and value is not None:
            raise ValueError(f"fixed by the backbone {info.data['backbone']}: leave it out, or null where inherited")
        return value if value is not None or _is_mit(info) else _CONV.get(str(info.field_name))

    @field_validator("decoder_width", "drop_path", "dropout")
    @classmethod
    def _default(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and not _is_mit(info) and info.field_name != "decoder_width" and "backbone" in info.data:
            raise ValueError(f"the backbone {info.data['backbone']} has none: leave it out, or null where inherited")
        return value if value is not None else (_MIT if _is_mit(info) else _CONV).get(str(info.field_name))

    @model_validator(mode="after")
    def _one_a_stage(self) -> Self:
        for name in ("depths", "strides"):
            given = getattr(self, name)
            if given is not None and self.widths is not None and len(given) != len(self.widths):
                raise ValueError(f"{name} {list(given)} must have one entry a stage, as widths {list(self.widths)}")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A conv model's settings, and with them the ids of its runs, know nothing of what only others have."""
        absent = {name for name in ("drop_path", "dropout", "weights") if getattr(self, name) is None}
        return {name: value for name, value in handler(self).items() if name not in absent}


def _is_mit(info: ValidationInfo) -> bool:
    return str(info.data.get("backbone")).startswith("mit_")


def stage_shapes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Option -> what it comes to: channels and down-sampling of every stage, which compared features must share."""
    backbone = options.get("backbone")
    if backbone is None:  # a plugin's model
        return {name: options.get(name) for name in ("widths", "strides")}
    if backbone in MIT_WIDTHS:
        return {"widths": list(MIT_WIDTHS[backbone]), "strides": list(MIT_STRIDES)}
    widths = list(options.get("widths") or _CONV["widths"])
    return {"widths": widths, "strides": list(options.get("strides") or [1] + [2] * (len(widths) - 1))}


def smallest_image(options: Mapping[str, Any]) -> int:
    """Rows and columns that an image or crop must have at least."""
    return MIT_MIN_SIZE if options.get("backbone") in MIT_WIDTHS else 1


def check_packages(options: Mapping[str, Any]) -> None:
    """Whether what the model is built with is installed.

    Raises:
        MissingExtra: names the command that installs it.
    """
    if options.get("backbone") in MIT_WIDTHS and importlib.util.find_spec("transformers") is None:
        raise MissingExtra(
            f'model.backbone {options["backbone"]} needs transformers: pip install "mmablate[backbones]"'
        )


MODELS = (
    ModelEntry(
        name="anymodal_segmentor",
        summary="shared encoder, per-stage mean over the modalities present, decoder on the fused stages",
        options=AnymodalSegmentorOptions,
        target="mmablate.models.anymodal:anymodal_segmentor",
        source="AnySeg, arXiv:2411.17141, with its MiT backbones or a small convolutional one",
    ),
    *CLASSIFIERS,
    *MULTIMODAL,
    *VOLUME_MODELS,
)
