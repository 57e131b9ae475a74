"""How long a plan will take, from measured figures: the schedule is played through with them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmablate.execution.grouping import Group, group_runs, next_group
from mmablate.execution.probes import Figures, Probes
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.study import RunSpec

# What a command does beside training: reading the recipe, summing up the data, printing the table.
AROUND_SECONDS = 3.0


@dataclass(frozen=True)
class Estimate:
    """What a plan will cost.

    Attributes:
        seconds: from start to end; None where a shape has not been measured.
        memory_mb: of the largest group.
        device: names of the devices that the figures are of.
        measured: date of the oldest figure used.
        missing: groups whose figures are missing, one for each shape.
    """

    seconds: float | None
    memory_mb: float | None
    devices: tuple[str, ...]
    measured: str | None
    missing: tuple[Group, ...]


class Costs:
    """Seconds and memory of groups.

    Args:
        probes: what has been measured.
        kind: of device, None for any.
        jobs: groups side by side.
    """

    def __init__(self, probes: Probes, *, kind: str | None, jobs: int) -> None:
        self.probes, self.kind, self.jobs = probes, kind, jobs
        self.used: dict[str, Figures | None] = {}
        self._planned: dict[str, str] = {}  # run -> the shape of the work that its planned group shares

    def plan(self, groups: Sequence[Group]) -> None:
        """Takes note of the groups as planned; parts of one that is split share what the whole shared."""
        self._planned = {spec.run_id: shared_shape(group) for group in groups for spec in group.specs}

    def known(self, group: Group) -> bool:
        """Whether every shape of the group has been measured."""
        shapes = [shared_shape(group), *(run_shape(spec) for spec in group.specs)]
        return all(self._figures(shape) is not None for shape in shapes)

    def seconds(self, group: Group) -> float:
        """From the group's start to its last record."""
        shared = self._measured(self._planned[group.specs[0].run_id])
        return _whole(group.specs[0], shared) + sum(_whole(s, self._measured(run_shape(s))) for s in group.specs)

    def startup(self, group: Group) -> float:
        """Of a worker process."""
        return self._measured(self._planned[group.specs[0].run_id]).startup

    def memory_mb(self, group: Group) -> float:
        """At the peak; on a CPU the largest process measured, on CUDA the sum of the runs."""
        own = [self._measured(run_shape(spec)) for spec in group.specs]
        return sum(f.memory_mb for f in own) if own[0].kind == "cuda" else max(f.memory_mb for f in own)

    def _figures(self, shape: str) -> Figures | None:
        if shape not in self.used:
            self.used[shape] = self.probes.find(shape, kind=self.kind, jobs=self.jobs)
        return self.used[shape]

    def _measured(self, shape: str) -> Figures:
        figures = self._figures(shape)
        if figures is None:
            raise KeyError(shape)
        return figures


def estimate(pending: Sequence[RunSpec], probes: Probes, *, kind: str | None, jobs: int) -> Estimate:
    """The cost of training these runs.

    Args:
        kind: "cpu", "cuda", or None for the device that was measured last.
        jobs: groups side by side.
    """
    groups = group_runs(pending)
    costs = Costs(probes, kind=kind, jobs=jobs)
    costs.plan(groups)
    missing: dict[tuple[str, ...], Group] = {}
    for group in groups:
        if not costs.known(group):
            missing.setdefault((shared_shape(group), *sorted({run_shape(s) for s in group.specs})), group)
    if missing or not groups:
        return Estimate(None if groups else 0.0, None, (), None, tuple(missing.values()))
    used = [figures for figures in costs.used.values() if figures is not None]
    return Estimate(
        seconds=_played(groups, costs, jobs) + AROUND_SECONDS,
        memory_mb=max(costs.memory_mb(group) for group in groups),
        devices=tuple(dict.fromkeys(figures.device for figures in used)),
        measured=min(figures.measured for figures in used),
        missing=(),
    )


def _whole(spec: RunSpec, figures: Figures) -> float:
    """A shape's part of one group, over all its steps and evaluations."""
    train = spec.settings["train"]
    epochs = 1 if train.get("steps") else train["epochs"]
    validations = math.ceil(epochs / spec.settings["evaluate"]["every"])
    samples = validations * figures.n_val + figures.n_scored
    return figures.build + epochs * figures.steps_per_epoch * figures.step + samples * figures.sample + figures.finish


def _played(groups: Sequence[Group], costs: Costs, jobs: int) -> float:
    """The end of the schedule, as `Schedule` would hand the groups out."""
    waiting, done = list(groups), set[str]()
    # Teachers that are finished already, or not among these runs.
    planned = {spec.run_id for group in groups for spec in group.specs}
    done |= {upstream for group in groups for upstream in group.waits_for if upstream not in planned}
    busy: list[tuple[float, int, Group]] = []
    started, clock, number = 0, 0.0, 0
    while waiting or busy:
        while len(busy) < jobs and (group := next_group(waiting, done, jobs, jobs - len(busy))):
            # A worker process starts when none that was started is free.
            delay = costs.startup(group) if len(busy) >= started else 0.0
            started = max(started, len(busy) + 1)
            number += 1
            heapq.heappush(busy, (clock + delay + costs.seconds(group), number, group))
        if not busy:
            break
        clock, _, ended = heapq.heappop(busy)
        done |= {spec.run_id for spec in ended.specs}
    return clock
