"""Held-back training samples: the same share of every class, drawn from the seed's own stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.data.base import LabelledSplit, SampleInfo
from mmablate.data.holdout import Part, hold_out, labels_of

LABELS = st.lists(st.integers(0, 5), min_size=4, max_size=60)


@given(LABELS, st.floats(0, 0.95), st.integers(0, 5))
def test_every_sample_is_kept_or_held_back_and_never_both(labels, share, seed):
    kept, held = hold_out(np.array(labels), share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert len(held) == round(share * len(labels))


@given(LABELS, st.floats(0, 0.95), st.integers(0, 5))
def test_each_class_gives_its_share_to_within_one_sample(labels, share, seed):
    own = np.array(labels)
    _, held = hold_out(own, share, seed)
    count = round(share * len(own))
    for name in set(labels):
        fair = count * (own == name).sum() / len(own)
        assert abs((own[held] == name).sum() - fair) < 1


def test_the_draw_is_the_seed_s_and_no_class_touches_another():
    labels = np.repeat(np.arange(4), 10)
    first = hold_out(labels, 0.2, 3)[1]
    assert np.array_equal(first, hold_out(labels, 0.2, 3)[1])
    assert not np.array_equal(first, hold_out(labels, 0.2, 4)[1])
    # A fifth class leaves the draws of the others as they are.
    more = np.concatenate([labels, np.full(10, 4)])
    assert np.array_equal(first, [i for i in hold_out(more, 0.2, 3)[1] if i < 40])


def test_a_part_hands_out_the_samples_of_the_whole():
    whole = LabelledSplit({"a": np.arange(12, dtype=np.float32).reshape(6, 2)}, np.array([0, 1, 2, 0, 1, 2]))
    part = Part(whole, [4, 1])
    inputs, labels = part.batch([1, 0])
    assert len(part) == 2
    assert inputs["a"].tolist() == [[2, 3], [8, 9]]
    assert labels.tolist() == [1, 1]
    assert part.labels_of([0]).tolist() == [1]
    assert part.describe(0) == SampleInfo("4")
    assert part.shape == (1, 1)


def test_labels_are_read_without_inputs_where_a_split_can():
    class Bare:
        shape = (1, 1)

        def __len__(self):
            return 2

        def batch(self, indices):
            return {"a": np.zeros((len(indices), 1), dtype=np.float32)}, np.array([5, 6])[list(indices)]

    assert labels_of(Bare(), [1]).tolist() == [6]


@pytest.mark.parametrize("share", [0.0])
def test_nothing_is_held_back_of_a_share_of_none(share):
    kept, held = hold_out(np.array([0, 1, 1]), share, 0)
    assert kept.tolist() == [0, 1, 2]
    assert held.tolist() == []
