"""Cross-modal distillation of a whole run, held against plain loops written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from crossmodal_samples import DIGITS, GAUSS, Ran, inputs, run, shipped
from torch import nn

from mmablate.data.base import LabelledSplit
from mmablate.data.batches import TrainingBatches
from mmablate.data.streams import generator
from mmablate.methods.crossmodal import CrossModalDistillation
from mmablate.results import StudyStore
from mmablate.results.store import STATE
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import digest
from mmablate.training.group import GroupTask, InTurn, train_group
from mmablate.training.saving import Interval

CPU = torch.device("cpu")


# --- gradient descent in numpy, float64 ------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def descend(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, steps: int, lr: float,
    told: np.ndarray | None = None, kd: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """CE + kd times KL(told || softmax), both means over samples."""
    x, weight, bias = x.astype(np.float64), weight.astype(np.float64).copy(), bias.astype(np.float64).copy()
    one_hot = np.eye(len(weight))[y]
    for _ in range(steps):
        p = softmax(x @ weight.T + bias)
        pull = p - one_hot
        if told is not None:
            pull = pull + kd * (p - told)
        pull /= len(x)
        weight -= lr * pull.T @ x
        bias -= lr * pull.sum(0)
    return weight, bias


def percent(logits: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float((logits.argmax(1) == labels).mean())


@pytest.mark.parametrize(("definition", "factor"), [("released", 0.5), ("principled", 1.0)])
@pytest.mark.parametrize("mode", ["in-turn", "stacked"])
def test_a_gaussian_student_is_that_of_a_plain_loop(tmp_path: Path, definition: str, factor: float, mode: str) -> None:
    lr, steps, weight = 0.1, 200, 2.0
    study = shipped(
        "gauss_gamma", *GAUSS, "seeds=[3]", f"train.steps={steps}", "data.n_train=80", "data.n_test=500",
        f"losses.kd.definition={definition}", f"losses.kd.weight={weight}",
    )  # fmt: skip
    ran = run(study, tmp_path, rows=["0.43+no_kd", "0.43+kd"], mode=mode)
    spec = ran.spec("0.43+kd", 3)
    (teacher_spec,) = ran.upstream("0.43+kd", 3)
    data = ran.data(spec)
    (x1, y), (x2, _) = inputs(data, "train", "x1"), inputs(data, "train", "x2")
    assert x1.shape == (80, 25)
    assert x2.shape == (80, 50)
    begun = {}
    for name, own in (("teacher", teacher_spec), ("student", spec)):
        model = initial_model(own.settings["model"], data, seed=3, role=name)
        begun[name] = [model.state_dict()[f"stages.logits.{part}"].numpy() for part in ("weight", "bias")]
    assert not np.array_equal(begun["teacher"][1], begun["student"][1])
    teacher = descend(x1, y, *begun["teacher"], steps=steps, lr=lr)
    told = softmax(x1.astype(np.float64) @ teacher[0].T + teacher[1])
    student = descend(x2, y, *begun["student"], steps=steps, lr=lr, told=told, kd=weight * factor)
    alone = descend(x2, y, *begun["student"], steps=steps, lr=lr)

    (test1, labels), (test2, _) = inputs(data, "test", "x1"), inputs(data, "test", "x2")
    found = {
        "kd": percent(test2 @ student[0].T + student[1], labels),
        "no_kd": percent(test2 @ alone[0].T + alone[1], labels),
        "teacher": percent(test1 @ teacher[0].T + teacher[1], labels),
    }
    assert len(set(found.values())) == 3, "three numbers that could be taken for one another would prove little"
    assert ran.record("0.43+kd", 3).metrics == pytest.approx({"Acc": found["kd"], "Teacher": found["teacher"]})
    assert ran.record("0.43+no_kd", 3).metrics == pytest.approx({"Acc": found["no_kd"]})
    assert ran.record_of(teacher_spec).metrics == pytest.approx({"Acc": found["teacher"]})
    for own, (expected_weight, expected_bias) in ((spec, student), (teacher_spec, teacher)):
        kept = ran.weights(own)
        assert np.abs(kept["stages.logits.weight"].numpy() - expected_weight).max() < 2e-5
        assert np.abs(kept["stages.logits.bias"].numpy() - expected_bias).max() < 2e-5


# --- mini-batches in plain torch ---------------------------------------------------------------------------------


def plain_mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10))


def loaded(model: nn.Sequential, weights: dict[str, Any]) -> nn.Sequential:
    names = {"0": "stages.hidden1.1", "2": "stages.logits"}
    model.load_state_dict({f"{k}.{p}": weights[f"{v}.{p}"] for k, v in names.items() for p in ("weight", "bias")})
    return model


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One pair of views of the digits, all ways of teaching, two epochs."""
    study = shipped("mfeat_focus", *DIGITS, "seeds=[1]", "losses.kd.weight=3", "losses.kd.temperature=2")
    return run(study, tmp_path_factory.mktemp("digits"), rows=["pix_fou+no_kd", "pix_fou+kd"])


def test_a_student_of_digits_is_that_of_a_plain_loop(digits: Ran) -> None:
    spec = digits.spec("pix_fou+kd", 1)
    data = digits.data(spec)
    (pair,) = digits.upstream("pix_fou+kd", 1)
    held = {k.removeprefix("teacher."): v for k, v in digits.weights(pair).items() if k.startswith("teacher.")}
    teacher = loaded(plain_mlp(240), held)
    start = initial_model(spec.settings["model"], data, seed=1, role="student")
    student = loaded(plain_mlp(76), start.state_dict())
    (pix, y), (fou, _) = inputs(data, "train", "pix"), inputs(data, "train", "fou")
    pix, fou, y = torch.from_numpy(pix), torch.from_numpy(fou), torch.from_numpy(y)
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-2, momentum=0.9)
    validation, states = [], []
    (val, val_labels) = inputs(data, "val", "fou")
    for epoch in range(2):
        order = torch.randperm(len(y), generator=generator(1, "student", "order", epoch))
        for step in range(len(y) // 64):
            chosen = order[64 * step : 64 * (step + 1)]
            told = F.softmax(teacher(pix[chosen]).detach() / 2, dim=1)
            logp = F.log_softmax(student(fou[chosen]) / 2, dim=1)
            loss = 3 * 4 * (told * (told.log() - logp)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            validation.append(percent(student(torch.from_numpy(val)).numpy(), val_labels))
        states.append({name: value.clone() for name, value in student.state_dict().items()})
    assert [line["val"]["Acc"] for line in digits.history(spec)] == pytest.approx(validation)
    best = max(range(2), key=lambda epoch: validation[epoch])
    record = digits.record("pix_fou+kd", 1)
    assert record.selected_epoch == best + 1
    student.load_state_dict(states[best])
    test, labels = inputs(data, "test", "fou")
    beside, _ = inputs(data, "test", "pix")
    with torch.no_grad():
        expected = {
            "Acc": percent(student(torch.from_numpy(test)).numpy(), labels),
            "Teacher": percent(teacher(torch.from_numpy(beside)).numpy(), labels),
        }
    assert record.metrics == pytest.approx(expected)
    kept = loaded(plain_mlp(76), digits.weights(spec)).state_dict()
    for name, value in states[best].items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)


def test_a_run_without_a_teacher_is_ordinary_training(digits: Ran) -> None:
    spec = digits.spec("pix_fou+no_kd", 1)
    assert spec.depends_on == ()
    assert digits.record("pix_fou+no_kd", 1).metrics.keys() == {"Acc"}
    assert spec.settings["data"]["modalities"] == ["fou"], "it reads its own view alone"


# --- the teacher ---------------------------------------------------------------------------------------------------


def test_the_teacher_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In eval mode, without gradients, and the same afterwards: dropout would make two views of one batch differ."""
    study = shipped("mfeat_focus", *DIGITS, "seeds=[1]", "train.epochs=1", "teacher.dropout=0.5")
    ran = run(study, tmp_path, rows=["pix_fou+no_kd"])
    seen = []
    original = CrossModalDistillation.reference

    def reference(self: CrossModalDistillation, teacher: nn.Module, batch: Any) -> Any:
        found = original(self, teacher, batch)
        assert torch.equal(found.logits, original(self, teacher, batch).logits)
        assert not found.logits.requires_grad
        assert not any(module.training for module in teacher.modules())
        assert not any(weight.requires_grad for weight in teacher.parameters())
        seen.append(digest(teacher.state_dict()))
        return found

    monkeypatch.setattr(CrossModalDistillation, "reference", reference)
    for row in ("pix_fou+kd", "pix_fou+kd_general"):
        seen.clear()
        ran = run(study, tmp_path, rows=[row])
        assert not ran.outcome.failed
        assert len(seen) > 15
        assert len(set(seen)) == 1
        (pair,) = ran.upstream(row, 1)
        held = {k.removeprefix("teacher."): v for k, v in ran.weights(pair).items() if k.startswith("teacher.")}
        if row == "pix_fou+kd":
            assert seen[0] == digest(held), "the weights that the joint training ended with"


def test_what_learns_from_labels_alone_does_not_feel_the_teacher(tmp_path: Path) -> None:
    """Bit by bit, whatever the teacher, and in whatever company."""
    found = []
    for index, change in enumerate(((), ("teacher.hidden=[8]",), ("teacher.hidden=[16,16]",), ())):
        study = shipped("mfeat_focus", *DIGITS, "seeds=[1]", "train.epochs=1", *change)
        rows = ["pix_fou+no_kd", "pix_fou+kd"] if index else ["pix_fou+no_kd"]
        ran = run(study, tmp_path / str(index), rows=rows)
        record = ran.record("pix_fou+no_kd", 1)
        found.append((record.run_id, record.digests, record.metrics))
    assert all(own == found[0] for own in found)


def test_distillation_of_no_weight_is_none(tmp_path: Path) -> None:
    """It is not even a run of its own; a weight next to nothing gives the same scores."""
    study = shipped("gauss_gamma", *GAUSS, "seeds=[0]", "losses.kd.weight=0")
    ran = run(study, tmp_path / "none", rows=["0+no_kd", "0+kd"])
    assert ran.spec("0+kd").run_id == ran.spec("0+no_kd").run_id
    assert len(ran.outcome.trained) == 1, "no teacher is trained for it"
    small = run(shipped("gauss_gamma", *GAUSS, "seeds=[0]", "losses.kd.weight=1e-30"), tmp_path / "some", rows=["0+kd"])
    assert small.record("0+kd").metrics["Acc"] == ran.record("0+kd").metrics["Acc"]
    ours, theirs = small.weights(small.spec("0+kd")), ran.weights(ran.spec("0+no_kd"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# --- batches that are counted by themselves --------------------------------------------------------------------------


def split_of(n: int) -> LabelledSplit:
    return LabelledSplit({"a": np.arange(n, dtype=np.float32)[:, None]}, np.arange(n) % 2)


def taken(batches: TrainingBatches, epoch: int = 0, **options: Any) -> list[tuple[int, ...]]:
    found = []
    for batch in batches.epoch(epoch, **options):
        assert batch.inputs["a"][:, 0].tolist() == list(batch.indices)
        found.append(batch.indices)
    return found


def batches(n: int, **options: Any) -> TrainingBatches:
    return TrainingBatches(split_of(n), **{"seed": 5, "role": "student", "device": CPU, **options})


def test_counted_steps_run_through_passes_in_the_order_of_each() -> None:
    order = [torch.randperm(10, generator=generator(5, "student", "order", number)).tolist() for number in range(3)]
    expected = [tuple(order[step // 3][3 * (step % 3) : 3 * (step % 3) + 3]) for step in range(8)]
    assert taken(batches(10, batch_size=3, steps=8)) == expected
    assert batches(10, batch_size=3, steps=8).steps_per_epoch() == 8
    # The passes are those of epochs.
    by_epochs = batches(10, batch_size=3)
    assert [b for epoch in range(3) for b in taken(by_epochs, epoch)][:8] == expected


def test_batches_of_all_samples_hold_each_once() -> None:
    found = taken(batches(7, batch_size="all", steps=3))
    assert [sorted(indices) for indices in found] == [list(range(7))] * 3
    assert len(set(found)) == 3, "each pass in an order of its own"


@pytest.mark.parametrize("start", range(9))
def test_what_is_passed_over_is_part_of_the_digest(start: int) -> None:
    whole, rest = batches(10, batch_size=3, steps=8), batches(10, batch_size=3, steps=8)
    expected, passed = taken(whole), []
    assert taken(rest, start=start, passed=passed.append) == expected[start:]
    assert passed == list(range(start))
    assert rest.digest.hexdigest() == whole.digest.hexdigest()
    assert batches(10, batch_size=3, steps=8, seed=6).digest.hexdigest() != whole.digest.hexdigest()


class Killed(SystemExit):
    """Stands for the end of the process."""


class Dying(InTurn):
    """Ends the process before a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, trainees: Any, pieces: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().step(trainees, pieces)


@pytest.mark.parametrize("size", ["7", "all"])
def test_resumed_in_the_middle_of_a_pass(tmp_path: Path, size: str) -> None:
    study = shipped("gauss_gamma", *GAUSS, "seeds=[0]", f"train.batch_size={size}", "train.momentum=0.9")
    whole = run(study, tmp_path / "whole", rows=["0+kd"])
    assert whole.record("0+kd").steps == 20, "of five batches of seven a pass"
    again = run(study, tmp_path / "again", rows=["0+no_kd"])
    store = StudyStore(tmp_path / "again", study.name)
    for spec in (*whole.upstream("0+kd"), whole.spec("0+kd")):
        task = GroupTask((spec,), study.name, store.out, None, "cpu", save_every=Interval(steps=1), keep="all")
        for step in (4, 9, 1):  # three tries
            with pytest.raises(Killed):
                train_group(task, lambda progress: None, Dying(step))
        assert (store.run_folder(spec.run_id) / STATE).exists()
        (record,) = train_group(task, lambda progress: None)
        assert record.environment["resumed_at_step"] == [3, 11]
        assert record.digests == whole.record_of(spec).digests
        assert record.metrics == whole.record_of(spec).metrics
        (ours,), (theirs,) = whole.history(spec), again.history(spec)
        assert {k: v for k, v in ours.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}


@pytest.mark.parametrize("parts", [2, 5])
def test_a_batch_in_parts_is_the_batch(tmp_path: Path, parts: int) -> None:
    """Every term is a mean over samples, of parts of unequal size too."""
    rows, found = ["pix_fou+no_kd", "pix_fou+kd"], []
    for accumulate in (1, parts):
        study = shipped("mfeat_focus", *DIGITS, "seeds=[1]", "train.epochs=1", f"train.accumulate={accumulate}")
        found.append(run(study, tmp_path / str(accumulate), rows=rows))
    whole, cut = found
    for row in rows:
        ours, theirs = (ran.weights(ran.spec(row, 1)) for ran in found)
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
        assert cut.history(cut.spec(row, 1))[0]["losses"] == pytest.approx(
            whole.history(whole.spec(row, 1))[0]["losses"], rel=1e-4
        )
    pair = [ran.weights(ran.upstream("pix_fou+kd", 1)[0]) for ran in found]
    for name, value in pair[0].items():
        torch.testing.assert_close(pair[1][name], value, rtol=1e-3, atol=1e-5)


def test_stacked_networks_are_those_in_turn(tmp_path: Path) -> None:
    """Students of one teacher as one model with a further axis; those of other views keep to themselves."""
    more = "rows=[{name: no_kd, losses: [sup]}, {name: kd, losses: [kd]}, {name: both, losses: [sup, kd]}]"
    study = shipped("mfeat_focus", *DIGITS, "seeds=[1]", "factors={}", more, "baseline=no_kd", "claims=[]")
    rows = ["no_kd", "kd", "both"]
    ran = {mode: run(study, tmp_path / mode, rows=rows, mode=mode) for mode in ("in-turn", "stacked")}
    stacks = ran["stacked"].store.read_study()["execution"]["stacks"]
    assert sorted(map(len, stacks)) == [2], "both that have a teacher"
    for row in rows:
        ours, theirs = ran["in-turn"], ran["stacked"]
        assert theirs.record(row, 1).metrics == pytest.approx(ours.record(row, 1).metrics, abs=0.2)
        other = theirs.weights(theirs.spec(row, 1))
        for name, value in ours.weights(ours.spec(row, 1)).items():
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)
