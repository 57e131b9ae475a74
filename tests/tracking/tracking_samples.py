"""A small study for the tests of trackers, a network that tells who uses it, and readers made of the real libraries."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from mmablate.results import RunError, RunRecord, StudyStore

# The smallest study with everything in it: a teacher, two rows, and one that fails.
RECIPE = """\
name: small
title: "A small study <b>"
data: {name: landsat, modalities: [V, N], tile: 32, block: 64, gap: 8, train_stride: 32}
model: {name: anymodal_segmentor, widths: [4, 4, 8], decoder_width: 4}
teacher: {name: anymodal_segmentor}
method: anymodal
train: {epochs: 2, batch_size: 16, optimizer: sgd, lr: 1e-2, select: last}
losses: {sup: {weight: 1}, mad: {weight: 2, symbol: λ}}
rows:
  - [sup]
  - [sup, mad]
  - {name: boom, losses: [sup], overrides: {train.lr: 1e30}}
baseline: sup
seeds: [3]
evaluate: {metric: miou, every: 1}
"""
SILENT = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI")


class Network:
    """A proxy that answers nobody and counts who comes; `environment` sends a command's connections there."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "connections"
        self.server = socket.create_server(("127.0.0.1", 0))
        port = self.server.getsockname()[1]
        proxy = f"http://127.0.0.1:{port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        home = folder / "home"
        home.mkdir()
        here = str(Path(__file__).parent / "watched")
        path = os.environ.get("PYTHONPATH")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in SILENT},
            **dict.fromkeys(names, proxy),
            "PYTHONPATH": here if not path else f"{here}{os.pathsep}{path}",
            "WATCHED": str(self.file),
            "WATCHED_PORT": str(port),
            "HOME": str(home),
            "MPLCONFIGDIR": matplotlib.get_cachedir(),  # a list of fonts takes ten seconds to make
            "PYTHONWARNINGS": "error",
            "COLUMNS": "80",
        }
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, address = self.server.accept()
            except OSError:
                return
            with self.file.open("a") as file:
                file.write(f"{address}\n")
            connection.close()

    @property
    def used(self) -> str:
        """Who has tried to get out."""
        return self.file.read_text() if self.file.exists() else ""

    def run(self, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`mmablate ARGS` in a process of its own."""
        command = [sys.executable, "-m", "mmablate", *map(str, arguments)]
        env = {**self.environment, **environment}
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=env
        )


def records(study: Path) -> dict[str, dict[str, Any]]:
    """What the store holds: run -> record."""
    return {path.parent.name: json.loads(path.read_text()) for path in study.glob("runs/*/record.json")}


def history(study: Path, run_id: str) -> list[dict[str, Any]]:
    """Lines of a run's history; a run that fails in its first epoch has none."""
    path = study / "runs" / run_id / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def curves(study: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """What a tracker should hold of a run's history, read without the code under test."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in history(study, run_id):
        values = {"lr": line["lr"], "epoch": line["epoch"]}
        values |= {f"loss/{key}": value for key, value in line["losses"].items()}
        values |= {f"val/{key}": value for key, value in (line["val"] or {}).items()}
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, []).append((line["step"], value))
    return found


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """All files with size and time: equal trees were not touched."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


# --- W&B: its files are LevelDB logs of its own protocol buffers -------------------------------------------------

BLOCK, HEAD = 32768, 7


def wandb_records(path: Path) -> list[Any]:
    """The records of a .wandb file, as W&B's own messages."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    found, position, waiting = [], HEAD, b""
    while position + HEAD <= len(content):
        if BLOCK - position % BLOCK < HEAD:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEAD])
        waiting += content[position + HEAD : position + HEAD + length]
        position += HEAD + length
        if kind in (1, 4):  # whole, or the last part
            found.append(messages.Record.FromString(waiting))
            waiting = b""
    assert (position, waiting) == (len(content), b"")
    return found


def items(some: Any) -> dict[str, Any]:
    """Names and values of a config, a history line or a summary."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in some}


def wandb_run(path: Path) -> dict[str, Any]:
    """A run's file: run, config, history as (step, values), summary, exit code."""
    found: dict[str, Any] = {"history": [], "summary": {}}
    for record in wandb_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"], found["config"] = record.run, items(record.run.config.update)
        elif kind == "history":
            found["history"].append((record.history.step.num, items(record.history.item)))
        elif kind == "summary":
            found["summary"] |= items(record.summary.update)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


# --- studies without training -------------------------------------------------------------------------------------


def made_record(run_id: str, **changes: Any) -> RunRecord:
    """A finished run."""
    fields: dict[str, Any] = {
        "run_id": run_id, "study": "made", "row": "sup", "seed": 0, "status": "ok", "error": None,
        "metrics": {"V": 50.0}, "n_parameters": 10, "seconds": 1.5, "steps": 4, "depends_on": [],
        "digests": {"init": "x", "order": "y", "final": "z"},
        "environment": {"worker": "host:7", "device": "cpu", "torch": "2", "user": "me"},
    }  # fmt: skip
    return RunRecord(**{**fields, **changes})


def made_failure(run_id: str, **changes: Any) -> RunRecord:
    """A failed run."""
    error = RunError(type="NonFiniteLoss", message="loss term 'mad' became nan", step=17)
    return made_record(run_id, **{"status": "failed", "error": error, "metrics": {}, **changes})


def made_study(out: Path, plan: dict[str, str], **changes: Any) -> StudyStore:
    """A study without runs.

    Args:
        plan: run -> its row.
    """
    store = StudyStore(out, "made")
    store.prepare()
    entries = [
        {"run_id": i, "role": "student", "seed": 0, "rows": [row], "cells": {row: "c"}, "depends_on": []}
        for i, row in plan.items()
    ]
    table = {"columns": ["V"], "column_info": {"V": {}}, "rows": [{"name": row} for row in plan.values()]}
    content = {"name": "made", "plan": entries, "table": table, "dataset": {"name": "d", "synthetic": False}}
    store.update_study(lambda old: content | changes)
    return store


def made_lines(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Lines of a history."""
    return [
        {"epoch": i, "step": 10 * i, "losses": {"sup": 1 / i}, "lr": 0.1, "val": None, "seconds": float(i)}
        for i in range(first, first + count)
    ]


def made_run(store: StudyStore, record: RunRecord, lines: list[dict[str, Any]] | None = None) -> None:
    """Writes a run as a worker does."""
    store.start_run(record.run_id, {"run_id": record.run_id, "train": {"lr": 0.1}}, lines or made_lines(2))
    store.finish_run(record)
