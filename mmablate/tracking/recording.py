"""Keeps trackers up to date with the store of a study, beside the training and after it.

A thread of its own reads the files of runs that are over and hands them to the trackers; workers know nothing of it. A
tracker that fails is told once and left out for the rest of the call: no run waits for it, fails by it or is lost.
Nothing is logged twice: a tracker holds a digest of each run, and the same command logs what is missing or has changed.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mmablate.results import RunRecord, StudyStore
from mmablate.results.store import RECORD
from mmablate.tracking.logs import RunLog, TableLog, counted_runs, read_run, read_running
from mmablate.tracking.naming import without_secrets
from mmablate.tracking.trackers import TABLE, Tracker, Wish, check_tracker, open_tracker

# Seconds after which somebody who waits for the trackers is told how far they are, and again.
TELL_SECONDS = 15.0
# Seconds that a tracker has for the run at hand once the user wants to leave.
LEAVING_SECONDS = 10.0
# How often runs in training are looked at.
LIVE_SECONDS = 5.0


@dataclass(frozen=True)
class _Job:
    """Something to log: one run that has just ended, or all of a study.

    Attributes:
        record: of the one run.
        only: of all runs, those; None means every run that counts.
        table: of the study.
    """

    study: str
    record: RunRecord | None = None
    only: frozenset[str] | None = None
    table: TableLog | None = None


class Recorder:
    """Logs what it hears of. As a context it waits at its end, unless something was raised: then it leaves at once.

    Args:
        wishes: the trackers asked for.
        out: results folder.
        say: told where the runs are; warnings go to stderr in any case.

    Raises:
        MissingExtra: a tracker that is not installed.
    """

    def __init__(self, wishes: Sequence[Wish], out: Path, say: Callable[[str], None]) -> None:
        for wish in wishes:
            check_tracker(wish)
        self.wishes, self.out, self.say = list(wishes), out, say
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.leaving = False
        self.left = self.written = 0  # runs that the job at hand has still to look at; runs logged
        self.trackers: dict[tuple[str, str], Tracker | None] = {}
        self.stores: dict[str, StudyStore] = {}
        self.studies: dict[str, tuple[Any, dict[str, Any]]] = {}  # study.json as last read, and a mark of the file
        self.followed: set[str] = set()
        self.sizes: dict[tuple[str, str], int] = {}  # study, run -> bytes of its history when last looked at
        self.seen: set[tuple[str, str]] = set()  # study, run: over, no need to look
        self.blind: set[str] = set()  # trackers that follow no more
        self.thread = threading.Thread(target=self._work, name="mmablate-tracking", daemon=True)

    def __enter__(self) -> Self:
        if self.wishes:
            self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.wishes:
            return
        self.leaving = kind is not None
        self.jobs.put(None)
        try:
            self._wait()
        except KeyboardInterrupt:
            self.leaving = True
            print("tracking: interrupted; the same command logs the rest", file=sys.stderr)
            self.thread.join(LEAVING_SECONDS)
            raise

    def heard(self, study: str, record: RunRecord) -> None:
        """A run is over and its record is in the store."""
        if self.wishes:
            self.jobs.put(_Job(study, record))

    def study_over(self, study: str, table: TableLog | None, only: Collection[str] | None = None) -> None:
        """All runs of a study, whoever trained them, and its table.

        Args:
            only: ids of the runs that are meant; all by default.
        """
        if self.wishes:
            self.jobs.put(_Job(study, None, None if only is None else frozenset(only), table))

    def follow(self, study: str) -> None:
        """The study's runs are about to be trained: from now on their curves are logged as they grow."""
        self.followed.add(study)

    def _wait(self) -> None:
        end = time.monotonic() + LEAVING_SECONDS
        told = time.monotonic()
        while self.thread.is_alive() and not (self.leaving and time.monotonic() > end):
            self.thread.join(0.2)
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self.say(f"tracking: {self.written} runs logged, {self.left} to go (Ctrl-C: next time)")

    # --- in the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self.leaving:
            try:
                job = self.jobs.get(timeout=LIVE_SECONDS)
            except queue.Empty:
                self._look()
                continue
            if job is None:
                break
            self._do(job)
        for (_, name), tracker in self.trackers.items():
            if tracker is not None:
                self._guarded(name, tracker.close)

    def _do(self, job: _Job) -> None:
        """One job; what cannot be read for it is told, and the rest goes on."""
        store = self.stores.setdefault(job.study, StudyStore(self.out, job.study))
        try:
            study = self._study_json(store)
            records = [job.record] if job.record is not None else counted_runs(study, store.records()[0])
        except Exception as error:
            _warn(f"tracking: {_said(error)}")
            return
        records = [record for record in records if job.only is None or record.run_id in job.only]
        self.left = len(records)
        for record in records:
            if self.leaving:
                return
            try:
                self._log_run(store, study, record)
            except Exception as error:
                _warn(f"tracking: run {record.run_id} of {store.name} is not logged: {_said(error)}")
            self.left -= 1
        if job.table is not None:
            table = job.table
            for tracker, name in self._open(store):
                self._log(store, name, tracker, TABLE, table.digest, partial(_write_table, table=table))

    def _log_run(self, store: StudyStore, study: Mapping[str, Any], record: RunRecord) -> None:
        working = self._open(store)
        if working:
            run = read_run(store, study, record)
            for tracker, name in working:
                self._log(store, name, tracker, run.run_id, run.digest, partial(_write_run, run=run))

    def _look(self) -> None:
        """How far the runs in training are, whoever trains them. What goes wrong here can wait for the runs' end."""
        for name in list(self.followed):
            store = self.stores.setdefault(name, StudyStore(self.out, name))
            with contextlib.suppress(Exception):
                study = self._study_json(store)
                for entry in study["plan"]:
                    if (name, entry["run_id"]) not in self.seen and not self.leaving:
                        self._look_at(store, study, entry)

    def _look_at(self, store: StudyStore, study: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        key, folder = (store.name, entry["run_id"]), store.run_folder(entry["run_id"])
        if (folder / RECORD).exists():
            self.seen.add(key)
            return
        path = folder / "history.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if size == self.sizes.get(key, 0):
            return
        self.sizes[key] = size
        run = read_running(store, study, entry)
        for tracker, name in self._open(store):
            if name in self.blind:
                continue
            try:
                with store.locked(f"track-{name}-{store.name}"):
                    if tracker.digest(run.run_id) is None:  # another process may have it already
                        tracker.follow(run)
            except (Exception, SystemExit):
                self.blind.add(name)

    def _study_json(self, store: StudyStore) -> dict[str, Any]:
        """Read again only where it has changed: of a large study it is long."""
        try:
            status = (store.folder / "study.json").stat()
            mark: Any = (status.st_mtime_ns, status.st_ino)
        except OSError:
            mark = None
        known = self.studies.get(store.name)
        if known is None or known[0] != mark:
            known = self.studies[store.name] = mark, store.read_study()
        return known[1]

    def _open(self, store: StudyStore) -> list[tuple[Tracker, str]]:
        """The trackers that work, opened for this study."""
        for wish in list(self.wishes):
            if (store.name, wish.name) not in self.trackers:
                self._guarded(wish.name, partial(self._open_one, store, wish))
        return [(t, name) for (study, name), t in self.trackers.items() if study == store.name and t is not None]

    def _open_one(self, store: StudyStore, wish: Wish) -> None:
        with store.locked(f"track-{wish.name}-{store.name}"):
            tracker = open_tracker(wish, store.name, store.folder, self.say)
        self.trackers[store.name, wish.name] = tracker
        if tracker is not None:
            self.say(f"{wish.name}: {tracker.place()}")

    def _log(
        self, store: StudyStore, name: str, tracker: Tracker, key: str, digest: str, write: Callable[[Tracker], None]
    ) -> None:
        """Writes what the tracker does not hold yet; another process may be about to do the same."""

        def act() -> None:
            with store.locked(f"track-{name}-{store.name}"):
                if tracker.digest(key) != digest:
                    write(tracker)
                    self.written += key != TABLE

        self._guarded(name, act)

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """A tracker's own faults, whatever they are, are told once and end its use, and nothing else."""
        try:
            act()
        except (Exception, SystemExit) as error:
            _warn(
                f"--track {name} failed and is left out from here on; no run is lost, and the same command logs what "
                f"is missing ({_said(error)})"
            )
            self.wishes = [wish for wish in self.wishes if wish.name != name]
            for key in [key for key in self.trackers if key[1] == name]:
                tracker, self.trackers[key] = self.trackers[key], None
                if tracker is not None:
                    with contextlib.suppress(Exception):
                        tracker.close()


def _write_run(tracker: Tracker, run: RunLog) -> None:
    tracker.write_run(run)


def _write_table(tracker: Tracker, table: TableLog) -> None:
    tracker.write_table(table)


def _said(error: BaseException) -> str:
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:400]


def _warn(text: str) -> None:
    """Whatever the text holds, it is printable when it is printed."""
    print("warning: " + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), file=sys.stderr)
