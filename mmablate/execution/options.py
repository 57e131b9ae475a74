"""How to execute, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmablate.results import RunRecord


@dataclass(frozen=True)
class Options:
    """How to execute.

    Attributes:
        out: results folder.
        device: auto, cpu, cuda or cuda:N.
        jobs: groups at a time; None is the number of cores on a CPU, one on CUDA.
        retry_failed: train failed runs again.
        fail_fast: stop at the first failure.
        force: train everything again.
        quiet: no progress.
        mode: how the runs of a group step: "in-turn", "stacked", or "auto" for what is faster (in turn on a CPU).
        workers: processes that read batches ahead of a group; None decides by device and cores.
        backend: local, ray or slurm; of the last two, `jobs` is the number of workers.
        backend_options: what Ray or Slurm is asked for, by name.
        heard: told of each run that is over, with its study, from the thread that waits for the runs: it must be quick.
    """

    out: Path
    device: str = "auto"
    jobs: int | None = None
    retry_failed: bool = False
    fail_fast: bool = False
    force: bool = False
    quiet: bool = False
    workers: int | None = None
    mode: str = "auto"
    backend: str = "local"
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    heard: Callable[[str, RunRecord], None] | None = None


@dataclass
class Outcome:
    """What became of the runs asked for.

    Attributes:
        trained, reused, failed: records by fate.
        known_failures: those of the failed that an earlier call had trained.
    """

    trained: list[RunRecord] = field(default_factory=list)
    reused: list[RunRecord] = field(default_factory=list)
    failed: list[RunRecord] = field(default_factory=list)
    known_failures: list[RunRecord] = field(default_factory=list)
