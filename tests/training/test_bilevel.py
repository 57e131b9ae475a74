"""The bi-level step: its identities to the bit, the second order against finite differences, β by meta-gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from volume_samples import META, Steps, volume_data, volume_spec, weights

from mmablate.data.base import VolumeData
from mmablate.methods import total
from mmablate.methods.metadrop import through_inner_step
from mmablate.training.bilevel import BiLevel, VolumeTrainee
from mmablate.training.optimisation import gradient_scale
from mmablate.training.trainee import Piece

SINGLE = {"name": "incomplete"}
OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adamw", "lr": 3e-3},
    {"optimizer": "adamw", "lr": 3e-3, "amsgrad": True, "clip": 1.0, "schedule": "poly"},
]  # fmt: skip


@pytest.fixture(scope="module")
def data() -> VolumeData:
    return volume_data()


def meta(**options: Any) -> dict[str, Any]:
    return {"name": "metadrop", "alpha": 1.0, "eta_out": 0.1, "schedule_outer": True, "order": "first", **options}


def same(a: VolumeTrainee, b: VolumeTrainee) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)


@pytest.mark.parametrize("train", OPTIMIZERS)
@pytest.mark.parametrize("masks", ["permanent", "dynamic"])
def test_without_an_outer_step_it_is_single_level_to_the_bit(
    data: VolumeData, train: dict[str, Any], masks: str
) -> None:
    steps = Steps(data)
    single = steps.run(volume_spec(SINGLE, masks=masks, **train))
    bilevel = steps.run(volume_spec(meta(alpha=1.0, eta_out=0.0), masks=masks, **train))
    assert same(single, bilevel)
    assert single.epoch_losses() == bilevel.epoch_losses()
    assert not same(single, steps.run(volume_spec(meta(alpha=1.0, eta_out=0.1), masks=masks, **train)))


def loss_at(trainee: VolumeTrainee, piece: Piece) -> Tensor:
    values = trainee.method.losses(trainee.model, piece.batch, piece.present, None, trainee.terms)
    return total(trainee.terms, values, None)


@pytest.mark.parametrize("train", OPTIMIZERS)
def test_alpha_zero_is_first_order_maml(data: VolumeData, train: dict[str, Any]) -> None:
    """Written out: the weights go back, and move by the gradient at φ̃ on the meta batch."""
    steps, eta = Steps(data), 0.07
    spec = volume_spec(meta(alpha=0.0, eta_out=eta, schedule_outer=False), **train)
    found = steps.run(spec)
    plain = steps.trainee(spec)
    plain.model.train()
    for step in range(4):
        start = weights(plain)
        plain.backward(steps.pieces(step)[0])
        plain.move()
        (batch,) = steps.second(step)(plain)
        loss_at(plain, Piece(batch, plain.method.hidden(batch), None)).backward()
        with torch.no_grad():
            for name, p in plain.model.named_parameters():
                p.copy_(start[name] if p.grad is None else start[name] - eta * p.grad)
        plain.optimizer.zero_grad(set_to_none=True)
        plain.count()
    assert same(found, plain)


@pytest.mark.parametrize("train", OPTIMIZERS)
def test_without_an_outer_step_and_with_half_alpha_it_is_lookahead(data: VolumeData, train: dict[str, Any]) -> None:
    """Of one step (Zhang et al. 2019): slow weights move by α towards the fast ones, which start again there."""
    steps, alpha = Steps(data), 0.5
    found = steps.run(volume_spec(meta(alpha=alpha, eta_out=0.0), **train))
    plain = steps.trainee(volume_spec(SINGLE, **train))
    slow = weights(plain)
    for step in range(4):
        BiLevel(steps.second(step)).step([plain], steps.pieces(step))
        with torch.no_grad():
            for name, p in plain.model.named_parameters():
                slow[name] = torch.lerp(slow[name], p, alpha)
                p.copy_(slow[name])
    assert same(found, plain)


def test_the_outer_step_is_the_formula(data: VolumeData) -> None:
    """φ0 + α(φ̃ − φ0) − η ∇L_meta(φ̃) in double precision, with everything in play."""
    steps = Steps(data)
    spec = volume_spec(meta(alpha=0.3, eta_out=0.05, schedule_outer=True), optimizer="adamw", lr=3e-3, schedule="poly")
    plain = steps.run(spec, steps=2)
    start = weights(plain)
    single = steps.run(spec, steps=2)
    single.backward(steps.pieces(2)[0])
    single.move()
    ahead = weights(single)
    (batch,) = steps.second(2)(single)
    loss_at(single, Piece(batch, single.method.hidden(batch), None)).backward()
    eta = 0.05 * (1 - 2 / 8) ** 0.9
    BiLevel(steps.second(2)).step([plain], steps.pieces(2))
    for name, p in single.model.named_parameters():
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        a, b, g = start[name].double(), ahead[name].double(), gradient.double()
        expected = a + 0.3 * (b - a) - eta * g
        torch.testing.assert_close(weights(plain)[name].double(), expected, rtol=1e-5, atol=1e-7)


def double(trainee: VolumeTrainee) -> VolumeTrainee:
    """In double precision, so that differences tell."""
    trainee.model.double()
    trainee._check = lambda values, loss: None  # type: ignore[method-assign]
    return trainee


def doubled(piece: Piece) -> Piece:
    batch: Any = piece.batch
    inputs = {name: x.double() for name, x in batch.inputs.items()}
    return Piece(type(batch)(inputs, batch.labels, batch.indices, available=batch.available, draws=batch.draws),
                 piece.present, None, piece.index, piece.last, piece.shares)  # fmt: skip


def test_the_second_order_on_a_quadratic_is_a_finite_difference() -> None:
    """φ0 → L_meta(φ0 − η(∇L_train(φ0) + w φ0)) with both losses quadratic, along random directions."""
    drawn = torch.Generator().manual_seed(1)
    a, b = (torch.randn(6, 6, generator=drawn, dtype=torch.float64) for _ in range(2))
    train, late = a @ a.T, b @ b.T
    eta, decay = 0.02, 0.3

    def meta_loss(x: Tensor) -> Tensor:
        ahead = x - eta * (train @ x + decay * x)
        return 0.5 * ahead @ late @ ahead + ahead.sum()

    x = torch.randn(6, generator=drawn, dtype=torch.float64, requires_grad=True)
    ahead = (x - eta * (train @ x + decay * x)).detach()
    (inner,) = torch.autograd.grad(0.5 * x @ train @ x, x, create_graph=True)
    (found,) = through_inner_step([late @ ahead + 1], [inner], [x], eta=eta, decays=[decay])
    assert found is not None
    for _ in range(4):
        d = torch.randn(6, generator=drawn, dtype=torch.float64)
        slope = float(meta_loss(x.detach() + 1e-4 * d) - meta_loss(x.detach() - 1e-4 * d)) / 2e-4
        assert float(found @ d) == pytest.approx(slope, rel=1e-7)


def test_the_second_order_of_what_a_loss_does_not_depend_on() -> None:
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, 3.0))
    (inner,) = torch.autograd.grad(x**3, x, create_graph=True)
    found = through_inner_step([None, torch.tensor(5.0, dtype=torch.float64)], [inner, None], [x, y], eta=0.1,
                               decays=[0.0, 0.5])  # fmt: skip
    assert found[0] is None
    assert float(found[1] or 0) == pytest.approx(5 - 0.1 * 0.5 * 5)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_second_order_differentiates_through_the_inner_step(data: VolumeData, parts: int) -> None:
    """Against the inner step written as a function of φ0 that autograd goes through as a whole.

    No finite differences: what the losses and the model's gates hold fixed would move with φ0.
    """
    steps = Steps(data, parts=parts)
    options = {"lr": 0.2, "weight_decay": 0.1}
    spec = volume_spec(meta(order="second", alpha=0.0, eta_out=1.0, schedule_outer=False), **options)
    trainee = double(steps.trainee(spec))
    pieces = [doubled(piece) for piece in steps.pieces(0)]
    (batch,) = steps.second(0)(trainee)
    late = doubled(Piece(batch, trainee.method.hidden(batch), None))
    start = {n: p.detach().clone().requires_grad_() for n, p in trainee.model.named_parameters()}
    rule, terms = trainee.method, trainee.terms

    def loss(parameters: dict[str, Tensor], piece: Piece) -> Tensor:
        forward = lambda *args, **named: functional_call(trainee.model, parameters, args, named)  # noqa: E731
        return total(terms, rule.losses(forward, piece.batch, rule.hidden(piece.batch), None, terms), None)

    inner = sum(loss(start, p) * (1.0 if p.shares is None else p.shares["images"]) for p in pieces)
    grads = torch.autograd.grad(inner, list(start.values()), create_graph=True, allow_unused=True)  # type: ignore[arg-type]
    ahead = {
        n: p - 0.2 * ((0 if g is None else g) + (0.1 * p if p.ndim > 1 else 0))
        for (n, p), g in zip(start.items(), grads, strict=True)
    }
    whole = torch.autograd.grad(loss(ahead, late), list(start.values()), allow_unused=True)

    def second(_: Any) -> Any:
        return (late.batch,)

    trainee.take(pieces, second)
    changes = {n: (start[n] - p).detach() for n, p in weights(trainee).items()}
    for name, expected in zip(start, whole, strict=True):
        wanted = torch.zeros_like(start[name]) if expected is None else expected
        torch.testing.assert_close(changes[name], wanted, rtol=1e-6, atol=1e-9)
    first = double(steps.trainee(volume_spec(meta(alpha=0.0, eta_out=1.0, schedule_outer=False), **options)))
    first.take(pieces, second)
    gap = max(float((start[n] - p - changes[n]).detach().abs().max()) for n, p in weights(first).items())
    assert gap > 1e-3, "the curvature tells nothing here"


def test_the_second_order_goes_through_the_inner_step_with_its_own_beta(data: VolumeData) -> None:
    """The first step that changes β is taken with the β before the change: balanced or not, it is the same step."""
    steps = Steps(data)
    options = {"order": "second", "balance_rate": 1.0, "balance_low": 0.1, "balance_high": 4.0}
    fixed = steps.run(volume_spec(meta(**options)), steps=1)
    balanced = steps.run(volume_spec(meta(balance="meta", **options)), steps=1)
    assert not torch.equal(fixed.method.beta, balanced.method.beta)
    assert same(fixed, balanced)


def gradients_of(trainee: VolumeTrainee, pieces: list[Piece]) -> list[Tensor]:
    for piece in pieces:
        trainee.backward(piece)
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in trainee.model.parameters()]
    trainee.discard()
    return found


@pytest.mark.parametrize("train", [{"lr": 0.05}, {"optimizer": "adamw", "lr": 1e-2}])
def test_slopes_are_the_gradient_of_the_meta_loss_by_beta(data: VolumeData, train: dict[str, Any]) -> None:
    """Against differences of the training gradient: ∇L_meta(φ̃) · P (g(β') − g(β)) / (β' − β), one β at a time."""
    steps = Steps(data)
    spec = volume_spec(meta(balance="meta", balance_rate=0.05), **train)
    trainee = double(steps.trainee(spec))
    pieces = [doubled(piece) for piece in steps.pieces(1)]
    (batch,) = steps.second(1)(trainee)
    late = doubled(Piece(batch, trainee.method.hidden(batch), None))
    start = [p.detach().clone() for p in trainee.model.parameters()]
    plain = gradients_of(double(steps.trainee(spec)), pieces)
    for piece in pieces:
        trainee.backward(piece)
    trainee.move()
    found = trainee._meta_gradient([late])
    slopes = trainee._slopes(pieces, start, found)
    scales = [gradient_scale(trainee.optimizer, p) for p in trainee.model.parameters()]
    for m in range(4):
        other = double(steps.trainee(spec))
        other.method.beta[m] += 0.5
        changed = gradients_of(other, pieces)
        slope = sum(
            float((v * scale * (g - g0) / 0.5).sum())
            for v, scale, g, g0 in zip(found, scales, changed, plain, strict=True)
            if v is not None
        )
        assert abs(slope) > 1e-5
        assert float(slopes[m]) == pytest.approx(slope, rel=1e-6)


def test_the_scale_of_adam_is_that_of_its_step() -> None:
    """lr m̂ / (√v̂ + ε) by a difference of the gradient with v̂ held fixed, written out, after three steps."""
    for amsgrad in (False, True):
        w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64))
        optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.0, amsgrad=amsgrad)
        first = torch.zeros_like(w)
        second = torch.zeros_like(w)
        largest = torch.zeros_like(w)
        for t in range(1, 4):
            w.grad = (w.detach() * t - 1.0).clone()
            first = 0.9 * first + 0.1 * w.grad
            second = 0.999 * second + 0.001 * w.grad**2
            largest = torch.maximum(largest, second)
            optimizer.step()
        used = largest if amsgrad else second
        expected = 0.1 * 0.1 / (1 - 0.9**3) / ((used / (1 - 0.999**3)).sqrt() + 1e-8)
        torch.testing.assert_close(gradient_scale(optimizer, w).double(), expected, rtol=1e-6, atol=0)


def test_beta_moves_against_the_gradient_and_keeps_its_norm(data: VolumeData) -> None:
    steps = Steps(data)
    trainee = steps.run(volume_spec(meta(balance="meta", balance_rate=0.05)))
    beta = trainee.method.beta
    assert not torch.equal(beta, torch.ones(4, dtype=torch.float64))
    assert float(beta.norm()) == pytest.approx(2)
    rule = trainee.method
    rule.beta = torch.ones(4, dtype=torch.float64)
    rule.weigh(torch.tensor([1.0, -1.0, 0.0, 0.0]))
    assert rule.beta[0] < rule.beta[2] < rule.beta[1]
    before = rule.beta.clone()
    rule.weigh(torch.full((4,), float("nan")))
    rule.weigh(torch.zeros(4))
    assert torch.equal(rule.beta, before)


def test_the_second_batch_in_a_step_of_its_own_is_an_ordinary_step(data: VolumeData) -> None:
    steps = Steps(data)
    matched = steps.run(volume_spec({**SINGLE, "second": "step"}, optimizer="adamw", lr=3e-3), steps=3)
    plain = steps.trainee(volume_spec(SINGLE, optimizer="adamw", lr=3e-3))
    for step in range(3):
        plain.backward(steps.pieces(step)[0])
        plain.move()
        (batch,) = steps.second(step)(plain)
        plain.backward(Piece(batch, plain.method.hidden(batch), None))
        plain.move()
        plain.count()
    assert same(matched, plain)
    assert matched.steps == 3


def test_the_union_is_the_mean_over_both_batches(data: VolumeData) -> None:
    steps = Steps(data)
    united = steps.run(volume_spec({**SINGLE, "second": "union"}), steps=1)
    plain = steps.trainee(volume_spec(SINGLE))
    (batch,) = steps.second(0)(plain)
    first = steps.pieces(0)[0]
    (0.5 * loss_at(plain, first) + 0.5 * loss_at(plain, Piece(batch, plain.method.hidden(batch), None))).backward()
    plain.move()
    mine, theirs = weights(united), weights(plain)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_masks_of_the_meta_batch(data: VolumeData) -> None:
    steps = Steps(data)
    seen: dict[str, list[Tensor]] = {}
    for masks in ("same", "redrawn", "full"):
        trainee = steps.trainee(volume_spec(meta(meta={**META, "masks": masks})))
        for step in range(6):
            (batch,) = steps.second(step)(trainee)
            found = trainee.method.hidden_again(batch)
            assert bool((found <= batch.available).all())
            assert not set(batch.indices) & set(steps.batches.subjects(step))
            seen.setdefault(masks, []).append(found)
            if masks == "full":
                assert bool(found.all())
            if masks == "same":
                assert torch.equal(found, batch.available)
    same_masks, redrawn = torch.cat(seen["same"]), torch.cat(seen["redrawn"])
    assert torch.equal(torch.cat(seen["same"]).any(1), redrawn.any(1))
    assert not torch.equal(same_masks, redrawn)


def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been(data: VolumeData) -> None:
    steps = Steps(data)
    spec = volume_spec(meta(balance="meta", gate="principled"), optimizer="adamw", lr=3e-3, schedule="poly")
    whole = steps.run(spec, steps=4)
    first = steps.run(spec, steps=2)
    state = first.state()
    again = steps.trainee(spec)
    again.restore(state)
    for step in (2, 3):
        BiLevel(steps.second(step)).step([again], steps.pieces(step))
    assert same(whole, again)
    assert torch.equal(whole.method.beta, again.method.beta)
    assert whole.epoch_losses() == again.epoch_losses()


def test_neighbours_do_not_matter(data: VolumeData) -> None:
    """Runs of all kinds side by side compute what each computes alone."""
    steps = Steps(data)
    specs = [
        volume_spec(SINGLE), volume_spec({**SINGLE, "second": "step"}), volume_spec({**SINGLE, "second": "union"}),
        volume_spec(meta(balance="meta")), volume_spec(meta(meta={**META, "masks": "full"})),
    ]  # fmt: skip
    together = [steps.trainee(spec) for spec in specs]
    for step in range(3):
        BiLevel(steps.second(step)).step(together, steps.pieces(step))
    for spec, trainee in zip(specs, together, strict=True):
        assert same(trainee, steps.run(spec, steps=3))


def test_a_diverging_run_fails_alone(data: VolumeData) -> None:
    steps = Steps(data)
    bad = steps.trainee(volume_spec(SINGLE, lr=1e30))
    good = steps.trainee(volume_spec(meta()))
    for step in range(3):
        BiLevel(steps.second(step)).step([bad, good], steps.pieces(step))
    assert bad.error is not None
    assert good.error is None
    assert same(good, steps.run(volume_spec(meta()), steps=3))
