"""Linear probes: what frozen features tell of the labels, and how sure a prediction may be.

Everything here is deterministic: no random start, no sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmablate.metrics.classification import checked_logits

L2 = 1e-2
_BIAS_RIDGE = 1e-6
_MEMORY = 20  # pairs that L-BFGS remembers
_SUFFICIENT, _HALVINGS = 1e-4, 40
_COLDEST, _HOTTEST = 1e-3, 1e3  # temperatures beyond change no probability that a score could see


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised features, fitted by `fit`.

    Attributes:
        weight: (D, K), of standardised features.
        bias: (K,).
        mean, scale: (D,) by which features are standardised; the scale of a constant column is 1.
        gradient_norm: largest absolute entry of the gradient where the fit ended, nats per sample.
        iterations: steps taken.
        converged: the gradient norm is within the tolerance.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    gradient_norm: float
    iterations: int
    converged: bool

    @classmethod
    def fit(
        cls,
        features: Tensor,
        labels: Tensor,
        n_classes: int,
        *,
        l2: float = L2,
        tolerance: float = 1e-6,
        max_iterations: int = 500,
        dtype: torch.dtype = torch.float64,
        chunk: int = 65536,
    ) -> LinearProbe:
        """Minimise mean cross-entropy + l2 / 2 |weight|^2 over weight and bias.

        The problem is strictly convex, so that start and order of samples do not matter. Solved by L-BFGS on the
        whole set from zero, in the metric of the features' covariance (Boehning's bound of the Hessian), which makes
        correlated features cost no extra steps: 20 to 300 steps are usual, most where classes separate.

        Args:
            features: (N, D), detached here; computed where they are.
            labels: (N,) integer classes.
            n_classes: K >= 2; a class without samples gets a small probability.
            l2: ridge of the weights, > 0, in nats per sample; the bias has 1e-6, which keeps that of a class
                without samples finite.
            tolerance: of the largest absolute entry of the gradient. In float32 about 1e-5 can be reached.
            max_iterations: cap on the steps; where it ends the fit early, `converged` is False and the probe is the
                best point so far, which is usable: the loss falls with every step.
            dtype: in which features are kept and multiplied; sums over chunks and the solver are float64.
            chunk: rows whose logits exist at a time; N D numbers of `dtype` and chunk x K logits are the memory.

        Raises:
            ValueError: shapes, K < 2, l2 <= 0, labels outside 0..K-1, or features that are not finite.
        """
        if not l2 > 0:
            raise ValueError(f"l2 must be positive, got {l2}")
        labels = _checked(features, labels, n_classes)
        mean, scale = _standard(features.detach())
        rows = torch.cat([((block.double() - mean) / scale).to(dtype) for block in features.detach().split(chunk)])
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            objective = _Objective(rows, labels, n_classes, l2, chunk)
            found = _lbfgs(objective, objective.start(), objective.preconditioner(), tolerance, max_iterations)
        return cls(found.point[:-1], found.point[-1], mean, scale, found.norm, found.steps, found.norm <= tolerance)

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, K), float64, of features (N, D); a label's log-odds up to a constant of each row.

        Raises:
            ValueError: another number of features than fitted.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features (N, {len(self.mean)}) expected, got {tuple(features.shape)}")
        return (features.detach().double() - self.mean) / self.scale @ self.weight + self.bias


def fit_temperature(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> float:
    """The temperature T by which logits are to be divided for the smallest log-loss.

    Convex in 1 / T: the root of the derivative, by bisection in log T with Newton steps where they stay within.

    Args:
        logits: (N, K), finite.
        labels: (N,) integer classes.
        smoothing: share in [0, 1) of each label's weight that the other classes get, alike.

    Returns:
        T in [1e-3, 1e3]. The upper end, which makes all classes equally probable, where larger logits do not go with
        the true class; the lower end where every sample is right and nothing is smoothed.

    Raises:
        ValueError: shapes, no sample, labels outside 0..K-1, or logits that are not finite.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    logits, labels = checked_logits(logits, labels)
    if not bool(logits.isfinite().all()):
        raise ValueError("logits must be finite to fit a temperature")
    logits = logits - logits.amax(1, keepdim=True)
    true = logits.gather(1, labels.unsqueeze(1))
    others = (logits.sum(1, keepdim=True) - true) / max(1, logits.shape[1] - 1)
    target = ((1 - smoothing) * true + smoothing * others).mean()

    def slope(inverse: float) -> tuple[float, float]:
        """First and second derivative of the log-loss with respect to 1 / T."""
        probability = torch.softmax(logits * inverse, 1)
        expected = (probability * logits).sum(1)
        spread = (probability * logits.square()).sum(1) - expected.square()
        return float(expected.mean() - target), float(spread.mean())

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    if slope(low)[0] >= 0:
        return _HOTTEST
    if slope(high)[0] <= 0:
        return _COLDEST
    inverse = 1.0
    for _ in range(100):
        first, second = slope(inverse)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        step = inverse - first / second if second > 0 else 0.0
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def cross_fitted_temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits divided by temperatures, each half of the samples by that of the other half.

    A temperature fitted on the very samples that are scored would flatter them; so each sample is calibrated by
    samples that it is not one of. The halves are stratified: samples sorted by class (within a class in their
    order) are dealt out in turn.

    Of n samples, the other classes get 1 / (n + 2) of each label, as in Platt's scaling. Few samples that are all
    right would have the smallest temperature there is, and one error in the other half would then cost hundreds of
    nats: the strongest of modalities would be found the weakest.

    Args:
        logits: (N, K), N >= 2, finite.
        labels: (N,) integer classes.

    Returns:
        (N, K) float64, in the order of the samples.

    Raises:
        ValueError: as `fit_temperature`, or a single sample.

    Source of the smoothed targets: Platt 1999, "Probabilistic outputs for support vector machines".
    """
    logits, labels = checked_logits(logits, labels)
    if len(labels) < 2:
        raise ValueError("two samples at least are needed for two halves")
    order = labels.sort(stable=True).indices
    halves = order[::2], order[1::2]
    calibrated = torch.empty_like(logits)
    for scored, other in (halves, halves[::-1]):
        smoothing = 1 / (len(other) + 2)
        calibrated[scored] = logits[scored] / fit_temperature(logits[other], labels[other], smoothing=smoothing)
    return calibrated


def _checked(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    if features.ndim != 2 or labels.shape != features.shape[:1] or features.numel() == 0:
        raise ValueError(
            "features (N, D) and labels (N,) of at least one sample expected, "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    if not bool(features.isfinite().all()):
        raise ValueError("features must be finite")
    return checked_logits(features.new_zeros(1, 1).expand(len(labels), n_classes), labels)[1]


def _standard(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the columns, (D,) float64; the latter 1 where the column is constant."""
    mean = features.mean(0, dtype=torch.float64)
    total = torch.zeros_like(mean)
    for block in features.split(65536):  # the whole set in float64 may be large
        total += (block.double() - mean).square().sum(0)
    deviation = (total / len(features)).sqrt()
    rounding = torch.finfo(features.dtype if features.is_floating_point() else torch.float64).eps
    constant = deviation <= 4 * rounding * mean.abs()
    return mean, torch.where(constant, 1.0, deviation)


class _Objective:
    """Regularised mean cross-entropy of coefficients (D + 1, K), the last row being the bias."""

    def __init__(self, rows: Tensor, labels: Tensor, n_classes: int, l2: float, chunk: int) -> None:
        self.rows, self.labels, self.chunk = rows, labels, chunk
        self.shape = (rows.shape[1] + 1, n_classes)
        self.ridge = torch.full((self.shape[0], 1), l2, dtype=torch.float64, device=rows.device)
        self.ridge[-1] = _BIAS_RIDGE

    def __call__(self, point: Tensor) -> tuple[float, Tensor]:
        """Value and gradient (D + 1, K)."""
        weight, bias = point[:-1].to(self.rows.dtype), point[-1].to(self.rows.dtype)
        total = torch.zeros((), dtype=torch.float64, device=point.device)
        gradient = torch.zeros_like(point)
        for rows, labels in zip(self.rows.split(self.chunk), self.labels.split(self.chunk), strict=True):
            log_probability = torch.log_softmax(torch.addmm(bias, rows, weight), 1)
            own = labels.unsqueeze(1)
            total -= log_probability.gather(1, own).sum(dtype=torch.float64)
            surplus = log_probability.exp_()
            surplus.scatter_add_(1, own, torch.full_like(own, -1, dtype=surplus.dtype))
            gradient[:-1] += rows.mT @ surplus
            gradient[-1] += surplus.sum(0)
        n = len(self.rows)
        value = total / n + (self.ridge * point.square()).sum() / 2
        return float(value), gradient / n + self.ridge * point

    def start(self) -> Tensor:
        return torch.zeros(self.shape, dtype=torch.float64, device=self.rows.device)

    def preconditioner(self) -> Callable[[Tensor], Tensor]:
        """The inverse of a bound of the Hessian: half the covariance of the features, plus the ridge."""
        covariance = torch.zeros(self.shape[0] - 1, self.shape[0] - 1, dtype=torch.float64, device=self.rows.device)
        for rows in self.rows.split(self.chunk):
            covariance += rows.mT @ rows
        bound = covariance / (2 * len(self.rows)) + torch.diag(self.ridge[:-1, 0])
        factor = torch.linalg.cholesky(bound)

        def apply(gradient: Tensor) -> Tensor:
            return torch.cat([torch.cholesky_solve(gradient[:-1], factor), 2 * gradient[-1:]])

        return apply


@dataclass(frozen=True)
class _Found:
    point: Tensor
    norm: float
    steps: int


def _lbfgs(
    objective: Callable[[Tensor], tuple[float, Tensor]],
    point: Tensor,
    precondition: Callable[[Tensor], Tensor],
    tolerance: float,
    max_iterations: int,
) -> _Found:
    """L-BFGS with backtracking; `precondition` stands for the first guess of the inverse Hessian.

    Source: Nocedal and Wright, Numerical Optimization, algorithm 7.4.
    """
    value, gradient = objective(point)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(max_iterations):
        norm = float(gradient.abs().max())
        if not norm > tolerance:
            return _Found(point, norm, step)
        direction = _direction(gradient, pairs, precondition)
        descent = float((direction * gradient).sum())
        # What rounding may add to a value near the minimum is no ascent.
        slack, length = 1e-15 * max(1.0, abs(value)), 1.0
        for _ in range(_HALVINGS):
            candidate = point + length * direction
            new_value, new_gradient = objective(candidate)
            if new_value <= value + _SUFFICIENT * length * descent + slack:
                break
            length /= 2
        else:
            return _Found(point, norm, step)  # as far as this precision goes
        moved, turned = candidate - point, new_gradient - gradient
        curvature = (moved * turned).sum()
        if curvature > 0:
            pairs = [*pairs[1 - _MEMORY :], (moved, turned, curvature)]
        point, value, gradient = candidate, new_value, new_gradient
    return _Found(point, float(gradient.abs().max()), max_iterations)


def _direction(
    gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]], precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """Minus the approximate inverse Hessian times the gradient, by the two loops over the remembered pairs."""
    direction, shares = -gradient, []
    for moved, turned, curvature in reversed(pairs):
        share = (moved * direction).sum() / curvature
        direction = direction - share * turned
        shares.append(share)
    direction = precondition(direction)
    for (moved, turned, curvature), share in zip(pairs, reversed(shares), strict=True):
        direction = direction + moved * (share - (turned * direction).sum() / curvature)
    return direction
