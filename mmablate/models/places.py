"""Networks as chains of named stages, so that the channels at any place between two of them can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

RenameWeights = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class PlacedNetwork(nn.Module):
    """Stages one after the other, from an input (B, *shape) to logits (B, K).

    The places are "input" and one behind each stage, called as the stage is; the last one holds the logits. What
    stands at a place is (B, C, ...): its axis 1 is that of the channels.

    Args:
        stages: name -> module, in order.
        own_names: weights under the names that others give to such a network -> under ours.
    """

    def __init__(self, stages: Mapping[str, nn.Module], own_names: RenameWeights | None = None) -> None:
        super().__init__()
        if not stages or "input" in stages:
            raise ValueError(f"at least one stage, and none called 'input', got {list(stages)}")
        self.places = ("input", *stages)
        self.own_names = own_names
        self.stages = nn.ModuleDict(dict(stages))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> logits (B, K)."""
        return self.beyond(x, "input")

    def until(self, x: Tensor, place: str) -> Tensor:
        """What stands at a place, (B, C, ...).

        Raises:
            ValueError: no such place; names those that there are.
        """
        for name in self.places[1 : self._index(place) + 1]:
            x = self.stages[name](x)
        return x

    def beyond(self, hidden: Tensor, place: str) -> Tensor:
        """The logits (B, K) that come of what stands at a place; raises as `until`."""
        for name in self.places[self._index(place) + 1 :]:
            hidden = self.stages[name](hidden)
        return hidden

    def _index(self, place: str) -> int:
        if place not in self.places:
            raise ValueError(f"no place is called {place!r} (there are: {', '.join(self.places)})")
        return self.places.index(place)


class Selected(nn.Module):
    """A network that sees some channels of its input alone.

    Args:
        inner: the network, for that many channels.
        kept: which they are; part of the state, so that a checkpoint says what it was trained on.
    """

    kept: Tensor

    def __init__(self, inner: nn.Module, kept: Sequence[int]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("kept", torch.as_tensor(list(kept), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> what the network makes of the channels kept."""
        return self.inner(x[:, self.kept])
