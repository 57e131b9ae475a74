"""Searches over the small study that trains in a moment."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from execution_samples import RECIPE, tiles

from mmablate.execution import Options
from mmablate.execution.journal import Journal
from mmablate.execution.search import SearchPlan, SearchResult, check_plan, identity, run_search
from mmablate.results import StudyStore
from mmablate.study import Study, open_study
from mmablate.study.searching import search_space
from mmablate.study.sweeping import SweepRequest

SWEEP = """
sweep:
  rate: {path: train.lr, range: [1e-3, 1e-1], log: true}
  mad: {path: losses.mad.weight, range: [1, 100], log: true}
  umd: {path: losses.umd.weight, values: [0, 1, 2, 4]}
"""
NAME = "small_rate_umd"


def plan(
    folder: Path,
    n_trials: int,
    *overrides: str,
    parameters: Sequence[str] = ("rate", "umd"),
    sampler: Any = "random",
    seeds: Sequence[int] | None = None,
    **rules: Any,
) -> SearchPlan:
    """A search over the learning rate and a weight."""
    folder.mkdir(exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(RECIPE + SWEEP)
    space = search_space(str(path), parameters, overrides=overrides)
    space = dataclasses.replace(space, rules=space.rules.model_copy(update=rules))

    def opened(points: Sequence[Mapping[str, Any]], other: Sequence[int] | None) -> Study:
        request = SweepRequest(tuple(parameters), points=tuple(points))
        return open_study(str(path), overrides=overrides, sweep=request, seeds=seeds if other is None else other)

    return SearchPlan(space, sampler, n_trials, opened)


def options(folder: Path, jobs: int = 1, **more: Any) -> Options:
    """On the CPU, without a word."""
    return Options(folder / "out", "cpu", jobs, quiet=True, **more)


def search(folder: Path, n_trials: int, *overrides: str, jobs: int = 1, **more: Any) -> SearchResult:
    """Runs it; `retry_failed` and `fail_fast` go to the execution, all else to the plan."""
    execution = {key: more.pop(key) for key in ("retry_failed", "fail_fast") if key in more}
    return run_search(plan(folder, n_trials, *overrides, **more), options(folder, jobs, **execution), tiles(), None)


def journal(of: SearchPlan, out: Path) -> Journal:
    """The journal that `run_search` opens for the plan."""
    corners, column, direction = check_plan(of)
    store = StudyStore(out, corners.name)
    store.prepare()
    rules = of.space.rules
    return Journal(
        store, identity(of, corners, column), of.space, sampler=of.sampler, direction=direction, prune=rules.prune
    )


def asked(result: SearchResult) -> list[tuple[str, str, float | None]]:
    """Row, state and objective by trial."""
    return [(trial.row, trial.state, trial.objective) for trial in result.search.trials]


def validation_means(out: Path, row: str, seeds: Sequence[int], study: str = NAME) -> list[float]:
    """Mean over the single subsets' validation scores, seed by seed, read from the records by hand."""
    records, bad = StudyStore(out, study).records()
    assert not bad
    found = {r.seed: r for r in records if r.row == row and r.role == "student"}
    subsets = ("V", "N", "S", "VN", "VS", "NS", "VNS")
    return [statistics.fmean(found[seed].validation[name] for name in subsets) for seed in seeds]
