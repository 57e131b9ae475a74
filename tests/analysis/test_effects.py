"""Main effects, interactions and Shapley values against least squares and plain enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from analysis_samples import Made
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis import build_table
from mmablate.analysis.effects import effect_tables, view_tables
from mmablate.analysis.table import Cell, ColumnInfo, Row, Table
from mmablate.errors import UsageError

SEEDS = 4


def table_of(factors, scores, *, columns=("F",), terms=False, labels=True, keep=("sup",)):
    """A factorial: combination of levels -> (column, seed) scores; terms: levels are 0 and 1, rows lists of losses."""
    rows = []
    for point, some in scores.items():
        named = dict(zip(factors, point, strict=True))
        losses = (*keep, *(f for f, on in named.items() if on)) if terms else ()
        name = "+".join(losses if terms else map(str, point)) or "none"
        cells = {c: Cell(values={str(s): float(v) for s, v in enumerate(column) if not math.isnan(v)})
                 for c, column in zip(columns, np.atleast_2d(some), strict=True)}  # fmt: skip
        label = " + ".join(f"λ_{t}·L_{t}" for t in losses) if labels else name
        rows.append(Row(name=name, label=label, n_seeds=SEEDS, baseline="b", losses=losses, cells=cells,
                        levels={} if terms else {f: str(v) for f, v in named.items()}))  # fmt: skip
    info = {c: ColumnInfo() for c in columns}
    return Table(schema=1, study="made", title="Made", columns=columns, column_info=info, rows=rows, primary=None)


def random_scores(sizes, seed=0, columns=1):
    stream = np.random.default_rng(seed)
    return {point: stream.normal(40, 3, (columns, SEEDS)) for point in itertools.product(*map(range, sizes))}


def by_title(tables):
    return {table.title.rsplit(": ", 1)[1]: {row.name: row for row in table.rows} for table in tables}


def values(row, column="F"):
    return np.array([row.cells[column].values[str(s)] for s in range(SEEDS)])


# --- against least squares --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 4), seed=st.integers(0, 10**6))
def test_two_level_effects_are_those_of_effect_coding(k, seed):
    """With ±1 coding a main effect is twice the coefficient, a difference of differences four times."""
    factors = [f"f{i}" for i in range(k)]
    scores = random_scores([2] * k, seed)
    made = by_title(view_tables(table_of(factors, scores), "effects"))
    points = np.array(list(scores))
    coded = 2 * points - 1
    pairs = list(itertools.combinations(range(k), 2))
    higher = [c for size in range(3, k + 1) for c in itertools.combinations(range(k), size)]
    design = np.column_stack(
        [np.ones(len(points)), coded]
        + [coded[:, a] * coded[:, b] for a, b in pairs]
        + [np.prod(coded[:, list(c)], axis=1) for c in higher]
    )
    outcomes = np.array([some[0] for some in scores.values()])
    fitted = np.linalg.lstsq(design, outcomes, rcond=None)[0]
    for i in range(k):
        row = made["main effects"][f"f{i}:1"]
        assert values(row) == pytest.approx(2 * fitted[1 + i], abs=1e-9)
        want = stats.ttest_1samp(2 * fitted[1 + i], 0)
        cell = row.cells["F"]
        assert cell.p == pytest.approx(want.pvalue, rel=1e-7)
        assert cell.ci == pytest.approx(tuple(want.confidence_interval(0.95)), abs=1e-9)
        assert (cell.mean, cell.test, cell.n_pairs) == (None, "paired", SEEDS)
    for index, (a, b) in enumerate(pairs):
        row = made["pairwise interactions"][f"f{a}:1×f{b}:1"]
        assert values(row) == pytest.approx(4 * fitted[1 + k + index], abs=1e-9)


def test_effects_of_three_levels_are_against_the_first_one():
    scores = random_scores([3, 2], 5)
    made = by_title(view_tables(table_of(["a", "b"], scores), "effects"))
    assert set(made) == {"main effects", "pairwise interactions"}  # Shapley needs absent and present
    grid = np.array([scores[point][0] for point in scores]).reshape(3, 2, SEEDS)
    for level in (1, 2):
        wanted = (grid[level] - grid[0]).mean(axis=0)
        assert values(made["main effects"][f"a:{level}"]) == pytest.approx(wanted)
        wanted = (grid[level, 1] - grid[level, 0]) - (grid[0, 1] - grid[0, 0])
        assert values(made["pairwise interactions"][f"a:{level}×b:1"]) == pytest.approx(wanted)
    assert values(made["main effects"]["b:1"]) == pytest.approx((grid[:, 1] - grid[:, 0]).mean(axis=0))
    assert list(made["main effects"]) == ["a:1", "a:2", "b:1"]
    assert made["main effects"]["a:2"].label == "a: 2 − 0"


# --- Shapley ----------------------------------------------------------------------------------------------


def shapley(scores, k):
    """By walking through every order in which the factors can be added."""
    total = np.zeros((k, SEEDS))
    for order in itertools.permutations(range(k)):
        point = [0] * k
        for factor in order:
            before = scores[tuple(point)][0]
            point[factor] = 1
            total[factor] += scores[tuple(point)][0] - before
    return total / math.factorial(k)


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 4), seed=st.integers(0, 10**6))
def test_shapley_values_are_averages_over_all_orders(k, seed):
    scores = random_scores([2] * k, seed)
    made = by_title(view_tables(table_of([f"t{i}" for i in range(k)], scores, terms=True), "effects"))
    rows = made["Shapley contributions"]
    wanted = shapley(scores, k)
    for i in range(k):
        assert values(rows[f"t{i}"]) == pytest.approx(wanted[i], abs=1e-9)
    total = sum(values(row) for row in rows.values())
    assert total == pytest.approx(scores[(1,) * k][0] - scores[(0,) * k][0], abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(shares=st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=2, max_size=4))
def test_additive_scores_have_no_interactions(shares):
    """Up to rounding: and rounding is no significant interaction."""
    base = np.array([41.3, 39.97, 43.71, 40.1])
    scores = {
        p: base + sum(s for s, on in zip(shares, p, strict=True) if on)
        for p in itertools.product((0, 1), repeat=len(shares))
    }
    made = by_title(view_tables(table_of([f"t{i}" for i in range(len(shares))], scores, terms=True), "effects"))
    for row in made["pairwise interactions"].values():
        cell = row.cells["F"]
        assert (cell.delta, cell.p, cell.heat, cell.significant) == (0, 1, None, False)
    for share, row in zip(shares, made["Shapley contributions"].values(), strict=True):
        cell = row.cells["F"]
        assert cell.delta == pytest.approx(share, abs=1e-9)
        assert cell.p == (1 if share == 0 else None)


def test_noise_is_measured_within_its_column():
    """A column of billions beside one of shares: the spread of the shares is no rounding."""
    scores = {p: np.array([[3e9 + 1e6 * s for s in range(SEEDS)], some[0] / 100]) for p, some in
              random_scores([2, 2], 3).items()}  # fmt: skip
    table = table_of(["a", "b"], scores, columns=("flops", "acc"))
    alone = table_of(["a", "b"], {p: v[1:] for p, v in scores.items()}, columns=("acc",))
    tiny = table_of(["a", "b"], {p: v * [[1], [1e-6]] for p, v in scores.items()}, columns=("flops", "acc"))
    for kind, rows in by_title(view_tables(table, "effects")).items():
        for name, row in rows.items():
            wanted = by_title(view_tables(alone, "effects"))[kind][name].cells["acc"].p
            assert row.cells["acc"].p == wanted
            assert by_title(view_tables(tiny, "effects"))[kind][name].cells["acc"].p == pytest.approx(wanted)


# --- the tables -------------------------------------------------------------------------------------------


def test_terms_are_labelled_as_the_rows_print_them():
    made = view_tables(table_of(["mad", "umd"], random_scores([2, 2]), terms=True), "effects")
    assert [row.label for row in made[0].rows] == ["λ_mad·L_mad", "λ_umd·L_umd"]
    assert [row.label for row in made[1].rows] == ["λ_mad·L_mad × λ_umd·L_umd"]
    assert made[0].row_header == "Term"
    plain = view_tables(table_of(["mad", "umd"], random_scores([2, 2]), terms=True, labels=False), "effects")
    assert [row.label for row in plain[0].rows] == ["L_mad", "L_umd"]


def test_each_table_of_effects_is_a_family_of_its_own():
    tables = view_tables(table_of(["a", "b", "c"], random_scores([2, 2, 2], columns=2), columns=("F", "E")), "effects")
    assert [sum(f.size for f in table.families) for table in tables] == [6, 6, 6]
    for table in tables:
        assert (table.kind, table.baseline) == ("effects", None)
        for row in table.rows:
            for cell in row.cells.values():
                assert (cell.best, cell.tied, cell.mean) == (False, False, None)
                assert cell.delta == pytest.approx(np.mean(list(cell.values.values())))
        assert any("contrasts" in note for note in table.notes)


def test_a_seed_counts_where_every_row_of_the_contrast_has_it():
    scores = random_scores([2, 2], 1)
    scores[0, 1][0, 2] = math.nan
    (main, *_) = view_tables(table_of(["a", "b"], scores), "effects")
    assert all(set(row.cells["F"].values) == {"0", "1", "3"} for row in main.rows)


@pytest.mark.parametrize("terms", [True, False])
def test_what_is_not_full_is_refused_with_what_lacks(terms):
    scores = random_scores([2, 2, 2])
    del scores[1, 0, 1], scores[0, 0, 1]
    table = table_of(["a", "b", "c"], scores, terms=terms)
    with pytest.raises(UsageError, match="no full factorial: 2 combinations have no row") as caught:
        view_tables(table, "effects")
    for point in ((1, 0, 1), (0, 0, 1)):
        name = "+".join(f for f, on in zip("abc", point, strict=True) if on) if terms else "+".join(map(str, point))
        assert name in str(caught.value)
    assert effect_tables(table) == []


def test_rows_that_are_no_combinations_are_refused():
    twice = [Row(name=n, label=n, n_seeds=1, losses=("sup",), cells={"F": Cell(values={"0": 1.0})}) for n in "ab"]
    table = Table(schema=1, study="made", columns=("F",), column_info={"F": ColumnInfo()}, rows=twice)
    for view in ("effects", "leave-one-out", "add-one-in"):
        with pytest.raises(UsageError, match="no combinations"):
            view_tables(table, view)
    with pytest.raises(UsageError, match="no combinations"):
        view_tables(table.model_copy(update={"rows": ()}), "effects")


# --- one at a time ----------------------------------------------------------------------------------------

TERMS = ("mad", "umd", "cmd")


def study(tmp_path, points, name, baseline):
    """Rows of three terms beside `sup`, scored as the factorial scores them."""
    stream = np.random.default_rng(8)
    everything = {p: {s: tuple(stream.normal(40, 2, 3)) for s in range(3)} for p in itertools.product((0, 1), repeat=3)}
    losses = {p: ["sup", *(t for t, on in zip(TERMS, p, strict=True) if on)] for p in points}
    made = Made({"+".join(losses[p]): everything[p] for p in points}, baseline="+".join(losses[baseline]))
    store = made.write(tmp_path, name)
    value = made.study()
    for row, p in zip(value["table"]["rows"], points, strict=True):
        row["losses"] = losses[p]
    import json

    (store.folder / "study.json").write_text(json.dumps(value))
    return build_table(store)


def cells(table):
    return {(row.name, c): cell.model_dump() for row in table.rows for c, cell in row.cells.items()}


@pytest.mark.parametrize(("view", "start"), [("leave-one-out", (1, 1, 1)), ("add-one-in", (0, 0, 0))])
def test_one_at_a_time_is_the_table_of_such_a_study(tmp_path, view, start):
    full = study(tmp_path, list(itertools.product((0, 1), repeat=3)), "full", (0, 0, 0))
    points = [start, *(tuple(1 - v if i == j else v for j, v in enumerate(start)) for i in range(3))]
    (made,) = view_tables(full, view)
    wanted = study(tmp_path, points, "small", start)
    assert cells(made) == cells(wanted)
    assert made.baseline == wanted.baseline
    assert made.families == wanted.families
    assert made.heat_scales == wanted.heat_scales
    assert [row.baseline for row in made.rows] == [wanted.baseline] * 4
    # The view of the small study itself is the small study.
    assert cells(view_tables(wanted, view)[0]) == cells(wanted)


@pytest.mark.parametrize("lost", [(0, 0, 0), (0, 0, 1), (0, 1, 0)])
def test_a_lost_row_does_not_turn_the_levels_round(lost):
    """What is full and what is empty does not follow from the first row that is left."""
    scores = random_scores([2, 2, 2])
    del scores[lost]
    (made,) = view_tables(table_of(["a", "b", "c"], scores), "leave-one-out")
    assert [row.name for row in made.rows] == ["1+1+1", "0+1+1", "1+0+1", "1+1+0"]


def test_with_three_levels_the_last_one_is_full_and_the_first_one_empty():
    table = table_of(["a", "b"], random_scores([3, 2]))
    assert [r.name for r in view_tables(table, "leave-one-out")[0].rows] == ["2+1", "0+1", "2+0"]
    assert [r.name for r in view_tables(table, "add-one-in")[0].rows] == ["0+0", "2+0", "0+1"]


def test_a_view_names_the_rows_it_lacks():
    scores = random_scores([2, 2, 2])
    del scores[1, 0, 1]
    table = table_of(["a", "b", "c"], scores, terms=True)
    with pytest.raises(UsageError, match=r"--view leave-one-out: made has no row a\+c"):
        view_tables(table, "leave-one-out")


def test_every_view_keeps_what_was_said_of_the_study():
    scores = random_scores((2, 2))
    said = ("One teacher serves all seeds.", "The last epoch is scored, on the test split.")
    table = table_of(("mad", "umd"), scores, terms=True).model_copy(update={"study_notes": said})
    for view in ("effects", "leave-one-out", "add-one-in"):
        for made in view_tables(table, view):
            assert set(said) <= set(made.notes)
            assert any("choice of the test samples" in note for note in made.notes)


def test_an_effect_without_spread_is_told():
    scores = {(a, b): [40 + a * 1.5] * SEEDS for a in (0, 1) for b in (0, 1)}
    table = view_tables(table_of(("mad", "umd"), scores, terms=True), "effects")[0]
    assert table.rows[0].cells["F"].p is None
    assert any("Every seed shows the same Δ (mad in F)" in note for note in table.notes)
