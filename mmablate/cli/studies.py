"""`ablate`, `sweep` and `train`: open the study, train what is missing, print the table."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.cli.parsing import parse_options, parse_range, parse_seeds, parse_values
from mmablate.cli.tracking import open_recorder, table_log
from mmablate.errors import DataError, UsageError
from mmablate.execution.processes import is_lead
from mmablate.recipe import shipped_recipes
from mmablate.study import AnyStudy, ProgramStudy, open_study
from mmablate.study.datasets import check_dataset, dataset_settings, open_dataset
from mmablate.study.opening import select_rows
from mmablate.study.sweeping import SweepRequest, linear_or_log
from mmablate.tracking import Recorder

if TYPE_CHECKING:
    from mmablate.analysis import Table
    from mmablate.cli.planning import Plan
    from mmablate.execution import Options, Outcome

DEFAULT_SWEEP = "muses_losses"


@dataclass(frozen=True)
class Request:
    """The options that train, ablate and sweep share, as typed."""

    recipe: str
    overrides: list[str]
    profile: str | None
    data_root: str | None
    out: Path
    device: str
    jobs: int | None
    dry_run: bool
    strict: bool
    retry_failed: bool
    fail_fast: bool
    force: bool
    format: str
    quiet: bool
    workers: int | None = None
    probe: bool = False
    budget: str | None = None
    mode: str = "auto"
    backend: str = "local"
    backend_options: list[str] | None = None
    track: list[str] | None = None


def ablate_study(request: Request, *, seeds: str | None, only: str | None, exclude: str | None) -> int:
    """Runs a recipe's grid."""
    recorder = open_recorder(request.track, request.out, _say(request))
    study = _open(request, seeds=parse_seeds(seeds))
    return _execute(request, study, select_rows(study.rows, only, exclude), recorder)


def sweep_study(
    request: Request,
    *,
    parameters: list[str],
    values: str | None,
    range_: str | None,
    seeds: str | None,
    trials: int | None = None,
    sampler: str = "grid",
    objective: str | None = None,
    prune: str | None = None,
) -> int:
    """Runs a sensitivity study: a grid, or a search."""
    if not parameters:
        raise UsageError("sweep: say what to vary with --param NAME, e.g. --param beta")
    if values is not None and range_ is not None:
        raise UsageError("sweep: --values or --range, not both")
    if len(parameters) > 1 and (values is not None or range_ is not None):
        raise UsageError("sweep: --values and --range go with one --param; several take the recipe's own values")
    # `sweep train.lr=1e-3 --param beta`: an override first means that RECIPE was left out.
    recipe, overrides = request.recipe, request.overrides
    if not recipe and DEFAULT_SWEEP not in shipped_recipes():
        raise UsageError("sweep: name a recipe, e.g. `mmablate sweep landsat_losses --param beta`")
    if "=" in recipe and not Path(recipe).exists():
        recipe, overrides = "", [recipe, *overrides]
    request = Request(**{**vars(request), "recipe": recipe or DEFAULT_SWEEP, "overrides": overrides})
    recorder = open_recorder(request.track, request.out, _say(request))
    bounds = None if range_ is None else parse_range(range_)
    if sampler != "grid":
        from mmablate.cli.searching import SearchRequest, search_study

        return search_study(
            request,
            SearchRequest(tuple(parameters), parse_values(values), bounds, sampler, trials, objective, prune),
            recorder,
            seeds=parse_seeds(seeds),
        )
    for option, value in (("--objective", objective), ("--prune", prune)):
        if value is not None:
            raise UsageError(f"{option} {value}: a grid trains every value; it goes with --sampler tpe or random")
    grid = parse_values(values)
    if bounds is not None:
        grid, trials = linear_or_log(*bounds[:2], 5 if trials is None else trials, log=bounds[2]), None
    study = _open(request, seeds=parse_seeds(seeds), sweep=SweepRequest(tuple(parameters), grid, count=trials))
    return _execute(request, study, [row.name for row in study.rows], recorder)


def train_one(request: Request, *, row: str | None, seed: int | None) -> int:
    """Trains one run."""
    recorder = open_recorder(request.track, request.out, _say(request))
    study = _open(request, seeds=None if seed is None else [seed])
    names = [r.name for r in study.rows]
    row = names[-1] if row is None else row
    if row not in names:
        raise UsageError(f"--row {row}: no row has that name (there are: {', '.join(names)})")
    seed = study.seeds[0] if seed is None else seed
    _check_files(study)
    if _planned(request, study, [row], [seed]) is None:
        return 0
    with recorder:
        outcome = _train(request, study, [row], [seed], recorder)
        run = next(s for s in study.runs if s.role == "student" and s.seed == seed and row in s.rows)
        if not is_lead():
            return 1 if outcome.failed else 0
        _write_page(request, study)
        records = [*outcome.trained, *outcome.reused, *outcome.failed]
        recorder.study_over(study.name, None, [record.run_id for record in records])
        record = next((r for r in records if r.run_id == run.run_id), None)
        if record is not None:
            _print_run(record, request)
        return _failures(request, outcome)


def _open(request: Request, *, seeds: list[int] | None, sweep: SweepRequest | None = None) -> AnyStudy:
    parse_options(request.backend_options or [])  # what cannot be read is told first
    return open_study(
        request.recipe,
        profile=request.profile,
        overrides=request.overrides,
        data_root=request.data_root,
        seeds=seeds,
        sweep=sweep,
        strict=request.strict,
        tell=_say(request),
    )


def _execute(request: Request, study: AnyStudy, rows: list[str], recorder: Recorder) -> int:
    _check_files(study)
    seeds = _planned(request, study, rows, study.seeds)
    if seeds is None:
        return 0
    if len(seeds) < len(study.seeds):  # a table must say that more were meant
        text = f"{len(study.seeds)} seeds were asked for; the first {len(seeds)} fitted into --budget {request.budget}."
        study = replace(study, notes=(*study.notes, text))
    with recorder:
        outcome = _train(request, study, rows, seeds, recorder)
        if is_lead():
            table = _print_table(request, study)
            if recorder.wishes:
                recorder.study_over(study.name, table_log(table))
        return _failures(request, outcome)


def _planned(
    request: Request, study: AnyStudy, rows: Collection[str], seeds: Collection[int]
) -> Collection[int] | None:
    """The seeds to train, after measuring and keeping to the budget where asked; None where only the plan was."""
    from mmablate.cli.planning import cost_line, make_plan, parse_budget, print_plan, spoken, within_budget
    from mmablate.execution import wanted_runs

    budget = None if request.budget is None else parse_budget(request.budget)
    if not (request.dry_run or request.probe or budget is not None):
        return seeds
    if (request.probe or budget is not None) and request.backend != "local":
        option = "--probe" if request.probe else "--budget"
        raise UsageError(f"{option}: measures this machine, not the workers of --backend {request.backend}")
    device = request.device
    if (request.probe or budget is not None) and not isinstance(study, ProgramStudy):
        from mmablate.execution.local import probe_study

        wanted = wanted_runs(study, rows, seeds)
        found = probe_study(
            study, wanted, _options(request), study.recipe.data.root, _say(request), again=request.probe
        )
        device = found or device

    def plan_of(some: Collection[int]) -> Plan:
        return make_plan(
            study,
            rows,
            some,
            out=request.out,
            device=device,
            jobs=request.jobs,
            force=request.force,
            retry_failed=request.retry_failed,
        )

    plan = plan_of(seeds)
    if budget is not None:
        plan = within_budget(plan, budget, plan_of)
        if left := [seed for seed in seeds if seed not in plan.seeds]:
            names = ", ".join(map(str, left))
            print(f"--budget {spoken(budget)}: seeds left out: {names}", file=sys.stderr)
    if request.dry_run:
        if is_lead():
            print_plan(plan, request.format)
            for warning in study.warnings:
                print(f"warning: {warning}", file=sys.stderr)
        return None
    if plan.pending:
        _say(request)(cost_line(plan))
    return plan.seeds


def _say(request: Request) -> Callable[[str], None]:
    return (lambda text: None) if request.quiet else (lambda text: print(text, file=sys.stderr))


def _check_files(study: AnyStudy) -> None:
    """Headers of all files, before a plan is printed or anything is trained."""
    if isinstance(study, ProgramStudy):
        return  # which were looked at for the identity of the runs
    settings = dataset_settings(study.recipe)
    if settings.get("on_fault") == "drop":
        return  # opening the data drops faulty samples, and tells what is beyond that
    problems = check_dataset(settings, study.recipe.data.root, thorough=False)
    if problems:
        raise DataError(problems)


def _train(
    request: Request, study: AnyStudy, rows: Collection[str], seeds: Collection[int], recorder: Recorder
) -> Outcome:
    from mmablate.execution import run_study, wanted_runs

    data = root = None
    if not isinstance(study, ProgramStudy):
        root = study.recipe.data.root
        data = open_dataset(dataset_settings(study.recipe), root)
    for warning in study.warnings if is_lead() else ():
        print(f"warning: {warning}", file=sys.stderr)
    # What draws the page takes half a second to import; that passes while the runs wait for the disk or compute.
    threading.Thread(target=_import_figures, daemon=True).start()
    options = replace(_options(request), heard=recorder.heard)
    recorder.follow(study.name)
    return run_study(study, wanted_runs(study, rows, seeds), options, data, root)


def _import_figures() -> None:
    with contextlib.suppress(Exception):  # the page will say what is wrong
        import mmablate.report.figures  # noqa: F401


def _options(request: Request) -> Options:
    from mmablate.execution import Options

    return Options(
        out=request.out,
        device=request.device,
        jobs=request.jobs,
        retry_failed=request.retry_failed,
        fail_fast=request.fail_fast,
        force=request.force,
        quiet=request.quiet,
        workers=request.workers,
        mode=request.mode,
        backend=request.backend,
        backend_options=parse_options(request.backend_options or []),
    )


def _failures(request: Request, outcome: Outcome) -> int:
    if not outcome.failed or not is_lead():
        return 1 if outcome.failed else 0
    # Failures of this call have been told live, unless progress was not wanted.
    for record in outcome.failed if request.quiet else outcome.known_failures:
        reason = f"{record.error.type}: {record.error.message}" if record.error else "no reason recorded"
        print(f"failed: {record.row or record.role}, seed {record.seed}: {reason}", file=sys.stderr)
    count = len(outcome.failed)
    print(f"{count} run{'s' if count > 1 else ''} failed; --retry-failed trains again", file=sys.stderr)
    return 1


# --- printing ---------------------------------------------------------------------------------------------


def _write_page(request: Request, study: AnyStudy) -> Table:
    """Writes the study's index.html anew, so that it never says other than the table."""
    from mmablate.cli.tables import write_study_page
    from mmablate.results import StudyStore

    table, page = write_study_page(StudyStore(request.out, study.name))
    if not request.quiet:
        print(f"report: {page}", file=sys.stderr)
    return table


def _print_table(request: Request, study: AnyStudy) -> Table:
    from mmablate.report import render
    from mmablate.report.terminal import print_tables

    table = _write_page(request, study)
    if request.format == "json":
        print(render([table], "json", single=True))
    else:
        print_tables([table], Console())
    return table


def _print_run(record: Any, request: Request) -> None:
    if request.format == "json":
        print(json.dumps(record.model_dump(mode="json"), ensure_ascii=False, indent=1))
        return
    if record.status == "failed":
        return
    split = {"test": "test %", "val": "validation %"}.get(record.scored_on, "reported")
    mark = " · SYNTHETIC DATA" if record.synthetic else ""
    epoch = "" if record.selected_epoch is None else f", epoch {record.selected_epoch}"
    grid = Grid(title=Text(f"{record.row}, seed {record.seed}{epoch}{mark}"))
    grid.add_column("")
    for name in record.metrics:
        grid.add_column(Text(name), justify="right")
    grid.add_row(split, *(f"{value:.2f}" for value in record.metrics.values()))
    if record.scored_on == "test":
        validation = (record.validation.get(name) for name in record.metrics)
        grid.add_row("validation %", *("" if v is None else f"{v:.2f}" for v in validation))
    Console().print(grid)
