"""How much arithmetic one forward pass takes."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmablate.data.base import Split


def forward_flops(model: nn.Module, split: Split, device: torch.device) -> float | None:
    """Floating point operations of one forward pass of one sample with all modalities.

    Multiplications and additions of matrix products, convolutions and attention are counted apart (a
    multiply-add is two); element-wise work is not. The count depends on shapes alone, so it is taken on zeros.

    Args:
        model: whose call takes modality -> (1, C_m, H, W); run in eval mode and left in its own, its state as it was.
        split: whose first sample gives the shapes.
        device: of the model.

    Returns:
        None where it cannot be counted.

    Source: `torch.utils.flop_counter.FlopCounterMode`.
    """
    training = model.training
    model.eval()  # in training mode a batch norm would learn from the zeros
    try:
        inputs, _ = split.batch([0])
        zeros = {name: torch.zeros(values.shape, device=device) for name, values in inputs.items()}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(zeros)
        return float(counter.get_total_flops())
    except Exception:  # an operator without a formula, a device that is full now: the score stands without a count
        return None
    finally:
        model.train(training)
