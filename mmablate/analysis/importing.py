"""Somebody else's runs as a `Table`: a CSV with one line a run (row, seed, metrics), as W&B and MLflow export it.

A CSV with one line a row, such as a published table, is read too: as rows of a single run each.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmablate.analysis.assembly import Draft, Rules, assemble
from mmablate.analysis.directions import lower_is_better
from mmablate.analysis.notes import Found, study_notes, table_notes
from mmablate.analysis.statistics import LARGEST
from mmablate.analysis.table import ColumnInfo, Row, Table
from mmablate.errors import StoreError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 1 << 28
"""A larger file is refused: runs are lines, and this is a million of them."""

_ROW_NAMES = ("row", "method", "variant", "arm", "model", "config", "group", "experiment")
_SEED_NAMES = ("seed", "random_seed", "rng_seed")
# Columns of exports that are no metric, whatever they hold.
_BOOKKEEPING = frozenset(
    (
        "id", "run", "run id", "run_id", "name", "state", "status", "created", "runtime", "duration", "notes", "user",
        "tags", "sweep", "hostname", "epoch", "step", "iteration", "iter", "global_step", "trainer/global_step",
        "_step", "_runtime", "_timestamp", "start time", "start_time",
        "end time", "end_time", "experiment_id", "artifact_uri", "source type", "source name", "version",
    )
)  # fmt: skip
# Settings, and what pandas calls a column without a name: the number of the line.
_SETTINGS = ("params.", "config.", "tags.", "Unnamed: ")
_MOST_NAMED = 12
_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-", "–"})
_GOOD_STATES = frozenset({"finished", "ok", "completed", "complete", "success", "succeeded", "done", ""})
_BAD_STATES = frozenset(
    (
        "failed", "failure", "crashed", "killed", "error", "running", "pending", "scheduled", "queued", "preempted",
        "preempting", "aborted", "stopped", "canceled", "cancelled", "timeout",
    )
)  # fmt: skip


@dataclass(frozen=True)
class CsvOptions:
    """How to read a CSV of runs; what is None or empty is found out from the names of its columns.

    Attributes:
        row: column, or columns, that name a run's row.
        seed: column of the seed.
        columns: the metric columns, in the order of print.
        lower: those of them where lower is better, beside those whose name says so (loss, HD95, RMSE, ...).
        primary: the column that is a family of its own.
    """

    row: tuple[str, ...] = ()
    seed: str | None = None
    columns: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    primary: str | None = None

    def __bool__(self) -> bool:
        return bool(self.row or self.seed or self.columns or self.lower or self.primary)


@dataclass
class _Rows:
    """Runs by row, as they are read."""

    values: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    seeds: dict[str, dict[str, int]] = field(default_factory=dict)
    levels: dict[str, dict[str, str]] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def table_from_csv(
    path: Path, options: CsvOptions | None = None, *, baseline: str | None = None, confidence: float | None = None
) -> Table:
    """Reads the runs of a CSV and computes their table.

    Args:
        path: of the file; commas, semicolons or tabs, UTF-8. With semicolons, numbers may have decimal commas.
        options: which columns mean what.
        baseline: name of a row; by default the first row of the file.
        confidence: of the intervals, by default 0.95.

    Raises:
        StoreError: the file cannot be read as such a CSV.
        UsageError: an option names a column or row that is not there, or the metric columns cannot be told.
    """
    options = options or CsvOptions()
    frame, comma = _read(path)
    columns = _Columns.of(frame, options, path, decimal_comma=comma)
    rows = _gather(frame, columns, path, decimal_comma=comma)
    if not any(rows.values.values()):
        raise StoreError(f"{path}: no run in it that finished and has a number")
    if 2 * len(rows.left_out) > len(frame):
        raise StoreError(
            f"{path}: most of its lines repeat a run ({rows.left_out[0]}) Keep one line a run, e.g. its last"
        )
    names = list(rows.values)
    if baseline is not None and baseline not in names:
        raise UsageError(f"--baseline {baseline}: no row has that name (there are: {', '.join(names[:20])})")
    info = {c: _info(c, options) for c in columns.metrics}
    labels = {column: _short(column) for column in columns.metrics}
    if len(set(labels.values())) == len(labels):
        info = {c: about.model_copy(update={"label": labels[c] if labels[c] != c else ""}) for c, about in info.items()}
    rules = Rules(primary=options.primary or "Mean", confidence=confidence or Rules.confidence)
    drafts = [_draft(name, rows, baseline or names[0]) for name in names]
    made = assemble(drafts, info, rules)
    table = Table(
        schema=1,
        study=path.stem,
        title=path.stem,
        caption=f"Runs of {path.name}. Δ: difference to {baseline or names[0]}.",
        row_header=", ".join(columns.row),
        baseline=baseline or names[0],
        columns=tuple(columns.metrics),
        column_info=info,
        rows=made.rows,
        heat_scales=made.heat_scales,
        confidence=rules.confidence,
        primary=rules.primary,
        families=made.families,
        n_decimals=_decimals(rows, columns.metrics),
    )
    found = Found(
        left_out=(*rows.left_out, *rows.odd), constant=made.constant, seeds_are_named=columns.seed is not None
    )
    said = [f"Read from {path.name}, not trained by mmablate: what its runs share or differ in is not known here."]
    said.append(_directions(info))
    if baseline is None:
        said.append(f"The baseline is the first row of the file, {names[0]}; --baseline names another.")
    if columns.seed is None and any(len(s) > 1 for s in rows.seeds.values()):
        said.append("The file has no column of seeds: no two runs are paired (--seed-column names one).")
    notes = (*said, *table_notes(table, found))
    return table.model_copy(update={"notes": notes, "study_notes": (said[0], *study_notes(found))})


def _directions(info: Mapping[str, ColumnInfo]) -> str:
    """Which way each metric was read, since a name can mislead."""
    sides: dict[str, list[str]] = {"lower": [], "higher": []}
    for about in info.values():
        sides["lower" if about.direction == "min" else "higher"].append(about.metric)
    told = "; ".join(
        f"better when {side}: {', '.join(names[:_MOST_NAMED])}{', ...' if len(names) > _MOST_NAMED else ''}"
        for side, names in sides.items()
        if names
    )
    return f"Read from the names: {told} (--lower names others)."


def _decimals(rows: _Rows, metrics: Sequence[str]) -> int:
    """Two, as for percent; more where metrics are shares of one."""
    sizes = [
        max((abs(v) for values in rows.values.values() for v in values.get(c, {}).values()), default=0.0)
        for c in metrics
    ]
    small = [size <= 1.5 for size in sizes]
    return 4 if all(small) else 3 if any(small) else 2


# --- the file ---------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[pd.DataFrame, bool]:
    """The lines as text, and whether numbers may have decimal commas."""
    import pandas as pd

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise StoreError(f"{path}: larger than {MOST_BYTES >> 20} MB")
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max(",;\t", key=head.count)
        names = next(csv.reader([head], delimiter=separator), [])
        doubled = [name for name, count in Counter(map(str.strip, names)).items() if count > 1 and name]
        if doubled:
            raise StoreError(f"{path}: two columns are called {doubled[0]}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines longer than the header
            frame = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except pd.errors.ParserWarning as error:
        raise StoreError(f"{path}: not a CSV of runs: its lines have more fields than its header") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise StoreError(f"{path}: not a CSV of runs: {' '.join(str(error).split())}") from error
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if {"row", "label", "n_seeds"} <= set(frame.columns):
        raise StoreError(f"{path}: a table that mmablate printed, without its seeds; give the study or its JSON")
    if frame.empty or len(frame.columns) < 2:
        raise StoreError(f"{path}: not a CSV of runs: it needs a header, a line a run, and two columns at least")
    return frame, separator == ";"


def _number(text: str, *, decimal_comma: bool) -> float | None:
    """A number up to `LARGEST`, or None; a percent sign is left aside."""
    plain = text.strip().removesuffix("%").strip().replace("−", "-")
    if decimal_comma and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


@dataclass(frozen=True)
class _Columns:
    """What the columns of a file mean."""

    row: tuple[str, ...]
    seed: str | None
    metrics: tuple[str, ...]
    state: str | None
    prefixed: bool

    @classmethod
    def of(cls, frame: pd.DataFrame, options: CsvOptions, path: Path, *, decimal_comma: bool) -> _Columns:
        names = list(frame.columns)
        for option, wanted in (
            ("--row-column", options.row),
            ("--seed-column", (options.seed,) if options.seed else ()),
            ("--columns", options.columns),
            ("--lower", options.lower),
            ("--primary", (options.primary,) if options.primary else ()),
        ):
            lacking = [name for name in wanted if name not in names]
            if lacking:
                raise UsageError(f"{option} {lacking[0]}: {path} has no such column (it has: {', '.join(names[:30])})")
        row = options.row or _find(names, _ROW_NAMES)
        seed = options.seed or next(iter(_find(names, _SEED_NAMES)), None)
        prefixed = False
        if not row:
            # A table as it is printed: its first column tells the rows apart.
            first = names[0]
            if seed is not None or frame[first].duplicated().any():
                raise UsageError(
                    f"{path}: which column names the rows? --row-column NAME (it has: {', '.join(names[:30])})"
                )
            row, prefixed = (first,), _all_numbers(frame[first], decimal_comma=decimal_comma)
        state = next((n for n in names if n.lower() in ("state", "status") and _are_states(frame[n])), None)
        metrics = options.columns or _metrics(frame, {*row, seed or ""}, path, decimal_comma=decimal_comma)
        if options.primary and options.primary not in metrics:
            raise UsageError(f"--primary {options.primary}: it is none of the metrics ({', '.join(metrics[:30])})")
        return cls(row, seed, metrics, state, prefixed)


def _find(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The first column with one of the wanted names, perhaps behind "params." or "config."."""
    for want in wanted:
        for name in names:
            if re.sub(r"^(params|config|tags)[./]", "", name.lower()) == want:
                return (name,)
    return ()


def _are_states(values: Iterable[str]) -> bool:
    """Whether a column tells how runs ended, in words that are known; a column of other words says something else."""
    return {value.strip().lower() for value in values} <= _GOOD_STATES | _BAD_STATES


def _all_numbers(values: Iterable[str], *, decimal_comma: bool) -> bool:
    return all(_number(value, decimal_comma=decimal_comma) is not None for value in values)


def _metrics(frame: pd.DataFrame, taken: set[str], path: Path, *, decimal_comma: bool) -> tuple[str, ...]:
    """The metric columns: those that MLflow marks, or every column of numbers in a file that is no export."""
    names = [str(name) for name in frame.columns]
    marked = tuple(name for name in names if name.startswith("metrics."))
    if marked:
        return marked
    if {"State", "Created"} <= set(names) or {"Run ID", "Start Time"} <= set(names):
        raise UsageError(f"{path}: an export mixes settings with metrics; name the metrics: --columns acc,f1")
    found = []
    for name in names:
        values = [value for value in frame[name] if value.strip()]
        if name in taken or name.lower() in _BOOKKEEPING or name.startswith(_SETTINGS):
            continue
        if any(_number(value, decimal_comma=decimal_comma) is not None for value in values):
            found.append(name)
    if not found:
        raise StoreError(f"{path}: no column of numbers beside those of row and seed")
    return tuple(found)


def _short(name: str) -> str:
    return name.removeprefix("metrics.")


def _info(column: str, options: CsvOptions) -> ColumnInfo:
    lower = column in options.lower or lower_is_better(column)
    return ColumnInfo(metric=_short(column), unit="", direction="min" if lower else "max", subset=False)


# --- the runs ---------------------------------------------------------------------------------------------


def _gather(frame: pd.DataFrame, columns: _Columns, path: Path, *, decimal_comma: bool) -> _Rows:
    rows = _Rows()
    counts: Counter[str] = Counter()
    for number, line in enumerate(frame.to_dict("records"), start=2):
        levels = {_short(name): str(line[name]).strip() for name in columns.row}
        name = "+".join(levels.values())
        if columns.prefixed:  # as a sweep names its rows
            name = f"{columns.row[0]}={_shortest(_number(name, decimal_comma=decimal_comma) or 0.0)}"
        counts[name] += 1
        # Without seeds no two runs belong together: every run is a seed of its own, of its row alone.
        seed = (_seed(str(line[columns.seed])) if columns.seed else "") or f"{name}#{counts[name]}"
        if rows.levels.setdefault(name, levels) != levels:
            raise StoreError(f"{path}: two rows are called {name} ({levels} and {rows.levels[name]})")
        known = rows.seeds.setdefault(name, {})
        state = str(line[columns.state]).strip() if columns.state else ""
        if state.lower() not in _GOOD_STATES:
            rows.errors.setdefault(name, []).append(f"seed {seed}: {state} in line {number}")
            rows.values.setdefault(name, {})
            continue
        scores = {c: _number(str(line[c]), decimal_comma=decimal_comma) for c in columns.metrics}
        rows.odd += [
            f"line {number}: {_short(c)} is {str(line[c]).strip()[:40]!r}, which is no number."
            for c, score in scores.items()
            if score is None and str(line[c]).strip().lower() not in _MISSING
        ]
        if seed in known:
            rows.left_out.append(f"line {number}: the row {name} has another run of seed {seed} (line {known[seed]}).")
            continue
        known[seed] = number
        values = rows.values.setdefault(name, {})
        for column, score in scores.items():
            if score is not None:
                values.setdefault(column, {})[seed] = score
    return rows


def _seed(text: str) -> str:
    """A seed as a name; 0.0 is what an export writes for 0 in a column with gaps."""
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", text.strip())


def _shortest(value: float) -> str:
    short = f"{value:g}"
    if float(short) == value:
        return short
    return str(int(value)) if value.is_integer() else repr(value)


def _draft(name: str, rows: _Rows, baseline: str) -> Draft:
    errors = tuple(rows.errors.get(name, ()))
    n_seeds = len(rows.seeds[name])
    values: Mapping[str, Mapping[str, float]] = rows.values[name]
    row = Row(
        name=name,
        label=name,
        baseline=baseline,
        status="failed" if not n_seeds else "partial" if errors else "ok",
        n_seeds=n_seeds,
        errors=errors,
        levels=rows.levels[name] if len(rows.levels[name]) > 1 else {},
    )
    return Draft(row, values)
