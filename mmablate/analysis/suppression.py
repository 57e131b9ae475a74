"""What the joint loss leaves of each encoder's gradient, and how weak each modality was found, over the epochs.

Both stand in the histories of models that fuse modalities, at the epochs at which they were looked at. Everything is
read tolerantly: a number that is none, or that cannot be a share, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmablate.analysis.histories import MOST_SEEDS, epoch_of, history_lines, number, spread, thinned
from mmablate.analysis.statistics import mean_estimate
from mmablate.results import RunRecord, StudyStore

Kind = Literal["gradients", "unique"]
Interval = tuple[float, float]

SHARES = ("larger", "positive", "larger_given", "larger_otherwise", "surer_given")
GRADIENTS = (*SHARES, "left")
"""What a look at the gradients tells of a modality: shares of samples in [0, 1], and mean |g_multi| / mean |g_uni|.

`larger`: |g_uni| > |g_multi|; `positive`: the other modalities favour the true class over every other one, which is
the condition under which |g_uni| > |g_multi| is derived; `larger_given`, `larger_otherwise`: `larger` among the samples
that meet the condition, and among the others; `surer_given`: p_y(multi) > p_y(uni) among those that meet it.
"""
WEAKNESS = ("strength", "unique", "null", "beta")
"""What a look at the encoders tells: strength (share of H(Y)), unique information and its 95 % null (bits), weight."""

MOST_ROWS = 40
"""Rows whose histories are read."""
MOST_DRAWN = 6
"""Rows that figures side by side can show."""
MOST_MODALITIES = 12
"""Names beyond are foreign."""
_MOST_BASELINES = 3


@dataclass(frozen=True)
class Point:
    """One quantity at one epoch.

    Attributes:
        mean: over the seeds that have a value.
        interval: of the mean, by Student's t at the study's confidence; None below two seeds or without spread.
        n_seeds: that have a value.
    """

    epoch: int
    mean: float
    interval: Interval | None
    n_seeds: int


@dataclass(frozen=True)
class RowLooks:
    """One row.

    Attributes:
        row: its label.
        modalities: name -> quantity -> points by epoch; a quantity that no run has a value of is not there.
    """

    row: str
    modalities: Mapping[str, Mapping[str, tuple[Point, ...]]]

    @property
    def last_epoch(self) -> int:
        """The last epoch that anything is known of."""
        return max(points[-1].epoch for some in self.modalities.values() for points in some.values())

    def at(self, modality: str, quantity: str, epoch: int) -> Point | None:
        """The point at an epoch, None where there is none."""
        points = self.modalities.get(modality, {}).get(quantity, ())
        return next((point for point in points if point.epoch == epoch), None)


@dataclass(frozen=True)
class Looks:
    """One kind of looks: those at gradients, or those that weights were made of.

    Attributes:
        rows: that have any, in the order of the table.
        drawn: places in `rows` of those that are drawn: baselines, and others at even distances.
        n_unread: rows of the study whose histories were not read.
        n_seeds: fewest and most seeds behind a row.
        samples: fewest and most samples that a look was taken at; None where it does not tell.
        confidence: of the intervals.
        n_left_out: entries that could not be read.
    """

    rows: tuple[RowLooks, ...]
    drawn: tuple[int, ...]
    n_unread: int
    n_seeds: tuple[int, int]
    samples: tuple[int, int] | None
    confidence: float
    n_left_out: int = 0

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of all rows, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.modalities))


@dataclass(frozen=True)
class Suppression:
    """What the histories of a study tell of its modalities; one of them may be missing.

    Attributes:
        gradients: quantities of `GRADIENTS`.
        weakness: quantities of `WEAKNESS`.
    """

    gradients: Looks | None
    weakness: Looks | None


@dataclass
class _Run:
    """One run and one kind: (modality, quantity) -> epoch -> value."""

    values: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    samples: set[int] = field(default_factory=set)
    n_left_out: int = 0


def load_suppression(
    store: StudyStore, study: Mapping[str, Any], by_row: Mapping[str, Sequence[RunRecord]]
) -> Suppression | None:
    """What the histories of a study tell of its modalities, None where they tell nothing.

    Args:
        store: of the study.
        study: study.json.
        by_row: name of a row -> its finished and failed runs by seed, in the order of the table.
    """
    names = [name for name, records in by_row.items() if records]
    chosen = [names[place] for place in _chosen(names, _baselines(study), MOST_ROWS)]
    read = {
        name: [_read(store.run_folder(record.run_id) / "history.jsonl") for record in by_row[name][:MOST_SEEDS]]
        for name in chosen
    }
    n_unread = len(names) - len(chosen)
    gradients = _looks(study, {name: [run["gradients"] for run in runs] for name, runs in read.items()}, n_unread)
    weakness = _looks(study, {name: [run["unique"] for run in runs] for name, runs in read.items()}, n_unread)
    return Suppression(gradients, weakness) if gradients or weakness else None


# --- one history ------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[Kind, _Run]:
    found: dict[Kind, _Run] = {"gradients": _Run(), "unique": _Run()}
    for line in history_lines(path):
        epoch = epoch_of(line)
        for kind, run in found.items():
            if line.get(kind) is None:
                continue
            if epoch is None or not isinstance(line[kind], dict):
                run.n_left_out += 1
                continue
            for modality, about in line[kind].items():
                _note(run, kind, str(modality), about, epoch)
    return found


def _note(run: _Run, kind: Kind, modality: str, about: Any, epoch: int) -> None:
    """Adds what one line tells of one modality."""
    known = {name for name, _ in run.values}
    if not isinstance(about, dict) or (modality not in known and len(known) >= MOST_MODALITIES):
        run.n_left_out += 1
        return
    for quantity in GRADIENTS if kind == "gradients" else WEAKNESS:
        given = about.get(quantity)
        if given is None:  # nothing to take a share of
            continue
        value = number(given)
        if value is None or not _possible(quantity, value):
            run.n_left_out += 1
        else:
            run.values.setdefault((modality, quantity), {})[epoch] = value
    samples = about.get("samples")
    if isinstance(samples, int) and not isinstance(samples, bool) and 0 < samples < 10**12:
        run.samples.add(samples)


def _possible(quantity: str, value: float) -> bool:
    if quantity in SHARES:
        return 0 <= value <= 1
    return value >= 0 if quantity in ("left", "beta") else True


# --- over seeds -------------------------------------------------------------------------------------------


def _looks(study: Mapping[str, Any], read: Mapping[str, Sequence[_Run]], n_unread: int) -> Looks | None:
    confidence = _confidence(study)
    labels = {str(spec["name"]): str(spec.get("label") or spec["name"]) for spec in study["table"]["rows"]}
    told = {name: [run for run in runs if run.values] for name, runs in read.items()}
    told = {name: runs for name, runs in told.items() if runs}
    if not told:
        return None
    samples = {n for runs in told.values() for run in runs for n in run.samples}
    seeds = [len(runs) for runs in told.values()]
    return Looks(
        rows=tuple(RowLooks(labels.get(name, name), _tracks(runs, confidence)) for name, runs in told.items()),
        drawn=_chosen(list(told), _baselines(study), MOST_DRAWN),
        n_unread=n_unread,
        n_seeds=(min(seeds), max(seeds)),
        samples=(min(samples), max(samples)) if samples else None,
        confidence=confidence,
        n_left_out=sum(run.n_left_out for runs in read.values() for run in runs),
    )


def _tracks(runs: Sequence[_Run], confidence: float) -> dict[str, dict[str, tuple[Point, ...]]]:
    found: dict[str, dict[str, tuple[Point, ...]]] = {}
    for modality, quantity in dict.fromkeys(key for run in runs for key in run.values):
        curves = [run.values[modality, quantity] for run in runs if (modality, quantity) in run.values]
        epochs = thinned({epoch for curve in curves for epoch in curve})
        points = tuple(_point(epoch, [c[epoch] for c in curves if epoch in c], confidence) for epoch in epochs)
        found.setdefault(modality, {})[quantity] = points
    return found


def _point(epoch: int, values: Sequence[float], confidence: float) -> Point:
    estimate = mean_estimate(values)
    if estimate is None:
        return Point(epoch, values[0], None, 1)
    return Point(epoch, estimate.value, estimate.interval(confidence), len(values))


def _confidence(study: Mapping[str, Any]) -> float:
    given = study["table"].get("significance")
    value = number(given.get("confidence")) if isinstance(given, dict) else None
    return value if value is not None and 0.5 < value < 1 else 0.95


def _baselines(study: Mapping[str, Any]) -> set[str]:
    layout = study["table"]
    own = (spec.get("baseline") for spec in layout["rows"])
    return {str(name) for name in (layout.get("baseline"), *own) if name}


def _chosen(names: Sequence[str], baselines: set[str], most: int) -> tuple[int, ...]:
    """Places of at most so many rows: the first baselines, the rest from all over the table."""
    bases = [place for place, name in enumerate(names) if name in baselines][:_MOST_BASELINES]
    others = [place for place in range(len(names)) if place not in bases]
    return tuple(sorted((*bases, *spread(others, most - len(bases)))))
