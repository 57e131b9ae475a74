"""Which runs are asked for, and which of them are still to be trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmablate.execution.options import Options, Outcome
from mmablate.results import StudyStore
from mmablate.study import RunSpec, Study


def wanted_runs(study: Study, rows: Collection[str], seeds: Collection[int]) -> list[RunSpec]:
    """The runs of these rows and seeds, and the teachers that they depend on or that are rows themselves."""
    students = [s for s in study.runs if s.role == "student" and s.seed in seeds and set(s.rows) & set(rows)]
    upstream = {run_id for spec in students for run_id in spec.depends_on}
    show_teacher = bool(study.recipe.teacher and study.recipe.teacher.row)
    teachers = [s for s in study.runs if s.role == "teacher" and (s.run_id in upstream or show_teacher)]
    return [*teachers, *students]


def pending_runs(store: StudyStore, wanted: Sequence[RunSpec], options: Options, outcome: Outcome) -> list[RunSpec]:
    if options.force:
        return list(wanted)
    pending = []
    for spec in wanted:
        record = store.read_record(spec.run_id)
        if (record is None or record.status == "failed") and store.adopt(spec.run_id):
            record = store.read_record(spec.run_id)
        if record is None or (record.status == "failed" and options.retry_failed):
            pending.append(spec)
        else:
            store.tidy(spec.run_id)
            (outcome.reused if record.status == "ok" else outcome.failed).append(record)
    outcome.known_failures = list(outcome.failed)
    return _with_lost_teachers(store, wanted, pending, outcome)


def _with_lost_teachers(
    store: StudyStore, wanted: Sequence[RunSpec], pending: list[RunSpec], outcome: Outcome
) -> list[RunSpec]:
    """Adds teachers that are finished but whose weights are gone (and no sibling's), where a pending run reads them."""
    ids = {spec.run_id for spec in pending}
    needed = {run_id for spec in pending for run_id in spec.depends_on} - ids
    failed = {record.run_id for record in outcome.failed}
    gone = {run_id for run_id in needed - failed if not store.has_weights(run_id)}
    lost = {run_id for run_id in gone if not store.adopt(run_id, weights=True)}
    outcome.reused = [record for record in outcome.reused if record.run_id not in lost]
    return [spec for spec in wanted if spec.run_id in lost] + pending
