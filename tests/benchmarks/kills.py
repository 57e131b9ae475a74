"""SIGKILL to a real study at 25 random moments: python tests/benchmarks/kills.py

A small study on the Landsat scene runs as `python -m mmablate ablate`, with one job and with two in turn, its states
saved after every step. All its processes are killed at a moment drawn uniformly over the time in which an undisturbed
one trains and scores, from its first step to its last record ("so long after the so-manieth step", so that a busy
machine does not shift it). Then the same command runs to its end, and the table, the records with their digests and
counts, and the histories are compared with the undisturbed study's to the last bit. More kills are aimed into the
middle of writes.
Some minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import bisect
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _report

sys.path.insert(0, str(Path(__file__).parents[1] / "execution"))
from killing import Killed, Place, after, killed_and_resumed, writing

SEED = 7
SETTINGS = ("train.epochs=10", "evaluate.every=10", "save_every=1 step")


def moments(count: int, times: dict[int, list[float]]) -> list[tuple[str, int, Callable[[], Callable[[Place], bool]]]]:
    """Name, jobs and condition of every kill."""
    chance = random.Random(SEED)
    found: list[tuple[str, int, Callable[[], Callable[[Place], bool]]]] = []
    for number in range(count):
        jobs = 1 + number % 2
        drawn = chance.uniform(times[jobs][0], times[jobs][-1])
        steps = bisect.bisect_right(times[jobs], drawn, hi=len(times[jobs]) - 1)
        later = drawn - times[jobs][steps - 1]
        condition = lambda steps=steps, later=later: after(steps, later)  # type: ignore[misc]  # noqa: E731
        found.append((f"{1000 * later:.0f} ms after step {steps}", jobs, condition))
    aimed = [("state.safetensors", 10), ("state.safetensors", 30), ("record.json", 1), ("record.json", 2)]
    aimed += [("checkpoint.safetensors", 1), ("study.json", 1)]
    for number, (name, nth) in enumerate(aimed):
        condition = lambda name=name, nth=nth: writing(name, nth)  # type: ignore[misc]  # noqa: E731
        found.append((f"writing {name}, {nth}", 1 + number % 2, condition))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=25)
    count = parser.parse_args().moments
    seconds: dict[int, float] = {}
    times: dict[int, list[float]] = {}  # of every step, and of the last record
    undisturbed: list[tuple[Any, int]] = []
    for jobs in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), SETTINGS)
            seconds[jobs] = place.finish(jobs)
            written = max(path.stat().st_mtime for path in place.runs.glob("*/record.json"))
            times[jobs] = [*place.times(), time.monotonic() - (time.time() - written)]
            undisturbed.append((place.everything(), sum(place.steps().values())))
    assert undisturbed[0] == undisturbed[1], "one job or two: the same bits"
    expected, total = undisturbed[0]
    done: list[tuple[str, int, Killed]] = []
    for name, jobs, moment in moments(count, times):
        with tempfile.TemporaryDirectory() as folder:
            result = killed_and_resumed(Place(Path(folder), SETTINGS), expected, total, jobs, moment)
        done.append((name, jobs, result))
        print(name, jobs, result, flush=True)
    # A file that is there for a moment only may never be seen, and the study ends by itself.
    drawn, aimed = done[:count], [kill for kill in done[count:] if kill[2].running]
    redone = [result.redone for _, _, result in done]
    _report.write(
        "kills",
        {
            "figure": "studies killed at random moments that ended as the undisturbed one, to the last bit",
            "equal": sum(not result.wrong for _, _, result in drawn),
            "of": len(drawn),
            "killed_before_the_end": sum(result.running for _, _, result in drawn),
            "aimed_into_writes_equal": sum(not result.wrong for _, _, result in aimed),
            "aimed_into_writes": len(aimed),
            "aimed_but_never_seen": len(done) - count - len(aimed),
            "left_a_temporary_file": sum(result.torn > 0 for _, _, result in done),
            "steps": total,
            "steps_redone_mean": sum(redone) / len(redone),
            "steps_redone_largest": max(redone),
            "settings": SETTINGS,
            "seed": SEED,
            "seconds_undisturbed": {f"-j {jobs}": round(own, 2) for jobs, own in seconds.items()},
            "kills": [
                {"moment": name, "jobs": jobs, **{key: getattr(result, key) for key in Killed.__dataclass_fields__}}
                for name, jobs, result in done
            ],
        },
    )


if __name__ == "__main__":
    main()
