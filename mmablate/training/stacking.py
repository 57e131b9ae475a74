"""Stacked students: runs of a group that share an architecture take their steps as one model with one more axis.

A method is written once, for one run; here its forward pass is one `vmap` over all students of a stack, and its
loss terms are one over those with equal terms. What each run computes is what it computes in turn, up to the
order of floating-point sums (`tests/training/test_stacking.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mmablate.study.stacks import stack_key
from mmablate.training.stack import Stack
from mmablate.training.trainee import Piece, Trainee

LOOK_EVERY = 50
"""Steps between looks at the losses on CUDA, each of which waits for the device."""


@dataclass(frozen=True)
class Fallen:
    """Runs that a stack could not train: from then on in turn, or where memory was short in stacks of half the size."""

    run_ids: tuple[str, ...]
    reason: str


class Stacked:
    """Steps stacks of runs; runs that cannot be stacked, or are alone, take theirs in turn.

    A stack that raises is taken apart within the step, and its runs go on in turn, where the one at fault is known.
    One that the device's memory does not hold takes that step in turn, and the next ones as two stacks.

    Args:
        stacks: the run ids of each stack, as planning decided; None stacks all that `stack_key` allows. Runs in
            none of them go in turn.
        look_every: steps between looks at whether the losses are finite; None is 1 on a CPU, 50 on CUDA. A run
            that has failed is recorded as of its first bad step all the same.
        graphs: replay CUDA graphs of the steps, one for each subset of modalities; runs that are alone then are
            stacks of one.

    Attributes:
        stacks: those at work.
        fallen: what could not be stacked.
    """

    def __init__(
        self,
        stacks: Sequence[Sequence[str]] | None = None,
        *,
        look_every: int | None = None,
        graphs: bool = False,
    ) -> None:
        if look_every is not None and look_every < 1:
            raise ValueError(f"look_every must be at least 1, got {look_every}")
        self.look_every, self.graphs = look_every, graphs
        self.fallen: list[Fallen] = []
        self._place = None if stacks is None else {run: i for i, some in enumerate(stacks) for run in some}
        self.stacks: list[Stack] = []
        self._alone: set[str] = set()
        self._half: dict[str, int] = {}  # run -> which part of its stack, 1 for the whole; 2n and 2n + 1 are n's halves
        self._arranged: list[tuple[Trainee, int]] = []
        self._unlooked = 0

    def step(self, trainees: Sequence[Trainee], pieces: Iterable[Piece]) -> None:
        """One optimiser step of every run that is well; one whose loss is not finite does not move the others."""
        well = [trainee for trainee in trainees if trainee.error is None]
        if [(trainee, trainee.steps) for trainee in well] != self._arranged:
            self._arrange(well)
        stacked = {id(member) for stack in self.stacks for member in stack.members}
        in_turn = [trainee for trainee in well if id(trainee) not in stacked]
        before = len(self.stacks)
        for piece in pieces:
            for stack in list(self.stacks):
                if not self._managed(stack, piece):
                    in_turn += stack.members
            for trainee in in_turn:
                if trainee.error is None:
                    with trainee.guarded():
                        trainee.backward(piece)
            del piece  # the next one is made before the name is taken again
        self._look()
        for stack in self.stacks:
            _update(stack)
        for trainee in in_turn:
            if trainee.error is None:
                with trainee.guarded():
                    trainee.update()
        self._arranged = [(trainee, trainee.steps) for trainee in well if trainee.error is None]
        if len(self.stacks) < before:
            self._arranged = []  # what fell apart may be stacked otherwise

    def settle(self, trainees: Sequence[Trainee]) -> None:
        """Gives the runs their losses and failures; weights and optimiser states are theirs at any step boundary."""
        self._unlooked = 0
        for stack in list(self.stacks):
            with _timed(stack.members):
                self._replace(stack, stack.settle())

    def unstack(self) -> None:
        """Gives every run tensors of its own; the next step stacks them again."""
        for stack in self.stacks:
            stack.unstack()
        self.stacks, self._arranged = [], []

    # --- stacks ------------------------------------------------------------------------------------------------

    def _arrange(self, well: Sequence[Trainee]) -> None:
        """Makes the stacks of these runs; those that are as they should be stay."""
        wanted: dict[object, list[Trainee]] = defaultdict(list)
        for trainee in well:
            run_id = trainee.spec.run_id
            place = 0 if self._place is None else self._place.get(run_id)
            if place is not None and run_id not in self._alone and trainee.world == 1:
                wanted[place, self._half.get(run_id, 1), stack_key(trainee.spec), trainee.steps].append(trainee)
        least = 1 if self.graphs else 2
        groups = {frozenset(map(id, some)): some for some in wanted.values() if len(some) >= least}
        kept = [s for s in self.stacks if frozenset(map(id, s.members)) in groups and s.steps == s.members[0].steps]
        for stack in self.stacks:
            if stack not in kept:
                stack.unstack()
        self.stacks = kept
        known = {frozenset(map(id, stack.members)) for stack in kept}
        for members in [some for ids, some in groups.items() if ids not in known]:
            try:
                self.stacks.append(Stack(members, graphs=self.graphs))
            except Exception as error:  # models that do not fit together, or no memory for copies of them
                self._give_up(members, error)

    def _managed(self, stack: Stack, piece: Piece) -> bool:
        """Whether the stack took the piece; if not, its members are on their own."""
        try:
            with _timed(stack.members):
                stack.backward(piece)
        except (
            Exception
        ) as error:  # of one run, of the memory, of an operator that cannot be stacked: in turn will tell
            self.stacks.remove(stack)
            self._give_up(stack.members, error)
            stack.unstack()
            return False
        return True

    def _give_up(self, members: Sequence[Trainee], error: Exception) -> None:
        run_ids = tuple(member.spec.run_id for member in members)
        if isinstance(error, torch.OutOfMemoryError) and len(members) > 2:
            part = self._half.get(run_ids[0], 1)
            self._half |= {run: 2 * part + (2 * i >= len(run_ids)) for i, run in enumerate(run_ids)}
        else:
            self._alone.update(run_ids)
        self.fallen.append(Fallen(run_ids, f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"))
        if members[0].device.type == "cuda":
            torch.cuda.empty_cache()

    def _look(self) -> None:
        """Every so many steps, whether all losses were finite."""
        if not self.stacks:
            return
        self._unlooked += 1
        default = 1 if self.stacks[0].device.type == "cpu" else LOOK_EVERY
        if self._unlooked >= (self.look_every or default):
            self._unlooked = 0
            for stack in list(self.stacks):
                with _timed(stack.members):
                    if stack.any_lost():
                        self._replace(stack, stack.settle())

    def _replace(self, stack: Stack, lost: Sequence[int]) -> None:
        """Goes on with the others."""
        if lost:
            index = self.stacks.index(stack)
            rest = stack.without(lost)
            self.stacks[index : index + 1] = [rest] if rest is not None else []


def _update(stack: Stack) -> None:
    try:
        with _timed(stack.members):
            stack.update()
    except Exception as error:  # half of the weights may have moved: no run can go on from there
        for member in stack.members:
            with member.guarded():
                raise error


@contextmanager
def _timed(members: Sequence[Trainee]) -> Iterator[None]:
    """Each member's time is its share of what is enclosed."""
    started = time.perf_counter()
    try:
        yield
    finally:
        share = (time.perf_counter() - started) / len(members)
        for member in members:
            member.seconds += share
