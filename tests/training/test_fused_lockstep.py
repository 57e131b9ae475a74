"""Networks with batch norm and chance of their own, trained in company: the bits of a run are those of it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_samples import RECIPE, Bench, Trained, assert_equal, interrupted, of_row

from mmablate.study import RunSpec

RESNETS = {
    "name": "fusion_classifier",
    "encoder": {"kind": "resnet18", "widths": [3, 4], "depths": [1, 1]},
    "encoders": {"b": {"kind": "mlp", "hidden": [6], "dropout": 0.3}},
    "fusion": "concat",
}
ROWS: list[dict[str, Any]] = [
    {"name": "dgl", "losses": ["sup", "uni"]},
    {"name": "unique", "losses": ["sup", "uni", "unique"]},
    {"name": "gated", "losses": ["sup", "uni"], "overrides": {"model.fusion": "gated"}},
    {"name": "slow", "losses": ["sup", "uni"], "overrides": {"train.encoder_lr": 0.5}},
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Little pictures of two channels and a vector, both of which tell the class."""
    changes = {
        "model": RESNETS, "rows": ROWS, "baseline": "dgl", "seeds": [0],
        "train": {**RECIPE["train"], "batch_size": 18, "pictures": {"modalities": ["a"], "flip": True}},
    }  # fmt: skip
    bench = Bench(tmp_path_factory.mktemp("lockstep") / "set", **changes)
    folder: Path = bench.folder
    stream, labels = np.random.default_rng(0), np.arange(120) % 3
    for name, shape in (("a", (2, 16, 16)), ("b", (5,))):
        codes, drawn = stream.normal(size=(3, *shape)), stream.normal(size=(120, *shape))
        np.save(folder / f"{name}.npy", (codes[labels] + drawn).astype(np.float32))
    np.save(folder / "labels.npy", labels)
    return bench


@pytest.fixture(scope="module")
def specs(bench: Bench) -> list[RunSpec]:
    study = bench.study()
    return [of_row(study, row["name"]) for row in ROWS]


@pytest.fixture(scope="module")
def together(bench: Bench, specs: list[RunSpec]) -> Trained:
    return bench.train(specs)


def lines(ran: Trained, spec: RunSpec) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in ran.history(spec)]


def assert_same(ours: Trained, theirs: Trained, spec: RunSpec) -> None:
    assert ours.record(spec).status == "ok"
    assert ours.record(spec).metrics == theirs.record(spec).metrics
    assert ours.record(spec).digests == theirs.record(spec).digests
    assert lines(ours, spec) == lines(theirs, spec)
    assert_equal(ours.weights(spec), theirs.weights(spec))


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[row["name"] for row in ROWS])
def test_alone_and_in_company(bench: Bench, specs: list[RunSpec], together: Trained, row: int) -> None:
    assert len(together.record(specs[row]).environment["group"]) == len(ROWS)
    assert any(name.endswith("running_var") for name in together.weights(specs[row]))
    assert_same(bench.train([specs[row]]), together, specs[row])


def test_in_another_order(bench: Bench, specs: list[RunSpec], together: Trained) -> None:
    ran = bench.train(specs[::-1])
    for spec in specs:
        assert_same(ran, together, spec)


@pytest.mark.parametrize("at", [2, 5])
def test_interrupted(bench: Bench, specs: list[RunSpec], together: Trained, at: int) -> None:
    """Running statistics and the streams of dropout and flips stand where they stood."""
    ran = interrupted(bench, specs, at)
    for spec in specs:
        assert_same(ran, together, spec)


def test_rows_differ(specs: list[RunSpec], together: Trained) -> None:
    """What is compared bit by bit above are not the same runs anyway; but all begin alike and see the same."""
    digests = [together.record(spec).digests for spec in specs]
    assert len({own["order"] for own in digests}) == 1
    assert len({own["final"] for own in digests}) == len(ROWS)
    assert len({own["init"] for own in digests}) == 2, "of a gate there is more to begin"
