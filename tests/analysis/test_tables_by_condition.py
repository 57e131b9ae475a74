"""Tables of one condition, and of one subset under every condition, against numpy."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from analysis_samples import SUBSETS, Made, add, expected_cells
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.analysis import Table, build_table, condition_tables, load_tables
from mmablate.errors import UsageError
from mmablate.report import FORMATS, render

AXES = {"weather": ["clear", "fog"], "time_of_day": ["day", "night"]}
VALUES = ("clear", "fog", "day", "night")
TWO = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: (5, 6, 7)}}


def shifted(values, condition):
    """Scores of a condition: unlike those of all samples, and unlike those of any other condition."""
    k = 1 + VALUES.index(condition)
    return tuple(value * k + index * k * k for index, value in enumerate(values))


def made_of(scores, **further):
    return Made(scores, dataset={"name": "made", "synthetic": True, "n_train": 3, "n_test": 7}, **further)


def written(out, scores, *, axes=AXES, show=(), without=(), **further):
    """A study whose records hold scores by condition; runs in `without` hold none."""
    made = made_of(scores, **further)
    store = made.write(out, records=[])
    for record in made.records():
        values = tuple(record.metrics[c] for c in SUBSETS) if record.metrics else None
        found = {v: dict(zip(SUBSETS, shifted(values, v), strict=True)) for v in VALUES} if values else {}
        add(store, record.model_copy(update={"conditions": {} if record.run_id in without else found}))
    study = made.study()
    study["table"]["conditions"] = axes
    study["table"]["show_conditions"] = list(show)
    (store.folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return store


def cells_of(table):
    return {(row.name, c): cell for row in table.rows for c, cell in row.cells.items()}


def assert_same(cell, want):
    for key in ("mean", "std", "delta"):
        assert (getattr(cell, key) is None) == (want[key] is None)
        assert want[key] is None or np.isclose(getattr(cell, key), want[key])
    assert cell.test == want["test"]
    assert cell.values.keys() == want["values"].keys()


scores = st.floats(0, 100).map(lambda x: round(x, 3))
runs = st.tuples(scores, scores, scores)
grids = st.dictionaries(
    st.sampled_from(["r0", "r1", "r2"]), st.dictionaries(st.integers(0, 3), runs, min_size=1), min_size=1
).map(lambda grid: {"r0": {0: (1, 2, 3)}, **grid})


@given(grids, st.sampled_from(VALUES))
@settings(max_examples=40, deadline=None)
def test_a_table_of_one_condition_is_the_table_of_its_scores(tmp_path_factory, grid, condition):
    store = written(tmp_path_factory.mktemp("made"), grid)
    table = build_table(store, condition=condition)
    other = Made({row: {s: shifted(v, condition) for s, v in some.items()} for row, some in grid.items()})
    assert table.columns == ("V", "N", "VN", "Mean")
    found = cells_of(table)
    for key, want in expected_cells(other).items():
        assert_same(found[key], want)
    assert (table.condition, table.subset) == (condition, None)
    assert table.title == f"Made: {condition} only"


@given(grids, st.sampled_from([*SUBSETS, "Mean"]))
@settings(max_examples=40, deadline=None)
def test_a_table_of_one_subset_has_a_column_for_all_samples_and_for_each_condition(tmp_path_factory, grid, subset):
    store = written(tmp_path_factory.mktemp("made"), grid)
    table = build_table(store, subset=subset)
    assert table.columns == ("all", *VALUES)
    assert not any(about.subset for about in table.column_info.values())
    found = cells_of(table)
    for column in table.columns:
        change = (lambda v: v) if column == "all" else (lambda v, c=column: shifted(v, c))
        other = Made({row: {s: change(v) for s, v in some.items()} for row, some in grid.items()})
        for (row, name), want in expected_cells(other).items():
            if name == subset:
                assert_same(found[row, column], want)


def test_a_teacher_row_and_another_baseline_go_with_a_condition(tmp_path):
    store = written(tmp_path, TWO, teacher={0: (9, 9, 9)})
    table = build_table(store, condition="fog", baseline="r1")
    assert [row.name for row in table.rows] == ["r0", "r1", "teacher"]
    assert table.rows[2].cells["V"].mean == 18
    assert table.rows[0].cells["V"].delta == pytest.approx(((1 - 2) + (3 - 5)) * 2 / 2)


def test_runs_without_scores_by_condition_are_named_and_do_not_count(tmp_path):
    store = written(tmp_path, TWO, without={"r1-1"})
    table = build_table(store, condition="night")
    assert table.rows[1].cells["V"].values == {"0": 8.0}
    (note,) = [note for note in table.notes if note.startswith("Some runs have no value")]
    assert note == "Some runs have no value for V, N, VN, Mean: r1."
    assert not any(note.startswith("Some runs") for note in build_table(store).notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"condition": "dusk"}, r"--condition dusk: .*clear, fog, day, night"),
        ({"subset": "Q"}, r"--subset Q: .*V, N, VN, Mean"),
        ({"condition": "fog", "subset": "V"}, "not both"),
    ],
)
def test_names_that_are_not_there_are_the_users_mistake(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        build_table(written(tmp_path, TWO), **options)


@pytest.mark.parametrize("axes", [None, {}, [], "night", {"weather": "fog"}])
def test_a_study_without_conditions_says_so(tmp_path, axes):
    store = written(tmp_path, TWO, axes=axes, show=["fog"])
    for options in ({"condition": "fog"}, {"subset": "V"}):
        with pytest.raises(UsageError, match="made has no scores by condition"):
            build_table(store, **options)
    assert condition_tables(store) == []
    assert build_table(store).columns == ("V", "N", "VN", "Mean")


def test_a_recipe_gets_the_tables_that_it_asks_for(tmp_path):
    store = written(tmp_path, TWO, show=["night", "gone", "fog", "night", 3])
    assert [table.condition for table in condition_tables(store)] == ["night", "fog"]


def test_a_condition_called_all_is_not_taken_for_all_samples(tmp_path):
    store = written(tmp_path, TWO, axes={"set": ["all", "fog"]})
    assert build_table(store, subset="V").columns == ("all samples", "all", "fog")


@pytest.mark.parametrize("options", [{"condition": "night"}, {"subset": "V"}])
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_says_what_is_scored_and_that_it_is_synthetic(tmp_path, options, fmt):
    table = build_table(written(tmp_path, TWO), **options)
    text = render([table], fmt, single=True)
    assert "night" in text
    if fmt == "csv":
        (name, value), *_ = options.items()
        lines = list(csv.DictReader(io.StringIO(text)))
        assert {line[name] for line in lines} == {value}
        assert {line["synthetic"] for line in lines} == {"true"}
    else:
        assert ("night only" if "condition" in options else "V by condition") in text
        assert "SYNTHETIC DATA" in text or '"synthetic": true' in text
    if fmt == "json":
        assert Table.model_validate(json.loads(text)) == table


def test_the_count_of_test_samples_is_not_claimed_for_a_condition(tmp_path):
    store = written(tmp_path, TWO)
    assert "7 test samples" in render([build_table(store)], "terminal", single=True)
    text = render([build_table(store, condition="fog")], "terminal", single=True)
    assert "7 test samples" not in text
    assert "scored on fog only" in text


def test_csv_of_plain_tables_has_no_further_columns(tmp_path):
    text = render([build_table(written(tmp_path, TWO))], "csv", single=True)
    assert {"kind", "condition", "subset"}.isdisjoint(text.splitlines()[0].split(","))


def test_the_command_prints_them_and_refuses_finished_tables(tmp_path, mmablate):
    store = written(tmp_path / "out", TWO)
    done = mmablate("table", store.folder, "--condition", "night", "-o", "night.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "night.json").read_text())["condition"] == "night"
    refused = mmablate("table", tmp_path / "night.json", "--subset", "V")
    assert refused.code == 2
    assert "--subset" in refused.err
    assert "finished table" in refused.err
    assert load_tables(tmp_path / "night.json")[0] == [build_table(store, condition="night")]


def test_a_mean_needs_every_subset(tmp_path):
    store = written(tmp_path, TWO)
    record = store.read_record("r1-0")
    fewer = {"fog": {"V": 1.0, "N": 2.0}, "night": record.conditions["night"]}
    add(store, record.model_copy(update={"conditions": fewer}))
    row = build_table(store, subset="Mean").rows[1]
    assert row.cells["fog"].values.keys() == {"1"}
    assert row.cells["night"].values.keys() == {"0", "1"}
