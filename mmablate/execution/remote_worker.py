"""A worker that Slurm or Ray has started somewhere: it trains what the order says and the leases leave to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmablate.errors import MmablateError, StoreError
from mmablate.execution.local import read_ahead, resources
from mmablate.execution.options import Options, Outcome
from mmablate.execution.orders import Order, WorkFolder
from mmablate.execution.progress import GridProgress
from mmablate.execution.scheduling import Company, Schedule
from mmablate.execution.tasks import task_for
from mmablate.execution.workers import Crew, Pool
from mmablate.recipe.schema import Saving
from mmablate.results import StudyStore
from mmablate.results.leases import JOB
from mmablate.study import RunSpec


def serve(folder: str, job: str, signals: Sequence[int] = ()) -> None:
    """Body of a job: trains until there is nothing more to start, or it is asked to leave.

    Args:
        folder: of the order.
        job: this worker's name, in leases and in the order's folder.
        signals: that ask it to leave, as Slurm does before a job's time is over.
    """
    work = WorkFolder(Path(folder))
    told = False

    def tell(number: int, frame: Any) -> None:
        nonlocal told
        told = True

    for number in signals:
        signal.signal(number, tell)
    os.environ[JOB] = job
    try:
        order = work.order()
        if order is None:
            return
        work.begin(job)
        _train(order, work.alone(), lambda: told or work.stopping())
        ended, message = "done", ""
    except KeyboardInterrupt:
        ended, message = "stopped", ""
    except MmablateError as error:
        ended, message = "store" if isinstance(error, StoreError) else "error", str(error)
    if work.path.exists():  # it goes when the call is over, which may be before its last worker is
        work.answer(job, ended, message)


def _train(order: Order, alone: set[str], ending: Callable[[], bool]) -> None:
    store = StudyStore(order.out, order.study)
    outcome, pending = _found(order, store)
    if not pending:
        return
    options = Options(order.out, order.device, workers=order.workers)
    devices = resources(options)[0]
    common = {
        **order.common,
        "out": order.out,
        "device": devices[0],
        "samples": tuple(order.common["samples"]),
        "save_every": None if order.common["save_every"] is None else Saving(**order.common["save_every"]),
        "workers": read_ahead(options, devices[0], len(devices)) if devices[0] != "cpu" else 0,
        "earlier": order.earlier,
    }

    def crew(hear: Callable[[Any], None], stopping: Callable[[], bool]) -> Crew:
        # Always processes of their own: what a run does to them, it does not do to this one.
        return Pool(len(devices), devices, order.timeout)

    with GridProgress(1, len(pending)) as progress:
        Schedule(
            store,
            partial(task_for, common, dict(order.shown)),
            crew,
            fail_fast=order.fail_fast,
            outcome=outcome,
            progress=progress,
            earlier=order.earlier,
            company=Company(order.company, ending),
        ).run(pending, alone)


def _found(order: Order, store: StudyStore) -> tuple[Outcome, list[RunSpec]]:
    """What is over, and what is still to be trained: this may be a worker in a dead one's place."""
    outcome, pending = Outcome(), []
    over = [store.read_record(run_id) for run_id in order.done]
    for spec in order.specs:
        record = store.read_record(spec.run_id)
        if record is None or record == order.earlier[spec.run_id]:
            pending.append(spec)
        else:
            over.append(record)
    for record in over:
        if record is not None:
            (outcome.reused if record.status == "ok" else outcome.failed).append(record)
    return outcome, pending
