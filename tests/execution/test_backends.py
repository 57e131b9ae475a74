"""Slurm and Ray: workers of their own accord, one study, and the same numbers as on this machine alone."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from execution_samples import (
    LONG,
    alive,
    in_training,
    names,
    numbers,
    recipe_file,
    run,
    small_study,
    stored,
    trainer_of,
    wait_for,
)

from mmablate.analysis.building import build_table
from mmablate.errors import BackendError, MissingExtra, StoreError, UsageError
from mmablate.execution import Options, Outcome
from mmablate.execution.backends import check_backend, open_backend
from mmablate.execution.foreman import TRIES, TRIES_IN_VAIN, train_elsewhere
from mmablate.execution.orders import Order, WorkFolder
from mmablate.execution.progress import GridProgress
from mmablate.report import render
from mmablate.results import StudyStore
from mmablate.results.leases import JOB
from mmablate.study import Study


def having(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


RAY = pytest.param("ray", {"address": "local"}, marks=having("ray"), id="ray")
SLURM = pytest.param("slurm", {"cluster": "local"}, marks=having("submitit"), id="slurm")


def table(out: Path, study: Study) -> Any:
    """The table as `table --format json` prints it, without the times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key != "seconds"}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads(render([build_table(StudyStore(out, study.name))], "json", single=True)))


def holders(out: Path) -> dict[str, int]:
    """Run -> process, of the leases that are held."""
    found = {path.name: trainer_of(out, path.name) for path in (out / ".leases").glob("[!.]*")}
    return {run_id: pid for run_id, pid in found.items() if pid is not None}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def assert_trained_once(outcome: Outcome, out: Path, study: Study) -> None:
    """The records as they were first seen are those on disk, times and workers included."""
    records, _ = StudyStore(out, study.name).records()
    assert {record.run_id: record for record in outcome.trained} == {record.run_id: record for record in records}
    assert len(outcome.trained) == len(records)


@contextmanager
def meanwhile(action: Any) -> Iterator[list[Any]]:
    """Does something in a thread of its own; what it returned is in the list at the end."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    yield found
    thread.join(60)
    assert found, "it has failed"


# --- the real ones -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize(("backend", "options"), [RAY, SLURM])
def test_two_workers_of_which_one_is_killed(
    finished_long: Any, tmp_path: Path, backend: str, options: Mapping[str, Any]
) -> None:
    """The whole worker, its trainer and its owner both, in mid-training."""
    out, study = tmp_path / "out", finished_long.study

    def kill() -> tuple[str, int, dict[Path, int]]:
        wait_for(lambda: len(set(holders(out).values())) == 2)
        victim = wait_for(lambda: in_training(out, study, 0.0))
        trainer = wait_for(lambda: trainer_of(out, victim))
        records = {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/record.json")}
        os.kill(parent_of(trainer), signal.SIGKILL)
        wait_for(lambda: not alive(trainer), seconds=10)
        return victim, trainer, records

    with meanwhile(kill) as killed:
        outcome = run(study, out, jobs=2, backend=backend, backend_options=options)
    victim, trainer, records = killed[0]

    assert not outcome.failed, "a death is no run's fault"
    assert numbers(outcome.trained) == finished_long.numbers
    assert stored(out, study) == finished_long.numbers
    assert table(out, study) == table(finished_long.out, study)
    who = {record.run_id: int(record.environment["worker"].rpartition(":")[2]) for record in outcome.trained}
    assert who[victim] != trainer
    assert len(set(who.values())) >= 2
    assert all(path.stat().st_mtime_ns == before for path, before in records.items()), "none is trained again"
    assert_trained_once(outcome, out, study)
    assert not holders(out)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "options"), [RAY, SLURM])
def test_what_is_there_is_left_alone_and_force_trains_each_run_once(
    finished: Any, tmp_path: Path, backend: str, options: Mapping[str, Any]
) -> None:
    out, study = tmp_path / "out", finished.study
    shutil.copytree(finished.out, out)
    assert names(run(study, out, jobs=2, backend=backend, backend_options=options).reused) == names(
        finished.outcome.trained
    ), "no worker is sent out"
    started = time.time_ns()
    outcome = run(study, out, jobs=2, backend=backend, backend_options=options, force=True)

    assert not outcome.failed
    assert numbers(outcome.trained) == finished.numbers
    assert table(out, study) == table(finished.out, study)
    assert all(path.stat().st_mtime_ns > started for path in out.glob("*/runs/*/record.json"))
    assert_trained_once(outcome, out, study)
    assert not (out / study.name / ".work").exists(), "nothing stays of an order that went well"
    assert StudyStore(out, study.name).read_study()["execution"]["backend"] == backend


@pytest.mark.slow
@having("submitit")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_ctrl_c_lets_workers_finish_their_epochs_and_save(finished_long: Any, tmp_path: Path) -> None:
    out, study = tmp_path / "out", finished_long.study
    command = [sys.executable, "-m", "mmablate", "ablate", recipe_file(tmp_path), *LONG, "--device", "cpu", "-j", "2"]
    command += ["--out", str(out), "--backend", "slurm", "--backend-option", "cluster=local"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: process.poll() is not None or in_training(out, study, 0.0))
        trainers = holders(out).values()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    wait_for(lambda: not any(alive(pid) for pid in trainers), seconds=10)
    halfway = stored(out, study)
    assert halfway.items() <= finished_long.numbers.items()
    assert list(out.glob("*/runs/*/state.safetensors")), "what was begun is saved"
    again = run(study, out)
    assert len(again.reused) == len(halfway)
    assert stored(out, study) == finished_long.numbers


# --- an order ----------------------------------------------------------------------------------------------


def order_of(study: Study, out: Path, *, company: int = 2, **changes: Any) -> Order:
    """What a call sends out for the runs of a study."""
    order = Order(
        study=study.name,
        out=out,
        specs=tuple(study.runs),
        done=(),
        earlier={spec.run_id: None for spec in study.runs},
        common={"study": study.name, "samples": [], "save_every": None},
        shown={},
        device="cpu",
        workers=None,
        timeout=None,
        company=company,
        fail_fast=False,
    )
    return replace(order, **changes)


def test_an_order_comes_back_as_it_was_written(finished: Any, tmp_path: Path) -> None:
    study, store = finished.study, StudyStore(finished.out, finished.study.name)
    earlier = {spec.run_id: store.read_record(spec.run_id) for spec in study.runs}
    earlier[study.runs[0].run_id] = None
    order = order_of(study, tmp_path, earlier=earlier, done=("a", "b"))
    read = WorkFolder.new(tmp_path, order).order()
    assert read == order


def test_another_version_takes_no_order(finished: Any, tmp_path: Path) -> None:
    work = WorkFolder.new(tmp_path, order_of(finished.study, tmp_path))
    path = work.path / "order.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mmablate": "0.0.0"}))
    with pytest.raises(BackendError, match=r"0\.0\.0.*same version"):
        work.order()


# --- workers that fail, as processes of this machine ---------------------------------------------------------

HOLDS_AND_DIES = (
    "import os, pathlib, sys\n"
    "from mmablate.results.leases import Leases\n"
    "out, run_id = sys.argv[1:]\n"
    "assert Leases(pathlib.Path(out)).claim([run_id])\n"
    "os._exit(7)\n"
)


class Process:
    """A job that is a process."""

    def __init__(self, code: str, job: str, *arguments: str) -> None:
        command = [sys.executable, "-c", code, *arguments]
        self.process = subprocess.Popen(command, env={**os.environ, JOB: job})

    def over(self) -> bool:
        return self.process.poll() is not None

    def cancel(self) -> None:
        self.process.kill()
        self.process.wait()

    def reason(self) -> str:
        return f"status {self.process.wait()}"


class Processes:
    """A backend whose jobs all do the same."""

    size = 1

    def __init__(self, code: str, *arguments: str) -> None:
        self.code, self.arguments = code, arguments
        self.sent: list[str] = []
        self.closed = False

    def submit(self, folder: Path, job: str) -> Process:
        self.sent.append(job)
        return Process(self.code, job, *self.arguments)

    def close(self) -> None:
        self.closed = True


def sent_out(order: Order, backend: Processes) -> Outcome:
    store, outcome = StudyStore(order.out, order.study), Outcome()
    store.prepare()
    with GridProgress(1, len(order.specs), quiet=True) as progress:
        steps = {spec.run_id: 1 for spec in order.specs}
        train_elsewhere(store, order, backend, steps=steps, outcome=outcome, progress=progress)
    return outcome


def test_workers_that_never_get_anywhere_are_not_sent_for_ever(finished: Any, tmp_path: Path) -> None:
    order, backend = order_of(finished.study, tmp_path, company=1), Processes("raise SystemExit(3)")
    with pytest.raises(BackendError, match=r"3 workers .* 8 are left: status 3; .*share"):
        sent_out(order, backend)
    assert len(backend.sent) == TRIES_IN_VAIN
    assert backend.closed
    assert list(tmp_path.glob("*/.work/*/order.json")), "what may tell why is kept"
    assert list(tmp_path.glob("*/.work/*/stop")), "and a worker that comes late leaves at once"


def test_a_run_that_kills_every_worker_is_given_up(finished: Any, tmp_path: Path) -> None:
    spec = next(spec for spec in finished.study.runs if not spec.depends_on)
    order = order_of(finished.study, tmp_path, company=1, specs=(spec,))
    backend = Processes(HOLDS_AND_DIES, str(tmp_path), spec.run_id)
    outcome = sent_out(order, backend)
    (record,) = outcome.failed
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("WorkerDied", "status 7")
    assert len(backend.sent) == TRIES
    assert not holders(tmp_path)


def test_what_a_worker_says_of_the_disk_ends_the_call(finished: Any, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from mmablate.execution.orders import WorkFolder\n"
        "(order,) = pathlib.Path(sys.argv[1]).glob('*/.work/*/order.json')\n"
        "WorkFolder(order.parent).answer(f'{order.parent.name}-1', 'store', 'the disk is full')\n"
    )
    with pytest.raises(StoreError, match="the disk is full"):
        sent_out(order_of(finished.study, tmp_path, company=1), Processes(code, str(tmp_path)))


# --- told before anything is done ----------------------------------------------------------------------------


def told(kind: type[Exception], text: str, out: Path, backend: str, **options: Any) -> None:
    with pytest.raises(kind, match=text):
        run(small_study(out), out / "out", backend=backend, backend_options=options)
    assert not list(out.glob("out/*/study.json"))


@having("submitit")
def test_options_of_slurm(tmp_path: Path) -> None:
    told(UsageError, "partitoin", tmp_path, "slurm", cluster="local", partitoin="gpu")
    told(UsageError, "nodes: a job is one worker", tmp_path, "slurm", cluster="local", nodes=2)
    told(UsageError, "timeout_min", tmp_path, "slurm", cluster="local", timeout_min="long")
    told(UsageError, "cluster", tmp_path, "slurm", cluster="moon")
    if shutil.which("srun") is None:
        told(BackendError, "srun", tmp_path, "slurm", partition="gpu")
    made: Any = open_backend(
        Options(tmp_path, backend="slurm", backend_options={"cluster": "local", "partition": "gpu"})
    )
    assert made.parameters["slurm_partition"] == "gpu"


@having("ray")
def test_options_of_ray(tmp_path: Path) -> None:
    told(UsageError, "num_gpu'?", tmp_path, "ray", address="local", num_gpu=1)
    told(UsageError, "num_gpus", tmp_path, "ray", address="local", num_gpus="all")


def test_a_backend_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for backend in ("ray", "slurm"):
        told(MissingExtra, rf'pip install "mmablate\[{backend}\]"', tmp_path, backend)


def test_options_without_a_backend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="partition"):
        check_backend(Options(tmp_path, backend_options={"partition": "gpu"}))
    check_backend(Options(tmp_path))


@pytest.mark.parametrize("text", ["partition", "=gpu", "partition=", "par tition=gpu", "partition=[1"])
def test_options_that_cannot_be_read(mmablate: Any, text: str) -> None:
    done = mmablate("ablate", "landsat_losses", "--backend", "slurm", "--backend-option", text)
    assert done.code == 2
    assert "--backend-option" in done.err
    assert "Traceback" not in done.err
