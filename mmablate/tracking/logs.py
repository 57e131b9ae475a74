"""What a tracker is told of a run and of a table: plain values, read from the files of the store.

They are read when a run is over, from its own folder. So it does not matter which process on which machine trained it,
in which call, or whether a sibling study did.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore
from mmablate.results.files import read_json
from mmablate.results.history import finite_number, history_lines

FORMAT = 1
"""Goes up when what is logged of one and the same run changes: then it is logged anew."""
SYNTHETIC = "synthetic data"
# Of a record's environment, what bears upon the numbers; names of hosts and users do not.
_FACTS = ("device", "device_name", "precision", "threads", "python", "torch", "cuda", "mmablate")
_NO_SETTINGS = frozenset(("run_id", "compute"))
_PLAIN = re.compile("[0-9a-f]{1,64}")
_DEEPEST = 20  # levels of a nested value
_LARGEST_STEP = 2**53
_LONGEST = 500

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Point:
    """One line of a history.

    Attributes:
        step: optimiser steps taken; number of the line (from 1) in a history whose lines do not all tell a step, or
            tell one that goes back.
        seconds: since the run began.
        values: by name: `loss/<term>`, `val/<column>`, `lr`, `epoch`, and whatever else is a number.
    """

    step: int
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class RunLog:
    """One run of a study.

    Attributes:
        study: which.
        run_id: of the run, hexadecimal; for a run with an id of another kind (`config` has it) one made of that.
        name: for people: "sup+mad, seed 0"; "teacher, seed 0".
        status: "ok", "failed", or "running".
        error: why it failed, "" where it did not.
        tags: role, status, and "synthetic data" where the data were generated.
        config: the run's settings, flat ("train.lr"), with study, rows, seed, role and the facts of the machine that
            bear upon the numbers; no paths, no names of hosts.
        points: the curves.
        scores: `score/<column>`, `score/<condition>/<column>`, `selected_val/<column>`, parameters, seconds, ...
        started, ended: seconds since 1970; a resumed run starts again.
        digest: of all of this but the times: another one means that the run has been trained again.
    """

    study: str
    run_id: str
    name: str
    status: str
    error: str
    tags: tuple[str, ...]
    config: Mapping[str, Scalar]
    points: tuple[Point, ...]
    scores: Mapping[str, float]
    started: float
    ended: float
    digest: str

    def time(self, point: Point) -> float:
        """When the point was reached, in seconds since 1970."""
        return min(self.started + point.seconds, self.ended)


@dataclass(frozen=True)
class TableLog:
    """The table of a study, rendered.

    Attributes:
        study, title: which.
        markdown, html, json: the table in these formats.
        scores: "<row>/<column>" -> mean over seeds, and "<row>/Δ <column>".
        synthetic: the data were generated.
    """

    study: str
    title: str
    markdown: str
    html: str
    json: str
    scores: Mapping[str, float]
    synthetic: bool

    @property
    def tags(self) -> tuple[str, ...]:
        """As of a run."""
        return ("table", SYNTHETIC) if self.synthetic else ("table",)

    @property
    def digest(self) -> str:
        """Of everything that is logged."""
        return _digest(asdict(self))


def counted_runs(study: Mapping[str, Any], records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records that count: planned ones in the order of the plan, then others; none that is superseded."""
    order = {entry["run_id"]: place for place, entry in enumerate(study["plan"])}
    aside = {entry["run_id"] for entry in study.get("superseded", ())}
    counted = [record for record in records if record.run_id not in aside]
    return sorted(counted, key=lambda record: (order.get(record.run_id, len(order)), record.run_id))


def read_run(store: StudyStore, study: Mapping[str, Any], record: RunRecord) -> RunLog:
    """What there is to tell of a finished or failed run; what cannot be read of its folder is left out.

    Args:
        study: study.json.
        record: of the run, as it stands in the store.
    """
    folder = store.run_folder(record.run_id)
    rows = next((e["rows"] for e in study["plan"] if e["run_id"] == record.run_id), None)
    rows = [str(row) for row in rows or ([record.row] if record.row else [])]
    synthetic = record.synthetic or bool(_dataset(study).get("synthetic"))
    config = _config(folder, store.name, record, rows, synthetic, _dataset(study).get("name"))
    points = tuple(_points(history_lines(folder / "history.jsonl")))
    scores = _scores(record)
    error = f"{record.error.type}: {record.error.message}" if record.error else ""
    error = str(_shown(f"{error} (step {record.error.step})" if record.error and record.error.step else error))
    ended = _modified(folder / "record.json")
    plain: dict[str, Any] = {
        "study": store.name,
        "run_id": _plain_id(record.run_id),
        "name": _name(rows, record.role, record.seed),
        "status": record.status,
        "error": error[:_LONGEST],
        "tags": (record.role, record.status, *((SYNTHETIC,) if synthetic else ())),
        "config": config,
    }
    timeless = {name: value for name, value in scores.items() if name != "seconds"}
    curves = [(p.step, {k: v for k, v in p.values.items() if k != "seconds"}) for p in points]
    return RunLog(
        **plain,
        points=points,
        scores=scores,
        started=_started(folder, ended),
        ended=ended,
        digest=_digest([plain, timeless, curves]),
    )


def read_running(store: StudyStore, study: Mapping[str, Any], entry: Mapping[str, Any]) -> RunLog:
    """A run in training as far as it is; what only a record tells is missing.

    Args:
        study: study.json.
        entry: of its plan.
    """
    folder = store.run_folder(entry["run_id"])
    now = time.time()
    rows, role = [str(row) for row in entry["rows"]], str(entry["role"])
    return RunLog(
        study=store.name,
        run_id=_plain_id(str(entry["run_id"])),
        name=_name(rows, role, entry["seed"]),
        status="running",
        error="",
        tags=(role, *((SYNTHETIC,) if _dataset(study).get("synthetic") else ())),
        config={"study": store.name, "role": role, "rows": ", ".join(rows), "seed": entry["seed"]},
        points=tuple(_points(history_lines(folder / "history.jsonl"))),
        scores={},
        started=_started(folder, now),
        ended=now,
        digest="",
    )


def _plain_id(run_id: str) -> str:
    """Ids are hexadecimal, but for runs that somebody has copied into the study under a name of his own."""
    return run_id if _PLAIN.fullmatch(run_id) else hashlib.sha256(run_id.encode()).hexdigest()[:16]


def _name(rows: Sequence[str], role: str, seed: Any) -> str:
    return f"{' = '.join(rows) or role}, seed {seed}"


def _dataset(study: Mapping[str, Any]) -> Mapping[str, Any]:
    dataset = study.get("dataset")
    return dataset if isinstance(dataset, dict) else {}


def _started(folder: Path, ended: float) -> float:
    """A run's config.json is the first of its files."""
    return min(_modified(folder / "config.json"), ended)


def _config(
    folder: Path, study: str, record: RunRecord, rows: Sequence[str], synthetic: bool, dataset: Any
) -> dict[str, Scalar]:
    try:
        settings = read_json(folder / "config.json")
    except StoreError:
        settings = {}
    settings = _shown(settings) if isinstance(settings, dict) else {}
    facts = {name: record.environment[name] for name in _FACTS if name in record.environment}
    about = {
        "study": study,
        "run_id": record.run_id,
        "row": record.row,
        "rows": ", ".join(rows),
        "role": record.role,
        "seed": record.seed,
        "dataset": str(dataset or ""),
        "synthetic": synthetic,
        "scored_on": record.scored_on,
        "depends_on": ", ".join(record.depends_on),
    }
    flat = dict(flattened({key: value for key, value in settings.items() if key not in _NO_SETTINGS}))
    return {**flat, **dict(flattened({"environment": _shown(facts)})), **about}


def flattened(value: Any, path: str = "") -> Iterable[tuple[str, Scalar]]:
    """Leaves of nested settings by dotted key; items of a list of settings by their "key" or "name", else by number.

    A list of plain values is one text.
    """
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flattened(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for number, item in enumerate(value):
            name = (item.get("key") or item.get("name")) if isinstance(item, Mapping) else None
            yield from flattened(item, f"{path}.{name if isinstance(name, str) else number}")
    elif isinstance(value, str | int | float | bool) or value is None:
        yield path, value
    else:
        yield path, json.dumps(value, ensure_ascii=False, default=str)


def _points(lines: Iterable[Mapping[str, Any]]) -> Iterable[Point]:
    """The curves, with steps that never go back: trackers refuse those."""
    told = list(lines)
    steps = [line.get("step") for line in told]
    good = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= _LARGEST_STEP for s in steps)
    good = good and steps == sorted(steps)  # type: ignore[type-var]
    for number, line in enumerate(told, start=1):
        values = {name: v for name, item in _named(line) if (v := finite_number(item)) is not None}
        step = line["step"] if good else number
        if good:
            values.pop("step", None)
        yield Point(step, values.get("seconds", 0.0), values)


def _named(line: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Values of a line by name, nested ones with slashes."""
    for key, value in line.items():
        yield from _within("loss" if key == "losses" else key, value)


def _within(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and name.count("/") < _DEEPEST:
        for key, item in value.items():
            yield from _within(f"{name}/{key}", item)
    else:
        yield name, value


def _scores(record: RunRecord) -> dict[str, float]:
    found: dict[str, float] = {f"score/{column}": value for column, value in record.metrics.items()}
    for condition, scores in record.conditions.items():
        found |= {f"score/{condition}/{column}": value for column, value in scores.items()}
    found |= {f"selected_val/{column}": value for column, value in record.validation.items()}
    for name in ("n_parameters", "flops", "seconds", "steps", "selected_epoch"):
        value = getattr(record, name)
        if value is not None:
            found[name] = float(value)
    return found


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process is about to replace it
        return time.time()


def _digest(value: Any) -> str:
    text = json.dumps([FORMAT, value], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _shown(value: Any) -> Any:
    """The value without paths of this machine."""
    from mmablate.analysis.settings import without_paths  # brings the statistics along, which a plan must not wait for

    return without_paths(value)
