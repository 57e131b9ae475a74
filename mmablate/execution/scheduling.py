"""Hands groups of runs to those who train until none is left, and keeps count of what became of them.

Any number of processes may do so for one study at once: each takes the runs whose leases it gets, and waits for
the others' or takes over what a dead one has left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mmablate.errors import StoreError
from mmablate.execution.grouping import Group, group_runs, next_group, smaller
from mmablate.execution.interrupting import FINISHING, interruptible
from mmablate.execution.options import Outcome
from mmablate.execution.processes import is_lead, launched
from mmablate.execution.progress import GridProgress
from mmablate.execution.workers import Crew, Event, Here
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.leases import this_worker
from mmablate.results.record import Role
from mmablate.study import RunSpec

# How often runs that another process holds are looked at.
POLL_SECONDS = 0.5
# Groups whose folders are made at once.
AHEAD = 31
# A run whose worker dies is tried once more, alone: only its own second death is its fault for certain.
TRIES = 2


@dataclass(frozen=True)
class Company:
    """Others who are known to train the same runs, for an owner who looks after all of them.

    Attributes:
        size: how many, this process included: the last groups are shared out among so many.
        ending: asked about every second; once true, epochs are finished and states saved.
    """

    size: int
    ending: Callable[[], bool]


class Schedule:
    """The execution of one call.

    Args:
        store: of the study.
        make_task: a group -> what a worker needs to train it.
        crew: makes those who train, given who hears of progress and who says whether to end.
        fail_fast: stop at the first failure.
        outcome: what is known already; more is added.
        progress: told of everything.
        earlier: the records that the runs had when the call began, which --force and --retry-failed leave in place
            until they have another.
        stacked: runs that are stacked with others of their group.
        company: who trains with this process; it then leaves once there is nothing more to start for it.
    """

    def __init__(
        self,
        store: StudyStore,
        make_task: Callable[[Group], Any],
        crew: Callable[[Callable[[Any], None], Callable[[], bool]], Crew],
        *,
        fail_fast: bool,
        outcome: Outcome,
        progress: GridProgress,
        earlier: Mapping[str, RunRecord | None],
        company: Company | None = None,
        stacked: Collection[str] = (),
    ) -> None:
        self.store, self.make_task, self.fail_fast = store, make_task, fail_fast
        self.outcome, self.progress, self.earlier, self.company = outcome, progress, earlier, company
        self.crew = crew(self._hear, lambda: self.ending or self._stop())
        self.over = {record.run_id for record in (*outcome.reused, *outcome.failed)}
        self.broken = {record.run_id for record in outcome.failed}
        self.waiting: list[Group] = []
        self.groups: dict[Any, Group] = {}  # task -> group, of those in training
        self.elsewhere: dict[str, RunSpec] = {}  # runs whose lease another process holds
        self.looked = 0.0
        self.made: set[str] = set()  # runs whose folders were made lately
        self.tries: Counter[str] = Counter()
        self.left_over: Counter[str] = Counter()
        self.largest: int | None = None  # runs of a group that fit into memory, once one did not
        self.stacked = frozenset(stacked)
        self.ending = self.told_to_finish = False

    def run(self, pending: Sequence[RunSpec], alone: Collection[str] = ()) -> None:
        """Returns when every run is over, or nothing more is to be started.

        Args:
            alone: runs to be trained one at a time, since a worker has died of one of them.

        Raises:
            KeyboardInterrupt: Ctrl-C; at the first, epochs are finished and states saved before.
            StoreError: the results folder cannot be written.
        """
        self.waiting = group_runs([spec for spec in pending if spec.run_id not in alone], self.stacked)
        self.waiting += [Group.of([spec]) for spec in pending if spec.run_id in alone]
        with interruptible(self._finish):
            try:
                while self._start_and_listen():
                    pass
            finally:
                self.crew.stop()
        if self.ending and (self.waiting or any(spec.run_id not in self.over for spec in pending)):
            raise KeyboardInterrupt
        if self.waiting and not self._stop():  # never quietly: every run is trained, failed, or waits for one of these
            raise StoreError(f"{len(self.waiting)} groups of runs wait for runs that nobody trains")

    def _start_and_listen(self) -> bool:
        """Starts what can be started and hears what is said; False when all is over."""
        if self._stop():
            return False
        self._drop_orphans()
        self._look_elsewhere()
        if self.company is not None and self.company.ending():
            self.ending = True
        if self.ending and not self.told_to_finish:
            self.told_to_finish = True
            self.crew.finish()
        while self.crew.idle() and not self.ending and (group := self._next()):
            self._make_folders(group)
            self.groups[self.crew.start(self.make_task(group))] = group
        if not self.crew.busy():
            if self.ending or not self.elsewhere or (self.company is not None and not self.waiting):
                return False
            time.sleep(POLL_SECONDS)
            return True
        for event in self.crew.events():
            self._listen(event)
        return True

    def _make_folders(self, group: Group) -> None:
        """Makes room for the next runs of a grid of small ones, whose time is that of the disk."""
        if len(group.specs) > 1 or not isinstance(self.crew, Here) or group.specs[0].run_id in self.made:
            return
        self.made = {spec.run_id for some in (group, *self.waiting[:AHEAD]) for spec in some.specs}
        self.store.make_folders(sorted(self.made))

    def _next(self) -> Group | None:
        if self.largest is not None:
            self.waiting = [part for group in self.waiting for part in smaller(group, self.largest)]
        return next_group(
            self.waiting, self.over, self.crew.size, self.crew.idle(), others=self._others, whole=self._whole
        )

    def _whole(self, group: Group) -> bool:
        """Stacked runs stay together: the order of their sums hangs on it."""
        return any(spec.run_id in self.stacked for spec in group.specs)

    def _others(self) -> int:
        """How many more train runs of this folder; company counts before it has begun.

        Under torchrun nobody: what rank 0 holds would look to the others like somebody else's, now and then, and they
        would split a group that it does not.
        """
        if launched():
            return 0
        more = self.company.size - 1 if self.company is not None else 0
        return max(more, self.store.leases.others(self.crew.names()))

    def _listen(self, event: Event) -> None:
        if event.kind == "progress":
            self._hear(event.content)
            return
        group = self.groups.pop(event.task)
        self._collect(group)
        left = [spec for spec in group.specs if spec.run_id not in self.over]
        if event.kind == "store":
            raise StoreError(event.content)
        if event.kind in ("died", "hung"):
            self._bury(group, left, event)
        elif event.kind == "split":
            self.largest = max(1, (len(left) + 1) // 2)
            self.progress.say(f"out of memory with {len(left)} runs at a time; going on with {self.largest}")
            self.waiting[:0] = smaller(Group.of(left), self.largest)
        elif self.ending:
            self.waiting += [Group.of(left)] if left else []
        else:
            self.elsewhere |= {spec.run_id: spec for spec in left}

    def _hear(self, progress: Any) -> None:
        if progress.skipped:
            self.progress.skip(progress.skipped)
        if progress.steps:
            self.progress.advance(progress.steps)
        for record in progress.finished:
            self._count(record)

    def _count(self, record: RunRecord, *, ours: bool = True) -> None:
        if record.run_id in self.over:
            return
        self.over.add(record.run_id)
        self.progress.finished(record)
        if record.status == "failed":
            self.broken.add(record.run_id)
            self.outcome.failed.append(record)
        elif ours:
            self.outcome.trained.append(record)
        else:
            self.outcome.reused.append(record)

    def _collect(self, group: Group) -> None:
        """Runs that were over before their leases were had, or of which a dead worker did not tell."""
        for spec in group.specs:
            if spec.run_id not in self.over:
                self._take_note(spec, ours=True)

    def _take_note(self, spec: RunSpec, *, ours: bool) -> bool:
        record = self.store.read_record(spec.run_id)
        if record is None or record == self.earlier.get(spec.run_id):
            return False
        self._count(record, ours=ours)
        return True

    def _look_elsewhere(self) -> None:
        """What other processes have finished, and what dead ones have left."""
        if not self.elsewhere or time.monotonic() - self.looked < POLL_SECONDS:
            return
        self.looked = time.monotonic()
        abandoned: list[RunSpec] = []
        for run_id, spec in list(self.elsewhere.items()):
            # The lease first: it goes after the record is written.
            live = self.store.leases.live(run_id)
            if self._take_note(spec, ours=False):
                del self.elsewhere[run_id]
            elif not live:
                del self.elsewhere[run_id]
                abandoned.append(spec)
        self._take_over(abandoned)

    def _take_over(self, specs: Sequence[RunSpec]) -> None:
        """Runs that nobody alive holds and nobody has finished since this call began."""
        again: list[RunSpec] = []
        for spec in specs:
            # A lease of another machine is stale to those alone who have watched it, as this object has: free it here.
            if is_lead():
                with self.store.leases.holding([spec.run_id]):
                    pass
            self.left_over[spec.run_id] += 1
            record = self.store.read_record(spec.run_id)
            if self.left_over[spec.run_id] < TRIES or record is None:
                again.append(spec)
            else:  # the worker found it finished: as good as it was, it stays
                self._count(record, ours=False)
        self.waiting += group_runs(again, self.stacked)

    def _called(self, run_id: str) -> str:
        """What the run is to those that read it."""
        record = self.store.read_record(run_id)
        called = {"pair": "its joint training", "pretraining": "its pre-training"}
        return called.get(record.role, "its teacher") if record is not None else "its teacher"

    def _drop_orphans(self) -> None:
        """Runs whose teacher failed are recorded as failed for that reason."""
        if not self.broken:
            return
        for group in [g for g in self.waiting if g.waits_for & self.broken]:
            self.waiting.remove(group)
            healthy = []
            for spec in group.specs:
                broken = set(spec.depends_on) & self.broken
                if broken:
                    self._fail(spec, "UpstreamFailed", f"{self._called(min(broken))}, run {min(broken)}, failed")
                else:
                    healthy.append(spec)
            if healthy:
                self.waiting.append(Group.of(healthy))

    def _bury(self, group: Group, left: Sequence[RunSpec], event: Event) -> None:
        """The unfinished runs of a worker that died or hung: tried again one by one, from where they were saved."""
        for spec in left:
            self.tries[spec.run_id] += 1
            alone = len(group.specs) == 1
            if self.tries[spec.run_id] < TRIES and not (alone and event.kind == "hung"):
                self.waiting.append(Group.of([spec]))
            else:
                self._fail(spec, {"died": "WorkerDied", "hung": "TimedOut"}[event.kind], event.content)
        again = sum(self.tries[spec.run_id] < TRIES and spec.run_id not in self.over for spec in left)
        if again:
            self.progress.say(f"{event.content}; {again} run{'s' if again > 1 else ''} tried again, one at a time")

    def _fail(self, spec: RunSpec, kind: str, message: str) -> None:
        record = failed_record(spec, self.store.name, kind, message)
        if is_lead():
            with self.store.leases.holding([spec.run_id]) as held:
                if held and not self._take_note(spec, ours=False):
                    self.store.finish_run(record)
                elif not held:
                    self.elsewhere[spec.run_id] = spec
                    return
        self._count(record)

    def _stop(self) -> bool:
        return self.fail_fast and len(self.outcome.failed) > len(self.outcome.known_failures)

    def _finish(self) -> None:
        self.ending = True
        self.progress.say(FINISHING)


def failed_record(spec: RunSpec, study: str, kind: str, message: str) -> RunRecord:
    """The record of a run that failed outside of its own training."""
    return RunRecord(
        run_id=spec.run_id,
        study=study,
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
        environment={"worker": this_worker()},
        role=cast(Role, spec.role),
    )
