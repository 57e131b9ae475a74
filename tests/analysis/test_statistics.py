"""Tests, corrections and planning against scipy, brute force and the figures of the method's definitions."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis.differences import contrast, difference, pearson
from mmablate.analysis.statistics import (
    detectable_effect,
    holm,
    mean,
    mean_estimate,
    mean_over_columns,
    seeds_needed,
    sign_flip_p,
    spread_upper_bound,
    std,
    welch_estimate,
)

CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
exact = {"rel": 1e-10, "abs": 1e-12}
scores = st.floats(0, 100).map(lambda x: round(x, 2))


def spread(values):
    """Far from constant, where scipy's own rounding is far below 1e-10 and warns of nothing."""
    return np.ptp(values) > 1e-3


# --- t tests ----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(-50, 50), min_size=2, max_size=20), at=st.floats(-5, 5))
def test_the_test_of_one_mean_is_scipys(values, at):
    assume(spread(values))
    made = mean_estimate(values)
    for alternative, p in (("two-sided", made.p(at)), ("greater", made.p_above(at)), ("less", made.p_below(at))):
        want = stats.ttest_1samp(values, at, alternative=alternative)
        assert p == pytest.approx(want.pvalue, **exact)
        assert made.t(at) == pytest.approx(want.statistic, rel=1e-9, abs=1e-9)
    assert (made.value, made.n, made.df) == (pytest.approx(np.mean(values), abs=1e-12), len(values), len(values) - 1)
    for confidence in CONFIDENCES:
        low, high = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert made.interval(confidence) == (pytest.approx(low, **exact), pytest.approx(high, **exact))
    assert made.effect_size == pytest.approx(np.mean(values) / np.std(values, ddof=1), **exact)


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(scores, scores), min_size=2, max_size=12), confidence=st.sampled_from(CONFIDENCES))
def test_a_paired_difference_is_scipys(pairs, confidence):
    first, second = map(np.array, zip(*pairs, strict=True))
    assume(spread(first - second))
    own, base = ({str(i): float(v) for i, v in enumerate(some)} for some in (first, second))
    found = difference(own, base, confidence)
    want = stats.ttest_rel(first, second)
    assert found.test == "paired"
    assert found.p == pytest.approx(want.pvalue, rel=1e-9, abs=1e-12)
    low, high = want.confidence_interval(confidence)
    assert found.ci == (pytest.approx(low, **exact), pytest.approx(high, **exact))
    assert found.delta == pytest.approx(np.mean(first - second), abs=1e-12)
    assert found.n_pairs == len(pairs)
    if len(pairs) > 2 and np.ptp(first) > 1e-3 and np.ptp(second) > 1e-3:
        assert found.correlation == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-9)
    # The order of the seeds, and seeds that one side alone has, change nothing.
    turned = dict(reversed(own.items())) | {"alone": 1e6}
    again = difference(turned, base | {"other": -1e6}, confidence)
    assert (again.delta, again.p, again.ci) == (found.delta, found.p, found.ci)


@settings(max_examples=200, deadline=None)
@given(
    first=st.lists(scores, min_size=2, max_size=9),
    second=st.lists(scores, min_size=2, max_size=9),
    confidence=st.sampled_from(CONFIDENCES),
)
def test_a_difference_of_unpaired_means_is_welchs(first, second, confidence):
    assume(spread(first) and spread(second))
    found = difference(
        {f"a{i}": v for i, v in enumerate(first)}, {f"b{i}": v for i, v in enumerate(second)}, confidence
    )
    want = stats.ttest_ind(first, second, equal_var=False)
    assert found.test == "welch"
    assert found.p == pytest.approx(want.pvalue, **exact)
    low, high = want.confidence_interval(confidence)
    assert found.ci == (pytest.approx(low, **exact), pytest.approx(high, **exact))
    assert found.delta == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    assert found.estimate.df == pytest.approx(want.df, rel=1e-9)
    assert found.estimate.n == min(len(first), len(second))
    assert (found.n_pairs, found.p_sign_flip, found.correlation) == (None, None, None)
    one_sided = welch_estimate(first, second)
    for margin in (0.0, 1.5):
        moved = [v - margin for v in first]
        for p, alternative in ((one_sided.p_above(margin), "greater"), (one_sided.p_below(margin), "less")):
            wanted = stats.ttest_ind(moved, second, equal_var=False, alternative=alternative).pvalue
            assert p == pytest.approx(wanted, rel=1e-8, abs=1e-12)


def test_welch_is_tested_on_a_worked_example():
    # Two samples with s² of 2.5 and 10: t = -3/√2.5, df = 2.5²/(0.5²/4 + 2²/4).
    made = welch_estimate([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert made.t() == pytest.approx(-3 / math.sqrt(2.5))
    assert made.df == pytest.approx(6.25 / 1.0625)
    assert made.spread == pytest.approx(math.sqrt(6.25))


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)])
def test_a_side_without_values_has_no_difference(sizes):
    first, second = ({str(i): float(i) for i in range(n)} for n in sizes)
    assert difference(first, second, 0.95) is None


@pytest.mark.parametrize(("first", "second"), [({"0": 3.0}, {"0": 1.0}), ({"0": 3.0}, {"1": 1.0, "2": 1.5})])
def test_one_value_on_a_side_is_a_difference_without_a_test(first, second):
    found = difference(first, second, 0.95)
    assert found.delta == pytest.approx(3 - np.mean(list(second.values())))
    assert (found.test, found.p, found.ci, found.p_sign_flip, found.constant) == ("welch", None, None, None, False)


def test_summaries():
    assert mean({}) is None
    assert mean({"0": 3.0}) == 3
    assert std({"0": 3.0}) is None
    assert std({"0": 1.0, "1": 2.0, "2": 4.0}) == pytest.approx(np.std([1, 2, 4], ddof=1))
    # Within the seed first, over the seeds that have every column.
    assert mean_over_columns({"F": {"0": 1.0, "1": 5.0}, "E": {"1": 7.0, "2": 9.0}}) == {"1": 6.0}
    assert mean_over_columns({}) == {}


def test_correlation_needs_three_pairs_and_spread_on_both_sides():
    assert pearson([1, 2], [3, 5]) is None
    assert pearson([1, 2, 3], [5, 5, 5]) is None
    assert pearson([1, 2, 3], [43.71 + 0.1, 43.81, 43.81]) is None
    assert pearson([1, 2, 3], [1, 2, 4]) == pytest.approx(np.corrcoef([1, 2, 3], [1, 2, 4])[0, 1])
    assert pearson([0, 0, 0], [0, 0, 0]) is None


# --- no spread --------------------------------------------------------------------------------------------


def seeds(*values):
    return {str(i): v for i, v in enumerate(values)}


def test_no_difference_in_any_seed_is_p_one():
    found = difference(seeds(1.5, 2.5, 9), seeds(1.5, 2.5, 9), 0.95)
    assert (found.delta, found.p, found.ci, found.p_sign_flip, found.constant) == (0, 1, None, 1, False)
    assert found.fields()["effect_size"] == 0


def test_the_same_difference_in_every_seed_has_no_p():
    found = difference(seeds(2.5, 3.5, 10), seeds(1.5, 2.5, 9), 0.95)
    assert (found.delta, found.p, found.ci, found.constant) == (1, None, None, True)
    assert found.fields()["effect_size"] is None
    assert found.p_sign_flip == 0.25


@settings(max_examples=200, deadline=None)
@given(
    base=st.lists(st.floats(0.01, 100).map(lambda x: round(x, 2)), min_size=2, max_size=8),
    step=st.sampled_from([0.0, 0.1, 0.3, -0.7, 1 / 3, 1e-3, 12.34]),
)
def test_rounding_noise_is_no_spread(base, step):
    """43.71 + 0.1 - 43.71 is not 0.1: a t test of such noise would be significant without end."""
    own = [(value + step) * 3 / 3 for value in base]
    found = difference(seeds(*own), seeds(*base), 0.95)
    assert found.p == (1 if step == 0 else None)
    assert found.delta == pytest.approx(step, abs=1e-12)
    assert found.constant is (step != 0)
    assert (found.delta == 0) is (step == 0)


def test_rounding_noise_around_nothing_is_no_difference():
    found = difference(seeds(0.1 + 0.2, 0.7 + 0.1, 43.71), seeds(0.3, 0.8, 43.71), 0.95)
    assert (found.delta, found.p, found.p_sign_flip) == (0, 1, 1)
    assert mean_estimate([1e-15, -1e-15, 2e-15], 50.0).p() == 1
    # The same figures are a spread where they are not the noise of larger ones.
    assert mean_estimate([1e-15, -1e-15, 2e-15]).p() == pytest.approx(stats.ttest_1samp([1, -1, 2], 0).pvalue)


def test_rounding_noise_of_unpaired_rows_is_no_difference():
    found = difference({"0": 43.71 + 0.1, "1": 43.81}, {"2": 43.81, "3": 43.71 + 0.1}, 0.95)
    assert (found.test, found.p, found.delta) == ("welch", 1, 0)
    noise = difference({"0": 0.1 + 0.2, "1": 0.1 + 0.2}, {"2": 0.3, "3": 0.3}, 0.95)
    assert (noise.p, noise.delta) == (1, 0)
    apart = difference({"0": 5.0, "1": 5.0}, {"2": 4.0, "3": 4.0}, 0.95)
    assert (apart.p, apart.delta, apart.constant) == (None, 1, True)


def test_rounding_noise_of_a_contrast_is_no_contrast():
    found = contrast(seeds(4e-15, 4e-15, 7e-15), 50.0, 0.95)
    assert (found.delta, found.p, found.ci, found.p_sign_flip) == (0, 1, None, 1)
    one = contrast(seeds(2.0), 50.0, 0.95)
    assert (one.delta, one.p, one.ci, one.n_pairs) == (2, None, None, 1)
    assert contrast({}, 50.0, 0.95) is None


def test_one_side_of_welch_may_be_constant():
    first, second = [5.0, 5.0, 5.0], [1.0, 2.0, 4.0]
    want = stats.ttest_1samp(second, 5)  # of the side that varies
    assert welch_estimate(first, second).p() == pytest.approx(want.pvalue, **exact)
    assert welch_estimate(first, [1.0]) is None


# --- sign-flip --------------------------------------------------------------------------------------------


def brute_force(differences):
    """Every pattern one by one, in exact integers."""
    seen = abs(sum(differences))
    patterns = itertools.product((1, -1), repeat=len(differences))
    return sum(abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= seen for p in patterns)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=2, max_size=10), st.sampled_from([1, 0.01, 0.1, 1 / 3]))
def test_sign_flip_counts_every_pattern_ties_included(whole, unit):
    """Small integers tie often; times 0.1 the ties are hidden by rounding."""
    assert sign_flip_p([d * unit for d in whole]) == brute_force(whole) / 2 ** len(whole)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12])
def test_sign_flip_is_scipys_permutation_test(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    want = stats.permutation_test(
        (values,), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples", vectorized=True, n_resamples=2**n
    )
    assert sign_flip_p(list(values)) == pytest.approx(want.pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [20, 24])
def test_sign_flip_of_many_seeds_is_the_count_of_subset_sums(n):
    """Another route: how many ways there are to reach each sum, by dynamic programming over integers."""
    whole = [int(v) for v in np.random.default_rng(n).integers(-30, 45, n)]
    ways = {0: 1}
    for size in map(abs, whole):
        turned: dict[int, int] = {}
        for total, count in ways.items():
            for signed in (total + size, total - size):
                turned[signed] = turned.get(signed, 0) + count
        ways = turned
    wanted = sum(count for total, count in ways.items() if abs(total) >= abs(sum(whole))) / 2**n
    assert sign_flip_p([d / 7 for d in whole]) == wanted
    assert 2 ** (1 - n) <= wanted < 1


@pytest.mark.parametrize(("n", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (10, 0.001953125), (20, 2**-19)])
def test_the_smallest_sign_flip_p(n, smallest):
    assert sign_flip_p([1.0 + i for i in range(n)]) == smallest
    assert sign_flip_p([-1.0 - i for i in range(n)]) == smallest


def test_sign_flip_has_its_limits():
    assert sign_flip_p([]) is None
    assert sign_flip_p([1.0]) is None
    assert sign_flip_p([1.0] * 25) is None
    assert sign_flip_p([0.0] * 24) == 1
    assert sign_flip_p([1.0] * 24) == 2**-23


# --- Holm -------------------------------------------------------------------------------------------------


def holm_1979(p_values, alpha):
    """Which hypotheses Holm's paper rejects: step down, the k-th smallest against α/(m - k + 1), until one fails."""
    rejected = set()
    for k, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > alpha / (len(p_values) - k):
            break
        rejected.add(index)
    return rejected


ps = st.lists(st.floats(0, 1), max_size=12) | st.lists(st.sampled_from([0.0, 0.01, 0.02, 0.04, 0.5, 1.0]), max_size=12)


@settings(max_examples=300, deadline=None)
@given(p_values=ps, alpha=st.sampled_from([0.01, 0.05, 0.0501, 0.2]))
def test_holm_rejects_what_the_paper_rejects(p_values, alpha):
    adjusted = holm(p_values)
    rejected = holm_1979(p_values, alpha)
    for index, p in enumerate(adjusted):
        assume(abs(p - alpha) > 1e-9)
        assert (p <= alpha) == (index in rejected)


@settings(max_examples=300, deadline=None)
@given(p_values=ps, order=st.randoms(use_true_random=False))
def test_holm_is_monotone_bounded_and_blind_to_order(p_values, order):
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    m = len(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, m * p)
    for (p, a), (q, b) in itertools.combinations(zip(p_values, adjusted, strict=True), 2):
        assert a == b if p == q else (a <= b) == (p < q) or a == b
    indices = list(range(m))
    order.shuffle(indices)
    assert holm([p_values[i] for i in indices]) == [adjusted[i] for i in indices]


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


# --- power ------------------------------------------------------------------------------------------------


def power(n, effect, alpha):
    """Of the upper tail of a two-sided paired t test, by scipy's own distributions."""
    return float(stats.nct.sf(stats.t.isf(alpha / 2, n - 1), n - 1, effect * math.sqrt(n)))


# definitions, section 11: a single test, Holm's first step over 3, over 24.
SECTION_11 = {3: (3.3, 5.7, 16), 5: (1.7, 2.3, 4.0), 10: (1.0, 1.2, 1.7), 20: (0.66, 0.78, 1.0)}


@pytest.mark.parametrize("n", SECTION_11)
def test_detectable_effects_are_those_of_the_definitions(n):
    for wanted, tests in zip(SECTION_11[n], (1, 3, 24), strict=True):
        assert float(f"{detectable_effect(n, 0.05 / tests):.2g}") == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.05 / 24, 0.05 / 1000])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 10, 30, 150, 199, 200, 201, 500, 3000])
def test_a_detectable_effect_has_its_power(n, alpha):
    assert power(n, detectable_effect(n, alpha), alpha) == pytest.approx(0.8, abs=2e-5)
    assert power(n, detectable_effect(n, alpha, 0.9), alpha) == pytest.approx(0.9, abs=2e-5)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 24])
def test_detectable_effects_fall_with_seeds_and_rise_with_tests(alpha):
    effects = [detectable_effect(n, alpha) for n in range(2, 260)]
    assert effects == sorted(effects, reverse=True)
    assert all(detectable_effect(n, alpha / 2) > detectable_effect(n, alpha) for n in (2, 5, 50, 199, 200, 1000))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_level_of_a_huge_family_ends(n):
    """Two seeds and ten thousand cells: the noncentral t distribution itself gives up there."""
    levels = [0.05 / 10**k for k in range(9)]
    effects = [detectable_effect(n, level) for level in levels]
    assert all(map(math.isfinite, effects))
    assert effects == sorted(effects)
    # From the definition: P(T > c) at so large a shift is that of a χ below shift/c.
    critical = stats.t.isf(levels[-1] / 2, n - 1)
    shift = critical * math.sqrt(stats.chi2.ppf(0.8, n - 1) / (n - 1))
    assert effects[-1] * math.sqrt(n) == pytest.approx(shift, rel=2e-2 if n == 5 else 1e-3)


@settings(max_examples=100, deadline=None)
@given(
    effect=st.floats(0.05, 20), spread=st.floats(0.01, 50), tests=st.sampled_from([1, 3, 24]),
    wanted=st.sampled_from([0.8, 0.9]),
)  # fmt: skip
def test_the_seeds_needed_are_the_fewest(effect, spread, tests, wanted):
    alpha = 0.05 / tests
    n = seeds_needed(effect * spread, spread, alpha, wanted)
    reached = [power(k, effect, alpha) for k in (max(n - 1, 2), n)]
    assert reached[1] >= wanted - 2e-5
    assert n == 2 or reached[0] < wanted + 2e-5
    assert seeds_needed(effect * spread * 1.1, spread, alpha, wanted) <= n
    assert seeds_needed(effect * spread, spread, alpha / 2, wanted) >= n


def test_seeds_needed_at_the_ends():
    assert seeds_needed(0.5, 0.0, 0.05) == 2
    assert seeds_needed(1e-6, 1.0, 0.05) is None
    assert seeds_needed(1.0, 1e6, 0.05) is None
    assert seeds_needed(100.0, 1.0, 0.05) == 2
    # The textbook's paired t test: d = 0.5 takes 34 pairs.
    assert seeds_needed(0.5, 1.0, 0.05) == 34


@pytest.mark.parametrize(("n", "factor"), [(3, 2.1), (5, 1.6)])
def test_the_upper_bound_of_a_pilots_spread(n, factor):
    assert spread_upper_bound(1.0, n - 1) == pytest.approx(factor, abs=0.05)
    assert spread_upper_bound(2.5, n - 1) == pytest.approx(2.5 * math.sqrt((n - 1) / stats.chi2.ppf(0.2, n - 1)))


def test_the_upper_bound_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0, 3, (20000, 4)).std(axis=1, ddof=1)
    covered = np.mean([spread_upper_bound(s, 3) >= 3 for s in draws])
    assert covered == pytest.approx(0.8, abs=0.01)


def test_intervals_of_the_mean_cover_as_often_as_they_say():
    draws = np.random.default_rng(1).normal(7, 2, (4000, 5))
    for confidence in (0.8, 0.95):
        ends = [mean_estimate(list(row)).interval(confidence) for row in draws]
        assert np.mean([low <= 7 <= high for low, high in ends]) == pytest.approx(confidence, abs=0.02)


def test_null_tables_carry_a_star_in_five_of_a_hundred():
    """Holm over 21 correlated cells with a shared baseline (definitions, section 12: .040-.044)."""
    stream = np.random.default_rng(2)
    starred = 0
    for _ in range(600):
        common = stream.normal(size=(5, 4, 1))
        table = math.sqrt(0.6) * common + math.sqrt(0.4) * stream.normal(size=(5, 4, 7))
        against = table[:, 1:] - table[:, :1]
        p_values = [mean_estimate(list(against[:, r, c])).p() for r in range(3) for c in range(7)]
        starred += min(holm(p_values)) < 0.05
    assert starred / 600 < 0.07


def test_results_do_not_depend_on_the_order_of_seeds():
    stream = random.Random(0)
    own = {str(i): stream.uniform(0, 100) for i in range(9)}
    base = {str(i): stream.uniform(0, 100) for i in range(9)}
    first = difference(own, base, 0.95)
    for _ in range(20):
        keys = list(own)
        stream.shuffle(keys)
        again = difference({k: own[k] for k in keys}, base, 0.95)
        assert (again.delta, again.p, again.ci) == (first.delta, first.p, first.ci)
