"""How much arithmetic one forward pass takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmablate.data.base import Split
from mmablate.data.batches import Batch
from mmablate.models.volumes import IncompleteSegmentor


def forward_flops(
    model: nn.Module,
    split: Split,
    device: torch.device,
    inputs_of: Callable[[Batch], Any] = lambda batch: dict(batch.inputs),
) -> float | None:
    """Floating point operations of one forward pass of one sample with all modalities that the model sees.

    Multiplications and additions of matrix products, convolutions and attention are counted apart (a
    multiply-add is two); element-wise work is not. The count depends on shapes alone, so it is taken on zeros.

    Args:
        model: run in eval mode and left in its own, its state as it was.
        split: whose first sample gives the shapes.
        device: of the model.
        inputs_of: what the model is called with, of a batch; modality -> (1, C_m, H, W) by default.

    Returns:
        None where it cannot be counted.

    Source: `torch.utils.flop_counter.FlopCounterMode`.
    """
    training = model.training
    model.eval()  # in training mode a batch norm would learn from the zeros
    try:
        inputs, labels = split.batch([0])
        zeros = {name: torch.zeros(values.shape, device=device) for name, values in inputs.items()}
        batch = Batch(zeros, torch.zeros(labels.shape, dtype=torch.int64, device=device), (0,))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(inputs_of(batch))
        return float(counter.get_total_flops())
    except Exception:  # an operator without a formula, a device that is full now: the score stands without a count
        return None
    finally:
        model.train(training)


def volume_flops(model: IncompleteSegmentor, size: Sequence[int], device: torch.device) -> float | None:
    """Floating point operations of segmenting one window of a scan with all modalities; counted as `forward_flops`.

    Args:
        model: on the device; left as it is.
        size: edges (H, W, Z) of the window, in voxels.

    Returns:
        None where it cannot be counted.
    """
    try:
        zeros = {name: torch.zeros((1, 1, *size), device=device) for name in model.modalities}
        present = torch.ones((1, len(model.modalities)), dtype=torch.bool)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.segment(model.encode(zeros, present), present, size)
        return float(counter.get_total_flops())
    except Exception:  # as above
        return None
