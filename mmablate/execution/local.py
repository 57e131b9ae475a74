"""Running a study on this machine: what is missing is trained, what is there is left alone."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmablate.data.base import AnyData
from mmablate.data.summary import summarise
from mmablate.errors import UsageError
from mmablate.execution.backends import check_backend, open_backend
from mmablate.execution.estimating import estimate
from mmablate.execution.fitting import check_conditions, check_sizes
from mmablate.execution.foreman import train_elsewhere
from mmablate.execution.grouping import Group, group_runs
from mmablate.execution.manifest import manifest
from mmablate.execution.modes import Choice, Stacks, across_groups, choose_stacks, measured, wanted_mode
from mmablate.execution.options import Options, Outcome
from mmablate.execution.orders import Order
from mmablate.execution.pending import earlier_records, over, pending_runs
from mmablate.execution.probes import Probes
from mmablate.execution.probing import measure
from mmablate.execution.processes import is_lead, launched, world_size
from mmablate.execution.programs import STEPS, ProgramTask
from mmablate.execution.progress import GridProgress
from mmablate.execution.samples import choose_samples
from mmablate.execution.scheduling import Schedule
from mmablate.execution.tasks import task_for
from mmablate.execution.workers import Crew, Here, Pool
from mmablate.recipe.schema import Train
from mmablate.results import RunRecord, StudyStore
from mmablate.results.machine import available_cores
from mmablate.results.shown import write_samples
from mmablate.study import AnyStudy, ProgramStudy, RunSpec, Study
from mmablate.study.datasets import dataset_settings


def run_study(
    study: AnyStudy, wanted: Sequence[RunSpec], options: Options, data: AnyData | None, data_root: str | None
) -> Outcome:
    """Trains those of the wanted runs that are not finished, here or in a sibling study.

    Under torchrun every process comes here with the same study; the one of rank 0 decides and writes.

    Args:
        data, data_root: of the study; None where it runs a program.

    Raises:
        StoreError: the results folder cannot be written.
    """
    check_backend(options)
    if isinstance(study, ProgramStudy):
        return _run_program(study, wanted, options)
    if data is None:
        raise ValueError(f"{study.name}: a study that trains needs its data")
    summary = summarise(data)
    check_sizes(study, summary)
    check_conditions(study, data)
    if (options.device not in ("auto", "cpu") and options.backend == "local") or launched():
        resources(options)  # a device that is not there is told before anything is written
    store = StudyStore(options.out, study.name)
    outcome = Outcome()
    pending: list[RunSpec] = []
    if is_lead():
        store.prepare()
        pending = pending_runs(store, wanted, options, outcome)
    if launched():
        pending, outcome = _agreed(pending, outcome)
    backend = open_backend(options) if pending and options.backend != "local" else None
    if backend is not None:
        jobs: int | None = min(options.jobs or backend.size, len(pending))
        devices = [options.device]
    else:
        devices, jobs = resources(options) if pending else ([], options.jobs)
    device = devices[0] if devices else None
    choice = _choice(study, store, pending, options, devices, data_root) if pending and backend is None else Choice()
    stacks = choice.stacks
    if stacks and backend is None and jobs is not None and options.jobs is None and devices[0] == "cpu":
        jobs = min(jobs, _widest(pending, stacks))  # a worker without a group would only start
    mode = "stacked" if stacks else "in_turn"
    execution = {"mode": mode, "threads": 1, "device": device, "jobs": jobs, "processes": world_size()}
    execution |= {"stacks": [list(some) for some in stacks]} if stacks else {}
    execution |= {"compared": list(choice.compared)} if choice.compared else {}
    execution |= {"backend": options.backend} if backend is not None else {}
    execution |= {"ordered": options.mode} if options.mode != "auto" else {}
    samples = choose_samples(data, study.recipe.report.samples)
    if is_lead():
        store.update_study(lambda old: manifest(study, wanted, data, summary, _execution(execution, old), old))
        if samples is not None:
            write_samples(store.folder, samples)
    if options.force and is_lead():
        _start_again(store, pending)
    if pending:
        earlier = earlier_records(store, pending, force=options.force)
        common = {
            "study": study.name,
            "out": options.out,
            "data_root": data_root,
            "device": device,
            "keep": study.recipe.checkpoints,
            "teacher_checkpoint": study.recipe.teacher and study.recipe.teacher.checkpoint,
            "force": options.force,
            "weight_files": dict(study.weight_files),
            "workers": read_ahead(options, device, jobs or 1),
            "samples": tuple(samples.indices.tolist()) if samples is not None else (),
            "save_every": study.recipe.save_every,
            "earlier": earlier,
            "stacks": stacks,
        }
        steps = {spec.run_id: _steps(spec, summary.n_train) for spec in pending}
        quiet = options.quiet or not is_lead()
        with GridProgress(sum(steps.values()), len(pending), quiet=quiet, heard=_heard(options, study)) as progress:
            if backend is not None:
                order = _order(study, options, pending, outcome, common, jobs or 1)
                train_elsewhere(store, order, backend, steps=steps, outcome=outcome, progress=progress)
                return outcome
            Schedule(
                store,
                partial(task_for, common, dataset_settings(study.recipe)),
                partial(_crew, devices, jobs or 1, study.recipe.timeout),
                fail_fast=options.fail_fast,
                outcome=outcome,
                progress=progress,
                earlier=earlier,
                stacked={run_id for some in stacks for run_id in some},
            ).run(pending)
    if launched():
        from mmablate.training.distributed import stop

        stop()
    return outcome


def _heard(options: Options, study: AnyStudy) -> Callable[[RunRecord], None] | None:
    return None if options.heard is None else partial(options.heard, study.name)


def _widest(pending: Sequence[RunSpec], stacks: Stacks) -> int:
    """The most groups that can be trained side by side."""
    roles = Counter(g.specs[0].role for g in group_runs(pending, {run_id for some in stacks for run_id in some}))
    return max(roles.values())


def _start_again(store: StudyStore, pending: Sequence[RunSpec]) -> None:
    """Forgets how far earlier tries had come; what this call saves is its own to go on from."""
    with store.leases.holding([spec.run_id for spec in pending]) as held:
        for run_id in held:
            store.drop_state(run_id)


def _choice(
    study: Study,
    store: StudyStore,
    pending: Sequence[RunSpec],
    options: Options,
    devices: Sequence[str],
    root: str | None,
) -> Choice:
    """Which runs are stepped as one: as before, as asked, or as is faster on the device."""
    if launched():
        return Choice()
    before = store.read_study().get("execution") if (store.folder / "study.json").exists() else None

    def faster(groups: Sequence[Group]) -> list[bool] | None:
        if devices[0] == "cpu":
            return None
        common: dict[str, Any] = {"study": study.name, "out": options.out, "data_root": root, "device": devices[0]}

        def task(group: Group) -> Any:
            from mmablate.training.measuring import ModeTask

            return ModeTask(specs=group.specs, weight_files=dict(study.weight_files), **common)

        say = (lambda text: None) if options.quiet else (lambda text: print(text, file=sys.stderr))
        return measured(groups, task, Pool(1, devices), say)

    mode = wanted_mode(options.mode, study.recipe.execution, before)
    groups = group_runs(pending, {spec.run_id for spec in pending} if across_groups(mode, before) else ())
    return choose_stacks(groups, mode, before, faster)


def probe_study(
    study: Study,
    wanted: Sequence[RunSpec],
    options: Options,
    root: str | None,
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> str | None:
    """Measures, on this machine, the shapes of unfinished runs that have no figures yet; nothing is trained.

    Args:
        again: measure those that have figures too.
        root: folder of the data.
        say: told what is about to take time.

    Returns:
        The device that will train; None where nothing is left to.

    Raises:
        UsageError: a group that cannot be measured.
    """
    store = StudyStore(options.out, study.name)
    done = set() if options.force else over(store, wanted, retry_failed=options.retry_failed)
    pending = [spec for spec in wanted if spec.run_id not in done]
    if not pending:
        return None
    devices, jobs = resources(options)
    probes = Probes()
    missing = estimate(
        pending, Probes(known=False) if again else probes, kind=devices[0].partition(":")[0], jobs=jobs
    ).missing
    if not missing:
        return devices[0]
    say(f"measuring {len(missing)} kind{'s' if len(missing) > 1 else ''} of groups on {devices[0]}, some seconds each")
    common: dict[str, Any] = {
        "study": study.name,
        "out": options.out,
        "data_root": root,
        "device": devices[0],
        "weight_files": dict(study.weight_files),
        "workers": read_ahead(options, devices[0], jobs),
    }

    def task(group: Group) -> Any:
        from mmablate.training.probing import ProbeTask

        return ProbeTask(specs=group.specs, **common)

    measure(missing, task, Pool(jobs, devices), probes)
    return devices[0]


def _run_program(study: ProgramStudy, wanted: Sequence[RunSpec], options: Options) -> Outcome:
    """The same for a study of a program; torch stays out where nothing but the program could need it."""
    if launched():
        raise UsageError(f"{study.name}: the recipe runs a program; start torchrun in its command")
    if options.backend != "local":
        raise UsageError(
            f"--backend {options.backend}: runs of a program are started on this machine; "
            "a command may submit jobs itself"
        )
    device = _program_device(options.device)
    store, outcome = StudyStore(options.out, study.name), Outcome()
    store.prepare()
    pending = pending_runs(store, wanted, options, outcome)
    jobs = options.jobs or (1 if device.startswith("cuda") else available_cores())
    jobs = max(1, min(jobs, len(pending)))
    execution = {"mode": "program", "device": device if pending else None, "jobs": jobs}
    store.update_study(lambda old: manifest(study, wanted, None, None, _execution(execution, old), old))
    earlier = earlier_records(store, pending, force=options.force)
    common = {
        **ProgramTask.common(study),
        "study": study.name,
        "out": options.out,
        "device": device,
        "force": options.force,
        "earlier": earlier,
    }
    heard = _heard(options, study)
    with GridProgress(STEPS * len(pending), len(pending), quiet=options.quiet, heard=heard) as progress:
        # No timeout here: a command has its own, and a callable need not give a sign of life.
        Schedule(
            store,
            partial(task_for, common, {}),
            partial(_crew, [device], jobs, None),
            fail_fast=options.fail_fast,
            outcome=outcome,
            progress=progress,
            earlier=earlier,
        ).run(pending)
    return outcome


def _program_device(wanted: str) -> str:
    """The device that a program is told, decided without torch where there can be only one."""
    if wanted == "cpu" or (wanted == "auto" and not any(Path("/dev").glob("nvidia[0-9]*"))):
        return "cpu"
    from mmablate.training.device import choose_device

    return str(choose_device(wanted))


def _order(
    study: Study,
    options: Options,
    pending: Sequence[RunSpec],
    outcome: Outcome,
    common: Mapping[str, Any],
    company: int,
) -> Order:
    """The call as workers elsewhere get it: paths are whole, and what each finds out for itself is left out."""
    every, teacher = study.recipe.save_every, common["teacher_checkpoint"]
    plain = {key: common[key] for key in ("study", "keep", "force")}
    return Order(
        study=study.name,
        out=Path(os.path.abspath(options.out)),
        specs=tuple(pending),
        done=tuple(record.run_id for record in (*outcome.reused, *outcome.failed)),
        earlier=common["earlier"],
        common={
            **plain,
            "data_root": _whole(common["data_root"]),
            "teacher_checkpoint": _whole(teacher),
            "weight_files": {key: _whole(path) for key, path in common["weight_files"].items()},
            "samples": list(common["samples"]),
            "save_every": None if every is None else every.model_dump(mode="json"),
        },
        shown=dataset_settings(study.recipe),
        device=options.device,
        workers=options.workers,
        timeout=study.recipe.timeout,
        company=company,
        fail_fast=options.fail_fast,
    )


def _whole(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(os.path.expanduser(path))


def _agreed(pending: list[RunSpec], outcome: Outcome) -> tuple[list[RunSpec], Outcome]:
    """What rank 0 found, in every process."""
    from mmablate.training.distributed import from_lead

    agreed: tuple[list[RunSpec], Outcome] = from_lead((pending, outcome))
    return agreed


def read_ahead(options: Options, device: str | None, jobs: int) -> int:
    """Processes that read ahead of each group.

    On a CPU the groups themselves take all cores, and processes of worker processes are not allowed. On CUDA the
    cores are free: up to four a group, one left for the group itself.
    """
    if jobs > 1:
        return 0
    if options.workers is not None:
        return options.workers
    return (
        max(0, min(4, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))
        if device and device.startswith("cuda")
        else 0
    )


def _crew(
    devices: list[str],
    jobs: int,
    timeout: float | None,
    hear: Callable[[Any], None],
    stopping: Callable[[], bool],
) -> Crew:
    """On a CPU one job needs no process of its own; on CUDA it has one, so that a hung kernel can be ended."""
    if launched() or (jobs == 1 and devices[0] == "cpu"):
        # Of the processes of torchrun none may stop by itself: the others would wait for it.
        return Here(devices[0], hear, (lambda: False) if launched() else stopping)
    return Pool(jobs, devices, timeout)


def resources(options: Options) -> tuple[list[str], int]:
    """Devices, and how many groups at a time: on CUDA one a device, unless asked for more."""
    from mmablate.training.device import choose_device  # torch, only where there is something to train

    device = choose_device(options.device)
    if launched():
        if (options.jobs or 1) > 1:
            raise UsageError(f"-j {options.jobs}: under torchrun the processes train one group together")
        from mmablate.training.distributed import start

        return [str(start(device))], 1
    if device.type == "cpu":
        return ["cpu"], options.jobs or available_cores()
    devices = [str(device)]
    if device.index is None:
        import torch

        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return devices, options.jobs or len(devices)


def _execution(new: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """A call that trains nothing leaves what the last one said."""
    if old and new["device"] is None:
        return dict(old["execution"])
    if old and "ordered" in old["execution"]:  # by --mode, until it says otherwise
        new = {"ordered": old["execution"]["ordered"], **new}
    if old and "backend" in new:  # workers elsewhere train in turn; what was decided for this machine stays known
        return {**new, **{key: old["execution"][key] for key in ("stacks", "compared") if key in old["execution"]}}
    earlier = [list(some) for some in old["execution"].get("stacks", ())] if old else []
    stacks = [*(some for some in earlier if some not in new.get("stacks", ())), *new.get("stacks", ())]
    # What earlier calls stacked stays known while a call of theirs may go on; one in turn by order forgets it.
    return {**new, "stacks": stacks} if stacks and new["mode"] == "stacked" else new


def _steps(spec: RunSpec, n_train: int) -> int:
    return Train.model_validate(spec.settings["train"]).total_steps(n_train)
