"""Leases: who trains which run, on one machine or on several that share a folder.

    <out>/.leases/<run_id>      JSON: worker, machine, pid, start of the process, token, job of Slurm or Ray

A lease is made by linking a finished file to its name, which only one process can do, and its holder touches it
every few seconds. It is taken over when its process is known to be dead (same machine), or when nobody has touched
it for `ttl` seconds (10 where it cannot be read) as the taker's own clock measures: clocks of different machines are
never compared.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmablate.errors import StoreError
from mmablate.results.files import telling

FOLDER = ".leases"
# Environment variable with the name of the job that a process and its children work for.
JOB = "MMABLATE_JOB"
# Generous: a holder that is stopped for longer (a debugger, a frozen network disk) loses its runs to others.
TTL = 120.0
# A lease that cannot be read: one being written where there are no links, or what a power cut has left of one.
TORN = 10.0
# What says of a link not that there are none, but that the disk is full or broken.
_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


@dataclass(frozen=True)
class Holder:
    """The process that a lease names.

    Attributes:
        worker: "host:pid", as records name it.
        machine: host, boot and process namespace; processes can be looked up within one alone.
        pid, started: of the process; its start tells it from a later one of the same number.
        token: of this very lease.
        job: that the process works for; empty where nobody sent it.
    """

    worker: str
    machine: str
    pid: int
    started: str
    token: str
    job: str = ""

    def dead(self) -> bool:
        """Whether the process is known to be gone; one of another machine never is."""
        host, _, rest = self.machine.partition("/")
        own_host, _, own_rest = this_machine().partition("/")
        if host != own_host:
            return False
        if rest != own_rest:  # booted since, or another container of the same name, of which nothing is known
            return rest.partition("/")[0] != own_rest.partition("/")[0]
        return _start_of(self.pid) != self.started


class Leases:
    """The leases below one results folder, as this process sees and holds them.

    Args:
        out: the results folder.
        ttl: seconds without a touch after which a lease of another machine is stale.
    """

    def __init__(self, out: Path, *, ttl: float = TTL) -> None:
        self.folder, self.ttl = out / FOLDER, ttl
        self._held: dict[str, str] = {}  # name -> token
        self._seen: dict[str, tuple[tuple[bytes, int], float]] = {}
        self._guard = threading.Lock()

    def prepare(self) -> None:
        """Makes the folder, and clears away leases of dead processes and what their claims left half-made."""
        with telling(self.folder, "created"):
            self.folder.mkdir(parents=True, exist_ok=True)
            names = os.listdir(self.folder)
        for name in names:
            path = self.folder / name
            identity, holder = _identity(path), _read(path)
            with contextlib.suppress(OSError):
                if name.startswith(".claim-"):
                    if holder is None or holder.dead():
                        path.unlink(missing_ok=True)
                elif not name.startswith(".") and holder is not None and holder.dead():
                    with FileLock(self.folder / ".takeover.lock"):
                        if _identity(path) == identity:
                            path.unlink(missing_ok=True)

    def claim(self, names: Collection[str]) -> set[str]:
        """Takes those of the leases that are free or stale; returns the ones that this process now holds.

        Raises:
            StoreError: the folder cannot be written.
        """
        taken: set[str] = set()
        try:
            with telling(self.folder, "written"):
                for name in sorted(names):
                    if self._claim(name):
                        taken.add(name)
        except StoreError:
            self.release(taken)
            raise
        if taken:
            _HEART.keep_alive(self)
        return taken

    def claim_all(self, names: Collection[str]) -> bool:
        """Takes all of them or none."""
        taken = self.claim(names)
        if taken == set(names):
            return True
        self.release(taken)
        return False

    def release(self, names: Collection[str]) -> None:
        """Gives leases back; one that somebody has taken over meanwhile is left to them."""
        for name in names:
            with self._guard:
                token = self._held.pop(name, None)
            path = self.folder / name
            holder = _read(path) if token is not None else None
            if holder is not None and holder.token == token:
                with contextlib.suppress(OSError):
                    path.unlink()
        if not self._held:
            _HEART.let_go(self)

    @contextlib.contextmanager
    def holding(self, names: Collection[str], *, whole: bool = False) -> Iterator[set[str]]:
        """Holds what of these could be claimed; with `whole` nothing where somebody else has one of them."""
        taken = (set(names) if self.claim_all(names) else set()) if whole else self.claim(names)
        try:
            yield taken
        finally:
            self.release(taken)

    def mine(self, name: str) -> bool:
        """Whether this process still holds the lease: asked before anything is written in its name."""
        token = self._held.get(name)
        holder = _read(self.folder / name)
        return token is not None and holder is not None and holder.token == token

    def live(self, name: str) -> bool:
        """Whether somebody, this process included, holds the lease and may be alive."""
        path = self.folder / name
        return path.exists() and not self._stale(name)

    def others(self, own: Collection[str]) -> int:
        """How many processes hold leases here and may be alive, without those of these names."""
        workers = set()
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                holder = None if path.name.startswith(".") else _read(path)
                if holder is not None and not holder.dead():
                    workers.add(holder.worker)
        return len(workers - set(own))

    def of_job(self, job: str) -> set[str]:
        """The leases that processes of a job hold."""
        with contextlib.suppress(OSError):
            found = [(path, _read(path)) for path in self.folder.iterdir() if not path.name.startswith(".")]
            return {path.name for path, holder in found if holder is not None and holder.job == job}
        return set()

    def end_job(self, job: str) -> set[str]:
        """Frees what the processes of a job hold, on whatever machine, and returns it.

        Only for a job that is known to be over: nobody but its own processes ever gives such a lease back, so what
        is read here under the lock of takeovers is still so when it is removed.

        Raises:
            StoreError: the folder cannot be written.
        """
        if not self.of_job(job):
            return set()
        with telling(self.folder, "written"), FileLock(self.folder / ".takeover.lock"):
            freed = self.of_job(job)
            for name in freed:
                (self.folder / name).unlink(missing_ok=True)
        return freed

    # --- one lease --------------------------------------------------------------------------------------

    def _claim(self, name: str) -> bool:
        path, token = self.folder / name, uuid.uuid4().hex
        if self._place(path, token):
            return self._note(name, token)
        if name in self._held and self.mine(name):
            return True
        stale = self._stale(name)
        if stale is None:
            return False
        # One process at a time replaces a stale lease, after looking once more that it is the one it judged.
        with FileLock(self.folder / ".takeover.lock"):
            if _identity(path) != stale:
                return False
            path.unlink(missing_ok=True)
            return self._place(path, token) and self._note(name, token)

    def _note(self, name: str, token: str) -> bool:
        with self._guard:
            self._held[name] = token
            self._seen.pop(name, None)
        return True

    def _place(self, path: Path, token: str) -> bool:
        """Links a whole file to the name, so that nobody ever reads half a lease."""
        if path.exists():
            return False
        claim = self.folder / f".claim-{token}"
        content = json.dumps({**_this_process(), "token": token}).encode()
        handle = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            try:
                os.link(claim, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in _FAULTS:
                    raise
                # A file system without links: the window in which the file is empty is short.
                return _place_without_link(path, content)
            return True
        finally:
            claim.unlink(missing_ok=True)

    def _stale(self, name: str) -> tuple[bytes, int] | None:
        """What the lease looks like, if it may be taken over; None if it may not, or is gone."""
        path = self.folder / name
        identity, holder = _identity(path), _read(path)
        if identity is None:
            return None
        if holder is not None and holder.dead():
            return identity
        now = time.monotonic()
        seen, since = self._seen.get(name, (None, now))
        if seen != identity:
            self._seen[name] = (identity, now)
            return None
        return identity if now - since > (self.ttl if holder is not None else min(self.ttl, TORN)) else None

    # --- staying alive ----------------------------------------------------------------------------------

    def touch(self) -> bool:
        """Touches what this process holds, as a sign of life; whether there is anything."""
        with self._guard:
            held = list(self._held)
        for name in held:
            if self.mine(name):
                with contextlib.suppress(OSError):
                    os.utime(self.folder / name)
        return bool(held)


class _Heart:
    """One thread of this process that touches its leases, whichever objects hold them."""

    def __init__(self) -> None:
        self._holders: set[Leases] = set()
        self._guard = threading.Lock()
        self._more = threading.Event()
        self._thread: threading.Thread | None = None

    def keep_alive(self, leases: Leases) -> None:
        """Touches these from now on, until nothing is held any more."""
        with self._guard:
            known = leases in self._holders
            self._holders.add(leases)
            if self._thread is None or not self._thread.is_alive():  # at first, and in a forked process
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        if not known and leases.ttl < TTL:
            self._more.set()  # sooner than the thread had meant to wake

    def let_go(self, leases: Leases) -> None:
        """Nothing is held by these."""
        with self._guard:
            self._holders.discard(leases)

    def _beat(self) -> None:
        while True:
            with self._guard:
                shortest = min((leases.ttl for leases in self._holders), default=TTL)
            self._more.wait(shortest / 6)
            self._more.clear()
            with self._guard:
                holders = list(self._holders)
            for leases in holders:
                leases.touch()


_HEART = _Heart()


def this_worker(pid: int | None = None) -> str:
    """ "host:pid" of this process, or of another one of this machine."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"


@lru_cache
def this_machine() -> str:
    """Host, boot and process namespace, as far as the system tells them."""
    parts = [socket.gethostname()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", os.readlink)):
        try:
            parts.append(str(read(Path(path))).strip())
        except OSError:
            parts.append("")
    return "/".join(parts)


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "worker": this_worker(),
        "machine": this_machine(),
        "pid": pid,
        "started": _own_start(pid),
        "job": os.environ.get(JOB, ""),
    }


@lru_cache
def _own_start(pid: int) -> str | None:
    return _start_of(pid)


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot; None for one that is gone (a zombie is)."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, IndexError):
        return None
    try:  # no /proc: alive or not is all there is to know
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _place_without_link(path: Path, content: bytes) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError:  # half a lease: nobody could tell whose it is
        path.unlink(missing_ok=True)
        raise
    return True


def _identity(path: Path) -> tuple[bytes, int] | None:
    """Content and time of the last touch."""
    try:
        return path.read_bytes(), path.stat().st_mtime_ns
    except OSError:
        return None


def _read(path: Path) -> Holder | None:
    """The holder; None for no lease, or one that cannot be read."""
    try:
        content = json.loads(path.read_bytes())
        return Holder(
            worker=str(content["worker"]),
            machine=str(content["machine"]),
            pid=int(content["pid"]),
            started=content["started"],
            token=str(content["token"]),
            job=str(content.get("job", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
