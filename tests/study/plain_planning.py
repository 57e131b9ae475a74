"""Rows and runs the plain way: each row checked as a recipe of its own, each run's whole settings hashed.

What `mmablate.study` shares between rows is done here for each of them anew; the results must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from mmablate.catalog import find
from mmablate.catalog.models import stage_shapes
from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import Draft, Recipe, check, draft_recipe
from mmablate.recipe.merging import set_path
from mmablate.recipe.reading import Source
from mmablate.recipe.schema import Component, Loss, Teacher, Train
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
    """All runs: pre-trainings, then pairs, then teachers, then students."""
    runs: dict[str, PlainRun] = {}
    for seed in base.seeds:
        for row in rows:
            for run in _runs_of(row, seed, base, fingerprint):
                known = runs.get(run.run_id, run)
                served, cells = dict.fromkeys((*known.rows, *run.rows)), {**known.cells, **run.cells}
                runs[run.run_id] = run._replace(rows=tuple(served), cells=cells)
    order = ["pretraining", "pair", "teacher", "student"]
    return sorted(runs.values(), key=lambda run: order.index(run.role))


def plain_id(settings: Mapping[str, Any]) -> str:
    """The hash of the whole settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def _runs_of(row: PlainRow, seed: int, base: Recipe, fingerprint: str) -> Iterator[PlainRun]:
    recipe, teacher = row.recipe, row.recipe.teacher
    needed = any(find("loss", str(loss.term)).needs_teacher for loss in row.losses.values())
    models: list[Component] = [recipe.model]
    if needed and teacher is not None:
        models.append(teacher)
    settings = {
        **_common(recipe, fingerprint, models),
        "role": "student",
        "seed": seed,
        "method": {"name": recipe.method.name, **find("method", recipe.method.name).reads(recipe.method.options)},
        "model": _component(recipe.model),
        "losses": _losses(row.losses),
        "train": recipe.train.model_dump(mode="json"),
        "masks": recipe.masks.model_dump(mode="json"),
        "teacher": None,
    }
    depends_on: tuple[str, ...] = ()
    what: Any = None
    unseeded: dict[str, Any] = {}
    if recipe.pretrain is not None and recipe.pretrain.then in ("tune", "freeze"):
        first = _pretraining_run(recipe, seed, fingerprint)
        yield first
        depends_on = (first.run_id,)
        frozen = recipe.pretrain.then == "freeze"
        settings["pretrained"] = {"run": first.run_id, "frozen": frozen}
        unseeded["pretrained"] = {"run": plain_id({**first.settings, "seed": None}), "frozen": frozen}
    if teacher is not None and (needed or teacher.row):
        upstream = _upstream_runs(recipe, teacher, seed, base, fingerprint)
        yield from upstream.values()
        if needed:
            *_, last = upstream.values()
            depends_on += (last.run_id,)
            settings["teacher"], what = _taught_by(recipe, teacher, upstream)
    cell = plain_id({**settings, "seed": None, "teacher": what, **unseeded})
    yield PlainRun(plain_id(settings), "student", seed, settings, depends_on, (row.name,), {row.name: cell})


def _pretraining_run(recipe: Recipe, seed: int, fingerprint: str) -> PlainRun:
    """Encoders that learn from pairs: the row's data and encoders, its `train` as the pre-training changes it."""
    model, pretrain = recipe.model.options, recipe.pretrain
    assert pretrain is not None
    encoders = {"modalities": model["modalities"], "encoders": model.get("encoders", {})}
    if recipe.model.name == "map_fusion_classifier":
        encoders["encoder"] = {
            "kind": "conv", "widths": model["widths"], "norm": model["norm"], "downsampling": model["downsampling"],
        }  # fmt: skip
    else:
        encoders["encoder"] = model["encoder"]
    train = recipe.train.model_dump(mode="json")
    for key, value in pretrain.train.items():
        train[key] = {**train[key], **value} if isinstance(value, dict) and isinstance(train.get(key), dict) else value
    train = Train(**{key: value for key, value in train.items() if key not in ("encoder_lr", "select")}, select="last")
    settings = {
        **_common(recipe, fingerprint, [recipe.model]),
        "role": "pretraining",
        "seed": seed,
        "method": {"name": "contrastive"},
        "model": {"name": "contrastive_encoders", "dim": pretrain.dim, **encoders},
        "losses": [{"key": "nce", "term": "nce", "weight": 1.0, "definition": "infonce"}],
        "train": train.model_dump(mode="json"),
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
    }
    return PlainRun(plain_id(settings), "pretraining", seed, settings, (), (), {})


def _upstream_runs(recipe: Recipe, teacher: Teacher, seed: int, base: Recipe, fingerprint: str) -> dict[str, PlainRun]:
    """Role -> the run of it that a row's student stands on.

    An ordinary teacher where nothing is taken away of its inputs; where channels are replaced in the jointly trained
    teacher, the pair alone; where a teacher is trained anew, that one, behind a pair if its choice asks for saliency.
    """
    own = int({"paired": seed, "shared": base.seeds[0]}.get(str(teacher.seed), teacher.seed))
    focus = recipe.focus
    anew = focus is not None and focus.removal == "drop"
    if focus is None or (anew and focus.keep == "all"):
        return {"teacher": _teacher_run(recipe, teacher, own, base, fingerprint)}
    if not anew:
        return {"pair": _pair_run(recipe, teacher, own, base, fingerprint)}
    by_significance = focus.ratio is None and focus.count in (None, "significant")
    measured = focus.keep in ("general", "specific") or (focus.keep == "random" and by_significance)
    if not measured:
        return {"teacher": _teacher_run(recipe, teacher, own, base, fingerprint, focused=True)}
    pair = _pair_run(recipe, teacher, own, base, fingerprint)
    run = _teacher_run(recipe, teacher, own, base, fingerprint, focused=True, pair=pair)
    return {"pair": pair, "teacher": run}


def _taught_by(recipe: Recipe, teacher: Teacher, upstream: Mapping[str, PlainRun]) -> tuple[dict[str, Any], Any]:
    """The teacher in a student's settings, and in the hash of its cell, which knows no seed."""
    *_, last = upstream.values()
    seed = "paired" if teacher.seed == "paired" else last.seed
    model = _component(teacher)
    unseeded_pair = plain_id({**upstream["pair"].settings, "seed": None}) if "pair" in upstream else None
    if "teacher" not in upstream:
        chosen = _chosen(recipe)
        described = {"run": last.run_id, "part": "teacher", "model": model, "focus": chosen}
        return described, {"pair": unseeded_pair, "focus": chosen, "seed": seed}
    unseeded = {**last.settings, "seed": None}
    if unseeded_pair is not None:
        unseeded["focus"] = {**unseeded["focus"], "pair": unseeded_pair}
    return {"run": last.run_id, "model": model}, {"teacher": plain_id(unseeded), "seed": seed}


def _teacher_run(
    recipe: Recipe,
    teacher: Teacher,
    seed: int,
    base: Recipe,
    fingerprint: str,
    *,
    focused: bool = False,
    pair: PlainRun | None = None,
) -> PlainRun:
    models: list[Component] = [teacher, recipe.model] if focused else [teacher]
    settings = {
        **_common(recipe, fingerprint, models),
        "role": "teacher",
        "seed": seed,
        "method": {"name": {"segmentation": "joint", "classification": "crossmodal"}[_task(recipe)]},
        "model": _component(teacher),
        "losses": _losses(_supervised(base)),
        "train": teacher.train,
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
    }
    if focused:
        settings["focus"] = _chosen(recipe)
    if pair is not None:
        settings["focus"]["pair"] = pair.run_id
    reads = () if pair is None else (pair.run_id,)
    return PlainRun(plain_id(settings), "teacher", seed, settings, reads, (), {})


def _pair_run(recipe: Recipe, teacher: Teacher, seed: int, base: Recipe, fingerprint: str) -> PlainRun:
    """The joint training of Algorithm 1: what its weights and its saliency hang on, and nothing else."""
    focus = recipe.focus
    assert focus is not None
    train = {**teacher.train, **focus.train, "select": "last"}
    losses = _losses(_supervised(base))
    if focus.joint > 0:
        losses.append({"key": "dist", "term": "dist", "weight": focus.joint, "definition": focus.distance})
    settings = {
        **_common(recipe, fingerprint, [teacher, recipe.model]),
        "role": "pair",
        "seed": seed,
        "method": {"name": "joint_pair"},
        "model": {"name": "pair", "teacher": _component(teacher), "student": _component(recipe.model)},
        "losses": losses,
        "train": train,
        "masks": {"mode": "none", "distribution": "cardinality"},
        "teacher": None,
        "focus": {
            "place": focus.place,
            "distance": focus.distance,
            "permutations": focus.permutations,
            "split": focus.split,
        },
    }
    return PlainRun(plain_id(settings), "pair", seed, settings, (), (), {})


def _chosen(recipe: Recipe) -> dict[str, Any]:
    """What a focus says of the channels that stay."""
    focus = recipe.focus
    assert focus is not None
    assert focus.saliency is None
    number = focus.ratio if focus.ratio is not None else focus.count or "significant"
    where = {"place": focus.place, "removal": focus.removal}
    return {
        "all": {"keep": "all"},
        "known": {"keep": "known", **where},
        "general": {"keep": "general", **where, "number": number},
        "specific": {"keep": "specific", **where, "number": number},
        "random": {"keep": "random", **where, "number": number, "replacement": focus.replacement},
    }[focus.keep]


def _supervised(base: Recipe) -> dict[str, Loss]:
    return {
        key: loss
        for key, loss in base.losses.items()
        if loss.weight > 0 and not find("loss", str(loss.term)).needs_teacher
    }


def _task(recipe: Recipe) -> str:
    return str(find("dataset", recipe.data.name).task)


def _common(recipe: Recipe, fingerprint: str, models: Sequence[Component]) -> dict[str, Any]:
    data = dataset_settings(recipe)
    together = find("dataset", recipe.data.name).together(recipe.data.options)
    if _task(recipe) == "classification" and not together:
        # A run reads the modalities of its models, and what is said of these.
        seen: set[str] = set()
        for model in models:
            several = model.options.get("modalities") or recipe.data.modalities
            seen |= {model.options["modality"]} if "modality" in model.options else set(several)
        named = [(one if isinstance(one, str) else one[0], one) for one in data["modalities"]]
        unread = [name for name, _ in named if name not in seen]
        data = {key: value for key, value in data.items() if key not in unread}
        data["modalities"] = [one for name, one in named if name in seen]
    return {
        "compute": COMPUTE_VERSION,
        "data": {**data, "fingerprint": fingerprint},
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }


def _component(section: Component) -> dict[str, Any]:
    return {"name": section.name, **section.options}


def _losses(losses: Mapping[str, Loss]) -> list[dict[str, Any]]:
    return [{"key": key, **loss.model_dump(mode="json", exclude={"symbol", "label"})} for key, loss in losses.items()]
