"""From a study's folder to its `Table`."""

from __future__ import annotations

import math
import statistics as py_statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from mmablate.analysis import runs
from mmablate.analysis.assembly import Draft, Rules, assemble
from mmablate.analysis.forms import fault, fault_of
from mmablate.analysis.notes import Found, study_notes, table_notes
from mmablate.analysis.pairing import check_pairing
from mmablate.analysis.search import Search
from mmablate.analysis.statistics import LARGEST, mean_over_columns
from mmablate.analysis.table import DatasetInfo, Row, Sweep, Table
from mmablate.analysis.views import View, choose_view, conditions_of
from mmablate.errors import StoreError, UsageError
from mmablate.results import RunRecord, StudyStore


def build_table(
    store: StudyStore,
    *,
    baseline: str | None = None,
    condition: str | None = None,
    subset: str | None = None,
    confidence: float | None = None,
) -> Table:
    """Reads a study and computes its table.

    Args:
        store: of the study.
        baseline: name of the row that every Δ shall refer to, in place of the recipe's.
        condition: score only the samples of this condition, e.g. "night".
        subset: a column, e.g. "F" or "Mean": its scores on all samples and on those of each condition.
        confidence: of the intervals, e.g. 0.9, in place of the recipe's.

    Raises:
        StoreError: no study there, or one whose file is damaged.
        UsageError: `baseline` is no row, `condition` or `subset` is not of this study, or both are given.
    """
    study = store.read_study()
    if wrong := fault(study):
        raise StoreError(f"{store.folder / 'study.json'}: {wrong}")
    try:
        return _build(store, study, baseline, choose_view(study, condition=condition, subset=subset), confidence)
    except ValidationError as error:
        raise StoreError(f"{store.folder / 'study.json'}: table: {fault_of(error)}") from error


def _build(
    store: StudyStore, study: Mapping[str, Any], baseline: str | None, view: View, confidence: float | None
) -> Table:
    layout = study["table"]
    records, damaged = store.records()
    by_row, unknown, doubles = runs.by_row(study, records)
    specs = [*layout["rows"], *({"name": name, "label": name} for name in unknown)]
    names = [spec["name"] for spec in specs]
    if baseline is not None and baseline not in names:
        raise UsageError(f"--baseline {baseline}: no row has that name (there are: {', '.join(names)})")
    search = _search(layout)
    pruned = search.pruned_rows() if search is not None else frozenset()
    bases = {spec["name"]: baseline or _baseline_of(spec, layout) for spec in specs}
    if baseline in pruned:
        raise UsageError(f"--baseline {baseline}: the search stopped that row before its last seed")
    rules = _rules(layout, confidence)
    planned = _planned_seeds(study)
    drafts = [
        _draft(spec, by_row[spec["name"]], bases[spec["name"]], view, planned.get(spec["name"], set()),
               pruned=spec["name"] in pruned)
        for spec in specs
        if by_row.get(spec["name"])
    ]  # fmt: skip
    teachers, of_teachers = _teacher_drafts(study, records, view)
    drafts += teachers
    made = assemble(drafts, view.info, rules)
    common = {bases[spec["name"]] for spec in specs}
    table = Table(
        schema=1,
        study=study["name"],
        title=": ".join(part for part in (study.get("title") or study["name"], view.title) if part),
        caption=layout.get("caption", "") if view.caption is None else view.caption,
        row_header=layout.get("row_header", ""),
        baseline=next(iter(common)) if len(common) == 1 else None,
        columns=view.columns,
        column_info=view.info,
        dataset=DatasetInfo(**study.get("dataset", {})),
        rows=made.rows,
        heat_scales=made.heat_scales,
        sweep=Sweep(**layout["sweep"]) if layout.get("sweep") else None,
        search=search,
        n_decimals=layout.get("n_decimals", 2),
        decimal=layout.get("decimal", "."),
        extras=layout.get("extras"),
        confidence=rules.confidence,
        primary=rules.primary,
        family=rules.family,
        families=made.families,
        smallest_effect=rules.smallest_effect,
        condition=view.condition,
        subset=view.subset,
        given=view.given,
    )
    found = Found(
        missing=tuple(spec["name"] for spec in layout["rows"] if not by_row.get(spec["name"])),
        left_out=(*damaged, *doubles),
        devices=tuple(sorted(_devices(by_row))),
        constant=made.constant,
        superseded=sum(entry["role"] == "student" for entry in study.get("superseded", ())),
        of_the_study=(*study.get("notes", ()), *of_teachers),
        pairing=check_pairing(store, by_row, bases),
    )
    notes = (*view.notes, *table_notes(table, found))
    return table.model_copy(update={"notes": notes, "study_notes": (*view.notes, *study_notes(found))})


def _rules(layout: Mapping[str, Any], confidence: float | None) -> Rules:
    given = layout.get("significance") or {}
    rules = Rules(
        primary=given.get("primary", "Mean"),
        family=given.get("family", "table"),
        confidence=given.get("confidence", 0.95),
        smallest_effect=layout.get("smallest_effect"),
    )
    return rules if confidence is None else replace(rules, confidence=confidence)


def _search(layout: Mapping[str, Any]) -> Search | None:
    """The search that made the rows, None for a grid."""
    return Search.model_validate(layout["search"]) if layout.get("search") else None


def condition_tables(store: StudyStore) -> list[Table]:
    """A table for each condition that the study's recipe wants in its report, of those that the data have."""
    study = store.read_study()
    wanted = study["table"].get("show_conditions")
    known = conditions_of(study)
    names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
    return [build_table(store, condition=name) for name in dict.fromkeys(names) if name in known]


def _values(records: Sequence[RunRecord], view: View) -> dict[str, dict[str, float]]:
    """Column -> seed -> value; Mean is computed here, whatever a record says of it."""
    good = [(str(record.seed), view.scores(record)) for record in records if record.status == "ok"]
    averaged = view.averages and "Mean" in view.columns
    table = {
        column: {seed: scores[column] for seed, scores in good if abs(scores.get(column, math.inf)) <= LARGEST}
        for column in view.columns
        if not (averaged and column == "Mean")
    }
    if averaged:
        table["Mean"] = mean_over_columns({c: v for c, v in table.items() if view.info[c].subset})
    return {column: table[column] for column in view.columns}


def _baseline_of(spec: Mapping[str, Any], layout: Mapping[str, Any]) -> str | None:
    return spec.get("baseline") or layout.get("baseline")


def _planned_seeds(study: Mapping[str, Any]) -> dict[str, set[int]]:
    """Row -> the seeds that were planned for it."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for entry in study["plan"]:
        for row in entry["rows"]:
            seeds[row].add(entry["seed"])
    return seeds


def _draft(
    spec: Mapping[str, Any],
    records: Sequence[RunRecord],
    baseline: str | None,
    view: View,
    planned: set[int],
    *,
    pruned: bool = False,
) -> Draft:
    name = spec["name"]
    good = [record for record in records if record.status == "ok"]
    complete = planned <= {record.seed for record in good} and len(good) == len(records)
    row = Row(
        name=name,
        label=spec.get("label") or name,
        baseline=None if pruned else baseline,
        status="ok" if complete and not pruned else "partial" if good else "failed",
        level=dict(spec.get("values") or {}),
        levels=dict(spec.get("levels") or {}),
        losses=tuple(spec.get("losses") or ()),
        pruned=pruned,
        **_facts(records),
    )
    return Draft(row, _values(records, view))


def _facts(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What the runs of a row say beside their scores."""
    good = [record for record in records if record.status == "ok"]
    seconds = [record.seconds for record in good if record.seconds is not None]
    return {
        "n_seeds": len(good),
        "n_parameters": next((r.n_parameters for r in good if r.n_parameters is not None), None),
        "flops": next((r.flops for r in good if r.flops is not None), None),
        "seconds": py_statistics.fmean(seconds) if seconds else None,
        "errors": tuple(f"seed {r.seed}: {_reason(r)}" for r in records if r.status == "failed"),
    }


def _reason(record: RunRecord) -> str:
    return f"{record.error.type}: {record.error.message}" if record.error else "failed without a reason"


def _teacher_drafts(
    study: Mapping[str, Any], records: Sequence[RunRecord], view: View
) -> tuple[list[Draft], list[str]]:
    """The teacher as a reference row, where the recipe asks for it: no Δ, never best; and what must be said of it.

    Rows that differ in their teacher have several a seed, of which no single row can tell.
    """
    if not study["table"].get("teacher_row"):
        return [], []
    entries = [entry for entry in study["plan"] if entry["role"] == "teacher"]
    planned = {entry["run_id"] for entry in entries}
    teachers = [record for record in records if record.run_id in planned]
    if not teachers:
        return [], []
    most = max(Counter(entry["seed"] for entry in entries).values())
    if most > 1:
        return [], [f"The teacher is not shown as a row: a seed has up to {most} of them."]
    about_subsets = any(about.subset for about in view.info.values())
    n_good = sum(record.status == "ok" for record in teachers)
    row = Row(
        name="teacher",
        label="teacher (all modalities in training)" if about_subsets else "teacher",
        status="ok" if n_good == len(planned) else "partial" if n_good else "failed",
        reference=True,
        **_facts(teachers),
    )
    return [Draft(row, _values(teachers, view))], []


def _devices(by_row: Mapping[str, Sequence[RunRecord]]) -> set[str]:
    return {str(r.environment["device"]) for some in by_row.values() for r in some if "device" in r.environment}
