"""The owner of workers on other machines: sends them out, watches the records, replaces the dead.

The workers share the runs out among themselves, by their leases. What the owner knows better than they is that one
of them is over: it frees the dead one's leases at once, sends another, and gives a run up of which one worker after
the other dies.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmablate.errors import BackendError, StoreError
from mmablate.execution.backends import Backend, Job
from mmablate.execution.interrupting import FINISHING, interruptible
from mmablate.execution.options import Outcome
from mmablate.execution.orders import Order, WorkFolder
from mmablate.execution.progress import GridProgress
from mmablate.execution.scheduling import failed_record
from mmablate.results import RunRecord, StudyStore
from mmablate.results.store import STATE
from mmablate.study import RunSpec

POLL_SECONDS = 0.5
# Workers that end one after the other while no run gets any further.
TRIES_IN_VAIN = 3
# Workers that die of a run, none of which has brought it any further. The first may have died of a neighbour.
TRIES = 3
# Seconds that workers have to leave once all is over.
LEAVING_SECONDS = 30.0
# Seconds after which it is told that no worker has begun yet.
QUEUE_SECONDS = 60.0


def train_elsewhere(
    store: StudyStore,
    order: Order,
    backend: Backend,
    *,
    steps: Mapping[str, int],
    outcome: Outcome,
    progress: GridProgress,
) -> None:
    """Has an order trained by workers of a backend, which is closed whatever happens (raises as `Foreman.run`)."""
    try:
        Foreman(store, order, backend, steps=steps, outcome=outcome, progress=progress).run()
    finally:
        backend.close()


class Foreman:
    """The execution of one order.

    Args:
        store: of the study.
        order: what is to be trained.
        backend: sends workers out.
        steps: run -> optimiser steps, for the time left.
        outcome: what is known already; more is added.
        progress: told of everything.
    """

    def __init__(
        self,
        store: StudyStore,
        order: Order,
        backend: Backend,
        *,
        steps: Mapping[str, int],
        outcome: Outcome,
        progress: GridProgress,
    ) -> None:
        self.store, self.order, self.backend = store, order, backend
        self.steps, self.outcome, self.progress = steps, outcome, progress
        self.left: dict[str, RunSpec] = {spec.run_id: spec for spec in order.specs}
        # Nothing is known at first: a record that has come since the call was planned counts.
        self.seen: dict[str, Any] = dict.fromkeys(self.left, "not looked at")
        self.size = order.company
        self.jobs: dict[str, Job] = {}
        self.leaving: list[Job] = []  # they have said their last words
        self.sent = self.vain = 0
        self.lost = False
        self.signs: Any = None
        self.deaths: dict[str, tuple[int, Any]] = {}
        self.ending = self.told_to_finish = False

    def run(self) -> None:
        """Returns when every run is over, or at the first failure where that is asked for.

        Raises:
            KeyboardInterrupt: Ctrl-C; at the first, epochs are finished and states saved before.
            StoreError: the results folder cannot be written.
            BackendError: no worker can be had that brings any run further.
        """
        self.work = WorkFolder.new(self.order.out / self.order.study, self.order)
        self.signs = self._signs()
        with interruptible(self._finish):
            try:
                self._send()
                self.progress.say(f"{len(self.jobs)} workers sent out; their files are in {self.work.path}")
                self._watch()
                self._see_off()
            except BaseException:
                self.lost = True
                raise
            finally:
                self._stop()
        if self.ending and self.left:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Until nothing is left, or nothing more shall be done."""
        started, told = time.monotonic(), False
        while self.left:
            self._collect()
            for name in [name for name, job in self.jobs.items() if self.work.answer_of(name) or job.over()]:
                self._close(name)
            if self.order.fail_fast and len(self.outcome.failed) > len(self.outcome.known_failures):
                return
            if self.ending:
                if not self._finishing():
                    return
            elif self.left:
                self._send()
            if not told and time.monotonic() - started > QUEUE_SECONDS:
                told = True
                if not any(self.work.began(name) for name in self.jobs):
                    self.progress.say("no worker has begun yet: they wait for their turn, or ask for what is not there")
            time.sleep(POLL_SECONDS)

    def _finish(self) -> None:
        self.ending = True
        self.progress.say(FINISHING)

    def _finishing(self) -> bool:
        """Whether anybody is still at it; who has not begun is taken from the queue."""
        if not self.told_to_finish:
            self.told_to_finish = True
            self.work.stop()
        for name in [name for name in self.jobs if not self.work.began(name)]:
            self.jobs.pop(name).cancel()
        return bool(self.jobs)

    # --- workers ----------------------------------------------------------------------------------------

    def _send(self) -> None:
        """As many workers as there is work for, and as are wanted."""
        # What another call trains, on this machine or elsewhere, needs no worker of this one.
        free = len(self.left) if self.jobs else sum(not self.store.leases.live(run_id) for run_id in self.left)
        while len(self.jobs) < min(self.size, free):
            self.sent += 1
            name = f"{self.work.path.name}-{self.sent}"
            self.jobs[name] = self.backend.submit(self.work.path, name)

    def _close(self, name: str) -> None:
        """A worker that is over: its leases are free, and what it has said or not said is acted upon."""
        job, answer = self.jobs.pop(name), self.work.answer_of(name)
        self.leaving.append(job)
        held = self.store.leases.end_job(name)
        self._collect()
        ended, message = answer if answer is not None else ("died", "")
        if ended in ("store", "error"):
            raise (StoreError if ended == "store" else BackendError)(message)
        if ended == "done" and self.jobs:  # nothing was left to start for it; those still at it are enough
            self.size = len(self.jobs)
            return
        if ended == "done" and any(self.store.leases.live(run_id) for run_id in self.left):
            return  # somebody else is at it
        signs = self._signs()
        self.vain = self.vain + 1 if signs == self.signs else 0
        self.signs = signs
        if ended == "died":
            message = job.reason()
            if not held and not self.work.began(name):
                message += f"; it never began: is {self.work.path} on a disk that all machines share?"
            self.lost = True
            self.progress.say(f"worker {name} died: {message}")
            held &= self.left.keys()
            if self._mourn(held, message):
                self.vain = 0
            self.size = max(self.size, min(self.order.company, len(self.jobs) + len(held)))
        if self.vain >= TRIES_IN_VAIN and self.left:
            last = message or f"the last one said {ended!r}"
            raise BackendError(
                f"{self.vain} workers ended one after the other and no run got further; "
                f"{len(self.left)} are left: {last}"
            )

    def _mourn(self, held: set[str], reason: str) -> bool:
        """Runs of a dead worker: from now on trained one at a time, and given up when nothing helps (true then)."""
        runs_left = len(self.left)
        for run_id in sorted(held):
            now = self._sign(run_id)
            count, before = self.deaths.get(run_id, (0, None))
            count = count + 1 if count and now == before else 1
            self.deaths[run_id] = (count, now)
            if count >= TRIES:
                with self.store.leases.holding([run_id]) as mine:
                    if mine and self._stamp(run_id, "record.json") == self.seen[run_id]:
                        spec = self.left[run_id]
                        self.store.finish_run(failed_record(spec, self.store.name, "WorkerDied", reason))
        if held:
            self.work.isolate(self.deaths)
        self._collect()
        return len(self.left) < runs_left

    def _see_off(self) -> None:
        """All is over, or was asked to end: who has not begun is cancelled, the others leave by themselves."""
        end = time.monotonic() + LEAVING_SECONDS
        while (self.ending or not self.left) and time.monotonic() < end:
            for name in [name for name in self.jobs if not self.work.began(name)]:
                self.jobs.pop(name).cancel()
            self.leaving = [job for job in (*self.leaving, *self.jobs.values()) if not job.over()]
            self.jobs.clear()
            if not self.leaving:
                return
            time.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        """Ends those that are still there, and clears the folder away unless it says why something went wrong."""
        for job in (*self.jobs.values(), *(job for job in self.leaving if not job.over())):
            job.cancel()
        if self.lost:
            self.work.stop()
        else:
            self.work.remove()

    # --- runs -------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Counts the runs that are over."""
        for run_id in list(self.left):
            stamp = self._stamp(run_id, "record.json")
            if stamp == self.seen[run_id]:
                continue
            record = self.store.read_record(run_id)
            self.seen[run_id] = stamp
            if record is None or record == self.order.earlier.get(run_id):
                continue
            del self.left[run_id]
            self._count(record)

    def _count(self, record: RunRecord) -> None:
        self.progress.advance(self.steps[record.run_id])
        self.progress.finished(record)
        (self.outcome.trained if record.status == "ok" else self.outcome.failed).append(record)

    def _signs(self) -> Any:
        """What changes whenever a run gets further."""
        return {run_id: self._sign(run_id) for run_id in self.left}

    def _sign(self, run_id: str) -> Any:
        return self._stamp(run_id, "history.jsonl", size=True), self._stamp(run_id, STATE)

    def _stamp(self, run_id: str, name: str, *, size: bool = False) -> tuple[int, int] | int | None:
        """Tells one content of a file from another; a history that is written anew with the same lines is the same."""
        try:
            status = (self.store.run_folder(run_id) / name).stat()
        except OSError:
            return None
        return status.st_size if size else (status.st_mtime_ns, status.st_ino)
