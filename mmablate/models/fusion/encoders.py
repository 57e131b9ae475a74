"""Encoders of one modality: to a vector (B, D), or to a map (B, C, H, W).

Each has `dim`, the width D of its vectors or the channels C of its maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmablate.models.fusion.layers import XavierLinear
from mmablate.models.resnet import FanOutConv2d, check_sample, own_names, residual_stages


def _frames(x: Tensor) -> Tensor:
    """Clips (B, C, T, H, W) -> (B T, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


def _averaged(maps: Tensor, n_samples: int) -> Tensor:
    """(B T, D, H, W) -> (B, D): the mean over frames, rows and columns."""
    return maps.unflatten(0, (n_samples, -1)).mean((1, 3, 4))


def _picture_axes(kind: str, shape: Sequence[int]) -> tuple[int, ...]:
    """(C, H, W) of what the convolutions see."""
    if len(shape) not in (3, 4):
        raise ValueError(f"encoder {kind} takes samples (C, H, W), or clips (C, T, H, W), got {tuple(shape)}")
    return (shape[0], *shape[-2:])


class ResNetEncoder(nn.Module):
    """ResNet-18 without its last layer: spectrograms, pictures or clips to vectors (B, widths[-1]).

    Args:
        shape: (C, H, W) of one sample, or (C, T, H, W) of a clip, whose frames are seen one by one and averaged.
        widths: channels of each stage; the stem has the first one's.
        depths: blocks of each stage.
        stem_padding: of the stem's convolution of kernel 7, stride 2; published 3.

    Raises:
        ValueError: another number of axes, samples smaller than the stem's kernel, or depths and widths of unlike
            length.

    State dicts of torchvision's ResNet and of the released backbones fit by name (`own_names`), but for their
    `fc`. Published widths and depths give 11,170,240 parameters with one channel, 11,176,512 with three.

    Source: backbones of DGL and OGM-GE (arXiv:2203.15332): convolutions begin Kaiming-normal (fan out), batch norms
    at 1 and 0; clips (B, 3, T, H, W) folded to B T frames, averaged over T, H and W.
    """

    own_names = staticmethod(own_names)

    def __init__(
        self,
        *,
        shape: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        stem_padding: int = 3,
    ) -> None:
        super().__init__()
        seen = _picture_axes("resnet18", shape)
        left = [edge + 2 * stem_padding - 7 for edge in seen[1:]]
        check_sample("resnet18", seen, ("C", "H", "W"), widths, depths, stem=left)
        stem = nn.Sequential(
            FanOutConv2d(seen[0], widths[0], 7, stride=2, padding=stem_padding, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.dim = widths[-1]
        self.stages = nn.ModuleDict({"stem": stem, **residual_stages(widths, depths, FanOutConv2d, nn.BatchNorm2d)})

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C, T, H, W) -> (B, D)."""
        n_samples = x.shape[0]
        x = _frames(x) if x.ndim == 5 else x
        for stage in self.stages.values():
            x = stage(x)
        return _averaged(x, n_samples)


def conv_block(inputs: int, outputs: int, *, norm: str, downsampling: str | None) -> nn.Sequential:
    """Convolution of kernel 3, norm, ReLU, then what halves rows and columns (rounding up).

    Args:
        inputs, outputs: channels.
        norm: "batch", or "none", where the convolution has a bias instead.
        downsampling: "max" (max pooling of 2 x 2), "strided" (a second convolution of kernel 3 and stride 2 in its
            place, as wide as the block), or None.

    Raises:
        ValueError: another norm or down-sampling.
    """
    if norm not in ("batch", "none"):
        raise ValueError(f"norm must be batch or none, got {norm!r}")
    layers: list[nn.Module] = [FanOutConv2d(inputs, outputs, 3, padding=1, bias=norm == "none")]
    layers += [nn.BatchNorm2d(outputs)] if norm == "batch" else []
    layers.append(nn.ReLU())
    if downsampling == "max":
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    elif downsampling == "strided":
        layers.append(FanOutConv2d(outputs, outputs, 3, stride=2, padding=1))
    elif downsampling is not None:
        raise ValueError(f"downsampling must be max or strided, got {downsampling!r}")
    return nn.Sequential(*layers)


class ConvMaps(nn.Module):
    """Convolutional blocks in a row; every one halves rows and columns.

    Args:
        shape: (C, H, W) of one sample; where `pooled`, also (C, T, H, W) of a clip.
        widths: channels of each block.
        downsampling: "max" or "strided", as `conv_block`.
        norm: "batch" or "none".
        pooled: give the mean over the map, (B, D), in place of the map. Weights are the same either way.

    Raises:
        ValueError: another number of axes, or an option that does not exist.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],
        widths: Sequence[int] = (16, 32, 64),
        downsampling: str = "max",
        norm: str = "batch",
        pooled: bool = False,
    ) -> None:
        super().__init__()
        if not pooled and len(shape) != 3:
            raise ValueError(f"feature maps are made of samples (C, H, W), got {tuple(shape)}")
        seen = _picture_axes("conv", shape)
        inputs = [seen[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(conv_block(i, o, norm=norm, downsampling=downsampling) for i, o in zip(inputs, widths, strict=True))
        )
        self.dim, self.pooled = widths[-1], pooled
        self.map_shape = (self.dim, *(math.ceil(edge / 2 ** len(widths)) for edge in seen[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W'), or (B, D) where pooled."""
        if not self.pooled:
            return self.blocks(x)
        return _averaged(self.blocks(_frames(x) if x.ndim == 5 else x), x.shape[0])


class DenseEncoder(nn.Module):
    """Linear layers with ReLU behind each: samples of any shape to vectors (B, hidden[-1]).

    Args:
        shape: of one sample; more than one axis is flattened.
        hidden: width of each layer, at least one.
        dropout: rate at which units of each layer are dropped in training.
    """

    def __init__(self, *, shape: Sequence[int], hidden: Sequence[int] = (64,), dropout: float = 0.0) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("encoder mlp: hidden must name at least one width")
        inputs = [math.prod(shape), *hidden[:-1]]
        layers: list[nn.Module] = [nn.Flatten()]
        for width, outputs in zip(inputs, hidden, strict=True):
            layers += [XavierLinear(width, outputs), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        self.dim, self.layers = hidden[-1], nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, D)."""
        return self.layers(x)


class LinearEncoder(nn.Module):
    """One linear layer, or with `dim` None none at all: flattened samples to vectors (B, D).

    Args:
        shape: of one sample.
        dim: D; None leaves the flattened sample as it is (encoder "identity").
    """

    def __init__(self, *, shape: Sequence[int], dim: int | None) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.dim = inputs if dim is None else dim
        self.layer = None if dim is None else XavierLinear(inputs, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, D)."""
        x = x.flatten(1)
        return x if self.layer is None else self.layer(x)


_KINDS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet18": ResNetEncoder,
    "conv": lambda **options: ConvMaps(pooled=True, **options),
    "mlp": DenseEncoder,
    "linear": LinearEncoder,
    "identity": lambda shape: LinearEncoder(shape=shape, dim=None),
}


def vector_encoder(options: Mapping[str, Any], shape: Sequence[int]) -> nn.Module:
    """The encoder that `kind` names, told the other options; samples of `shape` to vectors (B, dim).

    Raises:
        ValueError: no such kind, or samples that it does not take.
    """
    if options.get("kind") not in _KINDS:
        raise ValueError(f"no encoder is of kind {options.get('kind')!r} (there are: {', '.join(_KINDS)})")
    return _KINDS[options["kind"]](shape=shape, **{key: value for key, value in options.items() if key != "kind"})
