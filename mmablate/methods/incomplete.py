"""Single-level training on 3D scans, each with the modalities that its subject has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmablate import losses
from mmablate.data.masks import hide
from mmablate.data.volume_batches import VolumeBatch
from mmablate.methods.rules import UpdateRule
from mmablate.methods.terms import Reference, Term
from mmablate.methods.volume_terms import VolumeStep, common_classes
from mmablate.models.volumes import Segmented

Forward = Callable[..., Segmented]


class IncompleteTraining(UpdateRule):
    """The update rule, written once, for one run.

    Args:
        modalities: all names, in the order of the model's.
        masks: mode and distribution of `mmablate.data.masks.hide`.
        terms: catalogue names of the run's terms: what the model must give for them.
        counts: training subjects that have each modality, (M,).
        n_train: training subjects.
        gate, rates, balance, balance_rate, balance_raised, balance_low, balance_high: of
            `mmablate.catalog.incomplete.BalanceOptions`.
        second: "none", "step" or "union": what becomes of a second batch.
        meta: masks and batch size of that batch.

    Source: PASSION, arXiv:2407.14796, and the PRISM documentation; departures are named in the losses. The encoder of a
    modality that no subject of a batch has is not run, so that the step leaves it and its moments as they are; PASSION
    masks its features, and Adam moves it by gradients of 0, its momentum and the decay.
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        masks: Mapping[str, str],
        terms: Sequence[str],
        counts: Sequence[int],
        n_train: int,
        gate: str = "none",
        rates: bool = False,
        balance: str = "fixed",
        balance_rate: float = 0.01,
        balance_raised: Sequence[int] = (),
        balance_low: float = 0.1,
        balance_high: float = 4.0,
        second: str = "none",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.modalities, self.masks = tuple(modalities), dict(masks)
        self.gate, self.balance = gate, balance
        self.balance_rate, self.balance_raised = balance_rate, tuple(balance_raised)
        self.balance_low, self.balance_high = balance_low, balance_high
        self.second = second
        self.meta = {"masks": "same", "batch_size": None, **(meta or {})}
        self.separate = "sep" in terms
        self.compares = gate != "none" or balance == "preference"
        self.alone = self.compares or bool({"pixel", "proto"} & set(terms))
        self.rates = torch.tensor([n_train / max(1, n) if rates else 1.0 for n in counts])
        self.beta = torch.ones(len(self.modalities), dtype=torch.float64)
        self._distances = torch.zeros(len(self.modalities), dtype=torch.float64)
        self._seen = torch.zeros(len(self.modalities), dtype=torch.float64)

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """All: which modalities a step sees is a matter of its subjects (`hidden`)."""
        return self.modalities

    def hidden(self, batch: VolumeBatch) -> Tensor:
        """(B, M) bool: the modalities that the model sees of a training batch."""
        assert batch.available is not None
        assert batch.draws is not None
        mode = "permanent" if self.masks["mode"] == "none" else self.masks["mode"]
        return hide(batch.available, batch.draws, mode=mode, distribution=self.masks["distribution"])

    def hidden_again(self, batch: VolumeBatch) -> Tensor:
        """The same of a second batch, whose masks `meta` may say otherwise."""
        assert batch.available is not None
        assert batch.draws is not None
        if self.meta["masks"] == "redrawn":
            return hide(batch.available, batch.draws, mode="dynamic", distribution="subset")
        return self.hidden(batch) if self.meta["masks"] == "same" else batch.available

    def inputs(self, batch: VolumeBatch, present: object) -> dict[str, Tensor]:
        """What goes into the model: all that is read; it hides what is not present itself."""
        return dict(batch.inputs)

    def losses(
        self,
        forward: Forward,
        batch: VolumeBatch,
        present: object,
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, of the modalities that a subject has and the masks leave.

        Args:
            present: (B, M) bool; anything else stands for a training batch, whose masks are `hidden` and whose
                distances count for the balance of the modalities.
        """
        trained = not isinstance(present, Tensor)
        mask = present if isinstance(present, Tensor) else self.hidden(batch)
        step = self.step(forward, batch, mask, record=trained)
        return {term.key: term(step) for term in terms}

    def step(self, forward: Forward, batch: VolumeBatch, mask: Tensor, *, record: bool) -> VolumeStep:
        """What the terms look at; the factors of the pairs are held fixed."""
        output = forward(batch.inputs, mask, separate=self.separate, alone=self.alone)
        seen = output.pairs[:, 1].cpu()
        device = batch.labels.device
        plain = VolumeStep(
            output.fused.logits, {}, batch.labels, -1, self.modalities, None, output, self.modalities,
            beta=self.beta.float()[seen].to(device), rate=self.rates[seen].to(device),
            gate=torch.ones(len(seen), device=device),
        )  # fmt: skip
        if not self.compares:
            return plain
        return self._gated(plain, mask, record=record)

    def _gated(self, step: VolumeStep, mask: Tensor, *, record: bool) -> VolumeStep:
        """With the gates of relative preference, by how far each modality's prototypes lie from the fused ones."""
        output = step.output
        assert output.alone is not None
        device = step.labels.device
        rows, columns = output.pairs.to(device).unbind(1)
        mask = mask.to(device)
        n_classes = output.fused.logits.shape[1]
        found = losses.prototype_distance(
            output.alone.features, output.fused.at(rows).features, step.pair_labels, n_classes=n_classes,
            classes=common_classes(step, n_classes) if self.gate == "released" else None,
        )  # fmt: skip
        if record:
            self._count(found, columns)
        if self.gate == "none":
            return step
        distances = torch.zeros(mask.shape, device=device)
        distances[rows, columns] = found.to(distances.dtype)
        lagging = losses.relative_preference(distances, mask)
        gate = losses.preference_gate(lagging, mask, definition=self.gate)[rows, columns]
        return VolumeStep(
            step.logits, {}, step.labels, -1, step.present, None, output, step.modalities,
            beta=step.beta, rate=step.rate, gate=gate,
        )  # fmt: skip

    def _count(self, distances: Tensor, columns: Tensor) -> None:
        told, seen = distances.detach().double().cpu(), columns.cpu()
        self._distances.index_add_(0, seen, told)
        self._seen.index_add_(0, seen, torch.ones_like(told))

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        """Balances the modalities by the distances of the epoch (from 0 on); what the history tells of it."""
        if self.balance == "fixed":
            return {}
        told: dict[str, Any] = {}
        if self.balance == "preference":
            mean = self._distances / self._seen  # NaN for a modality that no step has seen
            raised = 1.5 ** sum(epoch >= start for start in self.balance_raised)
            self.beta = losses.rebalanced(
                self.beta, mean, rate=self.balance_rate * raised, low=self.balance_low, high=self.balance_high
            )
            told["distance"] = {
                name: float(d) if math.isfinite(d) else None for name, d in zip(self.modalities, mean, strict=True)
            }
            self._distances.zero_()
            self._seen.zero_()
        return {**told, "beta": dict(zip(self.modalities, self.beta.tolist(), strict=True))}

    def state(self) -> dict[str, Any]:
        """The balance, and what it will next be changed by."""
        if self.balance == "fixed":
            return {}
        return {"beta": self.beta.tolist(), "distances": self._distances.tolist(), "seen": self._seen.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        if not state:
            return
        self.beta, self._distances, self._seen = (
            torch.tensor(state[key], dtype=torch.float64) for key in ("beta", "distances", "seen")
        )
