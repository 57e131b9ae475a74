"""What a worker is given, and who carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmablate.errors import LeaseLost, StoreError
from mmablate.execution.grouping import Group
from mmablate.execution.programs import ProgramTask, run_programs
from mmablate.training.progress import Report

if TYPE_CHECKING:  # torch comes in with the first group that is trained
    from mmablate.training.group import GroupTask


def task_for(common: Mapping[str, Any], shown: Mapping[str, Any], group: Group) -> GroupTask | ProgramTask:
    """The task of one group.

    Args:
        common: fields that all tasks of the study share.
        shown: settings of the data that the scenes shown are numbers in.
    """
    runs = {spec.run_id for spec in group.specs}
    earlier = {spec.run_id: common["earlier"][spec.run_id] for spec in group.specs if spec.run_id in common["earlier"]}
    if "program" in common:
        return ProgramTask(specs=group.specs, **{**common, "earlier": earlier})
    from mmablate.training.group import GroupTask
    from mmablate.training.saving import Interval

    # The scenes shown are numbers in the study's own split; a row that reads the data otherwise has other scenes.
    data = {key: value for key, value in group.specs[0].settings["data"].items() if key != "fingerprint"}
    samples = common["samples"] if data == shown else ()
    every = common["save_every"]
    interval = Interval() if every is None else Interval(every.seconds, every.steps)
    stacks = tuple(
        own for some in common.get("stacks", ()) if len(own := tuple(run for run in some if run in runs)) > 1
    )
    own_fields = {"samples": samples, "save_every": interval, "earlier": earlier, "stacks": stacks}
    return GroupTask(specs=group.specs, **{**common, **own_fields})


def perform(task: Any, hear: Report, stopping: Callable[[], bool]) -> tuple[str, Any]:
    """Trains a group, runs a program, or measures; what became of it as kind and content of an event."""
    try:
        if isinstance(task, ProgramTask):
            run_programs(task, hear)
            return "done", None
        from mmablate.training.group import train_group
        from mmablate.training.measuring import ModeTask, measure_task
        from mmablate.training.memory import GroupTooLarge
        from mmablate.training.probing import ProbeTask, probe_group

        if isinstance(task, (ProbeTask, ModeTask)):
            try:
                return "done", probe_group(task) if isinstance(task, ProbeTask) else measure_task(task)
            except Exception as error:
                return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        try:
            train_group(task, hear, stopping=stopping)
        except GroupTooLarge as error:
            return "split", str(error)
    except LeaseLost as error:
        return "lost", str(error)
    except StoreError as error:
        return "store", str(error)
    return "done", None
