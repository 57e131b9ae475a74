"""Where workers of other machines come from: Slurm or Ray. Neither is imported before it is asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Protocol

from mmablate.errors import MissingExtra, UsageError
from mmablate.execution.options import Options
from mmablate.execution.processes import launched

PACKAGES = {"ray": "ray", "slurm": "submitit"}


class Job(Protocol):
    """A worker that was sent out."""

    def over(self) -> bool:
        """Whether it runs no more, whatever the reason, and will not run."""

    def cancel(self) -> None:
        """Ends it, or takes it from the queue."""

    def reason(self) -> str:
        """What is known of the end of one that has died."""


class Backend(Protocol):
    """Sends out workers.

    Attributes:
        size: how many, unless the command line says so.
    """

    size: int

    def submit(self, folder: Path, job: str) -> Job:
        """Sends one out, which will `serve(folder, job)`.

        Raises:
            BackendError: it is refused.
        """

    def close(self) -> None:
        """Leaves nothing running that was started for this call."""


def check_backend(options: Options) -> None:
    """Whether the backend can be had.

    Raises:
        UsageError: options that go with another backend, or with none.
        MissingExtra: names the command that installs it.
    """
    if options.backend == "local":
        if options.backend_options:
            raise UsageError(f"--backend-option {next(iter(options.backend_options))}: the local backend has none")
        return
    if options.mode == "stacked":
        raise UsageError(f"--mode stacked: workers of --backend {options.backend} train in turn")
    if launched():
        raise UsageError(f"--backend {options.backend}: not under torchrun, whose processes train here")
    package = PACKAGES[options.backend]
    if importlib.util.find_spec(package) is None:
        raise MissingExtra(f'--backend {options.backend} needs {package}: pip install "mmablate[{options.backend}]"')


def open_backend(options: Options) -> Backend:
    """The backend of that name.

    Raises:
        UsageError: an option that it does not have.
        BackendError: it is not there, or does not answer.
    """
    if options.backend == "ray":
        from mmablate.execution.ray_backend import RayBackend

        return RayBackend(options.backend_options, gpus=options.device != "cpu")
    from mmablate.execution.slurm_backend import SlurmBackend

    return SlurmBackend(options.backend_options)
