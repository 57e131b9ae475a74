"""Runs of a program of the user's: a callable of his, or a command (`mmablate.recipe.programs`).

No torch is imported here: a program that needs none should not wait for it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import platform
import re
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import mmablate
from mmablate.catalog import fingerprint
from mmablate.errors import DataError, LeaseLost, StoreError
from mmablate.execution.callables import imported_from, load, loaded
from mmablate.execution.commands import CannotStart, run_command
from mmablate.recipe.programs import Program, fill, split_command
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.files import telling
from mmablate.study import ProgramStudy, RunSpec
from mmablate.training.progress import Progress, Report

STEPS = 1000
"""Of a run, in the eyes of a progress bar that counts optimiser steps."""
LOG = "program.log"
WORK = "work"
LARGEST = 1e150
"""Beyond it a score is no number that tables can compute with."""


@dataclass(frozen=True, eq=False)
class ProgramTask:
    """What a worker needs to run a program.

    Attributes:
        specs: runs, one after the other.
        study, out: where the records go.
        device: "cpu", "cuda", "cuda:1".
        force: run again what is finished.
        program: of the recipe.
        folder: in which the command runs, or from which the callable is imported.
        files: the program's, by the name under which they count.
        synthetic: the data behind the scores are generated.
        earlier: run -> its record when the call began; another one since is somebody's answer to this very call.
    """

    specs: tuple[RunSpec, ...]
    study: str
    out: Path
    device: str
    force: bool
    program: Program
    folder: Path
    files: Mapping[str, Path]
    synthetic: bool
    earlier: Mapping[str, RunRecord | None] = field(default_factory=dict)

    @classmethod
    def common(cls, study: ProgramStudy) -> dict[str, Any]:
        """The fields that all tasks of a study share and that are its own."""
        return {
            "program": study.recipe.run,
            "folder": study.folder,
            "files": dict(study.files),
            "synthetic": study.recipe.synthetic,
        }


def run_programs(task: ProgramTask, report: Report) -> list[RunRecord]:
    """Runs the program once for each spec and writes the records, each as soon as it is over.

    Runs that another process holds, or has finished meanwhile, are left alone. Whatever the program does is recorded,
    not raised.

    Raises:
        StoreError: the results folder cannot be written.
    """
    store = StudyStore(task.out, task.study)
    records = []
    with store.leases.holding([spec.run_id for spec in task.specs]) as held:
        for spec in task.specs:
            if spec.run_id not in held:
                continue
            before = store.read_record(spec.run_id)
            if before is None:
                store.set_aside(spec.run_id)
            if before is not None and spec.run_id in task.earlier and before != task.earlier[spec.run_id]:
                continue
            if not task.force and ((before is not None and before.status == "ok") or store.adopt(spec.run_id)):
                continue
            record = _Run(task, spec, store, report).run(again=before is not None)
            if not store.leases.mine(spec.run_id):
                raise LeaseLost(spec.run_id)
            store.finish_run(record)
            records.append(record)
            report(Progress(steps=STEPS, finished=(record,)))
    return records


class ProgramFailed(Exception):
    """A program that ran and gave no scores.

    Args:
        kind: one word, as the record's error type.
        message: for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class Reporter:
    """What a callable is given beside its settings.

    Attributes:
        seed: of the run.
        run_id: of the run.
    """

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.seed: int = run.spec.seed
        self.run_id: str = run.spec.run_id

    @property
    def folder(self) -> Path:
        """The run's own folder, made when first asked for. What an interrupted try left there is still there."""
        return self._run.work_folder()

    @property
    def device(self) -> str:
        """ "cpu", "cuda" or "cuda:N", as --device says."""
        return self._run.task.device

    def report(self, step: int | None = None, **values: float) -> None:
        """A line of history.jsonl: how far the run is, and any numbers to look at later."""
        self._run.progress({"step": step, **{key: as_number(value) for key, value in values.items()}})

    def finish(
        self, metrics: Mapping[str, Any], *, n_parameters: int | None = None, flops: float | None = None
    ) -> None:
        """The scores, by the names that the recipe's `metrics` lists; the last call counts."""
        self._run.result = {"metrics": metrics, "n_parameters": n_parameters, "flops": flops}


class _Run:
    """One run from its start to its record."""

    def __init__(self, task: ProgramTask, spec: RunSpec, store: StudyStore, report: Report) -> None:
        self.task, self.spec, self.store, self.report = task, spec, store, report
        self.folder = store.run_folder(spec.run_id).absolute()
        self.started = time.perf_counter()
        self.step: int | None = None
        self.result: Mapping[str, Any] | None = None
        self.leaving = False

    def run(self, *, again: bool) -> RunRecord:
        """The record, whatever happens.

        Args:
            again: an earlier try has ended; what it left in its folder goes. That of a try that was cut off stays.
        """
        self.store.start_run(self.spec.run_id, {"run_id": self.spec.run_id, **self.spec.settings})
        with telling(self.folder, "cleared"):
            if again and (self.folder / WORK).exists():
                shutil.rmtree(self.folder / WORK)
            (self.folder / LOG).unlink(missing_ok=True)  # it may be a link to a sibling study's
        try:
            if self.task.program.call is not None:
                self._call(self.task.program.call)
            else:
                self._command(self.task.program.command or "")
            if self.result is None:
                raise ProgramFailed("NoMetrics", "the program ended without metrics")
            return self._record(None, _outcome(self.result, self.spec.settings["metrics"]))
        except ProgramFailed as failure:
            return self._record(self._error(failure, failure.kind), {})
        except (KeyboardInterrupt, StoreError):
            raise
        except SystemExit as error:
            if self.leaving or self.task.program.call is None:
                raise
            return self._record(self._error(error), {})
        except Exception as error:
            return self._record(self._error(error), {})

    def _error(self, error: BaseException, kind: str | None = None) -> RunError:
        text = " ".join(str(error).split())[:500].encode(errors="replace").decode()
        return RunError(type=kind or type(error).__name__, message=text, step=self.step)

    def work_folder(self) -> Path:
        """Where the program may write."""
        folder = self.folder / WORK
        with telling(folder, "created"):
            folder.mkdir(exist_ok=True)
        return folder

    def progress(self, line: Mapping[str, Any]) -> None:
        """One line of the history, and a sign of life."""
        step = line.get("step")
        if isinstance(step, int) and not isinstance(step, bool):
            self.step = step
        self.store.append_history(self.spec.run_id, {**line, "seconds": round(time.perf_counter() - self.started, 3)})
        try:
            self.report(Progress())
        except SystemExit:  # nobody listens any more, which is no failure of the run
            self.leaving = True
            raise

    # --- callables ------------------------------------------------------------------------------------------

    def _call(self, call: str) -> None:
        with (
            _Log(self.folder / LOG) as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
            imported_from(self.task.folder),
        ):
            try:
                function = loaded(call, self.task.files[call.partition(":")[0]], self._content())
                if function is None:
                    self._check_unchanged()
                    function = load(call, self.task.files[call.partition(":")[0]], self._content())
                returned = function(json.loads(json.dumps(self.spec.settings["settings"])), Reporter(self))
            except Exception:
                traceback.print_exc(file=log)
                raise
        if self.result is None and returned is not None:
            if not isinstance(returned, Mapping):
                what = type(returned).__name__
                raise ProgramFailed("NoMetrics", f"{call} returned no mapping of metrics but {what}")
            self.result = {"metrics": returned}

    def _content(self) -> Mapping[str, str]:
        """What the program's files held when the study was planned."""
        content: Mapping[str, str] = self.spec.settings["program"]["files"]
        return content

    def _check_unchanged(self) -> None:
        """A file that has changed since would make this run another one than its id says.

        A callable once imported stays as it was then.
        """
        for name, content in self._content().items():
            try:
                same = _content_now(self.task.files[name]) == content
            except (OSError, DataError):
                same = False
            if not same:
                raise ProgramFailed("ProgramChanged", f"{name} is not what it was when the study was planned")

    # --- commands -------------------------------------------------------------------------------------------

    def _command(self, command: str) -> None:
        settings = self.folder / "settings.json"
        with telling(settings):
            settings.unlink(missing_ok=True)
            text = json.dumps(self.spec.settings["settings"], ensure_ascii=False, indent=1)
            settings.write_text(text + "\n", encoding="utf-8")
        given = {
            "seed": str(self.spec.seed),
            "folder": str(self.work_folder()),
            "device": self.task.device,
            "python": sys.executable,
            "settings": str(settings),
        }
        self._check_unchanged()
        argv = fill(split_command(command), self.spec.settings["settings"], given)
        own = {f"MMABLATE_{name.upper()}": given[name] for name in ("seed", "folder", "device", "settings")}
        with telling(self.folder / LOG), (self.folder / LOG).open("wb") as log:
            try:
                ended = run_command(
                    argv, cwd=self.task.folder, environment={**os.environ, "PYTHONUNBUFFERED": "1", **own}, log=log,
                    hear=self._hear, timeout=self.task.program.timeout,
                )  # fmt: skip
            except CannotStart as error:
                raise ProgramFailed("CannotStart", str(error)) from error
        if ended.status is None:
            raise ProgramFailed("TimedOut", f"not over after {self.task.program.timeout:g} seconds (run.timeout)")
        if ended.status != 0:
            raise ProgramFailed("ExitStatus", f"{_status(ended.status)}: {ended.last_words or 'no word on stderr'}")

    def _hear(self, line: bytes) -> None:
        """A line of stdout: scores, progress, or anything else."""
        if not line.startswith(b"{"):
            return
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return
        if "metrics" in value:
            self.result = value
        elif "step" in value:
            self.progress({key: item for key, item in value.items() if _is_number(item) and _NAME.fullmatch(key)})

    # --- records --------------------------------------------------------------------------------------------

    def _record(self, error: RunError | None, outcome: Mapping[str, Any]) -> RunRecord:
        return RunRecord(
            run_id=self.spec.run_id,
            study=self.task.study,
            row=self.spec.rows[0] if self.spec.rows else None,
            seed=self.spec.seed,
            status="ok" if error is None else "failed",
            error=error,
            metrics=outcome.get("metrics", {}),
            n_parameters=outcome.get("n_parameters"),
            flops=outcome.get("flops"),
            seconds=round(time.perf_counter() - self.started, 3),
            steps=self.step,
            depends_on=[],
            digests={"init": None, "order": None, "final": None},
            environment=environment(self.task.device),
            role="student",
            synthetic=self.task.synthetic,
        )


class _Log(io.TextIOBase):
    """A text file that is made when first written to: most callables print nothing."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, None

    file: IO[str] | None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.closed:  # a thread of the program that is still at it
            return len(text)
        if self.file is None:
            self.file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        return self.file.write(text)

    def flush(self) -> None:
        if self.file is not None and not self.file.closed:
            self.file.flush()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        super().close()


def environment(device: str) -> dict[str, Any]:
    """What a record says of the machine; torch's version where the program has brought it in."""
    torch = sys.modules.get("torch")
    found = {**_machine(), "worker": f"{socket.gethostname()}:{os.getpid()}", "device": device.partition(":")[0]}
    return found if torch is None else {**found, "torch": str(torch.__version__)}


@functools.cache
def _machine() -> dict[str, Any]:
    return {
        "device_name": platform.machine(),
        "python": platform.python_version(),
        "mmablate": mmablate.__version__,
    }


_known: dict[Path, tuple[tuple[int, ...], str]] = {}


def _content_now(path: Path) -> str:
    """Fingerprint of a file; it is read again only where size, time or inode are others."""
    stat = path.stat()
    mark = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if path not in _known or _known[path][0] != mark:
        _known[path] = (mark, fingerprint([path]))
    return _known[path][1]


# --- what a program reports -----------------------------------------------------------------------------------

_NAME = re.compile(r"[\w./@%+-]{1,120}")


def _outcome(result: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The scores and facts of a run, checked.

    Raises:
        ProgramFailed: a metric that is missing, unknown or no finite number; says all of it.
    """
    metrics = result["metrics"]
    if not isinstance(metrics, Mapping):
        raise ProgramFailed("BadMetrics", f"metrics: a mapping of names to numbers, got {metrics!r:.80}")
    missing = [name for name in names if name not in metrics]
    unknown = [str(name) for name in metrics if name not in names]
    faults = [f"missing: {', '.join(missing)}"] if missing else []
    faults += [f"not among the recipe's metrics: {', '.join(unknown)}"] if unknown else []
    found = {}
    for name in (name for name in names if name in metrics):
        try:
            found[name] = as_number(metrics[name])
        except ValueError as error:
            faults.append(f"{name}: {error}")
        else:
            if not abs(found[name]) <= LARGEST:
                faults.append(f"{name}: a finite number of at most {LARGEST:g}, got {found[name]}")
    count, flops = result.get("n_parameters"), result.get("flops")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        faults.append(f"n_parameters: a number of parameters, got {count!r:.80}")
    if flops is not None and not (_is_number(flops) and 0 <= flops <= LARGEST):
        faults.append(f"flops: a number of operations, got {flops!r:.80}")
    if faults:
        raise ProgramFailed("BadMetrics", "; ".join(faults))
    return {"metrics": found, "n_parameters": count, "flops": flops}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: Any) -> float:
    """A float of whatever is one number: an int, a float, a scalar of numpy, a tensor of one element.

    Raises:
        ValueError: text, true and false, and what has no one value.
    """
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__") or isinstance(value, complex):
        raise ValueError(f"a number, got {value!r:.80}")
    try:
        return float(value)
    except Exception as error:  # more than one element, too large for a float, ...
        raise ValueError(f"a number, got {value!r:.80}") from error


def _status(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"ended by {name}"
