"""The storage and arithmetic of a stack: the weights of n runs as one tensor each, with a first axis of length n.

A member stays a run in every respect: its own model and optimiser look into the stack's tensors, so that they
hold its weights and its optimiser's state at any step boundary and can be evaluated, saved or loaded in place.
Errors, losses and counts come to it with `settle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from mmablate.errors import NonFiniteLoss
from mmablate.training.device import autocast
from mmablate.training.graphs import Gradients, PieceGraphs
from mmablate.training.optimisation import learning_rate
from mmablate.training.stacked_losses import TOTAL, Flags, loss_classes, reached
from mmablate.training.stacked_precision import whole_operators
from mmablate.training.stacked_updates import CannotStack, StackedUpdate, stacked
from mmablate.training.trainee import Piece, Trainee


class Stack:
    """Runs that are stepped together.

    Args:
        members: of equal `mmablate.study.stacks.stack_key` and number of steps, at least one. One alone is
            computed without the further axis, by the same operators as in turn.
        graphs: replay CUDA graphs of the forward and backward pass.

    Attributes:
        members: ordered so that those of equal loss terms are neighbours.
        weights: name -> (n, ...); those that are trained are leaves.
        buffers: name -> (n, ...).

    Raises:
        CannotStack: models or optimiser states that do not fit together.
    """

    def __init__(self, members: Sequence[Trainee], *, graphs: bool = False) -> None:
        self.members, self.classes = loss_classes(members)
        first = self.members[0]
        self.device, self.settings, self.total_steps = first.device, first.train_settings, first.total_steps
        self.steps = first.steps
        _check(self.members)
        self.weights = _joined([dict(member.model.named_parameters()) for member in self.members])
        self.buffers = _joined([dict(member.model.named_buffers()) for member in self.members])
        for name, weight in first.model.named_parameters():
            self.weights[name].requires_grad_(weight.requires_grad)
        self.trained = {name: weight for name, weight in self.weights.items() if weight.requires_grad}
        self.flags = Flags(len(self.members), self.device, self.steps)
        self.rule = StackedUpdate(self.members, self.trained)
        self._unsettled = 0
        self._agreed: set[tuple[str, ...]] = set()  # modalities with which all classes train the same weights
        self.graphs = PieceGraphs(self.compute, self._state) if graphs else None
        self._attach()

    def __len__(self) -> int:
        return len(self.members)

    # --- a step ----------------------------------------------------------------------------------------------

    def backward(self, piece: Piece) -> None:
        """Adds one piece's gradient to the step's, for every member; notes which lost their way.

        Raises:
            Exception: whatever the forward or backward pass raises; all is then as it was before.
        """
        if self.graphs is not None:
            self.graphs.prepare(piece)
        self.members[0].prepare(piece)
        before = [(buffer, buffer.clone()) for buffer in self.buffers.values()]
        try:
            found = self.compute(piece) if self.graphs is None else self.graphs(piece)
        except BaseException:
            for buffer, value in before:
                buffer.copy_(value)
            raise
        self.add(found)

    def compute(self, piece: Piece) -> Gradients:
        """The gradients of one piece; its losses are noted and summed. Never waits for the device.

        Raises:
            CannotStack: members that train unlike weights in this step.
        """
        with autocast(self.device, self.settings["precision"]):
            values, totals = self._losses(piece)
        if piece.present not in self._agreed:
            self._check_reach(totals)
            self._agreed.add(piece.present)
        # No member's loss depends on another's weights: the gradient of the sum holds that of each in its row.
        found = torch.autograd.grad(torch.cat(totals).sum(), list(self.trained.values()), allow_unused=True)
        for own, value, total in zip(self.classes, values, totals, strict=True):
            self.flags.note(own.rows, value, total)
            own.gather(value, piece)
        laid_out = [_laid_out(g, w) for g, w in zip(found, self.trained.values(), strict=True)]
        return dict(zip(self.trained, laid_out, strict=True))

    def add(self, found: Gradients) -> None:
        """Adds gradients of a piece to those of the step."""
        for name, gradient in found.items():
            weight = self.trained[name]
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    def update(self) -> None:
        """Moves every member's weights by its own gradient and at its own learning rate."""
        rates = [learning_rate(self.steps, self.total_steps, member.train_settings) for member in self.members]
        self.rule.step(rates, self.settings["clip"])
        self.rule.publish()
        self.flags.now += 1
        self.steps += 1
        self._unsettled += 1
        for member, rate in zip(self.members, rates, strict=True):
            member.steps = self.steps
            for group in member.optimizer.param_groups:
                group["lr"] = rate

    def outputs(self, inputs: Mapping[str, Tensor]) -> Any:
        """What all members make of the same inputs, in one pass; every tensor with a first axis of length n."""
        model = self.members[0].model
        if len(self) == 1:
            weights, buffers = ({k: v.squeeze(0) for k, v in own.items()} for own in (self.weights, self.buffers))
            return tree_map(lambda x: x.unsqueeze(0), functional_call(model, (weights, buffers), (inputs,)))

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], seen: Mapping[str, Tensor]) -> Any:
            return functional_call(model, (weights, buffers), (seen,))

        # The members are rows of one seed: what dropout draws is the same for all of them.
        with _attention(self.device), whole_operators(self.device):
            return vmap(one, in_dims=(0, 0, None), randomness="same")(self.weights, self.buffers, inputs)

    def _losses(self, piece: Piece) -> tuple[list[Tensor], list[Tensor]]:
        """Of every class the values (n_c, T) of its terms and their weighted sums (n_c,)."""
        method = self.members[0].method
        outputs = self.outputs(method.inputs(piece.batch, piece.present))
        parts = _split(outputs, [len(own) for own in self.classes])
        values = [own.values(method, part, piece) for own, part in zip(self.classes, parts, strict=True)]
        return values, [own.totals(value, piece) for own, value in zip(self.classes, values, strict=True)]

    def _check_reach(self, totals: Sequence[Tensor]) -> None:
        """In turn, a weight that a loss does not reach stays; in a stack it must be so for all or for none."""
        if not all(total.requires_grad for total in totals):
            raise CannotStack("a loss has no gradient")
        if len(totals) > 1 and len({frozenset(reached(total)) for total in totals}) > 1:
            raise CannotStack("the losses train unlike weights")

    # --- members --------------------------------------------------------------------------------------------

    def settle(self) -> list[int]:
        """Gives the members their losses and failures; returns the rows of those that have failed."""
        for own in self.classes:
            for member, sums in zip(self.members[own.rows], own.sums.clone(), strict=True):
                member.add_losses({term.key: sums[i] for i, term in enumerate(own.terms)}, self._unsettled)
            own.sums.zero_()
        self._unsettled = 0
        lost = self.flags.lost()
        for row, (step, term, value) in lost.items():
            member = self.members[row]
            if member.error is None:
                member.steps = step
                keys = [*(t.key for t in member.terms), TOTAL]
                with member.guarded():
                    raise NonFiniteLoss(keys[term], value, step + 1)
        return list(lost)

    def any_lost(self) -> bool:
        """Whether a member has had a loss that was not finite; waits for the device."""
        return bool((self.flags.steps >= 0).any())

    def without(self, lost: Sequence[int]) -> Stack | None:
        """The stack of the other members, the gradients of the step at hand included; None where nobody is left.

        `settle` comes before it.
        """
        kept = [row for row in range(len(self)) if row not in lost]
        if not kept:
            return None
        gradients = {name: weight.grad for name, weight in self.trained.items()}
        rest = Stack([self.members[row] for row in kept], graphs=self.graphs is not None)
        for name, gradient in gradients.items():
            if gradient is not None:
                rest.trained[name].grad = stacked([gradient[row] for row in kept])
        return rest

    def unstack(self) -> None:
        """Gives every member that is well tensors of its own, the gradients of the step at hand included."""
        self.settle()
        self.rule.hand_back()
        for row, member in enumerate(self.members):
            if member.error is not None:
                continue
            for name, own in member.model.named_parameters():
                own.data = own.data.clone()
                gradient = self.weights[name].grad
                own.grad = gradient[row].clone() if gradient is not None else None
            for _, buffer in member.model.named_buffers():
                buffer.data = buffer.data.clone()

    def _state(self) -> list[Tensor]:
        """What `compute` changes in place."""
        flags = self.flags
        return [*self.buffers.values(), *(own.sums for own in self.classes), flags.steps, flags.terms, flags.values]

    def _attach(self) -> None:
        for row, member in enumerate(self.members):
            for name, own in member.model.named_parameters():
                own.data = self.weights[name].detach()[row]
            for name, buffer in member.model.named_buffers():
                buffer.data = self.buffers[name][row]


def _check(members: Sequence[Trainee]) -> None:
    method = members[0].method
    if not (hasattr(method, "inputs") and hasattr(method, "values")):
        raise CannotStack(f"{type(method).__name__} has no inputs and values")
    shapes = {
        tuple((name, x.shape, x.dtype, x.requires_grad) for name, x in m.model.named_parameters()) for m in members
    }
    if len(shapes) > 1:
        raise CannotStack("models of unlike shape")
    if len({(member.steps, member.total_steps) for member in members}) > 1:
        raise CannotStack("runs that are not at the same step")


def _joined(owners: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: stacked([own[name] for own in owners]) for name in owners[0]}


def _split(outputs: Any, sizes: Sequence[int]) -> Iterator[Any]:
    """The outputs of each class; a view, whose gradient comes back in one piece."""
    if len(sizes) == 1:
        return iter([outputs])
    leaves, shape = tree_flatten(outputs)
    return (
        tree_unflatten(list(some), shape) for some in zip(*(leaf.split(list(sizes)) for leaf in leaves), strict=True)
    )


def _laid_out(gradient: Tensor | None, weight: Tensor) -> Tensor | None:
    """The gradient in the memory order of its weight, which fused optimisers count on."""
    if gradient is None or gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight, requires_grad=False).copy_(gradient)


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """On a CPU the plain kernel of attention: the fused one has no batching rule there."""
    return sdpa_kernel([SDPBackend.MATH]) if device.type == "cpu" else nullcontext()
