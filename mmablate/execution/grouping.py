"""Which runs train together, and in what order groups may start."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Container, Sequence, Set
from dataclasses import dataclass

from mmablate.study import RunSpec
from mmablate.study.plan import STAGES
from mmablate.study.stacks import linear_key


@dataclass(frozen=True)
class Group:
    """Runs of one lockstep group.

    Attributes:
        specs: of equal role, seed, data, batch order, teacher and number of steps.
        waits_for: runs that must be finished first.
    """

    specs: tuple[RunSpec, ...]
    waits_for: frozenset[str]

    @staticmethod
    def of(specs: Sequence[RunSpec]) -> Group:
        """The group of these runs."""
        return Group(tuple(specs), _upstream(specs))

    def split(self, parts: int) -> list[Group]:
        """At most `parts` groups of nearly equal size; in turn, a split changes no run's result."""
        parts = min(parts, len(self.specs))
        return [Group.of(self.specs[i::parts]) for i in range(parts)]


LARGEST = 4096  # linear classifiers that are trained as one


def group_runs(specs: Sequence[RunSpec], stacked: Container[str] = ()) -> list[Group]:
    """Groups of the runs given, teachers first, then by seed.

    A run without a teacher joins the group that shares everything else with it, so that its batches are
    loaded once too.
    """
    groups: dict[str, list[RunSpec]] = defaultdict(list)
    across: dict[str, list[RunSpec]] = defaultdict(list)
    loners: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        if "program" in spec.settings:  # shares nothing with its neighbours
            groups[spec.run_id].append(spec)
            continue
        if spec.run_id in stacked and (key := linear_key(spec)) is not None:
            across[key].append(spec)
            continue
        shared, teacher = _shared_key(spec), json.dumps(spec.settings["teacher"], sort_keys=True)
        if spec.role == "student" and not spec.settings["teacher"]:
            loners[shared].append(spec)
        else:
            groups[shared + teacher].append(spec)
    for shared, some in loners.items():
        hosts = [key for key in groups if key.startswith(shared)]
        groups[hosts[0] if hosts else shared].extend(some)
    made = [Group.of(some) for some in groups.values()]
    made += [Group.of(some[i : i + LARGEST]) for some in across.values() for i in range(0, len(some), LARGEST)]
    return sorted(made, key=lambda group: (STAGES.index(group.specs[0].role), group.specs[0].seed))


def smaller(group: Group, largest: int) -> list[Group]:
    """Groups of at most so many runs."""
    return group.split(-(-len(group.specs) // largest)) if len(group.specs) > largest else [group]


def next_group(
    waiting: list[Group],
    done: Set[str],
    workers: int,
    idle: int,
    *,
    others: Callable[[], int] = lambda: 0,
    whole: Callable[[Group], bool] = lambda group: False,
) -> Group | None:
    """Takes the next group that may start; splits it where workers would otherwise stand idle.

    Args:
        waiting: changed in place.
        done: ids of the runs that are finished.
        workers, idle: how many there are, and how many of them have nothing to do.
        whole: whether a group must not be split, since its runs are stacked.
        others: how many more train runs of the same results folder in processes of their own.
    """
    place = next((i for i, group in enumerate(waiting) if group.waits_for <= done), None)
    if place is None:
        return None
    group = waiting.pop(place)
    # The last groups are shared out: with nothing else to start, a worker that ends first would only watch.
    if len(group.specs) > 1 and not whole(group) and len(waiting) + 1 < workers + (more := others()):
        parts = group.split(max(2, idle + more))
        waiting[:0] = parts[1:]
        return parts[0]
    return group


def _shared_key(spec: RunSpec) -> str:
    settings = spec.settings
    train = {key: settings["train"][key] for key in ("epochs", "batch_size", "accumulate", "augment", "precision")}
    train |= {key: settings["train"].get(key) for key in ("steps", "holdout", "pictures", "patches")}
    shared = [spec.role, spec.seed, settings["data"], settings["evaluate"], settings["method"], settings["masks"]]
    return json.dumps([*shared, train], sort_keys=True)


def _upstream(specs: Sequence[RunSpec]) -> frozenset[str]:
    return frozenset(run_id for spec in specs for run_id in spec.depends_on)
