"""Rows x seeds -> `RunSpec`s: what to train, each run named by its content.

A run's id is the hash of the resolved settings that the run reads, its seed, its upstream run and the data's
fingerprint. Equal runs have equal ids, across rows, studies and commands, and are trained once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmablate.catalog import find
from mmablate.recipe.schema import Component, Loss, Recipe, Teacher
from mmablate.study.datasets import dataset_settings

# Goes up whenever the same settings compute other numbers, so that old runs are not taken for new ones.
COMPUTE_VERSION = 1


@dataclass(frozen=True)
class Row:
    """A row of the table: the resolved recipe of one grid cell.

    Attributes:
        name, label: as printed.
        recipe: with the row's overrides applied.
        losses: the terms present (weight above zero), in order.
        levels: factor -> level, for rows made from factors.
        values: swept parameter -> value.
    """

    name: str
    label: str
    recipe: Recipe
    losses: Mapping[str, Loss]
    levels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


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
        cell: hash of the settings without the seed, to know a row's runs of other seeds again.
    """

    run_id: str
    role: str
    seed: int
    settings: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    cell: str = ""


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
    sweep: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Study:
    """Plans all runs of a study.

    Args:
        fingerprint: of the data (`mmablate.catalog.fingerprint`).
        checkpoint_hash: of the user's own teacher, where the recipe names one.
    """
    runs: dict[str, RunSpec] = {}
    for seed in seeds:
        for row in rows:
            for spec in _runs_of(row, seed, recipe.seeds[0], fingerprint, checkpoint_hash):
                known = runs.get(spec.run_id)
                served = (*known.rows, *spec.rows) if known else spec.rows
                runs[spec.run_id] = RunSpec(**{**vars(spec), "rows": tuple(dict.fromkeys(served))})
    ordered = sorted(runs.values(), key=lambda spec: spec.role != "teacher")
    return Study(
        name=name, recipe=recipe, profile=profile, rows=tuple(rows), seeds=tuple(seeds), runs=tuple(ordered),
        baseline=dict(baseline), sweep=sweep, notes=tuple(notes),
        warnings=tuple(warnings),
    )  # fmt: skip


def _runs_of(row: Row, seed: int, first_seed: int, fingerprint: str, checkpoint_hash: str | None) -> list[RunSpec]:
    recipe = row.recipe
    upstream: dict[str, Any] = {}
    runs = []
    if recipe.teacher is not None:
        teacher = _teacher_run(recipe, recipe.teacher, seed, first_seed, fingerprint)
        needed = any(find("loss", str(loss.term)).needs_teacher for loss in row.losses.values())
        if checkpoint_hash is not None:
            upstream = {"checkpoint": checkpoint_hash} if needed else {}
        elif needed or recipe.teacher.row:
            runs.append(teacher)
            upstream = {"run": teacher.run_id} if needed else {}
    settings = {
        **_common(recipe, fingerprint),
        "role": "student",
        "seed": seed,
        "method": _component(recipe.method),
        "model": _component(recipe.model),
        "losses": _losses(row.losses),
        "train": recipe.train.model_dump(mode="json"),
        "masks": recipe.masks.model_dump(mode="json"),
        "teacher": upstream | _teacher_model(recipe.teacher) if upstream else None,
    }
    # Which run a teacher is depends on the seed; what it is does not, and only that makes the cell.
    cell = content_id({**settings, "seed": None, "teacher": _teacher_cell(recipe.teacher) if upstream else None})
    depends_on = (upstream["run"],) if "run" in upstream else ()
    runs.append(RunSpec(content_id(settings), "student", seed, settings, depends_on, (row.name,), cell))
    return runs


def _teacher_run(recipe: Recipe, teacher: Teacher, seed: int, first_seed: int, fingerprint: str) -> RunSpec:
    teacher_seed = {"paired": seed, "shared": first_seed}.get(str(teacher.seed), teacher.seed)
    sup = {key: loss for key, loss in recipe.losses.items() if not find("loss", str(loss.term)).needs_teacher}
    losses = _losses({key: loss.model_copy(update={"weight": 1.0}) for key, loss in sup.items()})
    settings = {
        **_common(recipe, fingerprint),
        "role": "teacher",
        "seed": teacher_seed,
        "method": {"name": "joint"},
        "model": _component(teacher),
        "losses": losses,
        "train": teacher.train,
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
    }
    cell = content_id({**settings, "seed": None})
    return RunSpec(content_id(settings), "teacher", int(teacher_seed), settings, (), (), cell)


def _common(recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    return {
        "compute": COMPUTE_VERSION,
        "data": {**dataset_settings(recipe), "fingerprint": fingerprint},
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }


def _component(section: Component) -> dict[str, Any]:
    return {"name": section.name, **section.options}


def _losses(losses: Mapping[str, Loss]) -> list[dict[str, Any]]:
    """What a run reads of its terms: not how their weights are printed."""
    hidden = {"symbol", "label"}
    return [{"key": key, **loss.model_dump(mode="json", exclude=hidden)} for key, loss in losses.items()]


def _teacher_model(teacher: Teacher | None) -> dict[str, Any]:
    return {"model": _component(teacher)} if teacher is not None else {}


def _teacher_cell(teacher: Teacher | None) -> dict[str, Any] | None:
    if teacher is None:
        return None
    return teacher.model_dump(mode="json", exclude={"row"})
