"""Stacked or in turn: decided when a study is planned, kept in study.json, replayed when it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.execution.grouping import Group
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.execution.workers import Crew
from mmablate.study.plan import content_id
from mmablate.study.stacks import stacks_of

Stacks = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Choice:
    """What was decided.

    Attributes:
        stacks: run ids of each stack.
        compared: shapes of groups that were timed both ways, or ordered to go in turn: not asked again.
    """

    stacks: Stacks = ()
    compared: tuple[str, ...] = ()


def wanted_mode(asked: str, recipe: str, before: Mapping[str, Any] | None) -> str:
    """The mode of a call: by order of --mode, as the study was executed before, or as its recipe says.

    Args:
        asked: by --mode.
        recipe: `execution` of the recipe.
        before: `execution` of the study's last call; None for the first.
    """
    before = before or {}
    if asked == "auto" and recipe == "stacked" and before.get("ordered") == "in-turn":
        return "in-turn"
    decided = before.get("mode") == "stacked" or bool(before.get("compared"))
    return recipe if asked == "auto" and not decided else asked


def across_groups(mode: str, before: Mapping[str, Any] | None) -> bool:
    """Whether linear classifiers are stacked over seeds and settings; those in turn have groups of their own."""
    return mode == "stacked" or (mode == "auto" and (before or {}).get("mode") == "stacked")


def choose_stacks(
    groups: Sequence[Group],
    mode: str,
    before: Mapping[str, Any] | None,
    faster: Callable[[Sequence[Group]], list[bool] | None],
) -> Choice:
    """Which runs are stepped as one.

    Args:
        groups: of the runs to be trained.
        mode: "auto": as the study was executed before, else what `faster` says; "in-turn" or "stacked" by order.
        before: `execution` of the study's last call; None for the first.
        faster: for a group of each shape, whether it is faster stacked on the device at hand; None on a CPU, where
            nothing is timed and runs go in turn.
    """
    able = [group for group in groups if any(len(some) > 1 for some in stacks_of(group.specs))]
    if mode == "in-turn":
        return Choice((), tuple(sorted({_shape(group) for group in able})))
    if mode == "stacked":
        return Choice(_stacks(able))
    before = before or {}
    known = [tuple(map(str, some)) for some in before.get("stacks", ())]
    compared = set(map(str, before.get("compared", ())))
    pending = {spec.run_id for group in groups for spec in group.specs}
    kept = tuple(own for some in known if len(own := tuple(run for run in some if run in pending)) > 1)
    replayed = {run for some in known for run in some}
    if before.get("mode") == "stacked" and not compared:  # ordered so: runs of more seeds follow
        new = [[spec for spec in g.specs if spec.run_id not in replayed] for g in able]
        return Choice(kept + _stacks([Group.of(specs) for specs in new if specs]))
    able = [g for g in able if not any(spec.run_id in replayed for spec in g.specs)]
    stacked_before = {_shape(g) for g in groups if any(spec.run_id in replayed for spec in g.specs)}
    shapes = {shape: g for g in able if (shape := _shape(g)) not in compared | stacked_before}
    answers = faster(list(shapes.values())) if shapes else None
    if answers is None:
        return Choice(kept, tuple(sorted(compared)))
    fast = {shape for shape, answer in zip(shapes, answers, strict=True) if answer} | stacked_before
    chosen = [group for group in able if _shape(group) in fast]
    return Choice(kept + _stacks(chosen), tuple(sorted(compared | (shapes.keys() - fast))))


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


def _shape(group: Group) -> str:
    return content_id({"group": [shared_shape(group), *sorted(run_shape(spec) for spec in group.specs)]})


def _stacks(groups: Sequence[Group]) -> Stacks:
    return tuple(
        tuple(spec.run_id for spec in some) for group in groups for some in stacks_of(group.specs) if len(some) > 1
    )
