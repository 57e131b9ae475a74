"""Rows and runs the plain way: each row checked as a recipe of its own, each run's whole settings hashed.

What `mmablate.study` shares between rows is done here for each of them anew; the results must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from mmablate.catalog import find
from mmablate.catalog.models import stage_shapes
from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import Draft, Recipe, check, draft_recipe
from mmablate.recipe.merging import set_path
from mmablate.recipe.reading import Source
from mmablate.recipe.schema import Component, Loss, Teacher
from mmablate.study.content import COMPUTE_VERSION
from mmablate.study.datasets import data_fingerprint, dataset_settings
from mmablate.study.resolving import ROW_SECTIONS, STUDY_KEYS
from mmablate.study.rows import RowPlan, expand_rows, loss_label, parameter_paths
from mmablate.study.sweeping import SweepRequest, sweep_rows


class PlainRow(NamedTuple):
    """One row."""

    name: str
    label: str
    recipe: Recipe
    losses: dict[str, Loss]


class PlainRun(NamedTuple):
    """One run."""

    run_id: str
    role: str
    seed: int
    settings: dict[str, Any]
    depends_on: tuple[str, ...]
    rows: tuple[str, ...]
    cells: dict[str, str]


def plain_study(
    recipe: str, *, profile: str | None = None, data_root: str | None = None, sweep: SweepRequest | None = None
) -> tuple[list[PlainRow], list[PlainRun]]:
    """Rows and runs, for recipes without a checkpoint and without files that models start from.

    Raises:
        RecipeError: every fault of the rows.
    """
    draft, _ = draft_recipe(recipe, profile=profile, data_root=data_root)
    base = draft.finish()
    plans = expand_rows(draft)
    if sweep is not None:
        plans, _ = sweep_rows(draft, plans, sweep)
    rows = [plain_row(draft, base, plan) for plan in plans]
    if draft.problems:
        raise RecipeError(draft.problems)
    return rows, plain_runs(base, rows, data_fingerprint(base))


def plain_row(draft: Draft, base: Recipe, plan: RowPlan) -> PlainRow:
    """The row, faults noted in the draft."""
    recipe = _override(draft, base, plan) if plan.overrides else base
    losses = {key: recipe.losses[key] for key in plan.losses if key in recipe.losses}
    losses = {key: loss for key, loss in losses.items() if loss.weight > 0}
    if not losses:
        draft.report(plan.path, f"row {plan.name!r}: no loss has a weight above 0")
    teacher = recipe.teacher
    compared = any(find("loss", str(loss.term)).compares_features for loss in losses.values())
    if teacher is not None and compared and teacher.name == recipe.model.name:
        own, theirs = stage_shapes(recipe.model.options), stage_shapes(teacher.options)
        for option in (name for name in own if own[name] != theirs[name]):
            text = f"features of student and teacher are compared, and teacher.{option} is {theirs[option]}, "
            draft.report(plan.path, f"row {plan.name!r}: {text}model.{option} {own[option]}")
    label = loss_label(losses)
    if plan.overrides:
        changes = ", ".join(f"{key} = {value}" for key, value in plan.overrides.items())
        label = f"{plan.name} ({label}, {changes})"
    return PlainRow(plan.name, plan.label or label, recipe, losses)


def _override(draft: Draft, base: Recipe, plan: RowPlan) -> Recipe:
    data = base.model_dump(mode="json")
    for key, value in plan.overrides.items():
        for name in _study_keys(key, value):
            draft.report(plan.path, f"row {plan.name!r}: {name} is of the whole study, not of a row, got {value!r}")
        for path in parameter_paths(draft, key) or [key]:
            try:
                set_path(data, path.split("."), value, what=f"row {plan.name!r}")
            except UsageError as error:
                draft.report(plan.path, str(error))
    place = "--param, --values" if plan.swept else draft.source.place(plan.path)
    row_draft = check(Source(data, {(): place}), plan.losses)
    if row_draft.problems:
        for text in row_draft.problems:
            place, _, rest = text.partition(": ")
            draft.problems.append(f"{place}: row {plan.name!r}: {rest}")
        return base
    return row_draft.finish()


def _study_keys(key: str, value: Any) -> list[str]:
    if key.partition(".")[0] in Recipe.model_fields.keys() - ROW_SECTIONS:
        return [key]
    below = [f"{key}.{name}" for name in value] if isinstance(value, Mapping) else [key]
    return [name for name in below if any(name == k or name.startswith(f"{k}.") for k in STUDY_KEYS)]


def plain_runs(base: Recipe, rows: list[PlainRow], fingerprint: str) -> list[PlainRun]:
    """All runs, teachers first."""
    runs: dict[str, PlainRun] = {}
    for seed in base.seeds:
        for row in rows:
            for run in _runs_of(row, seed, base, fingerprint):
                known = runs.get(run.run_id, run)
                served, cells = dict.fromkeys((*known.rows, *run.rows)), {**known.cells, **run.cells}
                runs[run.run_id] = run._replace(rows=tuple(served), cells=cells)
    return sorted(runs.values(), key=lambda run: run.role != "teacher")


def plain_id(settings: Mapping[str, Any]) -> str:
    """The hash of the whole settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def _runs_of(row: PlainRow, seed: int, base: Recipe, fingerprint: str) -> Iterator[PlainRun]:
    recipe, teacher = row.recipe, row.recipe.teacher
    settings = {
        **_common(recipe, fingerprint),
        "role": "student",
        "seed": seed,
        "method": _component(recipe.method),
        "model": _component(recipe.model),
        "losses": _losses(row.losses),
        "train": recipe.train.model_dump(mode="json"),
        "masks": recipe.masks.model_dump(mode="json"),
        "teacher": None,
    }
    needed = any(find("loss", str(loss.term)).needs_teacher for loss in row.losses.values())
    depends_on: tuple[str, ...] = ()
    what: Any = None
    if teacher is not None and (needed or teacher.row):
        run = _teacher_run(recipe, teacher, seed, base, fingerprint)
        yield run
        if needed:
            depends_on = (run.run_id,)
            settings["teacher"] = {"run": run.run_id, "model": _component(teacher)}
            unseeded = plain_id({**run.settings, "seed": None})
            what = {"teacher": unseeded, "seed": "paired" if teacher.seed == "paired" else run.seed}
    cell = plain_id({**settings, "seed": None, "teacher": what})
    yield PlainRun(plain_id(settings), "student", seed, settings, depends_on, (row.name,), {row.name: cell})


def _teacher_run(recipe: Recipe, teacher: Teacher, seed: int, base: Recipe, fingerprint: str) -> PlainRun:
    own = int({"paired": seed, "shared": base.seeds[0]}.get(str(teacher.seed), teacher.seed))
    supervised = {
        key: loss
        for key, loss in base.losses.items()
        if loss.weight > 0 and not find("loss", str(loss.term)).needs_teacher
    }
    settings = {
        **_common(recipe, fingerprint),
        "role": "teacher",
        "seed": own,
        "method": {"name": "joint"},
        "model": _component(teacher),
        "losses": _losses(supervised),
        "train": teacher.train,
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
    }
    return PlainRun(plain_id(settings), "teacher", own, settings, (), (), {})


def _common(recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    return {
        "compute": COMPUTE_VERSION,
        "data": {**dataset_settings(recipe), "fingerprint": fingerprint},
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }


def _component(section: Component) -> dict[str, Any]:
    return {"name": section.name, **section.options}


def _losses(losses: Mapping[str, Loss]) -> list[dict[str, Any]]:
    return [{"key": key, **loss.model_dump(mode="json", exclude={"symbol", "label"})} for key, loss in losses.items()]
