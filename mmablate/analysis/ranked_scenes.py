"""The scenes that a segmentation study has kept, row by row, from the worst to the best."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmablate.analysis.class_samples import chosen_rows
from mmablate.analysis.forms import fault
from mmablate.analysis.ranked_subjects import RankedSubjects, rank_subjects
from mmablate.analysis.runs import by_row
from mmablate.analysis.scenes import Scene, Scenes, scenes_of
from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.shown import read_shown
from mmablate.results.subject_scores import read_subject_scores


@dataclass(frozen=True, eq=False)
class RankedRow:
    """The scenes of one row.

    Attributes:
        name, label: of the row.
        seeds: whose runs have predictions, ascending.
        scenes: with the predictions of the first seed, the worst scene first.
        scores: one a scene, percent: mIoU of the scene, or Dice of the scan that it is a slice of, mean over subsets
            and seeds; None where there is none.
        by_seed: one a scene: seed -> mean over subsets.
        n_left_out: scenes between the worst and the best that are not shown.
        subjects: of 3D scans, those of the whole split in the order of their Dice; None where no scores were kept.
    """

    name: str
    label: str
    seeds: tuple[int, ...]
    scenes: Scenes
    scores: tuple[float | None, ...]
    by_seed: tuple[Mapping[int, float | None], ...]
    n_left_out: int
    subjects: RankedSubjects | None = None


@dataclass(frozen=True, eq=False)
class RankedScenes:
    """What is looked at of a segmentation study.

    Attributes:
        rows: in the order of the table, of those asked for that have predictions, or scores of single subjects.
        missing: labels of rows that were asked for and have none.
        synthetic: the data were generated.
    """

    rows: tuple[RankedRow, ...]
    missing: tuple[str, ...]
    synthetic: bool


def load_ranked_scenes(
    store: StudyStore, n: int = 8, *, rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> RankedScenes:
    """The kept scenes of every row.

    Args:
        n: scenes at the worse end, and as many at the better end.
        rows, seeds: as in `mmablate.analysis.class_samples.load_class_sheet`.

    Raises:
        StoreError: no study there, or one whose file is damaged.
        UsageError: no such row.
    """
    study = store.read_study()
    if wrong := fault(study):
        raise StoreError(f"{store.folder / 'study.json'}: {wrong}")
    records, extra, _ = by_row(study, store.records()[0])
    found, missing = [], []
    for name, label in chosen_rows(study, rows, extra).items():
        runs = {
            record.seed: record.run_id
            for record in records.get(name, ())
            if record.status == "ok" and (seeds is None or record.seed in seeds)
        }
        subjects = _subjects(store, runs, n)
        row = _row(store, study, name, label, runs, n)
        if row is not None:
            row = replace(row, subjects=subjects)
        elif subjects is not None:
            row = _without_pictures(study, name, label, subjects)
        if row is None:
            missing.append(label)
        else:
            found.append(row)
    return RankedScenes(tuple(found), tuple(missing), any(row.scenes.synthetic for row in found))


def _row(
    store: StudyStore, study: Mapping[str, Any], name: str, label: str, runs: Mapping[int, str], n: int
) -> RankedRow | None:
    shown = read_shown(store, [(label, runs[seed]) for seed in sorted(runs)])
    if shown is None:
        return None
    seeds = {run_id: seed for seed, run_id in runs.items()}
    every = scenes_of(shown, study, seeds)
    if every is None:
        return None
    own = tuple(seeds[row.run_id] for row in shown.rows)
    scored = [(scene, {seed: _mean_score(scene, place) for place, seed in enumerate(own)}) for scene in every.scenes]
    # Scenes without a label come last: they are neither good nor bad.
    scored.sort(key=lambda item: (_mean(item[1]) is None, _mean(item[1]) or 0.0, item[0].id))
    kept = scored if len(scored) <= 2 * n else [*scored[:n], *scored[len(scored) - n :]]
    scenes = tuple(replace(scene, predictions=scene.predictions[:1]) for scene, _ in kept)
    return RankedRow(
        name=name,
        label=label,
        seeds=own,
        scenes=replace(every, rows=(label,), seeds=own[:1], scenes=scenes),
        scores=tuple(_mean(by_seed) for _, by_seed in kept),
        by_seed=tuple(by_seed for _, by_seed in kept),
        n_left_out=len(scored) - len(kept),
    )


def _subjects(store: StudyStore, runs: Mapping[int, str], n: int) -> RankedSubjects | None:
    """What the runs (seed -> run) have kept of single subjects."""
    read = {seed: read_subject_scores(store.run_folder(run_id)) for seed, run_id in runs.items()}
    return rank_subjects({seed: own for seed, own in read.items() if own is not None}, n)


def _without_pictures(study: Mapping[str, Any], name: str, label: str, subjects: RankedSubjects) -> RankedRow:
    about, data = study.get("dataset") or {}, study.get("data") or {}
    synthetic = bool(about.get("synthetic"))
    none = Scenes(str(data.get("scored_split") or "test"), (label,), (), (), (), (), (), -1, synthetic, scans=True)
    return RankedRow(name, label, subjects.seeds, none, (), (), 0, subjects)


def _mean_score(scene: Scene, run: int) -> float | None:
    values = [cell.score for cell in scene.predictions[run] if cell is not None and cell.score is not None]
    return statistics.fmean(values) if values else None


def _mean(by_seed: Mapping[int, float | None]) -> float | None:
    values = [value for value in by_seed.values() if value is not None]
    return statistics.fmean(values) if values else None
