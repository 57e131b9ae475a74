"""Factorised evaluation: encoders see each modality once, every subset is fused from the cached features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from mmablate.data.base import SegmentationData, Split
from mmablate.data.batches import evaluation_batches
from mmablate.metrics import confusion_matrix, mean_iou
from mmablate.models import AnymodalSegmentor
from mmablate.recipe import subset_names

Scores = dict[str, float]


@torch.no_grad()
def score(
    models: Sequence[AnymodalSegmentor],
    split: Split,
    data: SegmentationData,
    settings: Mapping[str, object],
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
) -> list[Scores]:
    """mIoU in percent of every model on every subset of modalities, and their Mean.

    Batches are loaded once for all models; a missing modality is absent from the fusion.

    Args:
        models: already in eval mode.
        settings: `evaluate` of the recipe.
        precision: makes the autocast context of a forward pass.

    Returns:
        One mapping a model: subset name -> mIoU, and "Mean" where there are two subsets or more.
    """
    names = subset_names(list(data.modalities))
    wanted = settings["subsets"]
    subsets = names if wanted == "all" else {name: names[name] for name in wanted}  # type: ignore[attr-defined]
    size = (data.n_classes, data.n_classes)
    counts = [{name: torch.zeros(size, dtype=torch.int64, device=device) for name in subsets} for _ in models]
    for batch in evaluation_batches(split, int(str(settings["batch_size"])), device):
        for model, count in zip(models, counts, strict=True):
            with precision():
                logits = _all_subsets(model, batch.inputs, subsets, (batch.labels.shape[1], batch.labels.shape[2]))
            for name, values in logits.items():
                count[name] += confusion_matrix(values.argmax(1), batch.labels, data.n_classes, data.ignore_label)
    return [_scores(count, str(settings["classes"])) for count in counts]


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
