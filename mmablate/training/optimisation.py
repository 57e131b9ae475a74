"""Optimisers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def build_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimiser of `train`; biases and norm scales (1-D parameters) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return optimizer_over(
        [p for p in trained if is_decayed(p.ndim)], [p for p in trained if not is_decayed(p.ndim)], settings
    )


def scaled_groups(model: nn.Module, settings: Mapping[str, Any]) -> tuple[torch.optim.Optimizer, tuple[float, ...]]:
    """The optimiser of `train`, and the factor on the learning rate of each of its parameter groups.

    Encoders of a model that fuses modalities have groups of their own where `encoder_lr` is not 1.
    """
    factor = float(settings.get("encoder_lr", 1))
    if factor == 1:
        optimizer = build_optimizer(model, settings)
        return optimizer, (1.0,) * len(optimizer.param_groups)
    parts: Mapping[str, Sequence[Tensor]] = model.parts()  # type: ignore[operator]
    encoders = {id(p) for name, own in parts.items() if name.startswith("encoder.") for p in own}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups, factors = [], []
    for inside in (False, True):
        for decayed in (True, False):
            some = [p for p in trained if (id(p) in encoders) == inside and is_decayed(p.ndim) == decayed]
            if some:
                groups.append({"params": some, "weight_decay": settings["weight_decay"] if decayed else 0.0})
                factors.append(factor if inside else 1.0)
    return _optimizer(groups, settings), tuple(factors)


def is_decayed(ndim: int) -> bool:
    """Whether weight decay acts on a run's own parameter of that many dimensions."""
    return ndim > 1


def optimizer_over(
    decayed: Sequence[Tensor], plain: Sequence[Tensor], settings: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """The optimiser of `train` over these parameters, of which the plain ones are not decayed."""
    groups: list[dict[str, Any]] = [
        {"params": list(decayed), "weight_decay": settings["weight_decay"]},
        {"params": list(plain), "weight_decay": 0.0},
    ]
    return _optimizer(groups, settings)


def _optimizer(groups: list[dict[str, Any]], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    # One fused kernel a step, on CPU as on CUDA (torch 2.4 and later).
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=settings["lr"], momentum=settings["momentum"], fused=True)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    amsgrad = bool(settings.get("amsgrad", False))
    return kinds[settings["optimizer"]](groups, lr=settings["lr"], fused=True, amsgrad=amsgrad)


def gradient_scale(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor:
    """By how much the step that was just taken has changed a weight, for each unit of its gradient.

    The learning rate for sgd; for adam and adamw η(1 − β1) / ((1 − β1^t)(√v̂ + ε)), with the second moment v̂ held fixed.

    Args:
        parameter: of the optimiser, after a step.

    Returns:
        A scalar, or a tensor of the parameter's shape.
    """
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    rate = torch.as_tensor(float(group["lr"]), device=parameter.device)
    state = optimizer.state.get(parameter, {})
    if "exp_avg_sq" not in state:
        return rate
    first, second = group["betas"]
    count = float(state["step"])
    moment = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    divisor = (moment / (1 - second**count)).sqrt() + group["eps"]
    return rate * (1 - first) / (1 - first**count) / divisor


def learning_rate(step: int, total: int, settings: Mapping[str, Any]) -> float:
    """Learning rate of optimiser step 0 ... total-1.

    Linear warm-up over `warmup` of all steps, from `warmup_start` of the peak (None: its first step above zero,
    as if step -1 had been at zero); then constant, half a cosine to zero, poly (1 - t)^0.9 with t the share of the
    steps after warm-up, or step: a tenth from t = `step_at` on (1/2: torch's StepLR with its size half of the epochs).
    """
    peak: float = settings["lr"]
    warm = int(settings["warmup"] * total)
    start = settings["warmup_start"]
    if step < warm and start is not None:
        return peak * float(start + (1 - start) * step / warm)
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    t = (step - warm) / max(1, total - warm)
    if settings["schedule"] == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * t))
    if settings["schedule"] == "poly":
        return float(peak * (1 - t) ** 0.9)
    if settings["schedule"] == "step":
        return peak if t < settings.get("step_at", 0.5) else peak / 10
    return peak
