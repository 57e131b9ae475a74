"""What a worker is given, and who carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmablate.execution.grouping import Group
from mmablate.execution.programs import ProgramTask, run_programs
from mmablate.results import RunRecord
from mmablate.training.progress import Report

if TYPE_CHECKING:  # torch comes in with the first group that is trained
    from mmablate.training.group import GroupTask


def task_for(group: Group, common: Mapping[str, Any], shown: Mapping[str, Any]) -> GroupTask | ProgramTask:
    """The task of one group.

    Args:
        common: fields that all tasks of the study share.
        shown: settings of the data that the scenes shown are numbers in.
    """
    if "program" in common:
        return ProgramTask(specs=group.specs, **common)
    from mmablate.training.group import GroupTask

    # The scenes shown are numbers in the study's own split; a row that reads the data otherwise has other scenes.
    data = {key: value for key, value in group.specs[0].settings["data"].items() if key != "fingerprint"}
    samples = common["samples"] if data == shown else ()
    return GroupTask(specs=group.specs, **{**common, "samples": samples})


def perform(task: GroupTask | ProgramTask, report: Report) -> list[RunRecord]:
    """Trains a group, or runs a program.

    Raises:
        StoreError: the results folder cannot be written.
    """
    if isinstance(task, ProgramTask):
        return run_programs(task, report)
    from mmablate.training.group import train_group

    return train_group(task, report)
