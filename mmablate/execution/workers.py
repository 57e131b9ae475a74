"""Worker processes of one machine: each trains one group at a time.

A worker may die (out of memory, kill): its pipe closes, what it had finished stays, the rest is told to the
caller, and another takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from mmablate.errors import StoreError

if TYPE_CHECKING:  # torch comes in with the worker, not with its owner
    from mmablate.execution.programs import ProgramTask
    from mmablate.training.group import GroupTask


@dataclass(frozen=True)
class Event:
    """What a worker says.

    Attributes:
        kind: "progress" (content: Progress), "done", "store" (content: message) or "died" (content: reason).
        task: that it is about.
    """

    kind: str
    task: Any
    content: Any = None


class Worker:
    """A process that trains the groups it is sent."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # fork and CUDA, or fork and threads, do not mix
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs,), daemon=True)
        with _sigint_ignored():  # inherited: Ctrl-C is for the owner, who ends its workers
            self.process.start()
        theirs.close()
        self.task: GroupTask | ProgramTask | None = None

    def start(self, task: GroupTask | ProgramTask) -> None:
        """Sends a group to train."""
        self.task = task
        with contextlib.suppress(OSError):  # a worker that has died is noticed by its closed pipe
            self.connection.send(task)

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
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.workers: list[Worker] = []

    def idle(self) -> int:
        """How many more groups could be started now."""
        return self.size - self.busy()

    def busy(self) -> int:
        """How many groups are being trained."""
        return sum(worker.task is not None for worker in self.workers)

    def start(self, task: GroupTask | ProgramTask) -> None:
        """Gives a group to an idle worker."""
        free = next((worker for worker in self.workers if worker.task is None), None)
        if free is None:
            free = Worker()
            self.workers.append(free)
        free.start(task)

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
            if kind != "progress":
                worker.task = None
            yield Event(kind, task, content)

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.stop()
        self.workers.clear()


def _work(connection: Connection) -> None:
    """Body of a worker process."""
    # Ctrl-C reaches the whole process group; the owner decides, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from mmablate.execution.tasks import perform

    def tell(progress: Any) -> None:
        try:
            connection.send(("progress", progress))
        except OSError:
            # The owner is dead, which is no failure of the runs: they stay unfinished.
            raise SystemExit(1) from None

    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            perform(task, tell)
            connection.send(("done", None))
        except StoreError as error:
            connection.send(("store", str(error)))
        except (BrokenPipeError, ConnectionResetError):
            return


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; often the machine was out of memory" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended with status {code}"
