"""What the encoders of a model that fuses modalities make of a whole split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmablate.data.batches import evaluation_batches
from mmablate.data.loading import BatchReader


@dataclass(frozen=True)
class Seen:
    """A split as a model in eval mode sees it, on the CPU, in the order of the split.

    Attributes:
        features: modality -> pooled features, float32 (N, D_m).
        logits: fused, float32 (N, K).
        unimodal: modality -> logits (N, K) of the model's own output for it; {} for a model of one modality.
        labels: int64 (N,).
    """

    features: Mapping[str, Tensor]
    logits: Tensor
    unimodal: Mapping[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@torch.no_grad()
def see(
    model: nn.Module,
    method: Any,
    reader: BatchReader,
    batch_size: int,
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
) -> Seen:
    """Runs the model over a split, the whole of it in every process. The caller puts it into eval mode."""
    features: dict[str, list[Tensor]] = {}
    unimodal: dict[str, list[Tensor]] = {}
    logits, labels = [], []
    for batch in evaluation_batches(reader, batch_size, device):
        with precision():
            out = model(method.inputs(batch, ()), unimodal=len(method.modalities) > 1)
        logits.append(out.logits.float().cpu())
        labels.append(batch.labels.cpu())
        for found, values in ((features, out.features), (unimodal, out.unimodal)):
            for name, value in values.items():
                found.setdefault(name, []).append(value.float().cpu())
    return Seen(
        {name: torch.cat(some) for name, some in features.items()},
        torch.cat(logits),
        {name: torch.cat(some) for name, some in unimodal.items()},
        torch.cat(labels),
    )
