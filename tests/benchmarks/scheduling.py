"""Scheduling cost of a cell that does nothing: `mmablate ablate` against what people drive grids with.

    python tests/benchmarks/scheduling.py                       # two minutes
    pip install hydra-core "ray[tune]"                          # for the sides that need them, else they are left out
    python tests/benchmarks/scheduling.py --python OTHER/bin/python    # where these packages are, if not here

Each side is run as a whole process with few cells and with many; the cost of a cell is the slope between the two,
so that imports and start-up count for nobody. The whole `ablate` also makes a table and a page of all cells, which the
others do not; what executing alone costs (leases, runs, records) is measured in a process of its own. What each side
leaves on disk differs: ours is a record of each cell that survives a power cut (file and folder fsynced) and its
settings; Optuna's is one journal or database of all; Hydra leaves folders with settings and logs; Ray Tune its own
experiment state.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _report

RECIPE = """
name: nothing
run: {{call: nothing:cell}}
metrics: {{score: {{direction: max}}}}
settings: {{a: 0, b: 0}}
factors:
  a: {{{a}}}
  b: {{{b}}}
rows: {{product: [a, b]}}
seeds: [0]
"""
CELL = "def cell(settings, reporter):\n    return {'score': float(settings['a'] * 1000 + settings['b'])}\n"

# Executing alone: what `ablate` does between reading the recipe and making the table.
EXECUTE = """
import sys, time
from pathlib import Path
from mmablate.execution import Options, run_study, wanted_runs
from mmablate.study import open_study
study = open_study("nothing.yaml")
wanted = wanted_runs(study, [row.name for row in study.rows], study.seeds)
started = time.perf_counter()
outcome = run_study(study, wanted, Options(Path("results"), "cpu", 1, quiet=True), None, None)
print(1000 * (time.perf_counter() - started) / len(outcome.trained))
"""

OPTUNA = """
import sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
kind, a, b = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
storage = {"memory": lambda: None, "journal": lambda: JournalStorage(JournalFileBackend("journal")),
           "sqlite": lambda: "sqlite:///trials.db"}[kind]()
grid = {"a": list(range(a)), "b": list(range(b))}
study = optuna.create_study(storage=storage, sampler=optuna.samplers.GridSampler(grid), direction="maximize")
study.optimize(lambda t: t.suggest_int("a", 0, a - 1) * 1000 + t.suggest_int("b", 0, b - 1), n_trials=a * b)
assert len(study.trials) == a * b
"""
HYDRA = """
import hydra
from omegaconf import DictConfig
@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg: DictConfig) -> float:
    return float(cfg.a * 1000 + cfg.b)
main()
"""
TUNE = """
import sys, os
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
import ray
from ray import tune
a, b = int(sys.argv[1]), int(sys.argv[2])
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
def cell(config):
    return {"score": float(config["a"] * 1000 + config["b"])}
space = {"a": tune.grid_search(list(range(a))), "b": tune.grid_search(list(range(b)))}
tuner = tune.Tuner(cell, param_space=space, tune_config=tune.TuneConfig(metric="score", mode="max"),
                   run_config=tune.RunConfig(storage_path=os.getcwd(), verbose=0))
assert len(tuner.fit()) == a * b
"""


def timed(command: list[str], folder: Path) -> float:
    """Seconds of a process."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return time.perf_counter() - started


def written(folder: Path, a: int, b: int) -> None:
    """The recipe of a x b cells, and what they call."""
    (folder / "nothing.py").write_text(CELL)
    levels = {k: ", ".join(f"{k}{i}: {{settings.{k}: {i}}}" for i in range(n)) for k, n in (("a", a), ("b", b))}
    (folder / "nothing.yaml").write_text(RECIPE.format(**levels))


def executing(a: int, b: int) -> float:
    """Milliseconds a cell, without table and page."""
    with tempfile.TemporaryDirectory() as name:
        written(Path(name), a, b)
        done = subprocess.run([sys.executable, "-c", EXECUTE], cwd=name, capture_output=True, text=True, check=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        return float(done.stdout)


def ours(python: str, a: int, b: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, a, b)
        seconds = timed([python, "-m", "mmablate", "ablate", "nothing.yaml", "-j", "1", "-q", "--format", "json",
                         "--device", "cpu"], folder)  # fmt: skip
        records = [json.loads(p.read_text()) for p in folder.glob("results/nothing/runs/*/record.json")]
        assert len(records) == a * b
        assert all(record["status"] == "ok" for record in records)
        return seconds


def optuna(kind: str, python: str, a: int, b: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        return timed([python, "-c", OPTUNA, kind, str(a), str(b)], Path(name))


def hydra(python: str, a: int, b: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.py").write_text(HYDRA)
        (folder / "config.yaml").write_text("a: 0\nb: 0\n")
        values = [f"{k}={','.join(map(str, range(n)))}" for k, n in (("a", a), ("b", b))]
        return timed([python, "main.py", "--multirun", *values], folder)


def tune(python: str, a: int, b: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        return timed([python, "-c", TUNE, str(a), str(b)], Path(name))


def has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def fsync_ms() -> float:
    """Of one small file and its folder, on the disk where the cells are recorded."""
    with tempfile.TemporaryDirectory() as name:
        taken = []
        for i in range(200):
            started = time.perf_counter()
            handle = os.open(f"{name}/{i}", os.O_CREAT | os.O_WRONLY)
            os.write(handle, b"x" * 1000)
            os.fsync(handle)
            os.close(handle)
            handle = os.open(name, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            taken.append(time.perf_counter() - started)
        return 1000 * statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of the other sides")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    other = options.python
    # Few and many cells of each side: many enough for the slope, few enough for the slow ones to end.
    sides = {"mmablate": (lambda a, b: ours(sys.executable, a, b), (10, 10), (40, 50))}
    for kind in ("memory", "journal", "sqlite"):
        if has(other, "optuna") and (kind != "sqlite" or has(other, "sqlalchemy")):
            sides[f"optuna grid, {kind}"] = (lambda a, b, k=kind: optuna(k, other, a, b), (5, 10), (10, 30))
    if has(other, "hydra"):
        sides["hydra multirun"] = (lambda a, b: hydra(other, a, b), (2, 5), (4, 15))
    if has(other, "ray.tune"):
        sides["ray tune"] = (lambda a, b: tune(other, a, b), (2, 5), (4, 15))
    cost: dict[str, list[float]] = {name: [] for name in sides}
    alone: list[float] = []
    for _ in range(options.repeat):  # in turn, so that a slow minute of the machine is everybody's
        alone.append(executing(40, 50))
        for name, (run, few, many) in sides.items():
            cells = many[0] * many[1] - few[0] * few[1]
            cost[name].append(1000 * (run(*many) - run(*few)) / cells)
    ms = {name: statistics.median(values) for name, values in cost.items()}
    rivals = {name: value for name, value in ms.items() if name != "mmablate"}
    durable = {name: value for name, value in rivals.items() if name != "optuna grid, memory"}
    _report.write(
        "scheduling",
        {
            "figure": "milliseconds a cell that does nothing, with a durable record of each cell: executing alone "
            "(ms_per_cell), and whole `ablate` with table and page of all cells (ms_per_cell_of, as for the others the "
            "slope between few and many cells); the ratio is that of whole commands",
            "baseline": f"the fastest of those that keep something on disk: {min(durable, key=durable.get)}",
            "ratio": min(durable.values()) / ms["mmablate"],
            "ms_per_cell": statistics.median(alone),
            "ms_per_cell_measurements": alone,
            "ms_per_cell_of": ms,
            "all_measurements_ms": cost,
            "cells": {name: [few[0] * few[1], many[0] * many[1]] for name, (_, few, many) in sides.items()},
            "fsync_of_file_and_folder_ms": fsync_ms(),
        },
    )


if __name__ == "__main__":
    main()
