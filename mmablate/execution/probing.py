"""Measures what a plan lacks figures of: a group of each shape, as many side by side as will train."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mmablate.errors import UsageError
from mmablate.execution.grouping import Group
from mmablate.execution.probes import Figures, Probes
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.execution.workers import Crew


def measure(groups: Sequence[Group], task_of: Callable[[Group], Any], crew: Crew, probes: Probes) -> None:
    """Measures the groups and keeps the figures.

    Where there are fewer groups than workers, some are measured more than once, so that each has the company
    that it will have in training.

    Raises:
        UsageError: a group that cannot be measured, with the reason.
    """
    waiting = list(groups)
    while len(waiting) % crew.size:
        waiting.append(groups[len(waiting) % len(groups)])
    running: dict[Any, tuple[Group, float]] = {}
    fresh = True
    try:
        while waiting or running:
            # In rounds: all start together, and none is alone at the end.
            while not running or (waiting and crew.idle()):
                group = waiting.pop(0)
                running[crew.start(task_of(group))] = group, time.perf_counter()
                if not waiting:
                    break
            for event in crew.events():
                if event.kind == "progress":
                    continue
                group, started = running.pop(event.task)
                if event.kind != "done":
                    raise UsageError(f"--probe: {event.content}")
                waited = time.perf_counter() - started - event.content.seconds
                probes.add(_figures(group, event.content, crew.size, waited if fresh else None, probes))
            fresh = False
    finally:
        crew.stop()


def _figures(group: Group, probed: Any, jobs: int, startup: float | None, probes: Probes) -> dict[str, Figures]:
    whole = {
        "memory_mb": probed.memory_mb / (len(group.specs) if probed.kind == "cuda" else 1),
        "steps_per_epoch": probed.steps_per_epoch,
        "n_val": probed.n_val,
        "n_scored": probed.n_scored,
        "device": probed.device,
        "kind": probed.kind,
        "jobs": jobs,
    }
    shapes = [shared_shape(group), *(run_shape(spec) for spec in group.specs)]
    found = {}
    for shape, costs in zip(shapes, (probed.shared, *probed.runs), strict=True):
        known = probes.find(shape, kind=probed.kind, jobs=jobs)
        delay = startup if startup is not None else known.startup if known else 0.0
        own = {"step": costs.step, "sample": costs.sample, "build": costs.build, "finish": costs.finish}
        found[shape] = Figures(**own, **whole, startup=max(0.0, delay))
    return found
