"""CUDA graphs: the kernels of a step recorded once and replayed, which spares the launching of each.

What is recorded is the forward and backward pass of one piece; the optimiser, a few fused kernels, runs as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmablate.data.batches import Batch
from mmablate.methods import Reference
from mmablate.training.trainee import Piece

Gradients = dict[str, Tensor | None]
WARM_UP = 3


class PieceGraphs:
    """A computation on pieces as CUDA graphs: one for each subset of modalities and shape of batch.

    Args:
        compute: piece -> gradients; never waits for the device, and changes nothing but `state`.
        state: the tensors that it changes in place.
    """

    def __init__(self, compute: Callable[[Piece], Gradients], state: Callable[[], Sequence[Tensor]]) -> None:
        self.compute, self.state = compute, state
        self._recorded: dict[Any, tuple[torch.cuda.CUDAGraph, Piece, Gradients]] = {}
        self._pool: Any = None

    def prepare(self, piece: Piece) -> None:
        """Records the graph for pieces of this form, if there is none yet; spoils the state of the random generator."""
        if self._fits(piece) and _form(piece) not in self._recorded:
            self._recorded[_form(piece)] = self._record(piece)

    def __call__(self, piece: Piece) -> Gradients:
        """The gradients; those of the last call are overwritten."""
        if not self._fits(piece) or _form(piece) not in self._recorded:
            return self.compute(piece)
        graph, own, found = self._recorded[_form(piece)]
        for mine, theirs in zip(_tensors(own), _tensors(piece), strict=True):
            mine.copy_(theirs, non_blocking=True)
        graph.replay()
        return found

    def _fits(self, piece: Piece) -> bool:
        # The shares of a batch in several pieces are numbers of the step, which a graph would repeat for ever.
        return piece.shares is None and piece.batch.labels.is_cuda

    def _record(self, piece: Piece) -> tuple[torch.cuda.CUDAGraph, Piece, Gradients]:
        own = _copied(piece)
        before = [tensor.clone() for tensor in self.state()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.compute(own)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            found = self.compute(own)
        for tensor, value in zip(self.state(), before, strict=True):
            tensor.copy_(value)
        return graph, own, found


def _tensors(piece: Piece) -> list[Tensor]:
    reference = (piece.reference.logits, dict(piece.reference.features)) if piece.reference is not None else None
    return [x for x in tree_flatten((dict(piece.batch.inputs), piece.batch.labels, reference))[0] if x is not None]


def _form(piece: Piece) -> Any:
    return piece.present, tuple((tuple(x.shape), x.dtype) for x in _tensors(piece))


def _copied(piece: Piece) -> Piece:
    """The same piece in tensors of its own."""
    batch = piece.batch
    inputs, labels = _clones(batch.inputs), batch.labels.clone()
    reference = piece.reference
    if reference is not None:
        features, shape = tree_flatten(dict(reference.features))
        reference = Reference(reference.logits.clone(), tree_unflatten([x.clone() for x in features], shape))
    return replace(piece, batch=Batch(inputs, labels, batch.indices), reference=reference)


def _clones(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}
