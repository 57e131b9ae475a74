"""Classifiers of vectors and of small images: linear, a multilayer perceptron, and the two networks of RAVDESS.

Each sees one modality, gives logits (B, K), and has places whose channels Algorithm 1 can look at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mmablate.models.places import PlacedNetwork


def linear(*, shape: Sequence[int], n_classes: int) -> PlacedNetwork:
    """One linear layer; places input and logits.

    Args:
        shape: of one sample; more than one axis is flattened.
        n_classes: K.

    Source: the Gaussian experiments of the modality focusing hypothesis, arXiv:2206.06487.
    """
    return PlacedNetwork({"logits": _last(math.prod(shape), n_classes, flat=len(shape) == 1)})


def mlp(*, shape: Sequence[int], n_classes: int, hidden: Sequence[int] = (64,), dropout: float = 0.0) -> PlacedNetwork:
    """Linear layers with ReLU between them; places input, hidden1, hidden2, ..., logits.

    A hidden place is behind its ReLU and dropout.

    Args:
        shape: of one sample; more than one axis is flattened.
        n_classes: K.
        hidden: width of each hidden layer, at least one.
        dropout: rate at which hidden units are dropped in training.

    Raises:
        ValueError: no hidden layer (`linear` is that network).
    """
    if not hidden:
        raise ValueError("hidden must name at least one width")
    stages: dict[str, nn.Module] = {}
    width = math.prod(shape)
    for number, outputs in enumerate(hidden, start=1):
        parts: list[nn.Module] = [nn.Flatten(), nn.Linear(width, outputs), nn.ReLU()]
        stages[f"hidden{number}"] = nn.Sequential(*parts, *([nn.Dropout(dropout)] if dropout else []))
        width = outputs
    stages["logits"] = nn.Linear(width, n_classes)
    return PlacedNetwork(stages)


def ravdess_net(
    *,
    shape: Sequence[int],
    n_classes: int,
    kernels: Sequence[int] = (3, 3, 3),
    widths: Sequence[int] = (32, 64, 128),
    hidden: Sequence[int] = (1024, 128),
    pool: Sequence[int] = (7, 14),
) -> PlacedNetwork:
    """Convolutions with max pooling, then linear layers: the ImageNet and AudioNet of the RAVDESS experiments.

    Places: input; conv1, conv2, ..., each behind ReLU and pooling; fc1, fc2, ..., each behind ReLU; logits. With
    the published widths these are 0 to 6 of the released code: input, conv1, conv2, conv3, fc1, fc2 (its default),
    logits.

    Args:
        shape: (C, H, W) of one sample; published (3, 256, 512) for images, (1, 40, 256) for sound.
        n_classes: K; published 8.
        kernels: edge of each convolution's kernel, all with padding 1; published (3, 3, 3) and (7, 5, 5).
        widths: channels of each convolution.
        hidden: width of each hidden linear layer.
        pool: rows and columns that the last convolution's map is pooled to; the others are halved.

    Raises:
        ValueError: another number of axes, kernels that are not one a convolution, no convolution, or a sample that
            a kernel is larger than.

    Its state dict, and that of the released classes, loads: `own_names` knows conv1, conv2, conv3, fc1, fc2, fc3.

    Source: arXiv:2206.06487 and its code (`ravdess/utils/model.py`): no batch norm, no dropout, torch's own
    initialisation.
    """
    _check_axes("ravdess_net", shape, ("C", "H", "W"))
    if not widths or len(kernels) != len(widths):
        raise ValueError(f"kernels {list(kernels)} must have one entry a convolution, as widths {list(widths)}")
    stages: dict[str, nn.Module] = {}
    channels, *size = shape
    for number, (width, kernel) in enumerate(zip(widths, kernels, strict=True), start=1):
        size = [edge + 3 - kernel for edge in size]
        last = number == len(widths)
        if min(size) < (1 if last else 2):
            raise ValueError(f"samples of {tuple(shape)} are too small for the kernels {list(kernels)}")
        pooling: nn.Module = nn.AdaptiveMaxPool2d((pool[0], pool[1])) if last else nn.MaxPool2d(2)
        stages[f"conv{number}"] = nn.Sequential(nn.Conv2d(channels, width, kernel, padding=1), nn.ReLU(), pooling)
        size = [edge // 2 for edge in size]
        channels = width
    inputs = channels * pool[0] * pool[1]
    for number, width in enumerate(hidden, start=1):
        stages[f"fc{number}"] = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU())
        inputs = width
    stages["logits"] = _last(inputs, n_classes, flat=bool(hidden))
    return PlacedNetwork(stages, _RavdessNames(len(hidden)))


def _last(inputs: int, n_classes: int, *, flat: bool) -> nn.Module:
    layer = nn.Linear(inputs, n_classes)
    return layer if flat else nn.Sequential(nn.Flatten(), layer)


def _check_axes(model: str, shape: Sequence[int], axes: Sequence[str]) -> None:
    if len(shape) != len(axes):
        raise ValueError(f"{model} takes samples ({', '.join(axes)}), got {tuple(shape)}")


class _RavdessNames:
    """From the released names (conv1.weight, fc1.weight, ...) to ours; what is ours already stays.

    Args:
        n_hidden: number of hidden linear layers; the next one gives the logits.
    """

    def __init__(self, n_hidden: int) -> None:
        self.n_hidden = n_hidden

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {self._own(name): value for name, value in weights.items()}

    def _own(self, name: str) -> str:
        match = re.fullmatch(r"(conv|fc)(\d+)\.(weight|bias)", name)
        if match is None:
            return name
        kind, number, rest = match[1], int(match[2]), match[3]
        if kind == "conv":
            return f"stages.conv{number}.0.{rest}"
        if number == self.n_hidden + 1:
            return f"stages.logits.{'' if self.n_hidden else '1.'}{rest}"
        return f"stages.fc{number}.1.{rest}"
