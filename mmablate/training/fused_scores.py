"""What stands beside the accuracy of a model that fuses modalities (`evaluate.also`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmablate.metrics import LinearProbe, decompose_predictions, multiclass_scores
from mmablate.study.columns import gain_column, heard_columns, information_columns, weight_column
from mmablate.training.features import Seen
from mmablate.training.routed_gradients import Suppression


def beside(
    train: Seen,
    scored: Seen,
    n_classes: int,
    also: Collection[str],
    guesses: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Column -> score of the scored split, of what `also` asks for that one pass over the data tells.

    A modality alone is scored by a linear probe: multinomial logistic regression on the features of its frozen
    encoder, fitted on the samples that the encoder was trained on, for every row alike.

    Args:
        train: the samples that steps have seen.
        scored: those that are scored.
        guesses: what `probe_guesses` found of them, where that is known; fitting takes long where classes are many.
    """
    found: dict[str, float] = {}
    scores = multiclass_scores(scored.logits, scored.labels)
    if "scores" in also:
        found |= {name: scores[name] for name in ("F1", "NLL", "ECE")}
    if not {"probes", "gain", "information"} & set(also):
        return found
    guesses = probe_guesses(train, scored, n_classes) if guesses is None else guesses
    right = {name: _accuracy(guess, scored.labels) for name, guess in guesses.items()}
    if "probes" in also:
        found |= right
    if len(guesses) < 2:
        return found
    if "gain" in also:
        found[gain_column()] = scores["Acc"] - max(right.values())
    if "information" in also and len(guesses) == 2:
        first, second = guesses
        parts = decompose_predictions(guesses[first], guesses[second], scored.labels, n_classes)
        values = (parts.unique1, parts.unique2, parts.redundant, parts.synergistic)
        found |= {
            column: float(value) for column, value in zip(information_columns(list(guesses)), values, strict=True)
        }
    return found


def probe_guesses(train: Seen, scored: Seen, n_classes: int) -> dict[str, Tensor]:
    """Modality -> classes (N,) that a linear probe of its features predicts on the scored split."""
    found = {}
    for name, features in train.features.items():
        probe = LinearProbe.fit(features, train.labels, n_classes)
        found[name] = probe.logits(scored.features[name]).argmax(1)
    return found


def heard(found: Mapping[str, Suppression], probes: Mapping[str, float]) -> dict[str, float]:
    """The columns of `gradients`: over modalities, and between the easier one and the others.

    "Easier" is the modality whose probe is the more accurate one; by how much more it suppresses the others is what
    the joint loss leaves of its own gradient, less what it leaves of theirs (of the mean of theirs).
    """
    if not found:
        return {}
    larger, skew = heard_columns()
    columns = {larger: 100 * sum(own.larger for own in found.values()) / len(found)}
    if set(found) <= set(probes):
        easier = max(found, key=lambda name: probes[name])
        others = [own.left for name, own in found.items() if name != easier]
        columns[skew] = 100 * (found[easier].left - sum(others) / len(others))
    return columns


def mean_weights(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Column -> mean β of a modality over the looks of a run's training; {} for a run without such a term."""
    looks = [line["unique"] for line in history if "unique" in line]
    names = list(looks[0]) if looks else []
    return {weight_column(name): sum(look[name]["beta"] for look in looks) / len(looks) for name in names}


def _accuracy(guess: Tensor, labels: Tensor) -> float:
    return 100 * float((guess == labels).to(torch.float64).mean())
