"""What is heard of runs while they last (no torch here: programs of the user's are heard in the same way)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmablate.results import RunRecord


@dataclass(frozen=True)
class Progress:
    """A sign of life.

    Attributes:
        steps: optimiser steps done by these runs since the last one.
        skipped: steps that an interrupted try had done before.
        finished: runs that just ended.
    """

    steps: int = 0
    skipped: int = 0
    finished: tuple[RunRecord, ...] = ()


Report = Callable[[Progress], None]
