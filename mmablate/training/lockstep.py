"""The lockstep trainer: runs that share data, batch order and teacher, stepped on each batch together.

A group loads every batch once, runs the frozen teacher once on it, and steps each of its runs in turn. A
run computes the same bits alone or in any company (`tests/training/test_lockstep.py`). Under torchrun several
processes train one group together, each on its share of every batch (`mmablate.training.distributed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from mmablate.catalog import file_hash, find
from mmablate.data.augment import Augmentation
from mmablate.data.base import AnyData, ClassificationData, SampleData, Split
from mmablate.data.batches import Batch, TrainingBatches
from mmablate.data.holdout import Part, hold_out, labels_of
from mmablate.data.loading import BatchReader
from mmablate.data.pictures import sample_info
from mmablate.errors import DataError, LeaseLost, StoreError
from mmablate.methods import FusingRule, UpdateRule, rule_of
from mmablate.methods.crossmodal import TEACHER
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.class_predictions import write_class_predictions
from mmablate.results.shown import write_predictions
from mmablate.results.store import CHECKPOINT, STATE
from mmablate.study import RunSpec
from mmablate.training import distributed
from mmablate.training.accuracy import Predict, score_accuracy
from mmablate.training.building import build_model, open_data
from mmablate.training.checkpoint import digest, load_into, save_weights
from mmablate.training.device import autocast, environment, placed, prepare_threads
from mmablate.training.evaluation import Evaluated, Scores, predictions, score
from mmablate.training.flops import forward_flops
from mmablate.training.focusing import TAG, Focusing, load_classifier, read_tag
from mmablate.training.memory import OutOfMemory, is_out_of_memory
from mmablate.training.progress import Progress, Report
from mmablate.training.recording import failure, run_record
from mmablate.training.saving import Interval
from mmablate.training.state import read_state, write_state
from mmablate.training.trainee import Piece, Trainee
from mmablate.training.usage import Usage
from mmablate.training.watching import Watch


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
        workers: processes that read batches ahead of a group; a split in memory needs none.
        samples: scenes of the scored split whose predictions are kept for the report.
        weight_files: hash -> path of the pre-trained weights that models start from.
        save_every: how often the states of unfinished runs are saved.
        stacks: run ids of those that are stepped as one (`mmablate.training.stacking`); the others go in turn.
        earlier: run -> its record when the call began; another one since is somebody's answer to this very call,
            and the run is not trained again.
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
    workers: int = 0
    samples: tuple[int, ...] = ()
    weight_files: Mapping[str, str] = field(default_factory=dict)
    save_every: Interval = field(default_factory=Interval)
    stacks: tuple[tuple[str, ...], ...] = ()
    earlier: Mapping[str, RunRecord | None] = field(default_factory=dict)


class Stepper(Protocol):
    """How the students of a group take one step; stacking them is another implementation of this."""

    def step(self, trainees: Sequence[Trainee], pieces: Iterable[Piece]) -> None:
        """One optimiser step of every run that is well, on the pieces of one batch."""

    def settle(self, trainees: Sequence[Trainee]) -> None:
        """Brings the runs' own state up to date: errors, losses, counts. Before an epoch ends or a run is saved."""


class InTurn:
    """One run after the other on each shared piece."""

    def step(self, trainees: Sequence[Trainee], pieces: Iterable[Piece]) -> None:
        """A run that fails drops out; the others go on."""
        for piece in pieces:
            for trainee in trainees:
                if trainee.error is None:
                    with trainee.guarded():
                        trainee.backward(piece)
            del piece  # the next one is made before the name is taken again
        for trainee in trainees:
            if trainee.error is None:
                with trainee.guarded():
                    trainee.update()

    def settle(self, trainees: Sequence[Trainee]) -> None:
        """Nothing: each run is up to date after its step."""


def predictor(model: nn.Module, method: Any) -> Predict:
    """A batch -> column -> the logits whose accuracy it is."""
    if isinstance(method, UpdateRule):
        return lambda batch: method.predict(model, batch)
    return lambda batch: method.scored(model(method.inputs(batch, ())))


def several(specs: Sequence[RunSpec]) -> bool:
    """Whether the runs are of several seeds or data, which only linear classifiers may be."""
    first = specs[0]
    return any((s.seed, s.settings["data"]) != (first.seed, first.settings["data"]) for s in specs)


class Group:
    trainee_type: type[Trainee] = Trainee

    def __init__(
        self,
        task: GroupTask,
        specs: Sequence[RunSpec],
        store: StudyStore,
        report: Report,
        stepper: Stepper,
        stopping: Callable[[], bool],
    ) -> None:
        if several(specs):
            raise ValueError("the runs of a lockstep group have one seed and read the same data")
        self.task, self.specs, self.store, self.report, self.stepper = task, specs, store, report, stepper
        self.stopping = stopping
        self.device = torch.device(task.device)
        self.settings = specs[0].settings
        self.train_settings = self.settings["train"]
        self.trainees: list[Trainee] = []
        self.records: list[RunRecord] = []
        self.lead = distributed.is_lead()
        self.readers: dict[str, BatchReader] = {}
        self.shared_seconds = 0.0
        self.waiting_seconds = 0.0
        self.order_digest = ""
        self.teacher: nn.Module | None = None
        self.tag: float | None = None  # of the teacher's channels
        self.tags: dict[str, float | None] = {}  # of the runs that are teachers with a focus

    def train(self) -> list[RunRecord]:
        prepare_threads(self.device, self.task.threads)
        self.usage = Usage(self.device, self.task.threads)
        try:
            self._train()
        except (KeyboardInterrupt, SystemExit, StoreError, LeaseLost):
            raise
        except OutOfMemory as error:
            self._make_room(error)
        except Exception as error:
            if is_out_of_memory(error):  # outside of a run's own work: the teacher's, or the batch's
                self._make_room(OutOfMemory(str(error)))
            else:
                self._fail(self.specs, self._ours_alone(error))
        return self.records

    def _make_room(self, error: OutOfMemory) -> None:
        """One run alone cannot be helped; of several the states are saved, and fewer at a time go on from them."""
        unfinished = self._unfinished()
        if len(unfinished) <= 1 or distributed.share().world > 1:
            for trainee in self._well():
                trainee.fail(type(error).__name__, str(error))
                self._end_failed(trainee)
            self._fail(self._unfinished(), error)
            return
        for trainee in self._well():
            trainee.discard()
        self._save_states()
        self.trainees.clear()
        raise error

    def _ours_alone(self, error: Exception) -> Exception:
        """The error, to be recorded; raised where other processes do not know of it and would wait for ever."""
        if distributed.share().world > 1:
            raise error
        return error

    def _train(self) -> None:
        self.data = cast(SampleData, open_data(self.settings["data"], self.task.data_root, seed=self.specs[0].seed))
        batches = self.batches = self._batches(self.data)
        self.saving = self.task.save_every.started()
        self.watch = Watch(
            self.data, self.settings, self._reader, device=self.device, precision=self._precision,
            seed=self.specs[0].seed,
        )  # fmt: skip
        # Steps that are counted by themselves are told as one epoch.
        epochs = 1 if self.train_settings.get("steps") else self.train_settings["epochs"]
        per_epoch = batches.steps_per_epoch()
        teacher = None
        try:
            teacher = self.teacher = self._load_teacher()
        except Exception as error:
            self._fail([spec for spec in self.specs if spec.settings["teacher"]], self._ours_alone(error))
        for spec in self._unfinished():
            try:
                self.trainees.append(self._trainee(spec, epochs * per_epoch))
            except Exception as error:  # a model of impossible options
                if is_out_of_memory(error):
                    raise
                self._fail([spec], self._ours_alone(error))
        self.report(Progress(skipped=sum(trainee.steps for trainee in self.trainees)))
        if not self._train_epochs(batches, teacher, epochs):
            return
        self.order_digest = batches.digest.hexdigest()
        self._score()

    def _trainee(self, spec: RunSpec, total_steps: int) -> Trainee:
        """The run at its beginning, or where an interrupted try has left it; its folder is made ready."""
        kept = self._kept(spec)
        first = spec.settings.get("pretrained")
        encoders = self.store.run_folder(first["run"]) / CHECKPOINT if first else None
        made = lambda: self.trainee_type(  # noqa: E731
            spec, self.data, self.device, total_steps, self.task.weight_files, kept, encoders
        )
        trainee = made()
        path = self.store.run_folder(spec.run_id) / STATE
        if distributed.share().world > 1:
            self.store.drop_state(spec.run_id)
        elif (state := read_state(path)) is not None:
            try:
                trainee.restore(state)
            except (KeyError, ValueError, TypeError, RuntimeError):
                trainee = made()
        if self.lead:
            self.store.start_run(spec.run_id, {"run_id": spec.run_id, **spec.settings}, trainee.history)
        return trainee

    def _train_epochs(self, batches: TrainingBatches, teacher: nn.Module | None, epochs: int) -> bool:
        """Trains until all runs have had all epochs; False where it was stopped, or none is well.

        The runs need not stand at the same step: each is trained from its own on.
        """
        per_epoch = batches.steps_per_epoch()
        method = self.trainees[0].method if self.trainees else None
        for epoch in range(epochs):
            if method is None or not self._well():
                return False
            if self.stopping():  # before an epoch: after one, its end and its scores come first
                self._save_states()
                return False
            behind = [trainee.steps for trainee in self._well()]
            start = min(max(min(behind) - epoch * per_epoch, 0), per_epoch)
            if start == per_epoch and all(len(trainee.history) > epoch for trainee in self._well()):
                for _ in batches.epoch(epoch, start=start, passed=self._count_masks):
                    pass
                continue
            self._epoch(batches, teacher, epoch, start)
            self._end_epoch(epoch, last=epoch == epochs - 1)
        return bool(self._well())

    def _count_masks(self, step: int) -> tuple[str, ...]:
        """The modalities of a step, which are part of the order's digest."""
        method = self.trainees[0].method
        present: tuple[str, ...] = method.present(self.specs[0].seed, step)
        if not isinstance(method, FusingRule):  # which hides nothing: rows of other modalities see the same samples
            self.batches.digest.update("+".join(present).encode())
        return present

    def _save_states(self) -> None:
        """Writes what the unfinished runs need to go on from this step."""
        if not self.lead or distributed.share().world > 1:
            return
        self.stepper.settle(self.trainees)
        for trainee in self._well():
            if trainee.steps and trainee.whole:  # of one that is not, an earlier state stays
                write_state(self.store.run_folder(trainee.spec.run_id) / STATE, trainee.state())

    def _reader(self, split: str) -> BatchReader:
        """The reader of a split; its processes, where it has some, live as long as the group.

        "train" is what steps see, "held" what `train.holdout` keeps from them.
        """
        if split not in self.readers:
            pin = self.device.type == "cuda"
            self.readers[split] = BatchReader(
                self._split(split), workers=self.task.workers, pin=pin, device=self.device
            )
        return self.readers[split]

    def _split(self, name: str) -> Split:
        share = self.train_settings.get("holdout", 0)
        if name not in ("train", "held") or not share:
            return self.data.splits[name]
        whole = self.data.splits["train"]
        kept, held = hold_out(labels_of(whole, range(len(whole))), share, self.specs[0].seed)
        return Part(whole, held if name == "held" else kept)

    def _batches(self, data: AnyData) -> TrainingBatches:
        augment = dict(self.train_settings["augment"])
        if augment["photometric"] is None:
            augment["photometric"] = list(data.modalities)[:1]
        return TrainingBatches(
            self._reader("train"),
            batch_size=self.train_settings["batch_size"],
            seed=self.specs[0].seed,
            role=self.specs[0].role,
            device=self.device,
            augmentation=Augmentation(**augment, ignore_label=data.ignore_label),
            parts=self.train_settings["accumulate"],
            share=distributed.share(),
            steps=self.train_settings.get("steps"),
            pictures=self.train_settings.get("pictures"),
        )

    def _kept(self, spec: RunSpec) -> tuple[int, ...] | None:
        """The channels that a teacher with a focus is trained on."""
        focus = spec.settings.get("focus")
        if focus is None or spec.role != "teacher" or not isinstance(self.data, ClassificationData):
            return None
        model = spec.settings["model"]
        chosen = self._focusing().choose(
            focus, self.data.modalities[model["modality"]][0], model["modality"], pair=focus.get("pair"), seed=spec.seed
        )
        self.tags[spec.run_id] = chosen.tag
        return chosen.kept

    def _focusing(self) -> Focusing:
        assert isinstance(self.data, ClassificationData)
        return Focusing(self.store, self.data, self.task.weight_files)

    def _load_teacher(self) -> nn.Module | None:
        """The frozen teacher, in eval mode; None where no run of the group compares with one."""
        described = next((s.settings["teacher"] for s in self.specs if s.settings["teacher"]), None)
        if described is None:
            return None
        if self.task.teacher_checkpoint is not None:
            path = Path(self.task.teacher_checkpoint).expanduser()
            known = described.get("checkpoint")
            if known is not None and path.is_file() and file_hash(path) != known:
                raise DataError(f"{path}: the file has changed since the study was planned")
        else:
            path = self.store.run_folder(described["run"]) / CHECKPOINT
        if isinstance(self.data, ClassificationData):
            return self._load_classifier(described, path)
        model = build_model(described["model"], self.data)
        load_into(model, path)
        return placed(model, self.device).eval().requires_grad_(False)

    def _load_classifier(self, described: Mapping[str, Any], path: Path) -> nn.Module:
        """The teacher as its students see it: with the channels that their focus leaves."""
        assert isinstance(self.data, ClassificationData)
        model = load_classifier(described["model"], self.data, path, part=described.get("part"))
        model = placed(model, self.device).eval().requires_grad_(False)
        focus = described.get("focus")
        if focus is not None and focus["keep"] != "all":
            focusing, modality = self._focusing(), described["model"]["modality"]
            model, self.tag = focusing.focused(
                model, focus, modality, self._reader("train"), pair=described.get("run"), seed=self.specs[0].seed,
                device=self.device, batch_size=self.settings["evaluate"]["batch_size"],
            )  # fmt: skip
            model.eval().requires_grad_(False)
        elif focus is None and "run" in described:
            self.tag = read_tag(self.store, described["run"])
        return model

    def _epoch(self, batches: TrainingBatches, teacher: nn.Module | None, epoch: int, start: int) -> None:
        if start == 0:
            self.watch.begin_epoch(epoch, [t for t in self._well() if t.steps == epoch * batches.steps_per_epoch()])
        started = time.perf_counter()
        first = epoch * batches.steps_per_epoch() + start
        for step, batch in enumerate(batches.epoch(epoch, start=start, passed=self._count_masks), first):
            self.waiting_seconds += time.perf_counter() - started
            present = self._count_masks(step)
            active = [trainee for trainee in self._well() if trainee.steps == step]
            compared = any(trainee.spec.settings["teacher"] for trainee in active)
            self.shared_seconds += time.perf_counter() - started
            self.stepper.step(active, self._pieces(batch, present, teacher if compared else None))
            self.report(Progress(steps=sum(trainee.error is None for trainee in active)))
            if not self._well():
                break
            self.saving.after_step(self._save_states)
            started = time.perf_counter()
        self.stepper.settle(self.trainees)
        for trainee in self.trainees:
            if trainee.error is None:
                with trainee.guarded():
                    trainee.check_weights()
            if trainee.error is not None:
                self._end_failed(trainee)

    def _pieces(self, batch: Batch, present: tuple[str, ...], teacher: nn.Module | None) -> Iterator[Piece]:
        """The batch in as many parts as the recipe says, the teacher's view of each made when its turn comes."""
        method = self.trainees[0].method
        parts = batch.parts()
        pixels = torch.stack([(part.labels != self.data.ignore_label).sum() for part in parts])
        images = torch.tensor([len(part) for part in parts], device=pixels.device)
        share = distributed.share()
        whole = len(parts) == 1 and share.world == 1
        all_pixels, all_images = (
            (distributed.summed(count.sum()) for count in (pixels, images)) if not whole else (1, 1)
        )
        for index, part in enumerate(parts):
            started = time.perf_counter()
            shares = None
            if not whole:
                shares = {
                    "pixels": float(pixels[index] / max(1, int(all_pixels))),
                    "images": float(images[index] / int(all_images)),
                }
            reference = None
            if teacher is not None:
                with torch.no_grad(), self._precision():
                    reference = method.reference(teacher, part)
            self.shared_seconds += time.perf_counter() - started
            number = share.rank * len(parts) + index
            yield Piece(part, present, reference, number, index == len(parts) - 1, shares)

    def _end_epoch(self, epoch: int, *, last: bool) -> None:
        there = "val" in self.data.splits
        validate = there and (last or (epoch + 1) % self.settings["evaluate"]["every"] == 0)
        ended = [trainee for trainee in self._well() if len(trainee.history) == epoch]
        scores = self._scores("val", ended) if validate else {}
        for trainee in ended:
            if trainee.error is not None:
                continue
            trainee.told |= rule_of(trainee.method).end_epoch(epoch)
            looked = self.watch.end_epoch(trainee) if validate else {}
            if trainee.error is not None:
                self._end_failed(trainee)
                continue
            found = scores.get(trainee.spec.run_id)
            own = found.scores if found is not None else None
            # Without test labels the score is taken on validation, which must then not select as well:
            # the last epoch it is.
            if (own is not None or not there) and (last or self._may_select()):
                trainee.keep(epoch + 1, own or {})
            line = {
                "epoch": epoch + 1,
                "step": trainee.steps,
                "losses": trainee.epoch_losses(),
                "lr": trainee.optimizer.param_groups[0]["lr"],
                "val": own,
                "seconds": round(trainee.seconds, 3),
                **looked,
                **trainee.told,
            }
            trainee.history.append(line)
            if self.lead:
                self.store.append_history(trainee.spec.run_id, line)

    def _may_select(self) -> bool:
        return "test" in self.data.splits

    def _scores(self, split: str, trainees: Sequence[Trainee], *, by_condition: bool = False) -> dict[str, Evaluated]:
        """run_id -> scores of every run that is well; one that fails over it is recorded, the others go on."""
        for trainee in trainees:
            distributed.average_buffers(trainee.model)
            trainee.model.eval()
        guard = lambda index: self._guard(trainees[index])  # noqa: E731
        scores = self._evaluate(trainees, self._reader(split), guard, by_condition=by_condition)
        for trainee in trainees:
            if trainee.error is not None:
                self._end_failed(trainee)
        return {t.spec.run_id: own for t, own in zip(trainees, scores, strict=True) if own is not None}

    def _evaluate(
        self,
        trainees: Sequence[Trainee],
        reader: BatchReader,
        guard: Callable[[int], AbstractContextManager[object]],
        *,
        by_condition: bool = False,
    ) -> list[Evaluated | None]:
        """The scores of models in eval mode, by the task of the data."""
        settings = self.settings["evaluate"]
        common: dict[str, Any] = {"device": self.device, "precision": self._precision, "by_condition": by_condition}
        if isinstance(self.data, ClassificationData):
            predict = [predictor(trainee.model, trainee.method) for trainee in trainees]
            return score_accuracy(predict, reader, settings["batch_size"], guard=guard, **common)
        return score([trainee.model for trainee in trainees], reader, self.data, settings, guard=guard, **common)

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.train_settings["precision"])

    def _guard(self, trainee: Trainee) -> AbstractContextManager[None]:
        self.report(Progress())  # evaluations may be long: a sign of life
        return trainee.guarded()

    def _score(self) -> None:
        """Scores the selected weights once, and writes the records."""
        if self.stopping():
            self._save_states()
            return
        for trainee in self._well():
            assert trainee.best is not None  # the last epoch is always validated
            trainee.model.load_state_dict(trainee.best[2])
        scores = self._scores(self.data.scored_split, self._well(), by_condition=True)
        beside = self._teacher_scores()
        for trainee in self._well():
            found = scores[trainee.spec.run_id]
            if trainee.spec.settings["teacher"]:
                found = found.with_columns(beside)
            with trainee.guarded():
                found = found.with_columns(Evaluated(self.watch.describe(trainee)))
            if trainee.error is not None:
                self._end_failed(trainee)
                continue
            self._end_well(trainee, found)

    def _teacher_scores(self) -> Evaluated:
        """What describes the teacher that the students saw: its accuracy, and whether its channels are general."""
        if self.teacher is None or not isinstance(self.data, ClassificationData):
            return Evaluated({})
        method = next((t.method for t in self.trainees if t.spec.settings["teacher"]), None)
        if method is None:  # none of those that learn from it could be built
            return Evaluated({})
        predict = lambda batch: {TEACHER: method.reference(self.teacher, batch).logits}  # noqa: E731
        reader, size = self._reader(self.data.scored_split), self.settings["evaluate"]["batch_size"]
        found = score_accuracy(
            [predict], reader, size, device=self.device, precision=self._precision, by_condition=True
        )[0]
        assert found is not None
        return found if self.tag is None else found.with_columns(Evaluated({TAG: self.tag}))

    def _well(self) -> list[Trainee]:
        return [trainee for trainee in self.trainees if trainee.error is None]

    def _unfinished(self) -> list[RunSpec]:
        done = {record.run_id for record in self.records}
        return [spec for spec in self.specs if spec.run_id not in done]

    # --- records ----------------------------------------------------------------------------------------

    def _end_well(self, trainee: Trainee, found: Evaluated) -> None:
        assert trainee.best is not None
        epoch, validation, weights = trainee.best
        if self.lead and (trainee.spec.role != "student" or self.task.keep == "all"):
            save_weights(self.store.run_folder(trainee.spec.run_id) / CHECKPOINT, weights)
        extra = {
            "selected_epoch": epoch,
            "validation": validation,
            "scored_on": self.data.scored_split,
            "conditions": found.conditions,
            "synthetic": self.data.synthetic,
            "flops": self._flops(trainee),
        }
        if trainee.spec.run_id in self.tags and (tag := self.tags[trainee.spec.run_id]) is not None:
            found = found.with_columns(Evaluated({TAG: tag}))
        if self.lead and trainee.spec.role == "pair":
            self._keep_saliency(trainee)
        digests = {"init": trainee.initial_digest, "order": self.order_digest, "final": digest(weights)}
        self._finish(self._record(trainee.spec, trainee, None, found.scores, digests, **extra))
        self._keep_predictions(trainee)

    def _flops(self, trainee: Trainee) -> float | None:
        split = self.data.splits[self.data.scored_split]
        if not isinstance(self.data, ClassificationData):
            return forward_flops(trainee.model, split, self.device)
        return forward_flops(trainee.model, split, self.device, lambda batch: trainee.method.inputs(batch, ()))

    def _keep_saliency(self, trainee: Trainee) -> None:
        """Algorithm 1, step 2: how general what each channel of the teacher carries is."""
        settings = trainee.spec.settings
        self._focusing().measure(
            trainee.model, settings["focus"], self._reader(settings["focus"]["split"]),
            modalities=(settings["model"]["teacher"]["modality"], settings["model"]["student"]["modality"]),
            folder=self.store.run_folder(trainee.spec.run_id), seed=trainee.spec.seed, device=self.device,
            batch_size=self.settings["evaluate"]["batch_size"],
        )  # fmt: skip

    def _keep_predictions(self, trainee: Trainee) -> None:
        """A few class maps, or all predicted classes, for people to look at."""
        if isinstance(self.data, ClassificationData):
            self._keep_classes(trainee, self.data)
            return
        if not (self.lead and self.task.samples):
            return
        split = self.data.splits[self.data.scored_split]
        try:
            maps = predictions(
                trainee.model,
                split,
                self.task.samples,
                self.data,
                device=self.device,
                precision=self._precision,
            )
        except Exception:  # a device that is full now, a file that is gone: the score stands without a picture
            return
        write_predictions(self.store.run_folder(trainee.spec.run_id), self.task.samples, maps)

    def _keep_classes(self, trainee: Trainee, data: ClassificationData) -> None:
        """What a student says of every scored sample; small beside the weights."""
        if not self.lead or trainee.spec.role != "student":
            return
        split = data.splits[data.scored_split]
        places = range(len(split))
        try:
            write_class_predictions(
                self.store.run_folder(trainee.spec.run_id), indices=list(places), labels=labels_of(split, places),
                ids=[sample_info(split, index).id for index in places], logits=self.watch.outputs(trainee),
                synthetic=data.synthetic, drawn=find("dataset", self.settings["data"]["name"]).seeded, durable=False,
            )  # fmt: skip
        except Exception:  # a device or a disk that is full now: the score stands without them
            return

    def _end_failed(self, trainee: Trainee) -> None:
        if trainee.spec.run_id not in {record.run_id for record in self.records}:
            digests = {"init": trainee.initial_digest, "order": None, "final": None}
            self._finish(self._record(trainee.spec, trainee, trainee.error, {}, digests))

    def _fail(self, specs: Sequence[RunSpec], error: Exception) -> None:
        """Records those of the runs that have no record yet as failed outside a step of theirs."""
        told = failure(error)
        unfinished = self._unfinished()
        trainees = {trainee.spec.run_id: trainee for trainee in self.trainees}
        for spec in specs:
            if spec in unfinished:
                self._finish(self._record(spec, trainees.get(spec.run_id), told, {}, {}))

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
        return run_record(
            spec,
            self.task.study,
            error=error,
            metrics=metrics,
            n_parameters=trainee.n_parameters if trainee else None,
            seconds=round(trainee.seconds + share, 3) if trainee else None,
            steps=trainee.steps if trainee else 0,
            digests=digests,
            environment={
                **environment(self.device, self.train_settings["precision"]),
                "processes": distributed.share().world,
                "seconds_waiting_for_data": round(self.waiting_seconds, 3),
                "group": [own.run_id for own in self.specs],
                **({"resumed_at_step": trainee.resumed} if trainee and trainee.resumed else {}),
                **self.usage.figures(),
            },
            **extra,
        )

    def _finish(self, record: RunRecord) -> None:
        if self.lead:
            if not self.store.leases.mine(record.run_id):
                raise LeaseLost(record.run_id)
            self.store.finish_run(record)
        self.records.append(record)
        self.report(Progress(finished=(record,)))
