"""Running a study on this machine: what is missing is trained, what is there is left alone."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmablate.catalog import find
from mmablate.catalog.models import check_packages, smallest_image
from mmablate.data.base import SegmentationData, conditions_of
from mmablate.data.summary import DatasetSummary, summarise
from mmablate.errors import DataError, RecipeError, StoreError, UsageError
from mmablate.execution.grouping import Group, group_runs, next_group
from mmablate.execution.manifest import manifest
from mmablate.execution.processes import is_lead, launched, world_size
from mmablate.execution.progress import GridProgress
from mmablate.execution.samples import choose_samples
from mmablate.execution.workers import Pool
from mmablate.recipe.schema import Train
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.shown import write_samples
from mmablate.study import RunSpec, Study
from mmablate.study.datasets import dataset_settings


@dataclass(frozen=True)
class Options:
    """How to execute.

    Attributes:
        out: results folder.
        device: auto, cpu, cuda or cuda:N.
        jobs: groups at a time; None is the number of cores on a CPU, one on CUDA.
        retry_failed: train failed runs again.
        fail_fast: stop at the first failure.
        force: train everything again.
        quiet: no progress.
        workers: processes that read batches ahead of a group; None decides by device and cores.
    """

    out: Path
    device: str = "auto"
    jobs: int | None = None
    retry_failed: bool = False
    fail_fast: bool = False
    force: bool = False
    quiet: bool = False
    workers: int | None = None


@dataclass
class Outcome:
    """What became of the runs asked for.

    Attributes:
        trained, reused, failed: records by fate.
        known_failures: those of the failed that an earlier call had trained.
    """

    trained: list[RunRecord] = field(default_factory=list)
    reused: list[RunRecord] = field(default_factory=list)
    failed: list[RunRecord] = field(default_factory=list)
    known_failures: list[RunRecord] = field(default_factory=list)


def wanted_runs(study: Study, rows: Collection[str], seeds: Collection[int]) -> list[RunSpec]:
    """The runs of these rows and seeds, and the teachers that they depend on or that are rows themselves."""
    students = [s for s in study.runs if s.role == "student" and s.seed in seeds and set(s.rows) & set(rows)]
    upstream = {run_id for spec in students for run_id in spec.depends_on}
    show_teacher = bool(study.recipe.teacher and study.recipe.teacher.row)
    teachers = [s for s in study.runs if s.role == "teacher" and (s.run_id in upstream or show_teacher)]
    return [*teachers, *students]


def run_study(
    study: Study, wanted: Sequence[RunSpec], options: Options, data: SegmentationData, data_root: str | None
) -> Outcome:
    """Trains those of the wanted runs that are not finished, here or in a sibling study.

    Under torchrun every process comes here with the same study; the one of rank 0 decides and writes.

    Raises:
        StoreError: the results folder cannot be written.
    """
    summary = summarise(data)
    _check_sizes(study, summary)
    _check_conditions(study, data)
    if options.device not in ("auto", "cpu") or launched():
        _resources(options)  # a device that is not there is told before anything is written
    store = StudyStore(options.out, study.name)
    outcome = Outcome()
    pending: list[RunSpec] = []
    if is_lead():
        store.prepare()
        pending = _pending(store, wanted, options, outcome)
    if launched():
        pending, outcome = _agreed(pending, outcome)
    device, jobs = _resources(options) if pending else (None, options.jobs)
    execution = {"mode": "in_turn", "threads": 1, "device": device, "jobs": jobs, "processes": world_size()}
    samples = choose_samples(data, study.recipe.report.samples)
    if is_lead():
        store.update_study(lambda old: manifest(study, wanted, data, summary, _execution(execution, old), old))
        if samples is not None:
            write_samples(store.folder, samples)
    if pending:
        keep, checkpoint = study.recipe.checkpoints, study.recipe.teacher and study.recipe.teacher.checkpoint
        common = {
            "study": study.name,
            "out": options.out,
            "data_root": data_root,
            "device": device,
            "keep": keep,
            "teacher_checkpoint": checkpoint,
            "force": options.force,
            "weight_files": dict(study.weight_files),
            "workers": _workers(options, device, jobs or 1),
            "samples": tuple(samples.indices.tolist()) if samples is not None else (),
        }
        steps = {spec.run_id: _steps(spec, summary.n_train) for spec in pending}
        quiet = options.quiet or not is_lead()
        with GridProgress(sum(steps.values()), len(pending), quiet=quiet) as progress:
            shown = dataset_settings(study.recipe)
            _Execution(store, common, shown, jobs or 1, options.fail_fast, outcome, progress).run(pending)
    if launched():
        from mmablate.training.distributed import stop

        stop()
    return outcome


def _agreed(pending: list[RunSpec], outcome: Outcome) -> tuple[list[RunSpec], Outcome]:
    """What rank 0 found, in every process."""
    from mmablate.training.distributed import from_lead

    agreed: tuple[list[RunSpec], Outcome] = from_lead((pending, outcome))
    return agreed


def _workers(options: Options, device: str | None, jobs: int) -> int:
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


def _check_sizes(study: Study, summary: DatasetSummary) -> None:
    """What only the data's sizes can tell of a recipe, told before anything is trained."""
    problems: dict[Any, str] = {}
    for split, pixels in summary.class_pixels.items():
        if not sum(pixels):
            hint = "; without the test split, validation is scored" if split == "test" else ""
            raise DataError(f"{summary.name}: the {split} split has no labelled pixel{hint}")
    base = dataset_settings(study.recipe)
    for row in study.rows:
        teacher = row.recipe.teacher
        if dataset_settings(row.recipe) != base:
            continue  # a row that reads the data otherwise has other sizes; its runs tell what does not fit
        trains = {"train": row.recipe.train, **({"teacher.train": Train(**teacher.train)} if teacher else {})}
        for key, train in trains.items():
            problems |= {(key, what): text for what, text in _train_problems(key, train, summary)}
        for key, model in (("model", row.recipe.model), ("teacher", teacher)):
            if model is not None:
                check_packages(model.options)
                small = smallest_image(model.options)
                crops = [train.augment.crop for train in trains.values() if train.augment.crop is not None]
                for size in (summary.shape, *crops):
                    if min(size) < small:
                        text = f"{key}.backbone: images and crops of at least {small} x {small}, got {tuple(size)}"
                        problems[key, "size"] = text
            stem = model.options.get("in_channels") if model else None
            for name, channels in summary.modalities.items():
                if stem is not None and channels > stem:
                    text = f"{key}.in_channels: at least the {channels} channels of modality {name}, got {stem}"
                    problems[key, name] = text
    if problems:
        raise RecipeError(list(problems.values()))


def _train_problems(key: str, train: Train, summary: DatasetSummary) -> Iterator[tuple[str, str]]:
    """What of a `train` section does not fit the data, or the processes."""
    augment, shape = train.augment, summary.shape
    unknown = [name for name in augment.photometric or () if name not in summary.modalities]
    if unknown:
        there = ", ".join(summary.modalities)
        yield "photometric", f"{key}.augment.photometric: modalities of the data ({there}), got {unknown}"
    crop = augment.crop
    if augment.scale is None and crop is not None and (crop[0] > shape[0] or crop[1] > shape[1]):
        yield "crop", f"{key}.augment.crop: at most the images' {shape}, got {tuple(crop)}"
    batch = min(train.batch_size, summary.n_train)
    if train.accumulate > batch:
        yield "accumulate", f"{key}.accumulate: at most the {batch} images of a batch, got {train.accumulate}"
    if train.accumulate % world_size():
        yield (
            "processes",
            f"{key}.accumulate: under torchrun a multiple of its {world_size()} processes, each of which takes its "
            f"parts of a batch, got {train.accumulate}",
        )


def _check_conditions(study: Study, data: SegmentationData) -> None:
    """Conditions that the report shall show must be ones of the dataset, if not of the scenes chosen of it."""
    there = [value for values in conditions_of(data.splits[data.scored_split]).values() for value in values]
    known = {value for values in find("dataset", study.recipe.data.name).conditions.values() for value in values}
    unknown = [name for name in study.recipe.report.conditions if name not in {*there, *known}]
    if unknown:
        raise RecipeError(
            f"report.conditions: conditions of the data ({', '.join(there) or 'they have none'}), got {unknown}"
        )


def _pending(store: StudyStore, wanted: Sequence[RunSpec], options: Options, outcome: Outcome) -> list[RunSpec]:
    if options.force:
        return list(wanted)
    pending = []
    for spec in wanted:
        record = store.read_record(spec.run_id)
        if (record is None or record.status == "failed") and store.adopt(spec.run_id):
            record = store.read_record(spec.run_id)
        if record is None or (record.status == "failed" and options.retry_failed):
            pending.append(spec)
        else:
            (outcome.reused if record.status == "ok" else outcome.failed).append(record)
    outcome.known_failures = list(outcome.failed)
    return _with_lost_teachers(store, wanted, pending, outcome)


def _with_lost_teachers(
    store: StudyStore, wanted: Sequence[RunSpec], pending: list[RunSpec], outcome: Outcome
) -> list[RunSpec]:
    """Adds teachers that are finished but whose weights are gone (and no sibling's), where a pending run reads them."""
    ids = {spec.run_id for spec in pending}
    needed = {run_id for spec in pending for run_id in spec.depends_on} - ids
    failed = {record.run_id for record in outcome.failed}
    gone = {run_id for run_id in needed - failed if not store.has_weights(run_id)}
    lost = {run_id for run_id in gone if not store.adopt(run_id, weights=True)}
    outcome.reused = [record for record in outcome.reused if record.run_id not in lost]
    return [spec for spec in wanted if spec.run_id in lost] + pending


def _resources(options: Options) -> tuple[str, int]:
    from mmablate.training.device import choose_device  # torch, only where there is something to train

    device = choose_device(options.device)
    if launched():
        if (options.jobs or 1) > 1:
            raise UsageError(f"-j {options.jobs}: under torchrun the processes train one group together")
        from mmablate.training.distributed import start

        return str(start(device)), 1
    jobs = options.jobs or (1 if device.type == "cuda" else available_cores())
    return str(device), jobs


def available_cores() -> int:
    """Processors that this process may use; on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _execution(new: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """A call that trains nothing leaves what the last one said."""
    return old["execution"] if old and new["device"] is None else new


def _steps(spec: RunSpec, n_train: int) -> int:
    train = spec.settings["train"]
    return int(train["epochs"] * (n_train // min(train["batch_size"], n_train)))


class _Execution:
    def __init__(
        self,
        store: StudyStore,
        common: dict[str, Any],
        shown: dict[str, Any],
        jobs: int,
        fail_fast: bool,
        outcome: Outcome,
        progress: GridProgress,
    ) -> None:
        self.store, self.common, self.shown, self.jobs, self.fail_fast = store, common, shown, jobs, fail_fast
        self.outcome, self.progress = outcome, progress
        self.over = {record.run_id for record in (*outcome.reused, *outcome.failed)}
        self.broken = {record.run_id for record in outcome.failed}
        self.earlier: dict[str, RunRecord | None] = {}

    def run(self, pending: Sequence[RunSpec]) -> None:
        # Records of an earlier try, which --force and --retry-failed leave in place until they have another.
        # Without --force a record that is well was not there a moment ago: another process has just finished the run.
        found = {spec.run_id: self.store.read_record(spec.run_id) for spec in pending}
        self.earlier = {i: r for i, r in found.items() if self.common["force"] or (r and r.status == "failed")}
        waiting = group_runs(pending)
        if self.jobs == 1:
            self._alone(waiting)
        else:
            self._side_by_side(waiting)
        if waiting and not self._stop():  # never quietly: every run is trained, failed, or waits for one of these
            raise StoreError(f"{len(waiting)} groups of runs wait for runs that nobody trains")

    def _alone(self, waiting: list[Group]) -> None:
        from mmablate.training.group import train_group

        while waiting and not self._stop():
            self._drop_orphans(waiting)
            group = next_group(waiting, self.over, 1, 1)
            if group is None:
                break
            train_group(self._task(group), self._hear)
            self._collect(group)

    def _side_by_side(self, waiting: list[Group]) -> None:
        pool = Pool(self.jobs)
        groups: dict[Any, Group] = {}
        try:
            while (waiting or pool.busy()) and not self._stop():
                self._drop_orphans(waiting)
                while pool.idle() and (group := next_group(waiting, self.over, pool.size, pool.idle())):
                    task = self._task(group)
                    groups[task] = group
                    pool.start(task)
                if not pool.busy():
                    break
                for event in pool.events():
                    if event.kind == "progress":
                        self._hear(event.content)
                    elif event.kind == "store":
                        raise StoreError(event.content)
                    elif event.kind == "died":
                        self._bury(groups[event.task], event.content)
                    else:
                        self._collect(groups[event.task])
        finally:
            pool.stop()

    def _task(self, group: Group) -> Any:
        from mmablate.training.group import GroupTask

        # The scenes shown are numbers in the study's own split; a row that reads the data otherwise has other scenes.
        data = {key: value for key, value in group.specs[0].settings["data"].items() if key != "fingerprint"}
        samples = self.common["samples"] if data == self.shown else ()
        return GroupTask(specs=group.specs, **{**self.common, "samples": samples})

    def _hear(self, progress: Any) -> None:
        if progress.steps:
            self.progress.advance(progress.steps)
        for record in progress.finished:
            self._count(record)

    def _count(self, record: RunRecord) -> None:
        if record.run_id in self.over:
            return
        self.over.add(record.run_id)
        self.progress.finished(record)
        if record.status == "failed":
            self.broken.add(record.run_id)
            self.outcome.failed.append(record)
        else:
            self.outcome.trained.append(record)

    def _collect(self, group: Group) -> None:
        """Runs that another process finished while this one waited for its lock."""
        for spec in group.specs:
            record = self.store.read_record(spec.run_id)
            if record is not None and record != self.earlier.get(spec.run_id):
                self._count(record)

    def _drop_orphans(self, waiting: list[Group]) -> None:
        """Runs whose teacher failed are recorded as failed for that reason."""
        for group in [g for g in waiting if g.waits_for & self.broken]:
            waiting.remove(group)
            healthy = []
            for spec in group.specs:
                broken = set(spec.depends_on) & self.broken
                if broken:
                    self._fail(spec, "UpstreamFailed", f"its teacher, run {min(broken)}, failed")
                else:
                    healthy.append(spec)
            if healthy:
                waiting.append(Group(tuple(healthy), frozenset(i for s in healthy for i in s.depends_on)))

    def _bury(self, group: Group, reason: str) -> None:
        """Records the unfinished runs of a worker that died."""
        self._collect(group)
        for spec in group.specs:
            if spec.run_id not in self.over:
                self._fail(spec, "WorkerDied", reason)

    def _fail(self, spec: RunSpec, kind: str, message: str) -> None:
        record = RunRecord(
            run_id=spec.run_id,
            study=self.store.name,
            row=spec.rows[0] if spec.rows else None,
            seed=spec.seed,
            status="failed",
            error=RunError(type=kind, message=message),
            metrics={},
            n_parameters=None,
            seconds=None,
            steps=None,
            depends_on=list(spec.depends_on),
            digests={"init": None, "order": None, "final": None},
            environment={},
            role="teacher" if spec.role == "teacher" else "student",
        )
        if is_lead():
            self.store.finish_run(record)
        self._count(record)

    def _stop(self) -> bool:
        return self.fail_fast and bool(self.outcome.failed)
