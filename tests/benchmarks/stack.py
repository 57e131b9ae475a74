"""Steps of 1 to 64 students of the Landsat mini model at three widths: stacked against in turn.

    python tests/benchmarks/stack.py                  # on a GPU where there is one
    python tests/benchmarks/stack.py --device cpu     # 1 to 8 students, some minutes

All ways train the same runs (the loss sets of `landsat_losses`, each student with weights of its own) on the same
batches with the same teacher's view of them; loading and teacher are in no figure. In turn is timed eagerly, on
CUDA also with a graph of each run's forward and backward pass, and as 2, 4 or 8 processes that share the device
and step their part of the runs in turn at the same time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import _report
import torch

from mmablate.study import RunSpec, open_study
from mmablate.training.building import open_data
from mmablate.training.device import choose_device
from mmablate.training.group import InTurn
from mmablate.training.measuring import first_pieces
from mmablate.training.stacking import Stacked
from mmablate.training.trainee import Trainee

RECIPE = Path(__file__).parents[2] / "recipes" / "landsat_losses.yaml"
WIDTHS = ([8, 16, 32], [16, 32, 64], [32, 64, 128])
OWN = 1  # of these, the recipe's
WARM_UP = 3


def students(count: int, widths: Sequence[int]) -> list[RunSpec]:
    """So many students of one seed; every fourth has the same terms, and none the same weights."""
    study = open_study(str(RECIPE), overrides=["seeds=[0]", f"model.widths={list(widths)}"])
    rows = [spec for spec in study.runs if spec.role == "student"]
    specs = []
    for index in range(count):
        row = rows[index % len(rows)]
        losses = [{**loss, "weight": loss["weight"] * (1 + index / 100)} for loss in row.settings["losses"]]
        specs.append(replace(row, run_id=f"{index:016d}", settings={**row.settings, "losses": losses}))
    return specs


def seconds_a_step(way: str, specs: Sequence[RunSpec], device: torch.device, budget: float, meet: Any = None) -> float:
    """Of one step of all these runs: the median over passes of eight steps, for at least `budget` seconds."""
    stepper = {
        "in turn": InTurn,
        "in turn, graphs": lambda: Stacked([[spec.run_id] for spec in specs], graphs=True),
        "stacked": Stacked,
        "stacked, graphs": lambda: Stacked(graphs=True),
    }[way]()
    data = open_data(specs[0].settings["data"], None)
    plan = first_pieces(specs, data, device, 8)
    trainees = [Trainee(spec, data, device, 1_000_000) for spec in specs]

    def step(index: int) -> None:
        stepper.step(trainees, iter(plan[index % len(plan)]))

    for index in range(max(WARM_UP, len(plan) if "graphs" in way else 0)):
        step(index)
    wait(device)
    if meet is not None:
        meet.wait()
    passes: list[float] = []
    while sum(passes) < budget or len(passes) < 3:
        started = time.perf_counter()
        for index in range(len(plan)):
            step(index)
        wait(device)
        passes.append(time.perf_counter() - started)
    if isinstance(stepper, Stacked) and stepper.fallen:
        raise RuntimeError(stepper.fallen[0].reason)
    return statistics.median(passes) / len(plan)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def part_of(specs: Sequence[RunSpec], device: str, budget: float, meet: Any, found: Any) -> None:
    """Body of one of the processes that share the device."""
    torch.set_num_threads(1)
    found.put(len(specs) / seconds_a_step("in turn", specs, torch.device(device), budget, meet))


def shared(processes: int, specs: Sequence[RunSpec], device: torch.device, budget: float) -> float:
    """Seconds of one step of all runs, dealt to processes that step theirs at the same time."""
    context = multiprocessing.get_context("spawn")
    meet, found = context.Barrier(processes), context.Queue()
    parts = [specs[i::processes] for i in range(processes)]
    workers = [
        context.Process(target=part_of, args=(part, str(device), budget, meet, found), daemon=True) for part in parts
    ]
    for worker in workers:
        worker.start()
    rates = [found.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return len(specs) / sum(rates)


class Watch:
    """Mean utilisation of the device while something runs, as nvidia-smi tells it; None without one."""

    def __init__(self) -> None:
        self.readings: list[float] = []

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._read, args=(over, device.index or 0), daemon=True)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            thread.start()
        yield
        over.set()
        if device.type == "cuda":
            thread.join()

    def _read(self, over: threading.Event, index: int) -> None:
        command = ["nvidia-smi", f"--id={index}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(0.2):
            try:
                told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                self.readings.append(float(told))
            except (OSError, ValueError, subprocess.CalledProcessError):
                return

    def mean(self) -> float | None:
        return sum(self.readings) / len(self.readings) if self.readings else None


def measured(way: str, specs: Sequence[RunSpec], device: torch.device, budget: float) -> dict[str, Any]:
    """Seconds a step, utilisation in percent and peak memory of one way; what went wrong where it could not run."""
    watch = Watch()
    try:
        with watch.on(device):
            took = seconds_a_step(way, specs, device, budget)
    except (RuntimeError, torch.OutOfMemoryError) as error:
        return {"seconds": None, "reason": str(error)[:200]}
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"seconds": took, "utilisation": watch.mean(), "peak_bytes": peak}


def compared(count: int, widths: Sequence[int], device: torch.device, budget: float) -> dict[str, Any]:
    """All ways of stepping so many students, and what stacking gains over each."""
    specs = students(count, widths)
    cuda = device.type == "cuda"
    ways = ["in turn", "stacked", *(["in turn, graphs", "stacked, graphs"] if cuda else [])]
    found: dict[str, Any] = {way: measured(way, specs, device, budget) for way in ways}
    for processes in (2, 4, 8) if cuda else (2,):
        if processes <= count:
            found[f"{processes} processes"] = {"seconds": shared(processes, specs, device, budget)}

    def best(names: list[str]) -> float | None:
        times = [found[name]["seconds"] for name in names if name in found and found[name]["seconds"]]
        return min(times, default=None)

    ours = best(["stacked", "stacked, graphs"])
    rivals = {
        "in turn": best(["in turn"]),
        "in turn, graphs": best(["in turn, graphs"]),
        "processes": best(["2 processes", "4 processes", "8 processes"]),
    }
    gains = {name: time_ / ours if time_ and ours else None for name, time_ in rivals.items()}
    print(f"{widths} x {count}: " + ", ".join(f"{n} {g:.2f}x" for n, g in gains.items() if g), flush=True)
    return {"students": count, "widths": list(widths), "ways": found, "gain_over": gains}


def crossover(rows: Sequence[dict[str, Any]]) -> int | None:
    """The fewest students from which on stacking is faster than in turn, eagerly."""
    gaining = [row["students"] for row in rows if (row["gain_over"]["in turn"] or 0) > 1]
    losing = [row["students"] for row in rows if (row["gain_over"]["in turn"] or 0) <= 1]
    return next((count for count in gaining if count > max(losing, default=0)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--counts", type=int, nargs="+", default=None)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds of each measurement")
    options = parser.parse_args()
    device = choose_device(options.device)
    torch.set_num_threads(1)
    cuda = device.type == "cuda"
    counts = options.counts or ([1, 2, 4, 8, 16, 32, 64] if cuda else [1, 2, 4, 8])
    tables = [[compared(count, widths, device, options.budget) for count in counts] for widths in WIDTHS]
    shown = 32 if cuda and 32 in counts else counts[-1]
    row = next(row for row in tables[OWN] if row["students"] == shown)
    _report.write(
        "stack",
        {
            "figure": f"student steps a second, {shown} stacked students of widths {WIDTHS[OWN]}",
            "baseline": "the same students stepped in turn, eagerly, in one process",
            "ratio": row["gain_over"]["in turn"],
            "ratio_over": row["gain_over"],
            "device": str(device),
            "precision": "bf16" if cuda else "float32",
            "note": None
            if cuda
            else "measured on a CPU core beside other work, where in turn is the default; a GPU is what it is for",
            "students_from_which_stacking_gains": {str(t[0]["widths"]): crossover(t) for t in tables},
            "rows": [row for table in tables for row in table],
        },
    )


if __name__ == "__main__":
    main()
