"""Rows x seeds -> `RunSpec`s: what to train, each run named by its content.

A run's id is the hash of the resolved settings that the run reads, its seed, its upstream run and the data's
fingerprint. Equal runs have equal ids, across rows, studies and commands, and are trained once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmablate.catalog import find
from mmablate.recipe.rechecking import Sections
from mmablate.recipe.schema import Component, Loss, Recipe, Teacher
from mmablate.study.datasets import dataset_settings

# Goes up whenever the same settings compute other numbers, so that old runs are not taken for new ones.
COMPUTE_VERSION = 2


@dataclass(frozen=True)
class Row:
    """A row of the table: the resolved recipe of one grid cell.

    Attributes:
        name, label: as printed.
        base: the recipe without the row's overrides.
        sections: the row's own, overrides applied; rows of equal sections share them.
        losses: the terms present (weight above zero), in order.
        levels: factor -> level, for rows made from factors.
        values: swept parameter -> value.
    """

    name: str
    label: str
    base: Recipe
    sections: Sections
    losses: Mapping[str, Loss]
    levels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe with the row's overrides applied."""
        return self.base.model_copy(update=self.sections._asdict())


@dataclass(frozen=True)
class RunSpec:
    """One training run.

    Attributes:
        run_id: 16 hexadecimal digits of the hash of `settings`.
        role: "student" or "teacher".
        seed: of the run.
        settings: everything that it reads, JSON-able; what config.json holds.
        depends_on: ids of the runs whose checkpoint it reads.
        rows: names of the rows that it serves; a teacher serves none by itself.
        cells: row -> hash of what the row makes of a run, without the seed, to know its runs of other seeds again.
    """

    run_id: str
    role: str
    seed: int
    settings: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A planned study.

    Attributes:
        name: folder below results/.
        recipe: the base recipe, overrides applied.
        profile: the profile used, None where the recipe has none.
        rows: in the order of the table.
        seeds: of every row.
        runs: teachers before the students that depend on them.
        baseline: row name -> name of its baseline row.
        sweep: for a sensitivity study: parameters, symbols, values used.
        notes: for the table.
        warnings: about the recipe, errors under --strict.
        weight_files: hash, as settings name a file that a model starts from -> where it is.
    """

    name: str
    recipe: Recipe
    profile: str | None
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunSpec, ...]
    baseline: Mapping[str, str]
    sweep: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    weight_files: Mapping[str, str] = field(default_factory=dict)


def content_id(settings: Mapping[str, Any]) -> str:
    """16 hexadecimal digits; equal for equal content, whatever the order of the keys."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan_study(
    *,
    name: str,
    recipe: Recipe,
    profile: str | None,
    rows: Sequence[Row],
    seeds: Sequence[int],
    baseline: Mapping[str, str],
    fingerprint: str,
    checkpoint_hash: str | None = None,
    weight_hashes: Mapping[str, str] | None = None,
    sweep: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Study:
    """Plans all runs of a study.

    Args:
        fingerprint: of the data (`mmablate.catalog.fingerprint`).
        checkpoint_hash: of the user's own teacher, where the recipe names one.
        weight_hashes: file that a model of the recipe starts from -> its hash.
    """
    hashes = weight_hashes or {}
    runs: dict[str, RunSpec] = {}
    for seed in seeds:
        for row in rows:
            for spec in _runs_of(row, seed, recipe, fingerprint, checkpoint_hash, hashes):
                known = runs.get(spec.run_id, spec)
                served, cells = dict.fromkeys((*known.rows, *spec.rows)), {**known.cells, **spec.cells}
                runs[spec.run_id] = replace(spec, rows=tuple(served), cells=cells)
    ordered = sorted(runs.values(), key=lambda spec: spec.role != "teacher")
    return Study(
        name=name, recipe=recipe, profile=profile, rows=tuple(rows), seeds=tuple(seeds), runs=tuple(ordered),
        baseline=dict(baseline), sweep=sweep, notes=tuple(notes),
        warnings=tuple(warnings),
        weight_files={digest: path for path, digest in hashes.items()},
    )  # fmt: skip


def _runs_of(
    row: Row, seed: int, base: Recipe, fingerprint: str, checkpoint_hash: str | None, hashes: Mapping[str, str]
) -> list[RunSpec]:
    """The row's run of one seed, behind its teacher's."""
    recipe, teacher = row.recipe, row.recipe.teacher
    settings = {
        **_common(recipe, fingerprint),
        "role": "student",
        "seed": seed,
        "method": _component(recipe.method),
        "model": _model(recipe.model, hashes),
        "losses": _losses(row.losses),
        "train": recipe.train.model_dump(mode="json"),
        "masks": recipe.masks.model_dump(mode="json"),
        "teacher": None,
    }
    needed = any(find("loss", str(loss.term)).needs_teacher for loss in row.losses.values())
    runs: list[RunSpec] = []
    what: Any = None  # what the teacher is, whichever run it is for this seed
    if teacher is not None and checkpoint_hash is not None and needed:
        settings["teacher"] = what = {"checkpoint": checkpoint_hash, "model": _model(teacher, hashes)}
    elif teacher is not None and checkpoint_hash is None and (needed or teacher.row):
        run = _teacher_run(recipe, teacher, seed, base, fingerprint, hashes)
        runs.append(run)
        if needed:
            settings["teacher"] = {"run": run.run_id, "model": _model(teacher, hashes)}
            unseeded = content_id({**run.settings, "seed": None})
            what = {"teacher": unseeded, "seed": "paired" if teacher.seed == "paired" else run.seed}
    cell = content_id({**settings, "seed": None, "teacher": what})
    depends_on = tuple(run.run_id for run in runs if needed)
    student = RunSpec(content_id(settings), "student", seed, settings, depends_on, (row.name,), {row.name: cell})
    return [*runs, student]


def _teacher_run(
    recipe: Recipe, teacher: Teacher, seed: int, base: Recipe, fingerprint: str, hashes: Mapping[str, str]
) -> RunSpec:
    """The teacher of one seed, trained with the recipe's supervised terms at the recipe's weights.

    They are the base recipe's: a row that changes its own supervised loss is compared under the same teacher.
    """
    teacher_seed = {"paired": seed, "shared": base.seeds[0]}.get(str(teacher.seed), teacher.seed)
    settings = {
        **_common(recipe, fingerprint),
        "role": "teacher",
        "seed": teacher_seed,
        "method": {"name": "joint"},
        "model": _model(teacher, hashes),
        "losses": _losses(supervised(base)),
        "train": teacher.train,
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
    }
    return RunSpec(content_id(settings), "teacher", int(teacher_seed), settings)


def supervised(recipe: Recipe) -> dict[str, Loss]:
    """The terms that need no teacher and have a weight above zero: what a teacher is trained with."""
    return {
        key: loss
        for key, loss in recipe.losses.items()
        if loss.weight > 0 and not find("loss", str(loss.term)).needs_teacher
    }


def _common(recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    return {
        "compute": COMPUTE_VERSION,
        "data": {**dataset_settings(recipe), "fingerprint": fingerprint},
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }


def _component(section: Component) -> dict[str, Any]:
    return {"name": section.name, **section.options}


def _model(section: Component, hashes: Mapping[str, str]) -> dict[str, Any]:
    """A model's settings; a file that it starts from by its content, not by its place."""
    settings = _component(section)
    if settings.get("weights") is not None:
        settings["weights"] = hashes[settings["weights"]]
    return settings


def _losses(losses: Mapping[str, Loss]) -> list[dict[str, Any]]:
    """What a run reads of its terms: not how their weights are printed."""
    hidden = {"symbol", "label"}
    return [{"key": key, **loss.model_dump(mode="json", exclude=hidden)} for key, loss in losses.items()]
