"""Claims put to the test: outcome and p of every form against scipy, the family, and what cannot be tested."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_samples import Made
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis.claims import check_claims, check_study
from mmablate.analysis.table import Cell, ColumnInfo, Row, Table
from mmablate.errors import StoreError

STREAM = np.random.default_rng(0)


def table_of(scores, *, level=None, levels=None, baseline="r0", column="Mean", reference=()):
    """One column: row -> scores of the seeds 0, 1, ... (or seed -> score)."""
    rows = []
    for name, some in scores.items():
        values = some if isinstance(some, dict) else {str(i): float(v) for i, v in enumerate(some)}
        rows.append(
            Row(
                name=name, label=name, n_seeds=len(values), reference=name in reference,
                baseline=None if name in reference else baseline if isinstance(baseline, str) else baseline.get(name),
                level=(level or {}).get(name, {}), levels=(levels or {}).get(name, {}),
                cells={column: Cell(values=values)},
            )
        )  # fmt: skip
    return Table(schema=1, study="made", columns=(column,), column_info={column: ColumnInfo(unit="%")}, rows=rows)


def verdict(table, claim):
    (found,) = check_claims(table, [claim])
    return found


A, B = STREAM.normal(41, 1, 6), STREAM.normal(40, 1, 6)
PAIR = table_of({"A": A, "B": B})
exact = {"rel": 1e-9, "abs": 1e-12}


# --- each form --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("sign", "alternative", "opposite"), [(">", "greater", "less"), ("<", "less", "greater")])
def test_a_comparison_is_the_one_sided_paired_test(sign, alternative, opposite, margin):
    found = verdict(PAIR, f"A {sign} B by {margin} on Mean")
    moved = margin if sign == ">" else -margin
    want = stats.ttest_1samp(A - B, moved, alternative=alternative)
    against = stats.ttest_1samp(A - B, moved, alternative=opposite)
    assert found.p == pytest.approx(want.pvalue, **exact)
    assert found.p_against == pytest.approx(against.pvalue, **exact)
    assert (found.test, found.n_seeds, found.unit, found.reason) == ("paired", 6, "%", "")
    assert found.estimate == pytest.approx(np.mean(A - B))
    assert found.ci == pytest.approx(tuple(stats.ttest_rel(A, B).confidence_interval(0.95)), **exact)
    expected = "holds" if want.pvalue < 0.05 else "contradicted" if against.pvalue < 0.05 else "undecided"
    assert found.outcome == expected


def test_a_comparison_with_a_number_is_the_one_sample_test():
    for text, at, alternative in (("A > 40 on Mean", 40, "greater"), ("A < 42 by 0.5 on Mean", 41.5, "less")):
        found = verdict(PAIR, text)
        assert found.p == pytest.approx(stats.ttest_1samp(A, at, alternative=alternative).pvalue, **exact)
        assert (found.test, found.n_seeds) == ("one sample", 6)
    assert verdict(PAIR, "A > 40 on Mean").estimate == pytest.approx(np.mean(A) - 40)


@pytest.mark.parametrize("margin", [0.1, 1.5, 5.0])
@pytest.mark.parametrize("second", ["B", "40"])
def test_an_equivalence_is_two_one_sided_tests(second, margin):
    found = verdict(PAIR, f"A = {second} within {margin} on Mean")
    differences = A - B if second == "B" else A - 40
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below), **exact)
    # Two one-sided tests at 5 % are an interval of 90 % within the margin.
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert (found.outcome == "holds") == (-margin < low and high < margin)
    # Contradicted: outside, two-sided at 5 %.
    over = stats.ttest_1samp(differences, margin, alternative="greater").pvalue
    under = stats.ttest_1samp(differences, -margin, alternative="less").pvalue
    assert found.p_against == pytest.approx(min(1, 2 * min(over, under)), **exact)


def test_an_equivalence_far_outside_is_contradicted():
    far = table_of({"A": A + 50, "B": B})
    assert verdict(far, "A = B within 1 on Mean").outcome == "contradicted"
    assert verdict(far, "B = A within 1 on Mean").outcome == "contradicted"


def test_fewer_than_two_common_seeds_are_welchs_test():
    table = table_of({"A": {"0": 3.0, "1": 4.0, "2": 6.0}, "B": {"2": 1.0, "3": 1.5, "4": 0.5}})
    found = verdict(table, "A > B on Mean")
    want = stats.ttest_ind([3, 4, 6], [1, 1.5, 0.5], equal_var=False, alternative="greater")
    assert (found.p, found.test) == (pytest.approx(want.pvalue, **exact), "welch")


def test_common_seeds_are_paired_whatever_else_there_is():
    own = {str(i): float(v) for i, v in enumerate(A)}
    base = {str(i + 2): float(v) for i, v in enumerate(B)}
    found = verdict(table_of({"A": own, "B": base}), "A > B on Mean")
    want = stats.ttest_rel(A[2:], B[:4], alternative="greater")
    assert (found.p, found.n_seeds) == (pytest.approx(want.pvalue, **exact), 4)


def test_the_teacher_may_be_compared_with():
    table = table_of({"A": A, "teacher": B}, reference=("teacher",), baseline="A")
    assert verdict(table, "A > teacher on Mean").p == pytest.approx(
        stats.ttest_rel(A, B, alternative="greater").pvalue, **exact
    )
    assert verdict(table, "teacher < A on Mean").outcome == verdict(table, "A > teacher on Mean").outcome
    assert "teacher has no Δ" in verdict(table, "teacher > 0 on Δ Mean").reason


def test_delta_is_the_difference_to_each_rows_own_baseline():
    rows = {name: STREAM.normal(40, 1, 5) for name in ("r0", "r1", "q0", "q1")}
    table = table_of(rows, baseline={"r0": "r0", "r1": "r0", "q0": "q0", "q1": "q0"})
    found = verdict(table, "r1 > q1 on Δ Mean")
    gain, other = rows["r1"] - rows["r0"], rows["q1"] - rows["q0"]
    assert found.p == pytest.approx(stats.ttest_rel(gain, other, alternative="greater").pvalue, **exact)
    found = verdict(table, "q1 < 0.5 on Δ Mean")
    assert found.p == pytest.approx(stats.ttest_1samp(other, 0.5, alternative="less").pvalue, **exact)
    assert "r0 has no Δ: it is baseline" in verdict(table, "r0 > 0 on Δ Mean").reason.replace("the ", "")


# --- trends -----------------------------------------------------------------------------------------------

LEVELS = {"b=0": 0.0, "b=1": 1, "b=4": 4.0, "b=10": 10}
SWEPT = {name: STREAM.normal(40 + 0.1 * x, 0.4, 5) for name, x in LEVELS.items()}
SWEEP = table_of(SWEPT, level={name: {"b": x} for name, x in LEVELS.items()}, baseline="b=0")


def slopes(scores, xs):
    return [stats.linregress(xs, column).slope for column in np.array(scores).T]


@pytest.mark.parametrize(("verb", "alternative"), [("rises", "greater"), ("falls", "less")])
def test_a_trend_is_the_test_of_per_seed_slopes(verb, alternative):
    found = verdict(SWEEP, f"Mean {verb} with b")
    per_seed = slopes(list(SWEPT.values()), list(LEVELS.values()))
    assert found.p == pytest.approx(stats.ttest_1samp(per_seed, 0, alternative=alternative).pvalue, **exact)
    assert found.estimate == pytest.approx(np.mean(per_seed), **exact)
    assert (found.test, found.n_seeds) == ("slope", 5)
    assert found.outcome == ("holds" if verb == "rises" else "contradicted")


def test_a_trend_of_delta_leaves_the_baseline_out():
    found = verdict(SWEEP, "Δ Mean rises with b")
    gains = [SWEPT[name] - SWEPT["b=0"] for name in list(SWEPT)[1:]]
    per_seed = slopes(gains, list(LEVELS.values())[1:])
    assert found.p == pytest.approx(stats.ttest_1samp(per_seed, 0, alternative="greater").pvalue, **exact)


def test_a_trend_over_factor_levels_among_some_rows():
    names = [f"{method}+{drop}" for method in ("late", "early") for drop in ("0.1", "0.3", "0.9")]
    rows = {name: STREAM.normal(40, 1, 5) for name in names}
    levels = {name: dict(zip(("fusion", "drop"), name.split("+"), strict=True)) for name in names}
    table = table_of(rows, levels=levels, baseline="late+0.1")
    xs = [0.1, 0.3, 0.9]
    for pattern in ("late", "late*", "l?te", "late+*"):
        found = verdict(table, f"Mean rises with drop for {pattern}")
        per_seed = slopes([rows[name] for name in names[:3]], xs)
        assert found.p == pytest.approx(stats.ttest_1samp(per_seed, 0, alternative="greater").pvalue, **exact)
    everything = verdict(table, "Mean rises with drop")
    per_seed = slopes(list(rows.values()), xs * 2)
    assert everything.p == pytest.approx(stats.ttest_1samp(per_seed, 0, alternative="greater").pvalue, **exact)
    assert (
        "'drop' has fewer than two numeric levels among the rows 'nope'"
        in verdict(table, "Mean rises with drop for nope").reason
    )
    assert "'fusion' has fewer than two numeric levels" in verdict(table, "Mean rises with fusion").reason


def test_a_trend_counts_the_seeds_that_every_row_has():
    scores = {name: {str(i): float(v) for i, v in enumerate(some)} for name, some in SWEPT.items()}
    del scores["b=4"]["3"]
    table = table_of(scores, level={name: {"b": x} for name, x in LEVELS.items()}, baseline="b=0")
    found = verdict(table, "Mean rises with b")
    per_seed = slopes([np.delete(some, 3) for some in SWEPT.values()], list(LEVELS.values()))
    assert (found.n_seeds, found.p) == (4, pytest.approx(stats.ttest_1samp(per_seed, 0, alternative="greater").pvalue))


@pytest.mark.parametrize("odd", [True, None, "wide", "nan", "inf", float("inf"), float("nan"), "1e999", 10**400])
def test_levels_that_are_no_numbers_are_left_out_of_a_trend(odd):
    rows = {"a": [1, 2, 4], "b": [2, 3, 7], "c": [9, 9, 1], "teacher": [50, 40, 90]}
    level = {"a": {"x": 1}, "b": {"x": 2.5}, "c": {"x": odd}, "teacher": {"x": 7}}
    table = table_of(rows, level=level, baseline="a", reference=("teacher",))
    found = verdict(table, "Mean rises with x")
    assert found.reason == ""
    want = stats.ttest_1samp(slopes([rows["a"], rows["b"]], [1, 2.5]), 0, alternative="greater")
    assert found.p == pytest.approx(want.pvalue, **exact)
    json.dumps(vars(found), allow_nan=False)


# --- the family -------------------------------------------------------------------------------------------


def holm(p_values):
    """The textbook way: multiply by m, m-1, ... from the smallest, and never fall."""
    adjusted, largest = {}, 0.0
    for rank, (index, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


means = st.floats(-3, 3).map(lambda x: round(x, 2))


@settings(max_examples=80, deadline=None)
@given(shifts=st.lists(means, min_size=2, max_size=6), seed=st.integers(0, 10**6))
def test_all_claims_are_one_family(shifts, seed):
    stream = np.random.default_rng(seed)
    rows = {f"r{i}": stream.normal(shift, 1, 4) for i, shift in enumerate(shifts)}
    claims = [f"r{i} > r{j} on Mean" for i in range(len(shifts)) for j in range(i)]
    claims = [*claims, "r0 = r1 within 2 on Mean", "r0 > 0 on Mean"]
    found = check_claims(table_of(rows), [*claims, "nobody > r0 on Mean"])
    assert (found[-1].outcome, found[-1].p_adjusted) == ("undecided", None)
    for_it = holm({i: v.p for i, v in enumerate(found[:-1])})
    against = holm({i: v.p_against for i, v in enumerate(found[:-1])})
    for i, one in enumerate(found[:-1]):
        assert one.claim == claims[i]
        assert one.p_adjusted == pytest.approx(for_it[i])
        assert one.p_against_adjusted == pytest.approx(against[i])
        assume(min(abs(for_it[i] - 0.05), abs(against[i] - 0.05)) > 1e-9)
        wanted = "holds" if for_it[i] < 0.05 else "contradicted" if against[i] < 0.05 else "undecided"
        assert one.outcome == wanted


def test_a_claim_that_holds_alone_may_be_undecided_among_many():
    table = table_of({"A": [1, 2.2, 2.9], "B": [0, 0.5, 1.9], "C": [0.4, 3, 1.2]})
    claim = "A > B on Mean"
    assert verdict(table, claim).outcome == "holds"
    many = check_claims(table, [claim, *["A > C on Mean"] * 5])
    assert many[0].outcome == "undecided"
    assert many[0].p == verdict(table, claim).p


# --- what cannot be tested --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("A > B on F1", "no column is called 'F1' (there are: Mean)"),
        ("A > X on Mean", "no row is called 'X', or it has no runs (there are: A, B, one, none)"),
        ("X rises with b for A", "no column is called 'X'"),
        ("Mean rises with b", "'b' has fewer than two numeric levels"),
        ("one > A on Mean", "one has 1 seed: a test needs two"),
        ("A > one on Mean", "one has 1 seed: a test needs two"),
        ("one > 5 on Mean", "one has 1 seed: a test needs two"),
        ("none > 5 on Mean", "none has no seeds: a test needs two"),
        ("none = A within 5 on Mean", "none has no seeds: a test needs two"),
    ],
)
def test_what_cannot_be_tested_is_undecided_and_says_why(claim, reason):
    table = table_of({"A": A, "B": B, "one": [3.0], "none": []})
    found = verdict(table, claim)
    assert found.outcome == "undecided"
    assert reason in found.reason
    assert (found.p, found.p_adjusted, found.estimate, found.ci) == (None,) * 4


@pytest.mark.parametrize("claim", ["A > B on Mean", "A = B within 9 on Mean", "A > 5 on Mean", "Mean rises with x"])
@pytest.mark.parametrize("step", [0.0, 0.1])
def test_without_spread_there_is_no_test(claim, step):
    base = [43.71, 43.71, 43.71]
    level = {"A": {"x": 1}, "B": {"x": 2}}
    table = table_of({"A": [v + step for v in base], "B": base}, level=level)
    found = verdict(table, claim)
    assert (found.outcome, found.p, found.ci) == ("undecided", None, None)
    assert "every seed shows the same value" in found.reason


def test_noise_of_rounding_is_no_evidence():
    base = [43.71, 12.3, 0.7]
    table = table_of({"A": [v + 0.1 for v in base], "B": base}, level={"A": {"x": 0.3}, "B": {"x": 0.1}})
    for claim in ("A > B on Mean", "Mean rises with x", "A = B within 5 on Mean"):
        assert verdict(table, claim).p is None


def test_another_text_is_a_value_error():
    with pytest.raises(ValueError, match="'A beats B': a claim has one of the forms"):
        check_claims(PAIR, ["A beats B"])


# --- a study ----------------------------------------------------------------------------------------------

GRID = {
    "r0": {s: (10 + s, 20, 30 + 2 * s) for s in range(4)},
    "r1": {s: (15 + s + 0.1 * s * s, 24, 33 + s) for s in range(4)},
}


def study(tmp_path, claims, sweep=None, layout=None, name="made", teacher=None):
    made = Made(GRID, further={"recipe": {"claims": claims, "sweep": sweep or {}}}, teacher=teacher)
    store = made.write(tmp_path, name)
    value = made.study()
    value["table"] |= layout or {}
    (store.folder / "study.json").write_text(json.dumps(value))
    return store


def test_a_study_is_checked_with_the_claims_of_its_recipe(tmp_path):
    checked = check_study(study(tmp_path, ["r1 > r0 on V", "r0 > r1 on N", "r1 > r0 on VN"], teacher={0: (1, 2, 3)}))
    assert [v.claim for v in checked.verdicts] == ["r1 > r0 on V", "r0 > r1 on N", "r1 > r0 on VN"]
    want = stats.ttest_rel([15, 16.1, 17.4, 18.9], [10, 11, 12, 13], alternative="greater").pvalue
    assert checked.verdicts[0].p == pytest.approx(want)
    assert not checked.all_hold
    assert checked.to_json_dict().keys() >= {"schema", "study", "synthetic", "all_hold", "claims"}
    assert check_study(study(tmp_path / "b", ["r1 > r0 on V"])).all_hold


def test_a_claim_about_the_sweep_is_not_about_the_table_and_the_other_way(tmp_path):
    claims = ["r1 > r0 on V", "Mean rises with beta", "beta=1 > beta=0 on V"]
    of_table = check_study(study(tmp_path / "a", claims, sweep={"beta": {}}))
    assert [v.claim for v in of_table.verdicts] == ["r1 > r0 on V"]
    assert of_table.n_elsewhere == 2
    rows = [{"name": f"beta={i}", "values": {"beta": i}, "baseline": "beta=0"} for i in range(2)]
    layout = {"rows": rows, "sweep": {"parameters": ["beta"], "symbols": ["β"], "used": [None]}}
    of_sweep = check_study(study(tmp_path / "b", claims, sweep={"beta": {}}, layout=layout))
    assert [v.claim for v in of_sweep.verdicts] == claims[1:]
    assert of_sweep.n_elsewhere == 1


def test_a_claim_about_nothing_is_told(tmp_path):
    checked = check_study(study(tmp_path, ["typo > r0 on V", "V rises with typo"], sweep={"beta": {}}))
    assert [v.outcome for v in checked.verdicts] == ["undecided", "undecided"]
    assert "no row is called 'typo'" in checked.verdicts[0].reason


@pytest.mark.parametrize("claims", ["r1 > r0 on V", [5], {"a": 1}, ["r1 beats r0"]])
def test_claims_that_cannot_be_read_are_told(tmp_path, claims):
    with pytest.raises(StoreError, match=r"study\.json: recipe\.claims: "):
        check_study(study(tmp_path, claims))


# --- the command ------------------------------------------------------------------------------------------


def test_check_ends_with_0_where_all_hold(tmp_path, mmablate):
    store = study(tmp_path, ["r1 > r0 on V", "r1 > r0 by 1 on V"])
    done = mmablate("check", store.folder)
    assert (done.code, done.err) == (0, "")
    assert "2 holds" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(("claim", "outcome"), [("r0 > r1 on V", "contradicted"), ("r1 > r0 on N", "undecided")])
def test_check_ends_with_1_where_a_claim_does_not_hold(tmp_path, mmablate, claim, outcome):
    store = study(tmp_path, ["r1 > r0 on V", claim])
    done = mmablate("check", store.folder, "--format", "json")
    assert (done.code, done.err) == (1, "")
    document = json.loads(done.out)
    assert (document["schema"], document["study"], document["all_hold"]) == (1, "made", False)
    assert [c["outcome"] for c in document["claims"]] == ["holds", outcome]
    keys = {"claim", "outcome", "estimate", "ci", "p", "p_adjusted", "n_seeds", "test", "reason"}
    assert all(c.keys() >= keys for c in document["claims"])
    assert mmablate("check", store.folder).code == 1


def test_check_of_a_folder_checks_every_study_with_claims(tmp_path, mmablate):
    study(tmp_path / "out", ["r1 > r0 on V"], name="a")
    study(tmp_path / "out", [], name="b")
    done = mmablate("check", tmp_path / "out", "--format", "json")
    assert done.code == 0
    assert len(json.loads(done.out)["studies"]) == 1
    study(tmp_path / "out", ["r1 < r0 on V"], name="c")
    assert mmablate("check", tmp_path / "out").code == 1


def test_check_ends_with_2_where_there_is_nothing_to_check(tmp_path, mmablate):
    store = study(tmp_path / "out", [])
    done = mmablate("check", store.folder)
    assert (done.code, done.out) == (2, "")
    assert "no claims" in done.err
    for path in (tmp_path / "nowhere", tmp_path):
        done = mmablate("check", path)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
    (store.folder / "study.json").write_text("{")
    done = mmablate("check", store.folder)
    assert done.code == 2
    assert "study.json" in done.err
    assert "Traceback" not in done.err


# --- rows named by numbers, levels far apart ----------------------------------------------------------------


def test_a_row_that_is_called_by_a_number_is_a_row():
    table = table_of({"0": B, "10": A})
    rows = verdict(table, "10 > 0 on Mean")
    assert rows.test == "paired"
    assert rows.p == pytest.approx(stats.ttest_rel(A, B, alternative="greater").pvalue, **exact)
    assert verdict(table, "10 > 39.5 on Mean").test == "one sample"


@pytest.mark.parametrize("factor", [1e-140, 1.0, 1e140])
def test_a_trend_does_not_depend_on_the_unit_of_its_levels(factor):
    scores = {f"r{i}": STREAM.normal(40 + i, 1, 4) for i in range(3)}
    table = table_of(scores, level={f"r{i}": {"beta": i * factor} for i in range(3)})
    plain = table_of(scores, level={f"r{i}": {"beta": float(i)} for i in range(3)})
    found, same = verdict(table, "Mean rises with beta"), verdict(plain, "Mean rises with beta")
    assert found.p == pytest.approx(same.p, rel=1e-9)
    assert found.estimate == pytest.approx(same.estimate / factor, rel=1e-9)
