"""Partial information decomposition: known tables, an independent solver, linear programs, and what must hold."""

from __future__ import annotations

from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import minimize

from mmablate.metrics import decompose, decompose_predictions, decompose_tables, unique_null
from mmablate.metrics.broja import solve
from mmablate.metrics.information import gap

PARTS = ("unique1", "unique2", "redundant", "synergistic")


def of_bits(rule):
    """Table of y = rule(a, b) for fair bits a and b."""
    values = sorted({rule(a, b) for a, b in product((0, 1), repeat=2)})
    table = np.zeros((len(values), 2, 2))
    for a, b in product((0, 1), repeat=2):
        table[values.index(rule(a, b)), a, b] += 0.25
    return table


def redundant_and_xor():
    """Both sources hold a shared bit; y is the shared bit, and one more that only both give."""
    table = np.zeros((4, 4, 4))
    for shared, a, b in product((0, 1), repeat=3):
        table[2 * shared + (a ^ b), 2 * shared + a, 2 * shared + b] += 1 / 8
    return table


KNOWN = {
    "and": (of_bits(lambda a, b: a & b), (0, 0, 0.31128, 0.5)),
    "or": (of_bits(lambda a, b: a | b), (0, 0, 0.31128, 0.5)),
    "xor": (of_bits(lambda a, b: a ^ b), (0, 0, 0, 1)),
    "copy": (of_bits(lambda a, b: (a, b)), (1, 1, 0, 0)),
    "unique": (of_bits(lambda a, b: a), (1, 0, 0, 0)),
    "redundant": (np.array([[[0.5, 0], [0, 0]], [[0, 0], [0, 0.5]]]), (0, 0, 1, 0)),
    "sum": (of_bits(lambda a, b: a + b), (0, 0, 0.5, 1)),
    "redundant and xor": (redundant_and_xor(), (0, 0, 1, 1)),
    "nothing": (np.ones((3, 2, 4)), (0, 0, 0, 0)),
    "one class": (np.ones((1, 3, 3)), (0, 0, 0, 0)),
}


def parts(found):
    return np.array([getattr(found, name) for name in PARTS])


@pytest.mark.parametrize("name", KNOWN)
def test_known_tables(name):
    table, expected = KNOWN[name]
    found = decompose(1000 * table)
    np.testing.assert_allclose(parts(found), expected, atol=1e-5)
    assert found.gap < 1e-8


@st.composite
def tables(draw, largest=4):
    """Counts, often with empty cells, rows, columns or classes."""
    shape = tuple(draw(st.integers(1, largest)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = rng.dirichlet(np.full(np.prod(shape), draw(st.sampled_from([1.0, 0.3, 0.05]))))
    return rng.multinomial(draw(st.sampled_from([5, 60, 1000, 10**6])), share).reshape(shape)


def entropy(table):
    p = np.asarray(table, dtype=float).ravel() / np.sum(table)
    return -sum(x * np.log2(x) for x in p if x > 0)


def information(table):
    """I(rows; columns) in bits."""
    return entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_what_must_hold_of_any_table(table):
    found = decompose(table)
    assert parts(found).min() >= 0
    assert found.gap < 1e-6
    first, second = information(table.sum(2)), information(table.sum(1))
    both = information(table.reshape(len(table), -1))
    assert found.unique1 + found.redundant == pytest.approx(first, abs=1e-9)
    assert found.unique2 + found.redundant == pytest.approx(second, abs=1e-9)
    assert parts(found).sum() == pytest.approx(both, abs=1e-9)

    exchanged = decompose(table.transpose(0, 2, 1))
    np.testing.assert_allclose(parts(exchanged)[[1, 0, 2, 3]], parts(found), atol=2e-6)
    np.testing.assert_allclose(parts(decompose(table[::-1, ::-1])), parts(found), atol=2e-6)
    np.testing.assert_allclose(parts(decompose(np.pad(table, 1))), parts(found), atol=2e-6)


@given(tables())
@settings(max_examples=25, deadline=None)
def test_linear_programs_certify_the_optimum(table):
    probability = table / table.sum()
    optimum = solve(probability[None])
    coupling = optimum.coupling[0]
    np.testing.assert_allclose(coupling.sum(2), probability.sum(2), atol=1e-8)
    np.testing.assert_allclose(coupling.sum(1), probability.sum(1), atol=1e-8)
    assert gap(table, coupling) < 1e-5
    assert optimum.value[0] - optimum.bound[0] < 1e-6
    # The certificate is no formality: it refuses what is no optimum.
    independent = probability.sum(2)[:, :, None] * probability.sum(1)[:, None]
    independent /= np.where(probability.sum((1, 2)) > 0, probability.sum((1, 2)), 1)[:, None, None]
    excess = (value_of(independent) - optimum.value[0]) / np.log(2)
    assert gap(table, independent) >= excess - 1e-6


def value_of(coupling):
    total = coupling.sum(0)
    held = coupling > 0
    return float((coupling[held] * np.log((coupling / np.where(total > 0, total, 1))[held])).sum())


def by_slsqp(table):
    """Least -H(Y | A, B) over couplings, by sequential quadratic programming from the independent one."""
    rows, columns = table.sum(2), table.sum(1)
    shape = table.shape

    def value(flat):
        q = np.maximum(flat.reshape(shape), 1e-300)
        return (q * np.log(q / q.sum(0))).sum()

    def slope(flat):
        q = np.maximum(flat.reshape(shape), 1e-14)
        return np.log(q / q.sum(0)).ravel()

    def unmet(flat):
        q = flat.reshape(shape)
        return np.concatenate([(q.sum(2) - rows).ravel(), (q.sum(1) - columns)[:, 1:].ravel()])

    start = rows[:, :, None] * columns[:, None] / table.sum((1, 2))[:, None, None]
    found = minimize(
        value,
        start.ravel(),
        jac=slope,
        bounds=[(0, 1)] * table.size,
        constraints={"type": "eq", "fun": unmet},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    return found.fun


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 2, 2), (2, 3, 3), (3, 3, 2)])
def test_random_tables_against_sequential_quadratic_programming(shape):
    rng = np.random.default_rng(sum(shape))
    probability = rng.dirichlet(np.full(np.prod(shape), 0.7), 4).reshape(4, *shape)
    optimum = solve(probability)
    theirs = np.array([by_slsqp(table) for table in probability])
    np.testing.assert_allclose(optimum.value, theirs, atol=2e-6)


def test_many_tables_at_once_are_each_as_alone():
    rng = np.random.default_rng(4)
    many = rng.multinomial(300, rng.dirichlet(np.full(64, 0.2), 20)).reshape(20, 4, 4, 4)
    for table, found in zip(many, decompose_tables(many), strict=True):
        np.testing.assert_allclose(parts(decompose(table)), parts(found), atol=1e-8)


def test_probabilities_of_very_unequal_size():
    table = np.array([[[0.4, 1e-7], [2e-6, 0.1]], [[1e-4, 0.3], [0.2, 3e-7]]])
    assert decompose(table).gap < 1e-6
    tiny = decompose(np.array([[[0.5, 1e-12], [0, 0]], [[0, 0], [0, 0.5]]]))
    np.testing.assert_allclose(parts(tiny), (0, 0, 1, 0), atol=1e-8)


def test_nearly_certain_tables_are_solved_to_the_same_accuracy():
    """Masses from one in a million to nearly one: where a barrier in proportion to the mass gets stuck."""
    rng = np.random.default_rng(8)
    shares = rng.dirichlet(np.full(36, 0.02), 100)
    many = np.stack([rng.multinomial(10**6, share) for share in shares]).reshape(100, 4, 3, 3)
    assert max(found.gap for found in decompose_tables(many)) < 1e-6


def test_predictions_are_counted_in_the_order_label_first_second():
    labels = torch.tensor([0, 0, 1, 2, 2, 1])
    first = torch.tensor([0, 0, 1, 2, 2, 1])
    second = torch.tensor([1, 1, 1, 0, 0, 1], dtype=torch.int32)
    table = np.zeros((3, 3, 3))
    for y, a, b in zip(labels, first, second, strict=True):
        table[y, a, b] += 1
    assert decompose_predictions(first, second, labels, 3) == decompose(table)
    found = decompose_predictions(first, second, labels, 3)
    assert found.unique1 > 0.5
    assert found.unique2 == pytest.approx(0, abs=1e-8)


def noisy(labels, right, n_classes, generator):
    """Predictions that are right in a share of the samples and else drawn at random."""
    drawn = torch.randint(0, n_classes, labels.shape, generator=generator)
    return torch.where(torch.rand(labels.shape, generator=generator) < right, labels, drawn)


def test_the_null_separates_knowledge_from_none():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (400,), generator=generator)
    strong, noise = noisy(labels, 0.7, 4, generator), noisy(labels, 0.0, 4, generator)
    null = unique_null(strong, noise, labels, 4, permutations=40, generator=generator)
    found = decompose_predictions(strong, noise, labels, 4)
    assert found.unique1 > 10 * null.unique1
    assert found.unique2 <= null.unique2


def test_the_null_is_a_quantile_of_permuted_labels():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, (90,), generator=generator)
    first, second = noisy(labels, 0.5, 3, generator), noisy(labels, 0.5, 3, generator)

    def null(quantile, permutations=20):
        return unique_null(first, second, labels, 3, permutations, quantile, generator=torch.Generator().manual_seed(2))

    again = torch.Generator().manual_seed(2)
    orders = [torch.randperm(90, generator=again) for _ in range(20)]
    alone = [decompose_predictions(first, second, labels[order], 3) for order in orders]
    assert null(1.0).unique1 == pytest.approx(max(one.unique1 for one in alone), abs=1e-8)
    assert null(0.0).unique2 == pytest.approx(min(one.unique2 for one in alone), abs=1e-8)
    assert null(0.5).unique1 == pytest.approx(sorted(one.unique1 for one in alone)[10], abs=1e-8)


ONES = torch.ones(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decompose(np.ones((2, 2))), r"\(K, A, B\)"),
        (lambda: decompose(-np.ones((2, 2, 2))), "finite numbers >= 0"),
        (lambda: decompose(np.full((2, 2, 2), np.nan)), "finite numbers >= 0"),
        (lambda: decompose(np.zeros((2, 2, 2))), "no sample"),
        (lambda: decompose(np.ones((60, 40, 40))), "too large"),
        (lambda: decompose_predictions(ONES, ONES, 3 * ONES, 3), r"labels 3 is outside 0\.\.2"),
        (lambda: decompose_predictions(ONES, -ONES, ONES, 3), r"pred2 -1 is outside 0\.\.2"),
        (lambda: decompose_predictions(ONES[:2], ONES, ONES, 3), "same samples"),
        (lambda: decompose_predictions(ONES.float(), ONES, ONES, 3), "pred1 must hold integers"),
        (lambda: unique_null(ONES, ONES, ONES, 3, 0, generator=torch.Generator()), "permutations"),
        (lambda: unique_null(ONES, ONES, ONES, 3, 5, 1.5, generator=torch.Generator()), "quantile"),
        (lambda: gap(np.ones((2, 2, 2)), np.ones((2, 2, 2))), "marginals"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
