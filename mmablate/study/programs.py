"""Studies of a program of the user's: rows are settings, runs are calls of it (`mmablate.recipe.programs`)."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmablate.errors import RecipeError
from mmablate.recipe import Draft
from mmablate.recipe.programs import ProgramRecipe, leaves, setting_key, with_settings
from mmablate.recipe.schema import Expander, RowSpec, SweepParameter
from mmablate.study.identity import program_files, program_identity
from mmablate.study.linting.claims import claims_about_nothing, labels_of_nothing
from mmablate.study.plan import RunSpec, content_id
from mmablate.study.rows import EXPANSIONS, RowPlan, expand_rows, parameter_paths
from mmablate.study.sweeping import SweepRequest, sweep_rows

# Goes up whenever a program is called in another way, so that old runs are not taken for new ones.
CALL_VERSION = 1


Baselines = Callable[[Draft, Sequence[RowPlan], Mapping[str, Any] | None], dict[str, str]]


@dataclass(frozen=True)
class ProgramRow:
    """A row of the table: the settings of one grid cell.

    Attributes:
        name, label: as printed.
        settings: resolved.
        levels: factor -> level, for rows made from factors.
        values: swept parameter -> value.
    """

    name: str
    label: str
    settings: Mapping[str, Any]
    levels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProgramStudy:
    """A planned study of a program; what it shares with `Study` has the same names.

    Attributes:
        folder: in which the command runs, or from which the callable is imported.
        files: the program's, as they count in its identity -> where they are.
    """

    name: str
    recipe: ProgramRecipe
    profile: str | None
    rows: tuple[ProgramRow, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunSpec, ...]
    baseline: Mapping[str, str]
    folder: Path
    files: Mapping[str, Path]
    sweep: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def open_program(
    draft: Draft,
    place: Path,
    baselines: Baselines,
    *,
    profile: str | None,
    seeds: Sequence[int] | None,
    sweep: SweepRequest | None,
    strict: bool,
) -> ProgramStudy:
    """From the draft of a recipe that runs a program to a planned study.

    Args:
        place: the recipe's file; `run.cwd` is relative to its folder.
        baselines: finds the baseline of every row.

    Raises:
        RecipeError: every problem of the recipe and its rows.
    """
    recipe = draft.finish_program()
    _prefix_settings(draft, recipe)
    plans = _plans(draft, recipe)
    info = None
    if sweep is not None and plans and not draft.problems:
        plans, info = sweep_rows(draft, plans, sweep)
    base_of = baselines(draft, plans, info)
    rows = [_row(draft, recipe, plan, info) for plan in plans]
    _check_sweeps(draft)
    recipe = draft.finish_program()
    folder = (place.absolute().parent / Path(recipe.run.cwd).expanduser()).resolve()
    files = program_files(recipe.run, folder)
    warnings = _lint(recipe, rows, files, swept=info is not None)
    if strict and warnings:
        raise RecipeError([f"--strict: {text}" for text in warnings])
    seeds = tuple(seeds if seeds is not None else recipe.seeds)
    return ProgramStudy(
        name=recipe.name + ("" if info is None else "_" + "_".join(info["parameters"])),
        recipe=recipe,
        profile=profile,
        rows=tuple(rows),
        seeds=seeds,
        runs=_runs(rows, seeds, {"program": program_identity(recipe.run, files), "metrics": sorted(recipe.metrics)}),
        baseline=base_of,
        folder=folder,
        files=files,
        sweep=info,
        notes=() if info is None else (f"{', '.join(info['symbols'])} is varied in the row {info['row']}.",),
        warnings=tuple(warnings),
    )


def _prefix_settings(draft: Draft, recipe: ProgramRecipe) -> None:
    """Rows, factors and sweeps may name a setting with or without `settings.`: from here on it is with."""
    settings = recipe.settings

    def prefixed(overrides: Mapping[str, Any]) -> dict[str, Any]:
        return {setting_key(settings, key) or key: value for key, value in overrides.items()}

    def row(item: Any) -> Any:
        return item.model_copy(update={"overrides": prefixed(item.overrides)}) if isinstance(item, RowSpec) else item

    def parameter(item: SweepParameter) -> SweepParameter:
        paths = [item.path] if isinstance(item.path, str) else item.path or []
        full = [setting_key(settings, path) or path for path in paths]
        return item.model_copy(update={"path": full or None})

    rows, factors, sweep = recipe.rows, recipe.factors, recipe.sweep
    draft.sections["rows"] = [row(item) for item in rows] if isinstance(rows, list) else rows
    draft.sections["factors"] = {f: {name: prefixed(o) for name, o in levels.items()} for f, levels in factors.items()}
    draft.sections["sweep"] = {name: parameter(item) for name, item in sweep.items()}
    draft.sections["losses"] = {}  # which the makers of rows ask for


def _plans(draft: Draft, recipe: ProgramRecipe) -> list[RowPlan]:
    """The rows; a recipe without any has one, of its settings as they stand."""
    if recipe.rows is None and not recipe.factors:
        return [RowPlan("default", None, ())]
    rows = recipe.rows
    items = [(("rows", i), row) for i, row in enumerate(rows)] if isinstance(rows, list) else [(("rows",), rows)]
    odd = [path for path, item in items if not _without_losses(item)]
    for path in odd:
        names = ", ".join(recipe.factors) or "FACTOR"
        draft.report(path, f"a program's rows are {{name, overrides}} or made from factors: {{product: [{names}]}}")
    return [] if odd else expand_rows(draft)


def _without_losses(item: Any) -> bool:
    if isinstance(item, RowSpec):
        return item.losses is None
    return isinstance(item, Expander) and "losses" not in [getattr(item, kind) for kind in EXPANSIONS]


def _row(draft: Draft, recipe: ProgramRecipe, plan: RowPlan, info: Mapping[str, Any] | None) -> ProgramRow:
    settings, problems = with_settings(recipe.settings, plan.overrides)
    for text in problems:
        draft.report(plan.path, f"row {plan.name!r}: {text}")
    values = {key: plan.levels[key] for key in info["parameters"]} if info else {}
    return ProgramRow(plan.name, plan.label or plan.name, settings, {} if info else plan.levels, values)


def _check_sweeps(draft: Draft) -> None:
    """A name of the `sweep:` block stands for settings."""
    for name in draft.sections.get("sweep", {}):
        paths = parameter_paths(draft, name) or [name]
        _, problems = with_settings(draft.sections["settings"], dict.fromkeys(paths))
        for text in problems:
            near = difflib.get_close_matches(name, leaves(draft.sections["settings"]), n=1)
            draft.report(("sweep", name), text + (f"; did you mean {near[0]!r}?" if near else ""))


def _runs(rows: Sequence[ProgramRow], seeds: Sequence[int], program: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """Rows x seeds; rows of equal settings share their runs."""
    common = {"compute": f"program {CALL_VERSION}", **program}
    merged: dict[str, tuple[list[ProgramRow], str]] = {}
    for row in rows:
        cell = content_id({**common, "settings": row.settings})
        merged.setdefault(cell, ([], cell))[0].append(row)
    runs = []
    for seed in seeds:
        for served, cell in merged.values():
            settings = {**common, "role": "student", "seed": seed, "settings": served[0].settings}
            names = tuple(row.name for row in served)
            runs.append(RunSpec(content_id(settings), "student", seed, settings, (), names, dict.fromkeys(names, cell)))
    return tuple(runs)


def _lint(recipe: ProgramRecipe, rows: Sequence[ProgramRow], files: Mapping[str, Path], *, swept: bool) -> list[str]:
    columns = set(recipe.metrics)
    warnings: list[str] = []
    if not swept:
        warnings += claims_about_nothing(recipe, rows, columns, reference=False)
        warnings += labels_of_nothing(recipe, rows, columns)
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        same[content_id(row.settings)].append(row.name)
    warnings += [
        f"the rows {', '.join(names)} resolve to the same settings: their Δ is 0 by design"
        for names in same.values()
        if len(names) > 1
    ]
    if not files:
        warnings.append(
            "no file of the program counts for the identity of its runs: after a change of it, finished runs are "
            "still taken for done (run.files names what counts)"
        )
    return warnings
