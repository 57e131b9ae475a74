"""One optimiser for the weights of a stack, and its state as each member's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmablate.training.optimisation import is_decayed, optimizer_over
from mmablate.training.trainee import Trainee


class CannotStack(Exception):
    """These runs cannot take this step as a stack; nothing has been changed."""


class StackedUpdate:
    """Moves the stacked weights as each member's own optimiser would.

    Where the learning rates differ, the optimiser moves zeros at a rate of one, and each row of what it makes of
    them is scaled by its run's rate: all optimisers here are linear in the rate, given their state.

    Args:
        members: the runs, in the order of the rows; their optimisers' state is taken over.
        trained: name -> leaf (n, ...).

    Raises:
        CannotStack: the members' optimisers have unlike states.
    """

    def __init__(self, members: Sequence[Trainee], trained: Mapping[str, Tensor]) -> None:
        self.members, self.trained = members, trained
        self.settings = settings = members[0].train_settings
        peaks = [member.train_settings["lr"] for member in members]
        self.ratios: Tensor | None = None
        self.moved: dict[str, Tensor] = dict(trained)
        if len(set(peaks)) > 1:
            self.ratios = torch.tensor([peak / peaks[0] for peak in peaks], device=members[0].device)
            self.moved = {name: torch.zeros_like(weight) for name, weight in trained.items()}
            settings = {**settings, "lr": 1.0, "weight_decay": 0.0}
        self._decayed = [name for name, weight in trained.items() if is_decayed(weight.ndim - 1)]
        plain = [weight for name, weight in self.moved.items() if name not in set(self._decayed)]
        self.optimizer = optimizer_over([self.moved[name] for name in self._decayed], plain, settings)
        self._own = [dict(member.model.named_parameters()) for member in members]
        self._published: set[str] = set()
        for name, weight in self.moved.items():
            self._take_over(name, weight)
        self.publish()

    def step(self, rates: Sequence[float], clip: float | None) -> None:
        """One step by the gradients that the weights have, which are gone afterwards.

        Args:
            rates: learning rate of every member.
            clip: largest norm of one member's gradient; None for no clipping.
        """
        if clip is not None:
            clip_rows([w.grad for w in self.trained.values() if w.grad is not None], clip)
        if self.ratios is None:
            for group in self.optimizer.param_groups:
                group["lr"] = rates[0]
            self.optimizer.step()
        else:
            self._step_scaled(self.ratios * rates[0])
        for weight in self.trained.values():
            weight.grad = None

    @torch.no_grad()
    def _step_scaled(self, rates: Tensor) -> None:
        moving = {name: weight for name, weight in self.trained.items() if weight.grad is not None}
        decay = self.settings["weight_decay"]
        for name, weight in moving.items():
            shift = self.moved[name]
            assert weight.grad is not None
            if decay and name in self._decayed:
                if self.settings["optimizer"] == "adamw":
                    weight.mul_(1 - _rows(rates, weight) * decay)
                else:
                    weight.grad.add_(weight, alpha=decay)
            shift.zero_()
            shift.grad = weight.grad
        self.optimizer.step()
        for name, weight in moving.items():
            weight.addcmul_(self.moved[name], _rows(rates, weight))
            self.moved[name].grad = None

    def _take_over(self, name: str, weight: Tensor) -> None:
        states = [
            member.optimizer.state.get(own[name]) or {} for member, own in zip(self.members, self._own, strict=True)
        ]
        if not any(states):
            return
        if any(state.keys() != states[0].keys() for state in states):
            raise CannotStack(f"optimiser states of {name!r} differ in kind")
        joint: dict[str, Any] = {}
        for key in states[0]:
            values = [state[key] for state in states]
            if key == "step":
                if len({float(value) for value in values}) > 1:
                    raise CannotStack(f"optimisers have moved {name!r} unlike often")
                joint[key] = values[0].clone()
            else:
                joint[key] = stacked(values) if isinstance(values[0], Tensor) else values[0]
        self.optimizer.state[weight] = joint

    def publish(self) -> None:
        """Makes the members' optimisers look into the joint state, as far as that has come to be."""
        for name, weight in self.moved.items():
            joint = self.optimizer.state.get(weight)
            if not joint or name in self._published:
                continue
            self._published.add(name)
            for index, (member, own) in enumerate(zip(self.members, self._own, strict=True)):
                member.optimizer.state[own[name]] = {
                    key: value[index] if isinstance(value, Tensor) and key != "step" else value
                    for key, value in joint.items()
                }

    def hand_back(self) -> None:
        """Gives every member a state of its own."""
        for name in self._published:
            for member, own in zip(self.members, self._own, strict=True):
                if member.error is None:
                    state = member.optimizer.state[own[name]]
                    for key, value in state.items():
                        state[key] = value.clone() if isinstance(value, Tensor) else value
        self._published.clear()
        self.optimizer.state.clear()


@torch.no_grad()
def clip_rows(gradients: Sequence[Tensor], limit: float) -> None:
    """Scales each row of the gradients (n, ...), in place, so that its norm over all of them is at most `limit`.

    As `torch.nn.utils.clip_grad_norm_` does for one run.
    """
    if not gradients:
        return
    norms = torch.stack(
        [torch.linalg.vector_norm(g, dim=tuple(range(1, g.ndim))) if g.ndim > 1 else g.abs() for g in gradients]
    )
    factors = (limit / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(_rows(factors, gradient))


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """One tensor (n, ...) of copies, each row laid out in memory as the first one is."""
    first = rows[0].detach()
    order = sorted(range(first.ndim), key=lambda axis: (-first.stride()[axis], axis))
    joint = torch.stack([row.detach().permute(order) for row in rows])
    back = sorted(range(first.ndim), key=order.__getitem__)
    return joint.permute(0, *(axis + 1 for axis in back))


def _rows(factors: Tensor, weight: Tensor) -> Tensor:
    return factors.view(-1, *([1] * (weight.ndim - 1)))
