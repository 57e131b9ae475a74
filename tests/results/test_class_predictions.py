"""class_predictions.npz: what is written reads back, and damage is named, never followed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from mmablate.results import class_predictions as module
from mmablate.results.class_predictions import CLASS_PREDICTIONS, read_class_predictions, write_class_predictions


def put(folder: Path, n: int = 7, k: int = 4, seed: int = 0, **changes: Any) -> dict[str, Any]:
    stream = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "indices": stream.permutation(n), "labels": stream.integers(0, k, n), "ids": [f"s{i}" for i in range(n)],
        "logits": {"Acc": stream.normal(size=(n, k)).astype(np.float32), "unimodal/a": stream.normal(size=(n, k))},
        "synthetic": True, **changes,
    }  # fmt: skip
    write_class_predictions(folder, **fields)
    return fields


def rewrite(folder: Path, change: Any) -> None:
    path = folder / CLASS_PREDICTIONS
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


@given(
    logits=hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                      elements=st.floats(-1e4, 1e4, width=32)),
    data=st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, logits: np.ndarray, data: st.DataObject) -> None:
    """Against scipy's log-softmax; the predicted class is numpy's argmax of the logits as given."""
    folder = tmp_path_factory.mktemp("run")
    n, k = logits.shape
    labels = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    ids = data.draw(st.lists(st.text(max_size=5), min_size=n, max_size=n))
    indices = data.draw(st.permutations(range(n)))
    write_class_predictions(folder, indices=indices, labels=labels, ids=ids, logits={"Acc": logits}, synthetic=False)
    found, reason = read_class_predictions(folder)
    assert reason == ""
    assert found is not None
    assert found.ids == tuple(ids)
    assert found.indices.tolist() == list(indices)
    assert found.labels.tolist() == labels.tolist()
    own = found.outputs["Acc"]
    expected = log_softmax(logits.astype(np.float64), axis=1)
    assert own.predicted.tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(own.nll, -expected[np.arange(n), labels], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(own.probability, np.exp(expected), atol=5e-4)
    np.testing.assert_allclose(own.top_probability, np.take_along_axis(np.exp(expected), own.top, 1), rtol=1e-5, atol=1e-30)
    assert (np.diff(own.top_probability, axis=1) <= 0).all()


def test_confident_samples_still_differ(tmp_path: Path) -> None:
    """In float16 both probabilities are 1."""
    put(tmp_path, 2, 2, labels=[0, 0], logits={"Acc": np.array([[20.0, 0.0], [30.0, 0.0]])})
    found, _ = read_class_predictions(tmp_path)
    assert found is not None
    own = found.outputs["Acc"]
    assert own.probability[0, 0] == own.probability[1, 0] == 1
    assert own.nll[0] > own.nll[1] > 0


def test_above_the_bound_the_most_probable_classes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 5, 9)
    dense, _ = read_class_predictions(tmp_path)
    size = (tmp_path / CLASS_PREDICTIONS).stat().st_size
    monkeypatch.setattr(module, "MOST_VALUES", 2 * 5 * 9 - 1)
    put(tmp_path, 5, 9)
    found, reason = read_class_predictions(tmp_path)
    assert reason == ""
    assert found.outputs["Acc"].probability is None
    assert (tmp_path / CLASS_PREDICTIONS).stat().st_size < size
    for name, own in found.outputs.items():
        assert own.top.shape == (5, 5)
        for field in ("top", "top_probability", "nll"):
            assert np.array_equal(getattr(own, field), getattr(dense.outputs[name], field))


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    put(tmp_path)
    first = (tmp_path / CLASS_PREDICTIONS).read_bytes()
    put(tmp_path)
    assert (tmp_path / CLASS_PREDICTIONS).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [CLASS_PREDICTIONS]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": [0, 1]}, "one label and id"),
        ({"ids": ["x"]}, "one label and id"),
        ({"indices": [0, 0, 1, 2, 3, 4, 5]}, "each occurs once"),
        ({"indices": range(-1, 6)}, "0 or more"),
        ({"labels": [4] * 7}, "0 to 3"),
        ({"labels": [-1] * 7}, "0 to 3"),
        ({"logits": {}}, "no output"),
        ({"logits": {"Acc": np.zeros((6, 4))}}, "(n, K) for 7"),
        ({"logits": {"Acc": np.zeros(7)}}, "(n, K) for 7"),
        ({"logits": {"Acc": np.zeros((7, 4)), "b": np.zeros((7, 5))}}, "(n, K) for 7"),
        ({"logits": {"Acc": np.full((7, 4), np.nan)}}, "not finite"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as error:
        put(tmp_path, **changes)
    assert told in str(error.value)
    assert list(tmp_path.iterdir()) == []


def _meta(**changes: Any) -> Any:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["meta"] = np.array(json.dumps({**json.loads(str(arrays["meta"])), **changes}))

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("labels"),
        lambda a: a.pop("meta"),
        lambda a: a.pop("nll/Acc"),
        lambda a: a.update(indices=a["indices"][:3]),
        lambda a: a.update(indices=np.zeros_like(a["indices"])),
        lambda a: a.update(indices=a["indices"] - 1),
        lambda a: a.update(labels=a["labels"] + 4),
        lambda a: a.update(labels=a["labels"] * 1.0),
        lambda a: a.update({"top/Acc": a["top/Acc"] + 4}),
        lambda a: a.update({"top/Acc": a["top/Acc"][:, :1]}),
        lambda a: a.update({"top_probability/Acc": a["top_probability/Acc"] + 1}),
        lambda a: a.update({"probability/Acc": a["probability/Acc"][:, :2]}),
        lambda a: a.update({"nll/Acc": -1 - a["nll/Acc"]}),
        lambda a: a.update({"nll/Acc": a["nll/Acc"] * np.nan}),
        lambda a: a.update(meta=np.array("[1")),
        lambda a: a.update(meta=np.array("[" * 100_000)),
        lambda a: a.update(meta=np.array(3)),
        lambda a: a.update(meta=np.zeros(3)),
        _meta(ids=7),
        _meta(ids=["one"]),
        _meta(outputs=[]),
        _meta(outputs=["other"]),
        _meta(n_classes="x"),
        _meta(n_classes=10**30),
    ],
)
def test_another_form_is_named(tmp_path: Path, change: Any) -> None:
    run = tmp_path / "0123abcd"
    run.mkdir()
    put(run)
    assert read_class_predictions(run)[0] is not None
    rewrite(run, change)
    found, reason = read_class_predictions(run)
    assert found is None
    assert reason.startswith("0123abcd/class_predictions.npz: damaged (")
    assert str(tmp_path) not in reason


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_damage_never_shows_as_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("run")
    put(folder, 2, 3)
    path = folder / CLASS_PREDICTIONS
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "flip":
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        content = bytearray(data.draw(st.binary(max_size=60)))
    path.write_bytes(bytes(content))
    read_class_predictions(folder)


class _Trap:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a pickle was run')",)


def test_no_pickle_no_pipe_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / CLASS_PREDICTIONS
    assert read_class_predictions(tmp_path) == (None, "")
    trap = np.empty(7, dtype=object)
    trap[...] = _Trap()
    put(tmp_path)
    rewrite(tmp_path, lambda arrays: arrays.update(labels=trap))
    assert "damaged" in read_class_predictions(tmp_path)[1]
    path.write_bytes(pickle.dumps(_Trap()))
    assert "damaged" in read_class_predictions(tmp_path)[1]
    path.unlink()
    os.mkfifo(path)
    assert "not a file" in read_class_predictions(tmp_path)[1]
    path.unlink()
    put(tmp_path)
    real = module.read_arrays
    monkeypatch.setattr(module, "read_arrays", lambda path: real(path, 100))
    assert "unpacks to more" in read_class_predictions(tmp_path)[1]
