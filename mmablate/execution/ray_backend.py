"""Workers as tasks of Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmablate.errors import BackendError, UsageError
from mmablate.execution.remote_worker import serve


class RayBackend:
    """Tasks of one worker each.

    A Ray that runs already (RAY_ADDRESS, or `ray start` on this machine) is used; else one of this machine alone
    is started, and ended with the call.

    Args:
        options: of a Ray task, e.g. num_cpus, num_gpus, memory, resources; `address` says which Ray, "local" for
            one of its own.
        gpus: whether each worker gets a GPU where the cluster has some.

    Raises:
        UsageError: an unknown option.
        BackendError: no such Ray.
    """

    def __init__(self, options: Mapping[str, Any], *, gpus: bool) -> None:
        import ray

        own = dict(options)
        address = own.pop("address", None)
        self._remote(own)
        self.started = not ray.is_initialized()
        if self.started:
            _connect(None if address is None else str(address))
        there = ray.cluster_resources()
        if gpus and there.get("GPU", 0) >= 1:
            own.setdefault("num_gpus", 1)
        each = float(own.get("num_gpus") or 0)
        room = there.get("GPU", 0) / each if each else there.get("CPU", 1) / (float(own.get("num_cpus", 1)) or 1)
        self.size = max(1, int(room))
        self.remote = self._remote(own)

    def _remote(self, options: Mapping[str, Any]) -> Any:
        import ray

        # A worker that dies is replaced by its owner, and none is used twice: its GPU memory goes with it.
        try:
            return ray.remote(**{"num_cpus": 1, **options, "max_retries": 0, "max_calls": 1})(serve)
        except (ValueError, TypeError) as error:
            raise UsageError(f"--backend-option: {_first_line(error)}") from error

    def submit(self, folder: Path, job: str) -> RayJob:
        """One task; it waits where the cluster has no room for it yet."""
        return RayJob(self.remote.remote(str(folder), job))

    def close(self) -> None:
        """Leaves a Ray that was there before as it is."""
        import ray

        if self.started:
            ray.shutdown()


class RayJob:
    """A task that was sent.

    Args:
        task: Ray's reference to its result.
    """

    def __init__(self, task: Any) -> None:
        self.task = task

    def over(self) -> bool:
        """Whether its result, or its error, is there."""
        import ray

        return bool(ray.wait([self.task], timeout=0)[0])

    def cancel(self) -> None:
        """Ends its process."""
        import ray

        ray.cancel(self.task, force=True)

    def reason(self) -> str:
        """Ray's error."""
        import ray

        try:
            ray.get(self.task)
        except Exception as error:  # whatever ended it; of an exception in the task Ray's text begins with the stack
            found = getattr(error, "cause", None) or error
            return f"{type(found).__name__}: {_first_line(found)}"
        return "it ended without a word"


def _connect(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None and not os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(address="auto", **quiet)
            return
        except ConnectionError:
            address = "local"
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        place = address or os.environ.get("RAY_ADDRESS")
        raise BackendError(f"--backend ray: no Ray at {place}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
