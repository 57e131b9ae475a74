"""Whole tables of random grids against pandas and scipy: tests, families, ties, colours, notes."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from analysis_samples import COLUMNS, SUBSETS, Made
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis import build_table
from mmablate.analysis.heat import GAIN, LOSS

scores = st.floats(0, 100).map(lambda x: round(x, 2))
runs = st.none() | st.tuples(scores, scores, scores)
seeds = st.dictionaries(st.integers(0, 5), runs, min_size=1, max_size=5)
grids = st.lists(seeds, min_size=2, max_size=5).map(lambda some: {f"r{i}": row for i, row in enumerate(some)})


def frame_of(grid):
    """A line a run, with the Mean of its columns."""
    lines = [(r, str(s), *v) for r, some in grid.items() for s, v in some.items() if v is not None]
    frame = pd.DataFrame(lines, columns=["row", "seed", *SUBSETS])
    frame["Mean"] = frame[list(SUBSETS)].mean(axis=1)
    return frame.set_index(["row", "seed"])


def scores_of(frame, row, column):
    return frame.loc[row][column] if row in frame.index.get_level_values(0) else pd.Series(dtype=float)


def judged(own, other, confidence):
    """(p, low, high) of a difference, None where there is no test; constant differences by the rules."""
    common = own.index.intersection(other.index)
    if len(common) >= 2:
        pairs = own[common] - other[common]
        size = max(own[common].abs().max(), other[common].abs().max())
        if np.ptp(pairs) <= 1e-12 * size:
            return (1.0 if abs(pairs.mean()) <= 1e-12 * size else None), None, None
        result = stats.ttest_rel(own[common], other[common])
    elif len(own) >= 2 and len(other) >= 2:
        if np.ptp(own) == 0 and np.ptp(other) == 0:
            return (1.0 if own.mean() == other.mean() else None), None, None
        a, b = own.var() / len(own), other.var() / len(other)
        df = (a + b) ** 2 / (a**2 / (len(own) - 1) + b**2 / (len(other) - 1))
        t, half = (own.mean() - other.mean()) / np.sqrt(a + b), stats.t.ppf(0.5 + confidence / 2, df) * np.sqrt(a + b)
        apart = own.mean() - other.mean()
        return 2 * stats.t.sf(abs(t), df), apart - half, apart + half
    else:
        return None, None, None
    low, high = result.confidence_interval(confidence)
    return result.pvalue, low, high


def stepped(p_values):
    """Holm by pandas: cumulative maximum of rank-scaled p."""
    ordered = pd.Series(p_values, dtype=float).sort_values()
    scaled = ordered * np.arange(len(ordered), 0, -1)
    return scaled.cummax().clip(upper=1).to_dict()


def families_of(columns, primary, family):
    if family == "column":
        return [[c] for c in columns]
    if primary in columns:
        return [[primary], [c for c in columns if c != primary]]
    return [list(columns)]


def close(found, wanted):
    if found is None or wanted is None:
        return found is None and wanted is None
    return found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


def written(out, made, **layout):
    shutil.rmtree(out / "made", ignore_errors=True)
    store = made.write(out)
    study = made.study()
    study["table"] |= layout
    (store.folder / "study.json").write_text(json.dumps(study))
    return store


@settings(max_examples=120, deadline=None)
@given(
    grid=grids,
    rules=st.sampled_from([("Mean", "table"), (None, "table"), ("N", "table"), ("Mean", "column"), ("gone", "table")]),
    confidence=st.sampled_from([0.9, 0.95]),
    smaller=st.sets(st.sampled_from(SUBSETS)),
    own_baselines=st.booleans(),
    teacher=st.booleans(),
)
def test_a_whole_table_is_what_pandas_and_scipy_make_of_it(
    out, grid, rules, confidence, smaller, own_baselines, teacher
):
    names = list(grid)
    bases = {name: names[i % 2] for i, name in enumerate(names)} if own_baselines else dict.fromkeys(names, "r0")
    made = Made(
        grid,
        baseline=bases if own_baselines else "r0",
        info={c: {"direction": "min"} for c in smaller},
        teacher={0: (99.0, 99.0, 99.0), 1: (98.0, 97.0, 1.0)} if teacher else None,
    )
    primary, family = rules
    significance = {"primary": primary, "family": family, "confidence": confidence}
    table = build_table(written(out, made, significance=significance))
    frame = frame_of(grid)
    assert [row.name for row in table.rows] == [*names, *(["teacher"] if teacher else [])]
    p_values = {}
    for row in table.rows[: len(names)]:
        for column, cell in row.cells.items():
            own, other = scores_of(frame, row.name, column), scores_of(frame, bases[row.name], column)
            wanted = (None, None, None) if bases[row.name] == row.name else judged(own, other, confidence)
            assert close(cell.p, wanted[0])
            assert (cell.ci is None) == (wanted[1] is None)
            if cell.ci:
                assert close(cell.ci[0], wanted[1])
                assert close(cell.ci[1], wanted[2])
            if cell.p is not None:
                p_values[row.name, column] = cell.p
    check_families(table, p_values, families_of(COLUMNS, primary, family))
    check_ties(table.rows[: len(names)], frame, smaller)
    for row in table.rows[len(names) :]:
        assert all((c.p, c.delta, c.ci, c.best, c.tied, c.heat) == (None, None, None, False, False, None)
                   for c in row.cells.values())  # fmt: skip


def check_families(table, p_values, groups):
    adjusted = {}
    sizes = []
    for group in groups:
        some = {place: p for place, p in p_values.items() if place[1] in group}
        adjusted |= stepped(some)
        sizes.append(len(some))
    assert [f.size for f in table.families] == [size for size in sizes if size]
    for row in table.rows:
        for column, cell in row.cells.items():
            wanted = adjusted.get((row.name, column))
            assert close(cell.p_adjusted, wanted)
            assert cell.significant == (cell.p_adjusted is not None and cell.p_adjusted < 0.05)


def check_ties(rows, frame, smaller):
    for column in COLUMNS:
        sign = -1 if column in smaller else 1
        means = {row.name: sign * row.cells[column].mean for row in rows if row.cells[column].mean is not None}
        if not means:
            continue
        top = max(means, key=means.get)
        against = {}
        for name, value in means.items():
            if value != means[top]:
                p = judged(scores_of(frame, name, column), scores_of(frame, top, column), 0.95)[0]
                if p is not None:
                    against[name] = p
        adjusted = stepped(against)
        for row in rows:
            cell = row.cells[column]
            assert cell.best == (means.get(row.name) == means[top])
            if row.name in adjusted and abs(adjusted[row.name] - 0.05) < 1e-7:
                continue
            assert cell.tied == (adjusted.get(row.name, 0) >= 0.05)


# --- families ---------------------------------------------------------------------------------------------

STREAM = np.random.default_rng(4)
FOUR = {f"r{i}": {s: tuple(STREAM.normal(50 + i, 2, 3).tolist()) for s in range(5)} for i in range(4)}


@pytest.mark.parametrize(
    ("rules", "sizes"),
    [
        ({}, [3, 9]),
        ({"primary": None}, [12]),
        ({"primary": "V"}, [3, 9]),
        ({"family": "column"}, [3, 3, 3, 3]),
        ({"primary": None, "family": "column"}, [3, 3, 3, 3]),
    ],
)
def test_the_sizes_of_families_are_told(out, rules, sizes):
    table = build_table(written(out, Made(FOUR, teacher={0: (1, 2, 3), 1: (4, 5, 7)}), significance=rules))
    assert [f.size for f in table.families] == sizes
    (note,) = [note for note in table.notes if note.startswith("Significance")]
    assert f"in {len(sizes)} famil" in note
    assert all(f"over {size} tests" in note for size in sizes)


def test_a_switch_that_does_nothing_counts_and_a_constant_gain_does_not(out):
    base = {s: (10 + s, 20 + s * s, 30 - s) for s in range(3)}
    grid = {
        "r0": base,
        "same": base,
        "plus": {s: tuple(x + 0.1 for x in v) for s, v in base.items()},
        "free": {0: (11, 25, 33), 1: (12.5, 22, 31), 2: (13.2, 27, 29)},
    }
    table = build_table(written(out, Made(grid), smallest_effect=0.5))
    rows = {row.name: row.cells["Mean"] for row in table.rows}
    assert (rows["same"].p, rows["same"].delta, rows["same"].heat, rows["same"].ci) == (1, 0, None, None)
    assert (rows["plus"].p, rows["plus"].p_adjusted, rows["plus"].significant) == (None, None, False)
    assert rows["plus"].delta == pytest.approx(0.1)
    assert rows["free"].p_adjusted == pytest.approx(2 * rows["free"].p)
    assert [f.size for f in table.families] == [2, 6]
    assert any("Every seed shows the same Δ (plus in V, plus in N" in note for note in table.notes)
    assert any("The rows r0, same have the same scores" in note for note in table.notes)
    assert (rows["same"].seeds_needed, rows["plus"].seeds_needed) == (None, None)
    assert rows["free"].seeds_needed <= rows["free"].seeds_needed_upper
    assert not any("10,000" in note for note in table.notes)


# --- colours and notes ------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(grid=grids, smaller=st.sets(st.sampled_from(SUBSETS)))
def test_heat_grows_with_delta_and_knows_the_direction(out, grid, smaller):
    table = build_table(written(out, Made(grid, info={c: {"direction": "min"} for c in smaller})))
    steps = []
    for row in table.rows:
        for column, cell in row.cells.items():
            if not cell.delta:
                assert cell.heat is None
                continue
            better = (cell.delta > 0) == (column not in smaller)
            assert cell.heat in (GAIN if better else LOSS)
            steps.append((abs(cell.delta), (GAIN if better else LOSS).index(cell.heat)))
    for (one, strength), (other, stronger) in zip(sorted(steps), sorted(steps)[1:], strict=False):
        assert one <= other
        assert strength <= stronger
    assert not steps or max(steps)[1] == 3


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=4),
    decimals=st.sampled_from([0, 2]),
)
def test_a_delta_that_print_does_not_show_is_told(out, pairs, decimals):
    assume(all(a != b for a, b in pairs))
    grid = {"r0": {}, "r1": {}}
    for seed, (a, b) in enumerate(pairs):
        grid["r0"][seed], grid["r1"][seed] = (a, a, a), (b, b, b)
    table = build_table(written(out, Made(grid), n_decimals=decimals))
    base, row = (r.cells for r in table.rows)
    differing = defaultdict(list)
    for column in COLUMNS:
        shown = float(f"{row[column].mean:.{decimals}f}") - float(f"{base[column].mean:.{decimals}f}")
        if abs(shown - float(f"{row[column].delta:.{decimals}f}")) > 0.1 * 10**-decimals:
            differing["r1"].append(column)
    told = [note for note in table.notes if note.startswith("Δ is computed from unrounded scores")]
    assert len(told) == bool(differing)
    if differing:
        assert f"r1: {', '.join(differing['r1'])}" in told[0]
        assert f"In {len(differing['r1'])} cell" in told[0]


def test_per_row_baselines_are_their_own_tests(out):
    bases = {"r0": "r0", "r1": "r0", "r2": "r2", "r3": "r2"}
    table = build_table(written(out, Made(FOUR, baseline=bases)))
    assert table.baseline is None
    assert [f.size for f in table.families] == [2, 6]
    frame = frame_of(FOUR)
    cell = table.rows[3].cells["Mean"]
    want = stats.ttest_rel(frame.loc["r3"]["Mean"], frame.loc["r2"]["Mean"])
    assert cell.p == pytest.approx(want.pvalue)


def test_planning_speaks_of_the_seeds_there_are(out):
    (note,) = [n for n in build_table(written(out, Made(FOUR))).notes if n.startswith("With 5 paired seeds")]
    assert "from 1.7 standard deviations" in note  # definitions, section 11
    assert "from 2.3 in Mean" in note
    ten = {r: {s: (v[0][0] + s % 3, v[0][1] + s, v[0][2]) for s in range(10)} for r, v in FOUR.items()}
    assert not any("paired seeds a Δ" in note for note in build_table(written(out, Made(ten))).notes)


def test_two_seeds_and_thousands_of_cells_end(out):
    """A family so large that its first step is beyond what scipy's noncentral t distribution can do."""
    columns = tuple(f"c{i}" for i in range(1500))
    stream = np.random.default_rng(0)
    grid = {f"r{i}": {s: tuple(stream.normal(50, 1, 1500)) for s in range(2)} for i in range(5)}
    made = Made(grid, columns=columns, info={c: {"subset": False} for c in columns})
    table = build_table(written(out, made, smallest_effect=0.5))
    assert [f.size for f in table.families] == [6000]
    assert any(note.startswith("With 2 paired seeds") for note in table.notes)
    assert all(len(note) < 2000 for note in table.notes)
