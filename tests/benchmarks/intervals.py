"""What the intervals cover and how often a star is false, by simulation: python tests/benchmarks/intervals.py

Every trial goes through the code that makes the tables (`mean_estimate`, `welch_estimate`, `assemble`). Seeds are
drawn anew for each trial; the true Δ is known. Standard errors of the figures: 0.07 points for coverage near 95 %
with 100,000 trials, 0.2 for the share of tables with a false star with 10,000.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from _report import write

from mmablate.analysis.assembly import Draft, Rules, assemble
from mmablate.analysis.statistics import mean_estimate, sign_flip_p, welch_estimate
from mmablate.analysis.table import ColumnInfo, Row

SEEDS = (3, 5, 10)
TRIALS, TABLES, RESAMPLES = 100_000, 10_000, 2_000
COLUMNS = ("F", "E", "L", "FE", "FL", "EL", "FEL")
Draw = Callable[[np.random.Generator, int], np.ndarray]


def arms(rng: np.random.Generator, n: int, correlation: float = 0.5) -> np.ndarray:
    """Differences of two normal arms with sd 1 that share a part of what varies."""
    shared = rng.normal(size=n) * np.sqrt(correlation)
    own = rng.normal(size=(2, n)) * np.sqrt(1 - correlation)
    return (shared + own[0]) - (shared + own[1])


# Name -> (per-seed differences, their true mean).
DIFFERENCES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "normal arms, correlation 0.5": (arms, 0.0),
    "skewed difference (exponential)": (lambda rng, n: rng.exponential(size=n), 1.0),
    "difference of equally skewed arms": (lambda rng, n: rng.exponential(size=n) - rng.exponential(size=n), 0.0),
    "heavy tails (t, 3 degrees of freedom)": (lambda rng, n: rng.standard_t(3, size=n), 0.0),
    "tied: rounded to one standard deviation": (lambda rng, n: np.round(rng.normal(size=n)), 0.0),
    "tied: rounded to half a standard deviation": (lambda rng, n: np.round(2 * rng.normal(size=n)) / 2, 0.0),
}


def coverage(draw: Draw, truth: float, n: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of 95 % intervals that hold the truth, of p-values below 5 %, and of trials without any spread."""
    covered = false = without = 0
    for _ in range(TRIALS):
        estimate = mean_estimate((draw(rng, n) - truth).tolist())
        assert estimate is not None
        interval = estimate.interval(0.95)
        if interval is None:
            without += 1
            continue
        covered += interval[0] <= 0 <= interval[1]
        p = estimate.p()
        false += p is not None and p < 0.05
    told = TRIALS - without
    found = {"coverage": percent(covered / told), "false_positives": percent(false / TRIALS)}
    return found | ({"without_spread": percent(without / TRIALS)} if without else {})


def welch(n: int, rng: np.random.Generator) -> dict[str, float]:
    """The same for two arms that are not paired, the one with three times the spread of the other."""
    covered = false = 0
    for _ in range(TRIALS):
        estimate = welch_estimate(rng.normal(size=n).tolist(), (3 * rng.normal(size=n)).tolist())
        assert estimate is not None
        low, high = estimate.interval(0.95) or (0.0, 0.0)
        covered += low <= 0 <= high
        false += (estimate.p() or 0.0) < 0.05
    return {"coverage": percent(covered / TRIALS), "false_positives": percent(false / TRIALS)}


def sign_flip(n: int, rng: np.random.Generator) -> float:
    """False positives of the exact sign-flip test at 5 %; at few seeds it cannot reject at all."""
    return percent(np.mean([(sign_flip_p(rng.normal(size=n).tolist()) or 1.0) <= 0.05 for _ in range(TRIALS // 10)]))


def bootstrap(n: int, rng: np.random.Generator) -> float:
    """Coverage of the percentile bootstrap, which mmablate does not offer: for the record."""
    samples = rng.normal(size=(TRIALS // 10, n))
    hits = 0
    for sample in samples:
        means = sample[rng.integers(0, n, size=(RESAMPLES, n))].mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        hits += low <= 0 <= high
    return percent(hits / len(samples))


def tables(n: int, rng: np.random.Generator, *, tails: bool = False) -> dict[str, float]:
    """Share of tables of three rows and a baseline, no row different, with at least one star."""
    info = {c: ColumnInfo() for c in COLUMNS} | {"Mean": ColumnInfo(subset=False)}
    primary = others = unadjusted = 0
    seeds = [str(s) for s in range(n)]
    for _ in range(TABLES):
        draw = rng.standard_t(3, size=(4, len(COLUMNS) + 1, n)) if tails else rng.normal(size=(4, len(COLUMNS) + 1, n))
        scores = np.sqrt(0.6) * draw[:, :1] + np.sqrt(0.4) * draw[:, 1:]  # columns correlate by 0.6
        drafts = []
        for r in range(4):
            values = {c: dict(zip(seeds, scores[r, i].tolist(), strict=True)) for i, c in enumerate(COLUMNS)}
            values["Mean"] = dict(zip(seeds, scores[r].mean(axis=0).tolist(), strict=True))
            drafts.append(Draft(Row(name=f"r{r}", label=f"r{r}", baseline="r0"), values))
        rows = assemble(drafts, info, Rules()).rows[1:]
        primary += any(row.cells["Mean"].significant for row in rows)
        others += any(row.cells[c].significant for row in rows for c in COLUMNS)
        unadjusted += any((cell.p or 1.0) < 0.05 for row in rows for cell in row.cells.values())
    found = {"Mean": primary, "other columns": others, "no correction": unadjusted}
    return {name: percent(count / TABLES) for name, count in found.items()}


def percent(share: float) -> float:
    """In percent, to two decimals."""
    return round(100 * float(share), 2)


def main() -> None:
    rng = np.random.default_rng(20261124)
    single = {
        name: {str(n): coverage(draw, truth, n, rng) for n in SEEDS} for name, (draw, truth) in DIFFERENCES.items()
    }
    write(
        "intervals",
        {
            "what": "coverage of 95 % intervals and false positives at 5 %, in percent, by number of seeds",
            "trials": TRIALS,
            "paired": single,
            "welch, spreads 1 and 3": {str(n): welch(n, rng) for n in SEEDS},
            "sign-flip, normal: false positives": {str(n): sign_flip(n, rng) for n in SEEDS},
            "percentile bootstrap, normal: coverage (not offered)": {str(n): bootstrap(n, rng) for n in SEEDS},
            "tables with a false star": {
                "what": f"{TABLES} tables of three rows, seven columns and Mean without any difference",
                "normal": {str(n): tables(n, rng) for n in SEEDS},
                "heavy tails": {str(n): tables(n, rng, tails=True) for n in SEEDS},
            },
        },
    )
    for name, found in single.items():
        print(f"{name:44}", "  ".join(f"n={n}: {found[str(n)]['coverage']:.1f} %" for n in SEEDS), file=sys.stderr)


if __name__ == "__main__":
    main()
