"""Stacked or in turn: decided when a study is planned, kept in study.json, replayed when it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mmablate.execution.grouping import Group
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.execution.workers import Crew
from mmablate.study.stacks import stacks_of

Mode = Literal["auto", "in-turn", "stacked"]
Stacks = tuple[tuple[str, ...], ...]


def choose_stacks(
    groups: Sequence[Group],
    mode: str,
    before: Mapping[str, Any] | None,
    faster: Callable[[Sequence[Group]], list[bool]],
) -> Stacks:
    """The run ids of each stack.

    Args:
        groups: of the runs to be trained.
        mode: "auto": as the study was executed before, else what `faster` says; "in-turn" or "stacked" by order.
        before: `execution` of the study's last call; None for the first.
        faster: for a group of each shape, whether it is faster stacked on the device at hand.
    """
    if mode == "in-turn":
        return ()
    able = [group for group in groups if any(len(some) > 1 for some in stacks_of(group.specs))]
    if mode == "auto" and before is not None and before.get("mode") in ("in_turn", "stacked"):
        known = [tuple(map(str, some)) for some in before.get("stacks", ())]
        pending = {spec.run_id for group in groups for spec in group.specs}
        kept = tuple(own for some in known if len(own := tuple(run for run in some if run in pending)) > 1)
        if before["mode"] == "in_turn" or not able:
            return kept
        replayed = {run for some in known for run in some}
        able = [g for g in able if not any(spec.run_id in replayed for spec in g.specs)]
        return kept + _stacks(able)
    if mode == "stacked":
        return _stacks(able)
    shapes: dict[tuple[str, ...], Group] = {}
    for group in able:
        shapes.setdefault(_shape(group), group)
    fast = dict(zip(shapes, faster(list(shapes.values())), strict=True)) if shapes else {}
    return _stacks([group for group in able if fast[_shape(group)]])


def measured(
    groups: Sequence[Group], task_of: Callable[[Group], Any], crew: Crew, say: Callable[[str], None]
) -> list[bool]:
    """Whether each group is faster stacked, timed on its device."""
    found: dict[Any, bool] = {}
    tasks = []
    try:
        for group in groups:
            task = crew.start(task_of(group))
            tasks.append(task)
            while task not in found:
                for event in crew.events():
                    if event.kind == "progress":
                        continue
                    found[event.task] = event.kind == "done" and event.content.mode == "stacked"
                    if event.kind == "done":
                        times = event.content
                        text = f"{len(group.specs)} runs: {1000 * times.in_turn:.1f} ms a step in turn"
                        stacked = times.reason if times.stacked is None else f"{1000 * times.stacked:.1f} ms stacked"
                        say(f"{text}, {stacked}")
    finally:
        crew.stop()
    return [found[task] for task in tasks]


def _shape(group: Group) -> tuple[str, ...]:
    return (shared_shape(group), *sorted(run_shape(spec) for spec in group.specs))


def _stacks(groups: Sequence[Group]) -> Stacks:
    return tuple(
        tuple(spec.run_id for spec in some) for group in groups for some in stacks_of(group.specs) if len(some) > 1
    )
