"""Models that fuse modalities over two processes: gradients that reach some parts alone are those of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_torchrun_crossmodal import LAUNCHER, ablated, compare

from mmablate.execution.options import Outcome
from mmablate.execution.scheduling import Schedule
from mmablate.results import StudyStore
from mmablate.results.leases import this_worker

RECIPE = """
name: fused
data: {name: arrays, modalities: {a: a.npy, b: b.npy}, labels: labels.npy, standardise: none}
model: {name: fusion_classifier, encoder: {kind: mlp, hidden: [6]}, encoders: {a: {kind: conv, widths: [3, 4]}}}
method: {name: dgl}
train:
  {epochs: 2, batch_size: 24, accumulate: 2, optimizer: adamw, lr: 1e-2, weight_decay: 0.1, schedule: constant,
   warmup: 0, clip: 1, holdout: 0.2, select: last, precision: float32}
losses:
  sup: {weight: 1}
  uni: {weight: 4}
  unique: {weight: 2, permutations: 20, width: 3}
rows:
  - {name: joint_gated, losses: [sup], overrides: {method: joint_fusion, model.fusion: gated}}
  - {name: ogm_late, losses: [sup], overrides: {method: ogm_ge, model.fusion: late}}
  - {name: dgl_gated, losses: [sup, uni], overrides: {model.fusion: gated}}
  - {name: unique, overrides: {losses.unique.adapt: uniform}}
  - {name: residual, overrides: {losses.unique.definition: residual, losses.unique.adapt: uniform}}
  - {name: maps, losses: [sup, uni], overrides: {model: {name: map_fusion_classifier, widths: [3, 4], hidden: 5}}}
  - {name: frozen, losses: [sup, uni], overrides: {pretrain.then: freeze}}
pretrain: {then: none, dim: 4, train: {epochs: 1}}
baseline: joint_gated
seeds: [1]
checkpoints: all
evaluate: {metric: accuracy, every: 1, also: [probes, own, gradients]}
"""


def write(folder: Path, samples: int = 400) -> None:
    """Little pictures of patterns, whose encoder has batch norm, tell one bit of the class; a weaker view the other."""
    stream = np.random.default_rng(0)
    labels = np.arange(samples) % 4
    for name, shape, noise, seen in (("a", (2, 6, 6), 0.6, labels // 2), ("b", (1, 6, 6), 1.0, labels % 2)):
        codes, drawn = stream.normal(size=(2, *shape)), stream.normal(size=(samples, *shape))
        np.save(folder / f"{name}.npy", (codes[seen] + noise * drawn).astype(np.float32))
    np.save(folder / "labels.npy", labels)
    (folder / "recipe.yaml").write_text(RECIPE)


def weighed(folder: Path) -> float:
    """The largest weight of unique information that a run had."""
    lines = [json.loads(line) for path in folder.rglob("history.jsonl") for line in path.read_text().splitlines()]
    return max(own["beta"] for line in lines for own in line.get("unique", {}).values())


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Own heads that nothing trains, experts that a row leaves alone, frozen encoders: no decay moves them either.

    Batch norms stand in the encoders and, where maps are joined, in the fusion, whose gradients are looked at between.
    """
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    recipe, arguments = str(tmp_path / "set" / "recipe.yaml"), ["--data-root", str(tmp_path / "set")]
    alone, _ = ablated(tmp_path / "one", recipe, arguments)
    shared, told = ablated(tmp_path / "two", recipe, arguments, *LAUNCHER)
    assert sorted({record["role"] for record in alone.values()}) == ["pretraining", "student"]
    assert len(alone) == 8
    assert weighed(tmp_path / "one") > 0
    for run_id, record in shared.items():
        if record["depends_on"]:  # it begins where another run has ended, to the last bits
            record["digests"]["init"] = alone[run_id]["digests"]["init"]
    compare(tmp_path / "one", tmp_path / "two", alone, shared, points=1.3)  # of 80 samples one
    assert "Traceback" not in told


HOLDER = """
import sys
from pathlib import Path
from mmablate.results import StudyStore
store = StudyStore(Path(sys.argv[1]), "fused")
store.prepare()
with store.leases.holding(["somebody"]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_processes_of_one_training_split_groups_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leases of rank 0 are no company of the others': they would share out a group that it trains whole."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        crew: Any = SimpleNamespace(names=lambda: {this_worker()})
        outcome = Outcome(trained=[], reused=[], failed=[])
        progress: Any = None
        schedule = Schedule(
            StudyStore(tmp_path, "fused"), lambda group: None, lambda hear, stop: crew,
            fail_fast=False, outcome=outcome, progress=progress, earlier={},
        )  # fmt: skip
        assert schedule._others() == 1
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert schedule._others() == 0
        holder.stdin.close()
