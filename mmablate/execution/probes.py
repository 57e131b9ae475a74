"""Measured times and memory of shapes, kept in the cache folder: what a plan knows of the cost of its runs.

<cache>/probes.json     {"schema": 1, "figures": {"<shape>|<device>|<jobs>": {...}}}
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmablate.data.cache import cache_folder
from mmablate.errors import StoreError
from mmablate.results.files import read_json, write_json

# Older figures make room for newer ones.
KEPT = 2000


@dataclass(frozen=True)
class Figures:
    """What one shape costs on one device.

    Attributes:
        step: seconds of one optimiser step.
        sample: seconds of the evaluation of one sample with all subsets.
        build: seconds from nothing to the first step: opening data, building models.
        finish: seconds from the last score to the record.
        memory_mb: of the group at its peak, divided among its runs; of the whole process on a CPU.
        steps_per_epoch, n_val, n_scored: of the data; samples that a validation and the last scoring see.
        startup: seconds until a worker process begins to work.
        device: name of the device.
        kind: "cpu" or "cuda".
        jobs: groups that were measured side by side.
        measured: date and time, UTC.
    """

    step: float
    sample: float
    build: float
    finish: float
    memory_mb: float
    steps_per_epoch: int
    n_val: int
    n_scored: int
    startup: float
    device: str
    kind: str
    jobs: int
    measured: str = ""


class Probes:
    """The figures known here.

    Args:
        path: the file; by default in the cache folder.
        known: whether to know what it holds; without, everything is still to be measured.
    """

    def __init__(self, path: Path | None = None, *, known: bool = True) -> None:
        self.path = path or cache_folder() / "probes.json"
        self._figures = self._read() if known else {}

    def find(self, shape: str, *, kind: str | None, jobs: int) -> Figures | None:
        """The latest figures of a shape on a kind of device, rather those of as many jobs.

        Args:
            kind: "cpu" or "cuda"; None for whichever was measured last.
        """
        known = [own for key, own in self._figures.items() if key.startswith(f"{shape}|")]
        known = [own for own in known if kind is None or own.kind == kind]
        return max(known, key=lambda own: (own.jobs == jobs, own.measured), default=None)

    def add(self, figures: Mapping[str, Figures]) -> None:
        """Keeps figures by shape; a cache that cannot be written only means that they are measured again."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with contextlib.suppress(OSError, StoreError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                merged = self._read()
                for shape, own in figures.items():
                    merged[f"{shape}|{own.device}|{own.jobs}"] = Figures(**{**asdict(own), "measured": now})
                latest = dict(sorted(merged.items(), key=lambda item: item[1].measured)[-KEPT:])
                self._figures = latest
                content = {key: asdict(own) for key, own in latest.items()}
                write_json(self.path, {"schema": 1, "figures": content}, durable=False)

    def _read(self) -> dict[str, Figures]:
        try:
            content: Any = read_json(self.path)
            return {str(key): Figures(**own) for key, own in content["figures"].items()}
        except (StoreError, KeyError, TypeError, AttributeError):
            return {}
