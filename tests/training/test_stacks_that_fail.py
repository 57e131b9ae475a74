"""Stacks of which a member goes wrong, that cannot be, or that are taken apart again."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from stacking_samples import Rig, distance, weights
from torch import Tensor

from mmablate.methods import AnymodalDistillation
from mmablate.training.group import InTurn
from mmablate.training.stack import Stack
from mmablate.training.stacking import Stacked
from mmablate.training.trainee import Piece, Trainee

ROWS = "rows=[[sup], [sup, mad], {name: heavy, losses: [sup, mad], overrides: {losses.mad.weight: 50}}]"
SAME = 1e-5


def spoil(trainee: Trainee, key: str, step: int, value: float = float("nan")) -> None:
    """One term of a run is not finite from a step on, as where it diverges."""
    original = next(term for term in trainee.terms if term.key == key).function

    def function(seen: Any, **options: Any) -> Tensor:
        found: Tensor = original(seen, **options)
        return found * value if trainee.steps + 1 >= step else found

    trainee.terms = [replace(t, function=function) if t.key == key else t for t in trainee.terms]


def run(stepper: Any, trainees: Sequence[Trainee], steps: Sequence[Sequence[Piece]]) -> list[dict[str, Tensor]]:
    for pieces in steps:
        stepper.step(trainees, iter(pieces))
    stepper.settle(trainees)
    return [weights(t) if t.error is None else {} for t in trainees]


@pytest.mark.parametrize(("key", "value"), [("mad", float("nan")), ("sup", float("inf"))])
@pytest.mark.parametrize("look_every", [None, 3, 100])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_that_diverges_is_recorded_as_in_turn(
    landsat: Any, key: str, value: float, look_every: int | None, parts: int
) -> None:
    """However seldom the losses are looked at; the others do not notice."""
    rig: Rig = landsat(ROWS, f"train.accumulate={parts}")
    steps = rig.steps(7, parts=parts)
    ours, theirs, without = rig.trainees(), rig.trainees(), rig.trainees()
    for some in (ours, theirs):
        spoil(some[1], key, 4, value)
    stepper = Stacked(look_every=look_every)
    found = run(stepper, ours, steps)
    run(InTurn(), theirs, steps)
    wanted = run(InTurn(), without, steps)
    assert stepper.fallen == []
    assert ours[1].error == theirs[1].error
    assert ours[1].error is not None
    assert (ours[1].error.type, ours[1].error.step) == ("NonFiniteLoss", 4)
    assert ours[1].error.message == f"loss term {key!r} became {value} at step 4"
    assert ours[1].steps == theirs[1].steps == 3
    for row in (0, 2):
        assert ours[row].error is None
        assert ours[row].steps == 7
        assert distance(found[row], wanted[row]) < SAME
        assert ours[row].epoch_losses() == pytest.approx(without[row].epoch_losses(), rel=1e-4)


def test_a_sum_that_overflows_is_the_total(landsat: Any) -> None:
    rig: Rig = landsat(ROWS)
    (pieces,) = rig.steps(1)
    messages = []
    for stepper in (Stacked(), InTurn()):
        trainees = rig.trainees()
        trainees[0].terms = [replace(term, weight=3e38) for term in trainees[0].terms]
        trainees[0].terms += [replace(term, key="again") for term in trainees[0].terms]
        run(stepper, trainees, [pieces])
        assert trainees[0].error is not None
        messages.append(trainees[0].error.message)
    assert messages[0] == messages[1] == "loss term 'total' became inf at step 1"


def test_weights_stay_as_they_were_before_the_bad_step(landsat: Any) -> None:
    rig: Rig = landsat(ROWS)
    steps = rig.steps(3)
    trainees = rig.trainees()
    spoil(trainees[1], "mad", 3)
    stepper = Stacked()
    run(stepper, trainees, steps[:2])
    model = trainees[1].model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(stepper, trainees, steps[2:])
    assert trainees[1].error is not None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_all_members_may_fail(landsat: Any) -> None:
    rig: Rig = landsat(ROWS)
    trainees = rig.trainees()
    for trainee in trainees:
        spoil(trainee, "sup", 2)
    run(Stacked(), trainees, rig.steps(4))
    assert [t.error and t.error.step for t in trainees] == [2, 2, 2]


# --- in turn instead ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_that_raises_is_found_in_turn_and_the_others_go_on(landsat: Any, parts: int) -> None:
    """Also in the second piece of a step, of whose first the stack has the gradients."""
    rig: Rig = landsat(ROWS, f"train.accumulate={parts}")
    steps = rig.steps(4, parts=parts)

    def fragile(trainees: list[Trainee]) -> list[Trainee]:
        mine = trainees[1]
        original = mine.terms[1].function
        calls = []

        def function(seen: Any, **options: Any) -> Tensor:
            if mine.steps == 2 and seen.labels is steps[2][-1].batch.labels:
                calls.append(1)
                raise RuntimeError("this run alone cannot do it")
            found: Tensor = original(seen, **options)
            return found

        mine.terms = [mine.terms[0], replace(mine.terms[1], function=function)]
        return trainees

    ours, theirs = fragile(rig.trainees()), fragile(rig.trainees())
    stepper = Stacked()
    found, wanted = run(stepper, ours, steps), run(InTurn(), theirs, steps)
    assert len(stepper.fallen) == 1
    assert "cannot do it" in stepper.fallen[0].reason
    assert ours[1].error == theirs[1].error
    assert ours[1].error is not None
    assert ours[1].error.step == 3
    for row in (0, 2):
        assert distance(found[row], wanted[row]) < SAME
        assert ours[row].epoch_losses() == pytest.approx(theirs[row].epoch_losses(), rel=1e-4)


def test_a_full_device_halves_the_stack_and_ends_no_run(landsat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ", ".join(f"{{name: r{i}, losses: [sup], overrides: {{losses.sup.weight: {i + 1}}}}}" for i in range(5))
    rig: Rig = landsat(f"rows=[{rows}]")
    steps = rig.steps(4)
    original = Stack.outputs

    def outputs(stack: Stack, inputs: Any) -> Any:
        if stack.steps >= 1 and len(stack) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return original(stack, inputs)

    monkeypatch.setattr(Stack, "outputs", outputs)
    ours, theirs = rig.trainees(), rig.trainees()
    stepper = Stacked()
    found, wanted = run(stepper, ours, steps), run(InTurn(), theirs, steps)
    assert [(len(fallen.run_ids), fallen.reason[:16]) for fallen in stepper.fallen] == [(5, "OutOfMemoryError")]
    assert sorted(len(stack) for stack in stepper.stacks) == [2, 3]
    assert all(t.error is None and t.steps == 4 for t in ours)
    for own, other in zip(found, wanted, strict=True):
        assert distance(own, other) < SAME


MIT = "model={backbone: mit_b0, decoder_width: 16, drop_path: 0.3, dropout: 0.3, widths: null, strides: null}"


@pytest.mark.parametrize("falls", [False, True])
def test_statistics_of_batch_norm_are_each_run_s_own(landsat: Any, falls: bool) -> None:
    """Also where a loss raises after the forward pass that has changed them."""
    pytest.importorskip("transformers", reason="MiT backbones need transformers")
    # Adam turns rounding into full steps where a gradient is zero by design, as of a bias before a batch norm.
    rig: Rig = landsat(
        MIT,
        "train.optimizer=sgd",
        "train.lr=0.05",
        "rows=[[sup], [sup, mad], {name: other, losses: [sup], overrides: {losses.sup.weight: 5}}]",
    )
    steps = rig.steps(3)
    ours, theirs = rig.trainees(), rig.trainees()
    last = ours[1]
    original = last.terms[1].function

    def once(seen: Any, **options: Any) -> Tensor:
        if falls and last.steps == 1 and not stepper.fallen:
            raise RuntimeError("not in a stack")
        found: Tensor = original(seen, **options)
        return found

    last.terms = [last.terms[0], replace(last.terms[1], function=once)]
    stepper = Stacked()
    run(stepper, ours, steps)
    run(InTurn(), theirs, steps)
    assert len(stepper.fallen) == falls
    means = []
    for own, other in zip(ours, theirs, strict=True):
        assert own.error is None
        for (name, mine), buffer in zip(own.model.named_buffers(), other.model.buffers(), strict=True):
            assert torch.allclose(mine, buffer, rtol=1e-3, atol=1e-5), name
        means.append(own.model.head.norm.running_mean)
    assert float((means[0] - means[2]).abs().max()) > 1e-4


def test_losses_that_train_unlike_weights_go_in_turn(landsat: Any) -> None:
    """In turn, a weight that no loss reaches is not even decayed; a stack would decay it for all."""
    rig: Rig = landsat("rows=[[sup, mad], [umd]]", "train.weight_decay=0.5")
    steps = rig.steps(2)
    trainees, theirs = rig.trainees(), rig.trainees()
    stepper = Stacked()
    found = run(stepper, trainees, steps)
    assert stepper.fallen == [], "their keys keep them apart from the start"
    assert all(distance(own, other) == 0 for own, other in zip(found, run(InTurn(), theirs, steps), strict=True))
    with pytest.raises(Exception, match="train unlike weights"):
        Stack(rig.trainees()).backward(steps[0][0])


def test_a_method_of_one_piece_goes_in_turn(landsat: Any) -> None:
    """A plugin's method need not have its two halves apart."""

    class Whole:
        def __init__(self, method: AnymodalDistillation) -> None:
            self.losses = method.losses

    rig: Rig = landsat(ROWS)
    steps = rig.steps(2)
    trainees, theirs = rig.trainees(), rig.trainees()
    for trainee in trainees:
        trainee.method = Whole(trainee.method)  # type: ignore[assignment]
    stepper = Stacked()
    found = run(stepper, trainees, steps)
    assert "Whole has no inputs and values" in stepper.fallen[0].reason
    assert all(distance(own, other) == 0 for own, other in zip(found, run(InTurn(), theirs, steps), strict=True))


# --- in and out of a stack ----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("equal_rates", [True, False])
def test_out_of_a_stack_and_into_it_again(landsat: Any, optimizer: str, equal_rates: bool) -> None:
    rates = "" if equal_rates else ", train.lr: 1e-3"
    rows = f"rows=[[sup], {{name: other, losses: [sup, mad], overrides: {{losses.mad.weight: 3{rates}}}}}]"
    rig: Rig = landsat(f"train.optimizer={optimizer}", "train.lr=0.01", rows)
    steps = rig.steps(9)
    ours, theirs, whole = rig.trainees(), rig.trainees(), rig.trainees()
    stepper = Stacked()
    run(stepper, ours, steps[:3])
    stepper.unstack()
    apart = [weights(t) for t in ours]
    for trainee in ours:  # nothing is shared any more: no one moves with another
        for weight in trainee.model.parameters():
            assert weight.untyped_storage().nbytes() == weight.numel() * weight.element_size()
    run(InTurn(), ours, steps[3:6])
    assert all(distance(weights(t), before) > 0 for t, before in zip(ours, apart, strict=True))
    found = run(stepper, ours, steps[6:])
    wanted = run(InTurn(), theirs, steps)
    throughout = run(Stacked(), whole, steps)
    for own, other, third in zip(found, wanted, throughout, strict=True):
        assert distance(own, other) < SAME
        assert distance(third, other) < SAME
    assert stepper.fallen == []


def test_members_are_themselves_at_every_step(landsat: Any) -> None:
    """Weights and optimiser states can be read, copied and loaded in place without taking the stack apart."""
    rig: Rig = landsat(ROWS)
    steps = rig.steps(6)
    ours = rig.trainees()
    stepper = Stacked()
    run(stepper, ours, steps[:3])
    saved = [(copy.deepcopy(t.model.state_dict()), copy.deepcopy(t.optimizer.state_dict())) for t in ours]
    found = run(stepper, ours, steps[3:])
    fresh = rig.trainees()
    for trainee, (model, optimizer) in zip(fresh, saved, strict=True):
        trainee.model.load_state_dict(model)
        trainee.optimizer.load_state_dict(optimizer)
        trainee.steps = 3
    again = run(InTurn(), fresh, steps[3:])
    for own, other in zip(found, again, strict=True):
        assert distance(own, other) < SAME


def test_runs_that_are_ahead_are_stacked_apart(landsat: Any) -> None:
    rig: Rig = landsat("rows=[[sup], [sup, mad], [sup, umd], [sup, cmd]]")
    steps = rig.steps(4)
    ours, theirs = rig.trainees(), rig.trainees()
    for some in (ours, theirs):
        run(InTurn(), some[2:], steps[:2])
    stepper = Stacked()
    found = run(stepper, ours, steps[2:])
    assert sorted(len(stack) for stack in stepper.stacks) == [2, 2]
    assert [t.steps for t in ours] == [2, 2, 4, 4]
    for own, other in zip(found, run(InTurn(), theirs, steps[2:]), strict=True):
        assert distance(own, other) < SAME


def test_stacks_are_as_planning_decided(landsat: Any) -> None:
    rig: Rig = landsat("rows=[[sup], [sup, mad], [sup, umd], [sup, cmd]]")
    steps = rig.steps(2)
    trainees = rig.trainees()
    ids = [t.spec.run_id for t in trainees]
    stepper = Stacked([[ids[0], ids[3]], [ids[1]]])
    run(stepper, trainees, steps)
    assert [{m.spec.run_id for m in stack.members} for stack in stepper.stacks] == [{ids[0], ids[3]}]
    assert all(t.steps == 2 for t in trainees)


def test_rows_in_another_memory_order_stay_in_it(landsat: Any) -> None:
    """Channels last, as convolutions on CUDA like it."""
    rig: Rig = landsat(ROWS)
    steps = rig.steps(3)

    def placed(trainees: list[Trainee]) -> list[Trainee]:
        for trainee in trainees:
            trainee.model.to(memory_format=torch.channels_last)
        return trainees

    ours, theirs = placed(rig.trainees()), rig.trainees()
    found, wanted = run(Stacked(), ours, steps), run(InTurn(), theirs, steps)
    kernel = ours[0].model.encoder.stages[1].reduce.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    for own, other in zip(found, wanted, strict=True):
        assert distance(own, other) < SAME


def test_one_alone_without_the_axis_is_the_run_to_the_bit(landsat: Any) -> None:
    rig: Rig = landsat(ROWS)
    steps = rig.steps(4)
    (ours,), (theirs,) = rig.trainees(["heavy"]), rig.trainees(["heavy"])
    wanted = run(InTurn(), [theirs], steps)[0]
    stack = Stack([ours])
    for pieces in steps:
        stack.backward(pieces[0])
        stack.update()
    assert all(torch.equal(value, wanted[name]) for name, value in weights(ours).items())
