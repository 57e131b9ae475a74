"""What a study's page tells besides its scores: training, recipe, settings by row, machines, failures.

Everything is read tolerantly: a history that is half written, a missing config.json or a foreign file takes
away its own lines and nothing else.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.analysis import runs
from mmablate.analysis.courses import Training, load_training
from mmablate.analysis.settings import Change, changes, without_paths
from mmablate.analysis.suppression import Suppression, load_suppression
from mmablate.analysis.usage import MEASURED, RowUse, row_uses
from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore
from mmablate.results.files import read_json

MOST_DIFFS = 100
MOST_FAILURES = 100
_TRIES = 3  # seeds of a row whose config.json is looked for

_ROLES = {"teacher": "teacher", "pair": "teacher and student, trained jointly"}
"""What runs without a row are called, by their role."""
_FACTS = ("device", "device_name", "precision", "threads", "python", "torch", "cuda", "mmablate")
_OF_ONE_MACHINE = frozenset(("worker", "host", "hostname", "node", "pid", "user", "cwd", "command", "path"))


@dataclass(frozen=True)
class RowDiff:
    """A row's resolved settings against those of its baseline.

    Attributes:
        row, baseline: labels.
        changes: empty where nothing differs; None where a config.json could not be read.
    """

    row: str
    baseline: str
    changes: tuple[Change, ...] | None


@dataclass(frozen=True)
class Failure:
    """One run without scores, or several of a row that failed alike.

    Attributes:
        row: label of the row; one of `_ROLES` for a run without a row.
        seeds: of the runs.
        step: optimiser steps before it, None where none is known.
    """

    row: str
    seeds: tuple[int, ...]
    type: str
    message: str
    step: int | None


@dataclass(frozen=True)
class Fact:
    """One property of the machines: its values, each with the number of runs that had it, most frequent first."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StudyDetails:
    """What a study's page tells besides its scores.

    Attributes:
        training: curves of a few rows, None without any.
        recipe: resolved, without folders of the machine.
        diffs: one a row but the baseline's own; `n_diffs` counts all, of which the first are here.
        facts: of the machines; runs that do not tell a property are not counted in it.
        failures: `n_failures` counts the failed runs, of which not all need stand here.
        n_runs: with a record, finished or failed; those of teachers among them.
        seconds: of all runs together.
        execution: how they were run, e.g. {"mode": "in_turn", "threads": 1}.
        created, profile: of the study, "" where it does not say.
        uses: memory and device used, the teachers first; none where no record tells them.
        suppression: what encoders of several modalities were left to learn from, None where no history tells.
    """

    training: Training | None
    recipe: Mapping[str, Any]
    diffs: tuple[RowDiff, ...]
    n_diffs: int
    facts: tuple[Fact, ...]
    failures: tuple[Failure, ...]
    n_failures: int
    n_runs: int
    seconds: float
    execution: Mapping[str, str]
    created: str
    profile: str
    uses: tuple[RowUse, ...] = ()
    suppression: Suppression | None = None


def load_details(store: StudyStore, *, records: Sequence[RunRecord] | None = None) -> StudyDetails:
    """Reads what the page tells besides the scores.

    Args:
        store: of the study.
        records: of it, where they have been read already.

    Raises:
        StoreError: no study there.
    """
    study = store.read_study()
    aside = {entry["run_id"] for entry in study.get("superseded", ())}
    counted = [r for r in (store.records()[0] if records is None else records) if r.run_id not in aside]
    by_row = _by_row(study, counted)
    wanted = _diff_rows(study, by_row)
    failures = _failures(study, counted)
    recipe = study.get("recipe")
    execution = study.get("execution")
    return StudyDetails(
        training=load_training(store, study, by_row),
        recipe=without_paths(recipe) if isinstance(recipe, dict) else {},
        diffs=tuple(_diff(store, study, by_row, *pair) for pair in wanted[:MOST_DIFFS]),
        n_diffs=len(wanted),
        facts=_facts(counted),
        failures=tuple(failures[:MOST_FAILURES]),
        n_failures=sum(record.status == "failed" for record in counted),
        n_runs=len(counted),
        seconds=sum(record.seconds for record in counted if record.seconds is not None),
        execution={
            str(key): str(value) for key, value in execution.items() if isinstance(value, str | int) and value != ""
        }
        if isinstance(execution, dict)
        else {},
        created=str(study.get("created") or ""),
        profile=str(study.get("profile") or ""),
        uses=row_uses(_by_label(study, counted, by_row)),
        suppression=load_suppression(store, study, by_row),
    )


def _by_label(
    study: Mapping[str, Any], records: Sequence[RunRecord], by_row: Mapping[str, Sequence[RunRecord]]
) -> dict[str, list[RunRecord]]:
    """Label of a row -> its records; runs without a row first, rows of one label together."""
    labels = _labels(study)
    found = {name: [record for record in records if record.role == role] for role, name in _ROLES.items()}
    for name, some in by_row.items():
        found.setdefault(labels.get(name, name), []).extend(some)
    return found


def _by_row(study: Mapping[str, Any], records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Name of a row -> its records by seed, rows as in the table; rows without records are there, too."""
    found, unknown, _ = runs.by_row(study, records)
    return {str(name): found.get(name, []) for name in (*(spec["name"] for spec in study["table"]["rows"]), *unknown)}


def _labels(study: Mapping[str, Any]) -> dict[str, str]:
    return {str(spec["name"]): str(spec.get("label") or spec["name"]) for spec in study["table"]["rows"]}


def _diff_rows(study: Mapping[str, Any], by_row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Row and baseline of every row that has one, where both were trained; without any baseline all rows are held
    against the first."""
    layout = study["table"]
    first = next(iter(by_row), "")
    own = {str(spec["name"]): spec.get("baseline") or layout.get("baseline") for spec in layout["rows"]}
    pairs = [(row, str(own.get(row) or layout.get("baseline") or first)) for row in by_row]
    return [(row, base) for row, base in pairs if row != base and by_row.get(row) and by_row.get(base)]


def _diff(
    store: StudyStore, study: Mapping[str, Any], by_row: Mapping[str, Sequence[RunRecord]], row: str, base: str
) -> RowDiff:
    labels = _labels(study)
    own, other = _config(store, by_row[row]), _config(store, by_row[base])
    found = None if own is None or other is None else changes(other, own)
    return RowDiff(labels.get(row, row), labels.get(base, base), found)


def _config(store: StudyStore, records: Sequence[RunRecord]) -> dict[str, Any] | None:
    """Resolved settings of the first finished seed whose config.json can be read."""
    good = [record for record in records if record.status == "ok"] or records
    for record in itertools.islice(good, _TRIES):
        try:
            value = read_json(store.run_folder(record.run_id) / "config.json")
        except StoreError:
            continue
        if isinstance(value, dict):
            return value
    return None


def _facts(records: Sequence[RunRecord]) -> tuple[Fact, ...]:
    # What was measured during a run (a float, e.g. seconds of waiting) is no property of its machine.
    counts: dict[str, Counter[str]] = {name: Counter() for name in _FACTS}
    for record in records:
        for name, value in record.environment.items():
            if name not in _OF_ONE_MACHINE and name not in MEASURED and isinstance(value, str | int) and value != "":
                counts.setdefault(name, Counter())[str(without_paths(value))] += 1
    return tuple(Fact(name, tuple(some.most_common())) for name, some in counts.items() if some)


def _failures(study: Mapping[str, Any], records: Sequence[RunRecord]) -> list[Failure]:
    """Failed runs in the order of the table, those of a row that failed alike together; teachers and pairs first."""
    planned = {entry["run_id"]: entry["rows"] for entry in study["plan"]}
    labels = _labels(study)
    order = {label: place for place, label in enumerate(labels.values())}
    alike: dict[tuple[str, str, str, int | None], list[int]] = {}
    for record in records:
        if record.status != "failed":
            continue
        names = planned.get(record.run_id) or ([record.row] if record.row else [])
        rows = [_ROLES[record.role]] if record.role in _ROLES else [labels.get(str(n), str(n)) for n in names] or ["–"]
        error = record.error
        kind, message, step = (
            (error.type, error.message, error.step) if error else ("", "failed without a reason", None)
        )
        for row in rows:
            alike.setdefault((row, kind, message, step), []).append(record.seed)
    found = [Failure(row, tuple(sorted(seeds)), kind, message, step)
             for (row, kind, message, step), seeds in alike.items()]  # fmt: skip
    return sorted(found, key=lambda f: (order.get(f.row, -1 if f.row in _ROLES.values() else len(order)), f.seeds))
