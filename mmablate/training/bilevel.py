"""Steps of runs on 3D scans: on one batch, on a second one beside it, or bi-level (Meta-Drop)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmablate.data.volume_batches import VolumeBatch
from mmablate.methods import MetaDrop
from mmablate.methods.metadrop import outer_step, through_inner_step
from mmablate.training.optimisation import gradient_scale, learning_rate
from mmablate.training.trainee import Piece, Trainee

Second = Callable[[Trainee], Sequence[VolumeBatch]]
"""A run -> the parts of its second batch of the step; none where there are no other subjects."""


class VolumeTrainee(Trainee):
    """A run on 3D scans.

    Attributes:
        midway: a step was begun and not ended; weights, moments and balance are then of no step (`Trainee.whole`).
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.midway = False
        # A modality that no subject of the first steps has leaves its encoder without a gradient there, and torch's
        # fused sgd takes no step where some parameters have a momentum and others none. From 0 it is the gradient.
        for group in self.optimizer.param_groups:
            for p in group["params"] if group.get("momentum") else ():
                self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def take(self, pieces: Sequence[Piece], second: Second) -> None:
        """One step, of whichever kind the run's update rule has."""
        kind = self.method.second
        self.midway = True
        if kind == "union":
            pieces = self._united(pieces, second(self))
        start = [p.detach().clone() for p in self.model.parameters()] if kind == "outer" else []
        for piece in pieces:
            self.backward(piece)
        self.move()
        if kind == "step" and (parts := self._pieces(second(self), len(pieces))):
            kept, self._pending = self._pending, {}
            for piece in parts:
                self.backward(piece)
            self.move()
            self._pending = kept  # the history tells of training batches alone
        elif kind == "outer":
            self._meta(pieces, second, start)
        self.count()
        self.midway = False

    @property
    def whole(self) -> bool:
        """Not where memory ran out in a step, whose parts move weights and balance one by one."""
        return not self.midway

    def _united(self, pieces: Sequence[Piece], batches: Sequence[VolumeBatch]) -> list[Piece]:
        """Both batches as the pieces of one, each sample counting alike."""
        images = sum(len(piece.batch) for piece in pieces) + sum(map(len, batches))
        more = [Piece(b, self.method.hidden_again(b), None, len(pieces) + i) for i, b in enumerate(batches)]
        whole = [*pieces, *more]
        shares = [{"images": len(p.batch) / images, "pixels": len(p.batch) / images} for p in whole]
        last = len(whole) - 1
        return [replace(p, shares=s, last=i == last) for i, (p, s) in enumerate(zip(whole, shares, strict=True))]

    def _pieces(self, batches: Sequence[VolumeBatch], after: int) -> list[Piece]:
        """The second batch, as pieces that follow those of the first."""
        images = sum(map(len, batches))
        found = []
        for i, batch in enumerate(batches):
            share = None if len(batches) == 1 else {"images": len(batch) / images, "pixels": len(batch) / images}
            last = i == len(batches) - 1
            found.append(Piece(batch, self.method.hidden_again(batch), None, after + i, last, share))
        return found

    # --- the outer step ---------------------------------------------------------------------------------------

    def _meta(self, pieces: Sequence[Piece], second: Second, start: Sequence[Tensor]) -> None:
        """From φ̃, where the inner step has led, to φ."""
        rule: MetaDrop = self.method
        parameters = list(self.model.parameters())
        parts = self._pieces(second(self), len(pieces)) if rule.looks_ahead else []
        if not parts:
            # The interpolation alone.
            outer_step(parameters, start, [None] * len(parameters), alpha=rule.alpha, eta=0.0)
            return
        gradients = self._meta_gradient(parts)
        slopes = self._slopes(pieces, start, gradients) if rule.balance == "meta" else None
        eta = rule.eta_out
        if rule.schedule_outer:
            eta *= learning_rate(self.steps, self.total_steps, self.train_settings) / self.train_settings["lr"]
        if rule.order == "second" and eta:
            gradients = self._through(pieces, start, gradients)
        outer_step(parameters, start, gradients, alpha=rule.alpha, eta=eta)
        if slopes is not None:
            rule.weigh(-slopes)  # last: what goes through the inner step needs the β that it was taken with

    def _meta_gradient(self, parts: Sequence[Piece]) -> list[Tensor | None]:
        """∇L_meta(φ̃); the optimiser's moments and the training losses of the history know nothing of it."""
        kept, self._pending = self._pending, {}
        for piece in parts:
            self.backward(piece)
        self._pending = kept
        found = [None if p.grad is None else p.grad.detach().clone() for p in self.model.parameters()]
        self.optimizer.zero_grad(set_to_none=True)
        return found

    def _through(
        self, pieces: Sequence[Piece], start: Sequence[Tensor], gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """The meta gradient through the inner step, which is computed once more, at φ0 and with its graph."""
        parameters = list(self.model.parameters())
        ahead = [p.detach().clone() for p in parameters]
        self._set(parameters, start)
        decays = {
            id(p): group["weight_decay"] * (self.train_settings["optimizer"] == "sgd")
            for group in self.optimizer.param_groups
            for p in group["params"]
        }
        inner: list[Any] = [None] * len(parameters)
        for piece in pieces:
            self.prepare(piece)
            _, loss = self.loss(self._masked(piece))
            some = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
            inner = [b if a is None else a if b is None else a + b for a, b in zip(inner, some, strict=True)]
        eta = self.optimizer.param_groups[0]["lr"]
        found = through_inner_step(
            gradients, inner, parameters, eta=eta, decays=[decays.get(id(p), 0.0) for p in parameters]
        )
        self._set(parameters, ahead)
        return [None if g is None else g.detach() for g in found]

    def _slopes(self, pieces: Sequence[Piece], start: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
        """⟨∇_φ ∂L_train/∂β_m at φ0, P ∇L_meta(φ̃)⟩ by modality, with P the inner step's own scale of a gradient.

        The loss of the meta batch changes with β_m by minus that. P is η_in for sgd; for adam(w) the moments that it
        divides by are held fixed.
        """
        rule: MetaDrop = self.method
        names = [name for name, _ in self.model.named_parameters()]
        parameters = list(self.model.parameters())
        ahead = [p.detach().clone() for p in parameters]
        direction = {
            name: torch.zeros_like(p) if g is None else gradient_scale(self.optimizer, p) * g
            for name, p, g in zip(names, parameters, gradients, strict=True)
        }
        self._set(parameters, start)  # what is no parameter of the function must be of φ0 too
        slopes = torch.zeros(len(rule.modalities), device=self.device)
        for piece in pieces:
            share = 1.0 if piece.shares is None else piece.shares["images"]
            batch: Any = piece.batch
            own = rule.slopes(self.model, dict(zip(names, start, strict=True)), direction, batch, self.terms)
            slopes = slopes + share * own
        self._set(parameters, ahead)
        return slopes.detach()

    def _masked(self, piece: Piece) -> Piece:
        """The piece once more, which counts for no statistics of the update rule."""
        return replace(piece, present=self.method.hidden(piece.batch))

    @staticmethod
    def _set(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for p, value in zip(parameters, values, strict=True):
                p.copy_(value)

    def check_weights(self) -> None:
        """As of every run, and that the balance of the modalities is finite."""
        super().check_weights()
        if not all(math.isfinite(value) for value in self.method.beta.tolist()):
            raise FloatingPointError(f"the balance of the modalities is not finite after step {self.steps}")


class BiLevel:
    """One run after the other, each with its own kind of step.

    Args:
        second: a run -> the parts of its second batch of the step at hand.
    """

    def __init__(self, second: Second) -> None:
        self.second = second

    def step(self, trainees: Sequence[Trainee], pieces: Iterable[Piece]) -> None:
        """A run that fails drops out; the others go on."""
        whole = list(pieces)
        for trainee in trainees:
            if trainee.error is None and isinstance(trainee, VolumeTrainee):
                with trainee.guarded():
                    trainee.take(whole, self.second)

    def settle(self, trainees: Sequence[Trainee]) -> None:
        """Nothing: each run is up to date after its step."""
