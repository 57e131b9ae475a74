"""Stacked runs compute what they compute in turn, whoever their neighbours are."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
import torch
from project import ROOT
from stacking_samples import Rig, distance, weights
from torch import Tensor

from mmablate.catalog import find
from mmablate.catalog.losses import LOSSES
from mmablate.results import RunRecord, StudyStore
from mmablate.study import open_study
from mmablate.training import trainee as trainee_module
from mmablate.training.checkpoint import save_weights
from mmablate.training.group import GroupTask, InTurn, train_group
from mmablate.training.stack import Stack
from mmablate.training.stacked_updates import clip_rows
from mmablate.training.stacking import Stacked
from mmablate.training.trainee import Piece, Trainee

# Float32 sums in another order; `pytest -s` of the tests below prints what was found.
SAME = 1e-5


def muses(root: Path, *overrides: str, profile: str = "mini") -> Rig:
    settings = ["seeds=[1]", "data.size=[32,48]", *overrides]
    study = open_study(
        str(ROOT / "recipes/muses_losses.yaml"), profile=profile, overrides=settings, data_root=str(root)
    )
    return Rig(study, data_root=str(root), size=4)


MIT = ["model={backbone: mit_b0, decoder_width: 16, drop_path: 0.3, dropout: 0.3, widths: null, strides: null}"]


def gradients(trainee: Trainee, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Of one step alone."""
    for piece in pieces:
        trainee.backward(piece)
    return {name: w.grad.clone() for name, w in trainee.model.named_parameters() if w.grad is not None}


def stacked_gradients(trainees: Sequence[Trainee], pieces: Sequence[Piece]) -> dict[str, dict[str, Tensor]]:
    """Of one step of all, by row."""
    stack = Stack(trainees)
    for piece in pieces:
        stack.backward(piece)
    return {
        member.spec.rows[0]: {n: w.grad[i].clone() for n, w in stack.trained.items() if w.grad is not None}
        for i, member in enumerate(stack.members)
    }


def assert_same_gradients(rig: Rig, pieces: Sequence[Piece], rows: Sequence[str] | None = None) -> None:
    trainees = rig.trainees(rows)
    found = stacked_gradients(trainees, pieces)
    for trainee, alone in zip(trainees, rig.trainees(rows), strict=True):
        ours, theirs = found[trainee.spec.rows[0]], gradients(alone, pieces)
        assert float(sum(g.abs().sum() for g in theirs.values())) > 0
        apart = distance(ours, theirs)
        print(f"{trainee.spec.rows[0]}: {apart:.1e}")
        assert apart < SAME, trainee.spec.rows[0]
        buffers = dict(trainee.model.named_buffers())
        for name, value in alone.model.named_buffers():
            assert torch.allclose(buffers[name], value, rtol=SAME, atol=1e-6), name


# --- the first step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("present", [["V"], ["V", "S"], ["V", "N", "S"]], ids="+".join)
def test_first_gradients_are_those_of_each_run_alone(landsat: Any, present: list[str]) -> None:
    rig = landsat()
    assert_same_gradients(rig, rig.steps(1, present=present)[0])


def test_first_gradients_on_muses(mini_muses: Path) -> None:
    rig = muses(mini_muses)
    assert_same_gradients(rig, rig.steps(1, present=["F", "L"])[0])


def test_first_gradients_of_a_transformer_in_train_mode(mini_muses: Path) -> None:
    """Dropout, drop-path, batch norm and attention; and the definitions of the full profile."""
    pytest.importorskip("transformers", reason="MiT backbones need transformers")
    definitions = ["losses.sup.definition=ohem", *(f"losses.{t}.definition=released" for t in ("mad", "umd", "cmd"))]
    rig = muses(mini_muses, *MIT, *definitions)
    assert any(m.p > 0 for m in rig.trainees()[0].model.modules() if isinstance(m, torch.nn.Dropout2d))
    assert_same_gradients(rig, rig.steps(1, present=["F", "E", "L"])[0])


TERMS = [
    (entry.name, definition)
    for entry in LOSSES
    if entry.name in find("method", "anymodal").terms  # others are of classifiers
    for definition in entry.definitions
]  # fmt: skip


@pytest.mark.parametrize(("term", "definition"), TERMS, ids=lambda value: value)
def test_every_term_and_definition_beside_others(landsat: Any, term: str, definition: str) -> None:
    """Three rows of the term at different weights are one class, beside rows that have it not."""
    own = f"x: {{term: {term}, definition: {definition}, weight: 2}}"
    rows = [f"{{name: x{w}, losses: [sup, x], overrides: {{losses.x.weight: {w}}}}}" for w in (1, 3, 9)]
    rig = landsat(f"losses={{sup: {{weight: 1}}, mad: {{weight: 5}}, {own}}}", f"rows=[{', '.join(rows)}, [sup, mad]]")
    pieces = rig.steps(1, present=["V", "S"])[0]
    stack = Stack(rig.trainees())
    assert [len(own) for own in stack.classes] == [3, 1]
    stack.backward(pieces[0])
    assert stack.classes[0].in_one(("V", "S")), "computed at once, not slice by slice"
    assert_same_gradients(rig, pieces)


def test_a_term_that_cannot_be_batched_is_computed_slice_by_slice(landsat: Any) -> None:
    """A plugin's term may branch on values or lack a batching rule."""
    rig = landsat("rows=[[sup, mad], {name: more, losses: [sup, mad], overrides: {losses.mad.weight: 20}}, [sup]]")

    def branching(step: Any, *, definition: str, **options: Any) -> Tensor:
        hard = step.logits[step.logits > float(step.logits.detach().mean())]
        return hard.square().mean()

    def spoil(trainees: Sequence[Trainee]) -> list[Trainee]:
        for trainee in trainees:
            trainee.terms = [replace(t, function=branching) if t.key == "mad" else t for t in trainee.terms]
        return list(trainees)

    pieces = rig.steps(1, present=["V", "N"])[0]
    trainees = spoil(rig.trainees())
    stack = Stack(trainees)
    stack.backward(pieces[0])
    assert [own.in_one(("V", "N")) for own in stack.classes] == [False, False]
    for row, alone in enumerate(spoil(rig.trainees())):
        theirs = gradients(alone, pieces)
        assert distance({n: w.grad[row] for n, w in stack.trained.items()}, theirs) < SAME


def test_pieces_of_a_batch(mini_muses: Path) -> None:
    rig = muses(mini_muses, "train.accumulate=2")
    pieces = rig.steps(1, parts=2, present=["F", "E"])[0]
    assert len(pieces) == 2
    assert_same_gradients(rig, pieces)


def test_half_precision_within_its_own_rounding(landsat: Any) -> None:
    rig = landsat("train.precision=bf16")
    pieces = rig.steps(1, present=["V", "S"])[0]
    plain = landsat()
    exact, trainees = plain.trainees(), rig.trainees()
    found = stacked_gradients(trainees, pieces)
    for trainee, alone, reference in zip(trainees, rig.trainees(), exact, strict=True):
        truth = gradients(reference, pieces)
        rounding = distance(gradients(alone, pieces), truth)
        assert 1e-4 < distance(found[trainee.spec.rows[0]], truth) < 2 * rounding


# --- many steps ----------------------------------------------------------------------------------------------


def trained(stepper: Any, trainees: Sequence[Trainee], steps: Sequence[Sequence[Piece]]) -> list[dict[str, Tensor]]:
    """Weights, buffers and optimiser states after these steps."""
    for pieces in steps:
        stepper.step(trainees, iter(pieces))
    stepper.settle(trainees)
    return [weights(trainee) for trainee in trainees]


OPTIMISERS = {
    "adamw": ["train.optimizer=adamw", "train.weight_decay=0.1"],
    "adam": ["train.optimizer=adam", "train.weight_decay=0.1"],
    "sgd": ["train.optimizer=sgd", "train.weight_decay=0.1", "train.lr=0.05"],
    "plain": ["train.optimizer=sgd", "train.momentum=0", "train.lr=0.05"],
    "clipped": ["train.clip=0.05", "train.optimizer=sgd", "train.lr=0.05"],
}


@pytest.mark.parametrize("settings", OPTIMISERS.values(), ids=OPTIMISERS)
def test_some_steps_as_in_turn(landsat: Any, settings: list[str]) -> None:
    rig = landsat(*settings, "rows=[[sup], [sup, mad], [sup, mad, umd]]")
    steps = rig.steps(6)
    ours, theirs, still = rig.trainees(), rig.trainees(), rig.trainees()
    stepper = Stacked()
    found, wanted = trained(stepper, ours, steps), trained(InTurn(), theirs, steps)
    assert stepper.fallen == []
    for trainee, alone, own, other, start in zip(ours, theirs, found, wanted, still, strict=True):
        apart = distance(own, other)
        moved = distance(other | weights(start), other)
        print(f"{trainee.spec.rows[0]}: {apart:.1e} of {moved:.1e}")
        assert apart < 1e-3 * moved
        assert (trainee.steps, alone.steps) == (6, 6)
        assert trainee.optimizer.param_groups[0]["lr"] == alone.optimizer.param_groups[0]["lr"]
        assert trainee.epoch_losses() == pytest.approx(alone.epoch_losses(), rel=1e-4)
        assert trainee.seconds > 0


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_learning_rates_of_their_own(landsat: Any, optimizer: str) -> None:
    rows = ", ".join(f"{{name: r{i}, losses: [sup, mad], overrides: {{train.lr: {lr}}}}}"
                     for i, lr in enumerate((1e-4, 3e-3, 2e-2)))  # fmt: skip
    rig = landsat(f"train.optimizer={optimizer}", "train.weight_decay=0.1", f"rows=[{rows}]")
    steps = rig.steps(4)
    ours, theirs = rig.trainees(), rig.trainees()
    stack = Stack(ours)
    assert stack.rule.ratios is not None
    first = [weights(t) for t in theirs]
    for pieces in steps:
        # The same gradients on both sides: the rule alone is compared, to the last bits of its own rounding.
        stack.backward(pieces[0])
        for row, alone in enumerate(theirs):
            for name, weight in alone.model.named_parameters():
                weight.grad = stack.trained[name].grad[row].clone()
            alone.update()
        stack.update()
    for own, alone, start in zip(ours, theirs, first, strict=True):
        for name, weight in alone.model.named_parameters():
            mine, weight = dict(own.model.named_parameters())[name].detach(), weight.detach()
            change = (weight - start[name]).abs().max()
            assert change > 0
            assert float((mine - weight).abs().max()) <= 2e-6 * float(change) + 1e-7 * float(weight.abs().max()), name
    assert len({t.optimizer.param_groups[0]["lr"] for t in ours}) == 3


def test_clipping_is_of_each_run_alone(landsat: Any) -> None:
    """A run's gradient norm, not the stack's: neighbours of large losses clip nobody else."""
    rows = "rows=[[sup], {name: huge, losses: [sup, mad], overrides: {losses.mad.weight: 1e4}}]"
    rig = landsat("train.clip=0.5", rows)
    (pieces,) = rig.steps(1)
    stack = Stack(rig.trainees())
    stack.backward(pieces[0])
    raw = [{n: w.grad[i].clone() for n, w in stack.trained.items()} for i in range(2)]
    norms = [float(torch.stack([g.square().sum() for g in own.values()]).sum().sqrt()) for own in raw]
    assert norms[1] > 100 * norms[0] > 50
    clip_rows([w.grad for w in stack.trained.values()], 0.5)
    for row, own in enumerate(raw):
        alone = [torch.nn.Parameter(torch.zeros_like(g)) for g in own.values()]
        for parameter, gradient in zip(alone, own.values(), strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(alone, 0.5)
        clipped = {n: w.grad[row] for n, w in stack.trained.items()}
        assert distance(clipped, {n: p.grad for n, p in zip(own, alone, strict=True)}) < 1e-6


@pytest.mark.parametrize("count", [2, 4, 8])
def test_neighbours_do_not_matter(landsat: Any, count: int) -> None:
    """A run among others, of other losses and other places in the stack, is the same run."""
    rows = ", ".join(f"{{name: n{i}, losses: {'[sup, mad, umd]' if i % 2 else '[sup]'}, "
                     f"overrides: {{losses.sup.weight: {1 + i}}}}}" for i in range(7))  # fmt: skip
    rig = landsat(f"rows=[{rows}, [sup, mad]]")
    steps = rig.steps(5)
    (alone,) = trained(InTurn(), rig.trainees(["sup+mad"]), steps)
    others = [f"n{(i * 3) % 7}" for i in range(count - 1)]
    trainees = rig.trainees([*others[: count // 2], "sup+mad", *others[count // 2 :]])
    stepper = Stacked()
    found = trained(stepper, trainees, steps)[count // 2]
    assert stepper.fallen == []
    apart = distance(found, alone)
    print(f"among {count}: {apart:.1e}")
    assert apart < SAME


# --- whole runs ------------------------------------------------------------------------------------------------


def grid(
    landsat: Any, folder: Path, stepper: Callable[[], Any], seeds: Sequence[int] = (1, 2, 3), *overrides: str
) -> dict[tuple[str, int], RunRecord]:
    """Records of a small grid by row and seed; each seed's group has a teacher of random weights."""
    records = {}
    for seed in seeds:
        settings = ["train.epochs=3", "train.batch_size=16", "evaluate.every=2", *overrides]
        rig = landsat(f"seeds=[{seed}]", *settings, seed=seed)
        store = StudyStore(folder, "stacks")
        store.prepare()
        teacher = folder / f"teacher{seed}.safetensors"
        save_weights(teacher, rig.teacher.state_dict())
        specs = tuple(rig.specs.values())
        task = GroupTask(specs, "stacks", folder, None, "cpu", teacher_checkpoint=str(teacher), keep="all")
        records |= {(str(r.row), seed): r for r in train_group(task, lambda progress: None, stepper())}
    return records


def test_whole_runs_score_alike(landsat: Any, tmp_path: Path) -> None:
    """Scores on every column differ by less than a hundredth of what another seed changes (standard deviation over
    three seeds, in turn); 21 steps a run."""
    in_turn = grid(landsat, tmp_path / "in_turn", InTurn)
    stacked = grid(landsat, tmp_path / "stacked", Stacked)
    assert in_turn.keys() == stacked.keys()
    for row in {row for row, _ in in_turn}:
        for column in in_turn[row, 1].metrics:
            theirs = [in_turn[row, seed].metrics[column] for seed in (1, 2, 3)]
            ours = [stacked[row, seed].metrics[column] for seed in (1, 2, 3)]
            noise = stdev(theirs)
            assert noise > 0.05
            assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.01 * noise, (row, column)
    for key, record in stacked.items():
        other = in_turn[key]
        assert record.status == "ok"
        assert (record.steps, record.selected_epoch) == (other.steps, other.selected_epoch)
        assert [record.digests[k] for k in ("init", "order")] == [other.digests[k] for k in ("init", "order")]
        assert record.digests["final"] != other.digests["final"], "it was not stacked at all"
        lines = [history(tmp_path / mode, record.run_id) for mode in ("stacked", "in_turn")]
        for mine, own in zip(*lines, strict=True):
            assert mine["losses"] == pytest.approx(own["losses"], rel=1e-4)
            assert {k: mine[k] for k in ("epoch", "step", "lr")} == {k: own[k] for k in ("epoch", "step", "lr")}


def history(folder: Path, run_id: str) -> list[dict[str, Any]]:
    text = (StudyStore(folder, "stacks").run_folder(run_id) / "history.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("look_every", [1, 7, 1000])
def test_the_record_of_a_run_that_diverges(
    landsat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_every: int
) -> None:
    """It is that of the run in turn, whenever the losses are looked at; the others end well."""
    original = trainee_module.build_terms

    def spoilt(settings: Any) -> list[Any]:
        terms = original(settings)
        if [term.key for term in terms] != ["sup", "mad"]:
            return terms
        calls: list[int] = []

        def failing(seen: Any, **options: Any) -> Tensor:
            calls.append(1)
            return terms[1].function(seen, **options) * (float("nan") if len(calls) >= 15 else 1)

        return [terms[0], replace(terms[1], function=failing)]

    monkeypatch.setattr(trainee_module, "build_terms", spoilt)
    in_turn = grid(landsat, tmp_path / "in_turn", InTurn, [1])
    stacked = grid(landsat, tmp_path / "stacked", lambda: Stacked(look_every=look_every), [1])
    failed, other = stacked["sup+mad", 1], in_turn["sup+mad", 1]
    assert failed.error is not None
    assert failed.error.message == "loss term 'mad' became nan at step 15"
    varying = {"seconds", "environment"}
    assert failed.model_dump(exclude=varying) == other.model_dump(exclude=varying)
    lines = [history(tmp_path / mode, failed.run_id) for mode in ("stacked", "in_turn")]
    assert [[line["epoch"] for line in own] for own in lines] == [[1, 2], [1, 2]]
    assert [record.status for key, record in stacked.items() if key[0] != "sup+mad"] == ["ok"] * 3
