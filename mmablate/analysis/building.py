"""From a study's folder to its `Table`."""

from __future__ import annotations

import statistics as py_statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmablate.analysis.heat import heat, heat_scale
from mmablate.analysis.statistics import delta, mean, mean_over_columns, std
from mmablate.analysis.table import Cell, ColumnInfo, DatasetInfo, HeatScale, Row, Sweep, Table
from mmablate.analysis.views import View, choose_view, conditions_of
from mmablate.errors import UsageError
from mmablate.results import RunRecord, StudyStore

Records = dict[str, list[RunRecord]]


def build_table(
    store: StudyStore, *, baseline: str | None = None, condition: str | None = None, subset: str | None = None
) -> Table:
    """Reads a study and computes its table.

    Args:
        store: of the study.
        baseline: name of the row that every Δ shall refer to, in place of the recipe's.
        condition: score only the samples of this condition, e.g. "night".
        subset: a column, e.g. "F" or "Mean": its scores on all samples and on those of each condition.

    Raises:
        StoreError: no study there.
        UsageError: `baseline` is no row, `condition` or `subset` is not of this study, or both are given.
    """
    study = store.read_study()
    layout = study["table"]
    records, damaged = store.records()
    by_row, unknown, doubles = _by_row(study, records)
    view = choose_view(study, condition=condition, subset=subset)
    info = view.info
    specs = [*layout["rows"], *({"name": name, "label": name} for name in unknown)]
    names = [spec["name"] for spec in specs]
    if baseline is not None and baseline not in names:
        raise UsageError(f"--baseline {baseline}: no row has that name (there are: {', '.join(names)})")
    values = {name: _values(by_row.get(name, []), view) for name in names}
    bases = {spec["name"]: baseline or _baseline_of(spec, layout) for spec in specs}
    scales = _scales(values, bases, info)
    shown = [spec for spec in specs if by_row.get(spec["name"])]
    rows = [_row(spec, by_row[spec["name"]], values, bases, info, scales, study) for spec in shown]
    rows = _mark_best(rows, info)
    rows += _teacher_rows(study, records, view)
    common = {bases[spec["name"]] for spec in specs}
    table = Table(
        schema=1,
        study=study["name"],
        title=": ".join(part for part in (study.get("title") or study["name"], view.title) if part),
        caption=layout.get("caption", "") if view.caption is None else view.caption,
        row_header=layout.get("row_header", ""),
        baseline=next(iter(common)) if len(common) == 1 else None,
        columns=view.columns,
        column_info=info,
        dataset=DatasetInfo(**study.get("dataset", {})),
        rows=tuple(rows),
        heat_scales=tuple(scale for scale in scales.values() if scale),
        sweep=Sweep(**layout["sweep"]) if layout.get("sweep") else None,
        n_decimals=layout.get("n_decimals", 2),
        condition=view.condition,
        subset=view.subset,
    )
    missing = [spec["name"] for spec in layout["rows"] if not by_row.get(spec["name"])]
    notes = [*view.notes, *_notes(study, table, by_row, missing, [*damaged, *doubles])]
    return table.model_copy(update={"notes": tuple(notes)})


def condition_tables(store: StudyStore) -> list[Table]:
    """A table for each condition that the study's recipe wants in its report, of those that the data have."""
    study = store.read_study()
    wanted = study["table"].get("show_conditions")
    known = conditions_of(study)
    names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
    return [build_table(store, condition=name) for name in dict.fromkeys(names) if name in known]


def _by_row(study: Mapping[str, Any], records: Sequence[RunRecord]) -> tuple[Records, list[str], list[str]]:
    """Records by row. The plan says which rows a planned run serves; any other record counts under its own.

    Also the rows that the recipe does not know, and a line for each record whose row has that seed already.
    Runs that an earlier version of the recipe left in the folder stand in `superseded` and do not count.
    """
    planned = {entry["run_id"]: entry["rows"] for entry in study["plan"]}
    superseded = {entry["run_id"] for entry in study.get("superseded", ())}
    known = {spec["name"] for spec in study["table"]["rows"]}
    by_row: Records = defaultdict(list)
    extra: dict[str, None] = {}
    doubles: list[str] = []
    taken: set[tuple[str, int]] = set()
    # Planned runs first: a copied run never pushes a planned one aside.
    for record in sorted(records, key=lambda r: r.run_id not in planned):
        if record.role == "teacher" or record.run_id in superseded:
            continue
        rows = planned.get(record.run_id) or ([record.row] if record.row else [])
        for row in rows:
            if (row, record.seed) not in taken:
                taken.add((row, record.seed))
                by_row[row].append(record)
                if row not in known:
                    extra[row] = None
            else:
                doubles.append(f"run {record.run_id}: the row {row} has another run of seed {record.seed}.")
    return {row: sorted(some, key=lambda r: r.seed) for row, some in by_row.items()}, list(extra), doubles


def _values(records: Sequence[RunRecord], view: View) -> dict[str, dict[str, float]]:
    """Column -> seed -> value; Mean is computed here, whatever a record says of it."""
    good = [(str(record.seed), view.scores(record)) for record in records if record.status == "ok"]
    averaged = view.averages and "Mean" in view.columns
    table = {
        column: {seed: scores[column] for seed, scores in good if column in scores}
        for column in view.columns
        if not (averaged and column == "Mean")
    }
    if averaged:
        table["Mean"] = mean_over_columns({c: v for c, v in table.items() if view.info[c].subset})
    return {column: table[column] for column in view.columns}


def _baseline_of(spec: Mapping[str, Any], layout: Mapping[str, Any]) -> str | None:
    return spec.get("baseline") or layout.get("baseline")


def _deltas(
    name: str, column: str, values: Mapping[str, Any], bases: Mapping[str, str | None]
) -> tuple[float | None, Any]:
    base = bases[name]
    if base is None or base == name or base not in values:
        return None, None
    return delta(values[name][column], values[base][column])


def _scales(
    values: Mapping[str, Any], bases: Mapping[str, str | None], info: Mapping[str, ColumnInfo]
) -> dict[tuple[str, str], HeatScale | None]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name in values:
        for column, about in info.items():
            difference, _ = _deltas(name, column, values, bases)
            if difference is not None:
                found[about.metric, about.unit].append(difference)
    return {key: heat_scale(some, metric=key[0], unit=key[1]) for key, some in found.items()}


def _row(
    spec: Mapping[str, Any],
    records: Sequence[RunRecord],
    values: Mapping[str, Any],
    bases: Mapping[str, str | None],
    info: Mapping[str, ColumnInfo],
    scales: Mapping[tuple[str, str], HeatScale | None],
    study: Mapping[str, Any],
) -> Row:
    name = spec["name"]
    cells = {}
    for column, about in info.items():
        own = values[name][column]
        difference, test = _deltas(name, column, values, bases)
        colour = heat(difference, direction=about.direction, scale=scales.get((about.metric, about.unit)))
        cells[column] = Cell(mean=mean(own), std=std(own), values=own, delta=difference, test=test, heat=colour)
    good = [record for record in records if record.status == "ok"]
    planned = {entry["seed"] for entry in study["plan"] if name in entry["rows"]}
    complete = planned <= {record.seed for record in good} and len(good) == len(records)
    return Row(
        name=name,
        label=spec.get("label") or name,
        baseline=bases[name],
        status="ok" if complete else "partial" if good else "failed",
        n_seeds=len(good),
        n_parameters=next((r.n_parameters for r in good if r.n_parameters is not None), None),
        seconds=_mean_seconds(good),
        errors=tuple(f"seed {r.seed}: {_reason(r)}" for r in records if r.status == "failed"),
        level=dict(spec.get("values") or {}),
        cells=cells,
    )


def _mean_seconds(records: Sequence[RunRecord]) -> float | None:
    seconds = [record.seconds for record in records if record.seconds is not None]
    return py_statistics.fmean(seconds) if seconds else None


def _reason(record: RunRecord) -> str:
    return f"{record.error.type}: {record.error.message}" if record.error else "failed without a reason"


def _mark_best(rows: list[Row], info: Mapping[str, ColumnInfo]) -> list[Row]:
    """Marks the best mean of every column; equal means are all the best."""
    for column, about in info.items():
        means = [row.cells[column].mean for row in rows]
        there = [m for m in means if m is not None]
        if not there:
            continue
        best = max(there) if about.direction == "max" else min(there)
        rows = [
            row.model_copy(update={"cells": {**row.cells, column: row.cells[column].model_copy(update={"best": True})}})
            if m == best
            else row
            for row, m in zip(rows, means, strict=True)
        ]  # fmt: skip
    return rows


def _teacher_rows(study: Mapping[str, Any], records: Sequence[RunRecord], view: View) -> list[Row]:
    """The teacher as a reference row, where the recipe asks for it: no Δ, never best."""
    if not study["table"].get("teacher_row"):
        return []
    planned = {entry["run_id"] for entry in study["plan"] if entry["role"] == "teacher"}
    teachers = [record for record in records if record.run_id in planned]
    if not teachers:
        return []
    values = _values(teachers, view)
    cells = {c: Cell(mean=mean(values[c]), std=std(values[c]), values=values[c]) for c in view.columns}
    good = [record for record in teachers if record.status == "ok"]
    row = Row(
        name="teacher",
        label="teacher (all modalities in training)",
        status="ok" if len(good) == len(planned) else "partial" if good else "failed",
        n_seeds=len(good),
        n_parameters=next((r.n_parameters for r in good), None),
        seconds=_mean_seconds(good),
        reference=True,
        errors=tuple(f"seed {r.seed}: {_reason(r)}" for r in teachers if r.status == "failed"),
        cells=cells,
    )
    return [row]


def _notes(
    study: Mapping[str, Any],
    table: Table,
    by_row: Mapping[str, list[RunRecord]],
    missing: Sequence[str],
    damaged: Sequence[str],
) -> list[str]:
    notes = []
    if table.dataset.synthetic:
        notes.append("Synthetic data: these numbers say how the code behaves, not how a method does on real data.")
    notes += study.get("notes", ())
    counted = {row.name: tuple(next(iter(row.cells.values())).values) for row in table.rows if not row.reference}
    sizes = {len(seeds) for seeds in counted.values()}
    if sizes and max(sizes) == 1:
        notes.append("One seed: the Δ are differences of single runs and support no claim.")
    elif sizes:
        notes.append(
            "± is the sample standard deviation over training seeds; it does not cover the choice of the test samples."
        )
    if len(set(counted.values())) > 1:
        listing = "; ".join(f"{name}: {', '.join(seeds) or 'none'}" for name, seeds in counted.items())
        notes.append(f"Rows have different seeds ({listing}); Δ is taken over the seeds that both rows have.")
    if any(cell.test == "welch" for row in table.rows for cell in row.cells.values()) and max(sizes, default=0) > 1:
        notes.append("Fewer than two common seeds with the baseline: Δ is the difference of the means, not paired.")
    lacking: dict[tuple[str, ...], list[str]] = {}
    for column in table.columns:
        names = tuple(row.name for row in table.rows if row.n_seeds and len(row.cells[column].values) < row.n_seeds)
        lacking.setdefault(names, []).append(column)
    notes += [
        f"Some runs have no value for {', '.join(c)}: {', '.join(names)}." for names, c in lacking.items() if names
    ]
    devices = {str(r.environment["device"]) for some in by_row.values() for r in some if "device" in r.environment}
    if len(devices) > 1:
        notes.append(f"Runs of different devices are compared: {', '.join(sorted(devices))}.")
    alike: dict[str, list[str]] = {}
    for row in table.rows:
        if row.n_seeds:
            alike.setdefault(repr([cell.values for cell in row.cells.values()]), []).append(row.name)
    for twins in alike.values():
        if len(twins) > 1:
            notes.append(
                f"The rows {', '.join(twins)} have the same scores to the last digit: their difference does nothing."
            )
    aside = {entry["run_id"] for entry in study.get("superseded", ()) if entry["role"] == "student"}
    if aside:
        notes.append(f"{len(aside)} runs of this study's earlier settings are kept and not counted.")
    if missing:
        notes.append(f"Not trained yet: {', '.join(missing)}.")
    notes += [f"Left out: {line}" for line in damaged]
    return notes
