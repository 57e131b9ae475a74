"""The test scenes of a study and what its runs predicted there, as two kinds of npz file without pickle.

    results/<study>/samples.npz                        indices (n,), labels (n, h, w), picture/<modality> (n, h, w, 3),
                                                       meta: JSON in an array of one string
    results/<study>/runs/<run_id>/predictions.npz      indices (n,), prediction/<subset> (n, h, w)

`indices` are places in the scored split; predictions are matched to scenes by them, so that a run taken over
from another study is shown where it has the scene and left out where it has not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.results.npz import BROKEN, MAX_BYTES, integers, read_arrays, write_arrays
from mmablate.results.store import StudyStore
from mmablate.results.subject_scores import read_subject_scores

SAMPLES = "samples.npz"
PREDICTIONS = "predictions.npz"

_PICTURE = "picture/"
_PREDICTION = "prediction/"


@dataclass(frozen=True, eq=False)
class Samples:
    """Scenes of one split, as shown to people.

    Attributes:
        split: name of the split, e.g. "test".
        indices: int64 (n,), places in the split.
        labels: integers (n, h, w); class, or `ignore_label`.
        pictures: modality -> uint8 RGB (n, h, w, 3), in the order of print.
        ids, conditions: one a scene, as in `mmablate.data.base.SampleInfo`.
        class_names, colours: one a class; RGB 0-255.
        ignore_label: label of the pixels that do not count.
        synthetic: the data were generated, not measured.
        scans: a scene is one slice of a 3D scan, whose scores are of the whole scan.
    """

    split: str
    indices: np.ndarray
    labels: np.ndarray
    pictures: Mapping[str, np.ndarray]
    ids: tuple[str, ...]
    conditions: tuple[Mapping[str, str], ...]
    class_names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ignore_label: int
    synthetic: bool
    scans: bool = False

    def __post_init__(self) -> None:
        shape = np.shape(self.labels)
        n = len(self.indices)
        if len(shape) != 3 or shape[0] != n or np.shape(self.indices) != (n,):
            raise ValueError(f"labels must be (n, h, w) for {n} indices, not {shape}")
        for name, picture in self.pictures.items():
            if picture.shape != (*shape, 3) or picture.dtype != np.uint8:
                raise ValueError(f"picture {name!r} must be uint8 {(*shape, 3)}, not {picture.dtype} {picture.shape}")
        if len(self.ids) != n or len(self.conditions) != n:
            raise ValueError(f"{len(self.ids)} ids and {len(self.conditions)} conditions for {n} scenes")
        if len(self.colours) != len(self.class_names):
            raise ValueError(f"{len(self.colours)} colours for {len(self.class_names)} classes")


@dataclass(frozen=True, eq=False)
class ShownRow:
    """Predictions of one run for the scenes of a `Samples`.

    Attributes:
        label: of the table's row.
        run_id: the run.
        predictions: subset -> one class map (h, w) a scene, None where the run has not that scene.
        scores: of scans, subset -> column -> score of the whole scan, one a scene; {} where it was not scored.
    """

    label: str
    run_id: str
    predictions: Mapping[str, tuple[np.ndarray | None, ...]]
    scores: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shown:
    """The scenes of a study and the rows that have predictions of them."""

    samples: Samples
    rows: tuple[ShownRow, ...]


def write_samples(folder: Path, samples: Samples) -> None:
    """Writes samples.npz into a study's folder, atomically.

    Raises:
        StoreError: it cannot be written.
        ValueError: labels outside int16.
    """
    meta = {
        "split": samples.split,
        "ids": list(samples.ids),
        "conditions": [dict(some) for some in samples.conditions],
        "class_names": list(samples.class_names),
        "colours": [[int(value) for value in colour] for colour in samples.colours],
        "ignore_label": int(samples.ignore_label),
        "synthetic": bool(samples.synthetic),
    }
    meta |= {"scans": True} if samples.scans else {}
    arrays = {
        "indices": np.asarray(samples.indices, dtype=np.int64),
        "labels": _small(samples.labels),
        **{_PICTURE + name: picture for name, picture in samples.pictures.items()},
        "meta": np.array(json.dumps(meta, ensure_ascii=False)),
    }
    write_arrays(folder / SAMPLES, arrays)


def write_predictions(run_folder: Path, indices: Sequence[int], predictions: Mapping[str, np.ndarray]) -> None:
    """Writes predictions.npz into a run's folder, atomically.

    Args:
        indices: places of the scenes in the scored split, (n,).
        predictions: subset -> class maps (n, h, w), any integer dtype, values within int16; a map that is negative
            throughout stands for none.

    Raises:
        StoreError: it cannot be written.
        ValueError: shapes that do not fit `indices`, or values outside int16.
    """
    places = np.asarray(indices, dtype=np.int64)
    for name, maps in predictions.items():
        if np.ndim(maps) != 3 or len(maps) != len(places):
            raise ValueError(f"prediction {name!r} must be (n, h, w) for {len(places)} scenes, not {np.shape(maps)}")
    write_arrays(
        run_folder / PREDICTIONS,
        {"indices": places, **{_PREDICTION + name: _small(maps) for name, maps in predictions.items()}},
    )


def read_samples(folder: Path) -> Samples | None:
    """samples.npz of a study's folder; None where it is missing or damaged."""
    try:
        arrays = _read(folder / SAMPLES)
        meta = json.loads(str(arrays["meta"][()]))
        return Samples(
            split=str(meta["split"]),
            indices=integers(arrays["indices"], 1),
            labels=integers(arrays["labels"], 3),
            pictures={key.removeprefix(_PICTURE): arrays[key] for key in arrays if key.startswith(_PICTURE)},
            ids=tuple(str(name) for name in _list(meta["ids"])),
            conditions=tuple(_strings(some) for some in _list(meta["conditions"])),
            class_names=tuple(str(name) for name in _list(meta["class_names"])),
            colours=tuple(_colour(colour) for colour in _list(meta["colours"])),
            ignore_label=int(meta["ignore_label"]),
            synthetic=bool(meta["synthetic"]),
            scans=bool(meta.get("scans", False)),
        )
    except BROKEN:
        return None


def read_shown(store: StudyStore, rows: Sequence[tuple[str, str]]) -> Shown | None:
    """The scenes of a study with the predictions of its rows.

    Args:
        store: of the study.
        rows: (label of the row, run_id) in the order of print; a run may serve several rows.

    Returns:
        The rows that have a readable prediction of at least one scene; None where there is no such row, or no
        readable samples.npz. Files that are missing, damaged or of another size are left out.
    """
    samples = read_samples(store.folder)
    if samples is None:
        return None
    found = [(label, run_id, _predictions(store.run_folder(run_id), samples)) for label, run_id in rows]
    shown = tuple(
        ShownRow(label, run_id, maps, _scores(store.run_folder(run_id), samples, tuple(maps)))
        for label, run_id, maps in found
        if maps
    )
    return Shown(samples, shown) if shown else None


def _predictions(folder: Path, samples: Samples) -> dict[str, tuple[np.ndarray | None, ...]]:
    """Subset -> map a scene, of those subsets whose maps have the size of the labels."""
    try:
        arrays = _read(folder / PREDICTIONS)
        places = {int(index): place for place, index in enumerate(integers(arrays["indices"], 1))}
    except BROKEN:
        return {}
    own = [places.get(int(index)) for index in samples.indices]
    if all(place is None for place in own):
        return {}
    shape = (len(arrays["indices"]), *samples.labels.shape[1:])
    return {
        key.removeprefix(_PREDICTION): tuple(
            None if place is None or _is_none(maps[place]) else maps[place] for place in own
        )
        for key, maps in arrays.items()
        if key.startswith(_PREDICTION) and maps.shape == shape and np.issubdtype(maps.dtype, np.integer)
    }


def _is_none(classes: np.ndarray) -> bool:
    return classes.size > 0 and int(classes.max()) < 0


def _scores(
    folder: Path, samples: Samples, subsets: Sequence[str]
) -> dict[str, tuple[Mapping[str, float], ...]]:
    """Subset -> scores a scene, of those scenes that the run knows by the same id."""
    found = read_subject_scores(folder) if samples.scans else None
    if found is None:
        return {}
    places = [int(index) for index in samples.indices]
    same = [0 <= p < len(found.ids) and found.ids[p] == name for p, name in zip(places, samples.ids, strict=True)]
    return {
        subset: tuple(found.of(p, subset) if own else {} for p, own in zip(places, same, strict=True))
        for subset in subsets
    }


def _read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz; raises one of `BROKEN`."""
    return read_arrays(path, MAX_BYTES)


def _small(values: np.ndarray) -> np.ndarray:
    """The same integers as uint8 where they fit, else int16."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"classes must be integers, not {array.dtype}")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in (np.uint8, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    raise ValueError(f"classes from {low} to {high} do not fit in int16")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("not a mapping")
    return {str(key): str(item) for key, item in value.items()}


def _colour(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in _list(value))
    if not all(0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError("not a colour")
    return red, green, blue
