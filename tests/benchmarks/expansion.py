"""Time and memory of expanding large grids: recipe to planned runs, ids and lint included.

    python tests/benchmarks/expansion.py            # about a minute

Five factors of ten levels (100,000 cells of one seed), then 20,000 rows of five seeds. The baseline checks every
row as a recipe of its own and hashes the whole settings of every run (tests/study/plain_planning.py), at a size
where that ends in seconds; both sides plan the same runs, ids compared. Seconds are those of the CPU, one thread;
the wall's stand beside them. Each case is a process of its own, and its
memory is the growth of the process's peak, per cell (a row of one seed).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

FACTORS = {
    "lr": lambda i: {"train.lr": 0.001 * (i + 1)},
    "decay": lambda i: {"train.weight_decay": 0.01 * (i + 1)},
    "mad": lambda i: {"losses.mad.weight": 1.0 + i},
    "umd": lambda i: {"losses.umd.weight": 1.0 + i},
    "width": lambda i: {"model.decoder_width": 8 * (i + 1)},
}
# Name -> (levels of the five factors, seeds, plain way).
CASES = {
    "cells_100000": ((10, 10, 10, 10, 10), 1, False),
    "rows_20000_seeds_5": ((10, 10, 10, 10, 2), 5, False),
    "shared": ((10, 10, 5, 2, 2), 1, False),
    "plain": ((10, 10, 5, 2, 2), 1, True),
}


def recipe(levels: tuple[int, ...], seeds: int) -> dict[str, Any]:
    factors = {
        name: {f"{name}{i}": make(i) for i in range(n)} for (name, make), n in zip(FACTORS.items(), levels, strict=True)
    }
    return {
        "name": "grid",
        "data": {"name": "landsat", "modalities": ["V", "N", "S"]},
        "model": {"name": "anymodal_segmentor", "widths": [16, 32, 64], "strides": [2, 2, 2], "decoder_width": 32},
        "teacher": {"name": "anymodal_segmentor", "seed": "paired"},
        "train": {"epochs": 48},
        "losses": {"sup": {}, "mad": {"weight": 13.2}, "umd": {"weight": 2.6}, "cmd": {"weight": 10}},
        "factors": factors,
        "rows": {"product": list(factors)},
        "seeds": list(range(seeds)),
    }


def measure(name: str) -> dict[str, Any]:
    """One case, in this process."""
    from plain_planning import plain_study

    from mmablate.study import open_study

    levels, seeds, plain = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grid.yaml")
        path.write_text(yaml.safe_dump(recipe(levels, seeds), sort_keys=False))
        open_study("landsat_losses")  # what is imported and read once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        clock = time.perf_counter()
        if plain:
            rows, runs = plain_study(str(path))
            n_rows, ids = len(rows), [run.run_id for run in runs]
        else:
            study = open_study(str(path))
            n_rows, ids = len(study.rows), [run.run_id for run in study.runs]
        seconds, wall = time.process_time() - started, time.perf_counter() - clock
    cells = n_rows * seeds
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {
        "rows": n_rows, "seeds": seeds, "runs": len(ids), "cpu_seconds": seconds, "wall_seconds": wall,
        "cells_per_second": cells / seconds,
        "peak_bytes_per_cell": peak / cells, "ids": ids,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    case = parser.parse_args().case
    if case is not None:
        print(json.dumps(measure(case)))
        return
    found = {}
    for name in CASES:
        done = subprocess.run([sys.executable, __file__, "--case", name], check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout)
    import _report  # imports torch: only now, since a child's peak begins at what its parent holds

    ids = {name: figures.pop("ids") for name, figures in found.items()}
    _report.write(
        "expansion",
        {
            "figure": "cells per CPU second from recipe to planned runs, ids and lint included",
            "baseline": "every row checked as a recipe of its own, every run's whole settings hashed; no lint",
            "ratio": found["shared"]["cells_per_second"] / found["plain"]["cells_per_second"],
            "ratio_memory": found["plain"]["peak_bytes_per_cell"] / found["shared"]["peak_bytes_per_cell"],
            "ids_equal": ids["shared"] == ids["plain"],
            "cases": found,
        },
    )


if __name__ == "__main__":
    main()
