"""Stacked or in turn: which is faster for a group, measured on the device that will train it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from itertools import count as count_from
from typing import Any, cast

import torch
from torch import nn

from mmablate.data.base import AnyData, Split
from mmablate.data.batches import Batch, TrainingBatches
from mmablate.methods import Reference
from mmablate.study import RunSpec
from mmablate.training.building import NO_FILES, build_method, initial_model, open_data
from mmablate.training.device import autocast, placed, prepare_threads
from mmablate.training.lockstep import GroupTask, InTurn, Stepper
from mmablate.training.stacking import Stacked
from mmablate.training.trainee import Piece, Trainee


@dataclass(frozen=True)
class ModeTimes:
    """What steps of a group took.

    Attributes:
        in_turn: seconds a step of all runs.
        stacked: the same; None where the runs could not be stacked.
        reason: why not.
        peak_in_turn, peak_stacked: most bytes of the device that each way held; None on a CPU.
    """

    in_turn: float
    stacked: float | None
    reason: str | None = None
    peak_in_turn: int | None = None
    peak_stacked: int | None = None

    @property
    def mode(self) -> str:
        """ "stacked" where that is faster, else "in_turn"."""
        return "stacked" if self.stacked is not None and self.stacked < self.in_turn else "in_turn"

    @property
    def ratio(self) -> float | None:
        """How many times as fast as in turn stacked is."""
        return None if self.stacked is None else self.in_turn / self.stacked


@dataclass(frozen=True, eq=False)
class ModeTask(GroupTask):
    """A group that is to be timed both ways, not trained."""


def measure_task(task: ModeTask) -> ModeTimes:
    """Times a few steps of the group both ways on its device."""
    device = torch.device(task.device)
    prepare_threads(device, task.threads)
    data = open_data(task.specs[0].settings["data"], task.data_root, seed=task.specs[0].seed)
    return measure_modes(task.specs, data, device, weight_files=task.weight_files)


def measure_modes(
    specs: Sequence[RunSpec],
    data: AnyData,
    device: torch.device,
    *,
    steps: int = 6,
    warm_up: int = 2,
    stacks: Sequence[Sequence[str]] | None = None,
    graphs: bool = False,
    weight_files: Mapping[str, str] = NO_FILES,
) -> ModeTimes:
    """Times a few steps of the runs both ways, on their own batches and from their own beginning.

    The loading of data and the teacher's pass, which both ways share, are not in the times; the teacher is one of
    random weights. Nothing is kept.

    Args:
        specs: of one lockstep group.
        steps, warm_up: optimiser steps that count, and before them.
        stacks, graphs: as for `Stacked`.
    """
    plan = first_pieces(specs, data, device, warm_up + steps)

    def timed(stepper: Stepper) -> tuple[float, int | None]:
        trainees = [Trainee(spec, data, device, 1000, weight_files) for spec in specs]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for pieces in plan[:warm_up]:
            stepper.step(trainees, iter(pieces))
        stepper.settle(trainees)
        started = _now(device)
        for pieces in plan[warm_up:]:
            stepper.step(trainees, iter(pieces))
        stepper.settle(trainees)
        took = (_now(device) - started) / steps
        return took, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

    in_turn, peak_in_turn = timed(InTurn())
    stepper = Stacked(stacks, graphs=graphs)
    stacked, peak_stacked = timed(stepper)
    if stepper.fallen or not stepper.stacks:
        reason = stepper.fallen[0].reason if stepper.fallen else "no two runs of these can be stacked"
        return ModeTimes(in_turn, None, reason, peak_in_turn, peak_stacked)
    return ModeTimes(in_turn, stacked, None, peak_in_turn, peak_stacked)


def first_pieces(specs: Sequence[RunSpec], data: AnyData, device: torch.device, count: int) -> list[list[Piece]]:
    """The first steps of the group, each as its pieces with the teacher's view."""
    first = specs[0]
    train = first.settings["train"]
    batches = TrainingBatches(
        cast(Split, data.splits["train"]),
        batch_size=train["batch_size"],
        seed=first.seed,
        role=first.role,
        device=device,
        parts=train["accumulate"],
        steps=train.get("steps"),
    )
    method: Any = build_method(first.settings, data)
    teacher = _teacher(specs, data, device)
    found: list[list[Piece]] = []
    for batch in islice(chain.from_iterable(map(batches.epoch, count_from(0))), count):
        present = method.present(first.seed, len(found))
        views: list[Reference | None] = []
        for part in batch.parts():
            with torch.no_grad(), autocast(device, train["precision"]):
                views.append(None if teacher is None else method.reference(teacher, part))
        found.append(_cut(batch, present, views, data.ignore_label))
    return found


def _cut(batch: Batch, present: tuple[str, ...], views: Sequence[Reference | None], ignore_label: int) -> list[Piece]:
    parts = batch.parts()
    pixels = [int((part.labels != ignore_label).sum()) for part in parts]
    pieces = []
    for index, (part, view) in enumerate(zip(parts, views, strict=True)):
        shares = {"images": len(part) / len(batch), "pixels": pixels[index] / max(1, sum(pixels))}
        last = index == len(parts) - 1
        pieces.append(Piece(part, present, view, index, last, shares if len(parts) > 1 else None))
    return pieces


def _teacher(specs: Sequence[RunSpec], data: AnyData, device: torch.device) -> nn.Module | None:
    described = next((spec.settings["teacher"] for spec in specs if spec.settings["teacher"]), None)
    if described is None:
        return None
    model = initial_model({**described["model"], "weights": None}, data, seed=specs[0].seed, role="teacher")
    return placed(model, device).eval().requires_grad_(False)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
