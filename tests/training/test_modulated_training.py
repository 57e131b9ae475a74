"""OGM-GE over whole steps of a run, held against the published formulas written anew here."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from fusion_samples import Bench, assert_equal, batch_of, gather, of_row, step, weights_of
from torch import Tensor

from mmablate.data.batches import Batch
from mmablate.data.streams import generator
from mmablate.methods.fusing import halved_bias
from mmablate.training.trainee import Trainee


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    rows = [{"name": name, "losses": ["sup"]} for name in ("ogm", "joint")]
    options = {"method": {"name": "ogm_ge", "alpha": 0.7, "noise": False}, "losses": {"sup": {"weight": 1}}}
    rows[1]["overrides"] = {"method": "joint_fusion"}
    return Bench(tmp_path_factory.mktemp("ogm") / "set", rows=rows, **options)


def batch(bench: Bench, run: Trainee, number: int = 0) -> Batch:
    return batch_of(run, bench.data(run.spec), number)


def shares(run: Trainee, own: Batch) -> dict[str, float]:
    """Sum over samples of softmax(W_m z_m + b / M) at the true class: equation 8, in float64."""
    model = run.model
    features = {m: z.double() for m, z in model.encode({m: own.inputs[m] for m in model.modalities}).items()}
    found, place = {}, 0
    for name, z in features.items():
        if model.fusion.__class__.__name__ == "Concat":
            head = model.fusion.head.out
            weight, bias = head.weight[:, place : place + z.shape[1]].double(), head.bias.double()
            place += z.shape[1]
        else:
            weight = model.fusion.branches[name].out.weight.double()
            bias = torch.stack([branch.out.bias for branch in model.fusion.branches.values()]).sum(0).double()
        logits = z @ weight.T + bias / len(features)
        chosen = logits.softmax(1)[torch.arange(len(own)), own.labels]
        found[name] = float(chosen.detach().sum())
    return found


def expected(sums: Mapping[str, float], alpha: float) -> dict[str, float]:
    """Equations 9 and 10, of two modalities."""
    (a, one), (b, other) = sums.items()
    ratio = {a: one / other, b: other / one}
    return {m: 1 - math.tanh(alpha * rho) if rho > 1 else 1.0 for m, rho in ratio.items()}


def lively(run: Trainee) -> None:
    """Biases that begin at zero would hide what is done with them, and like modalities which is ahead."""
    stream = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, own in run.model.named_parameters():
            if name.startswith("fusion."):
                own.add_(torch.randn(own.shape, generator=stream))


def modulated(run: Trainee, own: Batch, *, parts: int = 1) -> dict[str, Tensor]:
    """The gradient that the optimiser gets: what stands there when gradients would be clipped."""
    seen: dict[str, Tensor] = {}

    def note(model: Any) -> list[Any]:
        seen.update({name: p.grad.clone() for name, p in model.named_parameters()})
        return []

    run.method.clipped = note
    step(run, own, parts)
    return seen


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_biases_are_divided_among_the_modalities(bench: Bench, fusion: str) -> None:
    run = bench.trainee("ogm", f"model.fusion={fusion}")
    lively(run)
    own = batch(bench, run)
    with torch.no_grad():
        found = halved_bias(run.model(own.inputs, unimodal=True))
    sums = {m: float(x.double().softmax(1)[torch.arange(len(own)), own.labels].sum()) for m, x in found.items()}
    assert sums == pytest.approx(shares(run, own), rel=1e-5)
    torch.testing.assert_close(torch.stack(list(found.values())).sum(0), run.model(own.inputs).logits)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_encoder_that_is_ahead_is_held_back(bench: Bench, fusion: str, parts: int) -> None:
    run, plain = (bench.trainee("ogm", f"model.fusion={fusion}") for _ in range(2))
    lively(run)
    lively(plain)
    own = batch(bench, run)
    factors = expected(shares(run, own), 0.7)
    assert sorted(value == 1 for value in factors.values()) == [False, True]
    if parts == 1:
        whole = gather(plain, own)
    else:
        plain.method.adjust = lambda model, moment: None
        whole = modulated(plain, own, parts=parts)
    found = modulated(run, own, parts=parts)
    for name, gradient in whole.items():
        assert gradient is not None
        modality = name.split(".")[1]
        factor = factors[modality] if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(found[name], factor * gradient, rtol=1e-5, atol=1e-9)


def test_noise_is_as_wide_as_the_gradient_and_keyed_by_seed_modality_and_step(bench: Bench) -> None:
    run, plain = bench.trainee("ogm", "method.noise=true"), bench.trainee("ogm")
    for number in range(3):  # the same batches, but weights part at the first step
        own = batch(bench, run, number)
        plain.model.load_state_dict(run.model.state_dict())
        whole = gather(plain, own)
        plain.discard()
        plain.method._scores = None
        factors = expected(shares(run, own), 0.7)
        found = modulated(run, own)
        for modality in ("a", "b"):
            stream = generator(0, "ogm", modality, number)
            for name in [n for n in found if n.startswith(f"encoders.{modality}.")]:
                gradient = whole[name]
                assert gradient is not None
                noise = gradient.std() * torch.randn(gradient.shape, generator=stream)
                torch.testing.assert_close(found[name], factors[modality] * gradient + noise, rtol=1e-4, atol=1e-7)
        for name in [n for n in found if n.startswith("fusion.")]:
            assert torch.equal(found[name], whole[name])


def test_no_modulation_is_joint_training_to_the_bit(bench: Bench) -> None:
    off, joint = bench.trainee("ogm", "method.alpha=0"), bench.trainee("joint")
    sharp = bench.trainee("ogm")
    for number in range(4):
        for run in (off, joint, sharp):
            step(run, batch(bench, run, number), parts=1 + number % 2)
    assert_equal(weights_of(off), weights_of(joint))
    assert not torch.equal(
        weights_of(sharp)["encoders.a.layers.1.weight"], weights_of(joint)["encoders.a.layers.1.weight"]
    )


def test_the_released_definition_modulates_convolutions_alone(bench: Bench) -> None:
    """Dense encoders have none: it is joint training then."""
    off, joint = bench.trainee("ogm", "method.definition=released", "method.noise=true"), bench.trainee("joint")
    for number in range(2):
        for run in (off, joint):
            step(run, batch(bench, run, number))
    assert_equal(weights_of(off), weights_of(joint))


@pytest.mark.parametrize(("first", "last", "modulates"), [(1, 1, [1]), (2, 2, [2]), (2, None, [2, 3]), (4, None, [])])
def test_only_within_its_epochs(bench: Bench, first: int, last: int | None, modulates: list[int]) -> None:
    """Three epochs of four steps: the window is that of epochs, whose first is 1."""
    window = f"method={{name: ogm_ge, alpha: 0.7, noise: false, first_epoch: {first}, last_epoch: {last or 'null'}}}"
    study = bench.study(window, "train.epochs=3", rows=["ogm", "joint"])
    specs = {row: of_row(study, row) for row in ("ogm", "joint")}
    data = bench.data(specs["ogm"])
    runs = {row: Trainee(spec, data, torch.device("cpu"), 12) for row, spec in specs.items()}
    differ = []
    for number in range(12):
        own = batch(bench, runs["ogm"], number)
        for run in runs.values():
            step(run, own)
        ours, theirs = (weights_of(run) for run in runs.values())
        if any(not torch.equal(x, theirs[name]) for name, x in ours.items()):
            differ.append(1 + number // 4)
        runs["joint"].model.load_state_dict(runs["ogm"].model.state_dict())
        runs["joint"].optimizer.load_state_dict(copy.deepcopy(runs["ogm"].optimizer.state_dict()))
    assert sorted(set(differ)) == modulates
    assert len(differ) == 4 * len(modulates)


def test_counted_steps_are_one_epoch(bench: Bench) -> None:
    """As the history tells them: a window that ends with the first epoch holds all of them."""
    spec = bench.spec("ogm", "train.epochs=4", "train.steps=8", "method.last_epoch=1")
    run = Trainee(spec, bench.data(spec), torch.device("cpu"), 8)
    moments: list[int] = []
    adjust = run.method.adjust
    run.method.adjust = lambda model, moment: (moments.append(moment.epoch), adjust(model, moment))
    for number in range(8):
        step(run, batch(bench, run, number))
    assert moments == [1] * 8
