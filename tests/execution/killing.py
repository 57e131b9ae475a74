"""`python -m mmablate ablate` on a small study, killed and started again, and what it did counted step by step."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from execution_samples import recipe_file
from typer.testing import CliRunner

from mmablate.cli.app import app

COUNTED = Path(__file__).parent / "counted"
# Every step saves the states of all its runs: most of the time is spent in writes.
SETTINGS = ("train.epochs=8", "evaluate.every=8", "save_every=1 step")


@dataclass(frozen=True)
class Place:
    """A folder with the recipe, the results and the log of steps.

    Attributes:
        folder: of all three; it exists.
        settings: KEY=VALUE for the recipe.
    """

    folder: Path
    settings: tuple[str, ...] = SETTINGS

    @property
    def out(self) -> Path:
        """The results folder."""
        return self.folder / "out"

    @property
    def runs(self) -> Path:
        """The folder of the study's runs."""
        return self.out / "small" / "runs"

    @cached_property
    def recipe(self) -> str:
        """The recipe's file."""
        return recipe_file(self.folder)

    def start(self, jobs: int) -> subprocess.Popen[str]:
        """Starts the study in a process group of its own."""
        command = [sys.executable, "-m", "mmablate", "ablate", self.recipe, *self.settings, "--device", "cpu", "-q"]
        path = os.pathsep.join([str(COUNTED), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [*command, "--out", str(self.out), "-j", str(jobs)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "STEP_LOG": str(self.folder / "steps")},
            text=True, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, jobs: int) -> float:
        """Runs the study to its end; seconds.

        Raises:
            AssertionError: it does not end well.
        """
        started = time.monotonic()
        process = self.start(jobs)
        _, told = process.communicate(timeout=600)
        assert process.returncode == 0, told
        return time.monotonic() - started

    def steps(self) -> Counter[tuple[str, int]]:
        """How often each step of each run was taken."""
        try:
            lines = (self.folder / "steps").read_text().split("\n")
        except FileNotFoundError:
            return Counter()
        return Counter((run_id, int(step)) for run_id, step, *_ in (line.split() for line in lines if line))

    def times(self) -> list[float]:
        """When each step was taken, by the monotonic clock."""
        return sorted(float(line.split()[3]) for line in (self.folder / "steps").read_text().splitlines())

    # --- what must be the same to the bit --------------------------------------------------------------------

    def table(self) -> Any:
        """`table --format json`, without its times."""
        done = CliRunner().invoke(app, ["table", str(self.out / "small"), "--format", "json"])
        assert done.exit_code == 0, done.output
        return timeless(json.loads(done.stdout))

    def records(self) -> dict[str, Any]:
        """Records with digests and counts, and histories, without times and places."""
        found = {}
        for path in sorted(self.runs.glob("*/record.json")):
            record = json.loads(path.read_bytes())
            del record["environment"]
            history = [json.loads(line) for line in (path.parent / "history.jsonl").read_text().splitlines()]
            config = json.loads((path.parent / "config.json").read_bytes())
            found[path.parent.name] = timeless([record, history, config])
        return found

    def everything(self) -> Any:
        """All of it."""
        return {"table": self.table(), "records": self.records()}

    def finished(self) -> dict[str, tuple[int, int, bytes]]:
        """inode, time and content of every file of every run that has a record."""
        found = {}
        for record in self.runs.glob("*/record.json"):
            for path in record.parent.iterdir():
                if not path.name.startswith((".", "state.")):
                    with contextlib.suppress(FileNotFoundError):
                        stat = path.stat()
                        found[str(path.relative_to(self.out))] = (stat.st_ino, stat.st_mtime_ns, path.read_bytes())
        return found

    def litter(self) -> list[str]:
        """Temporary files, and states of runs that are over."""
        return [p.name for p in self.runs.glob("*/*") if p.name.startswith((".", "state."))]


def timeless(value: Any) -> Any:
    """JSON without the keys that tell times."""
    if isinstance(value, dict):
        return {key: timeless(own) for key, own in value.items() if "seconds" not in key and "time" not in key}
    return [timeless(own) for own in value] if isinstance(value, list) else value


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the process and all it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    while True:  # its workers are not ours to wait for
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        if all(not _in_group(pid, process.pid) for pid in _pids()):
            return
        time.sleep(0.005)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _in_group(pid: int, group: int) -> bool:
    """Whether a process that is no zombie belongs to the group."""
    try:
        state, _, own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(own) == group and state not in "ZX"


def after(steps: int, seconds: float = 0.0) -> Callable[[Place], bool]:
    """The moment so long after so many steps have been taken, by all runs together."""
    end: list[float] = []

    def now(place: Place) -> bool:
        log = place.folder / "steps"
        if not end and (steps == 0 or (log.exists() and log.read_bytes().count(b"\n") >= steps)):
            end.append(time.monotonic() + seconds)
        return bool(end) and time.monotonic() >= end[0]

    return now


def writing(name: str, nth: int) -> Callable[[Place], bool]:
    """The moment at which the nth temporary file of that name is seen."""
    seen: set[str] = set()

    def now(place: Place) -> bool:
        for folder in (place.runs, place.out / "small"):
            with contextlib.suppress(OSError):
                for own in os.scandir(folder):
                    names = os.listdir(own.path) if own.is_dir() else [own.name]
                    seen.update(f"{own.name}/{found}" for found in names if found.startswith(f".{name}."))
        return len(seen) >= nth

    return now


@dataclass(frozen=True)
class Killed:
    """What a kill did.

    Attributes:
        progress: share of all steps that were taken before it.
        running: whether the process was still there to be killed.
        torn: temporary files that it left.
        finished: runs that were over before it.
        redone: steps that were taken twice.
        wrong: what is not as it would have been.
    """

    progress: float
    running: bool
    torn: int
    finished: int
    redone: int
    wrong: tuple[str, ...]


def killed_and_resumed(place: Place, undisturbed: Any, total: int, jobs: int, moment: Callable[[], Any]) -> Killed:
    """Starts the study, kills it at a moment, runs it to its end, and compares.

    Args:
        undisturbed: `Place.everything` of a study that was left alone; total: its steps.
        moment: makes the condition, when the process has been started.
    """
    process = place.start(jobs)
    due = moment()
    while not due(place) and process.poll() is None:
        time.sleep(0.0005)
    running = process.poll() is None
    kill(process)
    before, taken, torn = place.finished(), place.steps(), len(list(place.runs.glob("*/.*.*")))
    place.finish(jobs)
    wrong = []
    now = place.finished()
    if touched := [name for name, identity in before.items() if now.get(name) != identity]:
        wrong.append(f"touched again: {touched}")
    if place.records() != undisturbed["records"]:
        wrong.append("other records, histories or digests than undisturbed")
    if place.table() != undisturbed["table"]:
        wrong.append("another table than undisturbed")
    steps = place.steps()
    if len(steps) != total:
        wrong.append(f"{len(steps)} different steps instead of {total}")
    if left := place.litter():
        wrong.append(f"left behind: {left}")
    over = sum(name.endswith("record.json") for name in before)
    redone = sum(steps.values()) - len(steps)
    return Killed(len(taken) / total, running, torn, over, redone, tuple(wrong))
