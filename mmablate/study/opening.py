"""Opening a study: recipe, rows, baseline, seeds and data, all faults told in one message."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmablate.catalog import file_hash, find
from mmablate.catalog.models import stage_shapes
from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import Draft, Recipe, check, draft_recipe, locate
from mmablate.recipe.merging import set_path
from mmablate.recipe.reading import Source
from mmablate.recipe.schema import GREEK, Loss
from mmablate.study.datasets import data_fingerprint
from mmablate.study.generating import Tell, with_data
from mmablate.study.linting import lint
from mmablate.study.plan import Row, Study, plan_study, supervised
from mmablate.study.programs import ProgramRow, ProgramStudy, open_program
from mmablate.study.rows import RowPlan, expand_rows, loss_label, parameter_paths
from mmablate.study.sweeping import SweepRequest, sweep_rows

# What a row may override; all else is of the table: one set of files, one score, one set of columns.
ROW_SECTIONS = frozenset({"data", "model", "method", "teacher", "train", "masks", "losses"})
STUDY_KEYS = frozenset(
    {"data.name", "data.root", "data.generate", "data.modalities", "teacher.checkpoint", "teacher.row"}
)


def open_study(
    recipe: str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    data_root: str | None = None,
    seeds: Sequence[int] | None = None,
    sweep: SweepRequest | None = None,
    strict: bool = False,
    tell: Tell = lambda text: None,
) -> Study | ProgramStudy:
    """From RECIPE and the options of the command line to a planned study.

    Args:
        tell: hears what takes time, such as data that are generated.

    Raises:
        RecipeError: every problem of the recipe and its rows.
        DataError: data whose files cannot be found.
    """
    draft, used = draft_recipe(recipe, profile=profile, overrides=overrides, data_root=data_root)
    if draft.form is not Recipe:
        return open_program(draft, locate(recipe), _baselines, profile=used, seeds=seeds, sweep=sweep, strict=strict)
    sound = not draft.problems
    plans = expand_rows(draft)
    name_suffix, info = "", None
    if sweep is not None and plans and not draft.problems:
        plans, info = sweep_rows(draft, plans, sweep)
        name_suffix = "_" + "_".join(sweep.parameters)
    baseline = _baselines(draft, plans, info)
    _check_reference(draft, plans)
    # Rows, baseline and overrides of rows are judged together, once the recipe itself is sound.
    base = Recipe.model_construct(**draft.sections) if sound else draft.finish()
    rows = [_resolve(draft, base, plan, info) for plan in plans]
    _check_supervision(draft, base, rows)
    _check_sweep_names(draft)
    base = draft.finish()
    warnings = lint(base, rows, swept=info is not None)
    if strict and warnings:
        raise RecipeError([f"--strict: {text}" for text in warnings])
    base = with_data(base, tell)
    return plan_study(
        name=base.name + name_suffix,
        recipe=base,
        profile=used,
        rows=rows,
        seeds=list(seeds if seeds is not None else base.seeds),
        baseline=baseline,
        fingerprint=data_fingerprint(base),
        checkpoint_hash=_checkpoint_hash(base),
        weight_hashes=_weight_hashes(rows),
        sweep=info,
        notes=[*_sweep_notes(base, info), *_notes(base)],
        warnings=warnings,
    )


def select_rows(rows: Sequence[Row | ProgramRow], only: str | None, exclude: str | None) -> list[str]:
    """Names of the rows that --only and --exclude leave (comma-separated globs).

    Raises:
        UsageError: a glob that no row answers to, or no row left.
    """
    names = [row.name for row in rows]

    def matching(globs: str, option: str) -> set[str]:
        found: set[str] = set()
        for glob in globs.split(","):
            # A name is taken literally first: "+" and "[" are ordinary in names.
            hits = {name for name in names if name == glob or fnmatch.fnmatchcase(name, glob)}
            if not hits:
                raise UsageError(f"{option} {glob}: no row has that name (there are: {', '.join(names)})")
            found |= hits
        return found

    chosen = matching(only, "--only") if only else set(names)
    chosen -= matching(exclude, "--exclude") if exclude else set()
    if not chosen:
        raise UsageError("--only and --exclude leave no row")
    return [name for name in names if name in chosen]


def _resolve(draft: Draft, base: Recipe, plan: RowPlan, info: Mapping[str, Any] | None) -> Row:
    recipe = _override(draft, base, plan) if plan.overrides else base
    losses: dict[str, Loss] = {key: recipe.losses[key] for key in plan.losses if key in recipe.losses}
    losses = {key: loss for key, loss in losses.items() if loss.weight > 0}
    if not losses:
        draft.report(plan.path, f"row {plan.name!r}: no loss has a weight above 0")
    _check_stages(draft, recipe, losses, plan)
    values = {key: plan.levels[key] for key in info["parameters"]} if info else {}
    label = plan.label or _label(plan, losses)
    return Row(plan.name, label, recipe, losses, {} if info else plan.levels, values)


def _label(plan: RowPlan, losses: Mapping[str, Loss]) -> str:
    """The losses; for a row that differs by more than them, its name and what it changes too."""
    if not plan.overrides:
        return loss_label(losses)
    changes = ", ".join(f"{key} = {value}" for key, value in plan.overrides.items())
    return f"{plan.name} ({loss_label(losses)}, {changes})"


def _check_supervision(draft: Draft, base: Recipe, rows: Sequence[Row]) -> None:
    """A teacher that is to be trained must have something to learn from."""
    trained = any(
        row.recipe.teacher is not None and row.recipe.teacher.checkpoint is None and _needs_teacher(row.losses)
        for row in rows
    )
    if trained and not supervised(base):
        draft.report(("losses",), "no supervised term has a weight above 0, and the teacher is trained with those")


def _check_sweep_names(draft: Draft) -> None:
    """A name of the `sweep:` block stands for something, and for one thing."""
    for name, parameter in draft.sections.get("sweep", {}).items():
        paths = parameter_paths(draft, name)
        if paths is None:
            known = [key for key, symbol in GREEK.items() if _weights(draft, symbol)]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            draft.report(("sweep", name), f"neither the symbol of a loss weight nor given a path{hint}")
        elif parameter.path is None and len(paths) > 1:
            text = f"the symbol of several weights ({', '.join(paths)}): say which with path"
            draft.report(("sweep", name), text)


def _weights(draft: Draft, symbol: str) -> list[str]:
    return [key for key, loss in draft.sections["losses"].items() if loss.symbol == symbol]


def _needs_teacher(losses: Mapping[str, Loss]) -> bool:
    return any(find("loss", str(loss.term)).needs_teacher for loss in losses.values())


def _check_stages(draft: Draft, recipe: Recipe, losses: Mapping[str, Loss], plan: RowPlan) -> None:
    """Student and teacher must have stages of one shape where their features are compared."""
    teacher = recipe.teacher
    compared = any(find("loss", str(loss.term)).compares_features for loss in losses.values())
    if teacher is None or not compared or teacher.name != recipe.model.name:
        return
    own, theirs = stage_shapes(recipe.model.options), stage_shapes(teacher.options)
    for option in own:
        if own[option] != theirs[option]:
            text = (
                f"features of student and teacher are compared, and teacher.{option} is {theirs[option]}, "
                f"model.{option} {own[option]}"
            )
            draft.report(plan.path, f"row {plan.name!r}: {text}")


def _override(draft: Draft, base: Recipe, plan: RowPlan) -> Recipe:
    """The recipe of one row, checked like any other; problems name the row."""
    data = base.model_dump(mode="json")
    for key, value in plan.overrides.items():
        for name in _study_keys(key, value):
            draft.report(plan.path, f"row {plan.name!r}: {name} is of the whole study, not of a row, got {value!r}")
        paths = parameter_paths(draft, key) or [key]
        for path in paths:
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
    """The keys of an override that no row may have a value of its own for."""
    if key.partition(".")[0] in Recipe.model_fields.keys() - ROW_SECTIONS:
        return [key]
    below = [f"{key}.{name}" for name in value] if isinstance(value, Mapping) else [key]
    return [name for name in below if any(name == k or name.startswith(f"{k}.") for k in STUDY_KEYS)]


def _check_reference(draft: Draft, plans: Sequence[RowPlan]) -> None:
    teacher = draft.sections.get("teacher")
    for plan in plans:
        if teacher is not None and teacher.row and plan.name == "teacher":
            draft.report(plan.path, "the name 'teacher' is that of the reference row (teacher.row), got 'teacher'")


def _baselines(draft: Draft, plans: Sequence[RowPlan], info: Mapping[str, Any] | None) -> dict[str, str]:
    """Row name -> baseline row name."""
    names = [plan.name for plan in plans]
    if info is not None:
        return dict.fromkeys(names, info["baseline"])
    if not plans or "baseline" not in draft.sections:
        return {}
    baseline = draft.sections["baseline"]
    if baseline is None:
        return dict.fromkeys(names, names[0])
    if isinstance(baseline, str):
        if baseline not in names:
            draft.report(("baseline",), f"no row has that name (there are: {', '.join(names)}), got {baseline!r}")
        return dict.fromkeys(names, baseline)
    return _baselines_by_level(draft, plans, baseline)


def _baselines_by_level(draft: Draft, plans: Sequence[RowPlan], wanted: Mapping[str, str]) -> dict[str, str]:
    by_levels = {tuple(sorted(plan.levels.items())): plan.name for plan in plans if plan.levels}
    result = {}
    for plan in plans:
        levels = tuple(sorted({**plan.levels, **wanted}.items()))
        if levels in by_levels:
            result[plan.name] = by_levels[levels]
        else:
            draft.report(("baseline",), f"row {plan.name!r} has no baseline: no row has the levels {dict(levels)}")
    return result


def _checkpoint_hash(recipe: Recipe) -> str | None:
    if recipe.teacher is None or recipe.teacher.checkpoint is None:
        return None
    path = Path(recipe.teacher.checkpoint).expanduser()
    if not path.is_file():
        raise RecipeError(f"teacher.checkpoint: no such file, got {recipe.teacher.checkpoint!r}")
    return file_hash(path)


def _weight_hashes(rows: Sequence[Row]) -> dict[str, str]:
    """File that a model of a row starts from -> its hash."""
    sections = [("teacher", row.recipe.teacher) for row in rows] + [("model", row.recipe.model) for row in rows]
    named = {
        str(section.options["weights"]): f"{key}.weights"
        for key, section in sections
        if section is not None and section.options.get("weights") is not None
    }
    problems = [
        f"{key}: no such file, got {path!r}" for path, key in named.items() if not Path(path).expanduser().is_file()
    ]
    if problems:
        raise RecipeError(problems)
    return {path: file_hash(Path(path).expanduser()) for path in named}


def _sweep_notes(recipe: Recipe, info: Mapping[str, Any] | None) -> list[str]:
    if info is None:
        return []
    teacher = " The teacher keeps the recipe's own settings." if recipe.teacher is not None else ""
    return [f"{', '.join(info['symbols'])} is varied in the row {info['row']}.{teacher}"]


def _notes(recipe: Recipe) -> list[str]:
    teacher = recipe.teacher
    notes = []
    if teacher is not None and (teacher.checkpoint is not None or teacher.seed != "paired"):
        notes.append("One teacher serves all seeds: intervals and Δ hold for that teacher.")
    if teacher is not None and teacher.checkpoint is not None and teacher.row:
        notes.append("The teacher is a checkpoint of the user's, which no run has scored: it has no row here.")
    return notes
