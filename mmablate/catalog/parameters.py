"""Numbers of trained parameters of the shipped models, from their options alone (no torch).

A test holds these sums to the modules that `mmablate.models` builds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmablate.catalog.classifiers import classifier_parameters
from mmablate.catalog.models import MIT_WIDTHS
from mmablate.catalog.multimodal_parameters import multimodal_parameters

MIT_DEPTHS = {
    "mit_b0": (2, 2, 2, 2), "mit_b1": (2, 2, 2, 2), "mit_b2": (3, 4, 6, 3), "mit_b3": (3, 4, 18, 3),
    "mit_b4": (3, 8, 27, 3), "mit_b5": (3, 6, 40, 3),
}  # fmt: skip
_PATCHES, _REDUCTIONS = (7, 3, 3, 3), (8, 4, 2, 1)
MOST_DECODER_WIDTH = 4096


def n_parameters(
    model: str,
    options: Mapping[str, Any],
    n_classes: int,
    shape: Sequence[int] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> int | None:
    """Weights and biases of a model; None for a model that this module does not know.

    Args:
        model: entry of the catalogue.
        options: of the entry, with their defaults.
        shape: of one sample of the modality that a classifier sees; None where it is not known, and then neither
            are the classifier's parameters.
        shapes: the same of every modality of the data, for models that see several.
    """
    if shapes is not None and (count := multimodal_parameters(model, options, n_classes, shapes)) is not None:
        return count
    if shape is not None and (count := classifier_parameters(model, options, n_classes, shape)) is not None:
        return count
    if model != "anymodal_segmentor":
        return None
    decoder = int(options["decoder_width"])
    if options["backbone"] in MIT_WIDTHS:
        widths = MIT_WIDTHS[options["backbone"]]
        return _mit(widths, MIT_DEPTHS[options["backbone"]]) + _mit_head(widths, decoder, n_classes)
    widths = tuple(options["widths"])
    depths = options.get("depths") or [1] * len(widths)
    return _conv(int(options["in_channels"]), widths, depths) + _head(widths, decoder, n_classes)


def matching(model: str, options: Mapping[str, Any], target: int, n_classes: int, option: str) -> dict[str, Any] | None:
    """The value of `option` that brings the model closest to `target` parameters, as {option: value}.

    Args:
        option: "decoder_width", or "widths" (of conv), which are scaled together.

    Returns:
        None where no value comes within 2 %, or the model has no such option.
    """
    if option == "widths" and not options.get("widths"):
        return None
    scale = MOST_DECODER_WIDTH
    values: Callable[[int], Any] = int
    if option == "widths":
        given = [int(width) for width in options["widths"]]

        def values(step: int) -> Any:
            return [max(1, round(width * step / max(given))) for width in given]

    def count(step: int) -> int:
        return n_parameters(model, {**options, option: values(step)}, n_classes) or 0

    low, high = 1, scale  # the count rises with the step
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < target else (low, middle)
    best = min((step for step in (low - 1, low) if step >= 1), key=lambda step: abs(count(step) - target))
    return {option: values(best)} if abs(count(best) - target) <= 0.02 * target else None


def _conv(channels: int, widths: Sequence[int], depths: Sequence[int]) -> int:
    total = 0
    for width, depth in zip(widths, depths, strict=True):
        block = 2 * width + 9 * width * width + width
        total += 9 * channels * width + width + depth * block + 2 * width
        channels = width
    return total


def _head(widths: Sequence[int], decoder: int, n_classes: int) -> int:
    return sum(width * decoder + decoder for width in widths) + 2 * decoder + decoder * n_classes + n_classes


def _mit(widths: Sequence[int], depths: Sequence[int]) -> int:
    total, channels = 0, 3
    for width, depth, patch, reduction in zip(widths, depths, _PATCHES, _REDUCTIONS, strict=True):
        embedding = channels * width * patch * patch + width + 2 * width
        attention = 4 * (width * width + width)
        if reduction > 1:
            attention += width * width * reduction * reduction + width + 2 * width
        hidden = 4 * width
        mlp = width * hidden + hidden + 9 * hidden + hidden + hidden * width + width
        total += embedding + depth * (4 * width + attention + mlp) + 2 * width
        channels = width
    return total


def _mit_head(widths: Sequence[int], decoder: int, n_classes: int) -> int:
    projections = sum(width * decoder + decoder for width in widths)
    return projections + len(widths) * decoder * decoder + 2 * decoder + decoder * n_classes + n_classes
