"""Wall time of the Landsat grid through `ablate`, against the same runs as separate `mmablate train` processes.

    python tests/benchmarks/grid.py            # some 20 minutes on two cores
    python tests/benchmarks/grid.py --seeds 0-1 train.epochs=8

Both sides run on the CPU with the same number of processes (two at a time) of one thread each, in turn in one
call of this script, and must end with the same metrics to the bit. The baseline is measured twice: with the
teachers at hand (they are trained first, and their time counts on neither side), and with each process training
its own, as with a copied training script.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _report

JOBS = 2
ROWS = ("sup", "sup+mad", "sup+mad+umd", "sup+mad+umd+cmd")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmablate", *map(str, arguments), "--device", "cpu", "-q"]


def run(arguments: list[str]) -> None:
    subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def ablate(out: Path, settings: list[str]) -> float:
    """Seconds of one `ablate` over the grid; teachers are in `out` already or are trained too."""
    started = time.perf_counter()
    run(command("ablate", "landsat_losses", *settings, "--out", out, "-j", JOBS))
    return time.perf_counter() - started


def separate(outs: dict[tuple[str, int], Path], settings: list[str]) -> float:
    """Seconds of one `train` process a run, two at a time."""

    def one(key: tuple[str, int]) -> None:
        run(command("train", "landsat_losses", *settings, "--row", key[0], "--seed", key[1], "--out", outs[key]))

    started = time.perf_counter()
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(one, outs))
    return time.perf_counter() - started


def with_teachers(work: Path, name: str, teachers: Path) -> Path:
    """A results folder of its own in which the teachers are finished."""
    return Path(shutil.copytree(teachers, work / name))


def metrics(folders: list[Path]) -> dict[str, dict[str, float]]:
    """run_id -> metrics of every student below the folders."""
    records = [json.loads(p.read_text()) for folder in folders for p in folder.glob("*/runs/*/record.json")]
    return {record["run_id"]: record["metrics"] for record in records if record["role"] == "student"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    low, _, high = options.seeds.partition("-")
    seeds = range(int(low), int(high or low) + 1)
    settings = [*options.overrides, f"seeds={list(seeds)}"]
    keys = [(row, seed) for seed in seeds for row in ROWS]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        teachers = work / "teachers"
        # A first, whole grid, of which only the teachers are kept.
        full = ablate(teachers, settings)
        reference = metrics([teachers])
        for path in teachers.glob("*/runs/*/record.json"):
            if json.loads(path.read_text())["role"] == "student":
                shutil.rmtree(path.parent)
        ours = with_teachers(work, "ours", teachers)
        lockstep = ablate(ours, settings)
        theirs = with_teachers(work, "theirs", teachers)
        processes = separate(dict.fromkeys(keys, theirs), settings)
        own = {key: work / f"own-{i}" for i, key in enumerate(keys)}
        alone = separate(own, settings)
        equal = metrics([ours]) == metrics([theirs]) == metrics(list(own.values())) == reference
    _report.write(
        "grid",
        {
            "figure": "wall seconds of the landsat_losses grid through ablate, teachers at hand",
            "baseline": "the same runs as separate `mmablate train` processes, two at a time, teachers at hand",
            "ratio": processes / lockstep,
            "ratio_each_trains_its_teacher": alone / full,
            "seconds": {
                "ablate": lockstep,
                "ablate_with_teachers": full,
                "separate": processes,
                "separate_each_trains_its_teacher": alone,
            },
            "runs": len(keys),
            "settings": settings,
            "jobs": JOBS,
            "threads_each": 1,
            "metrics_equal_to_the_bit": equal,
        },
    )


if __name__ == "__main__":
    main()
