"""The pieces that all datasets share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.data.base import ArraySplit, ClassificationData, LabelledSplit, Moments, SegmentationData, Split
from mmablate.data.summary import count_classes, majority_accuracy, majority_miou, summarise


@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    offset=st.sampled_from([0.0, 1e6, -3e7]),
    seed=st.integers(0, 20),
)
def test_moments_of_pieces_are_those_of_the_whole(cuts: list[int], offset: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(offset, 2.0, size=(40, 3))
    moments = Moments(3)
    for piece in np.split(values, sorted(cuts)):
        moments.add(piece)
    mean, std = moments.mean_std()
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-6)


def test_a_constant_channel_is_divided_by_one() -> None:
    moments = Moments(2)
    moments.add(np.array([[1.0, 5.0], [3.0, 5.0]]))
    mean, std = moments.mean_std()
    assert mean.tolist() == [2.0, 5.0]
    assert std.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="no values"):
        Moments(1).mean_std()


def test_shapes_of_a_split_must_fit() -> None:
    labels = np.zeros((2, 3, 4), dtype=np.int64)
    with pytest.raises(ValueError, match="'A'"):
        ArraySplit({"A": np.zeros((2, 1, 4, 4))}, labels)
    with pytest.raises(ValueError, match="at least one modality"):
        ArraySplit({}, labels)


@pytest.mark.parametrize(
    ("train", "scored", "expected"),
    [
        ([5, 1, 0], [2, 2, 0], 100 * 0.5 / 2),  # class 2 is nowhere
        ([5, 1, 0], [0, 4, 0], 0.0),  # predicted but absent: counts, with IoU 0
        ([1, 9, 0], [0, 4, 0], 100.0),
        ([0, 0, 0], [1, 0, 0], None),
        ([1, 0, 0], [0, 0, 0], None),
    ],
)
def test_majority_miou(train: list[int], scored: list[int], expected: float | None) -> None:
    assert majority_miou(np.array(train), np.array(scored)) == expected


@pytest.mark.parametrize(
    ("train", "scored", "expected"),
    [([5, 1, 0], [2, 6, 0], 25.0), ([5, 1], [0, 4], 0.0), ([0, 0], [1, 0], None), ([1, 0], [0, 0], None)],
)
def test_majority_accuracy(train: list[int], scored: list[int], expected: float | None) -> None:
    assert majority_accuracy(np.array(train), np.array(scored)) == expected


class Plain:
    """A split with no more than the protocol asks for."""

    shape = (2, 2)

    def __init__(self, labels: list[int]) -> None:
        self._labels = np.array(labels, dtype=np.int64).reshape(-1, 2, 2)

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: object) -> tuple[dict[str, np.ndarray], np.ndarray]:
        labels = self._labels[np.asarray(indices)]
        return {"A": np.zeros((len(labels), 1, 2, 2), dtype=np.float32)}, labels


def test_summary_needs_the_protocol_only() -> None:
    splits = {"train": Plain([0, 0, 1, -100] * 20), "val": Plain([0, 1, 1, 1])}
    data = SegmentationData("plain", {"A": 1}, ("a", "b"), -100, dict(splits), False, None, ())
    card = summarise(data)
    assert card.class_pixels == {"train": (40, 20), "val": (1, 3)}
    assert card.valid_fraction == {"train": 0.75, "val": 1.0}
    assert card.majority_miou == 12.5
    assert (card.n_test, card.scored_split) == (0, "val")
    assert card.to_json()["class_pixels"] == {"train": [40, 20], "val": [1, 3]}
    with pytest.raises(ValueError, match=r"expected 0\.\.0"):
        count_classes(splits["val"], 1, -100)


def test_summary_of_one_label_a_sample_counts_samples() -> None:
    def split(labels: list[int]) -> Split:
        return LabelledSplit({"A": np.zeros((len(labels), 1, 2, 3))}, np.array(labels))

    splits = {"train": split([0, 1, 1, 1]), "test": split([0, 0, 1, 2])}
    data = ClassificationData("plain", {"A": (1, 2, 3)}, ("a", "b", "c"), splits, True, None, ())
    card = summarise(data)
    assert (card.task, card.unit, card.majority) == ("classification", "samples", (25.0, "accuracy"))
    assert card.majority_miou is None
    assert (card.n_train, card.n_val, card.n_test) == (4, 0, 4)
    assert card.to_json() == {
        "name": "plain",
        "task": "classification",
        "synthetic": True,
        "n_train": 4,
        "n_val": 0,
        "n_test": 4,
        "modalities": {"A": [1, 2, 3]},
        "class_names": ["a", "b", "c"],
        "class_samples": {"train": [1, 3, 0], "test": [2, 1, 1]},
        "scored_split": "test",
        "majority_class": "b",
        "majority_accuracy": 25.0,
        "attribution": None,
    }


def test_the_card_of_segmentation_says_nothing_of_tasks() -> None:
    data = SegmentationData(
        "plain", {"A": 1}, ("a", "b"), -100, {"train": Plain([0] * 4), "val": Plain([1] * 4)}, False, None, ()
    )
    assert list(summarise(data).to_json()) == [
        "name",
        "synthetic",
        "n_train",
        "n_val",
        "n_test",
        "shape",
        "modalities",
        "class_names",
        "class_pixels",
        "valid_fraction",
        "scored_split",
        "majority_class",
        "majority_miou",
        "attribution",
    ]
