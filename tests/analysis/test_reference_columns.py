"""Columns about the teachers of rows: means alone, in no family; rows without a teacher; several teachers a seed."""

from __future__ import annotations

import json

import classification_samples as samples
import numpy as np
import pytest
from scipy import stats

from mmablate.analysis.building import build_table
from mmablate.analysis.claims import check_claims
from mmablate.analysis.comparing import compare
from mmablate.analysis.details import load_details
from mmablate.analysis.effects import effect_tables, view_tables
from mmablate.analysis.table import ColumnInfo, Table
from mmablate.results import RunError, RunRecord

SEEDS = (0, 1, 2, 3)


@pytest.fixture
def table(tmp_path) -> Table:
    return build_table(samples.write(tmp_path))


def row_of(table: Table, name: str):
    return next(row for row in table.rows if row.name == name)


def test_reference_columns_have_means_and_nothing_else(table) -> None:
    for row in table.rows:
        gamma, method = row.name.split("+")
        for column in ("Teacher", "Tag"):
            cell = row.cells[column]
            expected = [samples.scores(gamma, method, seed).get(column) for seed in SEEDS]
            if None in expected:
                assert cell.mean is None
                assert cell.values == {}
            else:
                assert cell.mean == pytest.approx(np.mean(expected))
                assert cell.std == pytest.approx(np.std(expected, ddof=1))
            judged = (cell.delta, cell.test, cell.ci, cell.p, cell.p_adjusted, cell.n_pairs, cell.heat)
            assert judged == (None,) * 7
            assert (cell.best, cell.tied, cell.significant) == (False,) * 3


def test_the_student_is_tested_against_no_kd_at_its_gamma(table) -> None:
    p_values = {}
    for row in table.rows:
        gamma, method = row.name.split("+")
        own, base = ([samples.scores(gamma, m, s)["Acc"] for s in SEEDS] for m in (method, "no_kd"))
        cell = row.cells["Acc"]
        if method == "no_kd":
            assert cell.delta is None
        else:
            assert cell.delta == pytest.approx(np.mean(np.subtract(own, base)))
            p_values[row.name] = stats.ttest_rel(own, base).pvalue
            assert cell.p == pytest.approx(p_values[row.name])
    assert len(p_values) == 8
    # Holm over these eight alone: the columns about teachers are in no family.
    ordered = sorted(p_values, key=p_values.__getitem__)
    running = np.maximum.accumulate([min(1, p_values[n] * (8 - i)) for i, n in enumerate(ordered)])
    for name, expected in zip(ordered, running, strict=True):
        assert row_of(table, name).cells["Acc"].p_adjusted == pytest.approx(expected)
    assert [(f.columns, f.size) for f in table.families] == [(("Acc",), 8)]
    assert table.primary == "Acc"


@pytest.mark.parametrize("family", ["table", "column"])
@pytest.mark.parametrize("primary", [None, "Acc", "Teacher"])
def test_whatever_the_families_are_reference_columns_are_in_none(tmp_path, primary, family) -> None:
    layout = {"significance": {"primary": primary, "family": family}}
    table = build_table(samples.write(tmp_path, table=layout))
    assert [f.columns for f in table.families] == [("Acc",)]


def test_a_row_without_a_teacher_lacks_nothing(table) -> None:
    assert all(row.status == "ok" for row in table.rows)
    assert not any("no value" in note for note in table.notes)


def test_a_run_that_lacks_what_its_row_has_is_told(tmp_path) -> None:
    lame = samples.record("1+focus-2", 2, row="1+focus", role="student", metrics={"Acc": 61.0, "Teacher": 80.0})
    table = build_table(samples.write(tmp_path, replaced=[lame]))
    assert [note for note in table.notes if "no value" in note] == ["Some runs have no value for Tag: 1+focus."]


def test_json_says_which_columns_are_references(table) -> None:
    written = table.to_json_dict()
    assert written["column_info"]["Teacher"]["reference"] is True
    assert "reference" not in written["column_info"]["Acc"]
    assert written["rows"][0]["cells"]["Teacher"]["mean"] is None
    assert Table.model_validate(written) == table
    assert ColumnInfo().reference is False


def test_several_teachers_a_seed_and_pairs_count_in_no_row(tmp_path) -> None:
    store = samples.write(tmp_path)
    table = build_table(store)
    assert [row.name for row in table.rows] == [f"{g}+{m}" for g in samples.GAMMAS for m in samples.METHODS]
    assert {row.n_seeds for row in table.rows} == {4}
    assert not any("Left out" in note or "another run" in note for note in table.notes)
    details = load_details(store)
    assert details.n_runs == 4 * (12 + 8)


def test_a_pair_that_names_a_row_counts_in_none(tmp_path) -> None:
    store = samples.write(tmp_path)
    stray = samples.record("stray", 9, row="1+kd", role="pair", metrics={"Acc": 1.0})
    folder = store.run_folder("stray")
    folder.mkdir()
    (folder / "record.json").write_text(stray.model_dump_json())
    assert row_of(build_table(store), "1+kd").n_seeds == 4
    assert RunRecord.model_validate(stray.model_dump()).role == "pair"


def test_a_failed_pair_is_told_by_its_role(tmp_path) -> None:
    error = RunError(type="Boom", message="it broke", step=3)
    broken = samples.record("pair-1-2", 2, role="pair", status="failed", error=error)
    details = load_details(samples.write(tmp_path, replaced=[broken]))
    assert [(f.row, f.seeds) for f in details.failures] == [("teacher and student, trained jointly", (2,))]


def test_no_teacher_row_can_tell_of_several_teachers_a_seed(tmp_path) -> None:
    table = build_table(samples.write(tmp_path, table={"teacher_row": True}))
    assert not any(row.reference for row in table.rows)
    assert "The teacher is not shown as a row: a seed has up to 4 of them." in table.notes
    single = build_table(samples.write(tmp_path / "one", gammas=["1"], table={"teacher_row": True}))
    assert [(row.name, row.label) for row in single.rows if row.reference] == [("teacher", "teacher")]


def test_rows_that_differ_in_their_teacher_alone_are_told_to_be_alike(tmp_path) -> None:
    def alike(gamma: str, method: str, seed: int) -> dict[str, float]:
        found = samples.scores(gamma, method, seed)
        return {**found, "Acc": 60.0 + seed} if gamma in ("0", "1") and method == "kd" else found

    table = build_table(samples.write(tmp_path, metrics=alike))
    said = "The rows 0+kd, 1+kd have the same scores to the last digit: their difference may do nothing."
    assert said in table.notes


def test_effects_are_of_the_rows_and_not_of_their_teachers(table) -> None:
    tables = effect_tables(table)
    assert tables
    for one in tables:
        assert one.columns == ("Acc",)
        assert [f.columns for f in one.families] == [("Acc",)]
    main = next(one for one in tables if "main" in one.title)
    found = row_of(main, "method:kd").cells["Acc"].delta
    by_seed = [
        np.mean([samples.scores(g, "kd", s)["Acc"] - samples.scores(g, "no_kd", s)["Acc"] for g in samples.GAMMAS])
        for s in SEEDS
    ]
    assert found == pytest.approx(np.mean(by_seed))
    assert view_tables(table, "add-one-in")[0].columns == ("Acc", "Teacher", "Tag")


def test_comparing_leaves_the_teachers_out(table) -> None:
    assert {pair.column for pair in compare(table, table).pairs} == {"Acc"}


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ("1+kd > 0+kd by 5 on Teacher", "holds"),
        ("0+kd > 1+kd on Teacher", "contradicted"),
        ("1+focus > 90 on Tag", "holds"),
        ("1+focus > 99 on Tag", "contradicted"),
        ("Teacher rises with gamma for kd", "holds"),
        ("Teacher rises with gamma", "holds"),
        ("Teacher falls with gamma for focus", "contradicted"),
        ("Δ Acc rises with gamma for kd", "holds"),
    ],
)
def test_claims_about_teachers_are_tested(tmp_path, claim, outcome) -> None:
    # A teacher that differs by seed differs alike at each gamma here: its spread is made.
    def spread(gamma: str, method: str, seed: int) -> dict[str, float]:
        found = samples.scores(gamma, method, seed)
        if "Teacher" in found:
            found["Teacher"] += 0.2 * np.random.default_rng([seed, samples.GAMMAS.index(gamma)]).normal()
        return found

    (verdict,) = check_claims(build_table(samples.write(tmp_path, metrics=spread)), [claim])
    assert verdict.outcome == outcome, verdict


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("1+no_kd > 90 on Tag", "1+no_kd has no value in Tag, a column that describes some rows only"),
        ("1+kd > 1+no_kd on Teacher", "1+no_kd has no value in Teacher, a column that describes some rows only"),
        ("Δ Teacher rises with gamma for kd", "Teacher describes rows: it has no Δ"),
        ("1+focus > 1+kd on Δ Teacher", "Teacher describes rows: it has no Δ"),
        ("Tag rises with gamma for kd", "'gamma' has fewer than two numeric levels among the rows 'kd' that have a "
         "value in Tag"),
    ],
)  # fmt: skip
def test_claims_about_absent_cells_are_undecided_and_say_why(table, claim, reason) -> None:
    (verdict,) = check_claims(table, [claim])
    assert (verdict.outcome, verdict.reason) == ("undecided", reason)


def test_conditions_of_an_accuracy_say_nothing_of_iou(tmp_path) -> None:
    store = samples.write(tmp_path, table={"conditions": {"sex": ["female", "male"]}})
    table = build_table(store, condition="female")
    assert not any("IoU" in note for note in table.notes)


def test_the_validation_curve_is_of_the_rows_wherever_the_columns_stand(tmp_path) -> None:
    store = samples.write(tmp_path, table={"columns": ["Teacher", "Acc", "Tag"]})
    for seed in SEEDS:
        lines = [
            {"epoch": epoch, "losses": {"ce": 1.0}, "val": {"Acc": 50.0 + seed, "Teacher": 99.0}} for epoch in (1, 2)
        ]
        (store.run_folder(f"1+focus-{seed}") / "history.jsonl").write_text("\n".join(map(json.dumps, lines)))
    training = load_details(store).training
    assert training.validation.name == "Acc"
    assert training.validation.courses[0].points[0].mean == 51.5


def test_one_epoch_is_no_curve(tmp_path) -> None:
    store = samples.write(tmp_path)
    for seed in SEEDS:
        line = {"epoch": 1, "losses": {"ce": 1.0}, "val": {"Acc": 50.0}}
        (store.run_folder(f"1+focus-{seed}") / "history.jsonl").write_text(json.dumps(line))
    assert load_details(store).training is None


def test_what_pairs_used_is_told_apart_from_teachers(tmp_path) -> None:
    used = samples.record("pair-1-2", 2, role="pair", environment={"device": "cpu", "peak_memory_mb": 120.0})
    uses = load_details(samples.write(tmp_path, replaced=[used])).uses
    assert [(use.row, use.peak_memory_mb) for use in uses] == [("teacher and student, trained jointly", 120.0)]


def test_teachers_are_not_compared_where_row_and_baseline_have_one(tmp_path) -> None:
    table = build_table(samples.write(tmp_path), baseline="0+kd")
    assert row_of(table, "1+kd").cells["Acc"].delta is not None
    for row in table.rows:
        for column in ("Teacher", "Tag"):
            cell = row.cells[column]
            assert (cell.delta, cell.test, cell.ci, cell.p, cell.heat) == (None,) * 5
    assert [(f.columns, f.size) for f in table.families] == [(("Acc",), 11)]
