"""A small convolutional encoder with the stage interface of a SegFormer: one normed feature map a stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every pixel, (B, C, H, W) -> the same.

    Unlike batch norm it mixes neither samples nor modalities, so that a run's result does not depend on
    what else is in the batch.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def reset_parameters(self) -> None:
        """Identity scale and shift."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises in float32, whatever the autocast type."""
        y = F.layer_norm(x.float().movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.movedim(-1, 1)


class ConvBlock(nn.Module):
    """x + conv(act(norm(x))) with a 3x3 convolution; width and size stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + self.conv(F.gelu(self.norm(x)))


class ConvStage(nn.Module):
    """Down-sampling convolution, residual blocks, and the norm that the losses see."""

    def __init__(self, in_channels: int, channels: int, stride: int, depth: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1)
        self.blocks = nn.Sequential(*(ConvBlock(channels) for _ in range(depth)))
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""
        return self.norm(self.blocks(self.reduce(x)))


class ConvEncoder(nn.Module):
    """Stages in a row.

    Args:
        in_channels: channels of the image.
        widths: channels C_i of each stage.
        depths: residual blocks of each stage.
        strides: down-sampling of each stage.

    Raises:
        ValueError: lists of different length.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], depths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides):
            raise ValueError(f"widths {widths}, depths {depths} and strides {strides} must have equal length")
        inputs = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            ConvStage(i, w, s, d) for i, w, s, d in zip(inputs, widths, strides, depths, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> one (B, C_i, H_i, W_i) a stage, finest first."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
