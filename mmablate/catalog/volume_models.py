"""Segmentors of incomplete 3D scans that ship with mmablate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from mmablate.catalog.entries import ModelEntry, Options

Even = Annotated[int, Field(ge=2, multiple_of=2)]


class IncompleteSegmentorOptions(Options):
    """An encoder a modality, region-aware fusion of those present, a fused and a separate decoder."""

    widths: tuple[Even, ...] = Field(
        (8, 16, 32, 64), min_length=2, description="channels of each stage, even; each stage but the first halves edges"
    )
    stem_stride: int = Field(
        1, ge=1, description="stride of the first convolution; 2 computes all at half the resolution of the scan"
    )
    depth: int = Field(1, ge=1, description="residual pairs of convolutions a stage")
    negative_slope: float = Field(0.2, ge=0, lt=1, description="of the leaky ReLUs")


def smallest_patch(options: Mapping[str, Any]) -> int:
    """Voxels that each edge of a patch or scan must have at least; `IncompleteSegmentor.smallest_edge` is the same."""
    filled = IncompleteSegmentorOptions.model_validate(dict(options))
    return int(filled.stem_stride * 2 ** (len(filled.widths) - 1) + 1)


VOLUME_MODELS = (
    ModelEntry(
        name="incomplete_segmentor",
        summary="3D scans: an encoder a modality, region-aware fusion of those present, fused and separate decoders",
        options=IncompleteSegmentorOptions,
        target="mmablate.models.volumes:incomplete_segmentor",
        source="RFNet (Ding et al., ICCV 2021), at the size of the code of PASSION",
        task="volumes",
        multimodal=True,
    ),
)
