"""One run over two processes, started by torchrun: the same loss curve as one process, written once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training_samples import RECIPE

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CONV = ["train.lr=1e-3", "train.epochs=3", "train.accumulate=4", "--row", "sup+mad+umd+cmd"]
# With batch norm, dropout, and a batch that does not divide evenly.
MIT = [
    "model={name: anymodal_segmentor, backbone: mit_b0, decoder_width: 16, widths: null, strides: null}",
    "data.tile=32", "train.epochs=2", "train.batch_size=5", "train.accumulate=2", "train.lr=1e-4", "--row", "sup",
]  # fmt: skip


def trained(folder: Path, overrides: list[str], *launcher: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The printed record, its history, and what went to stderr."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(RECIPE)
    command = [sys.executable, *launcher, "-m", "mmablate", "train", "tiny.yaml", *overrides, "--seed", "1", "-q",
               "--format", "json"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    history = folder / "results" / "tiny" / "runs" / record["run_id"] / "history.jsonl"
    return record, [json.loads(line) for line in history.read_text().splitlines()], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [CONV, MIT], ids=["conv", "mit"])
def test_two_processes_train_the_run_of_one(tmp_path: Path, overrides: list[str]) -> None:
    alone, history, _ = trained(tmp_path / "one", overrides)
    shared, curve, _ = trained(tmp_path / "two", overrides, *LAUNCHER)
    assert shared["run_id"] == alone["run_id"]
    assert (alone["environment"]["processes"], shared["environment"]["processes"]) == (1, 2)
    # The same samples in the same order, and the same initial weights.
    assert shared["digests"]["init"] == alone["digests"]["init"]
    assert shared["digests"]["order"] == alone["digests"]["order"]
    assert len(curve) == len(history)
    for ours, theirs in zip(curve, history, strict=True):
        assert ours["step"] == theirs["step"]
        for term, value in theirs["losses"].items():
            assert ours["losses"][term] == pytest.approx(value, rel=2e-3, abs=1e-6), term
        assert ours["val"]["Mean"] == pytest.approx(theirs["val"]["Mean"], abs=0.5)
    assert shared["metrics"].keys() == alone["metrics"].keys()
    assert shared["metrics"]["Mean"] == pytest.approx(alone["metrics"]["Mean"], abs=0.5)
    # Rank 0 alone writes, each run once.
    runs = [len(list((tmp_path / name).glob("results/tiny/runs/*/record.json"))) for name in ("one", "two")]
    assert runs[0] == runs[1]


@pytest.mark.slow
def test_parts_that_cannot_be_dealt_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    command = [sys.executable, *LAUNCHER, "-m", "mmablate", "train", "tiny.yaml", "--row", "sup", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "train.accumulate: under torchrun a multiple of its 2 processes" in done.stderr
    assert not (tmp_path / "results").exists()
