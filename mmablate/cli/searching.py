"""`sweep --sampler tpe|random`: search, check the best row with fresh seeds, print both tables and what to think."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.cli import studies
from mmablate.cli.studies import Request
from mmablate.cli.tracking import table_log
from mmablate.errors import UsageError
from mmablate.execution.processes import launched
from mmablate.study import Study
from mmablate.study.datasets import dataset_settings, open_dataset
from mmablate.study.opening import open_study
from mmablate.study.searching import Space, search_space
from mmablate.study.sweeping import SweepRequest
from mmablate.tracking import Recorder

if TYPE_CHECKING:
    from mmablate.execution.search import SearchPlan

DEFAULT_TRIALS = 20


@dataclass(frozen=True)
class SearchRequest:
    """The options of a search, as typed; None for the recipe's or the default."""

    parameters: tuple[str, ...]
    values: tuple[Any, ...] | None = None
    range_: tuple[float, float, bool] | None = None
    sampler: str = "tpe"
    trials: int | None = None
    objective: str | None = None
    prune: str | None = None


def search_study(request: Request, wish: SearchRequest, recorder: Recorder, *, seeds: list[int] | None) -> int:
    """Runs a search.

    Raises:
        UsageError: options that do not go together; see also `search_space` and `check_plan`.
    """
    if launched():
        raise UsageError(f"--sampler {wish.sampler}: not under torchrun; a search trains its trials side by side")
    for option, given in (("--probe", request.probe), ("--budget", request.budget is not None)):
        if given:
            raise UsageError(f"{option}: not with --sampler {wish.sampler}, whose trials are not known beforehand")
    if request.force:
        raise UsageError(
            f"--force: a search does not train its trials again; without the study's optuna.journal it begins anew, "
            f"or use --sampler grid instead of {wish.sampler}"
        )
    plan = _plan(request, wish, seeds)
    if request.dry_run:
        return _print_search_plan(plan, request)
    from mmablate.execution.search import check_plan, run_search

    corners, _, _ = check_plan(plan)
    studies._check_files(corners)
    for warning in corners.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    root = corners.recipe.data.root
    data = open_dataset(dataset_settings(corners.recipe), root)
    with recorder:
        recorder.follow(corners.name)
        result = run_search(plan, replace(studies._options(request), heard=recorder.heard), data, root)
        _print_result(request, corners, result.check, recorder)
        return studies._failures(request, result.outcome)


def _plan(request: Request, wish: SearchRequest, seeds: list[int] | None) -> SearchPlan:
    from mmablate.execution.search import SearchPlan

    space = _space(request, wish)
    told = False

    def open_points(points: Sequence[Any], other_seeds: Sequence[int] | None) -> Study:
        nonlocal told
        say = request.quiet or told
        told = True
        study = open_study(
            request.recipe,
            profile=request.profile,
            overrides=request.overrides,
            data_root=request.data_root,
            seeds=seeds if other_seeds is None else other_seeds,
            sweep=SweepRequest(wish.parameters, points=tuple(points)),
            strict=request.strict,
            tell=(lambda text: None) if say else (lambda text: print(text, file=sys.stderr)),
        )
        if not isinstance(study, Study):
            raise UsageError(
                f"--sampler {wish.sampler}: a search is steered by validation scores, which runs of a program do not "
                "have; --sampler grid goes with every recipe"
            )
        return study

    sampler = cast(Any, wish.sampler)
    return SearchPlan(space, sampler, DEFAULT_TRIALS if wish.trials is None else wish.trials, open_points)


def _space(request: Request, wish: SearchRequest) -> Space:
    space = search_space(
        request.recipe,
        wish.parameters,
        values=wish.values,
        range_=wish.range_,
        profile=request.profile,
        overrides=request.overrides,
        data_root=request.data_root,
    )
    asked = {"objective": wish.objective, "prune": wish.prune}
    rules = space.rules.model_copy(update={key: value for key, value in asked.items() if value is not None})
    return replace(space, rules=rules)


def _print_result(request: Request, study: Study, check: Study | None, recorder: Recorder) -> None:
    """Both tables, and the chosen row with what fresh seeds say of it; in JSON the two tables as a list."""
    from mmablate.report import render
    from mmablate.report.search_view import closing_lines
    from mmablate.report.terminal import print_tables

    table = studies._write_page(request, study)
    tables = [table] if check is None else [table, studies._write_page(request, check)]
    for one in tables if recorder.wishes else ():
        recorder.study_over(one.study, table_log(one))
    if request.format == "json":
        print(render(tables, "json", single=False))
        return
    console = Console()
    print_tables(tables, console)
    for line in closing_lines(table, tables[1] if check is not None else None, console.width):
        console.print(Text(line), soft_wrap=True)


def _print_search_plan(plan: SearchPlan, request: Request) -> int:
    """What would be searched, and how many runs that takes at most."""
    from mmablate.execution import wanted_runs
    from mmablate.execution.search import check_plan, fresh_seeds

    study, column, _ = check_plan(plan)
    baseline = next(iter(study.baseline.values()))
    first = wanted_runs(study, [row.name for row in study.rows], study.seeds)
    teachers = sum(spec.role == "teacher" for spec in first)
    fresh = fresh_seeds(study.seeds, len(study.recipe.seeds))
    trial_runs = plan.n_trials * len(study.seeds)
    check_runs = 2 * len(fresh) + (len(fresh) if teachers else 0)
    if request.format == "json":
        told = {
            "study": study.name, "sampler": plan.sampler, "trials": plan.n_trials, "seeds": list(study.seeds),
            "objective": plan.space.rules.objective, "column": column, "baseline": baseline,
            "parameters": [d.to_json() for d in plan.space.dimensions],
            "runs_at_most": {"trials": trial_runs, "baseline": len(study.seeds), "teachers": teachers,
                             "check": check_runs},
            "fresh_seeds": fresh,
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False, indent=1))
        return 0
    grid = Grid(title=Text(f"{study.name}: plan of a search"))
    for name in ("parameter", "kind", "space", "value used"):
        grid.add_column(name)
    for d in plan.space.dimensions:
        ends = ", ".join(map(str, d.choices)) or f"{d.low:g} to {d.high:g}{' (log)' if d.log else ''}"
        grid.add_row(Text(d.symbol), d.kind, Text(ends), Text(str(d.used)))
    console = Console()
    console.print(grid)
    rules = plan.space.rules
    lines = (
        f"{plan.n_trials} trials by {plan.sampler}, {len(study.seeds)} seeds each; objective: {rules.objective} of the "
        f"validation {column}; pruning: {rules.prune}",
        f"at most {trial_runs} runs of trials, {len(study.seeds)} of the baseline {baseline}, {teachers} teachers",
        f"then at most {check_runs} runs for the best row and the baseline on the fresh seeds "
        f"{', '.join(map(str, fresh))}",
    )
    for line in lines:
        console.print(Text(line))
    for warning in study.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0
