"""One command of the user's, in a process group of its own that never outlives its run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

GRACE_SECONDS = 3.0
"""Between the request to end and the kill."""
LONGEST_LINE = 1 << 20
"""Bytes; what a line has beyond them is in the log alone."""
_LOOK_SECONDS = 0.5  # between looks whether the command has ended, its pipes still open
_CHUNK = 1 << 16
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class CannotStart(Exception):
    """A command that the system does not start; says why."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status, negative for a signal; None where its time was up.
        last_words: the last line of its stderr that is not empty.
    """

    status: int | None
    last_words: str


def run_command(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: IO[bytes],
    hear: Callable[[bytes], None],
    timeout: float | None,
) -> Ended:
    """Runs a command to its end; whatever ends this call ends the command, and all that it has started, too.

    Args:
        log: gets stdout and stderr as they come.
        hear: gets each line of stdout, without its end.
        timeout: seconds.

    Raises:
        CannotStart: no such program, or arguments that no program can be given.
        OSError: the log cannot be written.
    """
    with warnings.catch_warnings():
        # prctl and getppid between fork and exec take no lock that another thread might hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            process = subprocess.Popen(
                list(argv), cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
                preexec_fn=_die_with_parent() if _LIBC else None,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # no such program, an argument that is too long or has a zero byte
            raise CannotStart(str(error)) from error
    until = None if timeout is None else time.monotonic() + timeout
    with process, _ended_with_us(process):
        words = _listen(process, log, hear, until)
        in_time = words is not None and _await(process, until)
    return Ended(process.returncode if in_time else None, words or "")


def _die_with_parent() -> Callable[[], None]:
    """For the child: the kernel kills it where this process dies without a chance to (Linux)."""
    parent = os.getpid()

    def ask() -> None:
        assert _LIBC is not None
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends the command's process group on the way out, be it by an end, an error, Ctrl-C or SIGTERM."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:  # by default SIGTERM would end us on the spot
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        _end_group(process)
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Asks the group to end, then kills what is left. Its id stays taken until its leader has been waited for."""
    if process.returncode is None and not _over(process):
        _signal_group(process, signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS
        while not _over(process) and time.monotonic() < until:
            time.sleep(0.02)
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # over; or nothing but zombies (macOS)
        os.killpg(process.pid, number)


def _over(process: subprocess.Popen[bytes]) -> bool:
    """Whether the command has ended; where the system allows, its id is still its own."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _await(process: subprocess.Popen[bytes], until: float | None) -> bool:
    """Waits for a command that has closed its pipes; False where its time is up."""
    while not _over(process):
        if until is not None and time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


@dataclass
class _Lines:
    """Lines of one pipe."""

    hear: Callable[[bytes], None]
    rest: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            self._extend(line)
            self.flush()
        self._extend(last)

    def flush(self) -> None:
        if self.rest:
            self.hear(bytes(self.rest.rstrip(b"\r")))
            self.rest.clear()

    def _extend(self, text: bytes) -> None:
        self.rest += text[: LONGEST_LINE - len(self.rest)]


def _listen(
    process: subprocess.Popen[bytes], log: IO[bytes], hear: Callable[[bytes], None], until: float | None
) -> str | None:
    """Logs and hears the command until it is over; the last words of its stderr, None where its time is up."""
    words = [""]

    def remember(line: bytes) -> None:
        if text := line.decode(errors="replace").strip():
            words[0] = text

    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        lines = {selector.register(process.stdout, selectors.EVENT_READ).fd: _Lines(hear)}
        lines[selector.register(process.stderr, selectors.EVENT_READ).fd] = _Lines(remember)
        over, look = False, time.monotonic() + _LOOK_SECONDS
        while selector.get_map():
            now = time.monotonic()
            if until is not None and now >= until:
                return None
            if now >= look:
                if over:  # a process that it left behind holds its pipes, and is ended like it
                    break
                over, look = _over(process), now + _LOOK_SECONDS
            for key, _ in selector.select(min(look, until or look) - now):
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                log.write(chunk)
                lines[key.fd].add(chunk)
    for some in lines.values():
        some.flush()
    return words[0]
