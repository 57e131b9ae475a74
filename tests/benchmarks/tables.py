"""How long a large study takes to read and render: python tests/benchmarks/tables.py

Whole commands are timed (start of the interpreter included), the best of three; the peak is the process's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import write

COLUMNS = ("F", "E", "L", "FE", "FL", "EL", "FEL")
# (rows, seeds): the number of runs grows four-fold each time; the last is one wide table.
SIZES = ((250, 5), (1000, 5), (4000, 5))
FORMATS = ("json", "html", "latex", "csv", "markdown", "terminal")
REPEATS = 3

MEASURED = """
import re, runpy, sys
sys.argv = ["mmablate", *sys.argv[1:]]
try:
    runpy.run_module("mmablate", run_name="__main__")
finally:
    # Not ru_maxrss, which starts with the size of the process that this one was forked from.
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def make(folder: Path, n_rows: int, n_seeds: int) -> None:
    """A finished study with made-up scores."""
    rng = np.random.default_rng(0)
    info = {c: {"metric": "mIoU", "unit": "%", "direction": "max", "subset": True} for c in COLUMNS}
    info["Mean"] = {**info["F"], "subset": False}
    rows = [f"row{i}" for i in range(n_rows)]
    plan = []
    for i, row in enumerate(rows):
        scores = 40 + 0.001 * i + rng.normal(size=(n_seeds, len(COLUMNS)))
        for seed in range(n_seeds):
            run_id = f"{i:08x}{seed:08x}"
            plan.append(
                {"run_id": run_id, "role": "student", "seed": seed, "rows": [row], "cells": {}, "depends_on": []}
            )
            record = {
                "run_id": run_id, "study": folder.name, "row": row, "seed": seed, "status": "ok", "error": None,
                "metrics": dict(zip(COLUMNS, scores[seed].tolist(), strict=True)), "n_parameters": 76437,
                "seconds": 7.1, "steps": 360, "depends_on": [], "digests": {"init": "0" * 64, "order": "1" * 64},
                "environment": {"device": "cpu", "torch": "2.13.0"}, "role": "student", "scored_on": "test",
                "validation": dict(zip(COLUMNS, scores[seed].tolist(), strict=True)),
            }  # fmt: skip
            (folder / "runs" / run_id).mkdir(parents=True)
            (folder / "runs" / run_id / "record.json").write_text(json.dumps(record, indent=1))
    table = {
        "columns": list(info), "column_info": info, "baseline": "row0", "smallest_effect": 0.5,
        "rows": [{"name": row, "label": row, "baseline": "row0"} for row in rows],
    }  # fmt: skip
    study = {"schema": 1, "name": folder.name, "title": "Made-up scores", "plan": plan, "table": table,
             "dataset": {"name": "made up", "synthetic": True}}  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study))


def measure(folder: Path, fmt: str) -> dict[str, float]:
    """Seconds of `mmablate table`, its peak memory, and the size of what it wrote."""
    target = folder.parent / f"out.{fmt}"
    command = [sys.executable, "-c", MEASURED, "table", str(folder), "--format", fmt, "-o", str(target)]
    seconds, peaks = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        peaks.append(int(done.stderr.split()[-1]) / 1024)
    size = target.stat().st_size / 1e6
    return {"seconds": round(min(seconds), 2), "peak_mb": round(min(peaks), 1), "written_mb": round(size, 2)}


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for n_rows, n_seeds in SIZES:
            study = Path(folder) / f"study{n_rows}"
            make(study, n_rows, n_seeds)
            found[str(n_rows * n_seeds)] = {fmt: measure(study, fmt) for fmt in FORMATS}
    write(
        "tables",
        {
            "what": "mmablate table STUDY --format F -o FILE, by number of runs (five seeds a row, eight columns)",
            "runs": found,
        },
    )


if __name__ == "__main__":
    main()
