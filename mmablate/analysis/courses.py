"""How training went: loss terms and validation score over the epochs, from the histories of a few rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmablate.analysis.histories import MOST_SEEDS, epoch_of, history_lines, number, spread, thinned
from mmablate.results import RunRecord, StudyStore

MOST_ROWS = 8
"""Rows whose histories are read: a study of thousands of runs is told by a few."""


@dataclass(frozen=True)
class Point:
    """One epoch of a curve: mean, smallest and largest value over the seeds that have one."""

    epoch: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Course:
    """One row's curve.

    Attributes:
        row: label of the row.
        place: of the row among those drawn, the same in every panel.
        points: by epoch.
        selected: epoch and value of the weights that were scored, one a seed; on validation only.
    """

    row: str
    place: int
    points: tuple[Point, ...]
    selected: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Panel:
    """One quantity over the epochs.

    Attributes:
        name: key of the loss term, or the validated column.
        label: as printed, e.g. "L_mad".
    """

    name: str
    label: str
    courses: tuple[Course, ...]


@dataclass(frozen=True)
class Training:
    """The curves of a study.

    Attributes:
        terms: one panel a loss term, as recorded: the mean over the steps of an epoch, without its weight.
        validation: the summary column on the validation split, None where it was never scored.
        rows: labels of the rows that are drawn, in the order of the table.
        n_rows: rows that have runs; more than `rows` where some are left out.
        ordered: the rows are levels of a sweep.
        n_seeds: most seeds that a curve averages.
    """

    terms: tuple[Panel, ...]
    validation: Panel | None
    rows: tuple[str, ...]
    n_rows: int
    ordered: bool
    n_seeds: int


@dataclass(frozen=True)
class _History:
    """One run: term -> epoch -> value, validation by epoch, and the epoch whose weights were scored."""

    terms: dict[str, dict[int, float]]
    validation: dict[int, float]
    selected: int | None


def load_training(
    store: StudyStore, study: Mapping[str, Any], by_row: Mapping[str, Sequence[RunRecord]]
) -> Training | None:
    """The curves of a study, None where no history tells of two epochs or more.

    Args:
        store: of the study.
        study: study.json.
        by_row: name of a row -> its finished and failed runs by seed, in the order of the table.
    """
    labels = {spec["name"]: str(spec.get("label") or spec["name"]) for spec in study["table"]["rows"]}
    names = [name for name, records in by_row.items() if records]
    column = _summary_column(study)
    drawn = spread(names, MOST_ROWS)
    read = {
        name: [_history(store.run_folder(r.run_id), column, r.selected_epoch) for r in by_row[name][:MOST_SEEDS]]
        for name in drawn
    }
    rows = [labels.get(name, name) for name in drawn]
    terms = list(dict.fromkeys(term for some in read.values() for history in some for term in history.terms))
    panels = [_term_panel(study, term, rows, list(read.values())) for term in terms]
    validation = _validation_panel(column, rows, list(read.values()))
    panels = [panel for panel in panels if panel.courses]
    courses = [course for panel in (*panels, validation) for course in panel.courses]
    if all(len(course.points) < 2 for course in courses):  # one epoch is no curve
        return None
    return Training(
        terms=tuple(panels),
        validation=validation if validation.courses else None,
        rows=tuple(rows),
        n_rows=len(names),
        ordered=bool(study["table"].get("sweep")),
        n_seeds=max(len(some) for some in read.values()),
    )


def _summary_column(study: Mapping[str, Any]) -> str:
    about = study["table"].get("column_info")
    names = [str(column) for column in study["table"]["columns"]]
    columns = [c for c in names if not (isinstance(about, dict) and (about.get(c) or {}).get("reference"))]
    rules = study["table"].get("significance")
    primary = rules.get("primary") if isinstance(rules, dict) else None
    return next((c for c in ("Mean", primary) if c in columns), columns[0] if columns else "Mean")


def _term_panel(study: Mapping[str, Any], term: str, rows: Sequence[str], read: Sequence[Sequence[_History]]) -> Panel:
    courses = [
        Course(row, place, _points([history.terms.get(term, {}) for history in some]))
        for place, (row, some) in enumerate(zip(rows, read, strict=True))
    ]
    recipe = study.get("recipe")
    losses = recipe.get("losses") if isinstance(recipe, dict) else None
    about = losses.get(term) if isinstance(losses, dict) else None
    label = about.get("label") if isinstance(about, dict) else None
    return Panel(term, f"L_{{{label or term}}}", tuple(course for course in courses if course.points))


def _validation_panel(column: str, rows: Sequence[str], read: Sequence[Sequence[_History]]) -> Panel:
    courses = []
    for place, (row, some) in enumerate(zip(rows, read, strict=True)):
        selected = tuple(
            (history.selected, history.validation[history.selected])
            for history in some
            if history.selected is not None and history.selected in history.validation
        )
        courses.append(Course(row, place, _points([history.validation for history in some]), selected))
    return Panel(column, column, tuple(course for course in courses if course.points))


def _points(curves: Sequence[Mapping[int, float]]) -> tuple[Point, ...]:
    """Mean, smallest and largest value of every epoch, thinned where there are many."""
    found = []
    for epoch in thinned({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        found.append(Point(epoch, statistics.fmean(values), min(values), max(values)))
    return tuple(found)


def _history(folder: Path, column: str, selected: int | None) -> _History:
    terms: dict[str, dict[int, float]] = {}
    validation: dict[int, float] = {}
    for line in history_lines(folder / "history.jsonl"):
        epoch = epoch_of(line)
        if epoch is None:
            continue
        losses, scores = line.get("losses"), line.get("val")
        for term, value in losses.items() if isinstance(losses, dict) else ():
            if (found := number(value)) is not None:
                terms.setdefault(str(term), {})[epoch] = found
        if isinstance(scores, dict) and (found := number(scores.get(column))) is not None:
            validation[epoch] = found
    return _History(terms, validation, selected)
