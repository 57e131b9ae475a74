"""study.json: what the study is, what it planned and how it is executed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import mmablate
from mmablate.catalog import find
from mmablate.data.base import AnyData
from mmablate.data.summary import DatasetSummary
from mmablate.execution.conditions import axes_of, notes_of
from mmablate.study import AnyStudy, ProgramStudy, RunSpec, Study
from mmablate.study.layout import table_layout


def manifest(
    study: AnyStudy,
    wanted: Sequence[RunSpec],
    data: AnyData | None,
    summary: DatasetSummary | None,
    execution: Mapping[str, Any],
    old: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The new study.json, given the old one.

    Args:
        wanted: those of the study's runs that this call is about; only they are planned.
        data, summary: of the study; None where it runs a program.

    Runs that an earlier call planned stay in the plan while they are runs of the same rows (other seeds);
    those of rows that have changed since are `superseded`: kept on disk, counted nowhere, until the row is
    changed back.
    """
    cells = {row: cell for spec in study.runs for row, cell in spec.cells.items()}
    plan = [_entry(spec) for spec in wanted]
    here = {entry["run_id"] for entry in plan}
    served = {(row, entry["seed"]) for entry in plan for row in entry["rows"]}
    before = {e["run_id"]: e for e in (*old["plan"], *old.get("superseded", ()))} if old else {}
    earlier = []
    for run_id, entry in before.items():
        rows = [r for r in entry["rows"] if cells.get(r) == entry["cells"].get(r) and (r, entry["seed"]) not in served]
        if run_id not in here and rows:
            earlier.append({**entry, "rows": rows})
    needed: set[str] = set()
    waiting = [upstream for entry in earlier for upstream in entry["depends_on"]]
    while waiting:  # a teacher may read a pair
        if (run_id := waiting.pop()) not in needed | here:
            needed.add(run_id)
            waiting += before[run_id]["depends_on"] if run_id in before else ()
    kept = [entry for run_id, entry in before.items() if run_id in needed]
    counted = {*here, *needed, *(entry["run_id"] for entry in earlier)}
    superseded = [entry for run_id, entry in before.items() if run_id not in counted]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema": 1,
        "name": study.name,
        "title": _title(study),
        "created": old["created"] if old else now,
        "updated": now,
        "mmablate": mmablate.__version__,
        "profile": study.profile,
        "recipe": study.recipe.model_dump(mode="json", exclude={"data": {"root"}, "run": {"cwd"}}),
        **_of_kind(study, data, summary),
        "plan": [*plan, *kept, *earlier],
        "superseded": superseded,
        "execution": dict(execution),
    }


def _of_kind(study: AnyStudy, data: AnyData | None, summary: DatasetSummary | None) -> dict[str, Any]:
    """What stands in study.json about the data behind the scores, and the layout of the table."""
    if isinstance(study, ProgramStudy):
        recipe = study.recipe
        called = f"a call of {recipe.run.call}" if recipe.run.call else "one run of the recipe's command"
        return {
            "dataset": {"name": recipe.dataset, "synthetic": recipe.synthetic},
            "table": {**table_layout(study, scored_on=None), "conditions": {}, "show_conditions": []},
            "notes": [*study.notes, f"Each run is {called}, which reports its scores itself."],
        }
    if data is None or summary is None:
        raise ValueError("a study that trains has data")
    return {
        "dataset": _dataset(summary),
        "data": summary.to_json(),
        "table": {
            **table_layout(study, scored_on=summary.scored_split),
            "conditions": axes_of(data, study.recipe),
            "show_conditions": study.recipe.report.conditions,
        },
        "notes": [*study.notes, *_notes(study, summary), *notes_of(data, study.recipe), *data.notes],
    }


def _entry(spec: Any) -> dict[str, Any]:
    return {
        "run_id": spec.run_id,
        "role": spec.role,
        "seed": spec.seed,
        "rows": list(spec.rows),
        "cells": dict(spec.cells),
        "depends_on": list(spec.depends_on),
    }


def _title(study: AnyStudy) -> str:
    title = study.recipe.title or study.recipe.name
    if study.sweep:
        symbols = ", ".join(study.sweep["symbols"])
        return f"{title}: {study.sweep.get('title') or f'sensitivity to {symbols}'}"
    return title


def _dataset(summary: DatasetSummary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "synthetic": summary.synthetic,
        "n_train": summary.n_train,
        "n_val": summary.n_val,
        "n_test": summary.n_test,
        "classes": list(summary.class_names),
        "attribution": summary.attribution,
    }


def _settings_note(study: Study) -> str:
    """What the runs were trained with, so that a trial is never taken for the study."""
    train = study.recipe.train
    weights = [
        f"{loss.symbol} = {loss.weight:g}" + ("" if loss.label == key else f" ({key})")
        for key, loss in study.recipe.losses.items()
        if loss.symbol and any(key in row.losses for row in study.rows)
    ]
    count = train.epochs if train.steps is None else train.steps
    length = f"{count} {'epoch' if train.steps is None else 'step'}{'s' if count > 1 else ''}"
    batches = "of all samples" if train.batch_size == "all" else f"in batches of {train.batch_size}"
    text = f"{length} {batches}, {train.optimizer}, learning rate {train.lr:g}"
    return f"{text}; {', '.join(weights)}." if weights and not study.sweep else f"{text}."


def _notes(study: Study, summary: DatasetSummary) -> list[str]:
    notes = [_settings_note(study)]
    # Data that are drawn for each seed have a most frequent class for each.
    if summary.majority is not None and not find("dataset", study.recipe.data.name).seeded:
        score, metric = summary.majority
        notes.append(
            f"Always predicting the most frequent training class ({summary.majority_class}) "
            f"gives {score:.2f} % {metric} on this split."
        )
    if summary.scored_split == "val":
        notes.append(
            "The data have no test labels: the last epoch is scored, on the validation split; nothing is selected."
        )
    elif study.recipe.train.select == "best":
        by = {"accuracy": "accuracy", "dice": "Dice"}.get(study.recipe.evaluate.metric, "Mean")
        notes.append(f"The epoch is selected on the validation split ({by}); the score is taken on the test split.")
    else:
        notes.append("The last epoch is scored, on the test split.")
    return notes
