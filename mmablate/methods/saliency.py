"""Algorithm 1: how much of what both modalities know each channel of the teacher carries.

Pure functions. Teacher and student are trained jointly before (`mmablate.losses.joint_loss`), and evaluated here in
eval mode; which channels then stay in the teacher is for `mmablate.methods.channels`.

Source: the modality focusing hypothesis, arXiv:2206.06487, Algorithm 1, and its code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from mmablate.losses.divergence import chosen
from mmablate.losses.knowledge import DISTANCES
from mmablate.models.places import PlacedNetwork

Beyond = Callable[[Tensor], Tensor]

IN_CACHE = 2**16  # values of a linear rest at a time: four times as fast as what leaves the cache
ELEMENTS = 2**22
"""Values that are held at once where no `chunk` is given: 16 MiB of float32."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """What `channel_saliency` found, on the CPU in float64.

    Attributes:
        scores: (C,), E[d(permuted teacher, student)] - d(teacher, student); 0 for a channel that carries nothing
            that the student knows, high for a modality-general one. May be negative.
        standard_errors: (C,), of the scores, over samples.
        clean: d(teacher, student). `scores + clean` is the score of the released code.
    """

    scores: Tensor
    standard_errors: Tensor
    clean: float

    def normalised(self) -> Tensor:
        """Scores (C,) brought linearly to [0, 1], as published; all 0 where all scores are equal."""
        low, high = self.scores.min(), self.scores.max()
        return (self.scores - low) / (high - low) if high > low else torch.zeros_like(self.scores)

    def ranking(self) -> tuple[int, ...]:
        """The channels, the most general first; of equal ones the lower number first."""
        return tuple(self.scores.argsort(descending=True, stable=True).tolist())


def rest_of(network: PlacedNetwork, place: str) -> Beyond:
    """What maps the values at a place to logits: the layer itself where that is one linear layer.

    Raises:
        ValueError: no such place.
    """
    if place not in network.places:
        raise ValueError(f"no place is called {place!r} (there are: {', '.join(network.places)})")
    last = network.stages[network.places[-1]]
    if place == network.places[-2] and isinstance(last, nn.Linear):
        return last
    return partial(network.beyond, place=place)


@torch.no_grad()
def channel_saliency(
    beyond: Beyond,
    hidden: Tensor,
    student_logits: Tensor,
    *,
    permutations: int | Literal["exact"],
    distance: str = "squared",
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> Saliency:
    """Permutation importance of every channel at a place of the teacher, measured against the student.

    One channel at a time is permuted over all N samples, with the same permutations for all channels; what the
    distance between the logits of teacher and student grows by is its score.

    A channel that is independent of the other channels and of the student's logits scores 0 in expectation, for
    either distance: permuting it leaves the joint distribution of both networks' logits as it was. That is why 0,
    and not the least score, is the null that `significant_count` tests against. With a linear rest and independent
    channels the squared score is twice the mean over classes of w_kc Cov(student's logit k, channel c).

    Args:
        beyond: maps values at the place, (B, C, ...), to the teacher's logits (B, K), each sample by itself; in
            eval mode. An `nn.Linear` (see `rest_of`) is computed in closed form in float64, without a forward pass
            a channel.
        hidden: (N, C, ...), what stands at the place, for the whole set.
        student_logits: (N, K), of the unchanged student.
        permutations: their number M, published 100 (Gaussian, VGGSound) or 10 (RAVDESS); or "exact", the
            expectation over all permutations, for a linear rest and the squared distance.
        distance: "squared", the mean over samples and classes of the squared difference of logits (as in the
            Gaussian and RAVDESS code), or "l1", of the absolute one (VGGSound).
        generator: that the permutations are drawn from; needed unless exact.
        chunk: samples that go through `beyond` at once, or values that the linear path holds; by default as many as
            hold 2^22 values at the place. Beside these, C x N sums are kept.

    Returns:
        Scores are exactly 0 for channels that the teacher ignores. Standard errors are those of a statistic over
        pairs of samples: a sample counts both as the one that gets a foreign value and as the one that gives its own.

    Raises:
        ValueError: shapes that do not belong together, fewer than two samples, logits that are not finite, an
            unknown distance, a number of permutations or chunk below 1, no generator, or "exact" where there is no
            closed form.

    Departs from the code, where each channel has permutations of its own (and RAVDESS permutes within a batch, and
    keeps the last batch alone); d(teacher, student) is subtracted, which changes no rank.
    """
    n = _checked(hidden, student_logits, permutations, chunk)
    measure = chosen(DISTANCES, distance, "the distance")
    flat = isinstance(beyond, nn.Linear) and hidden.ndim == 2
    if permutations == "exact":
        if not flat or distance != "squared":
            raise ValueError("permutations: exact needs one linear layer behind the place, and the squared distance")
        orders = None
    elif generator is None:
        raise ValueError("generator is needed to draw permutations from")
    else:
        orders = _draw(n, permutations, generator).to(hidden.device)
    if flat:
        assert isinstance(beyond, nn.Linear)
        received, given, clean = _through_linear(beyond, hidden, student_logits, orders, distance, chunk or IN_CACHE)
    else:
        assert orders is not None
        at_once = chunk or max(1, ELEMENTS // hidden[0].numel())
        received, given, clean = _through_network(beyond, hidden, student_logits, orders, measure, at_once)
    errors = (received + given).std(1) / math.sqrt(n)
    found = Saliency(received.mean(1).cpu(), errors.cpu(), clean)
    if not (math.isfinite(clean) and bool(torch.isfinite(found.scores).all())):
        raise ValueError("logits of teacher or student are not finite: there is no saliency")
    return found


def significant_count(saliency: Saliency, level: float = 0.05) -> int:
    """Number of channels that carry something the student knows: the data-driven count.

    The null of a channel is a score of 0 (see `channel_saliency` for why), the test one-sided with z = score /
    standard error, and the level one of the false discovery rate over channels (Benjamini-Hochberg). The test is
    one given the two networks. On samples that they were trained on, chance agreement that they have learned counts
    as knowledge too; on fresh samples it does not. Measured on the Gaussian data of Table 2 (50 seeds, 200 samples):
    where 10, 20, 30 channels are shared it comes to 18, 28, 35 on the training samples and 10, 21, 30 on fresh ones.

    Returns:
        1..C: at least one channel stays, since a teacher without channels has nothing to say.

    Raises:
        ValueError: `level` outside (0, 1), or standard errors that are not known (NaN), as of scores from a file.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    scores, errors = saliency.scores, saliency.standard_errors
    if not bool(torch.isfinite(errors).all()):
        raise ValueError("the count cannot come from scores without standard errors: say how many channels stay")
    z = torch.where(scores == 0, 0.0, scores / errors)
    p = torch.special.ndtr(-z).sort().values
    bounds = level * torch.arange(1, len(p) + 1, dtype=p.dtype) / len(p)
    below = (p <= bounds).nonzero()
    return max(1, int(below.max()) + 1 if len(below) else 0)


def _checked(hidden: Tensor, student: Tensor, permutations: int | str, chunk: int | None) -> int:
    if hidden.ndim < 2 or student.ndim != 2 or len(hidden) != len(student) or hidden.numel() == 0:
        raise ValueError(
            f"values (N, C, ...) and logits (N, K) expected, got {tuple(hidden.shape)} and {tuple(student.shape)}"
        )
    if len(hidden) < 2:
        raise ValueError("at least two samples are needed to permute a channel over them")
    counted = isinstance(permutations, int) and not isinstance(permutations, bool) and permutations >= 1
    if not counted and permutations != "exact":
        raise ValueError(f"permutations must be at least 1, or exact, got {permutations!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    return len(hidden)


def _draw(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Permutations (count, n) of n samples."""
    return torch.stack([torch.randperm(n, generator=generator, device=generator.device) for _ in range(count)])


Sums = tuple[Tensor, Tensor, float]
"""Mean growth of the distance (C, N) at each sample that gets a value, (C, N) at each that gives one; d itself."""


def _through_network(
    beyond: Beyond,
    hidden: Tensor,
    student: Tensor,
    orders: Tensor,
    measure: Callable[[Tensor], Tensor],
    chunk: int,
) -> Sums:
    """Blocks of samples, each as copies that have one channel permuted, of as many channels and repeats as fit.

    The unchanged values go through as copies too: kernels may round one sample unlike in batches of another size,
    and a channel that the teacher ignores is to score exactly 0.
    """
    (n, n_channels), n_orders = hidden.shape[:2], len(orders)
    received = torch.zeros(n_channels, n, dtype=torch.float64, device=hidden.device)
    given, clean = torch.zeros_like(received), 0.0
    samples = torch.arange(n, device=hidden.device)
    for rows in samples.split(min(n, chunk)):
        own, theirs = hidden[rows], student[rows].double()
        copies = max(1, chunk // len(rows))
        unchanged: dict[int, Tensor] = {}

        def distances(some: Tensor, theirs: Tensor = theirs) -> Tensor:
            """(copies, rows, C, ...) -> (copies, rows)."""
            logits = beyond(some.flatten(0, 1)).double().unflatten(0, some.shape[:2])
            return measure(logits - theirs).mean(-1)

        for jobs in torch.arange(n_channels * n_orders, device=hidden.device).split(copies):
            tried = own.expand(len(jobs), *own.shape)
            if len(jobs) not in unchanged:
                unchanged[len(jobs)] = distances(tried)
            channels, donors = jobs // n_orders, orders[jobs % n_orders][:, rows]
            tried, which = tried.clone(), torch.arange(len(jobs), device=hidden.device)[:, None]
            tried[which, samples[: len(rows)], channels[:, None]] = hidden[donors, channels[:, None]]
            change = distances(tried) - unchanged[len(jobs)]
            received.index_put_((channels[:, None], rows), change, accumulate=True)
            given.index_put_((channels[:, None], donors), change, accumulate=True)
        clean += float(next(iter(unchanged.values()))[0].sum())
    return received / n_orders, given / n_orders, clean / n


def _through_linear(
    layer: nn.Linear, hidden: Tensor, student: Tensor, orders: Tensor | None, distance: str, chunk: int
) -> Sums:
    """Permuting channel c adds (value got - own value) * W[:, c] to the logits."""
    weight, values = layer.weight.double(), hidden.double()
    bias = None if layer.bias is None else layer.bias.double()
    apart = nn.functional.linear(values, weight, bias) - student.double()
    clean = float(DISTANCES[distance](apart).mean())
    slope, curve = apart @ weight / len(weight), weight.square().mean(0)
    if orders is None:
        mean, variance = values.mean(0), values.var(0, correction=0)
        curved = curve * (variance + (values - mean).square())
        received = 2 * slope * (mean - values) + curved
        given = 2 * (slope.mean(0) * values - (slope * values).mean(0)) + curved
        return received.T, given.T, clean
    received, given = torch.zeros_like(values), torch.zeros_like(values)
    for some in orders.split(max(1, chunk // values.numel())):
        moved = values[some] - values
        if distance == "squared":
            change = moved * (2 * slope + curve * moved)
        else:
            change = torch.zeros_like(moved)
            for own, row in zip(apart.T[..., None], weight, strict=True):
                change += (own + row * moved).abs() - own.abs()
            change /= len(weight)
        received += change.sum(0)
        given.index_add_(0, some.flatten(), change.flatten(0, 1))
    return (received / len(orders)).T, (given / len(orders)).T, clean
