"""The shipped recipes of cross-modal distillation at small settings, run in this process, and what they left."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from project import ROOT
from torch import Tensor

from mmablate.data.base import ClassificationData
from mmablate.execution import Options, Outcome, run_study, wanted_runs
from mmablate.results import RunRecord, StudyStore
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec, Study, open_study
from mmablate.study.datasets import dataset_settings, open_dataset
from mmablate.training.checkpoint import load_weights

GAUSS = ("train.steps=20", "seeds=[0,1]", "data.n_train=40", "data.n_test=50", "checkpoints=all")
DIGITS = ("train.epochs=2", "evaluate.every=1", "seeds=[0,1]", "focus.permutations=2", "checkpoints=all")


@dataclass(frozen=True)
class Ran:
    """A study that has been run.

    Attributes:
        study: as planned.
        store: its results.
        outcome: of the call.
    """

    study: Study
    store: StudyStore
    outcome: Outcome

    def spec(self, row: str, seed: int = 0) -> RunSpec:
        """The student of a row."""
        return next(s for s in self.study.runs if s.role == "student" and s.seed == seed and row in s.rows)

    def upstream(self, row: str, seed: int = 0) -> list[RunSpec]:
        """What the student of a row depends on, the nearest first."""
        specs, found = {spec.run_id: spec for spec in self.study.runs}, []
        spec = self.spec(row, seed)
        while spec.depends_on:
            (name,) = spec.depends_on
            spec = specs[name]
            found.append(spec)
        return found

    def record(self, row: str, seed: int = 0) -> RunRecord:
        """That of the student of a row."""
        return self.record_of(self.spec(row, seed))

    def record_of(self, spec: RunSpec) -> RunRecord:
        """That of any run."""
        found = self.store.read_record(spec.run_id)
        assert found is not None
        return found

    def folder(self, spec: RunSpec) -> Path:
        """Of a run."""
        return self.store.run_folder(spec.run_id)

    def weights(self, spec: RunSpec) -> dict[str, Tensor]:
        """Of a run, as kept."""
        return load_weights(self.folder(spec) / CHECKPOINT)

    def history(self, spec: RunSpec) -> list[dict[str, Any]]:
        """Of a run, an epoch a line."""
        return [json.loads(line) for line in (self.folder(spec) / "history.jsonl").read_text().splitlines()]

    def data(self, spec: RunSpec) -> ClassificationData:
        """What a run reads."""
        settings = {key: value for key, value in spec.settings["data"].items() if key != "fingerprint"}
        data: ClassificationData = open_dataset(settings, self.study.recipe.data.root, seed=spec.seed)
        return data


def shipped(name: str, *overrides: str, data_root: str | None = None) -> Study:
    """A recipe that ships, with KEY=VALUE, planned."""
    study = open_study(str(ROOT / "recipes" / f"{name}.yaml"), overrides=list(overrides), data_root=data_root)
    assert isinstance(study, Study)
    return study


def run(study: Study, out: Path, *, rows: Collection[str] | None = None, jobs: int = 1, **options: Any) -> Ran:
    """Runs rows of a study on the CPU, in turn unless `mode` says otherwise, without a word."""
    root = study.recipe.data.root
    data = open_dataset(dataset_settings(study.recipe), root)
    wanted = wanted_runs(study, rows or [row.name for row in study.rows], study.seeds)
    settings = {"mode": "in-turn", **options}
    outcome = run_study(study, wanted, Options(out, "cpu", jobs, quiet=True, **settings), data, root)
    return Ran(study, StudyStore(out, study.name), outcome)


def inputs(data: ClassificationData, split: str, modality: str) -> tuple[Any, Any]:
    """Inputs (N, ...) and labels (N,) of a whole split, as numpy arrays."""
    own = data.splits[split]
    values, labels = own.batch(range(len(own)))
    return values[modality], labels


def names(records: Sequence[RunRecord]) -> list[str]:
    """What runs are called in messages of tests."""
    return [f"{record.role} {record.row} {record.seed}" for record in records]
