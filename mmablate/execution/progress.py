"""Progress of the whole grid with the time left: a bar on a terminal, plain lines elsewhere (stderr)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from mmablate.results import RunRecord

PLAIN_SECONDS = 15.0


class GridProgress:
    """Counts optimiser steps over all runs.

    Args:
        total_steps, total_runs: of what is left to train.
        quiet: say nothing.
        heard: told of each run that is over.
    """

    def __init__(
        self,
        total_steps: int,
        total_runs: int,
        *,
        quiet: bool = False,
        heard: Callable[[RunRecord], None] | None = None,
    ) -> None:
        self.heard = heard
        self.total_steps, self.total_runs = max(1, total_steps), total_runs
        self.steps = self.runs = 0
        self.failed = 0
        self.started = self.last_line = time.monotonic()
        self.quiet = quiet or total_runs == 0
        self.each = max(1, total_runs // 100)  # of many runs, a line a percent
        console = Console(stderr=True)
        self.bar: Progress | None = None
        if console.is_terminal and not self.quiet:
            self.bar = Progress(
                SpinnerColumn(),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("runs · {task.fields[left]}"),
                console=console,
                transient=True,
            )
            self.task = self.bar.add_task("", total=total_runs, left="starting")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self, steps: int) -> None:
        """Counts optimiser steps."""
        self.steps = min(self.steps + steps, self.total_steps)
        now = time.monotonic()
        if self.bar:
            shown = self.steps / self.total_steps * self.total_runs
            self.bar.update(self.task, completed=max(self.runs, int(shown)), left=self._left())
        elif not self.quiet and now - self.last_line >= PLAIN_SECONDS:
            self.last_line = now
            share = 100 * self.steps / self.total_steps
            print(f"{self.runs}/{self.total_runs} runs, {share:.0f} %, {self._left()}", file=sys.stderr, flush=True)

    def skip(self, steps: int) -> None:
        """Steps that an earlier try had done: they are no work of this call."""
        self.total_steps = max(1, self.total_steps - steps)

    def say(self, text: str) -> None:
        """A line of its own."""
        if not self.quiet:
            self._line(text)

    def finished(self, record: RunRecord) -> None:
        """Counts a run that is over, and says so."""
        self.runs += 1
        if self.heard is not None:
            self.heard(record)
        name = f"{record.row or record.role}, seed {record.seed}"
        if record.status == "failed" and record.error:
            self.failed += 1
            if not self.quiet:
                self._line(f"failed: {name}: {record.error.type}: {record.error.message}")
        elif not self.bar and not self.quiet and (self.runs % self.each == 0 or self.runs == self.total_runs):
            self._line(f"[{self.runs}/{self.total_runs}] {name}: {record.seconds or 0:.1f} s, {self._left()}")

    def _line(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _left(self) -> str:
        elapsed = time.monotonic() - self.started
        if self.runs == self.total_runs:
            return "done"
        # The first steps come after imports and the opening of the data, which would count as theirs.
        if self.steps < max(10, 0.02 * self.total_steps) or elapsed < 2:
            return "time left unknown"
        left = elapsed / self.steps * (self.total_steps - self.steps)
        return f"{int(left // 60)}:{int(left % 60):02d} left"
