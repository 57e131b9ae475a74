"""Training a group: who holds its runs, and how they are stepped: in lockstep, as one stack, or as 3D scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from mmablate.catalog import find
from mmablate.results import RunRecord, StudyStore
from mmablate.study import RunSpec
from mmablate.study.stacks import linear_key
from mmablate.training import distributed
from mmablate.training.linear_group import LinearGroup
from mmablate.training.lockstep import Group, GroupTask, InTurn, Stepper, several
from mmablate.training.memory import GroupTooLarge, OutOfMemory, free_cached
from mmablate.training.progress import Progress, Report
from mmablate.training.stacking import Stacked
from mmablate.training.volume_group import VolumeGroup

__all__ = ["GroupTask", "InTurn", "Progress", "Stepper", "group_kind", "train_group"]


def train_group(
    task: GroupTask, report: Report, stepper: Stepper | None = None, *, stopping: Callable[[], bool] = lambda: False
) -> list[RunRecord]:
    """Trains the runs of a group and writes their records, each as soon as it is over.

    Runs that another process holds, or has finished meanwhile, are left alone. A run that an earlier try left
    unfinished goes on from its saved state. An error of what the group shares (data, teacher) fails all of its
    runs; it is recorded, not raised.

    Args:
        stopping: asked at the end of every epoch; once true, the states are saved and the rest is left.

    Raises:
        GroupTooLarge: out of memory with several runs; their states are saved for smaller groups.
        StoreError: the results folder cannot be written.
    """
    store = StudyStore(task.out, task.study)
    lead = distributed.is_lead()
    names = [spec.run_id for spec in task.specs]
    holding: AbstractContextManager[set[str]] = (
        store.leases.holding(names, whole=bool(task.stacks)) if lead else nullcontext(set())
    )
    with holding as held:
        missing = [s.run_id for s in task.specs if s.run_id in held and not _over(task, store, s)]
        missing = distributed.from_lead(missing)
        specs = [spec for spec in task.specs if spec.run_id in missing]
        records: list[RunRecord] = []
        full = None
        if specs:
            try:
                records = _train(task, specs, store, report, stepper, stopping)
            except OutOfMemory as error:  # its frames, which hold what is in the way, go with it
                full = str(error)
        if full is not None:
            free_cached(torch.device(task.device))
            raise GroupTooLarge(full)
        distributed.wait_for_all()  # the next group reads what this one has written
        return records


def _train(
    task: GroupTask,
    specs: Sequence[RunSpec],
    store: StudyStore,
    report: Report,
    stepper: Stepper | None,
    stopping: Callable[[], bool],
) -> list[RunRecord]:
    stacked = {run_id for some in task.stacks for run_id in some}
    # A stack of which one run is left is no stack any more, but the group is of all seeds still.
    keys = {linear_key(spec) for spec in task.specs}
    if distributed.share().world == 1 and len(keys) == 1 and None not in keys and (stacked or several(task.specs)):
        return LinearGroup(task, specs, store, report).train()
    kind = group_kind(specs[0])
    return kind(task, specs, store, report, stepper or _stepper(task), stopping).train()


def group_kind(spec: RunSpec) -> type[Group]:
    """How runs of these data are trained."""
    name = spec.settings["data"]["name"]
    return VolumeGroup if find("dataset", name).task == "volumes" else Group


def _stepper(task: GroupTask) -> Stepper:
    return Stacked(task.stacks) if task.stacks else InTurn()


def _over(task: GroupTask, store: StudyStore, spec: RunSpec) -> bool:
    """Whether the run is finished, or others who answer the same call have failed at it meanwhile."""
    if spec.run_id in task.earlier:
        record = store.read_record(spec.run_id)
        if record is not None and record != task.earlier[spec.run_id]:
            return True
    return not task.force and _finished(store, spec)


def _finished(store: StudyStore, spec: RunSpec) -> bool:
    record = store.read_record(spec.run_id)
    if record is None:
        store.set_aside(spec.run_id)
    if record is None or record.status == "failed":
        return store.adopt(spec.run_id, weights=spec.role != "student")
    return record.status == "ok" and (spec.role == "student" or store.has_weights(spec.run_id))
