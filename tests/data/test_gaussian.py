"""Gaussian data: what copies what, what depends on what, and the draws of the published scripts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from mmablate.catalog import find
from mmablate.data.base import ClassificationData
from mmablate.data.gaussian import check_gaussian, normals, open_gaussian
from mmablate.errors import DataError

X1 = {"channels": 25, "decisive": [8, 18]}
X2 = {"channels": 50, "decisive": [0, 10]}


def arrays(data: ClassificationData, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return data.splits[split].batch(range(len(data.splits[split])))


def test_shapes_and_description() -> None:
    data = open_gaussian(seed=3, x1=X1, x2=X2)
    inputs, labels = arrays(data, "train")
    assert data.modalities == {"x1": (25,), "x2": (50,)}
    assert {name: (values.shape, values.dtype) for name, values in inputs.items()} == {
        "x1": ((200, 25), np.dtype("float32")),
        "x2": ((200, 50), np.dtype("float32")),
    }
    assert labels.shape == (200,)
    assert set(labels.tolist()) == {0, 1}
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 200, "test": 1000}
    assert list(open_gaussian(seed=3, x1=X1, x2=X2, n_val=7).splits) == ["train", "val", "test"]
    assert (data.n_classes, data.scored_split, data.synthetic) == (2, "test", True)


@pytest.mark.parametrize("normal", ["gaussian", "ones"])
@pytest.mark.parametrize("draws", ["keyed", "released"])
def test_the_decisive_channels_decide_the_label(normal: str, draws: str) -> None:
    """A modality that copies all of xs separates the classes exactly: a plain perceptron ends without an error."""
    view = {"channels": 8, "decisive": [0, 4], "at": 2}
    data = open_gaussian(seed=1, xs=4, x1=view, x2={**view, "at": 0}, normal=normal, draws=draws, n_train=60, n_test=5)
    inputs, labels = arrays(data, "train")
    sign, latent = 2 * labels - 1, inputs["x1"][:, 2:6].astype(np.float64)
    a = np.zeros(4)
    for _ in range(20000):
        wrong = np.flatnonzero(sign * (latent @ a) <= 0)
        if not len(wrong):
            break
        a += sign[wrong[0]] * latent[wrong[0]]
    assert not len(wrong)
    if normal == "ones":
        assert np.array_equal(labels, (latent.sum(axis=1) > 0).astype(int))
    assert np.array_equal(inputs["x2"][:, 0:4], inputs["x1"][:, 2:6])  # what both copy, they share


view_options = st.integers(1, 12).flatmap(
    lambda channels: st.fixed_dictionaries(
        {
            "channels": st.just(channels),
            "decisive": st.tuples(st.integers(0, channels), st.integers(0, channels)).map(sorted).map(list),
        }
    )
)


@settings(max_examples=40, deadline=None)
@given(one=view_options, other=view_options, seed=st.integers(0, 5))
def test_general_channels_are_those_that_hold_the_same_values(one: Any, other: Any, seed: int) -> None:
    data = open_gaussian(seed=seed, xs=12, x1=one, x2=other, n_train=20, n_test=1)
    inputs, _ = arrays(data, "train")
    equal = (inputs["x1"][:, :, None] == inputs["x2"][:, None, :]).all(axis=0)
    assert data.general["x1"] == tuple(np.flatnonzero(equal.any(axis=1)))
    assert data.general["x2"] == tuple(np.flatnonzero(equal.any(axis=0)))


@settings(max_examples=40, deadline=None)
@given(one=view_options, other=view_options, more=st.integers(0, 3))
def test_a_modality_depends_on_its_own_options_alone(one: Any, other: Any, more: int) -> None:
    alone = open_gaussian(seed=2, modalities=["x2"], xs=12, x2=X2 | {"decisive": [0, 10]}, n_train=9, n_test=4)
    both = [open_gaussian(seed=2, xs=12, x1=view, x2=X2, n_train=9, n_test=4) for view in (one, other)]
    assert alone.general == {}
    for split in ("train", "test"):
        inputs, labels = arrays(alone, split)
        for data in both:
            found = arrays(data, split)
            assert np.array_equal(inputs["x2"], found[0]["x2"])
            assert np.array_equal(labels, found[1])
        # A channel that both settings leave alone holds the same noise.
        noise = [set(range(view["channels"])) - set(range(*view["decisive"])) for view in (one, other)]
        kept = sorted(noise[0] & noise[1])
        first, second = (arrays(data, split)[0]["x1"][:, kept] for data in both)
        assert np.array_equal(first, second)
    assert np.array_equal(normals(2, "train/xs", 9, 12), normals(2, "train/xs", 9, 12 + more)[:, :12])


def test_streams_are_normal_and_independent() -> None:
    """Moments and distribution of 20 seeds' values; and no stream repeats another's."""
    keys = [(seed, f"{split}/{what}") for seed in range(20) for split in ("train", "test") for what in ("xs", "x1")]
    pools = np.stack([normals(seed, purpose, 500, 4) for seed, purpose in keys]).astype(np.float64)
    assert stats.kstest(pools.ravel(), "norm").pvalue > 1e-3
    between = np.corrcoef(pools.reshape(len(keys), -1))
    between[np.diag_indices(len(keys))] = 0
    assert np.abs(between).max() < 5 / np.sqrt(2000)  # 3,160 pairs: a 5 sigma one has a chance of 1 in 500
    with pytest.raises(ValueError, match="read-only"):
        normals(0, "train/xs", 500, 4)[0, 0] = 1


def test_batches_are_copies() -> None:
    inputs, _ = arrays(open_gaussian(seed=0, x1=X1, x2=X2), "train")
    inputs["x2"][:] = 0
    assert arrays(open_gaussian(seed=0, x1=X1, x2=X2), "train")[0]["x2"].any()


@pytest.mark.parametrize(("xs", "x1"), [(20, X1), (50, {"channels": 50, "decisive": [0, 30]})])
def test_released_draws_of_the_published_figures(xs: int, x1: dict[str, Any]) -> None:
    """The order told of the published script, with numpy's global generator as there."""
    data = open_gaussian(seed=6, xs=xs, x1=x1, x2=X2, draws="released")
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(6)  # noqa: NPY002
        a = np.random.randn(500)  # noqa: NPY002
        for split, n in (("train", 200), ("test", 1000)):
            if split == "test":
                np.random.seed(7)  # noqa: NPY002
            latent, x2 = np.random.randn(n, xs), np.random.randn(n, 50)  # noqa: NPY002
            teacher = np.random.randn(n, x1["channels"])  # noqa: NPY002
            x2[:, :10] = latent[:, :10]
            columns = slice(*x1["decisive"])
            teacher[:, columns] = latent[:, columns]
            inputs, labels = arrays(data, split)
            assert np.array_equal(labels, np.dot(latent, a[:xs]) > 0)
            assert np.array_equal(inputs["x1"], np.float32(teacher))
            assert np.array_equal(inputs["x2"], np.float32(x2))
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_released_draws_of_the_published_table() -> None:
    """One seed, xs, x1, x2 of the training set, then of the test set; a is all ones."""
    both = {"channels": 50, "decisive": [0, 15]}
    data = open_gaussian(seed=42, xs=15, x1=both, x2={"channels": 50, "decisive": [0, 5]}, normal="ones",
                         draws="released")  # fmt: skip
    random = np.random.RandomState(42)
    for split, n in (("train", 200), ("test", 1000)):
        latent, x1, x2 = random.randn(n, 15), random.randn(n, 50), random.randn(n, 50)
        inputs, labels = arrays(data, split)
        assert np.array_equal(labels, latent.sum(axis=1) > 0)
        assert np.array_equal(inputs["x1"], np.float32(np.hstack([latent, x1[:, 15:]])))
        assert np.array_equal(inputs["x2"], np.float32(np.hstack([latent[:, :5], x2[:, 5:]])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ["x3"]}, "modalities: expected some of x1, x2"),
        ({"x1": None}, "x1: expected its channels and decisive ones, found nothing"),
        ({"x1": {"channels": 25, "decisive": [0, 21]}}, r"x1.decisive: expected \[first, last \+ 1\] within the 20"),
        ({"x1": {"channels": 9, "decisive": [0, 10]}}, "x1.channels: expected 10 decisive channels from channel 0"),
        ({"x1": {"channels": 25, "decisive": [0, 10], "at": 16}}, "x1.channels: expected 10 decisive"),
        ({"x1": {"channels": 25}}, "x1: expected channels: N, decisive"),
        ({"normal": "zeros"}, "normal: expected gaussian or ones, found 'zeros'"),
        ({"draws": "random"}, "draws: expected keyed or released"),
        ({"n_train": 0}, "n_train: expected 1 or more samples, found 0"),
        ({"n_val": -1}, "n_val: expected 0 or more samples, found -1"),
        ({"draws": "released", "xs": 501}, "xs: expected 1 to 500 latent channels with draws: released, found 501"),
        ({"draws": "released", "seed": -1}, "seed: expected 0 to"),
        ({"draws": "released", "normal": "ones", "modalities": ["x2"], "x1": None}, "x1: expected its channels"),
    ],
)
def test_faults_are_told(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"seed": 0, "x1": X1, "x2": X2, **changes}
    with pytest.raises(DataError, match=message):
        open_gaussian(**arguments)
    assert len(check_gaussian(**arguments)) == 1


def test_what_is_not_asked_for_may_be_absent() -> None:
    assert check_gaussian(modalities=["x2"], x2=X2) == []
    with pytest.raises(DataError, match="x1: expected its channels"):  # one sequence of draws for both
        open_gaussian(seed=0, modalities=["x2"], x2=X2, draws="released")


def test_options_of_a_recipe() -> None:
    entry = find("dataset", "gaussian")
    assert (entry.task, entry.seeded, entry.synthetic, entry.needs_root) == ("classification", True, True, False)
    assert [path.name for path in entry.files(None, {})] == ["gaussian.py"]
    options = entry.options(x1=X1, x2=X2).model_dump(mode="json")
    assert open_gaussian(seed=0, **options).general == {"x1": (8, 9), "x2": (8, 9)}
    for bad in (
        {"x1": {"channels": 25, "decisive": [0, 21]}},
        {"x1": {"channels": 9, "decisive": [0, 10]}},
        {"x1": {"channels": 25, "decisive": [5, 3]}},
        {"x1": {"channels": 25, "decisive": [0, 3], "shared": 1}},
        {"n_train": 0},
    ):
        with pytest.raises(ValidationError):
            entry.options(**bad)
