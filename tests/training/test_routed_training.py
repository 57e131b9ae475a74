"""Which parameter learns from what, over whole steps of a run: held against loops written here, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fusion_samples import (
    Bench,
    assert_equal,
    batch_of,
    gather,
    interrupted,
    step,
    weights_of,
)
from torch import Tensor, nn

from mmablate.data.batches import Batch
from mmablate.training.trainee import Trainee

ENCODERS, FUSION = ("encoders.a.", "encoders.b."), ("fusion.",)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("routing") / "set")


def batches(bench: Bench, run: Trainee, count: int = 4) -> list[Batch]:
    return [batch_of(run, bench.data(run.spec), number) for number in range(count)]


def autograd(run: Trainee, batch: Batch, loss: Any) -> dict[str, Tensor | None]:
    """Gradient by parameter of a loss of (features, fused logits, unimodal logits), through the plain network."""
    model = run.model.train()
    features = model.encode({name: batch.inputs[name] for name in model.modalities})
    alone = {name: model.unimodal_logits(features, name) for name in model.modalities}
    value = loss(features, model.fuse(features), alone)
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))


def same(ours: Tensor | None, theirs: Tensor | None) -> bool:
    return (ours is None) == (theirs is None) and (ours is None or torch.equal(ours, theirs))


# --- one gradient ----------------------------------------------------------------------------------------------------


def of_row(bench: Bench, row: str, *overrides: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], Trainee]:
    """The run's gradient of a step, and those of the joint loss and of the sum of the unimodal ones alone."""
    run = bench.trainee(row, *overrides)
    (batch,) = batches(bench, run, 1)
    found = gather(run, batch)
    joint = autograd(run, batch, lambda z, fused, alone: F.cross_entropy(fused, batch.labels))
    uni = autograd(run, batch, lambda z, fused, alone: sum(F.cross_entropy(x, batch.labels) for x in alone.values()))
    return found, joint, uni, run


@pytest.mark.parametrize("row", ["joint", "lr", "ogm"])
def test_one_joint_loss_trains_all(bench: Bench, row: str) -> None:
    found, joint, _, _ = of_row(bench, row)
    assert all(same(found[name], joint[name]) and joint[name].any() for name in found)


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated", "film", "bilinear", "late"])
def test_dgl_gives_each_its_own(bench: Bench, fusion: str) -> None:
    """Encoders 4 times the unimodal losses' gradient; own heads too; what they share the joint loss's."""
    found, joint, uni, _ = of_row(bench, "dgl", f"model.fusion={fusion}", "losses.uni.weight=4")
    own = {name for name in found if name.startswith("fusion.own_heads")}
    for name, gradient in found.items():
        if name.startswith(ENCODERS):
            assert torch.equal(gradient, 4 * uni[name]), name  # 4 is a power of two: no rounding
        elif name not in own:
            assert same(gradient, joint[name]), name
        elif fusion == "late":  # the heads of the modalities are what the fused output comes through
            torch.testing.assert_close(gradient, joint[name] + 4 * uni[name])
        else:
            assert torch.equal(gradient, 4 * uni[name]), name
        assert gradient.any(), name
    assert bool(own) == (fusion not in ("concat", "sum"))


def test_without_truncation_encoders_get_both(bench: Bench) -> None:
    found, joint, uni, _ = of_row(bench, "untruncated")
    for name, gradient in found.items():
        if name.startswith(ENCODERS):
            torch.testing.assert_close(gradient, joint[name] + 4 * uni[name])
            assert not torch.equal(gradient, 4 * uni[name])
        else:
            assert torch.equal(gradient, joint[name])


def test_a_head_that_is_not_detached_gets_both(bench: Bench) -> None:
    found, joint, uni, _ = of_row(bench, "shared")
    for name, gradient in found.items():
        if name.startswith(ENCODERS):
            assert torch.equal(gradient, 4 * uni[name])
        else:
            torch.testing.assert_close(gradient, joint[name] + 4 * uni[name])
            assert not torch.equal(gradient, joint[name])


def test_dgl_without_unimodal_losses_trains_the_fusion_alone(bench: Bench) -> None:
    """An α of 0 is that very run, and no step moves an encoder, not by weight decay either."""
    assert bench.spec("dgl", "losses.uni.weight=0").run_id == bench.spec("no_uni").run_id
    found, joint, _, run = of_row(bench, "no_uni")
    for name, gradient in found.items():
        assert same(gradient, None if name.startswith(ENCODERS) else joint[name]), name
    before = weights_of(run)
    run.discard()
    for batch in batches(bench, run):
        step(run, batch)
    after = weights_of(run)
    assert all(torch.equal(after[name], before[name]) == name.startswith(ENCODERS) for name in before)


def test_experts_reach_encoders_and_themselves_alone(bench: Bench) -> None:
    """What the term adds to an encoder is its own share; no share, no gradient that is not zero."""
    plain, unique = bench.trainee("dgl"), bench.trainee("unique")
    (batch,) = batches(bench, plain, 1)
    unique.method.emphasis = {"a": 0.0, "b": 0.5}
    ours, theirs = gather(unique, batch), gather(plain, batch)
    for name, gradient in theirs.items():
        assert torch.equal(ours[name], gradient) == (not name.startswith("encoders.b.")), name
    assert not any(ours[name].any() for name in ours if name.startswith("experts.a."))
    assert all(ours[name].any() for name in ours if name.startswith("experts.b.") and not name.endswith("out.bias"))


# --- steps ----------------------------------------------------------------------------------------------------------


def released_steps(run: Trainee, some: list[Batch], alpha: float, lr: float, clip: float) -> dict[str, Tensor]:
    """DGL as two passes, as the released code has them; encoders and the rest clipped apart; torch's own SGD."""
    model: nn.Module = run.model
    parts = model.parts()
    rest = [*parts["fusion"], *parts["own_heads"]]
    everything = [p for name in ("encoder.a", "encoder.b") for p in parts[name]] + rest
    decayed = [p for p in everything if p.ndim > 1]
    groups = [{"params": decayed, "weight_decay": 1e-3}, {"params": [p for p in everything if p.ndim < 2]}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, fused=True)
    for batch in some:
        optimizer.zero_grad()
        features = model.encode(batch.inputs)
        alone = [F.cross_entropy(model.unimodal_logits(features, m), batch.labels) for m in ("a", "b")]
        (alpha * torch.stack(alone).sum()).backward(retain_graph=True)
        for parameter in parts["fusion"]:
            parameter.grad = None
        F.cross_entropy(model.fuse({m: z.detach() for m, z in features.items()}), batch.labels).backward()
        for some_of in (parts["encoder.a"], parts["encoder.b"], rest):
            nn.utils.clip_grad_norm_(some_of, clip)
        optimizer.step()
    return weights_of(run)


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated", "film"])
def test_steps_of_dgl_are_those_of_two_passes(bench: Bench, fusion: str) -> None:
    ours, theirs = (bench.trainee("dgl", f"model.fusion={fusion}", "losses.uni.weight=3") for _ in range(2))
    some = batches(bench, ours)
    begun = weights_of(ours)
    for batch in some:
        step(ours, batch)
    expected = released_steps(theirs, some, 3.0, lr=0.05, clip=0.5)
    assert_equal(weights_of(ours), expected)
    assert not any(torch.equal(begun[name], value) for name, value in expected.items())


def test_joint_clipping_couples_what_separate_clipping_keeps_apart(bench: Bench) -> None:
    """A bound on all of it: more of the unimodal losses, less for the fusion."""
    found = {}
    for how in ("separate", "joint"):
        for alpha in (2, 8):
            run = bench.trainee("dgl", f"losses.uni.weight={alpha}", f"method.clip={how}", "train.clip=0.1")
            (batch,) = batches(bench, run, 1)
            step(run, batch)
            found[how, alpha] = weights_of(run)["fusion.head.out.weight"]
    assert torch.equal(found["separate", 2], found["separate", 8])
    assert not torch.equal(found["joint", 2], found["joint", 8])


@pytest.mark.parametrize("clip", ["separate", "joint"])
def test_a_closed_gate_changes_no_bit(bench: Bench, clip: str) -> None:
    """Whatever the bound on gradients, which bites here."""
    options = (f"method.clip={clip}", "train.clip=0.05", "train.optimizer=adamw")
    plain, closed = bench.trainee("dgl", *options), bench.trainee("unique", *options)
    for batch in batches(bench, plain, 5):
        step(plain, batch)
        step(closed, batch)
    assert_equal(weights_of(plain), weights_of(closed))
    assert any(name.startswith("experts.") for name in weights_of(closed, experts=True))
    assert plain.n_parameters == closed.n_parameters
    assert plain.initial_digest == closed.initial_digest


def test_experts_are_bounded_by_themselves(bench: Bench) -> None:
    """An open gate reaches the encoder of its modality, and through no common bound anything else."""
    options = ("method.clip=separate", "train.clip=0.05", "train.weight_decay=0", "losses.unique.weight=50")
    plain, opened = bench.trainee("dgl", *options[:3]), bench.trainee("unique", *options)
    opened.method.emphasis = {"a": 0.0, "b": 1.0}
    begun = weights_of(opened, experts=True)
    (batch,) = batches(bench, plain, 1)
    step(plain, batch)
    step(opened, batch)
    ours, theirs = weights_of(opened, experts=True), weights_of(plain)
    assert all(torch.equal(ours[n], x) == (not n.startswith("encoders.b.")) for n, x in theirs.items())
    moved = torch.cat([(x - begun[n]).flatten() for n, x in ours.items() if n.startswith("experts.")]).norm()
    assert float(moved) == pytest.approx(0.05 * 0.05, rel=1e-3), "learning rate times bound"


def test_a_weight_of_none_is_the_run_without_the_term(bench: Bench) -> None:
    assert bench.spec("unique", "losses.unique.weight=0").run_id == bench.spec("dgl").run_id
    assert bench.spec("residual", "losses.unique.weight=0").run_id == bench.spec("dgl").run_id


def test_a_closed_gate_through_a_whole_run_and_an_interrupted_one(tmp_path: Path) -> None:
    """Noise is never worth a weight: the run is that without the term, score by score."""
    bench = Bench(tmp_path / "set", {"a": None, "b": None})
    ran = bench.train([bench.spec("dgl"), bench.spec("unique")])
    plain, closed = (ran.record(bench.spec(row)) for row in ("dgl", "unique"))
    told = [line["unique"] for line in ran.history(bench.spec("unique"))]
    assert {own["beta"] for look in told for own in look.values()} == {0.0}
    assert {name: value for name, value in closed.metrics.items() if not name.startswith("β ")} == plain.metrics
    ours = {name: x for name, x in ran.weights(bench.spec("unique")).items() if not name.startswith("experts.")}
    assert_equal(ours, ran.weights(bench.spec("dgl")))
    again = interrupted(bench, [bench.spec("unique")], 3)
    assert_equal(again.weights(bench.spec("unique")), ran.weights(bench.spec("unique")))


# --- learning rate of encoders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.25, 4])
def test_encoders_move_by_the_factor_and_the_rest_does_not(bench: Bench, factor: float) -> None:
    plain, scaled = bench.trainee("joint"), bench.trainee("joint", f"train.encoder_lr={factor}")
    begun = weights_of(plain)
    (batch,) = batches(bench, plain, 1)
    step(plain, batch)
    step(scaled, batch)
    ours, theirs = weights_of(scaled), weights_of(plain)
    for name, start in begun.items():
        if name.startswith(ENCODERS):
            moved, expected = ours[name].double() - start.double(), factor * (theirs[name].double() - start.double())
            torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-6)
            assert moved.any()
        else:
            assert torch.equal(ours[name], theirs[name])


def test_a_factor_of_one_is_the_run_without_it(bench: Bench) -> None:
    plain, scaled = bench.trainee("joint"), bench.trainee("joint", "train.encoder_lr=1.0000000000000002")
    assert len(scaled.optimizer.param_groups) == 4
    for batch in batches(bench, plain):
        step(plain, batch)
        step(scaled, batch)
    assert_equal(weights_of(plain), weights_of(scaled))
    assert bench.spec("joint", "train.encoder_lr=1").run_id == bench.spec("joint").run_id


# --- the residual expert ------------------------------------------------------------------------------------------


def test_the_residual_expert_brings_the_joint_gradient_back(bench: Bench) -> None:
    """The trap: in an encoder, through a shared head on concatenated features, it is L_multi's gradient itself."""
    plain, trap = bench.trainee("dgl"), bench.trainee("residual", "losses.unique.weight=1")
    for run in (plain, trap):
        run.model.double()
    (batch,) = batches(bench, plain, 1)
    batch = Batch({name: x.double() for name, x in batch.inputs.items()}, batch.labels, batch.indices)
    trap.method.emphasis = {"a": 1.0, "b": 1.0}
    ours, theirs = gather(trap, batch), gather(plain, batch)
    joint = autograd(plain, batch, lambda z, fused, alone: F.cross_entropy(fused, batch.labels))
    for name, gradient in theirs.items():
        if name.startswith(ENCODERS):
            torch.testing.assert_close(ours[name] - gradient, joint[name], rtol=1e-9, atol=1e-12)
            assert joint[name].abs().max() > 1e-3
        else:
            assert torch.equal(ours[name], gradient), "nothing else hears of it"
