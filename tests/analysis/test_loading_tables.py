"""Tables from folders and from JSON files, and JSON as INTERFACE.md has it."""

from __future__ import annotations

import json

import pytest
from analysis_samples import Made

from mmablate.analysis import Table, build_table, load_tables
from mmablate.errors import StoreError, UsageError

GRID = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: None}}


@pytest.fixture
def made():
    return Made(GRID, teacher={0: (9, 9, 9)}, dataset={"name": "made", "synthetic": True, "classes": ["a", "b"]})


TOP = {"schema", "study", "title", "baseline", "columns", "column_info", "dataset", "rows", "notes"}
ROW = {"name", "label", "baseline", "status", "n_seeds", "n_parameters", "flops", "seconds", "cells", "reference"}
CELL = {"mean", "std", "values", "delta", "test", "ci", "p", "p_adjusted", "significant", "best", "tied", "heat"}


def test_the_keys_are_those_of_the_contract(made, tmp_path):
    document = build_table(made.write(tmp_path)).to_json_dict()
    assert set(document) >= TOP
    assert document["schema"] == 1
    assert document["columns"] == ["V", "N", "VN", "Mean"]
    assert document["column_info"]["V"] == {"metric": "mIoU", "unit": "%", "direction": "max", "subset": True}
    assert set(document["dataset"]) >= {"name", "synthetic", "n_train", "n_val", "n_test"}
    assert set(document["column_info"]) == set(document["columns"])
    for row in document["rows"]:
        assert set(row) >= ROW
        assert list(row["cells"]) == document["columns"]
        for cell in row["cells"].values():
            assert set(cell) >= CELL
    assert [row["reference"] for row in document["rows"]] == [False, False, True]
    assert not {"n_parameters", "seconds", "flops"} & set(document["columns"])


def test_numbers_are_unrounded(tmp_path):
    made = Made({"r0": {0: (1 / 3, 2 / 3, 0.1), 1: (0.2, 0.3, 0.7)}})
    cell = build_table(made.write(tmp_path)).to_json_dict()["rows"][0]["cells"]["V"]
    assert cell["values"] == {"0": 1 / 3, "1": 0.2}


def test_a_json_file_loads_back_equal(made, tmp_path):
    table = build_table(made.write(tmp_path))
    path = tmp_path / "t.json"
    path.write_text(json.dumps(table.to_json_dict(), ensure_ascii=False))
    assert load_tables(path) == ([table], True)
    path.write_text(json.dumps({"schema": 1, "tables": [table.to_json_dict()] * 2}))
    assert load_tables(path) == ([table, table], False)


def test_the_json_that_the_command_writes_loads_back_equal(made, tmp_path, mmablate):
    store = made.write(tmp_path / "out")
    made.write(tmp_path / "out", "second")
    for source in (store.folder, store.folder.parent):
        written = tmp_path / "t.json"
        done = mmablate("table", source, "--format", "json", "-o", written)
        assert done.code == 0, done.err
        assert load_tables(written) == load_tables(source)
        again = mmablate("table", written, "--format", "json")
        assert again.out == written.read_text(encoding="utf-8")
    assert json.loads(written.read_text())["tables"][0]["dataset"]["synthetic"] is True


def test_a_folder_of_studies_gives_all_their_tables_by_name(made, tmp_path):
    for name in ("b", "a"):
        made.further = {"name": name}
        made.write(tmp_path, name)
    tables, single = load_tables(tmp_path)
    assert ([table.study for table in tables], single) == (["a", "b"], False)


def test_one_study_in_a_folder_is_still_a_list(made, tmp_path):
    made.write(tmp_path)
    assert load_tables(tmp_path)[1] is False
    assert load_tables(tmp_path / "made")[1] is True


def test_another_baseline_of_a_finished_table_is_refused(made, tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(build_table(made.write(tmp_path)).to_json_dict()))
    with pytest.raises(UsageError, match="finished table"):
        load_tables(path, baseline="r1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "not a table written by"),
        ('{"schema": 2}', "not a table written by"),
        ('{"schema": 1}', "study: Field required"),
        ('{"schema": 1, "tables": 3}', "tables: a list"),
        ('{"schema": 1, "tables": [3]}', "Input should be a valid dictionary"),
        ('{"schema": 1, "study": "x", "rows": 3}', "rows: "),
        ("{", "not valid JSON"),
    ],
)
def test_files_that_are_no_table_are_told_with_their_path(content, told, tmp_path):
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(StoreError) as caught:
        load_tables(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


def test_a_table_is_frozen():
    table = Table(schema=1, study="x")
    with pytest.raises(ValueError, match="frozen"):
        table.study = "y"
