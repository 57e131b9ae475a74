"""Factorised evaluation: encoders see each modality once, every subset is fused from the cached features."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mmablate.data.base import Described, SegmentationData, Split, conditions_of, shown_stride
from mmablate.data.batches import Batch, evaluation_batches
from mmablate.data.loading import BatchReader
from mmablate.metrics import confusion_matrix, mean_iou
from mmablate.models import AnymodalSegmentor
from mmablate.recipe import subset_names
from mmablate.training import distributed

Scores = dict[str, float]
Counts = dict[str, Tensor]

WHOLE = ""  # name of the group that every sample belongs to


@dataclass(frozen=True)
class Evaluated:
    """What a model scores on a split.

    Attributes:
        scores: subset name -> mIoU in percent, and "Mean" where there are two subsets or more; of classification
            column -> accuracy in percent.
        conditions: the same on the samples of each condition, e.g. "night"; empty where samples have none.
    """

    scores: Scores
    conditions: dict[str, Scores] = field(default_factory=dict)

    def with_columns(self, other: Evaluated) -> Evaluated:
        """Both side by side."""
        conditions = {name: {**own, **other.conditions.get(name, {})} for name, own in self.conditions.items()}
        return Evaluated({**self.scores, **other.scores}, conditions)


def score(
    models: Sequence[AnymodalSegmentor],
    split: Split | BatchReader,
    data: SegmentationData,
    settings: Mapping[str, object],
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    guard: Callable[[int], AbstractContextManager[object]] | None = None,
    by_condition: bool = False,
) -> list[Evaluated | None]:
    """mIoU in percent of every model on every subset of modalities, and their Mean.

    Batches are loaded once for all models; a missing modality is absent from the fusion. Under torchrun the
    processes share the batches, and the counts are summed, so that the scores are those of one process.

    Args:
        models: already in eval mode.
        settings: `evaluate` of the recipe.
        precision: makes the autocast context of a forward pass.
        guard: makes the context in which one model's share is computed; where it swallows an error, that
            model drops out and the others go on.
        by_condition: score the samples of each condition apart, too.

    Returns:
        One a model; None for a model that dropped out.
    """
    names = subset_names(list(data.modalities))
    wanted = settings["subsets"]
    subsets = names if wanted == "all" else {name: names[name] for name in wanted}  # type: ignore[attr-defined]
    guard = guard or (lambda index: nullcontext())
    reader = split if isinstance(split, BatchReader) else BatchReader(split)
    described = reader.split if by_condition and isinstance(reader.split, Described) else None
    counts: dict[int, dict[str, Counts]] = {index: defaultdict(dict) for index in range(len(models))}
    for batch in evaluation_batches(reader, int(str(settings["batch_size"])), device, distributed.share()):
        groups = _groups(batch, described)
        for index in list(counts):
            own = counts.pop(index)
            with guard(index):
                with torch.no_grad(), precision():
                    for name, guess in _classes(models[index], batch.inputs, subsets, _size(batch)):
                        _count(own, name, guess, batch, groups, data)
                counts[index] = own
    classes = str(settings["classes"])
    groups_of_all = [value for values in conditions_of(reader.split).values() for value in values] if described else []
    return [
        _evaluated(_whole(counts[index], subsets, groups_of_all, data, device), classes) if index in counts else None
        for index in range(len(models))
    ]


def predictions(
    model: AnymodalSegmentor,
    split: Split,
    indices: Sequence[int],
    data: SegmentationData,
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
) -> dict[str, np.ndarray]:
    """The class maps of some samples, for people to look at, from each modality alone and from all together.

    Returns:
        Subset name -> uint8 (n, h, w), every `shown_stride`-th pixel; int16 for more than 255 classes.
    """
    names = subset_names(list(data.modalities))
    shown = {name: some for name, some in names.items() if len(some) in (1, len(data.modalities))}
    stride = shown_stride(split.shape)
    maps: dict[str, list[np.ndarray]] = {name: [] for name in shown}
    for index in indices:  # one by one: an evaluation batch may be all that the device holds
        inputs, _ = split.batch([index])
        tensors = {name: torch.from_numpy(values).to(device) for name, values in inputs.items()}
        with torch.no_grad(), precision():
            for name, guess in _classes(model, tensors, shown, split.shape):
                maps[name].append(guess[0, ::stride, ::stride].cpu().numpy())
    kind = np.uint8 if data.n_classes <= 255 else np.int16
    return {name: np.stack(found).astype(kind) for name, found in maps.items()} if indices else {}


def _groups(batch: Batch, described: Described | None) -> list[tuple[str, ...]]:
    """The conditions of each sample of a batch."""
    if described is None:
        return []
    return [tuple(described.describe(index).conditions.values()) for index in batch.indices]


def _count(
    counts: dict[str, Counts],
    name: str,
    prediction: Tensor,
    batch: Batch,
    groups: Sequence[tuple[str, ...]],
    data: SegmentationData,
) -> None:
    """Adds a batch's confusion to that of all samples, and to that of each condition."""

    def add(group: str, found: Tensor) -> None:
        counts[group][name] = counts[group][name] + found if name in counts[group] else found

    if not any(groups):
        add(WHOLE, confusion_matrix(prediction, batch.labels, data.n_classes, data.ignore_label))
        return
    for i, conditions in enumerate(groups):
        found = confusion_matrix(prediction[i], batch.labels[i], data.n_classes, data.ignore_label)
        for group in (WHOLE, *conditions):
            add(group, found)


def _whole(
    counts: Mapping[str, Counts],
    subsets: Mapping[str, Sequence[str]],
    groups: Sequence[str],
    data: SegmentationData,
    device: torch.device,
) -> dict[str, Counts]:
    """The counts of all processes; each adds up the same matrices in the same order."""
    none = torch.zeros(data.n_classes, data.n_classes, dtype=torch.int64, device=device)
    return {
        group: {name: distributed.summed(counts.get(group, {}).get(name, none)) for name in subsets}
        for group in (WHOLE, *groups)
    }


def _evaluated(counts: Mapping[str, Counts], classes: str) -> Evaluated:
    conditions = {}
    for group, own in counts.items():
        # A condition without a labelled pixel has no score; the whole split is known to have some.
        if group != WHOLE and all(int(found.sum()) > 0 for found in own.values()):
            conditions[group] = _scores(own, classes)
    return Evaluated(_scores(counts[WHOLE], classes), conditions)


def _size(batch: Batch) -> tuple[int, int]:
    return batch.labels.shape[1], batch.labels.shape[2]


def _classes(
    model: AnymodalSegmentor, inputs: Mapping[str, Tensor], subsets: Mapping[str, Sequence[str]], size: tuple[int, int]
) -> Iterator[tuple[str, Tensor]]:
    """The class map (B, H, W) from every subset; the logits of one at a time, which at full size are large."""
    features = model.encode(inputs)
    for name, some in subsets.items():
        yield name, model.decode({m: features[m] for m in some}, size).argmax(1)


def _scores(counts: Mapping[str, Tensor], classes: str) -> Scores:
    scores = {name: mean_iou(count, classes=classes) for name, count in counts.items()}
    if len(scores) > 1:
        scores["Mean"] = math.fsum(scores.values()) / len(scores)
    return scores
