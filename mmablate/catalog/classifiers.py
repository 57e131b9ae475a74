"""Classifiers that ship with mmablate: each sees one modality of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from mmablate.catalog.entries import ModelEntry, Options

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class ClassifierOptions(Options):
    """What every classifier is told."""

    modality: str = Field(min_length=1, description="the modality of the data that the model sees")


class LinearOptions(ClassifierOptions):
    """One linear layer."""


class MlpOptions(ClassifierOptions):
    """Linear layers with ReLU between them."""

    hidden: Widths = Field((64,), description="width of each hidden layer")
    dropout: Rate = Field(0.0, description="rate at which hidden units are dropped in training")


class RavdessImageOptions(ClassifierOptions):
    """Convolutions with max pooling, then linear layers."""

    kernels: Widths = Field((3, 3, 3), description="edge of each convolution's kernel; padding 1")
    widths: Widths = Field((32, 64, 128), description="channels of each convolution")
    hidden: tuple[Width, ...] = Field((1024, 128), description="width of each hidden linear layer")
    pool: tuple[Width, Width] = Field((7, 14), description="rows and columns that the last map is pooled to")

    @model_validator(mode="after")
    def _one_a_convolution(self) -> Self:
        if len(self.kernels) != len(self.widths):
            raise ValueError(
                f"kernels {list(self.kernels)} must have one entry a convolution, as widths {list(self.widths)}"
            )
        return self


class RavdessAudioOptions(RavdessImageOptions):
    """The same with larger kernels."""

    kernels: Widths = Field((7, 5, 5), description="edge of each convolution's kernel; padding 1")


class Resnet3dOptions(ClassifierOptions):
    """3-D ResNet of basic blocks."""

    widths: Widths = Field((64, 128, 256, 512), description="channels of each stage; the stem has the first one's")
    depths: Widths = Field((3, 3, 3, 3), description="residual blocks of each stage")

    @model_validator(mode="after")
    def _one_a_stage(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {list(self.depths)} must have one entry a stage, as widths {list(self.widths)}")
        return self


class Resnet18Options(Resnet3dOptions):
    """ResNet-18."""

    depths: Widths = Field((2, 2, 2, 2), description="residual blocks of each stage")
    stem_padding: int = Field(1, ge=0, description="of the stem's convolution of kernel 7; torchvision's has 3")


_MFH = "modality focusing hypothesis, arXiv:2206.06487"


def _chain(*names: str) -> Callable[[Mapping[str, Any]], tuple[str, ...]]:
    return lambda options: ("input", *names, "logits")


def _ravdess_places(options: Mapping[str, Any]) -> tuple[str, ...]:
    convolutions = [f"conv{i + 1}" for i in range(len(options["widths"]))]
    return ("input", *convolutions, *(f"fc{i + 1}" for i in range(len(options["hidden"]))), "logits")


def _mlp_places(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("input", *(f"hidden{i + 1}" for i in range(len(options["hidden"]))), "logits")


def _resnet_places(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("input", "stem", *(f"layer{i + 1}" for i in range(len(options["widths"]))), "pool", "logits")


def _ravdess_widths(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(_ravdess_places(options)[1:-1], (*options["widths"], *options["hidden"]), strict=True))


def _mlp_widths(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(_mlp_places(options)[1:-1], options["hidden"], strict=True))


def _resnet_widths(options: Mapping[str, Any]) -> dict[str, int]:
    widths = options["widths"]
    return dict(zip(_resnet_places(options)[1:-1], (widths[0], *widths, widths[-1]), strict=True))


CLASSIFIERS = (
    ModelEntry(
        name="linear",
        summary="one linear layer",
        options=LinearOptions,
        target="mmablate.models.classification:linear",
        source=f"{_MFH}: Gaussian data",
        task="classification",
        places=_chain(),
    ),
    ModelEntry(
        name="mlp",
        summary="multilayer perceptron with ReLU",
        options=MlpOptions,
        target="mmablate.models.classification:mlp",
        task="classification",
        places=_mlp_places,
        widths=_mlp_widths,
    ),
    ModelEntry(
        name="ravdess_image",
        summary="three convolutions and three linear layers, kernels 3: the published ImageNet",
        options=RavdessImageOptions,
        target="mmablate.models.classification:ravdess_net",
        source=f"{_MFH}: RAVDESS",
        task="classification",
        places=_ravdess_places,
        widths=_ravdess_widths,
    ),
    ModelEntry(
        name="ravdess_audio",
        summary="three convolutions and three linear layers, kernels 7, 5, 5: the published AudioNet",
        options=RavdessAudioOptions,
        target="mmablate.models.classification:ravdess_net",
        source=f"{_MFH}: RAVDESS",
        task="classification",
        places=_ravdess_places,
        widths=_ravdess_widths,
    ),
    ModelEntry(
        name="resnet18",
        summary="ResNet-18 for spectrograms",
        options=Resnet18Options,
        target="mmablate.models.resnet:resnet18",
        source=f"{_MFH}: VGGSound; arXiv:1512.03385",
        task="classification",
        places=_resnet_places,
        widths=_resnet_widths,
    ),
    ModelEntry(
        name="resnet3d",
        summary="3-D ResNet for clips",
        options=Resnet3dOptions,
        target="mmablate.models.resnet:resnet3d",
        source=f"{_MFH}: VGGSound",
        task="classification",
        places=_resnet_places,
        widths=_resnet_widths,
    ),
)


def classifier_parameters(model: str, options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int | None:
    """Trained parameters of a classifier for samples of this shape; None for a model that is not known here."""
    count = _COUNTS.get(model)
    return None if count is None else count(options, n_classes, shape)


def _dense(sizes: Sequence[int]) -> int:
    return sum(inputs * outputs + outputs for inputs, outputs in pairwise(sizes))


def _linear(options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int:
    return _dense([math.prod(shape), n_classes])


def _mlp(options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int:
    return _dense([math.prod(shape), *options["hidden"], n_classes])


def _ravdess(options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int:
    total, channels = 0, shape[0]
    for width, kernel in zip(options["widths"], options["kernels"], strict=True):
        total += channels * width * kernel * kernel + width
        channels = width
    return total + _dense([channels * math.prod(options["pool"]), *options["hidden"], n_classes])


def _resnet18(options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int:
    return _residual(options, n_classes, stem=shape[0] * 7 * 7, kernel=3 * 3)


def _resnet3d(options: Mapping[str, Any], n_classes: int, shape: Sequence[int]) -> int:
    return _residual(options, n_classes, stem=shape[0] * 3 * 7 * 7, kernel=3 * 3 * 3)


def _residual(options: Mapping[str, Any], n_classes: int, *, stem: int, kernel: int) -> int:
    widths = options["widths"]
    inputs = widths[0]
    total = stem * inputs + 2 * inputs
    for number, (width, depth) in enumerate(zip(widths, options["depths"], strict=True)):
        total += kernel * inputs * width + (2 * depth - 1) * kernel * width * width + 2 * depth * 2 * width
        if number > 0 or inputs != width:
            total += inputs * width + 2 * width
        inputs = width
    return total + _dense([inputs, n_classes])


_COUNTS: dict[str, Callable[[Mapping[str, Any], int, Sequence[int]], int]] = {
    "linear": _linear,
    "mlp": _mlp,
    "ravdess_image": _ravdess,
    "ravdess_audio": _ravdess,
    "resnet18": _resnet18,
    "resnet3d": _resnet3d,
}
