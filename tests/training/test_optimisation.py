"""Schedules against torch's own, what is decayed, and clipping of one run's gradients."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from training_samples import Workshop, students

from mmablate.data.base import SegmentationData
from mmablate.data.batches import TrainingBatches
from mmablate.models import anymodal_segmentor
from mmablate.study import Study
from mmablate.training.optimisation import build_optimizer, learning_rate
from mmablate.training.trainee import Piece, Trainee

BASE: dict[str, Any] = {
    "optimizer": "adamw", "lr": 0.02, "weight_decay": 0.1, "momentum": 0.9, "schedule": "constant", "warmup": 0.0,
    "warmup_start": None,
}  # fmt: skip


def torch_rates(make: Any, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE["lr"])
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR calls its own deprecated form of step
            scheduler.step()
    return rates


def rates(steps: int, **settings: Any) -> list[float]:
    return [learning_rate(step, steps, BASE | settings) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_schedules_are_those_of_torch(steps: int) -> None:
    def poly(o: Any) -> Any:
        return lr_scheduler.PolynomialLR(o, total_iters=steps, power=0.9)

    def cosine(o: Any) -> Any:
        return lr_scheduler.CosineAnnealingLR(o, T_max=steps)

    assert rates(steps, schedule="poly") == pytest.approx(torch_rates(poly, steps))
    assert rates(steps, schedule="cosine") == pytest.approx(torch_rates(cosine, steps))
    assert rates(steps) == [BASE["lr"]] * steps


def test_warm_up_is_linear_and_starts_above_zero() -> None:
    warm = 10  # of 40 steps; the first is one eleventh

    def linear(o: Any) -> Any:
        return lr_scheduler.LinearLR(o, start_factor=1 / (warm + 1), end_factor=1, total_iters=warm)

    def both(o: Any) -> Any:
        poly = lr_scheduler.PolynomialLR(o, total_iters=30, power=0.9)
        return lr_scheduler.SequentialLR(o, [linear(o), poly], [warm])

    assert rates(40, warmup=0.25) == pytest.approx(torch_rates(linear, 40))
    assert rates(40, warmup=0.25, schedule="poly") == pytest.approx(torch_rates(both, 40))
    assert rates(40, warmup=0.25)[0] > 0


@pytest.mark.parametrize("schedule", ["constant", "cosine", "poly"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_rates_are_positive_and_peak_at_lr(schedule: str, warmup: float, steps: int) -> None:
    found = rates(steps, schedule=schedule, warmup=warmup)
    assert all(0 < rate <= BASE["lr"] for rate in found)
    assert max(found) == pytest.approx(BASE["lr"])


# --- what the optimiser does ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_biases_and_norms_are_not_decayed(name: str) -> None:
    model = anymodal_segmentor(n_classes=3, widths=[4])
    optimizer = build_optimizer(model, BASE | {"optimizer": name})
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for parameter_name, parameter in model.named_parameters():
        plain = parameter_name.endswith("bias") or ".norm." in parameter_name
        assert decay.pop(id(parameter)) == (0.0 if plain else 0.1), parameter_name
    assert not decay


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adamw", lambda p, decay: torch.optim.AdamW(p, lr=0.02, weight_decay=decay)),
        ("adam", lambda p, decay: torch.optim.Adam(p, lr=0.02, weight_decay=decay)),
        ("sgd", lambda p, decay: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=decay)),
    ],
)
def test_steps_are_those_of_torch(name: str, reference: Any) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizers = [
        build_optimizer(ours, BASE | {"optimizer": name}),
        reference([theirs.weight], 0.1),
        reference([theirs.bias], 0.0),
    ]
    for _ in range(5):
        x = torch.randn(6, 4)
        for model in (ours, theirs):
            model.zero_grad()
            model(x).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    optimizer = build_optimizer(model, BASE)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 1


def test_warm_up_from_a_share_of_the_peak_is_the_released_one() -> None:
    """Ratio at the first step, the peak after the last; then poly over what is left (linear warm-up)."""
    found = rates(40, warmup=0.25, warmup_start=0.1, schedule="poly")
    expected = [0.02 * (0.1 + 0.9 * step / 10) for step in range(10)]
    expected += [0.02 * (1 - (step - 10) / 30) ** 0.9 for step in range(10, 40)]
    assert found == pytest.approx(expected)


# --- in a run -------------------------------------------------------------------------------------------------


def gradients(study: Study, data: SegmentationData, monkeypatch: pytest.MonkeyPatch) -> tuple[Trainee, torch.Tensor]:
    """A run after one step, and the gradient that its optimiser saw."""
    (spec,) = students(study)
    trainee = Trainee(spec, data, torch.device("cpu"), 10)
    batches = TrainingBatches(data.splits["train"], batch_size=8, seed=1, role="student", device=trainee.device)
    seen: list[torch.Tensor] = []
    original = trainee.optimizer.step

    def stepping() -> None:
        seen.append(torch.cat([p.grad.flatten() for p in trainee.model.parameters()]))
        original()

    monkeypatch.setattr(trainee.optimizer, "step", stepping)
    trainee.backward(Piece(next(batches.epoch(0)), ("V", "N"), None))
    trainee.update()
    return trainee, seen[0]


def test_clipping_bounds_the_norm_and_keeps_the_direction(
    workshop: Workshop, data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, free = gradients(workshop.alone(), data, monkeypatch)
    _, loose = gradients(workshop.alone("train.clip=1e3"), data, monkeypatch)
    _, tight = gradients(workshop.alone("train.clip=0.01"), data, monkeypatch)
    assert free.norm() > 0.01
    assert torch.equal(free, loose)
    assert float(tight.norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(tight / tight.norm(), free / free.norm())


def test_the_first_step_takes_the_first_rate(
    workshop: Workshop, data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = workshop.alone("train.schedule=poly", "train.warmup=0.5", "train.optimizer=sgd", "train.momentum=0",
                           "train.weight_decay=0")  # fmt: skip
    trainee, gradient = gradients(study, data, monkeypatch)
    assert trainee.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 / 6)
    (spec,) = students(study)
    before = Trainee(spec, data, torch.device("cpu"), 10).model.parameters()
    start = torch.cat([p.detach().flatten() for p in before])
    end = torch.cat([p.detach().flatten() for p in trainee.model.parameters()])
    torch.testing.assert_close(end, start - 0.05 / 6 * gradient)
    assert trainee.steps == 1
