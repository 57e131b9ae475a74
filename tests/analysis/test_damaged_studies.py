"""A table, or one message: whatever stands in study.json, in the runs' folders, or in a JSON table."""

from __future__ import annotations

import json

import pytest
from analysis_samples import Made, add
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmablate.analysis import condition_tables, load_tables
from mmablate.analysis.claims import check_study
from mmablate.analysis.comparing import compare
from mmablate.analysis.effects import effect_tables, view_tables
from mmablate.errors import MmablateError, StoreError
from mmablate.report import render

GRID = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: (5, 6, 7)}}

names = st.sampled_from(["r0", "r1", "V", "Mean", "", "x", "fog", "made", ".", ",", "nan", "1e400"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 7), st.just(10**400), st.sampled_from([0.5, 0.95, -1.0, 1e300]), names
)
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)

KEYS = [
    ("table", "rows"), ("table", "columns"), ("table", "column_info"), ("table", "baseline"), ("table", "caption"),
    ("table", "row_header"), ("table", "sweep"), ("table", "n_decimals"), ("table", "decimal"), ("table", "extras"),
    ("table", "significance"), ("table", "smallest_effect"), ("table", "conditions"), ("table", "show_conditions"),
    ("table", "teacher_row"), ("table", "significance", "primary"), ("table", "significance", "family"),
    ("table", "significance", "confidence"), ("table", "rows", 1), ("table", "rows", 1, "name"),
    ("table", "rows", 1, "label"), ("table", "rows", 1, "baseline"), ("table", "rows", 1, "values"),
    ("table", "rows", 1, "levels"), ("table", "rows", 1, "losses"), ("table", "column_info", "V"),
    ("table", "column_info", "V", "direction"), ("table", "column_info", "V", "metric"),
    ("table", "column_info", "V", "label"), ("table", "column_info", "V", "subset"), ("table", "columns", 0),
    ("table", "sweep", "parameters"), ("table", "sweep", "symbols"), ("table", "sweep", "used"),
    ("table",), ("name",), ("title",), ("plan",), ("plan", 0), ("plan", 0, "rows"), ("plan", 0, "run_id"),
    ("plan", 0, "seed"), ("plan", 0, "role"), ("superseded",), ("superseded", 0, "run_id"), ("superseded", 0, "role"),
    ("dataset",), ("dataset", "synthetic"), ("dataset", "classes"), ("notes",), ("notes", 0), ("recipe",),
    ("recipe", "claims"), ("recipe", "claims", 0), ("recipe", "evaluate"), ("recipe", "sweep"),
]  # fmt: skip


def sound():
    study = Made(GRID, teacher={0: (9, 9, 9)}).study()
    study["table"] |= {
        "caption": "c", "row_header": "h", "n_decimals": 2, "decimal": ".", "extras": None, "smallest_effect": 0.5,
        "significance": {"primary": "Mean", "family": "table", "confidence": 0.95},
        "sweep": {"parameters": ["beta"], "symbols": ["β"], "used": [1]},
        "conditions": {"time": ["night"]}, "show_conditions": ["night"],
    }  # fmt: skip
    for index, row in enumerate(study["table"]["rows"]):
        row |= {"values": {"beta": index}, "levels": {"f": f"l{index}"}, "losses": ["a", "b"][: index + 1]}
    study["table"]["column_info"]["V"]["label"] = "v"
    study["dataset"]["classes"] = ["a"]
    study["superseded"] = [{**study["plan"][0], "run_id": "gone"}]
    study["notes"] = ["own"]
    study["recipe"] = {
        "claims": ["r1 > r0 on V", "V rises with beta"], "sweep": {"beta": {}}, "evaluate": {"classes": "present"},
    }  # fmt: skip
    return study


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Made(GRID, teacher={0: (9, 9, 9)}).write(tmp_path_factory.mktemp("damaged"))


def put(value, path, new):
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def check_message(text):
    assert text.strip()
    assert len(text) < 2000
    assert "Traceback" not in text


def everything(store):
    """All that is made of a study, as the commands do; what they refuse is refused in a sentence or two."""
    try:
        tables, single = load_tables(store.folder)
    except MmablateError as error:
        check_message(str(error))
        return None
    for format in ("html", "markdown", "latex", "csv", "json"):
        text = render(tables, format, single=single)
        if format == "json":
            json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for call in (
        lambda: condition_tables(store),
        lambda: json.dumps(check_study(store).to_json_dict(), allow_nan=False),
        lambda: effect_tables(tables[0]),
        lambda: view_tables(tables[0], "leave-one-out"),
        lambda: json.dumps(compare(tables[0], tables[0]).to_json_dict(), allow_nan=False),
    ):
        try:
            call()
        except MmablateError as error:
            check_message(str(error))
    return tables[0]


def test_the_sound_study_is_sound(store):
    (store.folder / "study.json").write_text(json.dumps(sound()))
    table = everything(store)
    assert [row.name for row in table.rows] == ["r0", "r1", "teacher"]


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=junk)
def test_junk_in_any_place_is_a_table_or_a_message(store, path, value):
    study = sound()
    put(study, path, value)
    (store.folder / "study.json").write_text(json.dumps(study))
    everything(store)


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_part_is_a_table_or_a_message(store, path):
    study = sound()
    value = study
    for key in path[:-1]:
        value = value[key]
    del value[path[-1]]
    (store.folder / "study.json").write_text(json.dumps(study))
    everything(store)


# --- JSON tables ------------------------------------------------------------------------------------------


def table_json(store):
    (store.folder / "study.json").write_text(json.dumps(sound()))
    return load_tables(store.folder)[0][0].to_json_dict()


PLACES = [
    ("columns",), ("columns", 0), ("column_info",), ("column_info", "V"), ("rows",), ("rows", 1), ("rows", 1, "cells"),
    ("rows", 1, "cells", "V"), ("rows", 1, "cells", "V", "values"), ("rows", 1, "cells", "V", "mean"),
    ("rows", 1, "cells", "V", "ci"), ("rows", 1, "cells", "V", "delta"), ("rows", 1, "cells", "V", "test"),
    ("rows", 1, "cells", "V", "p"), ("rows", 1, "cells", "V", "heat"), ("rows", 1, "name"), ("rows", 1, "baseline"),
    ("heat_scales",), ("heat_scales", 0), ("heat_scales", 0, "steps"), ("heat_scales", 0, "gain"), ("sweep",),
    ("sweep", "symbols"), ("n_decimals",), ("confidence",), ("families",), ("families", 0, "size"), ("primary",),
    ("study",), ("title",), ("notes",), ("baseline",), ("kind",), ("dataset",), ("extras",), ("smallest_effect",),
]  # fmt: skip


def everything_of(path):
    try:
        tables, single = load_tables(path)
    except MmablateError as error:
        check_message(str(error))
        return
    for format in ("html", "markdown", "latex", "csv", "json"):
        render(tables, format, single=single)
    for call in (lambda: view_tables(tables[0], "effects"), lambda: compare(tables[0], tables[0])):
        try:
            call()
        except MmablateError as error:
            check_message(str(error))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=junk)
def test_junk_in_a_json_table_is_a_table_or_a_message(store, place, value):
    table = table_json(store)
    put(table, place, value)
    path = store.folder / "table.json"
    path.write_text(json.dumps(table))
    everything_of(path)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_missing_part_of_a_json_table_is_a_table_or_a_message(store, place):
    table = table_json(store)
    value = table
    for key in place[:-1]:
        value = value[key]
    del value[place[-1]]
    path = store.folder / "table.json"
    path.write_text(json.dumps(table))
    everything_of(path)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("rows", 1, "cells", "V"), "rows.1.cells: no cell of the column 'V'"),
        (("column_info", "V"), "column_info: nothing about the column 'V'"),
    ],
)
def test_a_json_table_with_holes_is_told(store, place, told):
    table = table_json(store)
    value = table
    for key in place[:-1]:
        value = value[key]
    del value[place[-1]]
    path = store.folder / "table.json"
    path.write_text(json.dumps(table))
    with pytest.raises(StoreError, match=r"table\.json: ") as caught:
        load_tables(path)
    assert told in str(caught.value)


@pytest.mark.parametrize("odd", [1e300, -1e300, float("nan"), float("inf")])
def test_scores_of_a_json_table_beyond_any_measure_are_told(store, odd):
    table = table_json(store)
    put(table, ("rows", 1, "cells", "V", "values"), {"0": 1.0, "1": odd})
    path = store.folder / "table.json"
    path.write_text(json.dumps(table))
    with pytest.raises(StoreError, match=r"rows\.1\.cells\.V\.values: a score is at most 1e\+150 in size"):
        load_tables(path)


# --- runs' folders ----------------------------------------------------------------------------------------


def changed(record, **changes):
    return json.dumps({**json.loads(record), **changes}).encode()


DAMAGED = {
    "empty": lambda text: b"",
    "half": lambda text: text[: len(text) // 2].encode(),
    "null": lambda text: b"null",
    "list": lambda text: b"[]",
    "binary": lambda text: bytes(range(256)),
    "deep": lambda text: b'{"a":' * 3000,
    "score of text": lambda text: changed(text, metrics={"V": "x"}),
    "score of nan": lambda text: text.replace('"V":5.0', '"V":NaN').encode(),
    "seed of text": lambda text: changed(text, seed="a"),
    "status": lambda text: changed(text, status="maybe"),
    "another run's": lambda text: changed(text, run_id="r9-9"),
    "row of a number": lambda text: changed(text, row=5),
    "without its keys": lambda text: b'{"run_id": "r1-1"}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_record_is_left_out_and_named(tmp_path, name):
    store = Made(GRID).write(tmp_path)
    path = store.run_folder("r1-1") / "record.json"
    path.write_bytes(DAMAGED[name](path.read_text()))
    table = everything(store)
    assert [(row.name, row.n_seeds, row.status) for row in table.rows] == [("r0", 2, "ok"), ("r1", 1, "partial")]
    (note,) = [note for note in table.notes if note.startswith("Left out: ")]
    assert str(path) in note


def test_what_is_no_run_is_passed_over(tmp_path):
    store = Made(GRID).write(tmp_path)
    wanted = everything(store)
    (store.runs / "junk").mkdir()
    (store.runs / "file").write_text("x")
    (store.runs / "loop").symlink_to(store.runs)
    (store.runs / "junk" / "record.json").symlink_to(tmp_path / "nowhere")
    assert everything(store) == wanted
    half = store.runs / "r0-9"
    half.mkdir()
    (half / "config.json").write_text("{}")
    assert everything(store) == wanted


def test_records_of_columns_that_the_study_lacks_count_as_gaps(tmp_path):
    store = Made(GRID).write(tmp_path)
    add(store, Made(GRID).record("r1", 7, (1, 1, 1), "x").model_copy(update={"metrics": {"odd": 3.0}}))
    table = everything(store)
    assert table.rows[1].cells["V"].values.keys() == {"0", "1"}
    assert any("no value for V, N, VN, Mean: r1" in note for note in table.notes)


def test_scores_beyond_any_measure_are_none(tmp_path):
    made = Made({**GRID, "r2": {0: (1e308, 1e200, 5), 1: (-1e308, 1e150, -5e149)}})
    table = everything(made.write(tmp_path))
    cells = table.rows[2].cells
    assert (cells["V"].values, cells["N"].values) == ({}, {"1": 1e150})
    assert any("no value for V" in note for note in table.notes)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-100, 1e-12, 1e12, 1e80, 1e149])
@pytest.mark.parametrize("seeds", [(0, 1), (2, 3)])
def test_scores_of_any_size_have_a_table(tmp_path, size, seeds):
    plain = {"r0": {0: (1, 2, 3), 1: (2, 4, 1)}, "r1": {seeds[0]: (2, 1, 3), seeds[1]: (3.5, 4, 5)}}
    grid = {r: {s: tuple(size * v for v in some) for s, some in runs.items()} for r, runs in plain.items()}
    table = everything(Made(grid).write(tmp_path))
    if size >= 1e-100:
        wanted = everything(Made(plain).write(tmp_path / "plain"))
        for row, other in zip(table.rows[1:], wanted.rows[1:], strict=True):
            for column, cell in row.cells.items():
                assert cell.p == pytest.approx(other.cells[column].p, rel=1e-6)


@pytest.mark.parametrize("base", ["", None, "nope"])
def test_without_a_baseline_there_is_no_delta(tmp_path, base):
    table = everything(Made(GRID, baseline={"r0": base, "r1": base}).write(tmp_path))
    assert all(cell.delta is None for row in table.rows for cell in row.cells.values())
    assert table.families == ()


def test_one_row_and_a_thousand_columns(tmp_path):
    columns = tuple(f"c{i}" for i in range(1000))
    info = {c: {"subset": False} for c in columns}
    one = everything(Made({"r0": {0: range(1000), 1: range(1000)}}, columns=columns, info=info).write(tmp_path / "a"))
    assert len(one.rows[0].cells) == 1000
    assert all(cell.best for cell in one.rows[0].cells.values())
    grid = {"r0": {0: range(1000), 1: range(1000)}, "r1": {0: range(1000), 1: range(1, 1001)}}
    two = everything(Made(grid, columns=columns, info=info).write(tmp_path / "b"))
    assert [family.size for family in two.families] == [1000]
    assert all(len(note) < 2000 for note in two.notes)


def test_the_command_tells_a_damaged_study_in_one_line(tmp_path, mmablate):
    store = Made(GRID).write(tmp_path / "out")
    study = sound()
    study["table"]["significance"]["confidence"] = "95"
    (store.folder / "study.json").write_text(json.dumps(study))
    for command in (["table"], ["check"], ["table", "--format", "html"], ["compare", "muses_losses"]):
        done = mmablate(command[0], store.folder, *command[1:])
        assert (done.code, done.out) == (2, "")
        assert "study.json: table.significance.confidence: Input should be a valid number" in done.err
        assert len(done.err.splitlines()) == 1
