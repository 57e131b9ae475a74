"""Whether rows that are compared were really paired, by the digests in their records.

Runs of one seed shall see the same batches and, where their models are the same, start from the same weights. A
digest that is missing says nothing. Settings are read only where digests differ, which they seldom do.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore
from mmablate.results.files import read_json

MOST_READ = 500
"""Rows whose config.json is read, and their baselines'."""
_MOST_LINES = 8
_MOST_LISTED = 8

# What decides the order of batches and masks; and what the initial weights are drawn from, beside the seed.
_OF_ORDER = ("data", "train.epochs", "train.batch_size", "masks", "method")
_OF_INIT = ("data", "model")
_SECTIONS = ("data", "model", "train")

Runs = Mapping[str, Sequence[RunRecord]]


@dataclass(frozen=True)
class Pairing:
    """What the digests say.

    Attributes:
        notes: for the table.
        alike: rows whose scores are told to be one, by run or by weights.
    """

    notes: tuple[str, ...] = ()
    alike: tuple[frozenset[str], ...] = ()


@dataclass
class _Found:
    """Rows by what was found of them."""

    unpaired: list[tuple[str, str, list[str]]] = field(default_factory=list)
    untold: list[tuple[str, str, list[str]]] = field(default_factory=list)
    by_design: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unread: int = 0


def check_pairing(store: StudyStore, by_row: Runs, baselines: Mapping[str, str | None]) -> Pairing:
    """Compares every row with its baseline, seed by seed, over the finished runs.

    Args:
        store: of the study.
        by_row: records of each row, by seed.
        baselines: row -> the row that its Δ refers to.
    """
    good = {row: {r.seed: r for r in some if r.status == "ok"} for row, some in by_row.items()}
    pairs = [(row, base) for row, base in baselines.items() if base and base != row and row in good and base in good]
    idle: list[tuple[str, str, int]] = []
    rescored: list[tuple[str, str, int]] = []
    same, found, settings = _same_runs(good), _Found(), _Settings(store)
    for row, base in pairs:
        common = [(good[row][seed], good[base][seed]) for seed in good[row] if seed in good[base]]
        common = [(own, other) for own, other in common if own.run_id != other.run_id]
        if not common:
            continue
        if all(own.digests.get("final") and _equal(own, other, "final") for own, other in common):
            scored_alike = all(own.metrics == other.metrics for own, other in common)
            (idle if scored_alike else rescored).append((row, base, len(common)))
        _look_into(row, base, common, settings, found)
    notes = [*_idle_notes(idle, rescored), *_same_notes(same), *_unpaired_notes(found)]
    return Pairing(tuple(notes), (*map(frozenset, same), *_joined((row, base) for row, base, _ in idle)))


def _equal(own: RunRecord, other: RunRecord, name: str) -> bool:
    return own.digests.get(name) == other.digests.get(name)


def _differ(own: RunRecord, other: RunRecord, name: str) -> bool:
    """Both have that digest, and not the same."""
    first, second = own.digests.get(name), other.digests.get(name)
    return bool(first and second and first != second)


def _look_into(
    row: str, base: str, common: Sequence[tuple[RunRecord, RunRecord]], settings: _Settings, found: _Found
) -> None:
    """Sorts a row by whether its settings say why its digests are not its baseline's."""
    told: list[str] = []
    untold: list[str] = []
    for name, what, deciding in (
        ("order", "other batches or masks", _OF_ORDER),
        ("init", "other initial weights", _OF_INIT),
    ):
        differing = [(own, other) for own, other in common if _differ(own, other, name)]
        if not differing:
            continue
        if not settings.may_read(row):
            found.unread += 1
            return
        says = f"{what} on {_seeds([own.seed for own, _ in differing])}"
        reasons = settings.reasons(differing, deciding)
        if name == "order" and reasons is not None and settings.same_samples(differing):
            reasons = [key for key in reasons if key != "data"]
            if not reasons:
                continue
        if reasons is None:
            untold.append(says)
        elif not reasons:
            told.append(says)
        elif name == "order":
            found.by_design[", ".join(reasons)].append(row)
    if told:
        found.unpaired.append((row, base, told))
    if untold:
        found.untold.append((row, base, untold))


class _Settings:
    """The settings of runs, each read once."""

    def __init__(self, store: StudyStore) -> None:
        self.store = store
        self._read: dict[str, dict[str, Any] | None] = {}
        self._rows: set[str] = set()

    def may_read(self, row: str) -> bool:
        """Whether this row is among those looked into."""
        if len(self._rows) < MOST_READ:
            self._rows.add(row)
        return row in self._rows

    def reasons(self, differing: Sequence[tuple[RunRecord, RunRecord]], deciding: Sequence[str]) -> list[str] | None:
        """Those of the deciding settings that two rows differ in; None where no seed's settings can be read."""
        pair = self._readable(differing)
        return None if pair is None else [key for key in deciding if _at(pair[0], key) != _at(pair[1], key)]

    def same_samples(self, differing: Sequence[tuple[RunRecord, RunRecord]]) -> bool:
        """Whether the samples of two rows are the same, and their models see other modalities of them."""
        pair = self._readable(differing)
        return pair is not None and _one_data(*pair)

    def _readable(
        self, differing: Sequence[tuple[RunRecord, RunRecord]]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Settings of the first seed whose both runs have some."""
        for own, other in differing[:3]:
            first, second = self._of(own.run_id), self._of(other.run_id)
            if first is not None and second is not None:
                return first, second
        return None

    def _of(self, run_id: str) -> dict[str, Any] | None:
        if run_id not in self._read:
            self._read[run_id] = self._fresh(run_id)
        return self._read[run_id]

    def _fresh(self, run_id: str) -> dict[str, Any] | None:
        try:
            value = read_json(self.store.run_folder(run_id) / "config.json")
        except StoreError:
            return None
        sound = isinstance(value, dict) and value.get("run_id", run_id) == run_id
        # What is not of this shape is another tool's, whose settings are not understood.
        return value if sound and all(isinstance(value.get(name), dict) for name in _SECTIONS) else None


def _one_data(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two models see other modalities of the same samples.

    A run's `data` leave out the modalities that its model does not see, and the options called as they are, unless
    all have to be read. The digest of the order holds the names of the modalities that are seen at each step, and so
    differs although batches are the same.
    """
    one, two = _modalities(first["data"]), _modalities(second["data"])
    both = one & two
    if (_modalities(first["model"]) or one) == (_modalities(second["model"]) or two):
        return False  # nothing is seen that the other does not see
    for settings, own, other in ((first, one, two), (second, two, one)):
        if other - own and _modalities(settings["model"]) != own:
            return False  # left out of the data themselves, where other samples may be whole
    away = (one | two) - both
    kept = []
    for settings in (first, second):
        data = {key: value for key, value in settings["data"].items() if key not in {*away, "fingerprint"}}
        kept.append({**data, "modalities": [each for each in data.get("modalities") or () if _name(each) in both]})
    return kept[0] == kept[1]


def _modalities(data: Mapping[str, Any]) -> set[str]:
    """Names of the modalities; those of named files are pairs of name and file."""
    listed = data.get("modalities")
    return {_name(one) for one in listed} if isinstance(listed, list) else set()


def _name(modality: Any) -> str:
    return str(modality[0] if isinstance(modality, list) and modality else modality)


def _at(settings: Mapping[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    # That the files themselves changed between two runs is nobody's design.
    return {k: v for k, v in value.items() if k != "fingerprint"} if isinstance(value, Mapping) else value


# --- rows that are one -------------------------------------------------------------------------------------


def _same_runs(good: Mapping[str, Mapping[int, RunRecord]]) -> list[list[str]]:
    """Rows that are served by the same runs, all of them."""
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row, runs in good.items():
        if runs:
            rows[tuple(sorted(record.run_id for record in runs.values()))].append(row)
    return [names for names in rows.values() if len(names) > 1]


def _joined(pairs: Iterable[tuple[str, str]]) -> list[frozenset[str]]:
    """Rows with the baseline that they all equal."""
    groups: dict[str, set[str]] = defaultdict(set)
    for row, base in pairs:
        groups[base] |= {row, base}
    return [frozenset(group) for group in groups.values()]


# --- words -------------------------------------------------------------------------------------------------


def _idle_notes(idle: Sequence[tuple[str, str, int]], rescored: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    for row, base, n in idle[:_MOST_LINES]:
        yield (
            f"The switch does nothing: row {row} ends with the same weights as {base}, bit for bit, on {_all_seeds(n)}."
        )
    if len(idle) > _MOST_LINES:
        others = _names([row for row, *_ in idle[_MOST_LINES:]])
        yield f"The switch does nothing in {len(idle) - _MOST_LINES} more rows: {others}."
    for row, base, n in rescored[:_MOST_LINES]:
        yield (
            f"Row {row} ends with the same weights as {base}, bit for bit, on {_all_seeds(n)}: "
            "they differ in how they are scored, not in training."
        )
    if len(rescored) > _MOST_LINES:
        others = _names([row for row, *_ in rescored[_MOST_LINES:]])
        yield f"So do {len(rescored) - _MOST_LINES} more rows with their baseline: {others}."


def _same_notes(same: Sequence[Sequence[str]]) -> Iterator[str]:
    for names in same[:_MOST_LINES]:
        yield f"The rows {_names(names)} are the same runs: their settings resolve to the same."
    if len(same) > _MOST_LINES:
        yield f"{len(same) - _MOST_LINES} more groups of rows are the same runs."


def _unpaired_notes(found: _Found) -> Iterator[str]:
    for rows, ending in (
        (found.unpaired, "though nothing in their settings says so: its Δ is not paired"),
        (found.untold, "and no config.json says whether by design: its Δ may not be paired"),
    ):
        for row, base, says in rows[:_MOST_LINES]:
            yield f"Row {row} has {' and '.join(says)} than its baseline {base}, {ending}."
        if len(rows) > _MOST_LINES:
            others = _names([row for row, *_ in rows[_MOST_LINES:]])
            yield f"The same holds for {len(rows) - _MOST_LINES} more rows: {others}."
    if found.by_design:
        some = [f"{keys}: {_names(rows)}" for keys, rows in itertools.islice(found.by_design.items(), _MOST_LISTED)]
        more = f"; and {len(found.by_design) - _MOST_LISTED} more" if len(found.by_design) > _MOST_LISTED else ""
        yield (
            f"Batches or masks differ from the baseline's by design ({'; '.join(some)}{more}): "
            "there a seed pairs less than it does elsewhere."
        )
    if found.unread:
        yield (
            f"{found.unread} more rows have other batches, masks or initial weights than their baseline; "
            "whether their settings say so was not looked into."
        )


def _all_seeds(n: int) -> str:
    return f"all {n} common seeds" if n > 1 else "their one common seed"


def _seeds(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(seeds)[:_MOST_LISTED]))
    more = f" and {len(seeds) - _MOST_LISTED} more" if len(seeds) > _MOST_LISTED else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {shown}{more}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
