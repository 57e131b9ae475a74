"""Which runs are asked for, and which of them are still to be trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmablate.execution.options import Options, Outcome
from mmablate.results import RunRecord, StudyStore
from mmablate.results.store import RECORD
from mmablate.study import AnyStudy, RunSpec, Study


def wanted_runs(study: AnyStudy, rows: Collection[str], seeds: Collection[int]) -> list[RunSpec]:
    """The runs of these rows and seeds, and the teachers that they depend on or that are rows themselves."""
    rows, seeds = set(rows), set(seeds)
    students = [s for s in study.runs if s.role == "student" and s.seed in seeds and not rows.isdisjoint(s.rows)]
    upstream = _upstream(study, students)
    show_teacher = isinstance(study, Study) and bool(study.recipe.teacher and study.recipe.teacher.row)
    paired = show_teacher and isinstance(study, Study) and study.recipe.teacher.seed == "paired"  # type: ignore[union-attr]
    shown = {s.run_id for s in study.runs if show_teacher and s.role == "teacher" and (s.seed in seeds or not paired)}
    return [*(spec for spec in study.runs if spec.role != "student" and spec.run_id in upstream | shown), *students]


def _upstream(study: AnyStudy, specs: Sequence[RunSpec]) -> set[str]:
    """Ids of all runs that these read, and that those read."""
    by_id = {spec.run_id: spec for spec in study.runs if spec.role != "student"}
    found: set[str] = set()
    waiting = [run_id for spec in specs for run_id in spec.depends_on]
    while waiting:
        run_id = waiting.pop()
        if run_id not in found:
            found.add(run_id)
            waiting += by_id[run_id].depends_on if run_id in by_id else ()
    return found


def pending_runs(store: StudyStore, wanted: Sequence[RunSpec], options: Options, outcome: Outcome) -> list[RunSpec]:
    """Those of the wanted runs that are to be trained; what is known of the others goes into the outcome.

    A run that a sibling study has finished is taken over; a record that is damaged is set aside.
    """
    if options.force:
        return list(wanted)
    pending = []
    for spec in wanted:
        record = store.read_record(spec.run_id)
        if record is None:
            _set_aside_damaged(store, spec.run_id)
        if (record is None or record.status == "failed") and store.adopt(spec.run_id):
            record = store.read_record(spec.run_id)
        if record is None or (record.status == "failed" and options.retry_failed):
            pending.append(spec)
        else:
            store.tidy(spec.run_id)
            (outcome.reused if record.status == "ok" else outcome.failed).append(record)
    outcome.known_failures = list(outcome.failed)
    return _with_lost_teachers(store, wanted, pending, outcome)


def over(store: StudyStore, wanted: Sequence[RunSpec], *, retry_failed: bool) -> set[str]:
    """Ids of the runs that a call would not train: finished here or in a sibling study, or failed before."""
    found = set()
    for spec in wanted:
        if store.has_finished(spec.run_id):
            found.add(spec.run_id)
        elif not retry_failed and (record := store.read_record(spec.run_id)) is not None:
            found.add(record.run_id)
    return found


def earlier_records(store: StudyStore, pending: Sequence[RunSpec], *, force: bool) -> dict[str, RunRecord | None]:
    """The records that --force and --retry-failed leave in place until the runs have others.

    So is that of a teacher whose weights are gone. Otherwise one that is well is not among them: it was not there a
    moment ago, another process has just
    finished the run.
    """
    found = {spec.run_id: store.read_record(spec.run_id) for spec in pending}
    lost = {spec.run_id for spec in pending if spec.role != "student" and not store.has_weights(spec.run_id)}
    return {i: r for i, r in found.items() if force or r is None or r.status == "failed" or i in lost}


def _set_aside_damaged(store: StudyStore, run_id: str) -> None:
    if not (store.run_folder(run_id) / RECORD).exists():
        return
    with store.leases.holding([run_id]) as held:  # somebody who holds it may be writing a sound one
        if held:
            store.set_aside(run_id)


def _with_lost_teachers(
    store: StudyStore, wanted: Sequence[RunSpec], pending: list[RunSpec], outcome: Outcome
) -> list[RunSpec]:
    """Adds teachers that are finished but whose weights are gone (and no sibling's), where a pending run reads them."""
    by_id = {spec.run_id: spec for spec in wanted}
    looked_at = {spec.run_id for spec in pending} | {record.run_id for record in outcome.failed}
    lost: set[str] = set()
    waiting = [run_id for spec in pending for run_id in spec.depends_on]
    while waiting:  # what is trained again reads others in its turn
        run_id = waiting.pop()
        if run_id in looked_at:
            continue
        looked_at.add(run_id)
        if not store.has_weights(run_id) and not store.adopt(run_id, weights=True):
            lost.add(run_id)
            waiting += by_id[run_id].depends_on if run_id in by_id else ()
    outcome.reused = [record for record in outcome.reused if record.run_id not in lost]
    return [spec for spec in wanted if spec.run_id in lost] + pending
