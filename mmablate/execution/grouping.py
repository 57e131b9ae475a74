"""Which runs train together, and in what order groups may start."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mmablate.study import RunSpec


@dataclass(frozen=True)
class Group:
    """Runs of one lockstep group.

    Attributes:
        specs: of equal role, seed, data, batch order, teacher and number of steps.
        waits_for: runs that must be finished first.
    """

    specs: tuple[RunSpec, ...]
    waits_for: frozenset[str]

    def split(self, parts: int) -> list[Group]:
        """At most `parts` groups of nearly equal size; in turn, a split changes no run's result."""
        parts = min(parts, len(self.specs))
        pieces = [self.specs[i::parts] for i in range(parts)]
        return [Group(piece, _upstream(piece)) for piece in pieces]


def group_runs(specs: Sequence[RunSpec]) -> list[Group]:
    """Groups of the runs given, teachers first, then by seed.

    A run without a teacher joins the group that shares everything else with it, so that its batches are
    loaded once too.
    """
    groups: dict[str, list[RunSpec]] = defaultdict(list)
    loners: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        if "program" in spec.settings:  # shares nothing with its neighbours
            groups[spec.run_id].append(spec)
            continue
        shared, teacher = _shared_key(spec), json.dumps(spec.settings["teacher"], sort_keys=True)
        if spec.role == "student" and not spec.settings["teacher"]:
            loners[shared].append(spec)
        else:
            groups[shared + teacher].append(spec)
    for shared, some in loners.items():
        hosts = [key for key in groups if key.startswith(shared)]
        groups[hosts[0] if hosts else shared].extend(some)
    made = [Group(tuple(some), _upstream(some)) for some in groups.values()]
    return sorted(made, key=lambda group: (group.specs[0].role != "teacher", group.specs[0].seed))


def next_group(waiting: list[Group], done: Collection[str], workers: int, idle: int) -> Group | None:
    """Takes the next group that may start; splits it where workers would otherwise stand idle.

    Args:
        waiting: changed in place.
        done: ids of the runs that are finished.
        workers, idle: how many there are, and how many of them have nothing to do.
    """
    done = done if isinstance(done, set) else set(done)
    ready = [group for group in waiting if group.waits_for <= done]
    if not ready:
        return None
    group = ready[0]
    waiting.remove(group)
    # The last groups are shared out: with nothing else to start, a worker that ends first would only watch.
    if len(waiting) + 1 < workers and len(group.specs) > 1:
        parts = group.split(max(2, idle))
        waiting[:0] = parts[1:]
        return parts[0]
    return group


def _shared_key(spec: RunSpec) -> str:
    settings = spec.settings
    train = {key: settings["train"][key] for key in ("epochs", "batch_size", "accumulate", "augment", "precision")}
    shared = [spec.role, spec.seed, settings["data"], settings["evaluate"], settings["method"], settings["masks"]]
    return json.dumps([*shared, train], sort_keys=True)


def _upstream(specs: Sequence[RunSpec]) -> frozenset[str]:
    return frozenset(run_id for spec in specs for run_id in spec.depends_on)
