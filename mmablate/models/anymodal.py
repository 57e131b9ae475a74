"""The anymodal segmentor: any subset of modalities in, one segmentation out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmablate.models.conv import ChannelNorm, ConvEncoder
from mmablate.models.segformer import SIZES, MixTransformer, SegFormerHead
from mmablate.models.segformer_names import own_names

Features = dict[str, list[Tensor]]
RenameWeights = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class SegmentationHead(nn.Module):
    """All-linear decoder: each stage to one width, brought to the finest size, summed, classified.

    The sum of per-stage linear maps equals one linear map of the concatenated stages, computed where the
    maps are small.

    Args:
        widths: channels C_i of the stages.
        decoder_width: channels after the sum.
        n_classes: K.
    """

    def __init__(self, widths: Sequence[int], decoder_width: int, n_classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(width, decoder_width, 1) for width in widths)
        self.norm = ChannelNorm(decoder_width)
        self.classifier = nn.Conv2d(decoder_width, n_classes, 1)

    def forward(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Stages (B, C_i, H_i, W_i), finest first, to logits (B, K, *size)."""
        fine = stages[0].shape[-2:]
        fused = self.projections[0](stages[0])
        for projection, stage in zip(list(self.projections)[1:], stages[1:], strict=True):
            fused = fused + F.interpolate(projection(stage), size=fine, mode="bilinear", align_corners=False)
        logits = self.classifier(F.gelu(self.norm(fused)))
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits


class AnymodalSegmentor(nn.Module):
    """One encoder shared by all modalities, per-stage mean over those present, one decoder.

    No weight belongs to a modality: a modality of fewer channels than the stem has is repeated cyclically.
    The mean goes to the decoder only, never to the next stage, so that encoding modalities alone or
    together is the same. A missing modality is absent from the mean, not an image of zeros.

    Args:
        encoder: image (B, in_channels, H, W) -> stages.
        head: stages and output size -> logits.
        in_channels: of the encoder.
        own_names: weights under the names that others give to such a model -> under ours.

    Source: AnySeg, arXiv:2411.17141 (structure as in the released `seg_block`).
    """

    def __init__(
        self, encoder: nn.Module, head: nn.Module, in_channels: int, own_names: RenameWeights | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.in_channels, self.own_names = encoder, head, in_channels, own_names

    def encode(self, inputs: Mapping[str, Tensor]) -> Features:
        """Modality -> features of every stage, from (B, C_m, H, W) each; one pass for all modalities.

        Raises:
            ValueError: no modality, or one with more channels than the stem.
        """
        if not inputs:
            raise ValueError("at least one modality must be present")
        images = torch.cat([self._to_stem(name, image) for name, image in inputs.items()])
        stages = [stage.chunk(len(inputs)) for stage in self.encoder(images)]
        return {name: [stage[i] for stage in stages] for i, name in enumerate(inputs)}

    def decode(self, features: Mapping[str, Sequence[Tensor]], size: tuple[int, int]) -> Tensor:
        """Logits (B, K, *size) from the mean over the modalities given, stage by stage."""
        per_modality = list(features.values())
        fused = [sum(maps[1:], maps[0]) / len(maps) for maps in zip(*per_modality, strict=True)]
        return self.head(fused, size)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Features]:
        """Logits (B, K, H, W) and the features of each modality given."""
        features = self.encode(inputs)
        height, width = next(iter(inputs.values())).shape[-2:]
        return self.decode(features, (height, width)), features

    def _to_stem(self, name: str, image: Tensor) -> Tensor:
        channels = image.shape[1]
        if channels > self.in_channels:
            raise ValueError(f"modality {name!r} has {channels} channels, the model takes {self.in_channels}")
        if channels == self.in_channels:
            return image
        repeats = -(-self.in_channels // channels)
        return torch.cat([image] * repeats, dim=1)[:, : self.in_channels]


def anymodal_segmentor(
    *,
    n_classes: int,
    backbone: str = "conv",
    in_channels: int = 3,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    decoder_width: int | None = None,
    drop_path: float | None = None,
    dropout: float | None = None,
) -> AnymodalSegmentor:
    """Builds the model from flat arguments (`mmablate.catalog.models` describes them).

    Raises:
        ValueError: an unknown backbone, lists of different length, or an argument that the backbone has not.
        MissingExtra: a MiT without the transformers package.
    """
    if backbone in SIZES:
        if in_channels != 3 or any(value is not None for value in (widths, depths, strides)):
            raise ValueError(f"in_channels, widths, depths and strides are fixed by the backbone {backbone!r}")
        encoder = MixTransformer(backbone, 0.1 if drop_path is None else drop_path)
        head = SegFormerHead(encoder.widths, decoder_width or 768, n_classes, 0.1 if dropout is None else dropout)
        return AnymodalSegmentor(encoder, head, 3, own_names=own_names)
    if backbone != "conv":
        raise ValueError(f"backbone must be one of conv, {', '.join(SIZES)}, got {backbone!r}")
    if drop_path is not None or dropout is not None:
        raise ValueError("the conv backbone has no drop_path and no dropout")
    widths = widths or (32, 64, 128)
    depths = depths or [1] * len(widths)
    strides = strides or [1] + [2] * (len(widths) - 1)
    conv = ConvEncoder(in_channels, widths, depths, strides)
    return AnymodalSegmentor(conv, SegmentationHead(widths, decoder_width or 64, n_classes), in_channels)
