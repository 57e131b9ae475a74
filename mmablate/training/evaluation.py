"""Factorised evaluation: encoders see each modality once, every subset is fused from the cached features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mmablate.data.base import SegmentationData, Split
from mmablate.data.batches import Batch, evaluation_batches
from mmablate.metrics import confusion_matrix, mean_iou
from mmablate.models import AnymodalSegmentor
from mmablate.recipe import subset_names

Scores = dict[str, float]


def score(
    models: Sequence[AnymodalSegmentor],
    split: Split,
    data: SegmentationData,
    settings: Mapping[str, object],
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    guard: Callable[[int], AbstractContextManager[object]] | None = None,
) -> list[Scores | None]:
    """mIoU in percent of every model on every subset of modalities, and their Mean.

    Batches are loaded once for all models; a missing modality is absent from the fusion.

    Args:
        models: already in eval mode.
        settings: `evaluate` of the recipe.
        precision: makes the autocast context of a forward pass.
        guard: makes the context in which one model's share is computed; where it swallows an error, that
            model drops out and the others go on.

    Returns:
        One mapping a model: subset name -> mIoU, and "Mean" where there are two subsets or more; None for a
        model that dropped out.
    """
    names = subset_names(list(data.modalities))
    wanted = settings["subsets"]
    subsets = names if wanted == "all" else {name: names[name] for name in wanted}  # type: ignore[attr-defined]
    guard = guard or (lambda index: nullcontext())
    counts: dict[int, dict[str, Tensor]] = {index: {} for index in range(len(models))}
    for batch in evaluation_batches(split, int(str(settings["batch_size"])), device):
        for index in list(counts):
            own = counts.pop(index)
            with guard(index):
                with torch.no_grad(), precision():
                    logits = _all_subsets(models[index], batch.inputs, subsets, _size(batch))
                for name, values in logits.items():
                    found = confusion_matrix(values.argmax(1), batch.labels, data.n_classes, data.ignore_label)
                    own[name] = own[name] + found if name in own else found
                counts[index] = own
    classes = str(settings["classes"])
    return [_scores(counts[index], classes) if index in counts else None for index in range(len(models))]


def _size(batch: Batch) -> tuple[int, int]:
    return batch.labels.shape[1], batch.labels.shape[2]


def _all_subsets(
    model: AnymodalSegmentor, inputs: Mapping[str, Tensor], subsets: Mapping[str, Sequence[str]], size: tuple[int, int]
) -> dict[str, Tensor]:
    features = model.encode(inputs)
    return {name: model.decode({m: features[m] for m in some}, size) for name, some in subsets.items()}


def _scores(counts: Mapping[str, Tensor], classes: str) -> Scores:
    scores = {name: mean_iou(count, classes=classes) for name, count in counts.items()}
    if len(scores) > 1:
        scores["Mean"] = math.fsum(scores.values()) / len(scores)
    return scores
