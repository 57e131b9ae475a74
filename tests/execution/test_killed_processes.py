"""Real processes, killed in mid-training: nothing finished is lost, and the numbers end up the same."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from execution_samples import LONG, alive, in_training, numbers, recipe_file, run, stored, trainer_of, wait_for
from execution_samples import workers_of as workers

from mmablate.execution import Outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks processes up in /proc"),
]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `python -m mmablate ablate` on the long study, in a process group of its own."""
    started: list[subprocess.Popen[str]] = []

    def starting(*options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "mmablate", "ablate", recipe_file(tmp_path), *LONG, "--device", "cpu"]
        command += ["--out", str(tmp_path / "out"), *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                command,
                env=environment,
                text=True,
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield starting
    for process in started:
        for pid in (*workers(process.pid), process.pid) if process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


def test_a_worker_that_is_killed(finished_long: Any, tmp_path: Path) -> None:
    """Under --force, so that good records of an earlier try lie where the dead worker's are due."""
    out, study = tmp_path / "out", finished_long.study
    shutil.copytree(finished_long.out, out)
    since = time.time()
    outcome: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcome.append(run(study, out, jobs=2, force=True)))
    thread.start()
    victim = wait_for(lambda: in_training(out, study, since))
    os.kill(wait_for(lambda: trainer_of(out, victim)), signal.SIGKILL)
    thread.join(60)
    (result,) = outcome

    assert not result.failed, "a death is no run's fault, the first time"
    assert numbers(result.trained) == finished_long.numbers
    assert stored(out, study) == finished_long.numbers


@pytest.mark.parametrize(("sent", "jobs"), [(signal.SIGKILL, 2), (signal.SIGTERM, 1)])
def test_the_parent_is_killed_and_started_again(
    finished_long: Any, tmp_path: Path, start: Start, sent: signal.Signals, jobs: int
) -> None:
    out, study = tmp_path / "out", finished_long.study
    process = start("-j", str(jobs))
    wait_for(lambda: process.poll() is not None or in_training(out, study, 0.0))
    assert process.poll() is None, process.communicate()
    children = workers(process.pid)
    assert len(children) == (jobs if jobs > 1 else 0)
    process.send_signal(sent)
    assert process.wait(30) == -sent
    wait_for(lambda: gone(children), seconds=30)

    halfway = stored(out, study)
    assert halfway.items() <= finished_long.numbers.items(), "what is there is right, and nothing has failed"
    assert 0 < len(halfway) < len(study.runs), "the teachers, not yet all students"
    again = run(study, out, jobs=1)
    assert not again.failed
    assert len(again.reused) == len(halfway)
    assert stored(out, study) == finished_long.numbers


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c(finished_long: Any, tmp_path: Path, start: Start, jobs: int) -> None:
    out, study = tmp_path / "out", finished_long.study
    process = start("-j", str(jobs))
    wait_for(lambda: process.poll() is not None or in_training(out, study, 0.0))
    children = workers(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert gone(children)
    assert "interrupted" in told
    assert "Traceback" not in told
    assert stored(out, study).items() <= finished_long.numbers.items()
