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

OVERRIDES = ["train.lr=1e-3", "train.epochs=3", "--row", "sup+mad+umd+cmd", "--seed", "1", "-q", "--format", "json"]


def trained(folder: Path, *launcher: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The printed record, its history, and what went to stderr."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(RECIPE)
    command = [sys.executable, *launcher, "-m", "mmablate", "train", "tiny.yaml", *OVERRIDES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    history = folder / "results" / "tiny" / "runs" / record["run_id"] / "history.jsonl"
    return record, [json.loads(line) for line in history.read_text().splitlines()], done.stderr


@pytest.mark.slow
def test_two_processes_train_the_run_of_one(tmp_path: Path) -> None:
    alone, history, _ = trained(tmp_path / "one")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shared, curve, _ = trained(tmp_path / "two", *launcher)
    assert shared["run_id"] == alone["run_id"]
    assert shared["environment"]["processes"] == 2
    assert alone["environment"]["processes"] == 1
    # The same samples in the same order, and the same initial weights.
    assert shared["digests"]["init"] == alone["digests"]["init"]
    assert shared["digests"]["order"] == alone["digests"]["order"]
    assert len(curve) == len(history) == 3
    for ours, theirs in zip(curve, history, strict=True):
        assert ours["step"] == theirs["step"]
        for term, value in theirs["losses"].items():
            assert ours["losses"][term] == pytest.approx(value, rel=1e-3, abs=1e-6), term
        assert ours["val"]["Mean"] == pytest.approx(theirs["val"]["Mean"], abs=0.3)
    assert shared["metrics"].keys() == alone["metrics"].keys()
    assert shared["metrics"]["Mean"] == pytest.approx(alone["metrics"]["Mean"], abs=0.3)
    # Rank 0 alone writes: teacher and student, each once.
    assert len(list((tmp_path / "two").glob("results/tiny/runs/*/record.json"))) == 2
