"""Evaluation of classification: accuracy in percent, from integer counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mmablate.data.base import Described, Split, conditions_of
from mmablate.data.batches import Batch, evaluation_batches
from mmablate.data.loading import BatchReader
from mmablate.training import distributed
from mmablate.training.evaluation import WHOLE, Evaluated

Predict = Callable[[Batch], Mapping[str, Tensor]]


def score_accuracy(
    models: Sequence[Predict],
    split: Split | BatchReader,
    batch_size: int,
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    guard: Callable[[int], AbstractContextManager[object]] | None = None,
    by_condition: bool = False,
) -> list[Evaluated | None]:
    """Share of the samples whose most probable class is the true one, in percent, of every model.

    Batches are loaded once for all models. Under torchrun the processes share the batches, and the counts are
    summed.

    Args:
        models: a batch -> column -> logits (B, K), each in eval mode.
        guard: makes the context in which one model's share is computed; where it swallows an error, that model
            drops out and the others go on.
        by_condition: score the samples of each condition apart, too.

    Returns:
        One a model; None for a model that dropped out.
    """
    guard = guard or (lambda index: nullcontext())
    reader = split if isinstance(split, BatchReader) else BatchReader(split)
    described = reader.split if by_condition and isinstance(reader.split, Described) else None
    groups = [value for values in conditions_of(reader.split).values() for value in values] if described else []
    hits: dict[int, dict[str, dict[str, Tensor]]] = {index: defaultdict(dict) for index in range(len(models))}
    sizes = {group: torch.zeros((), dtype=torch.int64, device=device) for group in (WHOLE, *groups)}
    for batch in evaluation_batches(reader, batch_size, device, distributed.share()):
        members = _members(batch, described, groups)
        for group, chosen in members.items():
            sizes[group] = sizes[group] + chosen.sum()
        for index in list(hits):
            own = hits.pop(index)
            with guard(index):
                with torch.no_grad(), precision():
                    for column, logits in models[index](batch).items():
                        right = logits.argmax(1) == batch.labels
                        for group, chosen in members.items():
                            own[column][group] = own[column].get(group, 0) + (right & chosen).sum()
                hits[index] = own
    totals = {group: int(distributed.summed(size)) for group, size in sizes.items()}
    # A process may have had no batch; the first one always has.
    columns = distributed.from_lead({index: list(own) for index, own in hits.items()})
    none = torch.zeros((), dtype=torch.int64, device=device)
    found: list[Evaluated | None] = []
    for index in range(len(models)):
        if index not in hits:
            found.append(None)
            continue
        counts = {c: {g: distributed.summed(hits[index][c].get(g, none)) for g in totals} for c in columns[index]}
        found.append(_evaluated(counts, totals))
    return found


def _members(batch: Batch, described: Described | None, groups: Sequence[str]) -> dict[str, Tensor]:
    """Group -> which samples of the batch are of it."""
    found = {WHOLE: torch.ones_like(batch.labels, dtype=torch.bool)}
    if described is not None and groups:
        conditions = [set(described.describe(index).conditions.values()) for index in batch.indices]
        for group in groups:
            found[group] = torch.tensor([group in own for own in conditions], device=batch.labels.device)
    return found


def _evaluated(counts: Mapping[str, Mapping[str, Tensor]], totals: Mapping[str, int]) -> Evaluated:
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for column, own in counts.items():
        for group, size in totals.items():
            if size:
                scores[group][column] = 100 * int(own[group]) / size
    return Evaluated(scores.pop(WHOLE, {}), dict(scores))  # a pre-training predicts nothing
