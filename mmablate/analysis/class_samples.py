"""Single samples of a classification study: where its rows are wrong, how sure they are, and what they mix up."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mmablate.analysis.forms import fault
from mmablate.analysis.runs import by_row
from mmablate.errors import StoreError, UsageError
from mmablate.results import RunRecord, StudyStore
from mmablate.results.class_predictions import ClassPredictions, read_class_predictions

MOST_CONFUSIONS = 5
"""Pairs of classes that are named, the most frequent ones."""


class SampleKey(NamedTuple):
    """What makes a sample of one run that of another, too.

    Attributes:
        place: in the scored split.
        id, truth: of the sample there.
        seed: of the run where the data are drawn anew for every seed; None otherwise.
    """

    place: int
    id: str
    truth: int
    seed: int | None


@dataclass(frozen=True)
class Said:
    """What the run of one seed said of a sample.

    Attributes:
        predicted: class.
        probability: of that class, 0-1.
        true_probability: of the true class, 0-1.
        right: whether they are the same.
    """

    seed: int
    predicted: int
    probability: float
    true_probability: float
    right: bool


@dataclass(frozen=True)
class Vote:
    """What the runs of all seeds said of a sample, in short.

    Attributes:
        predicted: the class that most of them predicted; of several the one with the larger probability.
        probability: of that class, 0-1: mean over the runs that predicted it.
        n_for: runs that predicted it.
        n: runs.
    """

    predicted: int
    probability: float
    n_for: int
    n: int


@dataclass(frozen=True)
class ClassSample:
    """One sample as the runs of a row see it.

    Attributes:
        key: which sample.
        said: one a seed, ascending.
        vote: the same in short.
        mean_true: probability of the true class, 0-1, mean over seeds.
        error_rate: share of the seeds that are wrong, 0-1.
        others: further output, e.g. "unimodal/audio" -> its vote.
    """

    key: SampleKey
    said: tuple[Said, ...]
    vote: Vote
    mean_true: float
    error_rate: float
    others: Mapping[str, Vote] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ClassRow:
    """One row of the table, sample by sample.

    Attributes:
        name, label: of the row.
        seeds: whose runs have predictions, ascending.
        accuracy: percent, of each of these seeds.
        n_samples: that some seed has scored; n_always, n_never: of them, right with every seed, with none.
        worst: of the lowest mean probability of the true class, the worst first.
        confident: wrong with at least one seed, those first whose wrong prediction was given the largest
            probability by any seed.
        best: of the highest mean probability of the true class, the best first; none of them is among the worst.
        confusion: counts over seeds, int (K, K); true class, then predicted class.
        every: all samples, the worst first, where they were asked for.
    """

    name: str
    label: str
    seeds: tuple[int, ...]
    accuracy: tuple[float, ...]
    n_samples: int
    n_always: int
    n_never: int
    worst: tuple[ClassSample, ...]
    confident: tuple[ClassSample, ...]
    best: tuple[ClassSample, ...]
    confusion: np.ndarray
    every: tuple[ClassSample, ...] = ()

    def confusions(self) -> list[tuple[int, int, int, int]]:
        """(true, predicted, count, all of that true class) of the most frequent errors, by their share in the class."""
        sizes = self.confusion.sum(axis=1)
        found = [
            (int(t), int(p), int(self.confusion[t, p]), int(sizes[t]))
            for t, p in zip(*np.nonzero(self.confusion), strict=True)
            if t != p
        ]
        return sorted(found, key=lambda e: (-e[2] / e[3], -e[2], e[:2]))[:MOST_CONFUSIONS]


@dataclass(frozen=True, eq=False)
class ClassSheet:
    """What is looked at of a classification study.

    Attributes:
        rows: in the order of the table, of those asked for that have predictions.
        class_names: one a class.
        missing: labels of rows that were asked for and have no predictions.
        faults: a line for each file that is damaged or fits nothing.
        synthetic: the data were generated.
    """

    rows: tuple[ClassRow, ...]
    class_names: tuple[str, ...]
    missing: tuple[str, ...]
    faults: tuple[str, ...]
    synthetic: bool

    def samples(self) -> list[SampleKey]:
        """The samples that occur, each once, in the order of print."""
        every = (s for row in self.rows for some in (row.worst, row.confident, row.best) for s in some)
        return list(dict.fromkeys(sample.key for sample in every))


def chosen_rows(study: Mapping[str, Any], globs: Sequence[str] | None, further: Sequence[str] = ()) -> dict[str, str]:
    """Name -> label of the rows asked for, in the order of the table.

    Args:
        globs: names, labels or patterns of them; None for all rows.
        further: names of rows that the study's recipe does not know.

    Raises:
        UsageError: one that no row answers to.
    """
    labels = {str(spec["name"]): str(spec.get("label") or spec["name"]) for spec in study["table"]["rows"]}
    labels |= {name: name for name in further if name not in labels}
    if globs is None:
        return labels
    found: set[str] = set()
    for glob in globs:
        # A name is taken literally first: "+" and "[" are ordinary in names.
        hits = {name for name, label in labels.items() if glob in (name, label)}
        hits = hits or {name for name in labels if fnmatch.fnmatchcase(name, glob)}
        if not hits:
            raise UsageError(f"--row {glob}: no row has that name (there are: {', '.join(labels)})")
        found |= hits
    return {name: label for name, label in labels.items() if name in found}


def load_class_sheet(
    store: StudyStore,
    n: int = 8,
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    every: bool = False,
) -> ClassSheet:
    """What the runs of a study said of single samples.

    Args:
        n: samples of each kind: worst, best, most confident errors.
        rows: see `chosen_rows`.
        seeds: only these; None for all.
        every: keep all samples of each row, too.

    Raises:
        StoreError: no study there, or one whose file is damaged.
        UsageError: no such row.
    """
    study = store.read_study()
    if wrong := fault(study):
        raise StoreError(f"{store.folder / 'study.json'}: {wrong}")
    records, extra, _ = by_row(study, store.records()[0])
    dataset = study.get("dataset") or {}
    names = [str(name) for name in dataset.get("classes") or ()]
    found, missing, faults = [], [], dict[str, None]()
    synthetic = bool(dataset.get("synthetic"))
    for name, label in chosen_rows(study, rows, extra).items():
        good = [r for r in records.get(name, ()) if r.status == "ok" and (seeds is None or r.seed in seeds)]
        runs, told = _runs(store, good, names, study["table"]["column_info"])
        faults |= dict.fromkeys(told)
        synthetic = synthetic or any(said.synthetic for said in runs.values()) or any(r.synthetic for r in good)
        if runs:
            found.append(class_row(name, label, runs, n, every=every))
        else:
            missing.append(label)
    return ClassSheet(tuple(found), tuple(names), tuple(missing), tuple(faults), synthetic)


def _runs(
    store: StudyStore, records: Sequence[RunRecord], names: list[str], columns: Mapping[str, Any]
) -> tuple[dict[int, ClassPredictions], list[str]]:
    """Seed -> what its run said, and a line for each file that is damaged, of other classes or of another training.

    Args:
        names: of the classes; filled with numbers where the study does not name them.
        columns: what each column measures.
    """
    runs: dict[int, ClassPredictions] = {}
    faults = []
    for record in records:
        said, reason = read_class_predictions(store.run_folder(record.run_id))
        if said is not None and not names:
            names.extend(str(k) for k in range(said.n_classes))
        if said is not None and said.n_classes != len(names):
            reason = f"{record.run_id}: predictions of {said.n_classes} classes, and the study has {len(names)}"
        if said is not None and not reason:
            reason = _disagreement(record, said, columns)
        if reason:
            faults.append(reason)
        elif said is not None and len(said.indices):
            runs[record.seed] = said
    return runs, faults


def _disagreement(record: RunRecord, said: ClassPredictions, columns: Mapping[str, Any]) -> str:
    """What is wrong where predictions do not give the accuracy of the record: they are of another training then.

    Where classes have equal logits, another one may have been taken when the run was scored; that much is let pass.
    """
    column, output = next(iter(said.outputs.items()))
    known = record.metrics.get(column)
    n = len(said.indices)
    if known is None or not n or (columns.get(column) or {}).get("metric") != "accuracy":
        return ""
    own = 100 * float((output.predicted == said.labels).mean())
    if abs(own - known) <= max(0.5, 200 / n):
        return ""
    return f"{record.run_id}: the predictions give {own:.2f} % {column}, and the run was scored with {known:.2f} %"


class _Votes:
    """What one output said, run by run: arrays (runs, samples); a run that has not a sample has NaN there."""

    def __init__(self, runs: int, samples: int) -> None:
        self.predicted = np.full((runs, samples), -1, dtype=np.int64)
        self.probability = np.full((runs, samples), np.nan)
        self.nll = np.full((runs, samples), np.nan)

    def put(self, run: int, places: np.ndarray, said: Any) -> None:
        """A run's `ClassOutput` of the samples at these places."""
        self.predicted[run, places] = said.predicted
        self.probability[run, places] = np.minimum(said.top_probability[:, 0].astype(np.float64), 1.0)
        self.nll[run, places] = said.nll.astype(np.float64)

    def vote(self, sample: int) -> Vote:
        """Of one sample."""
        there = self.predicted[:, sample] >= 0
        classes, shares = self.predicted[there, sample], self.probability[there, sample]
        counts = {int(k): (int((classes == k).sum()), float(shares[classes == k].mean())) for k in np.unique(classes)}
        k, (n_for, share) = max(counts.items(), key=lambda item: (*item[1], -item[0]))
        return Vote(k, share, n_for, int(there.sum()))


def class_row(name: str, label: str, runs: Mapping[int, ClassPredictions], n: int, *, every: bool = False) -> ClassRow:
    """One row from what its runs said.

    Args:
        runs: seed -> predictions of at least one sample, one number of classes; samples are matched by `SampleKey`.
        n: samples of each kind, 0 or more.
        every: see `ClassRow`.
    """
    seeds = sorted(runs)
    keys: dict[SampleKey, int] = {}
    places = [np.array([keys.setdefault(key, len(keys)) for key in _keys(runs[seed], seed)]) for seed in seeds]
    truth = np.array([key.truth for key in keys])
    outputs: dict[str, _Votes] = {}
    for run, seed in enumerate(seeds):
        for place, (output, said) in enumerate(runs[seed].outputs.items()):
            # The first output is the one that is scored, whatever it is called.
            votes = outputs.setdefault("" if place == 0 else output, _Votes(len(seeds), len(keys)))
            votes.put(run, places[run], said)
    main = outputs.pop("")
    there = main.predicted >= 0
    right = main.predicted == truth
    row = _Row(list(keys), seeds, main, outputs, there, right)
    order = row.order()
    worst = order[:n]
    best = order[max(len(order) - n, len(worst)) :][::-1]
    n_classes = next(iter(runs.values())).n_classes
    wrong_shares = np.where(there & ~right, main.probability, -1.0).max(axis=0)
    errors = [int(i) for i in np.flatnonzero(wrong_shares >= 0)]
    confident = sorted(errors, key=lambda i: (-wrong_shares[i], row.rank[i]))[:n]
    confusion = np.bincount((truth * n_classes + main.predicted)[there], minlength=n_classes**2)
    return ClassRow(
        name=name,
        label=label,
        seeds=tuple(seeds),
        accuracy=tuple(100 * float(right[run, there[run]].mean()) for run in range(len(seeds))),
        n_samples=len(keys),
        n_always=int((right | ~there).all(axis=0).sum()),
        n_never=int((~right).all(axis=0).sum()),
        worst=tuple(map(row.sample, worst)),
        confident=tuple(map(row.sample, confident)),
        best=tuple(map(row.sample, best)),
        confusion=confusion.reshape(n_classes, n_classes),
        every=tuple(map(row.sample, order)) if every else (),
    )


def _keys(said: ClassPredictions, seed: int) -> list[SampleKey]:
    own = seed if said.drawn else None
    return [
        SampleKey(int(index), name, int(truth), own)
        for index, name, truth in zip(said.indices, said.ids, said.labels, strict=True)
    ]


def _order(key: SampleKey) -> tuple[int, int, str, int]:
    return key.place, -1 if key.seed is None else key.seed, key.id, key.truth


class _Row:
    """The samples of a row, ranked."""

    def __init__(
        self, keys: Sequence[SampleKey], seeds: Sequence[int], main: _Votes, outputs: Mapping[str, _Votes],
        there: np.ndarray, right: np.ndarray,
    ) -> None:  # fmt: skip
        self.keys, self.seeds, self.main, self.outputs = keys, seeds, main, outputs
        self.there, self.right = there, right
        counts = there.sum(axis=0)
        self.mean_true = np.where(there, np.exp(-np.where(there, main.nll, 0.0)), 0.0).sum(axis=0) / counts
        self.mean_nll = np.where(there, main.nll, 0.0).sum(axis=0) / counts
        self.rank = {int(sample): rank for rank, sample in enumerate(self.order())}

    def order(self) -> list[int]:
        """Samples from worst to best: by mean probability, then by mean loss, which tells 0 from 0 and 1 from 1."""
        every = range(len(self.keys))
        return sorted(every, key=lambda i: (self.mean_true[i], -self.mean_nll[i], *_order(self.keys[i])))

    def sample(self, i: int) -> ClassSample:
        """What is told of a sample."""
        said = tuple(
            Said(
                seed=seed,
                predicted=int(self.main.predicted[run, i]),
                probability=float(self.main.probability[run, i]),
                true_probability=math.exp(-self.main.nll[run, i]),
                right=bool(self.right[run, i]),
            )
            for run, seed in enumerate(self.seeds)
            if self.there[run, i]
        )
        return ClassSample(
            key=self.keys[i],
            said=said,
            vote=self.main.vote(i),
            mean_true=float(self.mean_true[i]),
            error_rate=sum(not own.right for own in said) / len(said),
            others={name: v.vote(i) for name, v in self.outputs.items() if (v.predicted[:, i] >= 0).any()},
        )
