"""The store at every system call, and after power cuts at every moment: python tests/benchmarks/crashes.py

A small study of no-op runs (`tests/results/crash_driver.py`) runs under strace. Each of its calls on the results
folder fails once, killed, with ENOSPC and with EIO; then the driver runs again. And a model of a disk that loses
what was not fsynced (`tests/results/power_cuts.py`) is asked what may be there after a cut at every moment. Ten
minutes or so; needs strace. `--every 10` takes a tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import _report

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
import crash_calls
import crash_cuts
from crash_calls import FAULTS

SAMPLES = 100


def at_calls(every: int) -> dict[str, Any]:
    """Every call fails once in each way."""
    with tempfile.TemporaryDirectory() as folder:
        made = crash_calls.study_calls(crash_calls.base(Path(folder)))
    outcomes: dict[str, Counter[str]] = {fault: Counter() for fault in FAULTS}
    wrong: Counter[str] = Counter()
    alone = litter = 0
    tried: Counter[str] = Counter()
    for call in made[::every]:
        for fault in FAULTS:
            with tempfile.TemporaryDirectory() as folder:
                done = crash_calls.inject(crash_calls.base(Path(folder)), call, fault)
            tried[call.kind] += 1
            outcomes[fault][done.outcome] += 1
            wrong.update(f"{fault} at {call.kind}: {text}" for text in done.wrong)
            alone += done.alone
            litter += len(done.litter)
            if done.wrong:
                print(fault, call, done.wrong, flush=True)
    return {
        "calls": dict(Counter(call.kind for call in made)),
        "calls_in_all": len(made),
        "injections": dict(tried),
        "injections_in_all": sum(tried.values()),
        "outcomes": {fault: dict(counts) for fault, counts in outcomes.items()},
        "violations": dict(wrong),
        "trained_although_a_sibling_has_it_but_cannot_be_read": alone,
        "temporary_files_left_after_the_second_run": litter,
    }


def after_cuts(every: int, *arguments: str) -> dict[str, Any]:
    """Every state of the model, looked at and resumed from."""
    states = moments = lost = bad = 0
    wrong: Counter[str] = Counter()
    for number, cut in enumerate(crash_cuts.cuts(*arguments, samples=SAMPLES)):
        moments = max(moments, cut.moment)
        if number % every:
            continue
        states += 1
        found, again = crash_cuts.found(cut)
        bad += bool(found or again)
        lost += any("lost" in text for text in found)
        wrong.update(text.partition(":")[0] for text in {*found, *again})
    return {
        "moments": moments,
        "different_states": states,
        "states_with_violations": bad,
        "states_with_acknowledged_files_lost": lost,
        "violations": dict(wrong),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    if why := crash_calls.why_not():
        sys.exit(f"crashes: {why}")
    cuts = after_cuts(every)
    without = after_cuts(every * 10, "--forget-folders")
    calls = at_calls(every)
    _report.write(
        "crashes",
        {
            "figure": "violations: acknowledged runs lost or changed, torn ones trusted, unclear endings, dead leases",
            "violations": sum(calls["violations"].values()) + cuts["states_with_violations"],
            "at_every_call": calls,
            "after_power_cuts": cuts,
            "after_power_cuts_without_fsync_of_folders": without,
        },
    )


if __name__ == "__main__":
    main()
