"""The saliency of teachers' channels in a study: which run found which, and its course over ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.analysis.forms import fault
from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore
from mmablate.results.saliency import Saliency, read_saliency

ERRORS_ABOVE = 2.0
"""A channel counts as salient where its score lies so many standard errors above 0."""
MOST_RUNS = 20_000
"""Runs whose files are read."""


@dataclass(frozen=True)
class SaliencyRow:
    """The saliency that one run found.

    Attributes:
        run: label of the study's row, or of the run.
        seed: of the run.
        place: of the teacher whose channels these are.
        scores: permutation importance as measured, (C,).
        normalised: the saliency, (C,).
        standard_errors: of the scores, (C,); NaN where unknown.
        general: channels known to be modality-general; None where nobody knows.
        kept: channels that were kept; None where none were chosen.
        count: how many are kept, 0 where none were chosen.
    """

    run: str
    seed: int
    place: str
    scores: Sequence[float]
    normalised: Sequence[float]
    standard_errors: Sequence[float]
    general: tuple[int, ...] | None
    kept: tuple[int, ...] | None
    count: int

    def order(self) -> list[int]:
        """Channels by falling saliency; equal ones by their number."""
        return sorted(range(len(self.normalised)), key=lambda channel: (-float(self.normalised[channel]), channel))

    def n_salient(self) -> int:
        """Channels whose score lies `ERRORS_ABOVE` standard errors or more above 0."""
        pairs = zip(self.scores, self.standard_errors, strict=True)
        return sum(math.isfinite(e) and s > 0 and s >= ERRORS_ABOVE * e for s, e in pairs)


@dataclass(frozen=True)
class Profile:
    """Sorted saliency of the seeds of a row at one place; entries are by rank.

    Attributes:
        mean: over seeds, of the channels at that rank.
        seeds: saliency at each rank, seed by seed.
        general, kept: share of the seeds whose channel at that rank is known to be general, was kept; None where
            some seed does not tell.
        cut: the channels kept are the first so many of every seed; None where they are not.
    """

    run: str
    place: str
    mean: tuple[float, ...]
    seeds: tuple[tuple[float, ...], ...]
    general: tuple[float, ...] | None
    kept: tuple[float, ...] | None
    cut: int | None


@dataclass(frozen=True)
class StudySaliency:
    """What the runs of a study found.

    Attributes:
        rows: in the order of the table, then by seed.
        faults: a line for each file that is damaged.
        synthetic: some of it was found on generated data.
        n_left_out: runs whose files were not looked for.
    """

    rows: tuple[SaliencyRow, ...]
    faults: tuple[str, ...]
    synthetic: bool
    n_left_out: int = 0


def profiles(rows: Sequence[SaliencyRow]) -> list[Profile]:
    """One profile a run, place and number of channels, in the order of the rows."""
    alike: dict[tuple[str, str, int], list[SaliencyRow]] = defaultdict(list)
    for row in rows:
        if len(row.normalised):
            alike[row.run, row.place, len(row.normalised)].append(row)
    return [_profile(run, place, some) for (run, place, _), some in alike.items()]


def _profile(run: str, place: str, rows: Sequence[SaliencyRow]) -> Profile:
    orders = [row.order() for row in rows]
    seeds = [tuple(float(row.normalised[c]) for c in order) for row, order in zip(rows, orders, strict=True)]
    return Profile(
        run=run,
        place=place,
        mean=tuple(math.fsum(values) / len(values) for values in zip(*seeds, strict=True)),
        seeds=tuple(seeds),
        general=_shares([row.general for row in rows], orders),
        kept=_shares([row.kept for row in rows], orders),
        cut=_cut(rows, orders),
    )


def _shares(chosen: Sequence[tuple[int, ...] | None], orders: Sequence[Sequence[int]]) -> tuple[float, ...] | None:
    sets = [set(some) for some in chosen if some is not None]
    if len(sets) < len(chosen):
        return None
    n = len(orders)
    return tuple(
        sum(order[rank] in some for order, some in zip(orders, sets, strict=True)) / n for rank in range(len(orders[0]))
    )


def _cut(rows: Sequence[SaliencyRow], orders: Sequence[Sequence[int]]) -> int | None:
    sizes = {len(row.kept) if row.kept is not None else 0 for row in rows}
    size = next(iter(sizes))
    first = all(set(order[:size]) == set(row.kept or ()) for row, order in zip(rows, orders, strict=True))
    return size if len(sizes) == 1 and first and 0 < size < len(orders[0]) else None


# --- of a study -------------------------------------------------------------------------------------------


def load_saliency(store: StudyStore, *, records: Sequence[RunRecord] | None = None) -> StudySaliency | None:
    """What the finished runs of a study found, None where none has looked.

    A student's own file stands for its row. A teacher's or a pair's is shown where no student that depends on it has
    one, named by what the rows that depend on it have in common.

    Raises:
        StoreError: no study there, or one whose file is damaged.
    """
    study = store.read_study()
    if wrong := fault(study):
        raise StoreError(f"{store.folder / 'study.json'}: {wrong}")
    aside = {entry["run_id"] for entry in study.get("superseded", ())}
    found = store.records()[0] if records is None else records
    good = [record for record in found if record.status == "ok" and record.run_id not in aside]
    ordered = sorted(good, key=lambda record: record.role != "student")
    names = RunNames(study)
    rows: list[tuple[int, SaliencyRow]] = []
    faults: list[str] = []
    told: set[str] = set()
    synthetic = False
    for record in ordered[:MOST_RUNS]:
        saliency, reason = (None, "") if record.run_id in told else read_saliency(store.run_folder(record.run_id))
        if reason:
            faults.append(reason)
        if saliency is None:
            continue
        if record.role == "student":
            told.update(record.depends_on)
        place, label = names.of(record)
        rows.append((place, _row(label, record.seed, saliency)))
        synthetic = synthetic or saliency.info.synthetic or record.synthetic
    if not rows and not faults:
        return None
    rows.sort(key=lambda item: (item[0], item[1].run, item[1].place, item[1].seed))
    return StudySaliency(tuple(row for _, row in rows), tuple(faults), synthetic, max(0, len(ordered) - MOST_RUNS))


def _row(label: str, seed: int, saliency: Saliency) -> SaliencyRow:
    kept = saliency.kept
    return SaliencyRow(
        run=label,
        seed=seed,
        place=saliency.info.place,
        scores=saliency.scores,
        normalised=saliency.normalised,
        standard_errors=saliency.standard_errors,
        general=saliency.general,
        kept=kept,
        count=len(kept) if kept is not None else saliency.info.count or 0,
    )


_STAGES = {"student": 0, "teacher": 1, "pair": 2}


class RunNames:
    """Place in the table and label of runs.

    Args:
        study: of study.json.
    """

    def __init__(self, study: Mapping[str, Any]) -> None:
        specs = study["table"]["rows"]
        self.specs = {str(spec["name"]): spec for spec in specs}
        self.order = {name: place for place, name in enumerate(self.specs)}
        self.rows: dict[str, list[str]] = {}
        for entry in study["plan"]:
            self.rows[entry["run_id"]] = [str(row) for row in entry["rows"]]
        # What a run serves, those that it reads serve too: students first, then their teachers.
        for entry in sorted(study["plan"], key=lambda entry: _STAGES.get(str(entry["role"]), 0)):
            needed = entry["depends_on"]
            for run_id in needed if isinstance(needed, list) else ():
                if isinstance(run_id, str) and self.rows.get(run_id) is not None:
                    own = self.rows[entry["run_id"]]
                    self.rows[run_id].extend(row for row in own if row not in self.rows[run_id])

    def of(self, record: RunRecord) -> tuple[int, str]:
        """The first of its rows' places, and what it is called."""
        rows = self.rows.get(record.run_id) or ([record.row] if record.row else [])
        place = min((self.order.get(row, len(self.order)) for row in rows), default=len(self.order))
        if len(rows) == 1:
            spec = self.specs.get(rows[0], {})
            return place, str(spec.get("label") or rows[0])
        return place, self._in_common(rows) or ("joint training" if record.role == "pair" else record.role)

    def _in_common(self, rows: Sequence[str]) -> str:
        """ "gamma 0.25": the factors whose level all these rows share, of those that tell them from other rows."""
        levels = [self.specs.get(row, {}).get("levels") or {} for row in rows]
        if not levels:
            return ""
        everywhere = [spec.get("levels") or {} for spec in self.specs.values()]
        parts = []
        for factor, level in levels[0].items():
            shared = all(own.get(factor) == level for own in levels)
            if shared and any(other.get(factor) != level for other in everywhere):
                parts.append(f"{factor} {level}")
        return ", ".join(parts)
