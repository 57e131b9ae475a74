"""Which channels stay, what replaces the others, and how well a choice agrees with the truth."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmablate.methods.channels import chosen_channels, kept_count, recovery, removed
from mmablate.methods.saliency import Saliency

SCORES = [0.3, 0.9, 0.1, 0.9, 0.5]


def saliency(scores=SCORES):
    return Saliency(torch.tensor(scores).double(), torch.ones(len(scores)).double(), 0.0)


@given(st.integers(1, 1000), st.integers(0, 100))
def test_a_ratio_removes_whole_channels(n_channels, percent):
    assert kept_count(n_channels, percent / 100) == n_channels - int(Fraction(percent, 100) * n_channels)


def test_the_published_ratio_leaves_32_of_128():
    assert kept_count(128, 0.75) == 32
    assert kept_count(100, 0.29) == 71  # 0.29 * 100 is 28.999...


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_a_ratio_outside_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\], got"):
        kept_count(8, ratio)


@pytest.mark.parametrize(
    ("count", "general", "specific"),
    [(0, (), ()), (1, (1,), (2,)), (2, (1, 3), (0, 2)), (4, (0, 1, 3, 4), (0, 2, 3, 4)), (5, range(5), range(5))],
)
def test_general_keeps_the_highest_and_specific_the_lowest(count, general, specific):
    assert chosen_channels(saliency(), 5, keep="general", count=count) == tuple(general)
    assert chosen_channels(saliency(), 5, keep="specific", count=count) == tuple(specific)


def test_all_is_all():
    assert chosen_channels(None, 3, keep="all") == (0, 1, 2)


@given(st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(0, 99))
def test_random_channels_are_distinct_and_those_of_the_generator(size, seed):
    n_channels, count = size
    drawn = [
        chosen_channels(None, n_channels, keep="random", count=count, generator=torch.Generator().manual_seed(seed))
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1] == tuple(sorted(set(drawn[0])))
    assert len(drawn[0]) == count
    assert set(drawn[0]) <= set(range(n_channels))


def test_random_channels_are_drawn_evenly_and_with_replacement_on_demand():
    generator = torch.Generator().manual_seed(0)
    counts, repeated = torch.zeros(5), 0
    for _ in range(2000):
        for channel in chosen_channels(None, 5, keep="random", count=2, generator=generator):
            counts[channel] += 1
        again = chosen_channels(None, 5, keep="random", count=2, generator=generator, replacement=True)
        assert len(again) == 2
        repeated += len(set(again)) == 1
    assert (counts / 2000 - 0.4).abs().max() < 0.05
    assert repeated / 2000 == pytest.approx(0.2, abs=0.03)


FAULTS = {
    "a way": ({"keep": "best"}, "keep must be one of general, specific, random, all, got 'best'"),
    "more than there are": ({"keep": "general", "count": 6}, "0..5, the number of channels, got 6"),
    "less than none": ({"keep": "random", "count": -1}, "got -1"),
    "no count": ({"keep": "random"}, "got None"),
    "no generator": ({"keep": "random", "count": 2}, "generator is needed"),
    "replacement of the best": ({"keep": "general", "count": 2, "replacement": True}, "belongs to keep random"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_choice_that_cannot_be_made_is_told(case):
    options, told = FAULTS[case]
    with pytest.raises(ValueError, match=told):
        chosen_channels(saliency(), 5, **options)


def test_a_choice_by_saliency_needs_one_of_these_channels():
    with pytest.raises(ValueError, match="needs a saliency of 5 channels, got none"):
        chosen_channels(None, 5, keep="specific", count=2)
    with pytest.raises(ValueError, match="of 5 channels, got one of 2"):
        chosen_channels(saliency([1.0, 2.0]), 5, keep="general", count=2)


# --- removal --------------------------------------------------------------------------------------------

SHAPES = [(3, 4), (3, 4, 2), (3, 4, 2, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [(), (1,), (0, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("how", ["zero", "mean", "batch_mean"])
def test_what_is_not_kept_is_replaced(shape, kept, how):
    hidden, mean = torch.randn(shape), torch.randn(shape[1:])
    before = hidden.clone()
    found = removed(hidden, kept, how=how, mean=mean if how == "mean" else None)
    assert torch.equal(hidden, before)
    assert found.shape == hidden.shape
    for b in range(3):
        for c in range(4):
            instead = {"zero": torch.zeros(shape[2:]), "mean": mean[c], "batch_mean": sum(hidden[:, c]) / 3}[how]
            torch.testing.assert_close(found[b, c], hidden[b, c] if c in kept else instead)


def test_a_mean_of_whole_channels_fits_too():
    hidden, mean = torch.randn(3, 4, 2, 5), torch.randn(4, 1, 1)
    found = removed(hidden, (2,), how="mean", mean=mean)
    assert torch.equal(found[1, 3], mean[3].expand(2, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_dropping_leaves_the_kept_ones_only(shape):
    hidden = torch.randn(shape)
    assert torch.equal(removed(hidden, (1, 3), how="drop"), torch.stack([hidden[:, 1], hidden[:, 3]], 1))
    assert removed(hidden, (1, 1, 3), how="drop").shape[1] == 3


def test_only_what_stays_gets_a_gradient():
    hidden = torch.randn(3, 4, requires_grad=True)
    for how in ("drop", "zero"):
        (gradient,) = torch.autograd.grad(removed(hidden, (0, 2), how=how).sum(), hidden)
        assert gradient.tolist() == [[1, 0, 1, 0]] * 3


def test_a_mean_over_the_batch_is_the_only_one_that_hangs_on_the_other_samples():
    hidden, mean = torch.randn(4, 3), torch.randn(3)
    for how in ("drop", "zero", "mean", "batch_mean"):
        given_mean = mean if how == "mean" else None
        whole, part = (removed(x, (0,), how=how, mean=given_mean) for x in (hidden, hidden[:2]))
        assert torch.equal(whole[:2], part) == (how != "batch_mean")


REMOVALS = {
    "a way": ((0,), {"how": "noise"}, "how must be one of drop, zero, mean, batch_mean, got 'noise'"),
    "a channel": ((0, 4), {"how": "zero"}, r"numbered 0\.\.3, got 4"),
    "a channel below": ((-1,), {"how": "drop"}, "got -1"),
    "nothing left": ((), {"how": "drop"}, "at least one channel"),
    "no mean": ((0,), {"how": "mean"}, r"mean of the training set, \(4, 2\), got none"),
    "a mean of other channels": ((0,), {"how": "mean", "mean": torch.ones(3, 2)}, r"got \(3, 2\)"),
    "a mean of fewer axes": ((0,), {"how": "mean", "mean": torch.ones(4)}, r"got \(4,\)"),
}


@pytest.mark.parametrize("case", REMOVALS)
def test_a_removal_that_cannot_be_is_told(case):
    kept, options, told = REMOVALS[case]
    with pytest.raises(ValueError, match=told):
        removed(torch.randn(3, 4, 2), kept, **options)


def test_recovery():
    assert recovery((0, 1, 5, 7), range(3)) == recovery((7, 5, 1, 0), [2, 0, 1])
    found = recovery((0, 1, 5, 7), range(3))
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert recovery((3, 3, 1), (1,)).precision == 1 / 2
    assert (recovery((), (1,)).precision, recovery((), (1,)).recall) == (None, 0)
    assert (recovery((1,), ()).precision, recovery((1,), ()).recall) == (0, None)
