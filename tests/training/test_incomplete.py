"""The total loss on incomplete scans: what is summed, weighed and gated, against sums written out."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from volume_samples import TERMS, Steps, volume_data, volume_spec

from mmablate import losses
from mmablate.data.base import VolumeData
from mmablate.data.volume_batches import VolumeBatch
from mmablate.methods import total
from mmablate.training.bilevel import BiLevel, VolumeTrainee

SINGLE = {"name": "incomplete"}


@pytest.fixture(scope="module")
def data() -> VolumeData:
    return volume_data()


@pytest.fixture(scope="module")
def steps(data: VolumeData) -> Steps:
    return Steps(data, size=4)


def trainee_of(steps: Steps, method: dict[str, Any] | None = None, **options: Any) -> VolumeTrainee:
    trainee = steps.trainee(volume_spec({**SINGLE, **(method or {})}, **options))
    trainee.model.double()
    return trainee


def doubled(batch: VolumeBatch) -> VolumeBatch:
    return replace(batch, inputs={name: x.double() for name, x in batch.inputs.items()})


def values_of(trainee: VolumeTrainee, batch: VolumeBatch, mask: object = ()) -> dict[str, Tensor]:
    found: dict[str, Tensor] = trainee.method.losses(trainee.model, batch, mask, None, trainee.terms)
    return found


def number(value: Tensor) -> float:
    return float(value.detach())


def released(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {**TERMS[name], "definition": "released"} for name in names}


def seg(logits: np.ndarray, labels: np.ndarray) -> float:
    """CE + Dice of one sample (K, ...), over the classes that it has."""
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    cross = -np.log(np.take_along_axis(p, labels[None], 0)).mean()
    there = np.unique(labels)
    dice = [2 * p[k][labels == k].sum() / (p[k].sum() + (labels == k).sum()) for k in there]
    return float(cross + 1 - np.mean(dice))


def divergence(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Mean over voxels of Σ_c KL(mine ‖ theirs)."""
    a, b = (x - x.max(0) - np.log(np.exp(x - x.max(0)).sum(0)) for x in (mine, theirs))
    return float((np.exp(a) * (a - b)).sum(0).mean())


def test_the_seeds_total_is_the_sum_of_its_parts(steps: Steps) -> None:
    """L = fuse + Σ_m uni + Σ_s 2^-s PRM + Σ_m β_m pixel + δ_m proto, mean over samples, in double precision."""
    beta, delta = {"flair": 0.5, "t1": 2.0}, {"t2": 3.0}
    own = {"pixel": {**TERMS["pixel"], "weights": beta, "weight": 0.7},
           "proto": {**TERMS["proto"], "weights": delta, "weight": 0.2}}  # fmt: skip
    trainee = trainee_of(steps, losses=own)
    batch = doubled(steps.batches.step_batch(0))
    mask = trainee.method.hidden(batch)
    out = trainee.model(batch.inputs, mask, separate=True, alone=True)
    labels = batch.labels.numpy()
    assert [tuple(pair) for pair in out.pairs.tolist()] == [tuple(p) for p in mask.nonzero().tolist()]
    expected = dict.fromkeys(TERMS, 0.0)
    for b in range(4):
        expected["fuse"] += seg(out.fused.logits[b].detach().numpy(), labels[b])
        for s, level in enumerate(out.fused.regions, 1):
            whole = torch.nn.functional.interpolate(
                level[b : b + 1], size=labels.shape[1:], mode="trilinear", align_corners=True
            )
            expected["prm"] += 0.5**s * seg(whole[0].detach().numpy(), labels[b])
    for p, (b, m) in enumerate(out.pairs.tolist()):
        name = ("flair", "t1ce", "t1", "t2")[m]
        expected["uni"] += seg(out.separate[p].detach().numpy(), labels[b])
        for mine, theirs in zip(out.alone.levels, out.fused.levels, strict=True):
            expected["pixel"] += beta.get(name, 1.0) * divergence(mine[p].detach().numpy(), theirs[b].detach().numpy())
        mine, theirs = out.alone.features[p].detach().numpy(), out.fused.features[b].detach().numpy()
        for k in np.unique(labels[b]):
            gap = mine[:, labels[b] == k].mean(1) - theirs[:, labels[b] == k].mean(1)
            expected["proto"] += delta.get(name, 1.0) * float((gap**2).sum())
    found = values_of(trainee, batch)
    for name in TERMS:
        assert number(found[name]) == pytest.approx(expected[name] / 4, rel=1e-9), name
    weights = {"fuse": 1, "uni": 1, "prm": 1, "pixel": 0.7, "proto": 0.2}
    whole_loss = sum(weights[name] * expected[name] / 4 for name in TERMS)
    assert number(total(trainee.terms, found)) == pytest.approx(whole_loss, rel=1e-9)


def test_the_released_total(steps: Steps) -> None:
    """fuse + PRM + Σ_m w_m(ω_m β_m sep + .5 β_m KL + .1 ω_m proto), w_m by rarity, ω_m by batch."""
    names = ("fuse", "uni", "prm", "pixel", "proto")
    own = released(*names)
    own["pixel"]["weight"], own["proto"]["weight"] = 0.5, 0.1
    method = {"gate": "released", "rates": True, "balance": "preference"}
    trainee = trainee_of(steps, method, losses=own)
    trainee.method.beta = torch.tensor([0.5, 1.5, 0.9, 1.1], dtype=torch.float64)
    batch = doubled(steps.batches.step_batch(1))
    mask = trainee.method.hidden(batch)
    out = trainee.model(batch.inputs, mask, separate=True, alone=True)
    rows = out.pairs[:, 0]
    labels, teacher = batch.labels[rows], out.fused.at(rows)
    common = torch.stack([(batch.labels == k).flatten(1).any(1) for k in range(4)], 1).all(0).expand(len(rows), 4)
    common = common.clone()
    distance = losses.prototype_distance(out.alone.features, teacher.features, labels, n_classes=4, classes=common)
    sums = torch.zeros(4, 4, dtype=torch.float64)
    sums[rows, out.pairs[:, 1]] = distance
    lags = torch.zeros(4, dtype=torch.float64)
    for b in range(4):
        some = [m for m in range(4) if mask[b, m]]
        mean = number(sums[b, some].mean())
        for m in some:
            lags[m] += number(sums[b, m]) / mean - 1 if len(some) > 1 and mean > 0 else 0.0
    gate = (lags > 0).double()
    assert 0 < gate.sum() < 4
    counts = trainee.method.rates
    presence = np.array(steps.data.splits["train"].presence)
    assert counts.tolist() == pytest.approx((8 / presence.sum(0)).tolist())
    rate, beta, omega = (x.double()[out.pairs[:, 1]] for x in (counts, trainee.method.beta, gate))
    size = tuple(batch.labels.shape[1:])
    each = {
        "uni": losses.segmentation_loss(out.separate, labels, definition="released") * omega * beta * rate,
        "pixel": losses.pixel_distillation(out.alone.levels, teacher.levels, size=size, definition="released")
        * beta * rate,
        "proto": losses.prototype_distillation(
            out.alone.features, teacher.features, labels, n_classes=4, definition="released", classes=common
        ) * omega * rate,
    }  # fmt: skip
    found = values_of(trainee, batch)
    for name, own_values in each.items():
        assert number(found[name]) == pytest.approx(number(own_values.sum()) / 4, rel=1e-6), name
    assert trainee.method._seen.tolist() == mask.sum(0).tolist()


def test_a_single_modality_teaches_itself_nothing(steps: Steps) -> None:
    """Student and teacher are one: pixel and proto are 0, relative preference is no 0/0, and uni is learned from."""
    batch = doubled(steps.batches.step_batch(0))
    mask = torch.tensor([[True, False, False, False]] * 4)
    for gate in ("none", "principled", "released"):
        trainee = trainee_of(steps, {"gate": gate})
        found = values_of(trainee, batch, mask)
        assert number(found["pixel"]) == pytest.approx(0, abs=1e-12)
        assert number(found["proto"]) == pytest.approx(0, abs=1e-12)
        # The release closes its gate on every such sample.
        assert (number(found["uni"]) == 0) == (gate == "released")
        loss = total(trainee.terms, found)
        loss.backward()
        assert math.isfinite(float(loss.detach()))
        assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in trainee.model.parameters())


def test_the_loss_does_not_grow_with_the_batch(steps: Steps) -> None:
    """Of a batch twice over, the mean is the same; the released sums are not repeated here."""
    trainee = trainee_of(steps, {"gate": "principled"})
    batch = doubled(steps.batches.step_batch(0))
    mask = trainee.method.hidden(batch)
    twice = replace(
        batch, inputs={n: torch.cat([x, x]) for n, x in batch.inputs.items()},
        labels=torch.cat([batch.labels] * 2), indices=batch.indices * 2,
    )  # fmt: skip
    once, more = values_of(trainee, batch, mask), values_of(trainee, twice, torch.cat([mask, mask]))
    for name in once:
        assert number(more[name]) == pytest.approx(number(once[name]), rel=1e-12)


def test_what_is_hidden_is_not_seen(steps: Steps) -> None:
    """Noise in place of hidden modalities, or values that are not finite, change no bit of loss and gradient."""
    trainee = trainee_of(steps, {"gate": "principled"})
    batch = doubled(steps.batches.step_batch(0))
    mask = trainee.method.hidden(batch)
    assert not bool(mask.all())
    inputs = {name: x.clone() for name, x in batch.inputs.items()}
    for m, name in enumerate(inputs):
        inputs[name][~mask[:, m]] = float("nan")
    before = total(trainee.terms, values_of(trainee, batch, mask))
    after = total(trainee.terms, values_of(trainee, replace(batch, inputs=inputs), mask))
    assert torch.equal(before, after)
    a, b = (torch.autograd.grad(loss, list(trainee.model.parameters()), allow_unused=True) for loss in (before, after))
    assert all(x is y or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_gate_is_of_uni_and_proto(steps: Steps) -> None:
    """Open for the modalities whose prototypes lie further from the fused ones than the sample's mean."""
    plain, gated = trainee_of(steps), trainee_of(steps, {"gate": "principled"})
    batch = doubled(steps.batches.step_batch(0))
    mask = gated.method.hidden(batch)
    step = gated.method.step(gated.model, batch, mask, record=False)
    assert set(step.gate.tolist()) == {0.0, 1.0}
    a, b = values_of(plain, batch), values_of(gated, batch)
    for name in ("fuse", "prm", "pixel"):
        assert torch.equal(a[name], b[name])
    for name in ("uni", "proto"):
        assert number(b[name]) < number(a[name])


def test_beta_follows_relative_preference_at_the_end_of_an_epoch(steps: Steps) -> None:
    """RP_m = (d̄ − d̃_m)/d̄; β ← clip(β − η RP, .1, 4), normed to 2; η is raised by a half at its epochs."""
    method = {"balance": "preference", "balance_rate": 0.2, "balance_raised": [0, 3]}
    trainee = trainee_of(steps, method)
    batch = doubled(steps.batches.step_batch(0))
    values_of(trainee, batch)
    values_of(trainee, batch, trainee.method.hidden(batch))  # of a second batch: counts for nothing
    rule = trainee.method
    mean = rule._distances / rule._seen
    assert float(rule._seen.sum()) == float(rule.hidden(batch).sum())
    told = rule.end_epoch(1)
    average = mean.mean()
    moved = (1 - 0.3 * (average - mean) / average).clamp(0.1, 4)
    assert rule.beta.tolist() == pytest.approx((2 * moved / moved.norm()).tolist())
    assert told["beta"] == pytest.approx(dict(zip(rule.modalities, rule.beta.tolist(), strict=True)))
    assert told["distance"] == pytest.approx(dict(zip(rule.modalities, mean.tolist(), strict=True)))
    assert not rule._seen.any()
    assert float(rule.beta[mean.argmax()]) == float(rule.beta.max())  # more for what lags behind


def test_an_interrupted_balance_goes_on(steps: Steps) -> None:
    spec = volume_spec({**SINGLE, "balance": "preference", "gate": "principled"})
    whole, first = steps.trainee(spec), steps.trainee(spec)
    for step in range(2):
        BiLevel(lambda _: ()).step([whole], steps.pieces(step))
    BiLevel(lambda _: ()).step([first], steps.pieces(0))
    again = steps.trainee(spec)
    again.restore(first.state())
    BiLevel(lambda _: ()).step([again], steps.pieces(1))
    assert again.error is None
    assert whole.method.end_epoch(0) == again.method.end_epoch(0)


def test_terms_ask_for_no_more_of_the_model_than_they_need(steps: Steps) -> None:
    for names, separate, alone in (
        (["fuse"], False, False), (["fuse", "prm"], False, False), (["fuse", "uni"], True, False),
        (["fuse", "proto"], False, True),
    ):  # fmt: skip
        trainee = trainee_of(steps, terms=names)
        assert (trainee.method.separate, trainee.method.alone) == (separate, alone)
        assert values_of(trainee, doubled(steps.batches.step_batch(0))).keys() == set(names)


@pytest.mark.parametrize("definition", ["principled", "released"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gate", ["none", "principled", "released"])
def test_masks_lie_on_the_cpu_and_all_else_on_the_device(
    steps: Steps, definition: str, dtype: torch.dtype, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's device "meta" has no values, but refuses what mixes devices or types as CUDA does."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **named: nullcontext())  # which "meta" does not know
    chosen = {name: {**TERMS[name], "definition": definition} for name in TERMS}
    method = {"name": "metadrop", "alpha": 1.0, "eta_out": 0.1, "balance": "meta", "gate": gate, "rates": True}
    trainee = steps.trainee(volume_spec(method, losses=chosen))
    trainee.model.to("meta", dtype)
    batch = steps.batches.step_batch(0)
    mask = trainee.method.hidden(batch)
    away = replace(
        batch, inputs={name: x.to("meta", dtype) for name, x in batch.inputs.items()}, labels=batch.labels.to("meta")
    )
    step = trainee.method.step(trainee.model, away, mask, record=False)
    loss = total(trainee.terms, {term.key: term(step) for term in trainee.terms})
    loss.backward()
    assert loss.dtype == torch.float32
    assert trainee.method._by_modality(step, trainee.terms).device.type == "meta"
