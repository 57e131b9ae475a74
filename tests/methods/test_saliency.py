"""Permutation saliency against loops written out, closed forms, and data whose shared channels are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from mmablate.methods.saliency import Saliency, channel_saliency, rest_of, significant_count
from mmablate.models.classification import linear, mlp, ravdess_net

DISTANCES = {"squared": lambda x: x * x, "l1": abs}


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def written_out(beyond, hidden, student, orders, distance):
    """Score and standard error of every channel, one permutation and one sample after the other."""
    n, n_channels = hidden.shape[:2]
    growth = np.zeros((n_channels, len(orders), n))
    clean = beyond(hidden)
    for c, (r, order) in itertools.product(range(n_channels), enumerate(orders)):
        changed = hidden.clone()
        changed[:, c] = hidden[order, c]
        logits = beyond(changed)
        for i in range(n):
            now = [DISTANCES[distance](float(a - b)) for a, b in zip(logits[i], student[i], strict=True)]
            before = [DISTANCES[distance](float(a - b)) for a, b in zip(clean[i], student[i], strict=True)]
            growth[c, r, i] = sum(now) / len(now) - sum(before) / len(before)
    scores = growth.mean((1, 2))
    errors = []
    for c in range(n_channels):
        influence = np.zeros(n)
        for r, order in enumerate(orders):
            for i in range(n):
                influence[i] += growth[c, r, i] / len(orders)
                influence[int(order[i])] += growth[c, r, i] / len(orders)
        errors.append(np.std(influence, ddof=1) / math.sqrt(n))
    return scores, np.array(errors)


def same_orders(n, count, seed=0):
    generator = stream(seed)
    return [torch.randperm(n, generator=generator) for _ in range(count)]


def agrees(found, expected, rel=1e-10):
    scores, errors = expected
    np.testing.assert_allclose(found.scores.numpy(), scores, rtol=rel, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors.numpy(), errors, rtol=rel, atol=1e-12)


class Bent(nn.Module):
    """A rest that is not linear, of maps (B, 3, 2, 2)."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 5, dtype=torch.float64), nn.Linear(5, 4, dtype=torch.float64)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x.flatten(1))))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("chunk", [None, 1, 5, 7, 20, 1000])
def test_any_rest_is_the_loop_written_out_whatever_the_chunk(distance, chunk):
    torch.manual_seed(1)
    rest, hidden, student = Bent(), torch.randn(7, 3, 2, 2).double(), torch.randn(7, 4).double()
    found = channel_saliency(rest, hidden, student, permutations=4, distance=distance, generator=stream(3), chunk=chunk)
    agrees(found, written_out(rest, hidden, student, same_orders(7, 4, 3), distance))
    assert found.clean == pytest.approx(float(DISTANCES[distance](rest(hidden) - student).mean().detach()), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 9),
    n_channels=st.integers(1, 5),
    n_classes=st.integers(1, 4),
    count=st.integers(1, 5),
    distance=st.sampled_from(list(DISTANCES)),
    bias=st.booleans(),
    chunk=st.none() | st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_linear_rest_is_the_loop_and_the_general_path(n, n_channels, n_classes, count, distance, bias, chunk, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(n_channels, n_classes, bias=bias, dtype=torch.float64)
    hidden, student = torch.randn(n, n_channels).double(), torch.randn(n, n_classes).double()
    options = {"permutations": count, "distance": distance, "chunk": chunk}
    found = channel_saliency(layer, hidden, student, generator=stream(seed), **options)
    agrees(found, written_out(layer, hidden, student, same_orders(n, count, seed), distance), rel=1e-9)
    general = channel_saliency(lambda x: layer(x), hidden, student, generator=stream(seed), **options)
    agrees(found, (general.scores.numpy(), general.standard_errors.numpy()), rel=1e-9)
    assert found.clean == pytest.approx(general.clean, rel=1e-12)


def test_exact_is_the_mean_over_all_permutations_that_there_are():
    torch.manual_seed(0)
    layer, hidden, student = nn.Linear(3, 2).double(), torch.randn(5, 3).double(), torch.randn(5, 2).double()
    every = [torch.tensor(order) for order in itertools.permutations(range(5))]
    found = channel_saliency(layer, hidden, student, permutations="exact")
    agrees(found, written_out(layer, hidden, student, every, "squared"))


def test_many_permutations_come_to_the_exact_value():
    torch.manual_seed(0)
    layer, hidden, student = nn.Linear(6, 3), torch.randn(50, 6), torch.randn(50, 3)
    exact = channel_saliency(layer, hidden, student, permutations="exact")
    drawn = channel_saliency(layer, hidden, student, permutations=4000, generator=stream())
    np.testing.assert_allclose(drawn.scores, exact.scores, atol=0.004)
    few = channel_saliency(layer, hidden, student, permutations=4, generator=stream())
    assert (few.scores - exact.scores).abs().max() > 0.004


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("chunk", [None, 13, 64])
def test_channels_that_the_teacher_ignores_score_exactly_zero(distance, chunk):
    torch.manual_seed(2)
    network = mlp(shape=(6,), n_classes=3, hidden=(37, 9)).eval()
    with torch.no_grad():
        network.stages["hidden1"][1].weight[:, [1, 4]] = 0
        network.stages["logits"].weight[:, [0, 8]] = 0
    x, student = torch.randn(33, 6), torch.randn(33, 3)
    ignored = {"input": [1, 4], "hidden2": [0, 8]}
    for place, zero in ignored.items():
        hidden = network.until(x, place).detach()
        options = {"permutations": 7, "distance": distance, "chunk": chunk}
        found = channel_saliency(rest_of(network, place), hidden, student, generator=stream(), **options)
        silent = [c for c in range(hidden.shape[1]) if bool((hidden[:, c] == 0).all())]  # dead behind its ReLU
        assert (found.scores == 0).nonzero().flatten().tolist() == sorted({*zero, *silent})
        assert (found.standard_errors[zero] == 0).all()


def test_all_channels_are_permuted_alike():
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[:, 1] = layer.weight[:, 0]
    x = torch.randn(40, 1).expand(40, 2)
    found = channel_saliency(layer, x, torch.randn(40, 2), permutations=1, generator=stream())
    assert found.scores[0] == found.scores[1] != 0


def test_the_formula_of_the_docstring_for_independent_channels():
    generator = stream(5)
    n, layer = 200_000, nn.Linear(4, 2).double()
    nn.init.normal_(layer.weight, generator=generator)
    hidden = torch.randn(n, 4, generator=generator).double()
    student = hidden @ torch.tensor([[1.0, 0.5], [0.3, -1.0], [0, 0], [0, 0]]).double() + 1.0
    found = channel_saliency(layer, hidden, student, permutations="exact").scores
    covariance = torch.cov(torch.cat([student, hidden], 1).T)[:2, 2:]
    expected = 2 * (layer.weight.detach() * covariance).mean(0)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found[:2].abs().min() > 0.1


@pytest.mark.parametrize(("distance", "permutations"), [("squared", 30), ("l1", 30), ("squared", "exact")])
def test_scores_spread_as_their_standard_errors_say(distance, permutations):
    """Over data sets: the first two of five channels are known to the student, the others carry nothing of it."""
    torch.manual_seed(0)
    layer, generator = nn.Linear(5, 3).double(), stream(9)
    known = torch.randn(2, 3, generator=generator).double()
    drawn = []
    for _ in range(300):
        hidden = torch.randn(60, 5, generator=generator).double()
        student = hidden[:, :2] @ known + torch.randn(60, 3, generator=generator)
        options = {"permutations": permutations, "distance": distance, "generator": generator}
        drawn.append(channel_saliency(layer, hidden, student, **options))
    scores = torch.stack([found.scores for found in drawn])
    errors = torch.stack([found.standard_errors for found in drawn])
    np.testing.assert_allclose(errors.mean(0), scores.std(0), rtol=0.15)
    z = (scores / errors)[:, 2:].flatten().numpy()
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.12)
    assert 0.03 < (z > stats.norm.isf(0.05)).mean() < 0.07
    assert (scores[:, :2].mean(0).abs() > errors[:, :2].mean(0)).all()


def shared_data(n, generator, shared, own, n_channels=50):
    """Two views of 50 channels: the first `shared` ones are in both, the next `own` ones of the teacher decide too."""
    cause = torch.randn(n, shared + own, generator=generator)
    x1, x2 = (torch.randn(n, n_channels, generator=generator) for _ in range(2))
    x1[:, : shared + own], x2[:, :shared] = cause, cause[:, :shared]
    return x1, x2


def test_on_fresh_samples_the_shared_channels_of_good_networks_are_found_with_their_number():
    generator, shared, own = stream(1), 10, 10
    x1, x2 = shared_data(400, generator, shared, own)
    teacher, student = torch.zeros(2, 50), torch.zeros(2, 50)
    teacher[1, : shared + own], student[1, :shared] = 0.4, 0.4
    teacher += 0.05 * torch.randn(2, 50, generator=generator)
    student += 0.05 * torch.randn(2, 50, generator=generator)
    layer = nn.Linear(50, 2)
    layer.load_state_dict({"weight": teacher, "bias": torch.zeros(2)})
    found = channel_saliency(layer, x1, x2 @ student.T, permutations=100, generator=generator)
    assert set(found.ranking()[:shared]) == set(range(shared))
    assert shared <= significant_count(found) <= shared + 2
    assert found.normalised()[:shared].min() > 0.5 > found.normalised()[shared:].max()


# --- counts, ranks, normalisation -----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-3, 3), min_size=1, max_size=12),
    errors=st.lists(st.floats(0.1, 2), min_size=12, max_size=12),
    level=st.sampled_from([0.01, 0.05, 0.3]),
)
def test_the_count_is_that_of_benjamini_and_hochberg(scores, errors, level):
    errors = errors[: len(scores)]
    found = Saliency(torch.tensor(scores).double(), torch.tensor(errors).double(), 0.0)
    p = [
        stats.norm.sf(s / e)
        for s, e in zip(*map(torch.Tensor.tolist, (found.scores, found.standard_errors)), strict=True)
    ]
    expected = int((stats.false_discovery_control(p) <= level).sum())
    assert significant_count(found, level) == max(1, expected)


def test_scores_without_spread_count_by_their_sign():
    found = Saliency(torch.tensor([0.0, 1.0, -1.0, 0.0, 2.0]).double(), torch.zeros(5).double(), 0.0)
    assert significant_count(found) == 2
    nothing = Saliency(torch.zeros(4).double(), torch.zeros(4).double(), 0.0)
    assert significant_count(nothing) == 1


def test_a_channel_counts_where_a_less_significant_one_does():
    """p = .03 and .04 against .025 and .05: the second passes, and takes the first one with it."""
    found = Saliency(torch.tensor(stats.norm.isf([0.04, 0.03])), torch.ones(2).double(), 0.0)
    assert significant_count(found) == 2


def test_the_count_does_not_hang_on_the_order_of_the_channels():
    found = Saliency(torch.tensor([0.1, 3.0, 0.2, 2.9]).double(), torch.ones(4).double(), 0.0)
    assert significant_count(found) == 2


def test_ranks_go_down_and_ties_by_number():
    found = Saliency(torch.tensor([1.0, 3.0, 1.0, -2.0, 3.0]).double(), torch.ones(5).double(), 0.5)
    assert found.ranking() == (1, 4, 0, 2, 3)
    np.testing.assert_allclose(found.normalised(), [0.6, 1, 0.6, 0, 1])
    flat = Saliency(torch.full((3,), 2.0).double(), torch.ones(3).double(), 0.0)
    assert flat.normalised().tolist() == [0, 0, 0]
    assert flat.ranking() == (0, 1, 2)


# --- places, bad input ----------------------------------------------------------------------------------


def test_the_rest_behind_a_place_is_the_layer_itself_where_it_is_one():
    network = ravdess_net(shape=(1, 9, 9), n_classes=3, kernels=(3, 3), widths=(2, 4), hidden=(6, 5), pool=(1, 2))
    assert rest_of(network, "fc2") is network.stages["logits"]
    assert rest_of(linear(shape=(4,), n_classes=2), "input").weight.shape == (2, 4)
    x = torch.randn(3, 1, 9, 9)
    for place in network.places:
        torch.testing.assert_close(rest_of(network, place)(network.until(x, place)), network(x))
    unflattened = linear(shape=(2, 3), n_classes=2)
    assert not isinstance(rest_of(unflattened, "input"), nn.Linear)
    with pytest.raises(ValueError, match=r"no place is called 'fc9' \(there are: input, conv1"):
        rest_of(network, "fc9")


GOOD = {"permutations": 2, "generator": stream()}
BAD = {
    "samples that differ in number": (torch.ones(3, 2), torch.ones(4, 2), {}, "got .3, 2. and .4, 2."),
    "no channels": (torch.ones(3), torch.ones(3, 2), {}, r"values \(N, C, ...\)"),
    "one sample": (torch.ones(1, 2), torch.ones(1, 2), {}, "at least two samples"),
    "no permutation": (torch.ones(3, 2), torch.ones(3, 2), {"permutations": 0}, "at least 1, or exact, got 0"),
    "half a permutation": (torch.ones(3, 2), torch.ones(3, 2), {"permutations": 1.5}, "got 1.5"),
    "a word": (torch.ones(3, 2), torch.ones(3, 2), {"permutations": "all"}, "got 'all'"),
    "no chunk": (torch.ones(3, 2), torch.ones(3, 2), {"chunk": 0}, "chunk must be at least 1, got 0"),
    "a distance": (torch.ones(3, 2), torch.ones(3, 2), {"distance": "l3"}, "no definition 'l3'; choose one of"),
    "no generator": (torch.ones(3, 2), torch.ones(3, 2), {"generator": None}, "generator is needed"),
    "exact l1": (torch.ones(3, 2), torch.ones(3, 2), {"permutations": "exact", "distance": "l1"}, "the squared"),
    "infinite": (torch.full((3, 2), torch.inf), torch.ones(3, 2), {}, "not finite"),
    "NaN of the student": (torch.ones(3, 2), torch.full((3, 2), torch.nan), {}, "not finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_computed_is_told(case):
    hidden, student, options, told = BAD[case]
    with pytest.raises(ValueError, match=told):
        channel_saliency(nn.Linear(2, 2), hidden, student, **{**GOOD, **options})


def test_exact_needs_a_linear_rest():
    with pytest.raises(ValueError, match="one linear layer"):
        channel_saliency(nn.Tanh(), torch.randn(3, 2), torch.randn(3, 2), permutations="exact")


def test_scores_from_a_file_have_no_count_of_their_own():
    found = Saliency(torch.ones(3).double(), torch.full((3,), torch.nan).double(), math.nan)
    with pytest.raises(ValueError, match="without standard errors: say how many"):
        significant_count(found)


@pytest.mark.parametrize("level", [0, 1, -0.1, math.nan])
def test_a_level_outside_is_refused(level):
    with pytest.raises(ValueError, match="level must lie in"):
        significant_count(Saliency(torch.ones(1), torch.ones(1), 0.0), level)
