"""Tiny studies of models that fuse modalities: features of three views in memory-sized files, small dense encoders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from mmablate.data.base import ClassificationData
from mmablate.data.batches import Batch
from mmablate.data.streams import generator
from mmablate.execution.grouping import group_runs
from mmablate.results import RunRecord, StudyStore
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec, Study, open_study
from mmablate.training.building import open_data
from mmablate.training.checkpoint import load_weights
from mmablate.training.group import GroupTask, InTurn, train_group
from mmablate.training.saving import Interval
from mmablate.training.trainee import Piece, Trainee

CPU = torch.device("cpu")
NAME = "fused"
SIZES = {"a": 6, "b": 5, "c": 4}
CLASSES = 3
SAMPLES = 150  # 90 of which train, 30 validate, 30 test

RECIPE: dict[str, Any] = {
    "name": NAME,
    "data": {
        "name": "arrays", "modalities": {"a": "a.npy", "b": "b.npy"}, "labels": "labels.npy",
    },
    "model": {"name": "fusion_classifier", "encoder": {"kind": "mlp", "hidden": [7, 5]}, "fusion": "concat"},
    "method": {"name": "dgl"},
    "train": {
        "epochs": 2, "batch_size": 15, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3,
        "schedule": "constant", "warmup": 0, "clip": 0.5, "holdout": 0.2, "select": "last",
    },
    "losses": {"sup": {"weight": 1}, "uni": {"weight": 4}, "unique": {"weight": 2, "permutations": 20, "width": 3}},
    "rows": [
        {"name": "joint", "losses": ["sup"], "overrides": {"method": "joint_fusion"}},
        {"name": "lr", "losses": ["sup"], "overrides": {"method": "joint_fusion", "train.encoder_lr": 4}},
        {"name": "alone", "losses": ["sup"], "overrides": {"method": "joint_fusion", "model.modalities": ["a"]}},
        {"name": "ogm", "losses": ["sup"], "overrides": {"method": "ogm_ge"}},
        {"name": "dgl", "losses": ["sup", "uni"]},
        {"name": "untruncated", "losses": ["sup", "uni"], "overrides": {"method.truncate": False}},
        {"name": "shared", "losses": ["sup", "uni"], "overrides": {"method.detach_head": False}},
        {"name": "no_uni", "losses": ["sup"]},
        {"name": "unique", "losses": ["sup", "uni", "unique"]},
        {"name": "shuffled", "overrides": {"losses.unique.adapt": "shuffled"}},
        {"name": "residual", "overrides": {"losses.unique.definition": "residual"}},
    ],
    "baseline": "joint",
    "seeds": [0, 1],
    "evaluate": {"metric": "accuracy", "every": 1, "also": ["probes", "own", "gain", "scores"]},
}  # fmt: skip


def write_views(folder: Path, noise: Mapping[str, float | None], *, samples: int = SAMPLES, seed: int = 0) -> None:
    """One file a view and the labels: a code of each class plus noise of that deviation; None is noise alone."""
    stream = np.random.default_rng(seed)
    labels = np.arange(samples) % CLASSES
    for name, size in SIZES.items():
        codes, drawn = stream.normal(size=(CLASSES, size)), stream.normal(size=(samples, size))
        deviation = noise.get(name, 1.0)
        values = drawn if deviation is None else codes[labels] + deviation * drawn
        np.save(folder / f"{name}.npy", values.astype(np.float32))
    np.save(folder / "labels.npy", labels)


class Bench:
    """Plans and trains tiny studies on views that lie in one folder, each call with a results folder of its own.

    Args:
        folder: for all files.
        noise: of each view, see `write_views`.
        changes: of the recipe's sections.
    """

    def __init__(self, folder: Path, noise: Mapping[str, float | None] | None = None, **changes: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.count = folder, 0
        write_views(folder, noise or {"a": 0.8, "b": 2.0})
        self.recipe = {**RECIPE, **changes}

    def study(self, *overrides: str, rows: Sequence[str] = ()) -> Study:
        """The recipe with KEY=VALUE, planned; of these rows alone, since a fusion of two suits no row of one."""
        recipe = dict(self.recipe)
        if rows:
            recipe |= {"rows": [row for row in recipe["rows"] if row["name"] in rows], "baseline": rows[0]}
        path = self.folder / f"{'_'.join(rows) or 'all'}.yaml"
        path.write_text(yaml.safe_dump(recipe, sort_keys=False))
        found = open_study(str(path), overrides=list(overrides), data_root=str(self.folder))
        assert isinstance(found, Study)
        return found

    def spec(self, row: str, *overrides: str, seed: int = 0) -> RunSpec:
        """The run of a row."""
        return of_row(self.study(*overrides, rows=[row]), row, seed)

    def data(self, spec: RunSpec) -> ClassificationData:
        """What a run reads."""
        data = open_data(spec.settings["data"], str(self.folder), seed=spec.seed)
        assert isinstance(data, ClassificationData)
        return data

    def trainee(self, row: str, *overrides: str, seed: int = 0, steps: int = 12) -> Trainee:
        """A run at its beginning."""
        spec = self.spec(row, *overrides, seed=seed)
        return Trainee(spec, self.data(spec), CPU, steps)

    def out(self) -> Path:
        """A new results folder."""
        self.count += 1
        path = self.folder / f"out{self.count}"
        StudyStore(path, NAME).prepare()
        return path

    def task(self, specs: Sequence[RunSpec], out: Path, **options: Any) -> GroupTask:
        """A group of runs, whose weights are kept."""
        return GroupTask(tuple(specs), NAME, out, str(self.folder), "cpu", **{"keep": "all", **options})

    def train(self, specs: Sequence[RunSpec], out: Path | None = None, **options: Any) -> Trained:
        """Trains these, in groups as they come."""
        out = out or self.out()
        groups = [group.specs for group in group_runs(specs)]
        records = [r for own in groups for r in train_group(self.task(own, out, **options), lambda progress: None)]
        return Trained(StudyStore(out, NAME), {record.run_id: record for record in records})


class Trained:
    """What a group left.

    Args:
        store: where.
        records: of its runs, by their ids.
    """

    def __init__(self, store: StudyStore, records: Mapping[str, RunRecord]) -> None:
        self.store, self.records = store, records

    def record(self, spec: RunSpec) -> RunRecord:
        """That of a run."""
        return self.records[spec.run_id]

    def weights(self, spec: RunSpec) -> dict[str, Tensor]:
        """Of a run."""
        return load_weights(self.store.run_folder(spec.run_id) / CHECKPOINT)

    def history(self, spec: RunSpec) -> list[dict[str, Any]]:
        """Of a run, an epoch a line."""
        path = self.store.run_folder(spec.run_id) / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


def of_row(study: Study, row: str, seed: int = 0) -> RunSpec:
    """The student of a row."""
    return next(s for s in study.runs if s.role == "student" and s.seed == seed and row in s.rows)


def batch_of(trainee: Trainee, data: ClassificationData, step: int = 0, size: int = 15) -> Batch:
    """Training samples of a step, drawn for this test."""
    split = data.splits["train"]
    chosen = torch.randperm(len(split), generator=generator(7, "batch", step))[:size].tolist()
    inputs, labels = split.batch(chosen)
    return Batch({n: torch.from_numpy(x) for n, x in inputs.items()}, torch.from_numpy(labels), tuple(chosen))


def gather(trainee: Trainee, batch: Batch) -> dict[str, Tensor | None]:
    """The gradient of a step by parameter, as it stands before the optimiser moves."""
    trainee.backward(Piece(batch, trainee.method.modalities, None))
    return {name: None if p.grad is None else p.grad.clone() for name, p in trainee.model.named_parameters()}


def step(trainee: Trainee, batch: Batch, parts: int = 1) -> None:
    """One optimiser step, on the batch in so many parts."""
    cuts = tuple(len(batch) * (i + 1) // parts for i in range(parts)) if parts > 1 else ()
    pieces = Batch(batch.inputs, batch.labels, batch.indices, cuts).parts()
    for index, part in enumerate(pieces):
        shares = {unit: len(part) / len(batch) for unit in ("images", "pixels")} if parts > 1 else None
        trainee.backward(Piece(part, trainee.method.modalities, None, index, index == parts - 1, shares))
    trainee.update()


def weights_of(trainee: Trainee, *, experts: bool = False) -> dict[str, Tensor]:
    """A copy of weights and buffers, those of experts only on request."""
    state = trainee.model.state_dict()
    return {name: value.clone() for name, value in state.items() if experts or not name.startswith("experts.")}


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """The same names, and values to the bit."""
    assert ours.keys() == theirs.keys()
    differing = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    assert not differing


class Killed(SystemExit):
    """Stands for the end of the process."""


class Dying(InTurn):
    """Ends the process before a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, trainees: Any, pieces: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().step(trainees, pieces)


def interrupted(bench: Bench, specs: Sequence[RunSpec], at: int) -> Trained:
    """Trained in two tries, the first of which ends before that step."""
    out = bench.out()
    task = bench.task(specs, out, save_every=Interval(steps=1))
    try:
        train_group(task, lambda progress: None, Dying(at))
    except Killed:
        return bench.train(specs, out)
    raise AssertionError("the first try was not interrupted")
