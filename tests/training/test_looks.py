"""Looks at runs between their steps: taken once whatever interrupts, and what goes wrong in one is that run's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from fusion_samples import Bench, assert_equal

from mmablate.data.batches import Batch
from mmablate.training import watching
from mmablate.training.group import InTurn, train_group
from mmablate.training.memory import GroupTooLarge, OutOfMemory
from mmablate.training.trainee import Piece, Trainee


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("looks") / "set")


class Full(InTurn):
    """Runs out of memory at a step, counted from 0."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, trainees: Sequence[Trainee], pieces: Iterable[Piece]) -> None:
        self.at -= 1
        if self.at < 0:
            raise OutOfMemory("full")
        super().step(trainees, pieces)


@pytest.mark.parametrize("every", [1, 2])
def test_an_epoch_that_is_begun_again_is_not_looked_at_twice(bench: Bench, every: int) -> None:
    """Neither the moving average nor a shuffle goes one look further; four batches make an epoch."""
    study = bench.study(
        "train.epochs=3", f"losses.unique.every={every}", "losses.unique.average=0.7", rows=["unique", "shuffled"]
    )
    specs = [spec for spec in study.runs if spec.seed == 0]
    whole = bench.train(specs)
    out = bench.out()
    with pytest.raises(GroupTooLarge):
        train_group(bench.task(specs, out), lambda progress: None, Full(4))
    again = bench.train(specs, out)
    for spec in specs:
        assert again.record(spec).environment["resumed_at_step"] == [4]
        assert_equal(again.weights(spec), whole.weights(spec))
        told = [[line.get("unique") for line in found.history(spec)] for found in (again, whole)]
        assert told[0] == told[1]
        assert told[0][0]


def test_a_look_that_fails_ends_its_run_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    study = bench.study("evaluate.also=[gradients]", rows=["joint", "lr"])
    specs = [spec for spec in study.runs if spec.seed == 0]
    real, calls = watching.suppression, []

    def once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise ValueError("odd features")
        return real(*args)

    monkeypatch.setattr(watching, "suppression", once)
    found = bench.train(specs)
    failed, well = (found.record(spec) for spec in specs)
    assert (failed.status, well.status) == ("failed", "ok")
    assert failed.error is not None
    assert failed.error.message == "odd features"


@pytest.mark.parametrize(("row", "fusion", "there"), [
    ("joint", "concat", True), ("joint", "gated", False), ("dgl", "gated", True), ("no_uni", "film", False),
])  # fmt: skip
def test_no_gradient_is_compared_with_that_of_a_head_that_nothing_trains(
    bench: Bench, row: str, fusion: str, there: bool
) -> None:
    run = bench.trainee(row, f"model.fusion={fusion}")
    split = bench.data(run.spec).splits["train"]
    inputs, labels = split.batch(range(20))
    batch = Batch({n: torch.from_numpy(x) for n, x in inputs.items()}, torch.from_numpy(labels), ())
    assert bool(watching.suppression(run.model.eval(), run.method, batch)) is there
