"""Models that fuse modalities over two processes: gradients that reach some parts alone are those of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_torchrun_crossmodal import LAUNCHER, ablated, compare

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
  - {name: joint, losses: [sup], overrides: {method: joint_fusion}}
  - {name: joint_gated, losses: [sup], overrides: {method: joint_fusion, model.fusion: gated}}
  - {name: ogm, losses: [sup], overrides: {method: ogm_ge}}
  - {name: ogm_late, losses: [sup], overrides: {method: ogm_ge, model.fusion: late}}
  - {name: dgl, losses: [sup, uni]}
  - {name: dgl_gated, losses: [sup, uni], overrides: {model.fusion: gated}}
  - {name: no_uni, losses: [sup]}
  - {name: unique}
  - {name: residual, overrides: {losses.unique.definition: residual}}
  - {name: frozen, losses: [sup, uni], overrides: {pretrain.then: freeze}}
pretrain: {then: none, dim: 4, train: {epochs: 1}}
baseline: joint
seeds: [1]
checkpoints: all
evaluate: {metric: accuracy, every: 1, also: [probes, own, gain, scores, information, gradients]}
"""


def write(folder: Path, samples: int = 200) -> None:
    """Little pictures of patterns, whose encoder has batch norm, and a weak view beside them."""
    stream = np.random.default_rng(0)
    labels = np.arange(samples) % 3
    for name, shape, noise in (("a", (2, 6, 6), 1.5), ("b", (5,), 2.0)):
        codes, drawn = stream.normal(size=(3, *shape)), stream.normal(size=(samples, *shape))
        np.save(folder / f"{name}.npy", (codes[labels] + noise * drawn).astype(np.float32))
    np.save(folder / "labels.npy", labels)
    (folder / "recipe.yaml").write_text(RECIPE)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Own heads that nothing trains, experts that a row leaves alone, frozen encoders: no decay moves them either."""
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    recipe, arguments = str(tmp_path / "set" / "recipe.yaml"), ["--data-root", str(tmp_path / "set")]
    alone, _ = ablated(tmp_path / "one", recipe, arguments)
    shared, told = ablated(tmp_path / "two", recipe, arguments, *LAUNCHER)
    assert sorted({record["role"] for record in alone.values()}) == ["pretraining", "student"]
    assert len(alone) == 11
    compare(tmp_path / "one", tmp_path / "two", alone, shared, points=2.6)  # of 40 samples one
    assert "Traceback" not in told
