"""The lockstep trainer: runs that share data, batch order and teacher, stepped on each batch together.

A group loads every batch once, runs the frozen teacher once on it, and steps each of its runs in turn. A
run computes the same bits alone or in any company (`tests/training/test_lockstep.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from mmablate.data.base import SegmentationData, Split
from mmablate.data.batches import Batch, TrainingBatches
from mmablate.errors import StoreError
from mmablate.methods import Reference
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec
from mmablate.training.building import build_model, open_data
from mmablate.training.checkpoint import digest, load_into, save_weights
from mmablate.training.device import autocast, environment, prepare_threads
from mmablate.training.evaluation import Scores, score
from mmablate.training.trainee import Trainee


@dataclass(frozen=True, eq=False)
class GroupTask:
    """What a worker needs to train a group.

    Attributes:
        specs: runs of equal data, batch order, teacher and number of steps.
        study, out: where the records go.
        data_root: folder of the data, where the dataset needs one.
        device: "cpu", "cuda", "cuda:1".
        threads: of a CPU group.
        keep: "all" keeps every run's weights, "teacher" only those that others depend on.
        teacher_checkpoint: the user's own teacher.
        force: train again what is finished.
    """

    specs: tuple[RunSpec, ...]
    study: str
    out: Path
    data_root: str | None
    device: str
    threads: int = 1
    keep: str = "teacher"
    teacher_checkpoint: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Progress:
    """A sign of life: optimiser steps done by these runs since the last one, and those that just ended."""

    steps: int = 0
    finished: tuple[RunRecord, ...] = ()


Report = Callable[[Progress], None]


class Stepper(Protocol):
    """How the students of a group take one step; stacking them is another implementation of this."""

    def step(
        self, trainees: Sequence[Trainee], batch: Batch, present: tuple[str, ...], reference: Reference | None
    ) -> None:
        """One optimiser step of every run that is well."""


class InTurn:
    """One run after the other on the shared batch."""

    def step(
        self, trainees: Sequence[Trainee], batch: Batch, present: tuple[str, ...], reference: Reference | None
    ) -> None:
        """A run that fails drops out; the others go on."""
        for trainee in trainees:
            if trainee.error is None:
                with trainee.guarded():
                    trainee.step(batch, present, reference)


def train_group(task: GroupTask, report: Report, stepper: Stepper | None = None) -> list[RunRecord]:
    """Trains the runs of a group and writes their records, each as soon as it is over.

    Runs that another process finished meanwhile are left alone. An error of what the group shares (data,
    teacher) fails all of its runs; it is recorded, not raised.

    Raises:
        StoreError: the results folder cannot be written.
    """
    store = StudyStore(task.out, task.study)
    with store.locked_runs([spec.run_id for spec in task.specs]):
        specs = [spec for spec in task.specs if task.force or not _finished(store, spec)]
        if not specs:
            return []
        return _Group(task, specs, store, report, stepper or InTurn()).train()


def _finished(store: StudyStore, spec: RunSpec) -> bool:
    record = store.read_record(spec.run_id)
    if record is None or record.status == "failed":
        return store.adopt(spec.run_id, weights=spec.role == "teacher")
    return record.status == "ok" and (spec.role != "teacher" or store.has_weights(spec.run_id))


class _Group:
    def __init__(
        self, task: GroupTask, specs: Sequence[RunSpec], store: StudyStore, report: Report, stepper: Stepper
    ) -> None:
        self.task, self.specs, self.store, self.report, self.stepper = task, specs, store, report, stepper
        self.device = torch.device(task.device)
        self.settings = specs[0].settings
        self.train_settings = self.settings["train"]
        self.trainees: list[Trainee] = []
        self.records: list[RunRecord] = []
        self.shared_seconds = 0.0
        self.order_digest = ""

    def train(self) -> list[RunRecord]:
        prepare_threads(self.device, self.task.threads)
        try:
            for spec in self.specs:
                self.store.start_run(spec.run_id, {"run_id": spec.run_id, **spec.settings})
            self._train()
        except (KeyboardInterrupt, SystemExit, StoreError):
            raise
        except Exception as error:
            self._fail(self.specs, error)
        return self.records

    def _train(self) -> None:
        self.data = open_data(self.settings["data"], self.task.data_root)
        batches = self._batches(self.data)
        epochs, per_epoch = self.train_settings["epochs"], batches.steps_per_epoch()
        teacher = None
        try:
            teacher = self._load_teacher()
        except Exception as error:
            self._fail([spec for spec in self.specs if spec.settings["teacher"]], error)
        for spec in self._unfinished():
            try:
                self.trainees.append(Trainee(spec, self.data, self.device, epochs * per_epoch))
            except Exception as error:  # a model of impossible options, or too large for the memory
                self._fail([spec], error)
        for epoch in range(epochs):
            if not self._well():
                return
            self._epoch(batches, teacher, epoch)
            self._end_epoch(epoch, last=epoch == epochs - 1)
        self.order_digest = batches.digest.hexdigest()
        self._score()

    def _batches(self, data: SegmentationData) -> TrainingBatches:
        augment = self.train_settings["augment"]
        return TrainingBatches(
            data.splits["train"],
            batch_size=self.train_settings["batch_size"],
            seed=self.specs[0].seed,
            role=self.specs[0].role,
            device=self.device,
            flip=augment["flip"],
            vertical=augment["vertical"],
            crop=augment["crop"],
        )

    def _load_teacher(self) -> nn.Module | None:
        """The frozen teacher, in eval mode; None where no run of the group compares with one."""
        described = next((s.settings["teacher"] for s in self.specs if s.settings["teacher"]), None)
        if described is None:
            return None
        model = build_model(described["model"], self.data)
        if self.task.teacher_checkpoint is not None:
            path = Path(self.task.teacher_checkpoint).expanduser()
        else:
            path = self.store.run_folder(described["run"]) / CHECKPOINT
        load_into(model, path)
        return model.to(self.device).eval().requires_grad_(False)

    def _epoch(self, batches: TrainingBatches, teacher: nn.Module | None, epoch: int) -> None:
        method = self.trainees[0].method
        started = time.perf_counter()
        for step, batch in enumerate(batches.epoch(epoch), start=epoch * batches.steps_per_epoch()):
            present = method.present(self.specs[0].seed, step)
            batches.digest.update("+".join(present).encode())
            reference = None
            if teacher is not None:
                with torch.no_grad(), autocast(self.device, self.train_settings["precision"]):
                    reference = method.reference(teacher, batch)
            self.shared_seconds += time.perf_counter() - started
            self.stepper.step(self.trainees, batch, present, reference)
            self.report(Progress(steps=len(self._well())))
            started = time.perf_counter()
        for trainee in self.trainees:
            if trainee.error is None:
                with trainee.guarded():
                    trainee.check_weights()
            if trainee.error is not None:
                self._end_failed(trainee)

    def _end_epoch(self, epoch: int, *, last: bool) -> None:
        validate = last or (epoch + 1) % self.settings["evaluate"]["every"] == 0
        scores = self._scores(self.data.splits["val"]) if validate else {}
        for trainee in self._well():
            own = scores.get(trainee.spec.run_id)
            # Without test labels the score is taken on validation, which must then not select as well:
            # the last epoch it is.
            if own is not None and (last or self._may_select()):
                trainee.keep(epoch + 1, own)
            line = {
                "epoch": epoch + 1,
                "step": trainee.steps,
                "losses": trainee.epoch_losses(),
                "lr": trainee.optimizer.param_groups[0]["lr"],
                "val": own,
                "seconds": round(trainee.seconds, 3),
            }
            self.store.append_history(trainee.spec.run_id, line)

    def _may_select(self) -> bool:
        return "test" in self.data.splits

    def _scores(self, split: Split) -> dict[str, Scores]:
        """run_id -> scores of every run that is well; one that fails over it is recorded, the others go on."""
        trainees = self._well()
        for trainee in trainees:
            trainee.model.eval()
        scores = score(
            [trainee.model for trainee in trainees],
            split,
            self.data,
            self.settings["evaluate"],
            device=self.device,
            precision=lambda: autocast(self.device, self.train_settings["precision"]),
            guard=lambda index: trainees[index].guarded(),
        )
        for trainee in trainees:
            if trainee.error is not None:
                self._end_failed(trainee)
        return {t.spec.run_id: own for t, own in zip(trainees, scores, strict=True) if own is not None}

    def _score(self) -> None:
        """Scores the selected weights once, and writes the records."""
        for trainee in self._well():
            assert trainee.best is not None  # the last epoch is always validated
            trainee.model.load_state_dict(trainee.best[2])
        scores = self._scores(self.data.splits[self.data.scored_split])
        for trainee in self._well():
            self._end_well(trainee, scores[trainee.spec.run_id])

    def _well(self) -> list[Trainee]:
        return [trainee for trainee in self.trainees if trainee.error is None]

    def _unfinished(self) -> list[RunSpec]:
        done = {record.run_id for record in self.records}
        return [spec for spec in self.specs if spec.run_id not in done]

    # --- records ----------------------------------------------------------------------------------------

    def _end_well(self, trainee: Trainee, scores: Scores) -> None:
        assert trainee.best is not None
        epoch, validation, weights = trainee.best
        if trainee.spec.role == "teacher" or self.task.keep == "all":
            save_weights(self.store.run_folder(trainee.spec.run_id) / CHECKPOINT, weights)
        extra = {"selected_epoch": epoch, "validation": validation, "scored_on": self.data.scored_split}
        digests = {"init": trainee.initial_digest, "order": self.order_digest, "final": digest(weights)}
        self._finish(self._record(trainee.spec, trainee, None, scores, digests, **extra))

    def _end_failed(self, trainee: Trainee) -> None:
        if trainee.spec.run_id not in {record.run_id for record in self.records}:
            digests = {"init": trainee.initial_digest, "order": None, "final": None}
            self._finish(self._record(trainee.spec, trainee, trainee.error, {}, digests))

    def _fail(self, specs: Sequence[RunSpec], error: Exception) -> None:
        """Records those of the runs that have no record yet as failed outside a step of theirs."""
        failure = RunError(type=type(error).__name__, message=" ".join(str(error).split())[:500])
        unfinished = self._unfinished()
        trainees = {trainee.spec.run_id: trainee for trainee in self.trainees}
        for spec in specs:
            if spec in unfinished:
                self._finish(self._record(spec, trainees.get(spec.run_id), failure, {}, {}))

    def _record(
        self,
        spec: RunSpec,
        trainee: Trainee | None,
        error: RunError | None,
        metrics: Scores,
        digests: dict[str, Any],
        **extra: Any,
    ) -> RunRecord:
        share = self.shared_seconds / len(self.specs)
        return RunRecord(
            run_id=spec.run_id,
            study=self.task.study,
            row=spec.rows[0] if spec.rows else None,
            seed=spec.seed,
            status="ok" if error is None else "failed",
            error=error,
            metrics=metrics,
            n_parameters=trainee.n_parameters if trainee else None,
            seconds=round(trainee.seconds + share, 3) if trainee else None,
            steps=trainee.steps if trainee else 0,
            depends_on=list(spec.depends_on),
            digests={"init": None, "order": None, "final": None, **digests},
            environment=environment(self.device, self.train_settings["precision"]),
            role=spec.role,
            **extra,
        )

    def _finish(self, record: RunRecord) -> None:
        self.store.finish_run(record)
        self.records.append(record)
        self.report(Progress(finished=(record,)))
