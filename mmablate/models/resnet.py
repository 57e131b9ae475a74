"""Residual networks of the VGGSound experiments: ResNet-18 for spectrograms, a 3-D ResNet for clips.

Source: arXiv:2206.06487 and its code (`vggsound`); blocks as in He et al. 2016, arXiv:1512.03385.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmablate.models.places import PlacedNetwork

Layer = Callable[..., nn.Module]


class FanOutConv2d(nn.Conv2d):
    """A convolution that begins as torchvision's in residual networks do."""

    def reset_parameters(self) -> None:
        """Normal weights of variance 2 / (outputs that a weight takes part in)."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class BasicBlock(nn.Module):
    """ReLU(shortcut(x) + norm(conv(ReLU(norm(conv(x)))))), in two or three dimensions.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution, and of the shortcut.
        conv, norm: layers of the right number of dimensions.

    The shortcut is the identity where shapes allow, otherwise a convolution of kernel 1 with a norm.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, conv: Layer, norm: Layer) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = conv(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride=stride, bias=False), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, ...) -> (B, outputs, ...), every further axis divided by the stride, rounded up."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def resnet18(
    *,
    shape: Sequence[int],
    n_classes: int,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (2, 2, 2, 2),
    stem_padding: int = 1,
) -> PlacedNetwork:
    """ResNet-18 for spectrograms or images; places input, stem, layer1, ..., pool, logits.

    Args:
        shape: (C, H, W) of one sample; published (1, 513, 313).
        n_classes: K; published 100.
        widths: channels of each stage; the stem has the first one's.
        depths: blocks of each stage, at least one.
        stem_padding: of the stem's convolution of kernel 7, stride 2. Published `True`, which counts as 1;
            torchvision's network has 3.

    Raises:
        ValueError: another number of axes, samples smaller than the stem's kernel, or depths and widths of unlike
            length.

    Initial weights as published: the residual stages as torchvision's, stem and logits by torch's own rule. State
    dicts of the released `AudioModel` and of torchvision's ResNet load (the latter where channels agree).
    """
    check_sample(
        "resnet18", shape, ("C", "H", "W"), widths, depths, stem=[edge + 2 * stem_padding - 7 for edge in shape[1:]]
    )
    stem = nn.Sequential(
        nn.Conv2d(shape[0], widths[0], 7, stride=2, padding=stem_padding, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    return _residual(stem, widths, depths, n_classes, FanOutConv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d(1))


def resnet3d(
    *,
    shape: Sequence[int],
    n_classes: int,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (3, 3, 3, 3),
) -> PlacedNetwork:
    """3-D ResNet for clips; places input, stem, layer1, ..., pool, logits.

    Args:
        shape: (C, T, H, W) of one sample, channels first; published (3, 32, 256, 256). The released network takes
            frames first, and turns them within.
        n_classes: K; published 100.
        widths: channels of each stage; the stem has the first one's.
        depths: blocks of each stage, at least one; published three.

    Raises:
        ValueError: another number of axes, or depths and widths of unlike length.

    Initial weights by torch's own rule, as published. State dicts of the released `VideoModel` load.
    """
    check_sample("resnet3d", shape, ("C", "T", "H", "W"), widths, depths, stem=[edge - 1 for edge in shape[1:]])
    stem = nn.Sequential(
        nn.Conv3d(shape[0], widths[0], (3, 7, 7), stride=2, padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(widths[0]),
        nn.ReLU(),
        nn.MaxPool3d(3, stride=2, padding=1),
    )
    return _residual(stem, widths, depths, n_classes, nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d(1))


def _residual(
    stem: nn.Module,
    widths: Sequence[int],
    depths: Sequence[int],
    n_classes: int,
    conv: Layer,
    norm: Layer,
    pool: nn.Module,
) -> PlacedNetwork:
    stages = {"stem": stem, **residual_stages(widths, depths, conv, norm)}
    stages["pool"] = nn.Sequential(pool, nn.Flatten())
    stages["logits"] = nn.Linear(widths[-1], n_classes)
    return PlacedNetwork(stages, own_names)


def residual_stages(widths: Sequence[int], depths: Sequence[int], conv: Layer, norm: Layer) -> dict[str, nn.Module]:
    """layer1, layer2, ...: blocks behind a stem of widths[0] channels; every stage but the first halves its input.

    Args:
        widths, depths: channels and blocks of each stage.
        conv, norm: layers of the right number of dimensions.
    """
    stages: dict[str, nn.Module] = {}
    block = partial(BasicBlock, conv=conv, norm=norm)
    inputs = widths[0]
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        first = block(inputs, width, 1 if number == 1 else 2)
        stages[f"layer{number}"] = nn.Sequential(first, *(block(width, width, 1) for _ in range(depth - 1)))
        inputs = width
    return stages


def check_sample(
    model: str,
    shape: Sequence[int],
    axes: Sequence[str],
    widths: Sequence[int],
    depths: Sequence[int],
    stem: Sequence[int],
) -> None:
    """Whether a residual network can be built for such samples.

    Args:
        model: its name, for messages.
        shape, axes: of one sample, and what its axes are called.
        widths, depths: channels and blocks of each stage.
        stem: what is left of each edge behind the stem's kernel, which must not be negative.

    Raises:
        ValueError: says what does not fit.
    """
    if len(shape) != len(axes):
        raise ValueError(f"{model} takes samples ({', '.join(axes)}), got {tuple(shape)}")
    if min(stem) < 0:
        raise ValueError(f"samples of {tuple(shape)} are smaller than the kernel of {model}'s stem")
    if not widths or len(widths) != len(depths):
        raise ValueError(f"depths {list(depths)} must have one entry a stage, as widths {list(widths)}")
    if min(depths) < 1:
        raise ValueError(f"depths must be at least 1, got {list(depths)}")


# Of torchvision's ResNet, of the released AudioModel, and of the released VideoModel.
_STEM_AND_HEAD = {
    "conv1": "stages.stem.0", "bn1": "stages.stem.1", "fc": "stages.logits",
    "inconv.0": "stages.stem.0", "inconv.1": "stages.stem.1", "fc_avg": "stages.logits", "proj": "stages.logits",
}  # fmt: skip
_IN_BLOCK = {"conv.0": "conv1", "conv.1": "bn1", "conv.3": "conv2", "conv.4": "bn2"}


def own_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights under the names of torchvision or of the released networks -> under ours; what is ours stays."""
    return {_own(name): value for name, value in weights.items()}


def _own(name: str) -> str:
    layer, _, rest = name.rpartition(".")
    if layer in _STEM_AND_HEAD:
        return f"{_STEM_AND_HEAD[layer]}.{rest}"
    match = re.fullmatch(r"(layer\d+\.\d+)\.(.+)", layer)
    return f"stages.{match[1]}.{_IN_BLOCK.get(match[2], match[2])}.{rest}" if match else name
