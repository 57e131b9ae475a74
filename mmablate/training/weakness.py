"""How weak each modality is, judged on training samples that no step sees, and the weights β that come of it.

At the start of an epoch a linear probe is fitted on the features of the samples that are trained on, calibrated and
judged on the held-out ones. A modality gets a weight only where the unique information of its held-out predictions
exceeds what 95 % of shuffles of the labels give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmablate.data.streams import generator
from mmablate.methods import weakness
from mmablate.metrics import LinearProbe, cross_fitted_temperature, decompose_predictions, unique_null
from mmablate.training.features import Seen


def look(
    method: Any,
    options: Mapping[str, Any],
    weight: float,
    train: Seen,
    held: Seen,
    *,
    n_classes: int,
    seed: int,
    epoch: int,
) -> dict[str, Any]:
    """Looks at the encoders as they are now, and sets the emphasis of the method; what was found, for the history.

    Args:
        method: a `FusingRule`; its memory holds the moving average of the strengths, and the epoch that its
            emphasis is of.
        options: of the term "unique".
        weight: β_0, of the term.
        train: the samples that steps see, and `held` those that they do not, as the model sees them.
        seed, epoch: of the run; epoch from 0 on.
    """
    logits = {name: _probe(train, held, [name], n_classes) for name in train.features}
    strengths = {name: weakness.strength(own, held.labels) for name, own in logits.items()}
    before = method.memory.get("strengths")
    if before:
        share = options["average"]
        strengths = {name: share * before[name] + (1 - share) * own for name, own in strengths.items()}
    stream = generator(seed, "unique.null", epoch)
    told, null = {}, {}
    for name, own in logits.items():
        others = [other for other in train.features if other != name]
        rest = logits[others[0]] if len(others) == 1 else _probe(train, held, others, n_classes)
        told[name], null[name] = _unique(own, rest, held.labels, n_classes, options["permutations"], stream)
    open_ = {name: told[name] > null[name] for name in told}
    largest = 1.0 if options["largest"] is None else min(1.0, options["largest"] / weight)
    emphasis = _dealt(options["adapt"], strengths, largest, open_, seed, epoch)
    method.emphasis = emphasis
    method.memory = {"strengths": strengths, "epoch": epoch}
    shares = {name: weight * own for name, own in emphasis.items()}
    return {
        name: {"strength": strengths[name], "unique": told[name], "null": null[name], "beta": shares[name]}
        for name in strengths
    }


def _dealt(
    how: str, strengths: Mapping[str, float], largest: float, open_: Mapping[str, bool], seed: int, epoch: int
) -> dict[str, float]:
    adaptive = weakness.adaptive_weights(strengths, 1.0, largest, open_)
    if how == "uniform":
        return weakness.uniform_weights(adaptive)
    if how == "inverted":
        return weakness.inverted_weights(adaptive)
    if how == "shuffled":
        return weakness.shuffled_weights(adaptive, generator(seed, "unique.shuffle", epoch))
    return adaptive


def shuffled_again(method: Any, seed: int, epoch: int) -> None:
    """Deals the weights anew, in an epoch between two looks."""
    method.emphasis = weakness.shuffled_weights(method.emphasis, generator(seed, "unique.shuffle", epoch))
    method.memory = {**method.memory, "epoch": epoch}


def _probe(train: Seen, held: Seen, names: list[str], n_classes: int) -> Tensor:
    """Calibrated logits (N, K) of the held-out samples, from the features of these modalities."""
    joined = [torch.cat([seen.features[name] for name in names], dim=1) for seen in (train, held)]
    probe = LinearProbe.fit(joined[0], train.labels, n_classes)
    return cross_fitted_temperature(probe.logits(joined[1]), held.labels)


def _unique(
    own: Tensor, rest: Tensor, labels: Tensor, n_classes: int, permutations: int, stream: torch.Generator
) -> tuple[float, float]:
    """Unique information of one modality's predictions against the others', and its 95 % null, in bits."""
    guesses = own.argmax(1), rest.argmax(1)
    found = decompose_predictions(*guesses, labels, n_classes)
    null = unique_null(*guesses, labels, n_classes, permutations=permutations, generator=stream)
    return found.unique1, null.unique1
