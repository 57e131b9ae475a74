"""Solver of the optimisation behind `mmablate.metrics.information`, for many tables at once.

Over all joint distributions q(y, a, b) with the pairwise marginals p(y, a) and p(y, b) of a table, minimise
f(q) = -H_q(Y | A, B). The problem is convex, but flat where q nears zero, and first-order methods (mirror descent,
alternating projections) need thousands of sweeps there. Its Lagrange dual is a geometric program with few variables,

    maximise  sum p(y, a) u(y, a) + sum p(y, b) v(y, b)
    subject to  h(a, b) = log sum_y exp(u(y, a) + v(y, b)) <= 0  for every pair (a, b),

which a primal-dual interior-point method solves to nine digits in about twenty Newton steps. With multipliers s(a, b)
the coupling is q(y, a, b) = s(a, b) softmax_y(u + v), also where s vanishes. Any u and v give a lower bound of the
minimum (subtract the largest h from u), any q with the marginals an upper one: every result carries the difference.

Source: the optimisation of Bertschinger et al. 2014, "Quantifying unique information" (arXiv:1311.2839); interior
points for it, on a cone program, in Makkeh et al. 2018, "BROJA-2PID" (Entropy 20(4):271). The start is a few of the
alternating projections of Banerjee et al. 2018, "Computing the unique information" (arXiv:1709.07487). The
interior-point method follows Boyd and Vandenberghe, Convex Optimization, section 11.7; its weights and step lengths
are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TOLERANCE = 1e-9  # nats, of complementarity and of the marginals
_NEWTON_STEPS = 100
_PROJECTIONS, _SWEEPS = 20, 3  # of the start
_SLACK = 0.05  # how far within the constraints the start lies, nats
_SHRINK = 0.1  # factor of the barrier between its stages
_LONGEST = 5.0  # step of any dual variable, nats
_TO_BOUNDARY = 0.97
_OFF_CENTRE = 1e4  # factor by which a multiplier may leave its place on the central path
_BARRIER_POWERS = (0.25, 0.0, 0.5)  # tried in turn; the first solved all of 7,740 random tables of counts
_GOOD = 1e-7  # nats: gap with which no other power is tried
_BATCH_BYTES = 2**22  # of the Newton matrices at once: what a cache holds


@dataclass(frozen=True)
class Optimum:
    """Solutions of T problems.

    Attributes:
        coupling: (T, K, A, B), q of each table.
        value: (T,) f(q) = -H_q(Y | A, B), nats.
        bound: (T,) below which no coupling gets, nats; value - bound is the certified error.
    """

    coupling: Floats
    value: Floats
    bound: Floats


def solve(tables: Floats) -> Optimum:
    """Minimise f for every table.

    Args:
        tables: (T, K, A, B) probabilities, each table of sum 1; zeros are welcome.
    """
    n_constraints = tables.shape[1] * (tables.shape[2] + tables.shape[3])
    at_once = max(1, _BATCH_BYTES // (8 * n_constraints**2))
    parts = [_solve_some(tables[start : start + at_once]) for start in range(0, len(tables), at_once)]
    return Optimum(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("coupling", "value", "bound")))


def _solve_some(tables: Floats) -> Optimum:
    best: Optimum | None = None
    for power in _BARRIER_POWERS:
        again = np.arange(len(tables)) if best is None else np.flatnonzero(~(best.value - best.bound < _GOOD))
        if len(again) == 0:
            break
        found = _interior_point(_Problem(tables[again]), power)
        if best is None:
            best = found
            continue
        better = ~(found.value - found.bound >= (best.value - best.bound)[again])
        for name in ("coupling", "value", "bound"):
            getattr(best, name)[again[better]] = getattr(found, name)[better]
    assert best is not None
    return best


class _Problem:
    """Marginals of tables (T, K, A, B), and the functions of the dual variables (T, K, A + B)."""

    def __init__(self, tables: Floats) -> None:
        self.rows, self.columns = tables.sum(3), tables.sum(2)
        self.n_rows = tables.shape[2]
        self.target = np.concatenate([self.rows, self.columns], -1)
        self.allowed: Mask = (self.rows > 0)[..., None] & (self.columns > 0)[..., None, :]
        self.cell: Mask = self.allowed.any(1)
        per_class = self.rows.sum(-1)[..., None, None]
        self.product = self.rows[..., None] * self.columns[..., None, :] / _nonzero(per_class)  # of independent a, b
        # Moving a constant from u(y, .) to v(y, .) changes nothing: one v of every class stands still.
        first = np.arange(tables.shape[3]) == (self.columns > 0).argmax(-1)[..., None]
        self.still: Mask = np.concatenate([self.rows == 0, (self.columns == 0) | first], -1)

    def pairs(self, dual: Floats) -> Floats:
        """u(y, a) + v(y, b), (T, K, A, B)."""
        return dual[..., : self.n_rows, None] + dual[..., None, self.n_rows :]

    def constraints(self, dual: Floats) -> tuple[Floats, Floats]:
        """h (T, A, B), -1 for impossible pairs, and softmax_y (T, K, A, B)."""
        scores = np.where(self.allowed, self.pairs(dual), -np.inf)
        top = np.where(self.cell, scores.max(1), 0)
        odds = np.exp(scores - top[:, None])
        total = odds.sum(1)
        return np.where(self.cell, top + np.log(_nonzero(total)), -1.0), odds / _nonzero(total)[:, None]

    def start(self) -> tuple[Floats, Floats]:
        """Strictly feasible dual variables, and multipliers s (T, A, B), after a few alternating projections."""
        multipliers = self.product.sum(1)
        exp_u = np.where(self.rows > 0, 1.0, 0.0)
        exp_v = np.zeros_like(self.columns)
        for _ in range(_PROJECTIONS):
            for _ in range(_SWEEPS):
                exp_v = self.columns / _nonzero(np.einsum("tab,tya->tyb", multipliers, exp_u))
                exp_u = self.rows / _nonzero(np.einsum("tab,tyb->tya", multipliers, exp_v))
            multipliers = multipliers * np.einsum("tya,tyb->tab", exp_u, exp_v)
            multipliers /= multipliers.sum((1, 2), keepdims=True)
        dual = np.log(_nonzero(np.concatenate([exp_u, exp_v], -1)))
        dual[..., : self.n_rows] -= self.worst(self.constraints(dual)[0])[:, None, None] + _SLACK
        return dual, np.where(self.cell, np.maximum(multipliers, 0.01 * self.product.sum(1)), 0)

    def worst(self, values: Floats) -> Floats:
        """Largest h of every table, (T,)."""
        return np.where(self.cell, values, -np.inf).max((1, 2))

    def finished(self, dual: Floats, multipliers: Floats) -> Optimum:
        """Coupling with the very marginals, its value, and the bound that the dual variables give."""
        values, softmax = self.constraints(dual)
        coupling = multipliers[:, None] * softmax
        for _ in range(_SWEEPS):
            coupling = coupling * (self.rows / _nonzero(coupling.sum(3)))[..., None]
            coupling = coupling * (self.columns / _nonzero(coupling.sum(2)))[..., None, :]
        conditional = _nonzero(coupling) / _nonzero(coupling.sum(1))[:, None]
        value = (coupling * np.where(coupling > 0, np.log(conditional), 0)).sum((1, 2, 3))
        return Optimum(coupling, value, (self.target * dual).sum((1, 2)) - self.worst(values))


def _interior_point(problem: _Problem, power: float) -> Optimum:
    """Newton steps on the perturbed conditions s (-h) = barrier weight, A q = marginals, until both hold."""
    dual, multipliers = problem.start()
    # A barrier equal for all pairs would drive those of tiny mass very far inside; one in proportion to the mass
    # would hardly keep them off the boundary. A root of the mass does both well enough.
    weight = np.where(problem.cell, _nonzero(problem.product.sum(1)) ** power, 0)
    weight /= weight.sum((1, 2), keepdims=True)
    values, softmax = problem.constraints(dual)
    barrier = 0.1 * (multipliers * -values).sum((1, 2))
    for _ in range(_NEWTON_STEPS):
        coupling = multipliers[:, None] * softmax
        unmet = _marginals(coupling) - problem.target
        infeasible = np.abs(unmet).sum((1, 2))
        slackness = np.where(problem.cell, multipliers * -values, 0)
        done = (slackness.sum((1, 2)) < _TOLERANCE) & (infeasible < _TOLERANCE)
        if done.all():
            break
        for _ in range(5):
            off = np.maximum(infeasible, np.abs(slackness - weight * barrier[:, None, None]).sum((1, 2)))
            barrier = np.where((off <= 3 * barrier) & (barrier > _TOLERANCE / 10), _SHRINK * barrier, barrier)
        centre = np.where(problem.cell, weight * barrier[:, None, None] / -values, 0)
        uphill = problem.target - _marginals(softmax * centre[:, None])
        step = _newton(problem, softmax, multipliers, values, uphill)
        rise = (softmax * problem.pairs(step)).sum(1)
        change = centre - multipliers + multipliers / -values * rise
        multipliers_to = multipliers + _within(multipliers, change)[:, None, None] * change
        length = _length(problem, dual, step, values, weight * barrier[:, None, None], (step * uphill).sum((1, 2)))
        moved = np.where(done, 0, length)[:, None, None] * step
        dual = dual + moved
        values, softmax = problem.constraints(dual)
        centre = np.where(problem.cell, weight * barrier[:, None, None] / -values, 0)
        kept = np.clip(multipliers_to, centre / _OFF_CENTRE, centre * _OFF_CENTRE)
        multipliers = np.where(done[:, None, None], multipliers, kept)
    return problem.finished(dual, multipliers)


def _newton(problem: _Problem, softmax: Floats, multipliers: Floats, values: Floats, uphill: Floats) -> Floats:
    """Newton step of the dual variables, (T, K, A + B)."""
    batch, n_classes, n_rows, n_columns = softmax.shape
    width = n_rows + n_columns
    curvature = np.where(problem.cell, multipliers * (1 / -values - 1), 0)
    blocks = softmax[:, :, None] * softmax[:, None] * curvature[:, None, None]  # (T, K, K, A, B)
    diagonal = np.arange(n_classes)
    blocks[:, diagonal, diagonal] += multipliers[:, None] * softmax
    matrix = np.zeros((batch, n_classes, width, n_classes, width))
    along_rows, along_columns = blocks.sum(-1), blocks.sum(-2)
    for a in range(n_rows):
        matrix[:, :, a, :, a] = along_rows[..., a]
    for b in range(n_columns):
        matrix[:, :, n_rows + b, :, n_rows + b] = along_columns[..., b]
    matrix[:, :, :n_rows, :, n_rows:] = blocks.transpose(0, 1, 3, 2, 4)
    matrix[:, :, n_rows:, :, :n_rows] = blocks.transpose(0, 1, 4, 2, 3)
    size = n_classes * width
    matrix = matrix.reshape(batch, size, size)
    # Unit diagonal, since masses span many powers of ten.
    place = np.arange(size)
    still = problem.still.reshape(batch, size)
    scale = np.where(still, 0, 1 / np.sqrt(_nonzero(matrix[:, place, place])))
    matrix *= scale[:, :, None] * scale[:, None]
    matrix[:, place, place] = 1 + 1e-14
    solved = np.linalg.solve(matrix, (uphill.reshape(batch, size) * scale)[..., None])[..., 0]
    step = np.asarray(solved * scale, dtype=np.float64)
    step[~np.isfinite(step)] = 0  # a table beyond this arithmetic stands still, and its gap tells
    return step.reshape(uphill.shape)


def _within(multipliers: Floats, change: Floats) -> Floats:
    """Largest share of `change`, up to 1, that leaves all multipliers positive, (T,)."""
    falling = change < 0
    reach = np.where(falling, multipliers / np.where(falling, -change, 1), np.inf).min((1, 2))
    return np.minimum(1, 0.99 * reach)


def _length(problem: _Problem, dual: Floats, step: Floats, values: Floats, barrier: Floats, slope: Floats) -> Floats:
    """Share of `step`, (T,), that stays within the constraints and raises the objective with its barrier enough."""

    def objective(at: Floats, there: Floats) -> Floats:
        inside = np.where(there < 0, -there, 1)
        return (problem.target * at).sum((1, 2)) + np.where(problem.cell, barrier * np.log(inside), 0).sum((1, 2))

    length = np.minimum(1, _LONGEST / np.maximum(np.abs(step).max((1, 2)), 1e-300))
    inside, outside = np.zeros_like(length), np.full_like(length, np.inf)
    for _ in range(16):
        feasible = problem.worst(problem.constraints(dual + length[:, None, None] * step)[0]) < 0
        inside, outside = np.where(feasible, length, inside), np.where(feasible, outside, length)
        settled = np.isinf(outside) | (inside >= 0.8 * outside)
        if settled.all():
            break
        length = np.where(settled, inside, np.where(inside > 0, (inside + outside) / 2, outside / 4))
    length = np.where(np.isinf(outside), length, _TO_BOUNDARY * inside)
    before = objective(dual, values)
    for _ in range(40):
        there = dual + length[:, None, None] * step
        reached = problem.constraints(there)[0]
        enough = objective(there, reached) >= before + 1e-4 * length * slope - 1e-13
        accepted = (problem.worst(reached) < 0) & enough
        if accepted.all():
            break
        length = np.where(accepted, length, length / 2)
    return length


def _marginals(coupling: Floats) -> Floats:
    """Over b, then over a: (T, K, A + B)."""
    return np.concatenate([coupling.sum(3), coupling.sum(2)], -1)


def _nonzero(values: Floats) -> Floats:
    """`values` with 1 in place of 0, to divide by or to take the logarithm of."""
    return np.where(values > 0, values, 1.0)
