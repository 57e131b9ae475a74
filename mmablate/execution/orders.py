"""What a call tells its workers on other machines, and they it: small files in a folder of the study.

    <study>/.work/<order>/order.json     the runs and all that their training reads, written once
                         alone.json      runs that a worker has died of
                         stop            the workers shall finish their epochs, save and leave
                         <job>.began     a worker's first sign of life
                         <job>.json      its last words

What becomes of the runs stands in their records, as ever, and who trains what in the leases.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mmablate
from mmablate.errors import BackendError, StoreError
from mmablate.results import RunRecord
from mmablate.results.files import read_json, write_json
from mmablate.study import RunSpec
from mmablate.study.plan import COMPUTE_VERSION

FOLDER = ".work"


@dataclass(frozen=True)
class Order:
    """A planned call, as workers elsewhere get it; they read neither the recipe nor the command line.

    Attributes:
        study, out: the results, on a disk that all machines share.
        specs: runs to be trained.
        done: ids of further runs, which were over before; some of `specs` depend on them.
        earlier: run -> its record as the call began, for runs that are to be trained again.
        common: what the tasks of all groups have in common, JSON-able.
        shown: settings of the data whose scenes the report shows.
        device: as asked for on the command line; each worker looks for its own.
        workers: processes that read ahead, as asked for.
        timeout: seconds without a sign of life after which a run counts as hung; None for never.
        company: number of workers that are sent out.
        fail_fast: stop at the first failure.
    """

    study: str
    out: Path
    specs: tuple[RunSpec, ...]
    done: tuple[str, ...]
    earlier: Mapping[str, RunRecord | None]
    common: Mapping[str, Any]
    shown: Mapping[str, Any]
    device: str
    workers: int | None
    timeout: float | None
    company: int
    fail_fast: bool

    def to_json(self) -> dict[str, Any]:
        """For order.json."""
        return {
            **{key: getattr(self, key) for key in ("study", "device", "workers", "timeout", "company", "fail_fast")},
            "mmablate": mmablate.__version__,
            "compute": COMPUTE_VERSION,
            "out": str(self.out),
            "specs": [asdict(spec) for spec in self.specs],
            "done": list(self.done),
            "earlier": {run: record.model_dump(mode="json") for run, record in self.earlier.items() if record},
            "common": dict(self.common),
            "shown": dict(self.shown),
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Order:
        """The order of an order.json.

        Raises:
            BackendError: this mmablate is not the one that wrote it; its numbers could be others.
        """
        theirs, ours = (content["mmablate"], content["compute"]), (mmablate.__version__, COMPUTE_VERSION)
        if theirs != ours:
            raise BackendError(
                f"the worker has mmablate {ours[0]} (computation {ours[1]}), the call {theirs[0]} ({theirs[1]}): "
                "install the same version on all machines"
            )
        specs = tuple(
            RunSpec(**{**spec, "depends_on": tuple(spec["depends_on"]), "rows": tuple(spec["rows"])})
            for spec in content["specs"]
        )
        earlier = {run: RunRecord.model_validate(record) for run, record in content["earlier"].items()}
        plain = {key: content[key] for key in ("study", "device", "workers", "timeout", "company", "fail_fast")}
        return Order(
            **plain,
            out=Path(content["out"]),
            specs=specs,
            done=tuple(content["done"]),
            earlier={spec.run_id: earlier.get(spec.run_id) for spec in specs},
            common=content["common"],
            shown=content["shown"],
        )


@dataclass(frozen=True)
class WorkFolder:
    """The folder of one order.

    Attributes:
        path: of the folder.
    """

    path: Path

    @staticmethod
    def new(study: Path, order: Order) -> WorkFolder:
        """A folder of its own below the study's, with the order in it.

        Raises:
            StoreError: it cannot be written.
        """
        work = WorkFolder(study / FOLDER / uuid.uuid4().hex[:8])
        try:
            work.path.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"{work.path}: cannot be created: {error.strerror or error}") from error
        write_json(work.path / "order.json", order.to_json())
        return work

    def order(self) -> Order | None:
        """The order; None once the call is over and the folder gone."""
        path = self.path / "order.json"
        return Order.from_json(read_json(path)) if path.exists() else None

    def isolate(self, runs: Collection[str]) -> None:
        """Runs to be trained alone from now on."""
        write_json(self.path / "alone.json", sorted(runs))

    def alone(self) -> set[str]:
        """Runs to be trained alone."""
        with suppress(StoreError):
            return set(read_json(self.path / "alone.json"))
        return set()

    def stop(self) -> None:
        """Asks all workers to finish their epochs, to save and to leave."""
        write_json(self.path / "stop", None)

    def stopping(self) -> bool:
        """Whether workers shall leave; a folder that is gone says so too."""
        return (self.path / "stop").exists() or not (self.path / "order.json").exists()

    def begin(self, job: str) -> None:
        """A worker's first sign of life."""
        write_json(self.path / f"{job}.began", None)

    def began(self, job: str) -> bool:
        """Whether the worker has given one."""
        return (self.path / f"{job}.began").exists()

    def answer(self, job: str, ended: str, message: str = "") -> None:
        """A worker's last words.

        Args:
            ended: "done" (nothing more to start), "stopped" (as asked), "store" or "error" (with a message).
        """
        write_json(self.path / f"{job}.json", {"ended": ended, "message": message})

    def answer_of(self, job: str) -> tuple[str, str] | None:
        """What the worker said last; None where it has not, or died before."""
        path = self.path / f"{job}.json"
        if not path.exists():
            return None
        answer = read_json(path)
        return answer["ended"], answer["message"]

    def remove(self) -> None:
        """Clears the folder away, and the one above it with the last."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()
