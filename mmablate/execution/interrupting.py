"""Ctrl-C: once to finish what is at hand, twice to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mmablate.execution.processes import launched

FINISHING = "finishing the epochs (of programs: the runs) at hand and saving; Ctrl-C again stops at once"


@contextmanager
def interruptible(finish: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls `finish`, the second raises KeyboardInterrupt (in the main thread alone)."""
    # Under torchrun one process alone must not end at an epoch that the others go on with.
    if threading.current_thread() is not threading.main_thread() or launched():
        yield
        return
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        finish()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
