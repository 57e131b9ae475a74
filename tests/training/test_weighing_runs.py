"""How weak each modality is found while a run trains, the weights that follow, and what survives an interruption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fusion_samples import NAME, Bench, Dying, Killed, Trained, assert_equal, interrupted, of_row

from mmablate.data.streams import generator
from mmablate.methods import weakness
from mmablate.methods.fusing import FusingRule, JointFusion
from mmablate.results import StudyStore
from mmablate.results.store import STATE
from mmablate.study import RunSpec
from mmablate.training.features import Seen
from mmablate.training.group import train_group
from mmablate.training.memory import GroupTooLarge
from mmablate.training.saving import Interval
from mmablate.training.state import read_state
from mmablate.training.trainee import Trainee
from mmablate.training.weakness import look, shuffled_again

CLASSES = 4
OPTIONS = {"adapt": "adaptive", "average": 0.5, "permutations": 40, "largest": None}


def rule() -> FusingRule:
    return JointFusion(modalities=("a", "b"), ignore_label=-1, trains_unimodal=True, clip="joint")


def seen(noise: dict[str, float | None], seed: int, *, alike: bool = False, samples: int = 240) -> Seen:
    """Features that tell one bit of the class each, a the first, b the second; alike: both the same, of both bits."""
    stream, codes = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(CLASSES, 6))
    labels = np.arange(samples) % CLASSES
    told = {"a": labels // 2, "b": labels % 2}
    drawn = stream.normal(size=(samples, 6))
    features = {}
    for name, deviation in noise.items():
        values = drawn if alike else stream.normal(size=(samples, 6))
        shown = codes[labels] if alike else codes[told[name]]
        features[name] = torch.from_numpy(values if deviation is None else shown + deviation * values).float()
    return Seen(features, torch.zeros(samples, CLASSES), {}, torch.from_numpy(labels))


def looked(noise: dict[str, float | None], method: FusingRule | None = None, epoch: int = 0, **changes: Any) -> Any:
    """What a look finds, and the emphasis that it sets."""
    method = method or rule()
    alike = changes.pop("alike", False)
    found = look(
        method, {**OPTIONS, **changes}, 2.0, seen(noise, 1, alike=alike), seen(noise, 2, alike=alike),
        n_classes=CLASSES, seed=3, epoch=epoch,
    )  # fmt: skip
    return found, method.emphasis


# --- one look -----------------------------------------------------------------------------------------------------


def test_identical_modalities_get_the_same() -> None:
    found, emphasis = looked({"a": 1.0, "b": 1.0}, alike=True)
    assert found["a"]["strength"] == found["b"]["strength"] > 0.2
    assert found["a"]["unique"] == pytest.approx(0, abs=1e-6)
    assert emphasis == {"a": 0.0, "b": 0.0}


def test_noise_added_to_one_raises_its_weight() -> None:
    told = [looked({"a": 0.4, "b": noise})[0] for noise in (0.5, 0.8, 1.1, 1.5)]
    weights = [own["b"]["beta"] for own in told]
    assert weights == sorted(weights)
    assert 0 < weights[0] < weights[-1] <= 2
    assert all(own["b"]["unique"] > own["b"]["null"] for own in told)
    assert all(own["a"]["beta"] == 0 for own in told), "the stronger one needs none"


def test_pure_noise_gets_nothing() -> None:
    """The weakest of all, and the gate stays closed; without the gate it would get all there is."""
    found, emphasis = looked({"a": 0.4, "b": None})
    assert emphasis == {"a": 0.0, "b": 0.0}
    assert found["b"]["unique"] <= found["b"]["null"]
    assert found["b"]["strength"] < 0.05 < found["a"]["strength"]


def test_controls_deal_the_same_total_otherwise() -> None:
    noise = {"a": 0.4, "b": 1.1}
    dealt = {how: looked(noise, adapt=how)[1] for how in ("adaptive", "uniform", "inverted", "shuffled")}
    adaptive = dealt["adaptive"]
    assert adaptive["b"] > adaptive["a"] == 0
    assert {sum(own.values()) for own in dealt.values()} == {sum(adaptive.values())}
    assert dealt["uniform"]["a"] == dealt["uniform"]["b"]
    assert dealt["inverted"] == {"a": adaptive["b"], "b": adaptive["a"]}
    assert dealt["shuffled"] in (adaptive, dealt["inverted"])


def test_the_largest_weight_bounds_each() -> None:
    free = looked({"a": 0.4, "b": 1.1})[0]["b"]["beta"]
    bound = looked({"a": 0.4, "b": 1.1}, largest=free / 2)[0]["b"]["beta"]
    assert bound == pytest.approx(free / 2)


def test_strengths_are_averaged_over_looks() -> None:
    method = rule()
    first, _ = looked({"a": 0.4, "b": 0.8}, method, epoch=0, average=0.25)
    second, _ = looked({"a": 0.8, "b": 1.5}, method, epoch=1, average=0.25)
    alone, _ = looked({"a": 0.8, "b": 1.5}, epoch=1)
    for name in ("a", "b"):
        expected = 0.25 * first[name]["strength"] + 0.75 * alone[name]["strength"]
        assert second[name]["strength"] == pytest.approx(expected)


def test_shuffles_are_keyed_by_seed_and_epoch() -> None:
    """Of two modalities every deal is one of two: over epochs both come, in the order that the seed says."""
    found = {}
    for seed in (3, 4):
        method, dealt = rule(), []
        method.emphasis = {"a": 0.0, "b": 1.0}
        for epoch in range(1, 13):
            method.emphasis = {"a": 0.0, "b": 1.0}
            shuffled_again(method, seed, epoch)
            expected = weakness.shuffled_weights({"a": 0.0, "b": 1.0}, generator(seed, "unique.shuffle", epoch))
            assert method.emphasis == expected
            dealt.append(method.emphasis["a"])
        assert set(dealt) == {0.0, 1.0}
        found[seed] = dealt
    assert found[3] != found[4]


# --- whole runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Three epochs of four steps; a look in the first and the third; weights that are not zero."""
    folder = tmp_path_factory.mktemp("weighing") / "set"
    bench = Bench(folder)
    labels = np.arange(400) % 4
    stream = np.random.default_rng(0)
    for name, deviation, told in (("a", 0.4, labels // 2), ("b", 0.9, labels % 2)):
        codes = stream.normal(size=(2, 6))
        np.save(folder / f"{name}.npy", (codes[told] + deviation * stream.normal(size=(400, 6))).astype(np.float32))
    np.save(folder / "labels.npy", labels)
    return bench


THREE = ("train.epochs=3", "train.batch_size=48", "losses.unique.every=2", "evaluate.also=[]", "seeds=[0]")
ROWS = ("unique", "shuffled", "residual")


@pytest.fixture(scope="module")
def specs(bench: Bench) -> list[RunSpec]:
    study = bench.study(*THREE, rows=ROWS)
    return [of_row(study, row) for row in ROWS]


@pytest.fixture(scope="module")
def whole(bench: Bench, specs: list[RunSpec]) -> Trained:
    return bench.train(specs)


def told(ran: Trained, spec: RunSpec) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in ran.history(spec)]


def assert_same_end(ours: Trained, theirs: Trained, specs: list[RunSpec]) -> None:
    for spec in specs:
        assert ours.record(spec).metrics == theirs.record(spec).metrics
        assert ours.record(spec).digests == theirs.record(spec).digests
        assert told(ours, spec) == told(theirs, spec)
        assert_equal(ours.weights(spec), theirs.weights(spec))


def test_looks_come_when_they_are_due(whole: Trained, specs: list[RunSpec]) -> None:
    lines = told(whole, specs[0])
    assert ["unique" in line for line in lines] == [True, False, True]
    assert all(line["unique"]["b"]["beta"] > 0 for line in lines if "unique" in line)
    assert all(line["losses"]["unique"] != 0 for line in lines), "the weights hold until the next look"


@pytest.mark.parametrize("at", [3, 5, 8, 9, 12])
def test_interrupted_anywhere_it_ends_the_same(bench: Bench, specs: list[RunSpec], whole: Trained, at: int) -> None:
    """In the middle of an epoch, at its first step (a look has just been), with or without a look in it."""
    assert_same_end(interrupted(bench, specs, at), whole, specs)


def test_stopped_between_epochs_it_ends_the_same(bench: Bench, specs: list[RunSpec], whole: Trained) -> None:
    out = bench.out()
    asked = iter([False, False, True])
    assert train_group(bench.task(specs, out), lambda progress: None, stopping=lambda: next(asked)) == []
    state = read_state(StudyStore(out, NAME).run_folder(specs[0].run_id) / STATE)
    assert state is not None
    assert state.about["steps"] == 8
    assert state.about["method"]["memory"]["strengths"].keys() == {"a", "b"}
    assert_same_end(bench.train(specs, out), whole, specs)


@pytest.mark.parametrize("at", [4, 6, 8])
def test_out_of_memory_at_any_step_of_an_epoch_no_look_counts_twice(
    bench: Bench, specs: list[RunSpec], whole: Trained, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first step the epoch's look, or its shuffle, is behind the runs when their states are saved."""
    original = Trainee.backward

    def backward(run: Trainee, piece: Any) -> None:
        if run.steps == at and run.spec == specs[1]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        original(run, piece)

    out = bench.out()
    monkeypatch.setattr(Trainee, "backward", backward)
    with pytest.raises(GroupTooLarge):
        train_group(bench.task(specs, out, save_every=Interval()), lambda progress: None)
    monkeypatch.setattr(Trainee, "backward", original)
    assert_same_end(bench.train(specs, out), whole, specs)


def test_killed_while_others_look(bench: Bench, specs: list[RunSpec], whole: Trained) -> None:
    """Runs that stand at different steps of one epoch go on together."""
    out = bench.out()
    for spec, at in zip(specs, (5, 6, 9), strict=True):
        with pytest.raises(Killed):
            train_group(bench.task([spec], out, save_every=Interval(steps=1)), lambda progress: None, Dying(at))
    assert_same_end(bench.train(specs, out), whole, specs)


def test_alone_and_in_company(bench: Bench, specs: list[RunSpec], whole: Trained) -> None:
    for spec in specs:
        alone = bench.train([spec])
        assert alone.record(spec).digests == whole.record(spec).digests
        assert alone.record(spec).metrics == whole.record(spec).metrics
