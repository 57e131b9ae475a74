"""Small studies for the tests of execution, and looking after real processes."""

import json
import time
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mmablate.data.base import SegmentationData
from mmablate.data.summary import DatasetSummary, summarise
from mmablate.execution import Options, Outcome, run_study, wanted_runs
from mmablate.results import RunRecord, StudyStore
from mmablate.study import Study, open_study
from mmablate.study.datasets import open_dataset

RECIPE = """
name: small
data: {name: landsat, modalities: [V, N, S], tile: 16, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, widths: [4], strides: [4], decoder_width: 4}
teacher: {name: anymodal_segmentor}
train: {epochs: 1, batch_size: 15, lr: 1e-2}
losses: {sup: {weight: 1}, mad: {weight: 13}, umd: {weight: 2}}
rows: [[sup], [sup, mad], [sup, mad, umd]]
baseline: sup
seeds: [1, 2]
evaluate: {subsets: all, batch_size: 128}
"""
LONG = ("train.epochs=25", "evaluate.every=25")  # seconds, long enough to be killed in the middle


def small_study(folder: Path, *overrides: str) -> Study:
    """The recipe above with KEY=VALUE."""
    return open_study(recipe_file(folder), overrides=list(overrides))


def recipe_file(folder: Path) -> str:
    """The recipe above as a file."""
    path = folder / "small.yaml"
    path.write_text(RECIPE)
    return str(path)


@cache
def tiles() -> SegmentationData:
    """The tiles that the recipe cuts."""
    settings = {"name": "landsat", "modalities": ["V", "N", "S"], "tile": 16, "block": 32, "train_stride": 32}
    data: SegmentationData = open_dataset(settings, None)
    return data


@cache
def summary() -> DatasetSummary:
    """Their numbers."""
    return summarise(tiles())


def run(
    study: Study,
    out: Path,
    *,
    rows: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
    jobs: int = 1,
    **options: Any,
) -> Outcome:
    """Runs a study on the CPU without a word."""
    wanted = wanted_runs(study, rows or [row.name for row in study.rows], seeds or study.seeds)
    return run_study(study, wanted, Options(out, "cpu", jobs, quiet=True, **options), tiles(), None)


def numbers(records: Iterable[RunRecord]) -> dict[str, Any]:
    """All that must be the same to the bit, by run."""
    varying = {"seconds", "environment", "study"}
    return {record.run_id: record.model_dump(mode="json", exclude=varying) for record in records}


def stored(out: Path, study: Study) -> dict[str, Any]:
    """The numbers on disk."""
    good, bad = StudyStore(out, study.name).records()
    assert not bad
    return numbers(good)


def names(records: Iterable[RunRecord]) -> list[tuple[str, int]]:
    """Row and seed, sorted; a teacher's row is "teacher"."""
    return sorted((record.row or "teacher", record.seed) for record in records)


# --- processes ------------------------------------------------------------------------------------------------


def wait_for(what: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """The first true answer of `what`; fails loudly where none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := what():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds:.0f} s in vain")


def workers_of(pid: int) -> list[int]:
    """The worker processes that a process has started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                found.append(int(child))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def trainer_of(out: Path, run_id: str) -> int | None:
    """The process that holds the run's lease."""
    try:
        return int(json.loads((out / ".leases" / run_id).read_text())["pid"])
    except FileNotFoundError:
        return None


def in_training(out: Path, study: Study, since: float, *, role: str = "student") -> str | None:
    """A run that has trained an epoch since then and is not over."""
    store = StudyStore(out, study.name)
    for spec in study.runs:
        folder = store.run_folder(spec.run_id)
        history, record = folder / "history.jsonl", folder / "record.json"
        if spec.role != role or not history.exists() or history.stat().st_mtime < since:
            continue
        if history.read_text().count("\n") >= 2 and not (record.exists() and record.stat().st_mtime > since):
            return spec.run_id
    return None
