"""What every update rule may do beside its losses; most do nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmablate.data.batches import Batch

Summed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Moment:
    """Where in its training a run stands when its gradient is complete.

    Attributes:
        seed, step: of the run; steps are counted from 0 and key its random streams.
        epoch: counted from 1.
        summed: the sum of a tensor over the processes that train the run together.
    """

    seed: int
    step: int
    epoch: int
    summed: Summed


class UpdateRule:
    """Defaults: one gradient of the whole model, which nothing is done to, and no memory from step to step."""

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Column -> the logits (B, K) whose accuracy it is, of a model in eval mode."""
        scored: Mapping[str, Tensor] = self.scored(model(self.inputs(batch, ())))  # type: ignore[attr-defined]
        return scored

    def clipped(self, model: nn.Module) -> list[list[nn.Parameter]]:
        """The parameters whose gradients are bounded together by `train.clip`, set by set."""
        return [list(model.parameters())]

    def adjust(self, model: nn.Module, moment: Moment) -> None:
        """Changes a step's complete gradient in place, before it is clipped."""

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        """What the rule changes between epochs (from 0 on); what it says stands in the epoch's line of the history."""
        return {}

    def state(self) -> dict[str, Any]:
        """What the rule has learned on its way, as JSON; {} where nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""


def rule_of(method: Any) -> UpdateRule:
    """The method, or the defaults for one of a plugin that knows nothing of all this."""
    return method if isinstance(method, UpdateRule) else _PLAIN


_PLAIN = UpdateRule()
