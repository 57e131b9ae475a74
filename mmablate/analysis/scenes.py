"""Single test scenes: which runs are shown, and the score of each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmablate.results import StudyStore
from mmablate.results.shown import Samples, Shown, ShownRow, read_shown

DICE, SURFACE = "Dice", "HD95"
"""Columns of the scores of a subject: the mean over its regions, and what begins with the name of a distance."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one run says of one scene from one subset of the modalities.

    Attributes:
        classes: class map (h, w).
        score: percent. mIoU over the classes in the truth or the prediction of this scene, None where no pixel is
            labelled: the mean over scenes is not the score of a table, which pools the pixels of all. Of a slice of a
            scan, Dice of the whole scan, which a table averages; None where that was not kept.
        accuracy: percent of the labelled pixels, None likewise; of a slice None.
        regions: of a slice, region -> Dice of the whole scan, percent.
    """

    classes: np.ndarray
    score: float | None
    accuracy: float | None
    regions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene with the predictions of every row.

    Attributes:
        id, conditions: as in `mmablate.data.base.SampleInfo`.
        pictures: modality -> uint8 RGB (h, w, 3).
        labels: integers (h, w); class, or the ignored label.
        predictions: a row, then a subset: a prediction or None, in the order of `Scenes.rows` and `.subsets`.
    """

    id: str
    conditions: Mapping[str, str]
    pictures: Mapping[str, np.ndarray]
    labels: np.ndarray
    predictions: tuple[tuple[Prediction | None, ...], ...]


@dataclass(frozen=True, eq=False)
class Scenes:
    """The shown scenes of a study.

    Attributes:
        split: they belong to, e.g. "test".
        rows: labels of the rows, in the order of the table.
        seeds: of the runs shown, ascending; one where all rows show the same.
        subsets: in the order of the table.
        scenes: those that at least one row has a prediction of.
        class_names, colours, ignore_label, synthetic, scans: as in `Samples`.
    """

    split: str
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    subsets: tuple[str, ...]
    scenes: tuple[Scene, ...]
    class_names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ignore_label: int
    synthetic: bool
    scans: bool = False


def scene_scores(
    labels: np.ndarray, prediction: np.ndarray, ignore_label: int
) -> tuple[float, float] | tuple[None, None]:
    """mIoU and pixel accuracy of one scene in percent, over its labelled pixels.

    Args:
        labels, prediction: integers (h, w).

    Returns:
        (None, None) where no pixel is labelled.
    """
    kept = labels != ignore_label
    truth, said = labels[kept].astype(np.int64), prediction[kept].astype(np.int64)
    if truth.size == 0:
        return None, None
    classes = np.union1d(truth, said)
    shares = [((truth == c) & (said == c)).sum() / ((truth == c) | (said == c)).sum() for c in classes]
    return 100 * float(np.mean(shares)), 100 * float((truth == said).mean())


def load_scenes(store: StudyStore) -> Scenes | None:
    """The scenes of a study, with the first planned seed of each row; None where none were kept.

    Raises:
        StoreError: no study there.
    """
    study = store.read_study()
    runs = first_runs(study)
    shown = read_shown(store, [(label, run_id) for label, run_id, _ in runs])
    return scenes_of(shown, study, {run_id: seed for _, run_id, seed in runs}) if shown else None


def first_runs(study: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Label, run and seed of each row's smallest planned seed, in the order of the table."""
    found = []
    for spec in study["table"]["rows"]:
        entries = [e for e in study["plan"] if e["role"] == "student" and spec["name"] in e["rows"]]
        if entries:
            first = min(entries, key=lambda entry: entry["seed"])
            found.append((spec.get("label") or spec["name"], first["run_id"], first["seed"]))
    return found


def scenes_of(shown: Shown, study: Mapping[str, Any], seeds: Mapping[str, int]) -> Scenes | None:
    """The scenes with the predictions of these rows; None where no row has one.

    Args:
        study: of study.json, for the order of the subsets.
        seeds: run -> its seed.
    """
    samples = shown.samples
    there = dict.fromkeys(subset for row in shown.rows for subset in row.predictions)
    known = [column for column in study["table"]["columns"] if column in there]
    subsets = (*known, *(subset for subset in there if subset not in known))
    scenes = [_scene(shown, place, subsets) for place in range(len(samples.indices))]
    kept = tuple(scene for scene in scenes if any(cell for row in scene.predictions for cell in row))
    if not kept:
        return None
    return Scenes(
        split=samples.split,
        rows=tuple(row.label for row in shown.rows),
        seeds=tuple(sorted({seeds[row.run_id] for row in shown.rows})),
        subsets=subsets,
        scenes=kept,
        class_names=samples.class_names,
        colours=samples.colours,
        ignore_label=samples.ignore_label,
        synthetic=samples.synthetic,
        scans=samples.scans,
    )


def _scene(shown: Shown, place: int, subsets: Sequence[str]) -> Scene:
    samples = shown.samples
    return Scene(
        id=samples.ids[place],
        conditions=samples.conditions[place],
        pictures={name: pictures[place] for name, pictures in samples.pictures.items()},
        labels=samples.labels[place],
        predictions=tuple(tuple(_prediction(samples, place, row, subset) for subset in subsets) for row in shown.rows),
    )


def _prediction(samples: Samples, place: int, row: ShownRow, subset: str) -> Prediction | None:
    maps = row.predictions.get(subset)
    classes = None if maps is None else maps[place]
    if classes is None:
        return None
    if samples.scans:
        own = row.scores[subset][place] if subset in row.scores else {}
        regions = {name: value for name, value in own.items() if name != DICE and not name.startswith(SURFACE)}
        return Prediction(classes, own.get(DICE), None, regions)
    return Prediction(classes, *scene_scores(samples.labels[place], classes, samples.ignore_label))
