"""Tables against an independent computation, and every record that may lie in a study's folder."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
from analysis_samples import COLUMNS, SUBSETS, Made, add, expected_cells
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.analysis import build_table, load_tables
from mmablate.analysis.heat import GAIN, LOSS
from mmablate.errors import StoreError, UsageError

TWO = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: (5, 6, 7)}}


def row_of(table, name):
    (row,) = [row for row in table.rows if row.name == name]
    return row


def close(a, b):
    return (a is None and b is None) or (a is not None and b is not None and np.isclose(a, b, rtol=1e-9, atol=1e-9))


def assert_as_expected(table, made):
    for (row, column), want in expected_cells(made).items():
        cell = row_of(table, row).cells[column]
        assert close(cell.mean, want["mean"])
        assert close(cell.std, want["std"])
        assert close(cell.delta, want["delta"])
        assert cell.test == want["test"]
        assert set(cell.values) == set(want["values"])
        assert all(close(cell.values[seed], value) for seed, value in want["values"].items())


# --- against numpy ----------------------------------------------------------------------------------------

scores = st.floats(0, 100).map(lambda x: round(x, 3))
runs = st.none() | st.tuples(scores, scores, scores)
seeds = st.dictionaries(st.integers(0, 4), runs, min_size=1, max_size=4)
grids = st.lists(seeds, min_size=1, max_size=4).map(lambda some: {f"r{i}": row for i, row in enumerate(some)})


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


def fresh(out):
    shutil.rmtree(out / "made", ignore_errors=True)
    return out


@settings(max_examples=120, deadline=None)
@given(grid=grids, smaller=st.sets(st.sampled_from(SUBSETS)), order=st.randoms(use_true_random=False))
def test_a_table_is_what_numpy_makes_of_the_records(out, grid, smaller, order):
    made = Made(grid, info={column: {"direction": "min", "metric": "HD95"} for column in smaller})
    store = made.write(fresh(out))
    table = build_table(store)
    assert_as_expected(table, made)
    check_marks(table)
    check_form(table)
    # The order in which files were written, or are listed, changes nothing.
    turned = made.records()
    order.shuffle(turned)
    assert build_table(made.write(fresh(out), records=turned)) == table


def check_marks(table):
    """best and heat: by direction, one scale a metric, stronger for a larger |Δ|."""
    for column in table.columns:
        sign = 1 if table.column_info[column].direction == "max" else -1
        cells = [row.cells[column] for row in table.rows]
        means = [sign * cell.mean for cell in cells if cell.mean is not None]
        for cell in cells:
            wanted = cell.mean is not None and sign * cell.mean == max(means)
            assert cell.best == wanted
            assert (cell.heat is None) == (not cell.delta)
            if cell.heat:
                assert cell.heat in (GAIN if sign * cell.delta > 0 else LOSS)
    for metric in {info.metric for info in table.column_info.values()}:
        strengths = sorted(
            (abs(cell.delta), (*GAIN, *LOSS).index(cell.heat) % 4)
            for row in table.rows
            for column, cell in row.cells.items()
            if table.column_info[column].metric == metric and cell.heat
        )
        assert [step for _, step in strengths] == sorted(step for _, step in strengths)


def check_form(table):
    """What INTERFACE.md promises of every table, beyond the numbers."""
    document = json.loads(json.dumps(table.to_json_dict(), allow_nan=False))
    assert document["schema"] == 1
    assert set(document) >= {"study", "title", "baseline", "columns", "column_info", "dataset", "rows", "notes"}
    for row in document["rows"]:
        for column, cell in row["cells"].items():
            assert column in document["columns"]
            assert set(cell) >= {"mean", "std", "values", "delta", "test", "ci", "p", "p_adjusted", "significant"}
            assert set(cell) >= {"best", "tied", "heat"}
            assert cell["significant"] == (cell["p_adjusted"] is not None and cell["p_adjusted"] < 0.05)
            if len(cell["values"]) < 2:
                assert cell["std"] is None
                assert row["name"] == row["baseline"] or (cell["ci"], cell["p"], cell["p_adjusted"]) == (None,) * 3
            if row["name"] == row["baseline"]:
                assert (cell["delta"], cell["test"], cell["ci"], cell["p"], cell["heat"]) == (None,) * 5


def test_mean_is_taken_within_a_seed_first_whatever_a_record_says_of_it(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record("r1", 1, (5, 6, 7)).model_copy(update={"metrics": {"V": 5, "N": 6, "VN": 7, "Mean": 99.0}}))
    cell = row_of(build_table(store), "r1").cells["Mean"]
    assert cell.values == {"0": 2.0, "1": 6.0}
    assert (cell.mean, cell.std) == (4.0, np.sqrt(8))
    assert cell.delta == pytest.approx(((2 - 2) + (6 - 5)) / 2)


def test_mean_averages_subset_columns_alone(tmp_path):
    made = Made({"r0": {0: (1, 2, 90)}}, info={"VN": {"subset": False, "metric": "F1"}})
    assert row_of(build_table(made.write(tmp_path)), "r0").cells["Mean"].mean == 1.5


def test_a_seed_without_all_columns_has_no_mean(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record("r1", 1, (5, 6, 7)).model_copy(update={"metrics": {"V": 5}}))
    row = row_of(build_table(store), "r1")
    assert row.cells["Mean"].values == {"0": 2.0}
    assert row.cells["V"].values == {"0": 2.0, "1": 5.0}


def test_a_study_whose_metrics_are_columns_has_no_mean(tmp_path):
    info = {"accuracy": {"metric": "accuracy", "subset": False}}
    info["HD95"] = {"metric": "HD95", "unit": "mm", "direction": "min", "subset": False}
    made = Made(
        {"r0": {0: (90, 5), 1: (91, 6)}, "r1": {0: (92, 7), 1: (93, 4)}}, columns=("accuracy", "HD95"), info=info
    )
    table = build_table(made.write(tmp_path))
    assert_as_expected(table, made)
    check_marks(table)
    assert table.columns == ("accuracy", "HD95")
    assert {scale.metric for scale in table.heat_scales} == {"accuracy"}  # HD95: the same mean, no Δ
    assert row_of(table, "r0").cells["HD95"].best
    assert row_of(table, "r1").cells["HD95"].best


# --- seeds and failures -----------------------------------------------------------------------------------


def test_unequal_seeds_compare_over_the_common_ones_and_say_so(tmp_path):
    made = Made({"r0": {0: (1, 1, 1), 1: (2, 2, 2), 2: (9, 9, 9)}, "r1": {0: (3, 3, 3), 1: (3, 3, 3)}})
    table = build_table(made.write(tmp_path))
    assert row_of(table, "r1").cells["V"].delta == 1.5
    assert any("different seeds (r0: 0, 1, 2; r1: 0, 1)" in note for note in table.notes)


def test_fewer_than_two_common_seeds_are_not_paired_and_marked(tmp_path):
    made = Made({"r0": {0: (1, 1, 1), 1: (3, 3, 3)}, "r1": {1: (5, 5, 5), 2: (7, 7, 7)}})
    table = build_table(made.write(tmp_path))
    cell = row_of(table, "r1").cells["V"]
    assert (cell.delta, cell.test) == (4, "welch")
    assert any("not paired" in note for note in table.notes)


def test_one_seed_gives_a_delta_and_no_claim(tmp_path):
    made = Made({"r0": {3: (1, 1, 1)}, "r1": {3: (5, 5, 5)}})
    table = build_table(made.write(tmp_path))
    cell = row_of(table, "r1").cells["V"]
    assert (cell.mean, cell.std, cell.delta, cell.p, cell.ci, cell.significant) == (5, None, 4, None, None, False)
    assert any(note.startswith("One seed") for note in table.notes)
    assert row_of(table, "r1").n_seeds == 1


def test_failed_runs_are_told_and_the_others_count(tmp_path):
    made = Made({"r0": {0: (1, 1, 1), 1: (2, 2, 2)}, "r1": {0: None, 1: (5, 5, 5)}, "r2": {0: None, 1: None}})
    table = build_table(made.write(tmp_path))
    assert [row.status for row in table.rows] == ["ok", "partial", "failed"]
    assert [row.n_seeds for row in table.rows] == [2, 1, 0]
    assert row_of(table, "r1").errors == ("seed 0: Boom: it broke",)
    assert len(row_of(table, "r2").errors) == 2
    assert row_of(table, "r2").cells["V"].mean is None
    assert row_of(table, "r2").cells["V"].delta is None
    assert row_of(table, "r2").cells["V"].best is False
    assert row_of(table, "r2").seconds is None


def test_a_failed_baseline_leaves_no_delta(tmp_path):
    table = build_table(Made({"r0": {0: None}, "r1": {0: (1, 1, 1)}}).write(tmp_path))
    assert row_of(table, "r1").cells["V"].delta is None
    assert table.baseline == "r0"
    assert table.heat_scales == ()


def test_rows_that_are_not_trained_yet_are_named(tmp_path):
    made = Made(TWO)
    table = build_table(made.write(tmp_path, records=made.records()[:2]))
    assert [row.name for row in table.rows] == ["r0"]
    assert "Not trained yet: r1." in table.notes
    half = build_table(made.write(tmp_path / "half", records=made.records()[:3]))
    assert [row.status for row in half.rows] == ["ok", "partial"]
    none = build_table(made.write(tmp_path / "none", records=[]))
    assert none.rows == ()
    assert "Not trained yet: r0, r1." in none.notes


def test_seconds_and_parameters_are_fields_of_the_row(tmp_path):
    row = row_of(build_table(Made(TWO).write(tmp_path)), "r1")
    assert (row.seconds, row.n_parameters, row.flops) == (2.5, 10, None)


# --- baselines --------------------------------------------------------------------------------------------


def test_the_baseline_row_names_itself_and_has_no_delta(tmp_path):
    table = build_table(Made(TWO).write(tmp_path))
    assert table.baseline == "r0"
    assert [row.baseline for row in table.rows] == ["r0", "r0"]
    assert {cell.delta for cell in row_of(table, "r0").cells.values()} == {None}


def test_baselines_per_row_leave_the_table_without_one(tmp_path):
    grid = {**TWO, "r2": {0: (9, 9, 9), 1: (8, 8, 8)}, "r3": {0: (1, 2, 4), 1: (4, 2, 1)}}
    made = Made(grid, baseline={"r0": "r0", "r1": "r0", "r2": "r2", "r3": "r2"})
    table = build_table(made.write(tmp_path))
    assert table.baseline is None
    assert_as_expected(table, made)
    check_form(table)
    assert [row.baseline for row in table.rows] == ["r0", "r0", "r2", "r2"]


def test_another_baseline_on_the_command_line_is_that_of_every_row(tmp_path):
    made = Made(TWO, baseline={"r0": "r0", "r1": "r1"})
    table = build_table(made.write(tmp_path), baseline="r1")
    made.baseline = "r1"
    assert_as_expected(table, made)
    assert table.baseline == "r1"
    with pytest.raises(UsageError, match=r"--baseline nope: no row has that name \(there are: r0, r1\)"):
        build_table(made.write(tmp_path / "again"), baseline="nope")


def test_the_teachers_row_has_scores_and_nothing_else(tmp_path):
    made = Made(TWO, teacher={0: (99, 99, 99), 1: (97, 97, 97)})
    table = build_table(made.write(tmp_path))
    teacher = table.rows[-1]
    assert (teacher.name, teacher.reference, teacher.n_seeds, teacher.baseline) == ("teacher", True, 2, None)
    for cell in teacher.cells.values():
        assert cell.mean == 98
        assert cell.std == pytest.approx(np.sqrt(2))
        assert (cell.delta, cell.p, cell.ci, cell.p_adjusted, cell.heat) == (None,) * 5
        assert (cell.best, cell.tied, cell.significant) == (False, False, False)
    assert not any(row.reference for row in table.rows[:-1])
    assert_as_expected(table, made)
    plain = build_table(Made(TWO).write(tmp_path / "plain"))
    assert plain.rows == table.rows[:-1]


def test_teachers_are_no_row_where_the_recipe_does_not_say_so(tmp_path):
    made = Made(TWO, teacher={0: (99, 99, 99)})
    store = made.write(tmp_path)
    study = made.study()
    study["table"]["teacher_row"] = False
    (store.folder / "study.json").write_text(json.dumps(study))
    assert [row.name for row in build_table(store).rows] == ["r0", "r1"]


# --- what else may lie in the folder ----------------------------------------------------------------------


def test_the_plan_outranks_the_records_row(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    for record in made.records():
        add(store, record.model_copy(update={"row": "elsewhere", "study": "other"}))
    assert_as_expected(build_table(store), made)


def test_a_run_that_serves_two_rows_counts_in_both(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    study = made.study()
    study["plan"] = [{**entry, "rows": ["r0", "r1"]} for entry in study["plan"] if entry["run_id"].startswith("r0")]
    (store.folder / "study.json").write_text(json.dumps(study))
    for record in made.records()[2:]:
        (store.run_folder(record.run_id) / "record.json").unlink()
    table = build_table(store)
    assert row_of(table, "r1").cells["V"].values == row_of(table, "r0").cells["V"].values
    assert row_of(table, "r1").cells["V"].delta == 0
    assert row_of(table, "r1").cells["V"].heat is None


def test_further_valid_records_count_under_their_own_row_and_seed(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record("r1", 7, (9, 9, 9), "copied"))
    add(store, made.record("guest", 0, (4, 4, 4)))
    table = build_table(store)
    assert row_of(table, "r1").cells["V"].values == {"0": 2.0, "1": 5.0, "7": 9.0}
    assert row_of(table, "r1").n_seeds == 3
    guest = row_of(table, "guest")
    assert (guest.label, guest.baseline, guest.cells["V"].delta) == ("guest", "r0", 2)
    assert_as_expected(table, Made({"r0": TWO["r0"], "r1": {**TWO["r1"], 7: (9, 9, 9)}, "guest": {0: (4, 4, 4)}}))


def test_a_copied_run_never_pushes_a_planned_one_aside_and_is_named(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record("r1", 0, (50, 50, 50), "aaa"))
    table = build_table(store)
    assert_as_expected(table, made)
    assert "Left out: run aaa-0: the row r1 has another run of seed 0." in table.notes


def gone(run_id):
    return {"run_id": run_id, "role": "student", "seed": 0, "rows": [], "cells": {}, "depends_on": []}


def test_superseded_runs_do_not_count_and_more_seeds_do(tmp_path):
    made = Made(TWO, further={"superseded": [gone("old-0"), gone("old-5")]})
    store = made.write(tmp_path)
    add(store, made.record("r1", 0, (50, 50, 50), "old"))
    add(store, made.record("r1", 5, (50, 50, 50), "old"))
    add(store, made.record("r1", 6, (6, 6, 6), "new"))
    table = build_table(store)
    assert list(row_of(table, "r1").cells["V"].values) == ["0", "1", "6"]
    assert not any("old" in note for note in table.notes)


def test_a_foreign_teacher_is_no_row(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record(None, 0, (50, 50, 50), "someone"))
    assert_as_expected(build_table(store), made)
    assert [row.name for row in build_table(store).rows] == ["r0", "r1"]


def test_invalid_records_are_left_out_and_named_in_a_note(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    path = store.run_folder("r1-1") / "record.json"
    path.write_text(path.read_text()[:30])
    table = build_table(store)
    assert row_of(table, "r1").cells["V"].values == {"0": 2.0}
    assert row_of(table, "r1").status == "partial"
    (note,) = [note for note in table.notes if note.startswith("Left out")]
    assert str(path) in note


def test_runs_of_different_devices_are_told(tmp_path):
    made = Made(TWO)
    store = made.write(tmp_path)
    add(store, made.record("r1", 1, (5, 6, 7), environment={"device": "cuda:0"}))
    assert any("different devices are compared: cpu, cuda:0" in note for note in build_table(store).notes)


def test_a_study_moved_and_renamed_makes_the_same_table(tmp_path):
    store = Made(TWO).write(tmp_path)
    table = build_table(store)
    shutil.move(store.folder, tmp_path / "elsewhere")
    (tables, single) = load_tables(tmp_path / "elsewhere")
    assert (tables, single) == ([table], True)


# --- the synthetic mark -----------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [TWO, {"r0": {0: None}}, {"r0": {}}])
def test_synthetic_data_are_marked_in_every_table(grid, tmp_path):
    made = Made(grid, dataset={"name": "made", "synthetic": True}, further={"notes": ["own"]})
    table = build_table(made.write(tmp_path))
    assert table.dataset.synthetic
    assert table.to_json_dict()["dataset"]["synthetic"] is True
    assert table.notes[0].startswith("Synthetic data")
    assert "own" in table.notes
    real = build_table(Made(grid).write(tmp_path / "real"))
    assert not real.dataset.synthetic
    assert not any("Synthetic" in note for note in real.notes)


def test_what_is_not_a_study_is_told(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        load_tables(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no study in it"):
        load_tables(tmp_path)
    store = Made(TWO).write(tmp_path)
    (store.folder / "study.json").write_text('{"plan": [], "table": {}}')
    with pytest.raises(StoreError, match="not the file of a study"):
        load_tables(tmp_path)


def test_seeds_stand_in_numerical_order(tmp_path):
    made = Made({"r0": dict.fromkeys((10, 2, 0), (1, 1, 1))})
    records = made.records()
    random.Random(0).shuffle(records)
    table = build_table(made.write(tmp_path, records=records))
    assert list(row_of(table, "r0").cells["V"].values) == ["0", "2", "10"]
    assert tuple(row_of(table, "r0").cells) == COLUMNS
