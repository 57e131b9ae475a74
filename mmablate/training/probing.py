"""Times a few steps and evaluations of a group on its device, as in training; nothing is written."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mmablate.data.base import SampleData, Split, VolumeSplit
from mmablate.data.batches import Batch, TrainingBatches
from mmablate.data.loading import BatchReader
from mmablate.results import StudyStore
from mmablate.training.building import build_model, initialise, open_data
from mmablate.training.checkpoint import digest
from mmablate.training.device import environment, prepare_threads
from mmablate.training.group import group_kind
from mmablate.training.lockstep import Group, GroupTask, InTurn, Stepper
from mmablate.training.trainee import Trainee
from mmablate.training.usage import Usage
from mmablate.training.volume_group import VolumeGroup

WARM_UP = 3
FEWEST_STEPS, MOST_STEPS = 20, 400


@dataclass(frozen=True)
class Costs:
    """Seconds: of a step, of the evaluation of one sample, before the first step, after the last score."""

    step: float
    sample: float
    build: float
    finish: float


@dataclass(frozen=True)
class Probed:
    """What a group's work costs.

    Attributes:
        shared: of what the group does once: data, augmentation, teacher.
        runs: of each run alone, in the order of the task.
        steps_per_epoch, n_val, n_scored: of its data.
        memory_mb: at the peak.
        device, kind: e.g. "NVIDIA H100", "cuda".
        seconds: that the measuring took.
    """

    shared: Costs
    runs: tuple[Costs, ...]
    steps_per_epoch: int
    n_val: int
    n_scored: int
    memory_mb: float
    device: str
    kind: str
    seconds: float


@dataclass(frozen=True, eq=False)
class ProbeTask(GroupTask):
    """A group to be timed, not trained.

    Attributes:
        seconds: of steps to be timed, at the least; a few more go for warming up and evaluating.
    """

    seconds: float = 4.0


def probe_group(task: ProbeTask, stepper: Stepper | None = None) -> Probed:
    """Measures a group. A teacher that is not trained yet is stood in for by one with initial weights."""
    kind = _VolumeProbe if issubclass(group_kind(task.specs[0]), VolumeGroup) else _Probe
    store = StudyStore(task.out, task.study)
    probe = kind(task, task.specs, store, lambda progress: None, stepper or InTurn(), lambda: False)
    return probe.measure(task.seconds)


class _Probe(Group):
    def measure(self, seconds: float) -> Probed:
        started = time.perf_counter()
        prepare_threads(self.device, self.task.threads)
        usage = Usage(self.device, self.task.threads)
        self.data = cast(SampleData, open_data(self.settings["data"], self.task.data_root, seed=self.specs[0].seed))
        self.batches = self._batches(self.data)
        teacher = self._load_teacher()
        opened = time.perf_counter() - started
        built = [self._build(spec) for spec in self.specs]
        steps = self._steps(teacher, seconds)
        samples = self._evaluations() if all(trainee.error is None for trainee in self.trainees) else []
        for trainee in self.trainees:
            if trainee.error is not None:
                raise RuntimeError(f"row {', '.join(trainee.spec.rows)}: {trainee.error.message}")
        finish = [self._finishing(trainee) for trainee in self.trainees]
        splits = self.data.splits
        where = environment(self.device, self.train_settings["precision"])
        return Probed(
            shared=Costs(steps[0], samples[0], opened, 0.0),
            runs=tuple(
                Costs(step, sample, build, end)
                for step, sample, build, end in zip(steps[1:], samples[1:], built, finish, strict=True)
            ),
            steps_per_epoch=self.batches.steps_per_epoch(),
            n_val=len(splits["val"]) if "val" in splits else 0,
            n_scored=len(splits[self.data.scored_split]),
            memory_mb=usage.figures()["peak_memory_mb"],
            device=where["device_name"],
            kind=where["device"],
            seconds=time.perf_counter() - started,
        )

    def _load_teacher(self) -> nn.Module | None:
        described = next((s.settings["teacher"] for s in self.specs if s.settings["teacher"]), None)
        if described is None:
            return None
        model = build_model(described["model"], self.data)
        initialise(model, seed=self.specs[0].seed, role="teacher")
        return model.to(self.device).eval().requires_grad_(False)

    def _build(self, spec: Any) -> float:
        started = time.perf_counter()
        total = 2 * MOST_STEPS  # of a schedule that does not end while it is timed
        self.trainees.append(self.trainee_type(spec, self.data, self.device, total, self.task.weight_files))
        return time.perf_counter() - started

    def _steps(self, teacher: nn.Module | None, seconds: float) -> list[float]:
        """Seconds a step: of the common work, then of each run."""
        before, started, count = self._own(), time.perf_counter(), 0
        for step, batch in enumerate(_endless(self.batches)):
            if step == WARM_UP:
                self._wait()
                before, started, count = self._own(), time.perf_counter(), 0
            elif (count >= FEWEST_STEPS and time.perf_counter() - started >= seconds) or count >= MOST_STEPS:
                break
            present = self._count_masks(step)
            compared = any(spec.settings["teacher"] for spec in self.specs)
            self.stepper.step(self.trainees, self._pieces(batch, present, teacher if compared else None))
            count += 1
        self._wait()
        return _per(count, time.perf_counter() - started, before, self._own())

    def _evaluations(self) -> list[float]:
        """Seconds of a sample: of the reading, then of each run."""
        few = 2 * int(self.settings["evaluate"]["batch_size"])
        for trainee in self.trainees:
            trainee.model.eval()
        splits = self.data.splits
        split = _First(splits["val" if "val" in splits else self.data.scored_split], few)
        for _ in range(2):  # the first to warm up
            before, started = self._own(), time.perf_counter()
            self._evaluate(self.trainees, BatchReader(split), lambda index: self.trainees[index].guarded())
            self._wait()
        return _per(len(split), time.perf_counter() - started, before, self._own())

    def _finishing(self, trainee: Trainee) -> float:
        started = time.perf_counter()
        self._flops(trainee)
        digest(trainee.model.state_dict())
        return time.perf_counter() - started

    def _own(self) -> list[float]:
        return [trainee.seconds for trainee in self.trainees]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _VolumeProbe(_Probe, VolumeGroup):
    _surface: Sequence[float]  # of each run, seconds of a subject

    def _evaluations(self) -> list[float]:
        """Seconds of a subject, read and scored in all subsets; what the surface distance adds is kept for the end."""
        for trainee in self.trainees:
            trainee.model.eval()
        plain, whole = self._evaluation(final=False), self._evaluation(final=True)
        self._surface = [max(0.0, b - a) for a, b in zip(plain[1:], whole[1:], strict=True)]
        return plain

    def _evaluation(self, *, final: bool) -> list[float]:
        splits = cast(Any, self.data.splits)
        first = _FirstSubjects(splits["val" if "val" in splits else self.data.scored_split])
        before, started = self._own(), time.perf_counter()
        self._evaluate(self.trainees, first, lambda index: self.trainees[index].guarded(), by_condition=final)
        self._wait()
        return _per(len(first), time.perf_counter() - started, before, self._own())

    def _finishing(self, trainee: Trainee) -> float:
        """With the surface distance, which the final scores alone have."""
        surface = self._surface[self.trainees.index(trainee)] * len(self.data.splits[self.data.scored_split])
        return super()._finishing(trainee) + surface


class _FirstSubjects:
    """The first two subjects of a split of 3D scans."""

    def __init__(self, split: VolumeSplit) -> None:
        self._split = split
        self.presence = split.presence[:2]
        self.size, self.read, self.describe = split.size, split.read, split.describe

    def __len__(self) -> int:
        return len(self.presence)


class _First:
    """The first samples of a split."""

    def __init__(self, split: Split, count: int) -> None:
        self._split, self._count = split, min(count, len(split))
        self.shape = split.shape

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Sequence[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return self._split.batch(indices)


def _endless(batches: TrainingBatches) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


def _per(count: int, wall: float, before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Seconds a unit: what is left for the common work, then each run's own."""
    own = [b - a for a, b in zip(before, after, strict=True)]
    return [max(0.0, wall - sum(own)) / count, *(seconds / count for seconds in own)]
