"""One run inside a group: its model, optimiser, losses and history. It knows nothing of its neighbours.

A step's batch comes in pieces: one, or as many as `train.accumulate` says and processes there are. Each term is
a mean over images or over labelled pixels, so a piece's value enters with the piece's share of the whole batch's;
the sum over pieces is then the value of the whole batch, where the mean of the pieces' means would not be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmablate.catalog import find
from mmablate.data.base import AnyData
from mmablate.data.batches import Batch
from mmablate.data.streams import stream_key
from mmablate.errors import NonFiniteLoss
from mmablate.methods import FusingRule, IncompleteTraining, Moment, Reference, rule_of, total
from mmablate.results import RunError
from mmablate.study import RunSpec
from mmablate.training import distributed
from mmablate.training.building import NO_FILES, build_method, build_terms, expert_width, initial_model
from mmablate.training.checkpoint import digest, load_part
from mmablate.training.device import autocast, placed
from mmablate.training.evaluation import Scores
from mmablate.training.memory import OutOfMemory, is_out_of_memory
from mmablate.training.optimisation import learning_rate, scaled_groups
from mmablate.training.state import State, below, optimizer_state, optimizer_tensors


@dataclass(frozen=True)
class Piece:
    """A part of a step's batch, and the teacher's view of it.

    Attributes:
        batch: the part.
        present: modalities of the step; of 3D scans, a (B, M) bool of those of every sample.
        reference: the teacher's view; None where no run of the group compares with one.
        index: number of the piece in the step, over all processes.
        last: whether this process has no more pieces of this step.
        shares: unit ("images", "pixels") -> this piece's share of the whole batch; None where it is the whole.
    """

    batch: Batch
    present: Any
    reference: Reference | None
    index: int = 0
    last: bool = True
    shares: Mapping[str, float] | None = None


class Trainee:
    """A run in training.

    Args:
        spec: of the run.
        data: that it is trained on.
        total_steps: of the whole run, for the schedule.
        weight_files: hash -> path of the pre-trained weights that its settings name.
        kept: the channels of its input that a teacher sees, where those are chosen.
        encoders: file of a pre-training whose encoders the model starts from.

    Attributes:
        error: why it failed; None while it is well.
        seconds: of its own steps, plus its share of the group's common work.
        steps: optimiser steps taken.
        history: one line a finished epoch, as in history.jsonl.
        resumed: steps at which an interrupted try was taken up again.
    """

    def __init__(
        self,
        spec: RunSpec,
        data: AnyData,
        device: torch.device,
        total_steps: int,
        weight_files: Mapping[str, str] = NO_FILES,
        kept: Sequence[int] | None = None,
        encoders: Path | None = None,
    ) -> None:
        self.spec, self.device, self.total_steps = spec, device, total_steps
        self.train_settings = spec.settings["train"]
        settings, role = spec.settings, spec.role
        model = initial_model(
            settings["model"], data, seed=spec.seed, role=role, weight_files=weight_files, kept=kept,
            experts=expert_width(settings),
        )  # fmt: skip
        self.frozen = bool(settings.get("pretrained", {}).get("frozen"))
        if encoders is not None:
            load_part(model, "encoders", encoders)
            model.get_submodule("encoders").requires_grad_(not self.frozen)
        self.model: Any = placed(model, device)
        self.method: Any = build_method(settings, data)
        self.terms = build_terms(settings)
        by_features = all(find("loss", loss["term"]).compares_features for loss in settings["losses"])
        # Where a rule routes gradients, they are summed here (`update`), and parts that get none have none.
        routed = isinstance(self.method, FusingRule | IncompleteTraining)
        self.forward: Any = self.model if routed else distributed.parallel(self.model, device, unused=by_features)
        self.world = distributed.share().world
        self.statistics = distributed.RunningStatistics(self.model) if self.world > 1 else None
        self.optimizer: Any
        self.optimizer, self._factors = scaled_groups(self.model, self.train_settings)
        self.n_parameters = _n_parameters(self.model)
        # Experts stand beside the network that rows have in common; their beginning unpairs nothing.
        begun = {name: value for name, value in self.model.state_dict().items() if not name.startswith("experts.")}
        self.initial_digest = digest(begun)
        self.steps = 0
        self.seconds = 0.0
        self.error: RunError | None = None
        self.best: tuple[int, Scores, dict[str, Tensor]] | None = None
        self.history: list[dict[str, Any]] = []
        self.resumed: list[int] = []
        self.told: dict[str, Any] = {}  # of the epoch at hand, for its line in the history
        self._sums: dict[str, Tensor] = {}
        self._pending: dict[str, Tensor] = {}  # of the step at hand, until the optimiser has moved
        self._count = 0

    def backward(self, piece: Piece) -> None:
        """Adds one piece's gradient to the step's.

        Raises:
            NonFiniteLoss: before the optimiser has moved a weight.
        """
        self.prepare(piece)
        # Gradients of several processes are summed once a step, with the last piece's.
        averaged = self.forward is not self.model
        waiting = self.forward.no_sync() if averaged and not piece.last else nullcontext()
        with waiting:
            values, loss = self.loss(piece)
            # The processes' gradients may be averaged; what is wanted is their sum.
            (loss * self.world if averaged else loss).backward()
        for term in self.terms:
            share = 1.0 if piece.shares is None else piece.shares[term.unit]
            self._pending[term.key] = self._pending.get(term.key, 0.0) + values[term.key].detach() * share

    def loss(self, piece: Piece) -> tuple[dict[str, Tensor], Tensor]:
        """Unweighted value of every term on a piece, and their weighed sum.

        Raises:
            NonFiniteLoss: one of them is not finite.
        """
        with autocast(self.device, self.train_settings["precision"]):
            values = self.method.losses(self.forward, piece.batch, piece.present, piece.reference, self.terms)
            loss = total(self.terms, values, piece.shares)
        self._check(values, loss)
        return values, loss

    def prepare(self, piece: Piece) -> None:
        """Readies model and chance for the forward pass of a piece."""
        # Dropout and drop-path, where a model has them, draw from a stream of this step, not of a neighbour.
        key = ("dropout", self.steps, piece.index) if piece.index else ("dropout", self.steps)
        torch.manual_seed(stream_key(self.spec.seed, self.spec.role, *key))
        self.model.train()
        if self.frozen:  # batch norm among them
            self.model.get_submodule("encoders").eval()

    def update(self) -> None:
        """Moves the weights by the gradient that has been gathered, and counts the step."""
        self.move()
        self.count()

    def move(self) -> None:
        """Moves the weights by the gradient that has been gathered, with the learning rate of the step at hand."""
        if self.world > 1 and self.forward is self.model:
            distributed.sum_gradients(self.model.parameters())
        self._set_learning_rate(self.steps)
        # Steps that are counted by themselves are told as one epoch.
        epochs = 1 if self.train_settings.get("steps") else int(self.train_settings["epochs"])
        epoch = 1 + self.steps * epochs // max(1, self.total_steps)
        rule_of(self.method).adjust(self.model, Moment(self.spec.seed, self.steps, epoch, distributed.summed))
        if self.train_settings["clip"] is not None:
            for parameters in rule_of(self.method).clipped(self.model):
                nn.utils.clip_grad_norm_(parameters, self.train_settings["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.statistics is not None:
            self.statistics.gather()

    def count(self) -> None:
        """Ends the step at hand: its losses go into the epoch's."""
        for key, value in self._pending.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._pending = {}
        self.steps += 1
        self._count += 1

    def _set_learning_rate(self, step: int) -> None:
        for group, factor in zip(self.optimizer.param_groups, self._factors, strict=True):
            group["lr"] = factor * learning_rate(step, self.total_steps, self.train_settings)

    def discard(self) -> None:
        """Forgets the gradient gathered for a step that is not taken."""
        self.optimizer.zero_grad(set_to_none=True)
        self._pending = {}

    @property
    def whole(self) -> bool:
        """Whether the run stands between two steps, so that its `state` is one to go on from."""
        return True

    def check_weights(self) -> None:
        """The last step of all has no next loss to show that it went wrong.

        Raises:
            FloatingPointError: a weight is NaN or infinite.
        """
        for name, weight in self.model.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise FloatingPointError(f"weight {name!r} is not finite after step {self.steps}")

    def add_losses(self, sums: Mapping[str, Tensor], steps: int) -> None:
        """Takes in what others computed for this run: sums over so many steps of every unweighted term."""
        for key, value in sums.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += steps

    def epoch_losses(self) -> dict[str, float]:
        """Mean of every unweighted term since the last call."""
        means = {key: float(distributed.summed(value)) / max(1, self._count) for key, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def keep(self, epoch: int, scores: Scores) -> None:
        """Keeps these weights if they are to be scored: the best validated so far, or the latest.

        Args:
            scores: on the validation split; {} where there is none.
        """
        better = self.best is None or not scores or scores_key(scores) > scores_key(self.best[1])
        if self.train_settings["select"] == "last" or better:
            weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            self.best = (epoch, scores, weights)

    def state(self) -> State:
        """All that the run needs to go on from this step."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer.state_dict())
        tensors |= {f"sum/{key}": value for key, value in self._sums.items()}
        best = None
        if self.best is not None:
            epoch, scores, weights = self.best
            best = {"epoch": epoch, "scores": scores}
            tensors |= {f"best/{name}": value for name, value in weights.items()}
        about = {
            "run_id": self.spec.run_id, "steps": self.steps, "total_steps": self.total_steps, "count": self._count,
            "sums": list(self._sums), "best": best, "history": self.history, "seconds": self.seconds,
            "resumed": self.resumed, "method": rule_of(self.method).state(),
            "told": self.told,
        }  # fmt: skip
        return State(tensors, about)

    def restore(self, state: State) -> None:
        """Goes on from a state of this very run.

        Raises:
            ValueError, KeyError, RuntimeError: a state that does not fit; nothing has been changed by then but
                weights, so that the run must be built anew.
        """
        tensors, about = state.tensors, state.about
        if about["run_id"] != self.spec.run_id or about["total_steps"] != self.total_steps:
            raise ValueError("the state of another run")
        self.model.load_state_dict(below(tensors, "model/"))
        self.optimizer.load_state_dict(optimizer_state(tensors, self.optimizer.state_dict()))
        sums = below(tensors, "sum/")
        self._sums = {key: sums[key].to(self.device) for key in about["sums"]}
        if about["best"] is not None:
            weights = {name: value.to(self.device) for name, value in below(tensors, "best/").items()}
            self.best = (about["best"]["epoch"], about["best"]["scores"], weights)
        self.steps, self._count, self.seconds = about["steps"], about["count"], about["seconds"]
        rule_of(self.method).restore(about.get("method", {}))
        self.told = dict(about.get("told", {}))
        self.history, self.resumed = list(about["history"]), [*about["resumed"], self.steps]
        self._set_learning_rate(max(0, self.steps - 1))  # the history tells that of the last step taken

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Whatever goes wrong inside is this run's failure, not the group's; times what it encloses.

        Raises:
            OutOfMemory: memory is the group's, which may go on with fewer runs at a time.
        """
        started = time.perf_counter()
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            # Of several processes one alone must not drop out: the others would wait for it for ever. Numbers that
            # are not finite are known to all of them; anything else ends them all, and the run starts again later.
            if self.world > 1 and not isinstance(error, (NonFiniteLoss, FloatingPointError)):
                raise
            if is_out_of_memory(error):
                raise OutOfMemory(_first_line(error)) from None  # without the frames, which hold what is in the way
            self.fail(type(error).__name__, _first_line(error))
        finally:
            self.seconds += time.perf_counter() - started

    def fail(self, kind: str, message: str) -> None:
        """Ends the run at the step at hand."""
        self.error = RunError(type=kind, message=message, step=self.steps + 1)
        self.release()

    def release(self) -> None:
        """Gives back the memory of a run that is over."""
        self.model = self.forward = self.optimizer = self.best = self.statistics = None
        self._sums = self._pending = {}

    def _check(self, values: dict[str, Tensor], loss: Tensor) -> None:
        whole = distributed.summed(loss.detach())  # not finite in one process, not finite in all
        if bool(torch.isfinite(whole)):
            return
        for key, value in values.items():
            summed = float(distributed.summed(value.detach()))
            if not math.isfinite(summed):
                raise NonFiniteLoss(key, summed, self.steps + 1)
        raise NonFiniteLoss("total", float(whole), self.steps + 1)


def _n_parameters(model: nn.Module) -> int:
    """Of the network that is put to use: what is trained, frozen encoders included and experts not."""
    parts = getattr(model, "parts", None)
    if parts is None:
        return sum(p.numel() for p in model.parameters() if p.requires_grad)
    return sum(p.numel() for name, own in parts().items() if name != "experts" for p in own)


def scores_key(scores: Scores) -> float:
    """What selection compares: Mean, or the only column there is."""
    return scores["Mean"] if "Mean" in scores else next(iter(scores.values()))


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:500] or type(error).__name__
