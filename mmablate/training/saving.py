"""When the states of unfinished runs are saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# Saving may take this share of the time at most: large models on slow disks are saved less often.
LARGEST_SHARE = 0.05


@dataclass(frozen=True)
class Interval:
    """How often: after so many seconds, or so many steps; never where both are None."""

    seconds: float | None = None
    steps: int | None = None

    def started(self) -> Saving:
        """A clock that starts now."""
        return Saving(self)


class Saving:
    """The clock of one group."""

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.steps, self.last, self.cost = 0, time.monotonic(), 0.0

    def after_step(self, save: Callable[[], None]) -> None:
        """Saves, when it is time."""
        self.steps += 1
        if not self._due():
            return
        started = time.monotonic()
        save()
        self.steps, self.last = 0, time.monotonic()
        self.cost = self.last - started

    def _due(self) -> bool:
        if self.interval.steps is not None:
            return self.steps >= self.interval.steps
        if self.interval.seconds is None:
            return False
        return time.monotonic() - self.last >= max(self.interval.seconds, self.cost / LARGEST_SHARE)
