"""Hands groups of runs to workers until none is left, and keeps count of what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmablate.errors import StoreError
from mmablate.execution.grouping import Group, group_runs, next_group
from mmablate.execution.options import Outcome
from mmablate.execution.processes import is_lead
from mmablate.execution.progress import GridProgress
from mmablate.execution.tasks import perform, task_for
from mmablate.execution.workers import Pool
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.study import RunSpec


class Schedule:
    def __init__(
        self,
        store: StudyStore,
        common: dict[str, Any],
        shown: dict[str, Any],
        jobs: int,
        fail_fast: bool,
        outcome: Outcome,
        progress: GridProgress,
    ) -> None:
        self.store, self.common, self.shown, self.jobs, self.fail_fast = store, common, shown, jobs, fail_fast
        self.outcome, self.progress = outcome, progress
        self.over = {record.run_id for record in (*outcome.reused, *outcome.failed)}
        self.broken = {record.run_id for record in outcome.failed}
        self.earlier: dict[str, RunRecord | None] = {}

    def run(self, pending: Sequence[RunSpec]) -> None:
        # Records of an earlier try, which --force and --retry-failed leave in place until they have another.
        self.earlier = {spec.run_id: self.store.read_record(spec.run_id) for spec in pending}
        waiting = group_runs(pending)
        if self.jobs == 1:
            self._alone(waiting)
        else:
            self._side_by_side(waiting)
        if waiting and not self._stop():  # never quietly: every run is trained, failed, or waits for one of these
            raise StoreError(f"{len(waiting)} groups of runs wait for runs that nobody trains")

    def _alone(self, waiting: list[Group]) -> None:
        while waiting and not self._stop():
            self._drop_orphans(waiting)
            group = next_group(waiting, self.over, 1, 1)
            if group is None:
                break
            perform(task_for(group, self.common, self.shown), self._hear)
            self._collect(group)

    def _side_by_side(self, waiting: list[Group]) -> None:
        pool = Pool(self.jobs)
        groups: dict[Any, Group] = {}
        try:
            while (waiting or pool.busy()) and not self._stop():
                self._drop_orphans(waiting)
                while pool.idle() and (group := next_group(waiting, self.over, pool.size, pool.idle())):
                    task = task_for(group, self.common, self.shown)
                    groups[task] = group
                    pool.start(task)
                if not pool.busy():
                    break
                for event in pool.events():
                    if event.kind == "progress":
                        self._hear(event.content)
                    elif event.kind == "store":
                        raise StoreError(event.content)
                    elif event.kind == "died":
                        self._bury(groups[event.task], event.content)
                    else:
                        self._collect(groups[event.task])
        finally:
            pool.stop()

    def _hear(self, progress: Any) -> None:
        if progress.steps:
            self.progress.advance(progress.steps)
        for record in progress.finished:
            self._count(record)

    def _count(self, record: RunRecord) -> None:
        if record.run_id in self.over:
            return
        self.over.add(record.run_id)
        self.progress.finished(record)
        if record.status == "failed":
            self.broken.add(record.run_id)
            self.outcome.failed.append(record)
        else:
            self.outcome.trained.append(record)

    def _collect(self, group: Group) -> None:
        """Runs that another process finished while this one waited for its lock."""
        for spec in group.specs:
            record = self.store.read_record(spec.run_id)
            if record is not None and record != self.earlier.get(spec.run_id):
                self._count(record)

    def _drop_orphans(self, waiting: list[Group]) -> None:
        """Runs whose teacher failed are recorded as failed for that reason."""
        for group in [g for g in waiting if g.waits_for & self.broken]:
            waiting.remove(group)
            healthy = []
            for spec in group.specs:
                broken = set(spec.depends_on) & self.broken
                if broken:
                    self._fail(spec, "UpstreamFailed", f"its teacher, run {min(broken)}, failed")
                else:
                    healthy.append(spec)
            if healthy:
                waiting.append(Group(tuple(healthy), frozenset(i for s in healthy for i in s.depends_on)))

    def _bury(self, group: Group, reason: str) -> None:
        """Records the unfinished runs of a worker that died."""
        self._collect(group)
        for spec in group.specs:
            if spec.run_id not in self.over:
                self._fail(spec, "WorkerDied", reason)

    def _fail(self, spec: RunSpec, kind: str, message: str) -> None:
        record = RunRecord(
            run_id=spec.run_id,
            study=self.store.name,
            row=spec.rows[0] if spec.rows else None,
            seed=spec.seed,
            status="failed",
            error=RunError(type=kind, message=message),
            metrics={},
            n_parameters=None,
            seconds=None,
            steps=None,
            depends_on=list(spec.depends_on),
            digests={"init": None, "order": None, "final": None},
            environment={},
            role="teacher" if spec.role == "teacher" else "student",
        )
        if is_lead():
            self.store.finish_run(record)
        self._count(record)

    def _stop(self) -> bool:
        return self.fail_fast and bool(self.outcome.failed)
