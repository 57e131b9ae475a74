"""Opening a study: recipe, rows, baseline, seeds and data, all faults told in one message."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmablate.catalog import file_hash, find
from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import Draft, Recipe, draft_recipe, locate
from mmablate.recipe.schema import GREEK, Component, Loss
from mmablate.recipe.volumes import apart_column
from mmablate.study.datasets import data_fingerprint
from mmablate.study.generating import Tell, with_data
from mmablate.study.linting import lint
from mmablate.study.plan import Row, Study, plan_study, supervised
from mmablate.study.programs import ProgramRow, ProgramStudy, open_program
from mmablate.study.resolving import resolve_rows
from mmablate.study.rows import RowPlan, design_notes, expand_rows, listed, parameter_paths
from mmablate.study.sweeping import SweepRequest, sweep_rows
from mmablate.study.volume_columns import UNSEEN


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
    rows = resolve_rows(draft, base, plans, info)
    _check_supervision(draft, base, rows)
    _check_sweep_names(draft)
    base = draft.finish()
    warnings = lint(base, rows, baseline, swept=info is not None)
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
        notes=[*(_sweep_notes(base, info) if info else design_notes(base)), *_notes(base), *_unseen_notes(base, rows)],
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
                raise UsageError(f"{option} {glob}: no row has that name (there are: {listed(names)})")
            found |= hits
        return found

    chosen = matching(only, "--only") if only else set(names)
    chosen -= matching(exclude, "--exclude") if exclude else set()
    if not chosen:
        raise UsageError("--only and --exclude leave no row")
    return [name for name in names if name in chosen]


def _check_supervision(draft: Draft, base: Recipe, rows: Sequence[Row]) -> None:
    """A teacher that is to be trained must have something to learn from."""
    trained = any(
        row.sections.teacher is not None and row.sections.teacher.checkpoint is None and _needs_teacher(row.losses)
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
            draft.report(("baseline",), f"no row has that name (there are: {listed(names)}), got {baseline!r}")
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
    """File that a model of a row starts from, or a saliency that it reads -> its hash."""
    sections: dict[int, tuple[str, Component | None]] = {}
    for row in rows:
        sections[id(row.sections.teacher)] = "teacher", row.sections.teacher
    for row in rows:
        sections[id(row.sections.model)] = "model", row.sections.model
    named = {
        str(section.options["weights"]): f"{key}.weights"
        for key, section in sections.values()
        if section is not None and section.options.get("weights") is not None
    }
    for focus in {id(row.sections.focus): row.sections.focus for row in rows}.values():
        if focus is not None and focus.saliency is not None:
            named[focus.saliency] = "focus.saliency"
    problems = [
        f"{key}: no such file, got {path!r}" for path, key in named.items() if not Path(path).expanduser().is_file()
    ]
    if problems:
        raise RecipeError(problems)
    return {path: file_hash(Path(path).expanduser()) for path in named}


def _sweep_notes(recipe: Recipe, info: Mapping[str, Any]) -> list[str]:
    teacher = " The teacher keeps the recipe's own settings." if recipe.teacher is not None else ""
    return [f"{', '.join(info['symbols'])} is varied in the row {info['row']}.{teacher}"]


def _unseen_notes(recipe: Recipe, rows: Sequence[Row]) -> list[str]:
    """Of rows under other mask lists, whose subsets that no training subject has are not the same ones."""
    if UNSEEN not in recipe.evaluate.apart or all(row.sections.data == rows[0].sections.data for row in rows):
        return []
    return [f"Rows have mask lists of their own: {apart_column(UNSEEN)} is over other subsets in each."]


def _notes(recipe: Recipe) -> list[str]:
    teacher = recipe.teacher
    notes = []
    if teacher is not None and (teacher.checkpoint is not None or teacher.seed != "paired"):
        notes.append("One teacher serves all seeds: intervals and Δ hold for that teacher.")
    if teacher is not None and teacher.checkpoint is not None:
        notes.append(
            "The teacher is a checkpoint of the user's: what it was trained on is not known here, nor whether that "
            "holds samples that are scored."
        )
    if teacher is not None and teacher.checkpoint is not None and teacher.row:
        notes.append("The teacher is a checkpoint of the user's, which no run has scored: it has no row here.")
    return notes
