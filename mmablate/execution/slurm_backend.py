"""Workers as jobs of Slurm, through submitit."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmablate.errors import BackendError, UsageError
from mmablate.execution.remote_worker import serve

# submitit's own names; all others are sbatch's, which it wants with "slurm_" before them.
GENERIC = frozenset({"name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node"})
# submitit's own limit is five minutes. A job that has used its time up is sent again, and its runs go on.
DEFAULTS = {"name": "mmablate", "timeout_min": 240, "cpus_per_task": 1, "stderr_to_stdout": True}
# Seconds between two questions to Slurm, for all jobs at once.
ASK_SECONDS = 20.0
# What Slurm sends before the time is over (submitit asks for it), and when it makes room for others.
LEAVE = (int(signal.SIGUSR2), int(signal.SIGTERM))


class SlurmBackend:
    """Jobs of one worker each.

    Args:
        options: submitit's parameters and sbatch's, e.g. partition, timeout_min, gpus_per_node; `cluster` is
            submitit's name of one, "local" for processes of this machine.

    Raises:
        UsageError: an unknown option.
        BackendError: no Slurm here.
    """

    size = 4

    def __init__(self, options: Mapping[str, Any]) -> None:
        own = dict(options)
        self.cluster = str(own.pop("cluster", "slurm"))
        for name in ("nodes", "tasks_per_node"):
            if own.pop(name, 1) != 1:
                raise UsageError(f"--backend-option {name}: a job is one worker; -j says how many jobs")
        self.parameters: dict[str, Any] = dict(DEFAULTS)
        for name, value in own.items():
            plain = name in GENERIC or name.startswith("slurm_")
            self.parameters[name if plain else f"slurm_{name}"] = value
        self.asked = time.monotonic()
        self.executors: dict[Path, Any] = {}
        with tempfile.TemporaryDirectory() as folder:  # a wrong option is told before anything is written
            self._executor(Path(folder))

    def submit(self, folder: Path, job: str) -> SlurmJob:
        """One job; its log and what submitit keeps of it are in the order's folder."""
        place = folder / "slurm"
        if place not in self.executors:
            self.executors[place] = self._executor(place)
        try:
            return SlurmJob(self, self.executors[place].submit(serve, str(folder), job, LEAVE))
        except (OSError, RuntimeError) as error:  # submitit's errors are RuntimeErrors
            raise BackendError(f"--backend slurm: {_first_line(error)}") from error

    def refresh(self) -> None:
        """Asks Slurm about all jobs, if it has not been asked for a while."""
        if self.cluster == "slurm" and time.monotonic() - self.asked > ASK_SECONDS:
            import submitit

            self.asked = time.monotonic()
            submitit.SlurmJob.watcher.update()

    def close(self) -> None:
        """Jobs are cancelled one by one; nothing else runs."""

    def _executor(self, folder: Path) -> Any:
        import submitit

        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        except ValueError as error:
            raise UsageError(f"--backend-option cluster: one that submitit knows, got {self.cluster!r}") from error
        except RuntimeError as error:
            raise BackendError(f"--backend slurm: {_first_line(error)}") from error
        try:
            executor.update_parameters(**self.parameters)
        except (NameError, ValueError, TypeError, AssertionError) as error:
            raise UsageError(f"--backend-option: {_first_line(error)}") from error
        return executor


class SlurmJob:
    """A job that was sent.

    Args:
        backend: that sent it.
        job: submitit's.
    """

    def __init__(self, backend: SlurmBackend, job: Any) -> None:
        self.backend, self.job = backend, job

    def over(self) -> bool:
        """As submitit finds it: a result is there, or Slurm says so."""
        self.backend.refresh()
        return bool(self.job.done())

    def cancel(self) -> None:
        """By scancel."""
        self.job.cancel(check=False)

    def reason(self) -> str:
        """Its state and the last line of its log."""
        log = Path(self.job.paths.stdout)
        try:
            lines = log.read_text(errors="replace").split("\n")
        except OSError:
            lines = []
        last = next((line for line in reversed(lines) if line.strip()), "no log")
        return f"job {self.job.job_id} ended ({self.job.state}): {last.strip()} ({log})"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
