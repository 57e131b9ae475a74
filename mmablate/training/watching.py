"""What is looked at of models that fuse modalities while they train and when they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn

from mmablate.data.base import AnyData, ClassificationData
from mmablate.data.batches import Batch, evaluation_batches
from mmablate.data.loading import BatchReader
from mmablate.methods import FusingRule
from mmablate.methods.crossmodal import ACCURACY
from mmablate.training import distributed
from mmablate.training.building import beside_accuracy
from mmablate.training.features import Seen, see
from mmablate.training.fused_scores import beside, heard, mean_weights, probe_guesses
from mmablate.training.routed_gradients import SAMPLES, Suppression, as_history, suppression
from mmablate.training.trainee import Trainee
from mmablate.training.weakness import look, shuffled_again


class Watch:
    """Looks at the runs of a group between their steps; to runs that fuse no modalities it does nothing.

    Args:
        data: of the group.
        settings: of one of its runs; all have the same `evaluate`.
        reader: name of a split -> its reader.
        device, precision: of forward passes.
        seed: of the runs.
    """

    def __init__(
        self,
        data: AnyData,
        settings: Mapping[str, Any],
        reader: Callable[[str], BatchReader],
        *,
        device: torch.device,
        precision: Callable[[], AbstractContextManager[object]],
        seed: int,
    ) -> None:
        self.data, self.reader, self.device, self.precision, self.seed = data, reader, device, precision, seed
        self.batch_size = int(settings["evaluate"]["batch_size"])
        self.also = beside_accuracy(settings["evaluate"])
        self._samples: Batch | None = None
        self._last: tuple[str, Seen] | None = None  # run -> the scored split as it saw it

    def begin_epoch(self, epoch: int, trainees: Sequence[Trainee]) -> None:
        """Sets the weights of unique information, where a run has that term; epoch from 0 on."""
        for trainee in trainees:
            term = next((t for t in trainee.terms if t.experts), None)
            if isinstance(trainee.method, FusingRule) and trainee.method.memory.get("epoch") == epoch:
                continue  # an interrupted try has looked, and the moving average goes no further for another look
            trainee.told = {}
            if term is None or not isinstance(trainee.method, FusingRule):
                continue
            with trainee.guarded():
                self._weigh(trainee, term.options, term.weight, epoch)

    def _weigh(self, trainee: Trainee, options: Mapping[str, Any], weight: float, epoch: int) -> None:
        if epoch % options["every"]:
            if options["adapt"] == "shuffled":
                shuffled_again(trainee.method, self.seed, epoch)
            return
        train, held = self._see(trainee, "train"), self._see(trainee, "held")
        found = look(
            trainee.method, options, weight, train, held, n_classes=self.data.n_classes, seed=self.seed, epoch=epoch
        )
        # Of several processes all go on with the first one's weights: a rounding apart could open a gate in one alone.
        found, state = distributed.from_lead((found, trainee.method.state()))
        trainee.method.restore(state)
        trainee.told = {"unique": found}

    def end_epoch(self, trainee: Trainee) -> dict[str, Any]:
        """What the joint loss leaves of each encoder's gradient, for the line of a validated epoch."""
        if "gradients" not in self.also or not isinstance(trainee.method, FusingRule):
            return {}
        found: Mapping[str, Suppression] = {}
        with trainee.guarded():
            found = suppression(trainee.model.eval(), trainee.method, self._spread())
        return {"gradients": as_history(found)} if found else {}

    def describe(self, trainee: Trainee) -> dict[str, float]:
        """The columns beside the accuracy, of the weights that are scored."""
        if not isinstance(trainee.method, FusingRule) or not isinstance(self.data, ClassificationData):
            return {}
        needs = {"probes", "gain", "information", "gradients"} & set(self.also)
        train = self._see(trainee, "train") if needs else None
        scored = self._see(trainee, self.data.scored_split)
        self._last = trainee.spec.run_id, scored
        guesses = None if train is None else probe_guesses(train, scored, self.data.n_classes)
        found = beside(train or scored, scored, self.data.n_classes, self.also, guesses)
        found |= mean_weights(trainee.history)
        if "gradients" in self.also and guesses is not None and len(trainee.method.modalities) > 1:
            probes = {name: 100 * float((own == scored.labels).double().mean()) for name, own in guesses.items()}
            found |= heard(suppression(trainee.model, trainee.method, self._spread()), probes)
        return found

    def outputs(self, trainee: Trainee) -> dict[str, np.ndarray]:
        """Output -> logits (N, K) on the scored split, that of the column "Acc" first; for people to look at."""
        if self._last is not None and self._last[0] == trainee.spec.run_id:
            seen = self._last[1]
            heard = len(trainee.method.modalities) > 1 and trainee.method.heard_alone(trainee.model)
            own = {f"unimodal/{name}": logits for name, logits in seen.unimodal.items() if heard}
            return {name: logits.numpy() for name, logits in {ACCURACY: seen.logits, **own}.items()}
        found: dict[str, list[torch.Tensor]] = {}
        for batch in evaluation_batches(self.reader(self.data.scored_split), self.batch_size, self.device):
            with torch.no_grad(), self.precision():
                for name, logits in trainee.method.predict(trainee.model.eval(), batch).items():
                    found.setdefault(name, []).append(logits.float().cpu())
        return {name: torch.cat(some).numpy() for name, some in found.items()}

    def _see(self, trainee: Trainee, split: str) -> Seen:
        distributed.average_buffers(trainee.model)
        model: nn.Module = trainee.model.eval()
        return see(
            model, trainee.method, self.reader(split), self.batch_size, device=self.device, precision=self.precision
        )

    def _spread(self) -> Batch:
        """Training samples from all over the split, the same for all runs of the group."""
        if self._samples is None:
            split = self.reader("train").split
            chosen = np.unique(np.linspace(0, len(split) - 1, min(SAMPLES, len(split))).astype(int)).tolist()
            inputs, labels = split.batch(chosen)
            moved = {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}
            self._samples = Batch(moved, torch.from_numpy(labels).to(self.device), tuple(chosen))
        return self._samples
