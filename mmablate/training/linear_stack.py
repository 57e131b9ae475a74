"""Many linear softmax classifiers at once, each by gradient descent on its whole training set.

One classifier of 50 channels on 200 samples is a few thousand multiplications a step: as a module with an optimiser,
nearly all of its time goes to calls. Here the runs of a study are rows of a few large products. Runs on the same
inputs share one product a step, and inputs of equal shape are batched.

Cross-entropy and distillation at temperature 1 make one target: with weights c and k, one-hot labels y and the
teacher's q, the gradient of c·CE + k·KL(q‖p) by the logits is (c + k)·p − (c·y + k·q). With two classes the rows of
that gradient are opposite, so that the sum of the two rows of the weights stays as it was and their difference
is all there is to train: half the work, and both rows are recovered at the end.

Layout: rows of weights first (R, D), products (R, D)·(D, N) and (R, N)·(N, D), which have a long inner side. The
other way round, (N, D)·(D, R), an inner side of two to eight columns is four times slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmablate.errors import NonFiniteLoss

CHUNK = 2**20  # input values that are trained on together: more would leave the processor's cache

OVERFLOW = 1e30  # logits that stay below it have finite losses and gradients in float32

Losses = tuple[tuple[int, dict[str, float]], ...]


@dataclass(frozen=True, eq=False)
class LinearRun:
    """A classifier to train. Runs whose `inputs` are the same tensor object share their products.

    Attributes:
        inputs: (N, D), floating point; its type is the one computed in.
        labels: int64 (N,), 0 to K - 1.
        weight: (K, D), to start from; not changed.
        bias: (K,), to start from; not changed.
        ce: weight of the cross-entropy, nats a sample.
        kd: weight of KL(teacher ‖ classifier) at temperature 1, nats a sample (a mean over N·K is a weight of 1/K).
        teacher: logits (N, K); needed where `kd` is not 0.
    """

    inputs: Tensor
    labels: Tensor
    weight: Tensor
    bias: Tensor
    ce: float = 1.0
    kd: float = 0.0
    teacher: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TrainedLinear:
    """A classifier after its training, or at the step that it stopped at.

    Attributes:
        weight: (K, D).
        bias: (K,).
        losses: step and unweighted mean "ce" and "kd" that it computed before its update, in nats; the steps asked
            for and the last one. "kd" is 0 where it has no weight.
        fault: the first loss that was not finite, whose step was not taken (steps + 1: the last step led to it);
            None where all went well.
    """

    weight: Tensor
    bias: Tensor
    losses: Losses
    fault: NonFiniteLoss | None = None


@dataclass(frozen=True, eq=False)
class LinearPair:
    """Teacher and student that are trained together on labels and on each other's logits.

    The loss is CE(teacher) + CE(student) + distance · mean over N·K of (teacher logits − student logits)².

    Attributes:
        teacher, student: one run each, of the same N and K and the same labels; their ce, kd and teacher are not read.
        distance: weight of the squared distance.
    """

    teacher: LinearRun
    student: LinearRun
    distance: float = 1.0


@dataclass(frozen=True, eq=False)
class TrainedPair:
    """A pair after its training; `losses` are "ce_teacher", "ce_student" and "distance" (unweighted)."""

    teacher_weight: Tensor
    teacher_bias: Tensor
    student_weight: Tensor
    student_bias: Tensor
    losses: Losses
    fault: NonFiniteLoss | None = None


@dataclass(frozen=True)
class _Plan:
    lr: float
    steps: int
    momentum: float
    record: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)) or self.steps < 1 or not 0 <= self.momentum < 1:
            given = f"lr {self.lr}, steps {self.steps}, momentum {self.momentum}"
            raise ValueError(f"expected lr > 0, steps >= 1 and momentum in [0, 1), found {given}")


@torch.no_grad()
def train_linear(
    runs: Sequence[LinearRun], *, lr: float, steps: int, momentum: float = 0.0, record: Iterable[int] = ()
) -> list[TrainedLinear]:
    """Gradient descent of every run on its whole set; the update is that of `torch.optim.SGD`.

    A run does not depend on its neighbours, but for the order in which products add up.

    Logits cannot grow beyond what rate, steps and inputs allow, since a gradient by a logit is at most c + k. Runs
    for which that is below `OVERFLOW` need no look at their losses; the others are trained one by one, each loss
    looked at before its step.

    Args:
        runs: of any N, D and K.
        lr: step size, constant.
        steps: number of steps.
        momentum: of the gradients; 0 is plain descent.
        record: steps, counted from 1, whose losses are kept beside those of the last.

    Returns:
        One a run, in order.

    Raises:
        ValueError: shapes that do not fit, a run that distils without a teacher, or lr, steps or momentum out of range.
    """
    plan = _Plan(lr, steps, momentum, frozenset(record) | {steps})
    for run in runs:
        _check(run)
    sharing: dict[int, list[int]] = {}
    for index, run in enumerate(runs):
        sharing.setdefault(id(run.inputs), []).append(index)
    alone: list[int] = []
    stacks: dict[object, list[list[int]]] = {}
    for members in sharing.values():
        largest = float(runs[members[0]].inputs.abs().max())
        risky = [index for index in members if not _reach(runs[index], largest, plan) < OVERFLOW]
        alone += risky
        shapes: dict[object, list[int]] = {}
        for index in (index for index in members if index not in risky):
            shapes.setdefault(len(runs[index].weight), []).append(index)
        for kept in shapes.values():
            inputs = runs[kept[0]].inputs
            shape = (inputs.shape, inputs.dtype, inputs.device, len(runs[kept[0]].weight), len(kept))
            stacks.setdefault(shape, []).append(kept)
    results: dict[int, TrainedLinear] = {index: _train_alone(runs[index], plan) for index in alone}
    for groups in stacks.values():
        for piece in _pieces(groups, runs[groups[0][0]].inputs.numel()):
            trained = _train_stack([[runs[index] for index in group] for group in piece], plan)
            results.update(zip((index for group in piece for index in group), trained, strict=True))
    return [results[index] for index in range(len(runs))]


def _check(run: LinearRun) -> None:
    (n, d), k = run.inputs.shape, len(run.weight)
    fits = n > 0 and run.labels.shape == (n,) and run.weight.shape == (k, d) and run.bias.shape == (k,) and k > 1
    if not fits or (run.teacher is not None and run.teacher.shape != (n, k)):
        shapes = [tuple(x.shape) for x in (run.inputs, run.labels, run.weight, run.bias)]
        teacher = None if run.teacher is None else tuple(run.teacher.shape)
        raise ValueError(
            f"inputs, labels, weight, bias {shapes} and teacher {teacher} are not (N, D), (N,), (K, D), (K,), (N, K)"
        )
    if run.kd != 0 and run.teacher is None:
        raise ValueError("distillation without a teacher's logits")


def _reach(run: LinearRun, largest: float, plan: _Plan) -> float:
    """A bound on the logits at every step: |w| grows by lr·(|c| + |k|)·max|x| a step, momentum adds up to 1/(1 − m)."""
    largest = max(largest, 1.0) if largest == largest else largest
    start = float(torch.maximum(run.weight.abs().max(), run.bias.abs().max()))
    force = (abs(run.ce) + abs(run.kd)) * largest
    grown = start + plan.lr * plan.steps * force / (1 - plan.momentum)
    told = float(run.teacher.abs().max()) if run.kd != 0 and run.teacher is not None else 0.0
    bound = (run.inputs.shape[1] + 1) * largest * grown
    return bound + told  # NaN where any of them is


def _pieces(groups: list[list[int]], size: int) -> list[list[list[int]]]:
    """Groups, so many together that their inputs, `size` values each, stay within `CHUNK`."""
    count = max(1, CHUNK // max(1, size))
    return [groups[start : start + count] for start in range(0, len(groups), count)]


def _with_ones(inputs: Tensor) -> Tensor:
    """(N, D + 1): the bias becomes the weight of a channel of ones."""
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)


def _rows(run: LinearRun) -> Tensor:
    """Weights with the bias as last column, (K, D + 1), of the type of the inputs."""
    return torch.cat([run.weight, run.bias[:, None]], dim=1).to(run.inputs)


def _one_hot(run: LinearRun) -> Tensor:
    """(K, N)."""
    return F.one_hot(run.labels, len(run.weight)).T.to(run.inputs)


def _told(run: LinearRun) -> Tensor:
    """The teacher's log-probabilities (K, N); zeros where nothing is distilled."""
    if run.kd == 0 or run.teacher is None:
        return run.inputs.new_zeros(len(run.weight), len(run.inputs))
    return torch.log_softmax(run.teacher.to(run.inputs), dim=1).T


class _Targets(NamedTuple):
    """What a stack is compared with; all (..., K, N), the weights (..., 1, 1)."""

    labels: Tensor
    told: Tensor
    ce: Tensor
    kd: Tensor

    @property
    def mixed(self) -> Tensor:
        """c·y + k·q."""
        return self.ce * self.labels + self.kd * self.told.exp()

    def losses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Mean CE and KL over the samples, (...), of logits (..., K, N); KL is 0 where nothing is distilled."""
        logp = torch.log_softmax(logits, dim=-2)
        kl = (self.told.exp() * (self.told - logp)).sum(dim=-2).mean(dim=-1)
        kl = torch.where(self.kd[..., 0, 0] != 0, kl, torch.zeros_like(kl))
        return _cross_entropy(logp, self.labels), kl


def _cross_entropy(logp: Tensor, one_hot: Tensor) -> Tensor:
    """Mean over the samples, (...), of log-probabilities and one-hot labels (..., K, N)."""
    return -(one_hot * logp).sum(dim=-2).mean(dim=-1)


def _targets(runs: Sequence[LinearRun]) -> _Targets:
    ce, kd = (runs[0].inputs.new_tensor([getattr(run, name) for run in runs]) for name in ("ce", "kd"))
    labels, told = torch.stack([_one_hot(run) for run in runs]), torch.stack([_told(run) for run in runs])
    return _Targets(labels, told, ce[:, None, None], kd[:, None, None])


def _train_stack(groups: list[list[LinearRun]], plan: _Plan) -> list[TrainedLinear]:
    """Groups of S inputs with R runs each, all of one shape; see `train_linear`."""
    x = torch.stack([_with_ones(group[0].inputs) for group in groups])
    runs = [run for group in groups for run in group]
    s, n, r, k = len(groups), x.shape[1], len(groups[0]), len(runs[0].weight)
    start = torch.stack([_rows(run) for run in runs]).view(s, r, k, -1)
    targets = _Targets(*(part.view(s, r, *part.shape[1:]) for part in _targets(runs)))
    minus, scale = -targets.mixed, targets.ce + targets.kd
    if k == 2:  # the difference of the two rows; both move by the same amount, away from each other
        state, minus, pace = start[:, :, 1] - start[:, :, 0], minus[:, :, 1], 2.0
        scale = scale[:, :, 0]
    else:
        state, minus, pace = start.flatten(1, 2).clone(), minus.flatten(1, 2), 1.0
        scale = scale.expand(s, r, k, 1).flatten(1, 2)
    xt, z, velocity = x.transpose(1, 2), x.new_empty(s, state.shape[1], n), torch.zeros_like(state)
    kept: list[tuple[int, list[float], list[float]]] = []
    for step in range(1, plan.steps + 1):
        torch.bmm(state, xt, out=z)
        if step in plan.record:
            ce, kl = targets.losses(_logits(z, r, k))
            kept.append((step, ce.flatten().tolist(), kl.flatten().tolist()))
        p = z.sigmoid_() if k == 2 else z.view(s, r, k, n).softmax(dim=2).view(s, r * k, n)
        torch.addcmul(minus, p, scale, out=z)
        if plan.momentum:
            velocity.baddbmm_(z, x, beta=plan.momentum, alpha=pace / n)
            state.sub_(velocity, alpha=plan.lr)
        else:
            state.baddbmm_(z, x, alpha=-plan.lr * pace / n)
    if k == 2:
        total = start[:, :, 0] + start[:, :, 1]
        ended = torch.stack([total - state, total + state], dim=2) / 2
    else:
        ended = state.view(s, r, k, -1)
    return [
        TrainedLinear(
            rows[:, :-1].contiguous(),
            rows[:, -1].contiguous(),
            tuple((step, {"ce": ce[index], "kd": kl[index]}) for step, ce, kl in kept),
        )
        for index, rows in enumerate(ended.flatten(0, 1))
    ]


def _logits(z: Tensor, r: int, k: int) -> Tensor:
    """(S, R, K, N), up to a constant over the classes, of rows or, with two classes, their differences."""
    if k == 2:
        return torch.stack([torch.zeros_like(z), z], dim=2)
    return z.view(len(z), r, k, -1)


def _train_alone(run: LinearRun, plan: _Plan) -> TrainedLinear:
    """One run, row by row, each loss looked at before its step."""
    x, rows = _with_ones(run.inputs), _rows(run)
    targets, velocity = _targets([run]), torch.zeros_like(rows)
    kept: list[tuple[int, dict[str, float]]] = []
    fault = None
    for step in range(1, plan.steps + 2):  # one more look than steps: the last step may be the one too far
        z = rows @ x.T
        ce, kl = (float(value) for value in targets.losses(z[None]))
        fault = _first_fault(step, [("ce", ce, run.ce), ("kd", kl, run.kd)])
        if fault is not None or step > plan.steps:
            break
        if step in plan.record:
            kept.append((step, {"ce": ce, "kd": kl}))
        pull = (run.ce + run.kd) * z.softmax(dim=0) - targets.mixed[0]
        velocity = plan.momentum * velocity + pull @ x / len(x)
        rows = rows - plan.lr * velocity
    return TrainedLinear(rows[:, :-1].contiguous(), rows[:, -1].contiguous(), tuple(kept), fault)


def _first_fault(step: int, terms: list[tuple[str, float, float]]) -> NonFiniteLoss | None:
    """Of terms (name, value, weight) the first that is not finite, then "total", their weighted sum in float32.

    Those of weight 0 are not asked.
    """
    asked = [(name, value, weight) for name, value, weight in terms if weight]
    for name, value, _ in asked:
        if not math.isfinite(value):
            return NonFiniteLoss(name, value, step)
    whole = float(torch.tensor([value * weight for _, value, weight in asked], dtype=torch.float32).sum())
    return None if math.isfinite(whole) else NonFiniteLoss("total", whole, step)


@torch.no_grad()
def train_linear_pairs(
    pairs: Sequence[LinearPair], *, lr: float, steps: int, momentum: float = 0.0, record: Iterable[int] = ()
) -> list[TrainedPair]:
    """Trains teacher and student of every pair together, as step 1 of Algorithm 1; see `train_linear`.

    The distance has no bounded gradient, so that a pair may diverge. The distance of linear logits is a quadratic
    of the weights and all other forces are bounded: a pair either stays within reach or grows to the end. A pair
    that ends with a loss that is not finite, or above 1e15, is trained a second time on its own, each loss looked at
    before its step, to name the first one that is not finite.

    Returns:
        One a pair, in order.

    Raises:
        ValueError: as `train_linear`, or teacher and student differ in N or K.

    Source: Xue et al. 2023, arXiv:2206.06487, Algorithm 1; the released code's weights are 1.
    """
    plan = _Plan(lr, steps, momentum, frozenset(record) | {steps})
    stacks: dict[object, list[list[int]]] = {}
    for index, pair in enumerate(pairs):
        sides = (pair.teacher, pair.student)
        for side in sides:
            _check(LinearRun(side.inputs, side.labels, side.weight, side.bias))
        if len(sides[0].inputs) != len(sides[1].inputs) or len(sides[0].weight) != len(sides[1].weight):
            raise ValueError("teacher and student differ in samples or classes")
        shape = tuple((x.inputs.shape, x.inputs.dtype, x.inputs.device, len(x.weight)) for x in sides)
        stacks.setdefault(shape, []).append([index])
    results: dict[int, TrainedPair] = {}
    for groups in stacks.values():
        first = pairs[groups[0][0]]
        for piece in _pieces(groups, first.teacher.inputs.numel() + first.student.inputs.numel()):
            chosen = [index for (index,) in piece]
            results.update(zip(chosen, _train_pairs([pairs[index] for index in chosen], plan), strict=True))
    for index, result in results.items():
        values = [value for _, losses in result.losses for value in losses.values()]
        if not all(math.isfinite(value) and value < 1e15 for value in values) or not _finite(result):
            results[index] = _train_pairs([pairs[index]], plan, looking=True)[0]
    return [results[index] for index in range(len(pairs))]


def _finite(pair: TrainedPair) -> bool:
    parts = (pair.teacher_weight, pair.teacher_bias, pair.student_weight, pair.student_bias)
    return all(bool(part.isfinite().all()) for part in parts)


def _train_pairs(pairs: list[LinearPair], plan: _Plan, looking: bool = False) -> list[TrainedPair]:
    """Pairs of one shape; `looking` at every loss of a single pair, which then ends at the first fault."""
    sides = [[pair.teacher for pair in pairs], [pair.student for pair in pairs]]
    x = [torch.stack([_with_ones(run.inputs) for run in side]) for side in sides]
    rows = [torch.stack([_rows(run) for run in side]) for side in sides]
    labels = torch.stack([_one_hot(run) for run in sides[0]])
    weight = labels.new_tensor([pair.distance for pair in pairs])[:, None, None]
    s, k, n = labels.shape
    xt, velocity = [values.transpose(1, 2) for values in x], [torch.zeros_like(values) for values in rows]
    z, pull = labels.new_empty(2, s, k, n), labels.new_empty(2, s, k, n)
    kept: list[tuple[int, list[list[float]]]] = []
    fault = None
    for step in range(1, plan.steps + 1 + looking):
        for side in (0, 1):
            torch.bmm(rows[side], xt[side], out=z[side])
        apart = z[0] - z[1]
        if looking or step in plan.record:
            values = [_cross_entropy(z[side].log_softmax(dim=1), labels).tolist() for side in (0, 1)]
            values.append(apart.square().mean(dim=(1, 2)).tolist())
            if looking:
                names = zip(("ce_teacher", "ce_student", "distance"), (1.0, 1.0, pairs[0].distance), strict=True)
                fault = _first_fault(
                    step, [(name, value[0], w) for (name, w), value in zip(names, values, strict=True)]
                )
                if fault is not None or step > plan.steps:
                    break
            if step in plan.record:
                kept.append((step, values))
        apart.mul_(weight * (2 / k))
        torch.softmax(z, 2, out=pull).sub_(labels)
        pull[0].add_(apart)
        pull[1].sub_(apart)
        for side in (0, 1):
            velocity[side].baddbmm_(pull[side], x[side], beta=plan.momentum, alpha=1 / n)
            rows[side].sub_(velocity[side], alpha=plan.lr)
    return [_trained_pair(rows[0][i], rows[1][i], kept, i, fault) for i in range(s)]


def _trained_pair(
    teacher: Tensor, student: Tensor, kept: list[tuple[int, list[list[float]]]], index: int, fault: NonFiniteLoss | None
) -> TrainedPair:
    losses = tuple(
        (step, {"ce_teacher": t[index], "ce_student": s[index], "distance": d[index]}) for step, (t, s, d) in kept
    )
    weights = [part.contiguous() for rows in (teacher, student) for part in (rows[:, :-1], rows[:, -1])]
    return TrainedPair(weights[0], weights[1], weights[2], weights[3], losses, fault)
