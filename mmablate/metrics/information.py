"""Partial information decomposition: what two sources tell of a label alone, both alike, and only together.

The measure is that of Bertschinger et al. (BROJA). Of a joint distribution p(y, x1, x2), the unique information of x1
is the least I(Y; X1 | X2) of all distributions with the same p(y, x1) and p(y, x2); then redundancy is what is left of
I(X1; Y), and synergy what is left of I(X1, X2; Y). I(X1; Y | X2) itself is unique plus synergistic information.

Tables of counts overestimate every kind of information, most where cells are many and samples few: compare with
`unique_null`.

Source: Bertschinger, Rauh, Olbrich, Jost, Ay 2014, Entropy 16(4), arXiv:1311.2839.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from torch import Tensor

from mmablate.metrics.broja import Floats, solve

_FLOOR = 1e-8  # share of a table below which a cell counts as empty
_LARGEST = 4000  # K (A + B): equations of a Newton step


@dataclass(frozen=True)
class Decomposition:
    """Parts of I(X1, X2; Y), in bits; none is negative.

    unique1 + redundant = I(X1; Y), unique2 + redundant = I(X2; Y), and all four add up to I(X1, X2; Y), to rounding.

    Attributes:
        unique1: what only x1 tells.
        unique2: what only x2 tells.
        redundant: what either tells.
        synergistic: what only both together tell.
        gap: certified bound of the error of each part, bits; the solver ends below 1e-8 unless a table holds
            probabilities both of order 1 and below 1e-6.
    """

    unique1: float
    unique2: float
    redundant: float
    synergistic: float
    gap: float = 0.0


class UniqueNull(NamedTuple):
    """What unique information is estimated where there is none, bits."""

    unique1: float
    unique2: float


def decompose(table: ArrayLike) -> Decomposition:
    """Decompose one joint table.

    Args:
        table: (K, A, B) counts or probabilities of (y, x1, x2), of any sum. Cells below 1e-8 of it count as empty.

    Raises:
        ValueError: not three-dimensional, a negative or undefined entry, no mass, or K (A + B) above 4000.
    """
    return decompose_tables(np.asarray(table, dtype=np.float64)[None])[0]


def decompose_tables(tables: ArrayLike) -> list[Decomposition]:
    """Decompose (T, K, A, B) tables at once, each as `decompose` does; a hundred of 6 x 6 x 6 take 0.3 s."""
    probability = _checked(tables)
    optimum = solve(probability)
    bits = 1 / np.log(2)
    both = _information(probability.reshape(*probability.shape[:2], -1))
    first, second = _information(probability.sum(3)), _information(probability.sum(2))
    # I_q(Y; X1, X2) of the optimal q. Its range follows from theory; the solver may miss it by the gap.
    union = _entropy(probability.sum((2, 3))) + optimum.value
    union = np.clip(union, np.maximum(first, second), np.minimum(first + second, both))
    gap = np.maximum(optimum.value - optimum.bound, 0)
    parts = np.stack([union - second, union - first, first + second - union, both - union, gap], 1) * bits
    return [Decomposition(*map(float, row)) for row in np.maximum(parts, 0)]  # rounding may go below


def decompose_predictions(pred1: Tensor, pred2: Tensor, labels: Tensor, n_classes: int) -> Decomposition:
    """Decompose what two classifiers' predictions on held-out samples tell of the labels.

    For more than two modalities let `pred1` be the prediction from modality m and `pred2` the prediction from all the
    others together: unique1 is then what m tells and the rest does not.

    Args:
        pred1, pred2: (N,) integer classes.
        labels: (N,) integer classes.
        n_classes: K, of labels and predictions.

    Raises:
        ValueError: shapes differ, no sample, not integers, or a class outside 0..K-1.
    """
    first, second, truth = _classes(n_classes, pred1=pred1, pred2=pred2, labels=labels)
    return decompose(_counts(first, second, truth, n_classes))


def unique_null(
    pred1: Tensor,
    pred2: Tensor,
    labels: Tensor,
    n_classes: int,
    permutations: int = 100,
    quantile: float = 0.95,
    *,
    generator: torch.Generator,
) -> UniqueNull:
    """Quantile of the unique information under permuted labels.

    Permuting the labels keeps the pairs of predictions together and leaves nothing to tell, so that whatever is
    estimated is bias. Unique information above it is taken for real. With the default quantile one in twenty passes
    where neither modality knows anything; where the other one knows much, hardly any that tells nothing of its own
    does: labels that are largely known leave less to be mistaken for information than permuted ones. Of few samples
    the null is high (six classes: 0.18 bits of 120 samples, 0.02 of 1000): true information below stays unseen.

    Args:
        pred1, pred2, labels, n_classes: as in `decompose_predictions`.
        permutations: number of permutations >= 1.
        quantile: 0..1; of the sorted values the one at or above it.
        generator: of the CPU; draws `permutations` permutations.

    Raises:
        ValueError: as `decompose_predictions`, or permutations or quantile out of range.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must lie in [0, 1], got {quantile}")
    first, second, truth = _classes(n_classes, pred1=pred1, pred2=pred2, labels=labels)
    orders = [torch.randperm(len(truth), generator=generator).numpy() for _ in range(permutations)]
    found = decompose_tables(np.stack([_counts(first, second, truth[order], n_classes) for order in orders]))
    values = np.array([(one.unique1, one.unique2) for one in found])
    return UniqueNull(*map(float, np.quantile(values, quantile, axis=0, method="higher")))


def gap(table: ArrayLike, coupling: ArrayLike) -> float:
    """How far a coupling may at most be from the optimum: the duality gap of Frank and Wolfe.

    f(q) - min over all couplings of <gradient of f at q, coupling>; one transport problem a class, each solved as a
    linear program. Independent of how the coupling was found; for tests and audits.

    Args:
        table: (K, A, B) as in `decompose`.
        coupling: (K, A, B) with the pairwise marginals of the table.

    Returns:
        Bits, of the objective -H(Y | X1, X2), and so of each part of a decomposition; never below the true error.

    Raises:
        ValueError: as `decompose`, shapes differ, or marginals that differ by more than 1e-6.
    """
    probability = _checked(np.asarray(table, dtype=np.float64)[None])[0]
    q = np.asarray(coupling, dtype=np.float64)
    if q.shape != probability.shape:
        raise ValueError(f"table {probability.shape} and coupling {q.shape} differ in shape")
    if max(np.abs(q.sum(i) - probability.sum(i)).max() for i in (1, 2)) > 1e-6 or q.min() < 0:
        raise ValueError("the coupling has not the marginals of the table")
    pairs = q.sum(0)
    # Any conditional gives a bound; mixing in a little of the uniform one keeps its logarithm finite.
    conditional = np.where(pairs > 0, q / np.where(pairs > 0, pairs, 1), 1 / len(q))
    cost = np.log((1 - 1e-12) * conditional + 1e-12 / len(q))
    value = float((q * np.log(np.where(q > 0, conditional, 1))).sum())
    least = sum(_transport(cost[y], probability[y].sum(1), probability[y].sum(0)) for y in range(len(q)))
    return (value - least) / float(np.log(2))


def _transport(cost: Floats, rows: Floats, columns: Floats) -> float:
    """Least cost of a plan with these marginals."""
    n_rows, n_columns = cost.shape
    over_columns = np.kron(np.eye(n_rows), np.ones(n_columns))
    over_rows = np.kron(np.ones(n_rows), np.eye(n_columns))
    # One equation follows from the others, and rounding may make it contradict them.
    equations, sums = np.vstack([over_columns, over_rows])[:-1], np.concatenate([rows, columns])[:-1]
    found = linprog(cost.ravel(), A_eq=equations, b_eq=sums, bounds=(0, None), method="highs")
    if found.status != 0:
        raise ValueError(f"transport problem not solved: {found.message}")
    return float(found.fun)


def _checked(tables: ArrayLike) -> Floats:
    """Probabilities (T, K, A, B) of tables of counts."""
    counts = np.asarray(tables, dtype=np.float64)
    if counts.ndim != 4 or counts.size == 0:
        raise ValueError(f"tables (K, A, B) expected, got {counts.shape[1:]}")
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise ValueError("a table must hold finite numbers >= 0")
    totals = counts.sum((1, 2, 3), keepdims=True)
    if not (totals > 0).all():
        raise ValueError("a table holds no sample")
    if (size := counts.shape[1] * (counts.shape[2] + counts.shape[3])) > _LARGEST:
        raise ValueError(f"a table {counts.shape[1:]} is too large: K (A + B) is {size}, more than {_LARGEST}")
    kept = np.where(counts < _FLOOR * totals, 0, counts)
    return kept / kept.sum((1, 2, 3), keepdims=True)


def _entropy(probability: Floats) -> Floats:
    """Of (T, ...), nats, (T,)."""
    flat = probability.reshape(len(probability), -1)
    return -(flat * np.log(np.where(flat > 0, flat, 1))).sum(1)


def _information(joint: Floats) -> Floats:
    """I(Y; X) of (T, K, X), nats, (T,)."""
    return np.maximum(_entropy(joint.sum(2)) + _entropy(joint.sum(1)) - _entropy(joint), 0)


def _classes(n_classes: int, **given: Tensor) -> list[np.ndarray]:
    shapes = {name: tuple(values.shape) for name, values in given.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 or 0 in shape for shape in shapes.values()):
        raise ValueError(f"classes (N,) of the same samples expected, at least one, got {shapes}")
    for name, values in given.items():
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise ValueError(f"{name} must hold integers, got {values.dtype}")
        outside = values[(values < 0) | (values >= n_classes)]
        if outside.numel():
            raise ValueError(f"{name} {int(outside[0])} is outside 0..{n_classes - 1}")
    return [values.detach().cpu().long().numpy() for values in given.values()]


def _counts(first: np.ndarray, second: np.ndarray, labels: np.ndarray, n_classes: int) -> Floats:
    place = (labels * n_classes + first) * n_classes + second
    return np.bincount(place, minlength=n_classes**3).reshape((n_classes,) * 3).astype(np.float64)
