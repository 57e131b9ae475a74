"""Looks at runs between their steps: taken once whatever interrupts, and what goes wrong in one is that run's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusion_samples import CLASSES, SAMPLES, SIZES, Bench, assert_equal, batch_of, step, weights_of

from mmablate.data.batches import Batch
from mmablate.training import watching
from mmablate.training.group import InTurn, train_group
from mmablate.training.memory import GroupTooLarge, OutOfMemory
from mmablate.training.trainee import Piece, Trainee


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("looks") / "set")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Each view tells one class from the others, so that either has unique information and β is not 0."""
    bench = Bench(tmp_path_factory.mktemp("telling") / "set")
    stream, labels = np.random.default_rng(0), np.arange(SAMPLES) % CLASSES
    for place, (name, noise) in enumerate((("a", 0.2), ("b", 0.45))):
        values = (labels == place)[:, None] + noise * stream.normal(size=(SAMPLES, SIZES[name]))
        np.save(bench.folder / f"{name}.npy", values.astype(np.float32))
    return bench


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
def test_an_epoch_that_is_begun_again_is_not_looked_at_twice(telling: Bench, every: int) -> None:
    """Neither the moving average nor a shuffle goes one look further; three batches make an epoch."""
    bench, options = telling, ("train.holdout=0.5", f"losses.unique.every={every}", "losses.unique.average=0.7")
    study = bench.study("train.epochs=3", *options, rows=["unique", "shuffled"])
    specs = [spec for spec in study.runs if spec.seed == 0]
    whole = bench.train(specs)
    out = bench.out()
    with pytest.raises(GroupTooLarge):
        train_group(bench.task(specs, out), lambda progress: None, Full(3))
    again = bench.train(specs, out)
    for spec in specs:
        assert again.record(spec).environment["resumed_at_step"] == [3]
        assert_equal(again.weights(spec), whole.weights(spec))
        told = [[line.get("unique") for line in found.history(spec)] for found in (again, whole)]
        assert told[0] == told[1]
        assert max(own["beta"] for own in told[0][0].values()) > 0


def test_steps_that_are_counted_by_themselves_are_one_epoch(tmp_path: Path) -> None:
    """A rule that begins with the second epoch never begins."""
    rules = {"ogm": {"name": "ogm_ge", "first_epoch": 2}, "joint": {"name": "joint_fusion"}}
    rows = [{"name": name, "losses": ["sup"], "overrides": {"method": rule}} for name, rule in rules.items()]
    bench = Bench(tmp_path / "set", rows=rows, losses={"sup": {"weight": 1}})
    ogm, joint = (bench.trainee(name, "train.steps=4", steps=4) for name in rules)
    data = bench.data(ogm.spec)
    for number in range(4):
        for run in (ogm, joint):
            step(run, batch_of(run, data, number))
    assert_equal(weights_of(ogm), weights_of(joint))


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
