"""Stacks of linear classifiers against plain loops of torch.optim.SGD, run by run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmablate.data.gaussian import open_gaussian
from mmablate.training.linear_stack import (
    LinearPair,
    LinearRun,
    TrainedLinear,
    train_linear,
    train_linear_pairs,
)

STEPS = 60


def make(
    seed: int, *, n: int = 40, d: int = 7, k: int = 2, inputs: Tensor | None = None, dtype: torch.dtype = torch.float64
) -> LinearRun:
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)  # noqa: E731
    made = draw(n, d) if inputs is None else inputs
    labels = torch.randint(0, k, (n,), generator=random)
    return LinearRun(made, labels, draw(k, d) * 0.3, draw(k) * 0.3, teacher=3 * draw(n, k))


def module(run: LinearRun) -> nn.Linear:
    """The run's starting point as a module, in double precision."""
    made = nn.Linear(run.inputs.shape[1], len(run.weight), dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(run.weight)
        made.bias.copy_(run.bias)
    return made


def plain_terms(run: LinearRun, logits: Tensor) -> tuple[Tensor, Tensor]:
    assert run.teacher is not None
    kd = F.kl_div(logits.log_softmax(1), run.teacher.double().softmax(1), reduction="batchmean")
    return F.cross_entropy(logits, run.labels), kd


def plain(
    run: LinearRun, lr: float, momentum: float, steps: int = STEPS
) -> tuple[nn.Linear, list[tuple[float, float]]]:
    """A loop as anyone writes it: module, optimiser, autograd."""
    model, losses = module(run), []
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        ce, kd = plain_terms(run, model(run.inputs.double()))
        (run.ce * ce + run.kd * kd).backward()
        optimizer.step()
        losses.append((ce.item(), kd.item()))
    return model, losses


def difference(found: TrainedLinear, wanted: nn.Linear) -> float:
    return max(
        float((found.weight.double() - wanted.weight.detach()).abs().max()),
        float((found.bias.double() - wanted.bias.detach()).abs().max()),
    )


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("ce", "kd"), [(1.0, 0.0), (1.0, 0.5), (1.0, 1.0), (0.0, 1 / 3)])
def test_equal_to_plain_descent(k: int, momentum: float, ce: float, kd: float) -> None:
    """In double precision both are the same numbers but for the order of sums: 60 steps of rounding, 1e-16 each."""
    runs = [replace(make(seed, k=k), ce=ce, kd=kd) for seed in range(3)]
    for run, found in zip(runs, train_linear(runs, lr=0.1, steps=STEPS, momentum=momentum, record=[1, 7]), strict=True):
        wanted, losses = plain(run, 0.1, momentum)
        assert difference(found, wanted) < 1e-12
        assert difference(found, module(run)) > 1e-2  # it went somewhere
        assert found.fault is None
        assert [step for step, _ in found.losses] == [1, 7, STEPS]
        for step, terms in found.losses:
            expected = {"ce": losses[step - 1][0], "kd": losses[step - 1][1] if kd else 0.0}
            assert terms == pytest.approx(expected, abs=1e-12)


def test_single_precision_stays_near_double() -> None:
    """The published setting: 200 samples, 50 channels, 1,000 steps at 0.1.

    Descent of a convex loss contracts errors, so that the rounding of single steps, 6e-8 of values up to about 4,
    does not add up over 1,000 steps to more than some 1e-5 of what the weights moved by.
    """
    runs = [replace(make(seed, n=200, d=50, dtype=torch.float32), kd=0.5 * (seed % 2)) for seed in range(4)]
    for run, found in zip(runs, train_linear(runs, lr=0.1, steps=1000), strict=True):
        assert found.weight.dtype == torch.float32
        assert difference(found, plain(run, 0.1, 0.0, steps=1000)[0]) < 2e-5


@pytest.mark.parametrize("k", [2, 3])
def test_runs_on_the_same_inputs_and_mixed_shapes(k: int) -> None:
    """One product for those that share inputs, other products for others; results in the order of the runs."""
    shared = make(0, k=k).inputs
    runs = [
        make(1, k=k, inputs=shared),
        make(2, k=k, d=4),
        replace(make(3, k=k, inputs=shared), kd=1.0),
        make(4, k=k, d=4),
        make(5, k=5 - k, inputs=shared),
        make(6, k=k),
        replace(make(7, k=k, inputs=shared), ce=0.5),
        make(8, k=k, n=11, d=4),
    ]
    for run, found in zip(runs, train_linear(runs, lr=0.2, steps=STEPS), strict=True):
        assert difference(found, plain(run, 0.2, 0.0)[0]) < 1e-12


def test_neighbours_do_not_matter() -> None:
    """Alone and in company: the same but for the order of sums, in the precision that is trained in."""
    shared = make(0, n=200, d=50, dtype=torch.float32).inputs
    runs = [make(i, n=200, d=50, inputs=shared, dtype=torch.float32) for i in range(5)]
    runs += [make(i, n=200, d=50, dtype=torch.float32) for i in range(5, 40)]
    together = train_linear(runs, lr=0.1, steps=300)
    for index in (0, 3, 7, 39):
        alone = train_linear([runs[index]], lr=0.1, steps=300)[0]
        assert torch.allclose(alone.weight, together[index].weight, rtol=0, atol=2e-6)
        assert torch.allclose(alone.bias, together[index].bias, rtol=0, atol=2e-6)


def test_more_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting into pieces loses and mixes up nothing."""
    runs = [make(seed) for seed in range(5)]
    whole = train_linear(runs, lr=0.1, steps=STEPS)
    monkeypatch.setattr("mmablate.training.linear_stack.CHUNK", 2 * runs[0].inputs.numel() + 1)
    for one, other in zip(whole, train_linear(runs, lr=0.1, steps=STEPS), strict=True):
        assert torch.allclose(one.weight, other.weight, rtol=0, atol=1e-13)


def test_what_is_given_stays_as_it_was() -> None:
    run = replace(make(0), kd=1.0)
    before = [run.inputs.clone(), run.weight.clone(), run.bias.clone()]
    train_linear([run], lr=0.1, steps=3)
    train_linear_pairs([LinearPair(run, run)], lr=0.1, steps=3)
    assert all(torch.equal(old, new) for old, new in zip(before, (run.inputs, run.weight, run.bias), strict=True))


PUBLISHED = {  # xs, channels and decisive of x1: teacher, no KD, KD, in percent, as the published code prints them
    (20, 25, (10, 20)): (70.38, 69.41, 68.70),
    (20, 25, (8, 18)): (70.17, 69.41, 68.96),
    (20, 25, (6, 16)): (70.42, 69.41, 69.07),
    (20, 25, (4, 14)): (72.58, 69.41, 69.65),
    (20, 25, (2, 12)): (76.37, 69.41, 70.94),
    (20, 25, (0, 10)): (73.38, 69.41, 71.91),
    (50, 50, (0, 10)): (58.45, 57.90, 59.49),
    (50, 50, (0, 20)): (65.20, 57.90, 58.87),
    (50, 50, (0, 30)): (70.78, 57.90, 58.56),
    (50, 50, (0, 40)): (79.62, 57.90, 58.46),
    (50, 50, (0, 50)): (90.53, 57.90, 58.21),
}


def test_the_published_figures() -> None:
    """Means over seeds 0 to 9 with the published draws and initial weights, in the order of the published script.

    A mean moves by .01 with each of its 10,000 answers, and sums in another order may turn a few.
    """
    settings = [(setting, seed) for setting in PUBLISHED for seed in range(10)]
    data = [
        open_gaussian(seed=seed, xs=xs, x1={"channels": channels, "decisive": decisive},
                      x2={"channels": 50, "decisive": [0, 10]}, draws="released")
        for (xs, channels, decisive), seed in settings
    ]  # fmt: skip
    sets = [
        [{key: torch.from_numpy(x) for key, x in (inputs | {"y": labels}).items()} for inputs, labels in batches]
        for batches in (
            [one.splits[name].batch(range(len(one.splits[name]))) for name in ("train", "test")] for one in data
        )
    ]
    teachers, students = [], []
    for ((_, channels, _), seed), (train, _) in zip(settings, sets, strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            starts = [nn.Linear(width, 2) for width in (channels, 50, 50)]  # teacher, KD, no KD
        runs = [
            LinearRun(train[name], train["y"], start.weight, start.bias)
            for name, start in zip(("x1", "x2", "x2"), starts, strict=True)
        ]
        teachers.append(runs[0])
        students.append(runs[1:])
    taught = train_linear(teachers, lr=0.1, steps=1000)
    for pair, run, found in zip(students, teachers, taught, strict=True):
        pair[0] = replace(pair[0], kd=0.5, teacher=run.inputs @ found.weight.T + found.bias)
    trained = train_linear([run for pair in students for run in pair], lr=0.1, steps=1000)
    scores: dict[tuple[int, int, tuple[int, int]], list[list[float]]] = {}
    for index, ((setting, _), (_, test)) in enumerate(zip(settings, sets, strict=True)):
        found = [(taught[index], "x1"), (trained[2 * index + 1], "x2"), (trained[2 * index], "x2")]
        scores.setdefault(setting, []).append(
            [
                100 * float(((test[name] @ one.weight.T + one.bias).argmax(1) == test["y"]).double().mean())
                for one, name in found
            ]
        )
    for setting, printed in PUBLISHED.items():
        means = torch.tensor(scores[setting], dtype=torch.float64).mean(dim=0).tolist()
        assert means == pytest.approx(printed, abs=0.025), setting


def test_parameters_may_be_given() -> None:
    run = make(0)
    given = replace(run, weight=nn.Parameter(run.weight), bias=nn.Parameter(run.bias))
    found = train_linear([given], lr=0.1, steps=3)[0]
    assert not found.weight.requires_grad
    assert torch.equal(found.weight, train_linear([run], lr=0.1, steps=3)[0].weight)
    pair = train_linear_pairs([LinearPair(given, given)], lr=0.1, steps=3)[0]
    assert not pair.student_bias.requires_grad


def spoiled(what: str) -> LinearRun:
    run = replace(make(9, dtype=torch.float32), kd=1.0)
    values = {name: getattr(run, name).clone() for name in ("inputs", "weight", "teacher")}
    values[what].view(-1)[0] = float("inf") if what == "inputs" else float("nan")
    return replace(run, **values)


@pytest.mark.parametrize(("what", "term"), [("inputs", "ce"), ("weight", "ce"), ("teacher", "kd")])
def test_a_run_that_is_not_finite_from_the_start(what: str, term: str) -> None:
    runs = [make(0, dtype=torch.float32), spoiled(what), make(2, dtype=torch.float32)]
    found = train_linear(runs, lr=0.1, steps=5)
    fault = found[1].fault
    assert fault is not None
    assert (fault.term, fault.step) == (term, 1)
    assert found[1].losses == ()
    for index in (0, 2):
        assert found[index].fault is None
        assert difference(found[index], plain(runs[index], 0.1, 0.0, steps=5)[0]) < 1e-6


def test_the_first_step_that_overflows_is_named() -> None:
    """Step 1 leaps with a rate of 1e38, so the logits of step 2 are infinite; neighbours on the same inputs go on."""
    shared = make(0, dtype=torch.float32).inputs * 100
    runs = [make(seed, inputs=shared, dtype=torch.float32) for seed in (1, 2)]
    for result in train_linear(runs, lr=1e38, steps=9):
        assert result.fault is not None
        assert (result.fault.term, result.fault.step) == ("ce", 2)
    after = train_linear(runs, lr=1e38, steps=1)[0]
    assert after.fault is not None
    assert after.fault.step == 2
    huge = replace(runs[0], weight=runs[0].weight * 3e38)
    found = train_linear([huge, runs[1]], lr=1e-3, steps=20)
    assert found[0].fault is not None
    assert found[1].fault is None
    assert difference(found[1], plain(runs[1], 1e-3, 0.0, steps=20)[0]) < 1e-4


def test_large_but_finite_is_no_fault() -> None:
    """Logits near 1e30 are trained one by one and come out like a plain loop's."""
    run = make(0)
    run = replace(run, weight=run.weight * 1e31)
    found = train_linear([run], lr=0.1, steps=5)[0]
    assert found.fault is None
    assert [step for step, _ in found.losses] == [5]
    wanted = plain(run, 0.1, 0.0, steps=5)[0]
    assert torch.allclose(found.weight, wanted.weight, rtol=1e-12, atol=0)


def plain_pair(pair: LinearPair, lr: float, momentum: float) -> tuple[nn.Linear, nn.Linear, list[list[float]]]:
    """Both modules under one optimiser."""
    teacher, student = module(pair.teacher), module(pair.student)
    optimizer = torch.optim.SGD([*teacher.parameters(), *student.parameters()], lr=lr, momentum=momentum)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        t, s = teacher(pair.teacher.inputs.double()), student(pair.student.inputs.double())
        terms = [F.cross_entropy(t, pair.teacher.labels), F.cross_entropy(s, pair.teacher.labels), F.mse_loss(t, s)]
        (terms[0] + terms[1] + pair.distance * terms[2]).backward()
        optimizer.step()
        losses.append([term.item() for term in terms])
    return teacher, student, losses


def make_pair(seed: int, *, k: int = 2, n: int = 40, d: tuple[int, int] = (6, 9), distance: float = 1.0) -> LinearPair:
    teacher = make(seed, n=n, d=d[0], k=k)
    return LinearPair(teacher, replace(make(seed + 100, n=n, d=d[1], k=k), labels=teacher.labels), distance)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_pairs_equal_plain_joint_training(momentum: float) -> None:
    pairs = [
        make_pair(0),
        make_pair(1, distance=0.0),
        make_pair(2, k=3),
        make_pair(3, d=(4, 4), distance=2.5),
        make_pair(4, distance=3.0),
    ]
    found = train_linear_pairs(pairs, lr=0.01, steps=STEPS, momentum=momentum, record=[5])
    for pair, result in zip(pairs, found, strict=True):
        teacher, student, losses = plain_pair(pair, 0.01, momentum)
        assert difference(TrainedLinear(result.teacher_weight, result.teacher_bias, ()), teacher) < 1e-12
        assert difference(TrainedLinear(result.student_weight, result.student_bias, ()), student) < 1e-12
        assert [step for step, _ in result.losses] == [5, STEPS]
        for step, terms in result.losses:
            assert list(terms) == ["ce_teacher", "ce_student", "distance"]
            assert list(terms.values()) == pytest.approx(losses[step - 1], abs=1e-12)
        assert result.fault is None


def test_a_pair_that_diverges_is_told_and_its_neighbours_are_not() -> None:
    """The distance's own rate limit is passed by far: the pair that has it doubles and doubles to infinity."""
    pairs = [make_pair(0), make_pair(1, distance=1e4), make_pair(2)]
    singles = [replace(pair, teacher=single(pair.teacher), student=single(pair.student)) for pair in pairs]
    found = train_linear_pairs(singles, lr=0.01, steps=STEPS, momentum=0.9)
    fault = found[1].fault
    assert fault is not None
    assert fault.term == "distance"
    # The step, by a plain loop in the same precision.
    teacher, student = (module(run).float() for run in (singles[1].teacher, singles[1].student))
    optimizer = torch.optim.SGD([*teacher.parameters(), *student.parameters()], lr=0.01, momentum=0.9)
    step, loss = 0, torch.zeros(())
    while loss.isfinite():
        step += 1
        optimizer.zero_grad()
        t, s = teacher(singles[1].teacher.inputs), student(singles[1].student.inputs)
        loss = F.cross_entropy(t, pairs[1].teacher.labels) + F.cross_entropy(s, pairs[1].teacher.labels)
        loss = loss + 1e4 * F.mse_loss(t, s)
        loss.backward()
        optimizer.step()
    assert abs(fault.step - step) <= 1  # here the distance is looked at before its weight
    for index in (0, 2):
        assert found[index].fault is None
        teacher, _, _ = plain_pair(pairs[index], 0.01, 0.9)
        result = found[index]
        assert difference(TrainedLinear(result.teacher_weight, result.teacher_bias, ()), teacher) < 1e-5


def single(run: LinearRun) -> LinearRun:
    return replace(run, inputs=run.inputs.float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: replace(run, labels=run.labels[:-1]), "are not"),
        (lambda run: replace(run, bias=run.bias[:1]), "are not"),
        (lambda run: replace(run, teacher=run.teacher[:, :1]), "are not"),
        (lambda run: replace(run, teacher=None, kd=1.0), "without a teacher"),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[[LinearRun], LinearRun], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_linear([change(make(0))], lr=0.1, steps=1)


@pytest.mark.parametrize(("lr", "steps", "momentum"), [(0.0, 1, 0.0), (float("nan"), 1, 0.0), (1.0, 0, 0.0), (1, 1, 1)])
def test_plans_that_make_no_sense_are_refused(lr: float, steps: int, momentum: float) -> None:
    with pytest.raises(ValueError, match="lr > 0"):
        train_linear([make(0)], lr=lr, steps=steps, momentum=momentum)


def test_nothing_to_train() -> None:
    assert train_linear([], lr=0.1, steps=1) == []
    assert train_linear_pairs([], lr=0.1, steps=1) == []
