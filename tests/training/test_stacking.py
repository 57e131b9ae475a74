"""Stacked runs compute what they compute in turn, whoever their neighbours are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from project import ROOT
from stacking_samples import Rig, distance
from torch import Tensor

from mmablate.study import open_study
from mmablate.training.group import InTurn
from mmablate.training.stack import Stack
from mmablate.training.stacking import Stacked
from mmablate.training.trainee import Piece, Trainee

# Float32 sums in another order; `pytest -s` of the tests below prints what was found.
SAME = 1e-5


def landsat(*overrides: str) -> Rig:
    settings = ["seeds=[1]", "data.tile=32", *overrides]
    return Rig(open_study(str(ROOT / "recipes/landsat_losses.yaml"), overrides=settings))


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
def test_first_gradients_are_those_of_each_run_alone(present: list[str]) -> None:
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
