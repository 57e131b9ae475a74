"""A search: asked trials become rows of one study, trained as any other, and are judged on validation alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mmablate.analysis.search import Search, SearchParameter, SearchTrial, objective_value
from mmablate.analysis.statistics.summaries import average
from mmablate.data.base import SegmentationData
from mmablate.errors import UsageError
from mmablate.execution.importance import importance
from mmablate.execution.journal import Journal, Sampler, search_key
from mmablate.execution.local import run_study
from mmablate.execution.options import Options, Outcome
from mmablate.execution.pending import wanted_runs
from mmablate.execution.search_notes import check_notes, check_title, search_notes
from mmablate.results import RunRecord, StudyStore
from mmablate.results.machine import available_cores
from mmablate.study import RunSpec, Study
from mmablate.study.layout import table_layout
from mmablate.study.plan import STAGES
from mmablate.study.searching import Space
from mmablate.study.sweeping import row_name

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

Points = Sequence[Mapping[str, Any]]
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
_WAIT = 0.5  # seconds between looks at trials that another process trains


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, and how.

    Attributes:
        space: with the rules.
        sampler: that draws the trials.
        n_trials: of the whole search, those of earlier calls included.
        open: the study whose rows are the baseline and these points, with these seeds (None: those asked for).
    """

    space: Space
    sampler: Sampler
    n_trials: int
    open: Callable[[Points, Sequence[int] | None], Study]


@dataclass
class SearchResult:
    """What a search has come to.

    Attributes:
        search: trials, importance, choice.
        outcome: of its runs; those of the check are in it.
        check: study in which the chosen row meets the baseline on fresh seeds; None where there is none.
    """

    search: Search
    outcome: Outcome = field(default_factory=Outcome)
    check: Study | None = None


def run_search(plan: SearchPlan, options: Options, data: SegmentationData, data_root: str | None) -> SearchResult:
    """Asks, trains and tells until the search has its trials, then checks the best one with fresh seeds.

    Any number of processes may do so at once, in one results folder: each asks its own trials, no run is trained
    twice, and what a dead process has left is finished by the living. Trials are asked in batches of as many as
    groups train side by side, each in the knowledge that the others of its batch are under way (constant liar).
    What a trial trains and scores does not depend on any of this, but which trials are asked does: one process with
    one number of jobs always asks the same ones, interrupted or not.

    Raises:
        UsageError: an objective that these seeds or columns cannot have.
        StoreError: the results folder or its journal cannot be used.
    """
    return _Searching(plan, options, data, data_root).run()


def check_plan(plan: SearchPlan) -> tuple[Study, str, str]:
    """Judges a plan before anything is written: opens the study at the corners of the space.

    Returns:
        The study of the corners, and column and direction of the objective.

    Raises:
        RecipeError: a bound or choice that the recipe refuses.
        UsageError: an objective that these seeds or columns cannot have.
    """
    corners = plan.open(plan.space.corner_points(), None)
    info, rules = table_layout(corners, scored_on="test")["column_info"], plan.space.rules
    column = rules.column or ("Mean" if "Mean" in info else next(iter(info)))
    if column not in info:
        raise UsageError(f"search.column: a column of the table ({', '.join(info)}), got {column!r}")
    if rules.objective == "lcb" and len(corners.seeds) < 2:
        raise UsageError("--objective lcb: a confidence bound needs two seeds or more, got one")
    return corners, column, info[column]["direction"]


def identity(plan: SearchPlan, corners: Study, column: str) -> str:
    """Key of the search in its journal: whatever changes the value of a trial, or which ones are asked, is in it."""
    rules = plan.space.rules
    cells = {row: cell for spec in corners.runs for row, cell in spec.cells.items()}
    return search_key(
        {
            "space": [d.to_json() for d in plan.space.dimensions],
            "sampler": plan.sampler,
            "rules": {**rules.model_dump(mode="json"), "column": column},
            "seeds": list(corners.seeds),
            "cells": cells,
        }
    )


def fresh_seeds(used: Collection[int], count: int) -> list[int]:
    """The smallest seeds that are not used."""
    taken, seed = set(used), 0
    found: list[int] = []
    while len(found) < count:
        if seed not in taken:
            found.append(seed)
        seed += 1
    return found


class _Searching:
    def __init__(self, plan: SearchPlan, options: Options, data: SegmentationData, data_root: str | None) -> None:
        self.plan, self.options, self.data, self.data_root = plan, options, data, data_root
        corners, self.column, self.direction = check_plan(plan)
        self.rules = plan.space.rules
        self.seeds = corners.seeds
        self.baseline = next(iter(corners.baseline.values()))
        self.store = StudyStore(options.out, corners.name)
        self.batch = _batch(options)
        self.outcome = Outcome()
        self.store.prepare()
        self.journal = Journal(
            self.store, identity(plan, corners, self.column), plan.space,
            sampler=plan.sampler, direction=self.direction, prune=self.rules.prune,
        )  # fmt: skip

    def run(self) -> SearchResult:
        told, retry = False, self.options.retry_failed
        with self.journal:
            while not self._stopped():
                batch = self.journal.take(self.plan.n_trials, self.batch, retry_failed=retry)
                retry = False  # what fails now has been tried
                if batch:
                    self._evaluate(batch)
                elif self.journal.others_work():
                    told = told or self._say("search: waiting for the trials of another process")
                    time.sleep(_WAIT)
                else:
                    break
        return self._finish()

    # --- one batch ------------------------------------------------------------------------------------------

    def _evaluate(self, batch: Sequence[Trial]) -> None:
        """Trains the batch, seed by seed where trials may be stopped between them, and tells all of it at its end."""
        study = self._study()
        rows = {trial.number: row_name(self.plan.space.point(trial.params)) for trial in batch}
        pruned: dict[int, int] = {}  # trial -> seeds trained
        rounds = [self.seeds] if self.rules.prune == "none" else [(seed,) for seed in self.seeds]
        for step, seeds in enumerate(rounds):
            alive = [trial for trial in batch if trial.number not in pruned]
            if not alive:
                break
            self._train(study, {self.baseline, *(rows[trial.number] for trial in alive)}, seeds)
            if self._stopped():
                return  # what is told now would be told of half a batch: the next call goes on with it
            if self.rules.prune != "none":
                for trial in alive:
                    if self._should_stop(study, trial, rows[trial.number], step):
                        pruned[trial.number] = step + 1
        for trial in sorted(batch, key=lambda trial: trial.number):
            self._tell(study, trial, rows[trial.number], pruned.get(trial.number))

    def _train(self, study: Study, rows: Collection[str], seeds: Collection[int]) -> None:
        wanted = wanted_runs(study, rows, seeds)
        missing = sum(self.store.read_record(spec.run_id) is None for spec in wanted)
        # A single run needs no worker, whose start would take longer than a small run.
        options = replace(self.options, jobs=1) if missing == 1 else self.options
        found = run_study(study, wanted, options, self.data, self.data_root)
        self.outcome.trained += found.trained
        self.outcome.failed += found.failed
        self.outcome.known_failures += found.known_failures

    def _should_stop(self, study: Study, trial: Trial, row: str, step: int) -> bool:
        """Reports the seed that was trained last; never stops the baseline, or after the last seed."""
        values = self._values(study, row, self.seeds[: step + 1])
        if len(values) <= step:
            return False  # a run failed, and so will the trial
        value = values[-1] if self.rules.prune == "wilcoxon" else average(values)
        stop = self.journal.report(trial, value, step)
        return stop and row != self.baseline and step + 1 < len(self.seeds)

    def _tell(self, study: Study, trial: Trial, row: str, stopped_after: int | None) -> None:
        values = self._values(study, row, self.seeds)
        if stopped_after is not None:
            self.journal.tell(trial, None, "PRUNED")
            self._say(f"search: trial {trial.number}: {row}: stopped after {stopped_after} of {len(self.seeds)} seeds")
            return
        value = self._objective(values) if len(values) == len(self.seeds) else None
        self.journal.tell(trial, value, "FAIL" if value is None else "COMPLETE")
        shown = "failed" if value is None else f"{self._what()} {value:.2f}"
        self._say(f"search: trial {trial.number}: {row}: {shown}")

    def _values(self, study: Study, row: str, seeds: Sequence[int]) -> list[float]:
        """Validation scores by seed, of the seeds that have one."""
        ids = {spec.seed: spec.run_id for spec in study.runs if spec.role == "student" and row in spec.rows}
        found = (self.store.read_record(ids[seed]) for seed in seeds if seed in ids)
        return [value for record in found if (value := self._score(record)) is not None]

    def _score(self, record: RunRecord | None) -> float | None:
        return record.validation.get(self.column) if record is not None and record.status == "ok" else None

    def _objective(self, values: Sequence[float]) -> float | None:
        rules = self.rules
        return objective_value(values, objective=rules.objective, direction=self.direction, confidence=rules.confidence)

    # --- the whole ------------------------------------------------------------------------------------------

    def _study(self) -> Study:
        """The baseline and all rows that any process has asked so far, with what is known of the search."""
        points = [point for _, point in self.journal.asked()]
        study = self.plan.open(points, None)
        return self._telling(study, self._search(study))

    def _telling(self, study: Study, search: Search) -> Study:
        sweep = {**(study.sweep or {}), "search": search.model_dump(mode="json")}
        return replace(study, sweep=sweep, notes=(*study.notes, *search_notes(search)))

    def _search(self, study: Study, check: str | None = None) -> Search:
        trials = [self._trial(study, frozen, point) for frozen, point in self.journal.asked()]
        good = [trial for trial in trials if trial.objective is not None]
        sign = 1 if self.direction == "max" else -1
        best = max(good, key=lambda trial: (sign * (trial.objective or 0.0), -trial.number), default=None)
        baseline = self._values(study, self.baseline, self.seeds)
        rules = self.rules
        return Search(
            sampler=self.plan.sampler, seed=rules.seed, objective=rules.objective, confidence=rules.confidence,
            column=self.column, direction=self.direction, seeds=self.seeds, prune=rules.prune,
            parameters=tuple(SearchParameter(**d.to_json()) for d in self.plan.space.dimensions),
            trials=tuple(trials), importance=importance(self.journal.study),
            chosen=best.row if best else None, chosen_objective=best.objective if best else None,
            baseline_objective=self._objective(baseline) if len(baseline) == len(self.seeds) else None,
            optimistic=self.data.scored_split == "val", check=check,
        )  # fmt: skip

    def _trial(self, study: Study, frozen: FrozenTrial, point: Mapping[str, Any]) -> SearchTrial:
        row = row_name(point)
        return SearchTrial(
            number=frozen.number, row=row, state=STATES[frozen.state.name],
            objective=frozen.value if frozen.state.name == "COMPLETE" else None,
            values=dict(point), n_seeds=len(self._values(study, row, self.seeds)),
        )  # fmt: skip

    def _finish(self) -> SearchResult:
        """The study with all that is known, and the check of the chosen row."""
        bare = self.plan.open([point for _, point in self.journal.asked()], None)
        search = self._search(bare)
        wanted_check = search.chosen is not None and search.chosen != self.baseline and not self._stopped()
        if wanted_check:
            search = search.model_copy(update={"check": f"{bare.name}_best"})
        study = self._telling(bare, search)
        # Nothing is left to train but what somebody has deleted; what failed has been tried.
        options = replace(self.options, retry_failed=False, force=False)
        final = run_study(study, self._all_runs(study, search), options, self.data, self.data_root)
        told = {r.run_id for r in self.outcome.failed} - {r.run_id for r in self.outcome.known_failures}
        self.outcome.reused, self.outcome.failed = final.reused, final.failed
        self.outcome.known_failures = [record for record in final.failed if record.run_id not in told]
        check = self._check(search) if wanted_check else None
        return SearchResult(search, self.outcome, check)

    def _all_runs(self, study: Study, search: Search) -> list[RunSpec]:
        """Every run of the table: all seeds of a row, of a pruned one those that it has."""
        pruned = search.pruned_rows()
        whole = {row.name for row in study.rows} - pruned
        wanted = wanted_runs(study, whole, self.seeds)
        here = {spec.run_id for spec in wanted}
        some = wanted_runs(study, pruned, self.seeds)
        trained = [spec for spec in some if spec.run_id not in here and self.store.read_record(spec.run_id)]
        return sorted([*wanted, *trained], key=lambda spec: STAGES.index(spec.role))

    def _check(self, search: Search) -> Study:
        """Trains the chosen row and the baseline with seeds that the search has not used."""
        point = next(trial.values for trial in search.trials if trial.row == search.chosen)
        base = self.plan.open([point], None)
        study = self.plan.open([point], fresh_seeds(self.seeds, len(base.recipe.seeds)))
        symbols = (study.sweep or {})["symbols"]
        sweep = {**(study.sweep or {}), "title": check_title(symbols)}
        study = replace(
            study, name=f"{base.name}_best", sweep=sweep, notes=(*study.notes, *check_notes(search, base.name))
        )
        self._say(f"search: {search.chosen} is checked against the baseline with seeds {_listed(study.seeds)}")
        rows = [row.name for row in study.rows]
        found = run_study(study, wanted_runs(study, rows, study.seeds), self.options, self.data, self.data_root)
        self.outcome.trained += found.trained
        self.outcome.reused += found.reused
        self.outcome.failed += found.failed
        self.outcome.known_failures += found.known_failures
        return study

    def _stopped(self) -> bool:
        return self.options.fail_fast and len(self.outcome.failed) > len(self.outcome.known_failures)

    def _what(self) -> str:
        return f"{'bound' if self.rules.objective == 'lcb' else 'mean'} of validation {self.column}"

    def _say(self, text: str) -> bool:
        if not self.options.quiet:
            print(text, file=sys.stderr, flush=True)
        return True


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _batch(options: Options) -> int:
    """As many trials as groups train side by side."""
    if options.backend != "local":
        return options.jobs or 4
    from mmablate.training.device import choose_device

    device = choose_device(options.device)
    return options.jobs or (1 if device.type == "cuda" else available_cores())
