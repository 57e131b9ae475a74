"""Builders of the catalogue's models of several modalities, from flat arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from mmablate.models.fusion.classifier import MultimodalClassifier
from mmablate.models.fusion.contrastive import ContrastiveEncoders
from mmablate.models.fusion.encoders import ConvMaps, vector_encoder
from mmablate.models.fusion.maps import map_fusion
from mmablate.models.fusion.vectors import vector_fusion

Shapes = Mapping[str, Sequence[int]]
Encoder = Mapping[str, Any]  # kind, and its options

RESNET: Encoder = MappingProxyType({"kind": "resnet18"})
MOST_HIDDEN = 2**16
TOLERANCE = 0.02


def fusion_classifier(
    *,
    n_classes: int,
    shapes: Shapes,
    modalities: Sequence[str] | None = None,
    encoder: Encoder = RESNET,
    encoders: Mapping[str, Encoder] | None = None,
    fusion: str = "concat",
    unimodal: str = "principled",
    hidden: int | None = None,
    conditions: str | None = None,
    match: Mapping[str, Any] | None = None,
    experts: int | None = None,
) -> MultimodalClassifier:
    """A classifier that fuses vectors.

    Args:
        n_classes: K.
        shapes: modality -> shape of one sample.
        modalities: those that the model sees, in the order in which they are fused; None for all of `shapes`.
        encoder: kind and options of every modality's encoder, see `vector_encoder`.
        encoders: modality -> kind and options of its own in place of those.
        fusion, unimodal, hidden, conditions: see `vector_fusion`.
        match: options (fusion, hidden) under which the same model has the number of parameters that this one is to
            have: unless it has, within 2 %, its `hidden` is solved. Experts do not count.
        experts: width of the experts; None for none.

    Raises:
        ValueError: options that do not fit the data or each other, or a number of parameters that no hidden width
            reaches.
    """
    seen = _seen(shapes, modalities, encoders or {})
    nets = _encoders(seen, encoder, encoders or {})
    dims = {name: int(net.dim) for name, net in nets.items()}  # type: ignore[arg-type]

    def make(name: str, width: int | None) -> nn.Module:
        return vector_fusion(name, dims, n_classes, hidden=width, unimodal=unimodal, conditions=conditions)

    if match is not None:
        shared = sum(map(n_parameters, nets.values()))
        count = _counter(lambda width: make(fusion, width), shared)
        other = _given(match, "fusion", fusion)
        target = _counter(lambda width: make(other, width), shared)(_given(match, "hidden", hidden))
        if hidden is not None or not _agree(count(None), target):
            hidden = matched_width(count, target, f"fusion {fusion}")
    made = vector_fusion(fusion, dims, n_classes, hidden=hidden, unimodal=unimodal, conditions=conditions)
    return MultimodalClassifier(nets, made, n_classes, experts)


def map_fusion_classifier(
    *,
    n_classes: int,
    shapes: Shapes,
    modalities: Sequence[str] | None = None,
    fusion: str = "concat",
    downsampling: str = "max",
    widths: Sequence[int] = (16, 32, 64),
    norm: str = "batch",
    hidden: int = 192,
    match: Mapping[str, Any] | None = None,
    experts: int | None = None,
) -> MultimodalClassifier:
    """A classifier that fuses feature maps.

    Args:
        n_classes: K.
        shapes: modality -> (C, H, W) of one sample.
        modalities: those that the model sees, in the order in which they are fused; None for all of `shapes`.
        fusion: see `map_fusion`.
        downsampling, widths, norm: of every modality's encoder, see `ConvMaps`.
        hidden: channels of the embedder's convolution and width of its hidden layer.
        match: options (fusion, downsampling, widths, norm, hidden) under which the same model has the number of
            parameters that this one is to have: `hidden` is solved so that it comes closest. Experts do not count.
        experts: width of the experts; None for none.

    Raises:
        ValueError: as `fusion_classifier`; also maps of unlike shapes where they are joined, and maps that are not
            square for matmul.
    """
    seen = _seen(shapes, modalities, {})
    own = {"fusion": fusion, "downsampling": downsampling, "widths": tuple(widths), "norm": norm}

    def make(options: Mapping[str, Any], width: int, extra: int | None = None) -> MultimodalClassifier:
        settings = {key: options[key] for key in ("widths", "downsampling", "norm")}
        nets = {name: ConvMaps(shape=shape, **settings) for name, shape in seen.items()}
        maps = {name: net.map_shape for name, net in nets.items()}
        joined = map_fusion(options["fusion"], maps, n_classes, hidden=width, norm=options["norm"])
        return MultimodalClassifier(nets, joined, n_classes, extra)

    if match is not None:
        other = {key: _given(match, key, value) for key, value in own.items()}
        target = _counter(lambda width: make(other, width))(_given(match, "hidden", hidden))
        hidden = matched_width(_counter(lambda width: make(own, width)), target, f"fusion {fusion}")
    return make(own, hidden, experts)


def contrastive_encoders(
    *,
    shapes: Shapes,
    n_classes: int | None = None,
    modalities: Sequence[str] | None = None,
    encoder: Encoder = RESNET,
    encoders: Mapping[str, Encoder] | None = None,
    dim: int = 128,
) -> ContrastiveEncoders:
    """Encoders with projections to a common space.

    Args:
        shapes, modalities, encoder, encoders: as `fusion_classifier`. Encoders of kind conv fit both classifiers.
        n_classes: not looked at; every model is told.
        dim: of the common space.

    Raises:
        ValueError: fewer than two modalities, or options that do not fit the data.
    """
    seen = _seen(shapes, modalities, encoders or {})
    return ContrastiveEncoders(_encoders(seen, encoder, encoders or {}), dim)


def n_parameters(module: nn.Module) -> int:
    """Weights and biases of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def matched_width(count: Callable[[Any], int], target: int, told: str) -> int:
    """The hidden width that brings a model closest to `target` parameters; the smaller one of two as close.

    Args:
        count: hidden width -> parameters; rises with it.
        target: parameters to reach.
        told: what the model is, for the message.

    Raises:
        ValueError: no width comes within 2 %.
    """
    low, high = 1, MOST_HIDDEN
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < target else (low, middle)
    best = min((width for width in (low - 1, low) if width >= 1), key=lambda width: abs(count(width) - target))
    if not _agree(count(best), target):
        raise ValueError(
            f"match: no hidden width brings {told} within 2 % of {target} parameters "
            f"(the nearest: hidden {best} with {count(best)})"
        )
    return best


def _agree(count: int, target: int) -> bool:
    return abs(count - target) <= TOLERANCE * target


def _counter(make: Callable[[Any], nn.Module], shared: int = 0) -> Callable[[Any], int]:
    """Hidden width -> parameters of what `make` builds of it, without memory, and those of what all share."""

    def count(width: Any) -> int:
        with torch.device("meta"):
            return shared + n_parameters(make(width))

    return count


def _given(options: Mapping[str, Any], key: str, default: Any) -> Any:
    value = options.get(key)
    return default if value is None else value


def _seen(shapes: Shapes, modalities: Sequence[str] | None, own: Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """The shapes of what the model sees, in order."""
    names = list(shapes) if modalities is None else list(modalities)
    there = ", ".join(shapes)
    if len(set(names)) < len(names):
        raise ValueError(f"modalities must name each once, got {', '.join(names)}")
    for name in names:
        if name not in shapes:
            raise ValueError(f"modalities: the data have no {name!r} (there are: {there})")
    for name in own:
        if name not in names:
            raise ValueError(f"encoders: the model sees no {name!r} (it sees: {', '.join(names)})")
    return {name: shapes[name] for name in names}


def _encoders(seen: Shapes, encoder: Encoder, own: Mapping[str, Encoder]) -> dict[str, nn.Module]:
    """Modality -> encoder; a fault names the modality."""
    made = {}
    for name, shape in seen.items():
        try:
            made[name] = vector_encoder(own.get(name, encoder), shape)
        except ValueError as error:
            raise ValueError(f"modality {name}: {error}") from error
    return made
