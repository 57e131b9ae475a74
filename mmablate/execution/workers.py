"""Who trains groups: this process itself, or worker processes of this machine, one group at a time each.

A worker may die (out of memory, kill) or hang: what it had finished stays, the rest is told to the caller, and
another takes its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Protocol

from mmablate.execution.tasks import perform
from mmablate.results.leases import JOB, this_worker

if TYPE_CHECKING:  # torch comes in with the worker, not with its owner
    from mmablate.execution.programs import ProgramTask
    from mmablate.training.group import GroupTask

FINISH = "finish"  # to a worker: end with the epoch at hand, and save


@dataclass(frozen=True)
class Event:
    """What a worker says.

    Attributes:
        kind: "progress" (content: Progress), "done", "split" (it did not fit into memory), "store" (content:
            message), "lost" (a lease was taken over), "failed" (a probe, content: reason), "died" or "hung"
            (content: reason).
        task: that it is about.
    """

    kind: str
    task: Any
    content: Any = None


class Crew(Protocol):
    """Those who train."""

    size: int

    def names(self) -> set[str]:
        """The processes that train, as leases name them."""

    def idle(self) -> int:
        """How many more groups could be started now."""

    def busy(self) -> int:
        """How many groups are being trained."""

    def start(self, task: GroupTask | ProgramTask) -> Any:
        """Gives a group to somebody idle; returns the task as given, which events then name."""

    def events(self) -> Iterator[Event]:
        """Waits until something is said, at most about a second, and yields it."""

    def finish(self) -> None:
        """Asks all to end with the epoch at hand and to save their states."""

    def stop(self) -> None:
        """Ends all at once."""


class Here:
    """This very process: one group at a time, without a process to start. A hung run cannot be ended by it.

    Args:
        device: for every group.
        hear: told of progress while a group is trained.
        stopping: asked at the end of every epoch.
    """

    size = 1

    def __init__(self, device: str, hear: Callable[[Any], None], stopping: Callable[[], bool]) -> None:
        self.device, self.hear, self.stopping = device, hear, stopping
        self.task: Any = None

    def names(self) -> set[str]:
        """This process."""
        return {this_worker()}

    def idle(self) -> int:
        """One or none."""
        return 1 - self.busy()

    def busy(self) -> int:
        """One or none."""
        return int(self.task is not None)

    def start(self, task: GroupTask | ProgramTask) -> Any:
        """Keeps it for `events`."""
        self.task = replace(task, device=self.device)
        return self.task

    def events(self) -> Iterator[Event]:
        """Trains the group, start to end."""
        task, self.task = self.task, None
        kind, content = perform(task, self.hear, self.stopping)
        yield Event(kind, task, content)

    def finish(self) -> None:
        """`stopping` says it."""

    def stop(self) -> None:
        """Nothing is left behind."""


class Worker:
    """A process that trains the groups it is sent.

    Args:
        device: for every group it is sent.
    """

    def __init__(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")  # fork and CUDA, or fork and threads, do not mix
        self.device = device
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs,)
        )  # no daemon: it may read ahead by processes of its own
        with _sigint_ignored():  # inherited: Ctrl-C is for the owner, who ends its workers
            self.process.start()
        theirs.close()
        self.task: GroupTask | ProgramTask | None = None
        self.heard = time.monotonic()

    def start(self, task: GroupTask | ProgramTask) -> None:
        """Sends a group to train."""
        self.task, self.heard = task, time.monotonic()
        self.send(task)

    def send(self, message: Any) -> None:
        """Sends something; a worker that has died is noticed by its closed pipe."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def stop(self) -> None:
        """Ends the process, whatever it is at."""
        self.connection.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _sigint_ignored() -> Iterator[None]:
    """Ignores SIGINT for the few milliseconds of a process start (handlers can be set in the main thread only)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Pool:
    """A fixed number of workers, started when first needed.

    Args:
        size: number of processes.
        devices: dealt to them in turn.
        timeout: seconds without a sign of life after which a worker counts as hung; None for never.
    """

    def __init__(self, size: int, devices: Sequence[str], timeout: float | None = None) -> None:
        self.size, self.devices, self.timeout = size, devices, timeout
        self.workers: list[Worker] = []

    def names(self) -> set[str]:
        """The worker processes."""
        return {this_worker(worker.process.pid) for worker in self.workers}

    def idle(self) -> int:
        """How many more groups could be started now."""
        return self.size - self.busy()

    def busy(self) -> int:
        """How many groups are being trained."""
        return sum(worker.task is not None for worker in self.workers)

    def start(self, task: GroupTask | ProgramTask) -> Any:
        """Gives a group to an idle worker, on its device."""
        free = next((worker for worker in self.workers if worker.task is None), None)
        if free is None:
            used = [worker.device for worker in self.workers]
            free = Worker(min(self.devices, key=used.count))
            self.workers.append(free)
        own = replace(task, device=free.device)
        free.start(own)
        return own

    def events(self) -> Iterator[Event]:
        """Waits for the workers to say something, and yields it."""
        owners: dict[Any, Worker] = {worker.connection: worker for worker in self.workers if worker.task}
        for connection in wait(list(owners), timeout=1.0):
            worker = owners[connection]
            task = worker.task
            try:
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join(5)
                self.workers.remove(worker)
                yield Event("died", task, _reason(worker.process.exitcode))
                continue
            worker.heard = time.monotonic()
            if kind != "progress":
                worker.task = None
            yield Event(kind, task, content)
        yield from self._hung()

    def _hung(self) -> Iterator[Event]:
        for worker in [w for w in self.workers if w.task is not None and self.timeout is not None]:
            silent = time.monotonic() - worker.heard
            if self.timeout is not None and silent > self.timeout:
                self.workers.remove(worker)
                worker.stop()
                yield Event("hung", worker.task, f"no sign of life for {silent:.0f} s (timeout: {self.timeout:g})")

    def finish(self) -> None:
        """Asks all to end with the epoch at hand."""
        for worker in self.workers:
            if worker.task is not None:
                worker.send(FINISH)

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.stop()
        self.workers.clear()


def _work(connection: Connection) -> None:
    """Body of a worker process."""
    # Ctrl-C reaches the whole process group; the owner decides, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get(JOB):
        _belong_to_job()

    def tell(progress: Any) -> None:
        try:
            connection.send(("progress", progress))
        except OSError:
            # The owner is dead, which is no failure of the runs: they stay unfinished.
            raise SystemExit(1) from None

    asked = False

    def stopping() -> bool:
        nonlocal asked
        try:
            while connection.poll():
                asked = connection.recv() == FINISH or asked
        except (EOFError, OSError):
            raise SystemExit(1) from None
        return asked

    while True:
        try:
            task = connection.recv()
            if task == FINISH:
                continue
            asked = False
            connection.send(perform(task, tell, stopping))
        except (EOFError, OSError):
            return


def _belong_to_job() -> None:
    """Of a process of a Slurm or Ray job: it ends with its owner, at once, and leaves signals to it.

    Once the job is known to be over, its leases are freed; nothing of it may then train on. Slurm sends what asks a
    job to leave to all of its processes.
    """
    for number in (signal.SIGTERM, getattr(signal, "SIGUSR2", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; an owner dead before is told by its closed pipe


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; often the machine was out of memory" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended with status {code}"
