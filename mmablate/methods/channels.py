"""Which channels of the teacher stay, and what stands in place of the others.

Source: the modality focusing hypothesis, arXiv:2206.06487, section 5, and its code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmablate.methods.saliency import Saliency

KEEP = ("general", "specific", "random", "all")
HOW = ("drop", "zero", "mean", "batch_mean")


def kept_count(n_channels: int, ratio: float) -> int:
    """Channels that stay where a share of them, rounded down to whole channels, is removed.

    Raises:
        ValueError: `ratio` outside [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")
    return n_channels - math.floor(ratio * n_channels + 1e-9)  # 0.29 * 100 is 28.999...


def chosen_channels(
    saliency: Saliency | None,
    n_channels: int,
    *,
    keep: str,
    count: int | None = None,
    generator: torch.Generator | None = None,
    replacement: bool = False,
) -> tuple[int, ...]:
    """The channels that stay in the teacher.

    Args:
        saliency: of these channels; needed for "general" and "specific".
        n_channels: C.
        keep: "general", the `count` of the highest score (mode 1 of the released code); "specific", those of the
            lowest (mode 2: the most general ones are removed); "random" (mode 0); "all".
        count: how many stay; of no meaning for "all".
        generator: that random channels are drawn from.
        replacement: draw random channels with replacement, as the released code of the Gaussian experiments does:
            a channel may then stand there several times.

    Returns:
        Ascending numbers 0..C-1. Of equal scores the channel of the lower number counts as the more general one.

    Raises:
        ValueError: unknown `keep`, `count` outside 0..C, saliency of another number of channels, or what the choice
            needs is missing.
    """
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}")
    if replacement and keep != "random":
        raise ValueError(f"replacement belongs to keep random, got keep {keep!r}")
    if keep == "all":
        return tuple(range(n_channels))
    if count is None or not 0 <= count <= n_channels:
        raise ValueError(f"count must lie in 0..{n_channels}, the number of channels, got {count}")
    if keep == "random":
        return _random(n_channels, count, generator, replacement)
    if saliency is None or len(saliency.scores) != n_channels:
        of = "none" if saliency is None else f"one of {len(saliency.scores)}"
        raise ValueError(f"keep {keep} needs a saliency of {n_channels} channels, got {of}")
    ranking = saliency.ranking()
    return tuple(sorted(ranking[:count] if keep == "general" else ranking[n_channels - count :]))


def _random(n_channels: int, count: int, generator: torch.Generator | None, replacement: bool) -> tuple[int, ...]:
    if generator is None:
        raise ValueError("generator is needed to draw random channels from")
    if replacement:
        drawn = torch.randint(n_channels, (count,), generator=generator, device=generator.device)
    else:
        drawn = torch.randperm(n_channels, generator=generator, device=generator.device)[:count]
    return tuple(sorted(drawn.tolist()))


def removed(hidden: Tensor, kept: Sequence[int], *, how: str, mean: Tensor | None = None) -> Tensor:
    """What stands at a place without the channels that are not kept.

    Args:
        hidden: (B, C, ...).
        kept: numbers of channels 0..C-1.
        how: "drop", the others are left out (the released code of the Gaussian experiments): (B, len(kept), ...) in
            the order of `kept`; "zero" (VGGSound), "mean" or "batch_mean" (RAVDESS), the others are replaced by zero,
            by `mean`, by their mean over this batch. The last one lets a sample's value hang on its batch.
        mean: for "mean": of the training set, over samples, of a shape that fits (C, ...).

    Returns:
        A new tensor; gradients flow through what stays ("batch_mean": and through the means).

    Raises:
        ValueError: unknown `how`, a channel that there is not, nothing left to drop to, or a mean that is missing or
            does not fit.
    """
    if how not in HOW:
        raise ValueError(f"how must be one of {', '.join(HOW)}, got {how!r}")
    n_channels = hidden.shape[1]
    outside = [channel for channel in kept if not 0 <= channel < n_channels]
    if outside:
        raise ValueError(f"channels are numbered 0..{n_channels - 1}, got {outside[0]}")
    if how == "drop":
        if not kept:
            raise ValueError("how drop needs at least one channel that stays")
        return hidden[:, list(kept)]
    stays = torch.zeros(n_channels, dtype=torch.bool, device=hidden.device)
    stays[list(kept)] = True
    stays = stays.view(-1, *[1] * (hidden.ndim - 2))
    return torch.where(stays, hidden, _instead(hidden, how, mean))


def _instead(hidden: Tensor, how: str, mean: Tensor | None) -> Tensor:
    if how == "zero":
        return torch.zeros((), dtype=hidden.dtype, device=hidden.device)
    if how == "batch_mean":
        return hidden.mean(0)
    shape = tuple(hidden.shape[1:])
    if mean is None or mean.ndim != len(shape) or any(a not in (1, b) for a, b in zip(mean.shape, shape, strict=True)):
        got = "none" if mean is None else tuple(mean.shape)
        raise ValueError(f"how mean needs the mean of the training set, {shape}, got {got}")
    return mean.to(hidden)


@dataclass(frozen=True)
class Recovery:
    """How well a choice of channels agrees with those known to be modality-general.

    Attributes:
        precision: share of the chosen that are true; with the true count (the oracle's of the released code) its tag
            accuracy. None where none was chosen.
        recall: share of the true that are chosen. None where none is true.
    """

    precision: float | None
    recall: float | None


def recovery(kept: Iterable[int], true: Iterable[int]) -> Recovery:
    """Precision and recall of the channels `kept`, each counted once, with regard to those in `true`."""
    ours, theirs = set(kept), set(true)
    both = len(ours & theirs)
    return Recovery(both / len(ours) if ours else None, both / len(theirs) if theirs else None)
