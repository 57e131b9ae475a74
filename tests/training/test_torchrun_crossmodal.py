"""A study of cross-modal distillation over two processes: pair, teacher and students are those of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from torch.testing import assert_close

from mmablate.data.mini_clips import make_vggsound
from mmablate.results.saliency import read_saliency
from mmablate.training.checkpoint import load_weights

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
DIGITS = [
    "train.epochs=2", "train.accumulate=2", "train.batch_size=75", "evaluate.every=1", "seeds=[1]",
    "focus.permutations=2", "checkpoints=all",
]  # fmt: skip


def ablated(folder: Path, recipe: str, arguments: list[str], *launcher: str) -> tuple[dict[str, Any], str]:
    """Run -> its record, from an `mmablate ablate`, and what went to stderr."""
    folder.mkdir()
    command = [sys.executable, *launcher, "-m", "mmablate", "ablate", recipe, *arguments, "-q", "--format", "json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in folder.glob("results/*/runs/*/record.json")]
    return {record["run_id"]: record for record in records}, done.stderr


def compare(one: Path, two: Path, alone: dict[str, Any], shared: dict[str, Any], *, points: float) -> None:
    """All that both left, but for the order of sums."""
    assert shared.keys() == alone.keys()
    for run_id, ours in alone.items():
        theirs = shared[run_id]
        assert ours["status"] == theirs["status"] == "ok"
        assert (ours["environment"]["processes"], theirs["environment"]["processes"]) == (1, 2)
        for name in ("role", "steps", "n_parameters", "flops", "scored_on", "depends_on"):
            assert theirs[name] == ours[name], name
        assert theirs["digests"]["init"] == ours["digests"]["init"]
        assert theirs["digests"]["order"] == ours["digests"]["order"]
        assert theirs["metrics"] == pytest.approx(ours["metrics"], abs=points)
        assert theirs["validation"] == pytest.approx(ours["validation"], abs=points)
        (first,) = one.glob(f"results/*/runs/{run_id}")
        (second,) = two.glob(f"results/*/runs/{run_id}")
        if theirs["selected_epoch"] == ours["selected_epoch"]:
            weights = [load_weights(folder / "checkpoint.safetensors") for folder in (first, second)]
            assert weights[0].keys() == weights[1].keys()
            for name, value in weights[0].items():
                assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
        curves = [
            [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
            for folder in (first, second)
        ]
        assert len(curves[0]) == len(curves[1])
        for a, b in zip(*curves, strict=True):
            assert b["step"] == a["step"]
            assert b["losses"] == pytest.approx(a["losses"], rel=1e-4, abs=1e-6)
            assert (b["val"] or {}) == pytest.approx(a["val"] or {}, abs=points)
        if ours["role"] == "pair":
            saliency = [read_saliency(folder)[0] for folder in (first, second)]
            assert saliency[0] is not None
            assert saliency[1] is not None
            assert saliency[1].scores == pytest.approx(saliency[0].scores, rel=0.01, abs=1e-3)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """All samples are one batch of evaluation: the second process has none."""
    recipe = str(ROOT / "recipes" / "mfeat_focus.yaml")
    arguments = [*DIGITS, "evaluate.batch_size=5000", "--only", "pix_fou+no_kd,pix_fou+kd,pix_fou+kd_general"]
    alone, _ = ablated(tmp_path / "one", recipe, arguments)
    shared, told = ablated(tmp_path / "two", recipe, arguments, *LAUNCHER)
    assert sorted(record["role"] for record in alone.values()) == ["pair", "student", "student", "student"]
    compare(tmp_path / "one", tmp_path / "two", alone, shared, points=0.4)  # of 600 samples two
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_teacher_trained_anew_over_two_processes(tmp_path: Path) -> None:
    recipe = str(ROOT / "recipes" / "gauss_focus.yaml")
    arguments = [
        "train.steps=30", "train.accumulate=2", "seeds=[1]", "focus.permutations=5", "checkpoints=all",
        "data.n_val=100", "execution=in-turn", "evaluate.batch_size=7",
        "--only", "0.50+no_kd,0.50+kd_general,0.50+kd_known",
    ]  # fmt: skip
    alone, _ = ablated(tmp_path / "one", recipe, arguments)
    shared, _ = ablated(tmp_path / "two", recipe, arguments, *LAUNCHER)
    assert sorted(r["role"] for r in alone.values()) == ["pair", "student", "student", "student", "teacher", "teacher"]
    compare(tmp_path / "one", tmp_path / "two", alone, shared, points=0.2)


RESNETS = """
name: clips
data: {name: vggsound, modalities: [audio, video]}
model: {name: resnet3d, modality: video, widths: [4, 6], depths: [1, 1]}
teacher: {name: resnet18, modality: audio, widths: [4, 6], depths: [1, 1]}
method: crossmodal
train: {epochs: 3, batch_size: 16, accumulate: 2, optimizer: sgd, lr: 1e-3, schedule: constant, select: last}
losses: {sup: {weight: 1}, kd: {weight: 1}}
rows:
  - {name: no_kd, losses: [sup]}
  - {name: kd, losses: [sup, kd]}
baseline: no_kd
seeds: [0]
checkpoints: all
evaluate: {metric: accuracy}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("val", "parts"), [(0.25, 2), (0, 4)], ids=["with validation", "without"])
def test_residual_networks_of_sound_and_pictures_over_two_processes(tmp_path: Path, val: float, parts: int) -> None:
    """Batch norm sees a part of the batch in either case, and its running statistics are those of one process."""
    make_vggsound(tmp_path / "clips", classes=2, train=64, test=24, frames=8, size=(24, 24), seconds=0.3)
    (tmp_path / "recipe.yaml").write_text(RESNETS)
    recipe = str(tmp_path / "recipe.yaml")
    arguments = [f"data.val_fraction={val}", f"train.accumulate={parts}", "--data-root", str(tmp_path / "clips")]
    alone, _ = ablated(tmp_path / "one", recipe, arguments)
    shared, _ = ablated(tmp_path / "two", recipe, arguments, *LAUNCHER)
    assert sorted(record["role"] for record in alone.values()) == ["student", "student", "teacher"]
    compare(tmp_path / "one", tmp_path / "two", alone, shared, points=4.2)  # of 24 clips one
