"""What a classification run said of every sample of the scored split: class_predictions.npz in its folder, no pickle.

    indices                    int64 (n,), places in the scored split
    labels                     int32 (n,)
    top/<output>               int32 (n, k), the most probable classes, the first is the one predicted; k = min(5, K)
    top_probability/<output>   float32 (n, k)
    nll/<output>               float32 (n,), -ln of the true class's probability, in nats
    probability/<output>       float16 (n, K), only where all outputs together have at most `MOST_VALUES` of them
    meta                       JSON in an array of one string

An output is called as the table's column ("Acc"), or "unimodal/<modality>".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.results.npz import BROKEN, integers, read_arrays, write_arrays

CLASS_PREDICTIONS = "class_predictions.npz"
TOP = 5
"""The most probable classes that are kept of every sample."""
MOST_VALUES = 5_000_000
"""Probabilities of a file, over samples, classes and outputs (10 MB); of larger ones only the `TOP` are kept."""

_TOLERANCE = 1e-3  # of a probability in float16, which may be rounded up


@dataclass(frozen=True, eq=False)
class ClassOutput:
    """One output of a run.

    Attributes:
        top: int (n, k), the most probable classes, the most probable first; equal ones by their number.
        top_probability: float32 (n, k), theirs.
        nll: float32 (n,), -ln of the probability of the true class, nats.
        probability: float16 (n, K) of all classes; None where there were too many.
    """

    top: np.ndarray
    top_probability: np.ndarray
    nll: np.ndarray
    probability: np.ndarray | None

    @property
    def predicted(self) -> np.ndarray:
        """The predicted classes, (n,)."""
        return np.asarray(self.top[:, 0])


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """What one run said.

    Attributes:
        indices: int64 (n,), places in the scored split.
        labels: int (n,), the true classes.
        ids: one a sample, as in `mmablate.data.base.SampleInfo`.
        n_classes: K.
        outputs: name -> output; the first is the one that is scored.
        drawn: the data are drawn anew for every seed, so that a sample of one seed is none of another.
        synthetic: the data were generated, not measured.
    """

    indices: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    n_classes: int
    outputs: Mapping[str, ClassOutput]
    drawn: bool
    synthetic: bool


def write_class_predictions(
    folder: Path,
    *,
    indices: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    ids: Sequence[str],
    logits: Mapping[str, np.ndarray],
    synthetic: bool,
    drawn: bool = False,
    durable: bool = True,
) -> None:
    """Writes class_predictions.npz into a run's folder, atomically; equal arguments give equal bytes.

    The softmax is computed in float64 and kept as in the head of this module.

    Args:
        folder: of the run; it is there.
        indices: places in the scored split, (n,), each once.
        labels: true classes, (n,), 0 to K-1.
        ids: of the samples, (n,).
        logits: output -> finite logits (n, K), any float type; the first is the output that is scored, by the name of
            its column, e.g. "Acc"; others are e.g. "unimodal/audio".
        synthetic: the data were generated, not measured.
        drawn: the data are drawn anew for every seed (`DatasetEntry.seeded`).
        durable: see `write_atomic`.

    Raises:
        StoreError: it cannot be written.
        ValueError: shapes that do not fit together, a label that is no class, a logit that is not finite.
    """
    places, truth = np.asarray(indices, dtype=np.int64), np.asarray(labels, dtype=np.int32)
    n_classes = _check(places, truth, ids, logits)
    dense = len(places) * n_classes * len(logits) <= MOST_VALUES
    arrays: dict[str, np.ndarray] = {"indices": places, "labels": truth}
    for name, values in logits.items():
        arrays |= _output(name, values, truth, dense=dense)
    meta = {
        "format": 1,
        "outputs": list(logits),
        "n_classes": n_classes,
        "ids": [str(own) for own in ids],
        "drawn": bool(drawn),
        "synthetic": bool(synthetic),
    }
    # Escaped: an array of one string loses a trailing NUL, and UTF-8 has no half characters.
    arrays["meta"] = np.array(json.dumps(meta))
    write_arrays(folder / CLASS_PREDICTIONS, arrays, durable=durable)


def _check(places: np.ndarray, truth: np.ndarray, ids: Sequence[str], logits: Mapping[str, np.ndarray]) -> int:
    """The number of classes."""
    n = len(places)
    if places.ndim != 1 or truth.shape != (n,) or len(ids) != n:
        raise ValueError(f"one label and id a sample, got {places.shape}, {truth.shape} and {len(ids)} ids")
    if len(np.unique(places)) != n or (n and places.min() < 0):
        raise ValueError("indices are 0 or more, and each occurs once")
    if not logits:
        raise ValueError("no output")
    sizes = {np.shape(values)[1:] for values in logits.values()}
    if any(np.shape(v)[:1] != (n,) for v in logits.values()) or len(sizes) > 1 or len(size := sizes.pop()) != 1:
        shapes = {name: np.shape(values) for name, values in logits.items()}
        raise ValueError(f"logits must be (n, K) for {n} samples, one K for all outputs, not {shapes}")
    if size[0] < 1 or (n and not (0 <= truth.min() and truth.max() < size[0])):
        raise ValueError(f"labels must be 0 to {size[0] - 1}")
    for name, values in logits.items():
        if not np.isfinite(values).all():
            raise ValueError(f"output {name!r}: a logit that is not finite")
    return int(size[0])


def _output(name: str, logits: np.ndarray, truth: np.ndarray, *, dense: bool) -> dict[str, np.ndarray]:
    """The arrays of one output."""
    values = np.asarray(logits, dtype=np.float64)
    log_p = values - values.max(axis=1, keepdims=True)
    others = np.exp(log_p)
    np.put_along_axis(others, values.argmax(axis=1)[:, None], 0.0, axis=1)
    log_p -= np.log1p(others.sum(axis=1, keepdims=True))  # a loss of 1e-26 is not 0 yet
    # By the logits as they came: what is predicted here is what was scored, also where a softmax rounds to a tie.
    top = np.argsort(-values, axis=1, kind="stable")[:, :TOP].astype(np.int32)
    arrays = {
        f"top/{name}": top,
        f"top_probability/{name}": np.exp(np.take_along_axis(log_p, top, axis=1)).astype(np.float32),
        f"nll/{name}": np.abs(np.take_along_axis(log_p, truth[:, None].astype(np.int64), axis=1))[:, 0].astype("f4"),
    }
    if dense:
        arrays[f"probability/{name}"] = np.exp(log_p).astype(np.float16)
    return arrays


def read_class_predictions(folder: Path) -> tuple[ClassPredictions | None, str]:
    """What the run of this folder said.

    Returns:
        None where there is no file or it is damaged, with the reason; the reason is "" where no file is there, and
        names the folder of the run, not that of the machine.
    """
    path = folder / CLASS_PREDICTIONS
    try:
        return _read(read_arrays(path)), ""
    except FileNotFoundError:
        return None, ""
    except BROKEN as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return None, f"{folder.name}/{CLASS_PREDICTIONS}: damaged ({told.splitlines()[0][:200]})"


def _read(arrays: Mapping[str, np.ndarray]) -> ClassPredictions:
    meta = json.loads(str(arrays["meta"][()]))
    indices, labels = integers(arrays["indices"], 1), integers(arrays["labels"], 1)
    ids, names = [tuple(str(own) for own in meta[key]) for key in ("ids", "outputs")]
    n, n_classes = len(indices), int(meta["n_classes"])
    if not (len(labels) == len(ids) == n and len(np.unique(indices)) == n and names):
        raise ValueError("indices, labels and ids do not fit together")
    if n and not (indices.min() >= 0 and labels.min() >= 0 and labels.max() < n_classes):
        raise ValueError("an index or a label out of range")
    return ClassPredictions(
        indices=indices.astype(np.int64),
        labels=labels.astype(np.int64),
        ids=ids,
        n_classes=n_classes,
        outputs={name: _read_output(arrays, name, n, n_classes) for name in names},
        drawn=bool(meta["drawn"]),
        synthetic=bool(meta["synthetic"]),
    )


def _read_output(arrays: Mapping[str, np.ndarray], name: str, n: int, n_classes: int) -> ClassOutput:
    top = integers(arrays[f"top/{name}"], 2).astype(np.int64)
    shape = (n, min(TOP, n_classes))
    shares = _shares(arrays[f"top_probability/{name}"], shape, name)
    nll = _floats(arrays[f"nll/{name}"], (n,), name)
    if top.shape != shape or (n and not (top.min() >= 0 and top.max() < n_classes)):
        raise ValueError(f"output {name!r}: classes out of range")
    if (nll < 0).any():
        raise ValueError(f"output {name!r}: a probability above 1")
    whole: Any = arrays.get(f"probability/{name}")
    return ClassOutput(top, shares, nll, None if whole is None else _shares(whole, (n, n_classes), name))


def _floats(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if values.shape != shape or not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise ValueError(f"output {name!r}: not finite numbers {shape}")
    return values


def _shares(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    found = _floats(values, shape, name)
    if found.size and (found.min() < 0 or found.max() > 1 + _TOLERANCE):
        raise ValueError(f"output {name!r}: probabilities outside 0 to 1")
    return found
