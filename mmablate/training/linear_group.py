"""A group of linear classifiers of all seeds and settings, trained as one stack.

Its runs read in-memory data that are drawn for each seed, and learn by plain gradient descent on the whole training
set (`mmablate.study.stacks.linear_key`). What each computes is what it computes in turn, up to the order of
floating-point sums; its history tells the losses of the last step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmablate.data.base import ClassificationData, LabelledSplit
from mmablate.data.streams import generator
from mmablate.errors import LeaseLost, StoreError
from mmablate.methods.crossmodal import ACCURACY, TEACHER
from mmablate.methods.saliency import channel_saliency
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.files import Barrier
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec
from mmablate.study.datasets import open_dataset
from mmablate.study.reading import restricted
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import digest, load_weights, save_weights
from mmablate.training.device import environment, prepare_threads
from mmablate.training.focusing import TAG, Focusing, read_tag
from mmablate.training.linear_stack import LinearPair, LinearRun, train_linear, train_linear_pairs
from mmablate.training.progress import Progress, Report
from mmablate.training.recording import failure, run_record
from mmablate.training.usage import Usage

if TYPE_CHECKING:
    from mmablate.training.lockstep import GroupTask

WRITERS = 4

LAYER = "stages.logits."
"""Of a linear classifier, as its state dict calls it."""


class _Views:
    """Modalities as tensors, each once: runs that read the same share its products."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._views: dict[str, dict[str, Tensor]] = {}
        self._known: dict[str, ClassificationData] = {}
        self._of_run: dict[str, ClassificationData] = {}
        self._of_side: dict[tuple[str, str], dict[str, Tensor]] = {}

    def data(self, spec: RunSpec) -> ClassificationData:
        """All that a run reads, without its samples."""
        if spec.run_id not in self._of_run:
            settings = {key: value for key, value in spec.settings["data"].items() if key != "fingerprint"}
            key = json.dumps([settings, spec.seed], sort_keys=True)
            if key not in self._known:
                self._known[key] = _bare(open_dataset(settings, None, seed=spec.seed))
            self._of_run[spec.run_id] = self._known[key]
        return self._of_run[spec.run_id]

    def of(self, spec: RunSpec, modality: str) -> dict[str, Tensor]:
        """Split -> inputs (N, D) of one modality, and "train labels" and so on."""
        if (spec.run_id, modality) not in self._of_side:
            self._of_side[spec.run_id, modality] = self._view(spec, modality)
        return self._of_side[spec.run_id, modality]

    def _view(self, spec: RunSpec, modality: str) -> dict[str, Tensor]:
        settings = restricted(spec.settings["data"], (modality,))
        key = json.dumps([settings, spec.seed], sort_keys=True)
        if key not in self._views:
            data: ClassificationData = open_dataset(settings, None, seed=spec.seed)
            found: dict[str, Tensor] = {}
            for name, split in data.splits.items():
                inputs, labels = split.batch(range(len(split)))
                found[name] = torch.from_numpy(inputs[modality]).to(self.device)
                found[f"{name} labels"] = torch.from_numpy(labels).to(self.device)
            self._views[key] = found
        return self._views[key]


def _bare(data: ClassificationData) -> ClassificationData:
    """The data without their samples, which the views hold; a study may have hundreds of them."""
    nothing = LabelledSplit({name: np.zeros((0, 1)) for name in data.modalities}, np.zeros(0))
    return replace(data, splits=dict.fromkeys(data.splits, nothing))


class LinearGroup:
    """The runs of one stack; the counterpart of what `train_group` does with a lockstep group.

    Args:
        task: of the group.
        specs: runs of one `linear_key`.
        store: of the study.
        report: hears of progress.
    """

    def __init__(self, task: GroupTask, specs: Sequence[RunSpec], store: StudyStore, report: Report) -> None:
        self.task, self.specs, self.store, self.report = task, specs, store, report
        self.device = torch.device(task.device)
        self.train_settings: Mapping[str, Any] = specs[0].settings["train"]
        self.views = _Views(self.device)
        self.chosen: dict[str, tuple[tuple[int, ...], float | None]] = {}
        self.begun: dict[str, tuple[dict[str, Tensor], str]] = {}  # by run; many begin alike
        self.initial: dict[str, tuple[dict[str, Tensor], str]] = {}
        self.read: dict[str, tuple[dict[str, Tensor], float | None]] = {}
        self.folders: dict[str, Future[None]] = {}
        self.records: list[RunRecord] = []
        self.seconds = 0.0

    def train(self) -> list[RunRecord]:
        """Trains, scores and records all runs."""
        # Hundreds of runs end at once: their files become durable together, not each by itself.
        with self.store.barrier() as barrier:
            self._train(barrier)
        return self.records

    def _train(self, barrier: Barrier) -> None:
        began = time.perf_counter()
        prepare_threads(self.device, self.task.threads)
        usage = Usage(self.device, self.task.threads)
        with ThreadPoolExecutor(WRITERS) as self.pool:
            self._train_all(barrier, began, usage)

    def _train_all(self, barrier: Barrier, began: float, usage: Usage) -> None:
        # Making files waits for the disk, and need not be waited for before the training.
        self.folders = {spec.run_id: self.pool.submit(self._make_folder, spec) for spec in self.specs}
        ready = [spec for spec in self.specs if self._start(spec)]
        finish = self._train_pairs if self.specs[0].role == "pair" else self._train_runs
        try:
            scored = list(finish(ready))
        except (KeyboardInterrupt, SystemExit, StoreError, LeaseLost):
            raise
        except Exception as error:
            for spec in ready:
                self._fail(spec, failure(error))
            return
        self.where = {
            **environment(self.device, "float32"), "processes": 1, "stack": len(self.specs), **usage.figures()
        }  # fmt: skip
        self.seconds = (time.perf_counter() - began) / len(self.specs)
        for made in self.folders.values():
            made.result()
        records = list(self.pool.map(lambda write: write(), scored))
        ours = [record for record in records if self.store.leases.mine(record.run_id)]
        self.store.finish_runs(ours, barrier)
        for record in ours:
            self._tell(record)
        if len(ours) < len(records):
            raise LeaseLost(next(record.run_id for record in records if record not in ours))

    def _make_folder(self, spec: RunSpec) -> None:
        self.store.start_run(spec.run_id, {"run_id": spec.run_id, **spec.settings})
        self.store.drop_state(spec.run_id)

    # --- before -------------------------------------------------------------------------------------------------

    def _start(self, spec: RunSpec) -> bool:
        """Opens what the run reads; a run for which that fails is recorded, and the others go on."""
        try:
            if spec.role == "pair":
                for side in ("teacher", "student"):
                    self.views.of(spec, spec.settings["model"][side]["modality"])
            else:
                self._kept(spec)
                if spec.settings["teacher"]:
                    self._teacher(spec)
            self._initial(spec)
        except (KeyboardInterrupt, SystemExit, StoreError, LeaseLost):
            raise
        except Exception as error:
            self._fail(spec, failure(error))
            return False
        return True

    def _initial(self, spec: RunSpec) -> tuple[dict[str, Tensor], str]:
        """Initial weights, as in turn, and their digest; drawn once for all runs that begin alike."""
        if spec.run_id in self.begun:
            return self.begun[spec.run_id]
        data, kept = self.views.data(spec), self._kept(spec)[0]
        key = json.dumps([spec.settings["model"], spec.seed, spec.role, kept, dict(data.modalities)])
        if key not in self.initial:
            model = initial_model(spec.settings["model"], data, seed=spec.seed, role=spec.role, kept=kept)
            weights = {name: value.detach() for name, value in model.state_dict().items()}
            self.initial[key] = weights, digest(weights)
        self.begun[spec.run_id] = self.initial[key]
        return self.initial[key]

    def _kept(self, spec: RunSpec) -> tuple[tuple[int, ...] | None, float | None]:
        """The channels that a teacher with a focus is trained on, and the share of them that is general."""
        focus = spec.settings.get("focus")
        if focus is None or spec.role != "teacher":
            return None, None
        if spec.run_id not in self.chosen:
            self.chosen[spec.run_id] = self._choose(spec, focus)
        return self.chosen[spec.run_id]

    def _choose(self, spec: RunSpec, focus: Mapping[str, Any]) -> tuple[tuple[int, ...], float | None]:
        data, modality = self.views.data(spec), spec.settings["model"]["modality"]
        chosen = Focusing(self.store, data, self.task.weight_files).choose(
            focus, data.modalities[modality][0], modality, pair=focus.get("pair"), seed=spec.seed
        )
        return chosen.kept, chosen.tag

    def _teacher(self, spec: RunSpec) -> tuple[dict[str, Tensor], float | None]:
        """Split -> logits of the frozen teacher, and the share of its channels that is general."""
        described = spec.settings["teacher"]
        view = self.views.of(spec, described["model"]["modality"])
        key = json.dumps([described["run"], id(view)])
        if key not in self.read:
            weights = load_weights(self.store.run_folder(described["run"]) / CHECKPOINT)
            prefix = "inner." if "kept" in weights else ""
            weight, bias = (weights[f"{prefix}{LAYER}{name}"].to(self.device) for name in ("weight", "bias"))
            kept = weights["kept"].to(self.device) if "kept" in weights else None
            logits = {
                name: F.linear(x if kept is None else x[:, kept], weight, bias)
                for name, x in view.items()
                if not name.endswith(" labels")
            }
            self.read[key] = logits, read_tag(self.store, described["run"]) if kept is not None else None
        return self.read[key]

    # --- runs ---------------------------------------------------------------------------------------------------

    def _train_runs(self, specs: Sequence[RunSpec]) -> Iterator[Callable[[], RunRecord]]:
        """Trains students or teachers; yields what writes each of them down."""
        problems, chosen = [], {}
        for spec in specs:
            view = self.views.of(spec, spec.settings["model"]["modality"])
            kept, tag = self._kept(spec)
            inputs = view if kept is None else {name: x[:, list(kept)] for name, x in view.items() if x.ndim == 2}
            chosen[spec.run_id] = inputs, tag
            start = self._initial(spec)[0]
            prefix = "" if kept is None else "inner."
            weights = self._term_weights(spec)
            teacher = self._teacher(spec)[0]["train"] if weights["kd"] else None
            problems.append(
                LinearRun(
                    inputs["train"],
                    view["train labels"],
                    start[f"{prefix}{LAYER}weight"].to(self.device),
                    start[f"{prefix}{LAYER}bias"].to(self.device),
                    weights["ce"],
                    weights["kd"],
                    teacher,
                )
            )
        for spec, found in zip(specs, train_linear(problems, **self._rule()), strict=True):
            self.report(Progress(steps=self.train_settings["steps"]))
            if found.fault is not None:
                yield self._failing(spec, found.fault)
                continue
            view = self.views.of(spec, spec.settings["model"]["modality"])
            inputs, tag = chosen[spec.run_id]
            metrics, validation = (
                self._scores(spec, {ACCURACY: F.linear(inputs[split], found.weight, found.bias)}, view, split)
                if split in inputs
                else {}
                for split in ("test", "val")
            )
            if tag is not None:
                metrics[TAG] = tag
            start, begun = self._initial(spec)
            prefix = "inner." if "kept" in start else ""
            final = {**start, f"{prefix}{LAYER}weight": found.weight, f"{prefix}{LAYER}bias": found.bias}
            losses = {t["key"]: found.losses[-1][1][kind] / size for t, kind, size in self._terms(spec)}
            yield self._writing(spec, metrics, validation, losses, final, begun)

    def _rule(self) -> dict[str, Any]:
        settings = self.train_settings
        return {"lr": settings["lr"], "steps": settings["steps"], "momentum": settings["momentum"]}

    def _terms(self, spec: RunSpec) -> Iterator[tuple[Mapping[str, Any], str, int]]:
        """Each term of the run, which of "ce" and "kd" it is, and what a nat a sample is divided by."""
        n_classes = self.views.data(spec).n_classes
        for term in spec.settings["losses"]:
            kind = "ce" if term["term"] == "sup" else "kd"
            yield term, kind, n_classes if kind == "kd" and term["definition"] == "released" else 1

    def _term_weights(self, spec: RunSpec) -> dict[str, float]:
        weights = {"ce": 0.0, "kd": 0.0}
        for term, kind, size in self._terms(spec):
            weights[kind] += term["weight"] / size
        return weights

    def _scores(
        self, spec: RunSpec, logits: Mapping[str, Tensor], view: Mapping[str, Tensor], split: str
    ) -> dict[str, float]:
        """Column -> accuracy in percent; of a student with a teacher that of the teacher beside it."""
        found = {column: _accuracy(own, view[f"{split} labels"]) for column, own in logits.items()}
        if spec.settings["teacher"]:
            told, tag = self._teacher(spec)
            if split == "test" or "test" not in told:
                found[TEACHER] = _accuracy(told[split], view[f"{split} labels"])
                found |= {} if tag is None else {TAG: tag}
        return found

    # --- pairs --------------------------------------------------------------------------------------------------

    def _train_pairs(self, specs: Sequence[RunSpec]) -> Iterator[Callable[[], RunRecord]]:
        """Algorithm 1: joint training, then the saliency of the teacher's channels."""
        problems = []
        for spec in specs:
            sides, start = [], self._initial(spec)[0]
            for side in ("teacher", "student"):
                view = self.views.of(spec, spec.settings["model"][side]["modality"])
                weight, bias = (start[f"{side}.{LAYER}{name}"].to(self.device) for name in ("weight", "bias"))
                sides.append(LinearRun(view["train"], view["train labels"], weight, bias))
            distance = next((float(t["weight"]) for t in spec.settings["losses"] if t["term"] == "dist"), 0.0)
            problems.append(LinearPair(teacher=sides[0], student=sides[1], distance=distance))
        for spec, problem, found in zip(specs, problems, train_linear_pairs(problems, **self._rule()), strict=True):
            self.report(Progress(steps=self.train_settings["steps"]))
            if found.fault is not None:
                yield self._failing(spec, found.fault)
                continue
            layers = {
                "teacher": (found.teacher_weight, found.teacher_bias),
                "student": (found.student_weight, found.student_bias),
            }
            metrics, validation = (self._pair_scores(spec, layers, split) for split in ("test", "val"))
            start, begun = self._initial(spec)
            final = {
                f"{side}.{LAYER}{name}": value
                for side, own in layers.items()
                for name, value in zip(("weight", "bias"), own, strict=True)
            }
            last = found.losses[-1][1]
            losses = {
                t["key"]: last["distance"] if t["term"] == "dist" else last["ce_teacher"] + last["ce_student"]
                for t in spec.settings["losses"]
            }
            self._measure(spec, problem, layers)
            yield self._writing(spec, metrics, validation, losses, {**start, **final}, begun)

    def _pair_scores(self, spec: RunSpec, layers: Mapping[str, tuple[Tensor, Tensor]], split: str) -> dict[str, float]:
        """Accuracy of the student, and of the teacher beside it; {} where there is no such split."""
        columns, view = {}, {}
        for column, side in ((ACCURACY, "student"), (TEACHER, "teacher")):
            view = self.views.of(spec, spec.settings["model"][side]["modality"])
            if split not in view:
                return {}
            columns[column] = F.linear(view[split], *layers[side])
        return self._scores(spec, columns, view, split)

    def _measure(self, spec: RunSpec, pair: LinearPair, layers: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        settings, focus = spec.settings["model"], spec.settings["focus"]
        inputs = {s: self.views.of(spec, settings[s]["modality"])[focus["split"]] for s in ("teacher", "student")}
        teacher = torch.nn.Linear(pair.teacher.inputs.shape[1], len(layers["teacher"][1]), device=self.device)
        teacher.load_state_dict(dict(zip(("weight", "bias"), layers["teacher"], strict=True)))
        found = channel_saliency(
            teacher.requires_grad_(False), inputs["teacher"], F.linear(inputs["student"], *layers["student"]),
            permutations=focus["permutations"], distance=focus["distance"],
            generator=generator(spec.seed, "focus", "permutations"),
        )  # fmt: skip
        self.folders[spec.run_id].result()
        Focusing(self.store, self.views.data(spec), self.task.weight_files).keep(
            found, focus, settings["teacher"]["modality"], self.store.run_folder(spec.run_id), durable=False
        )

    # --- records ------------------------------------------------------------------------------------------------

    def _writing(
        self,
        spec: RunSpec,
        metrics: dict[str, float],
        validation: dict[str, float],
        losses: dict[str, float],
        final: dict[str, Tensor],
        begun: str,
    ) -> Callable[[], RunRecord]:
        def write() -> RunRecord:
            settings, data = self.train_settings, self.views.data(spec)
            line = {
                "epoch": 1, "step": settings["steps"], "losses": losses, "lr": settings["lr"],
                "val": validation or None, "seconds": round(self.seconds, 3),
            }  # fmt: skip
            self.store.append_history(spec.run_id, line)
            if spec.role != "student" or self.task.keep == "all":
                save_weights(self.store.run_folder(spec.run_id) / CHECKPOINT, final, durable=False)
            return run_record(
                spec,
                self.task.study,
                metrics=metrics,
                validation=validation,
                synthetic=data.synthetic,
                n_parameters=sum(x.numel() for name, x in final.items() if not name.endswith("kept")),
                flops=float(sum(2 * x.numel() for name, x in final.items() if name.endswith("weight"))),
                seconds=round(self.seconds, 3),
                steps=settings["steps"],
                environment=self.where,
                selected_epoch=1,
                scored_on=data.scored_split,
                digests={"init": begun, "order": None, "final": digest(final)},
            )

        return write

    def _failing(self, spec: RunSpec, fault: Any) -> Callable[[], RunRecord]:
        keys = {kind: term["key"] for term, kind, _ in self._terms(spec)} if spec.role != "pair" else {}
        name = keys.get(fault.term, fault.term)
        error = type(fault)(name, fault.value, fault.step)
        return lambda: self._failed(spec, failure(error, fault.step))

    def _failed(self, spec: RunSpec, error: RunError) -> RunRecord:
        steps = error.step - 1 if error.step else 0  # the bad one was not taken
        return run_record(spec, self.task.study, error=error, environment={}, steps=steps)

    def _fail(self, spec: RunSpec, error: RunError) -> None:
        """Records a run that cannot be trained, by itself."""
        self.folders[spec.run_id].result()
        record = self._failed(spec, error)
        if not self.store.leases.mine(record.run_id):
            raise LeaseLost(record.run_id)
        self.store.finish_run(record)
        self._tell(record)

    def _tell(self, record: RunRecord) -> None:
        self.records.append(record)
        self.report(Progress(finished=(record,)))


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)
