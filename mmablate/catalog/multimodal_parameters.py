"""Numbers of trained parameters of the models of several modalities, from their options alone (no torch).

A test holds these sums to the modules that `mmablate.models.fusion` builds, and with them the hidden widths that an
option `match` comes to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmablate.catalog.classifiers import classifier_parameters

Shapes = Mapping[str, Sequence[int]]
Counter = Callable[[int | None], int]  # hidden width -> parameters

MOST_HIDDEN = 2**16
TOLERANCE = 0.02


def multimodal_parameters(
    model: str, options: Mapping[str, Any], n_classes: int, shapes: Shapes, *, experts: int | None = None
) -> int | None:
    """Weights and biases of a model of several modalities.

    Args:
        model: entry of the catalogue.
        options: of the entry, with their defaults, in the form of JSON.
        n_classes: K.
        shapes: modality of the data -> shape of one sample.
        experts: width of the experts; None for none.

    Returns:
        None for a model that is not known here, for options that do not fit the shapes, and where no hidden width
        brings the model to the number of parameters that `match` asks for.
    """
    if model not in ("fusion_classifier", "map_fusion_classifier", "contrastive_encoders"):
        return None
    names = options["modalities"] or list(shapes)
    if any(name not in shapes for name in names):
        return None
    seen = {name: shapes[name] for name in names}
    if model == "contrastive_encoders":
        dims, encoders = _encoders(options, seen)
        return encoders + sum(dims.values()) * int(options["dim"]) + 1
    make = _of_vectors if model == "fusion_classifier" else _of_maps
    dims, count = make(options, seen, n_classes)
    hidden = options["hidden"]
    if options["match"] is not None:
        other = {key: value for key, value in options["match"].items() if value is not None}
        _, wanted = make({**options, **other}, seen, n_classes)
        target = wanted(other.get("hidden", hidden))
        if hidden is not None or not _agree(count(None), target):
            hidden = _matched(count, target)
            if hidden is None:
                return None
    own = 0 if experts is None else sum(_dense([dim, experts, n_classes]) for dim in dims.values())
    return count(hidden) + own


def _matched(count: Counter, target: int) -> int | None:
    """The hidden width that comes closest to the target, the smaller of two; None where none is within 2 %."""
    low, high = 1, MOST_HIDDEN
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < target else (low, middle)
    best = min((width for width in (low - 1, low) if width >= 1), key=lambda width: abs(count(width) - target))
    return best if _agree(count(best), target) else None


def _agree(count: int, target: int) -> bool:
    return abs(count - target) <= TOLERANCE * target


def _of_vectors(options: Mapping[str, Any], seen: Shapes, n_classes: int) -> tuple[dict[str, int], Counter]:
    """Modality -> width of its features, and the counter of the whole model."""
    dims, encoders = _encoders(options, seen)
    first = options["conditions"] or next(iter(dims))
    x, y = dims[first], next((dim for name, dim in dims.items() if name != first), 0)
    fusion, k = options["fusion"], n_classes
    own = sum(_dense([dim, k]) for dim in dims.values()) if options["unimodal"] == "principled" else 0

    def count(hidden: int | None) -> int:
        between = [] if hidden is None else [hidden]
        width = y if hidden is None else hidden
        if fusion == "concat":
            return encoders + _dense([sum(dims.values()), *between, k])
        if fusion in ("sum", "late"):
            return encoders + sum(_dense([dim, *between, k]) for dim in dims.values())
        if fusion == "gated":
            inner = _dense([x, width]) + _dense([y, width])
        elif fusion == "film":
            inner = _dense([x, 2 * width]) + (0 if hidden is None else _dense([y, width]))
        else:
            inner = _dense([x * y, width])
        return encoders + own + inner + _dense([width, k])

    return dims, count


def _of_maps(options: Mapping[str, Any], seen: Shapes, n_classes: int) -> tuple[dict[str, int], Counter]:
    """As `_of_vectors`."""
    encoders = sum(_conv(options, shape) for shape in seen.values())
    channels = options["widths"][-1]
    inputs = channels * len(seen) if options["fusion"] == "concat" else channels

    def count(hidden: int | None) -> int:
        width = int(hidden or 0)
        embedder = _block(inputs, width, norm=options["norm"], downsampling=None) + _dense([width, width, n_classes])
        if options["fusion"] == "late":
            return encoders + len(seen) * embedder
        return encoders + embedder + len(seen) * _dense([channels, n_classes])

    return dict.fromkeys(seen, channels), count


def _encoders(options: Mapping[str, Any], seen: Shapes) -> tuple[dict[str, int], int]:
    """Modality -> width of its features, and the parameters of all encoders."""
    dims, total = {}, 0
    for name, shape in seen.items():
        own = options["encoders"].get(name, options["encoder"])
        kind = own["kind"]
        if kind == "resnet18":
            dims[name] = own["widths"][-1]
            total += classifier_parameters("resnet18", own, 0, shape) or 0  # no classes: no last layer
        elif kind == "conv":
            dims[name] = own["widths"][-1]
            total += _conv(own, shape)
        else:
            layers = {"mlp": own.get("hidden"), "linear": [own.get("dim")], "identity": []}[kind]
            sizes = [math.prod(shape), *layers]
            dims[name] = sizes[-1]
            total += _dense(sizes)
    return dims, total


def _conv(options: Mapping[str, Any], shape: Sequence[int]) -> int:
    kinds = {key: options[key] for key in ("norm", "downsampling")}
    return sum(_block(i, o, **kinds) for i, o in pairwise([shape[0], *options["widths"]]))


def _block(inputs: int, outputs: int, *, norm: str, downsampling: str | None) -> int:
    behind = 2 * outputs if norm == "batch" else outputs  # scale and shift, or the convolution's bias
    strided = 9 * outputs * outputs + outputs if downsampling == "strided" else 0
    return 9 * inputs * outputs + behind + strided


def _dense(sizes: Sequence[int]) -> int:
    return sum(inputs * outputs + outputs for inputs, outputs in pairwise(sizes))
