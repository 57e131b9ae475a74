"""Loss terms of stacked runs: those of equal terms are computed at once, and each run's first bad value is kept."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

from mmablate.methods import Term
from mmablate.training.stacked_precision import whole_operators
from mmablate.training.trainee import Piece, Trainee

TOTAL = "total"


class LossClass:
    """Neighbours in a stack whose terms are equal in all but their weights.

    Args:
        rows: their places in the stack.
        members: the runs.
    """

    def __init__(self, rows: slice, members: Sequence[Trainee]) -> None:
        self.rows, self.terms = rows, list(members[0].terms)
        device = members[0].device
        self.weights = torch.tensor([[term.weight for term in m.terms] for m in members], device=device)
        self.sums = torch.zeros(len(members), len(self.terms), device=device)
        self._in_one: dict[tuple[str, ...], bool] = {}  # modalities present -> whether vmap can compute the terms

    def __len__(self) -> int:
        return len(self.weights)

    def values(self, method: Any, outputs: Any, piece: Piece) -> Tensor:
        """Unweighted values (n_c, T) of the T terms, from outputs whose tensors have a first axis of length n_c."""

        def one(own: Any) -> Tensor:
            found = method.values(own, piece.batch, piece.present, piece.reference, self.terms)
            return torch.stack([found[term.key] for term in self.terms])

        if len(self) > 1 and piece.present not in self._in_one:
            found = _tried(one, outputs, self.weights.device)
            self._in_one[piece.present] = found is not None
            if found is not None:
                return found
        if len(self) > 1 and self._in_one[piece.present]:
            with whole_operators(self.weights.device):
                return vmap(one, randomness="same")(outputs)
        rows = [one(tree_map(lambda x, i=index: x[i], outputs)) for index in range(len(self))]
        return torch.stack(rows)

    def in_one(self, present: tuple[str, ...]) -> bool:
        """Whether the terms were computed at once with these modalities; slice by slice otherwise."""
        return self._in_one.get(present, False)

    def totals(self, values: Tensor, piece: Piece) -> Tensor:
        """Weighted sums (n_c,) of the values (n_c, T)."""
        return (self._of_whole(values, piece) * self.weights).sum(1)

    def gather(self, values: Tensor, piece: Piece) -> None:
        """Adds the values to the running sums."""
        self.sums += self._of_whole(values.detach(), piece)

    def _of_whole(self, values: Tensor, piece: Piece) -> Tensor:
        """The piece's part in the values of the whole batch."""
        if piece.shares is None:
            return values
        return values * torch.tensor([piece.shares[term.unit] for term in self.terms], device=values.device)


def loss_classes(members: Sequence[Trainee]) -> tuple[list[Trainee], list[LossClass]]:
    """The members, those of equal terms side by side (otherwise in the order given), and the classes they make."""
    alike: dict[Any, list[Trainee]] = defaultdict(list)
    for member in members:
        alike[_key(member.terms)].append(member)
    ordered: list[Trainee] = []
    classes: list[LossClass] = []
    for some in alike.values():
        classes.append(LossClass(slice(len(ordered), len(ordered) + len(some)), some))
        ordered += some
    return ordered, classes


def _key(terms: Sequence[Term]) -> Any:
    return tuple(
        (t.key, t.function, t.definition, t.unit, json.dumps(dict(t.options), sort_keys=True, default=repr))
        for t in terms
    )


def _tried(one: Any, outputs: Any, device: torch.device) -> Tensor | None:
    """The values by vmap; None where a term has no batching rule, or shapes or branches that hang on values."""
    try:
        with warnings.catch_warnings(), whole_operators(device):
            # Without a rule torch says so and loops over the slices, in the backward pass too: so do we, but whole.
            warnings.filterwarnings("error", message=".*batching rule.*")
            return vmap(one, randomness="same")(outputs)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, UserWarning):
        return None


class Flags:
    """The first loss of each run that was not finite, kept on the device until somebody looks.

    Args:
        count: number n of runs.
        step: optimiser steps done so far.
    """

    def __init__(self, count: int, device: torch.device, step: int) -> None:
        self.now = torch.full((), step, dtype=torch.int64, device=device)
        self.steps = torch.full((count,), -1, dtype=torch.int64, device=device)
        self.terms = torch.zeros(count, dtype=torch.int64, device=device)
        self.values = torch.zeros(count, device=device)

    def note(self, rows: slice, values: Tensor, totals: Tensor) -> None:
        """Takes in the values (n_c, T) and totals (n_c,) of the runs in these rows; does not wait for them."""
        shown = torch.cat([values, totals[:, None]], 1).detach()
        first = (~torch.isfinite(shown)).int().argmax(1)
        fresh = ~torch.isfinite(shown[:, -1]) & (self.steps[rows] < 0)
        worst = shown.gather(1, first[:, None])[:, 0]
        self.steps[rows] = torch.where(fresh, self.now, self.steps[rows])
        self.terms[rows] = torch.where(fresh, first, self.terms[rows])
        self.values[rows] = torch.where(fresh, worst, self.values[rows])

    def lost(self) -> dict[int, tuple[int, int, float]]:
        """Run -> steps done before the bad one, number of the term (their count: the total), its value."""
        steps = self.steps.tolist()
        if max(steps) < 0:
            return {}
        terms, values = self.terms.tolist(), self.values.tolist()
        return {i: (step, terms[i], values[i]) for i, step in enumerate(steps) if step >= 0}


def reached(total: Tensor) -> set[int]:
    """`id` of every leaf that the gradient of `total` comes to."""
    leaves: set[int] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [total.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        waiting += [parent for parent, _ in node.next_functions]
    return leaves
