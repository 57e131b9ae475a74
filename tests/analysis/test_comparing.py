"""Two tables side by side: signs, intervals, baselines, what they do not share."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_samples import Made
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis import build_table, load_tables
from mmablate.analysis.comparing import compare
from mmablate.analysis.effects import view_tables
from mmablate.catalog.published import published_tables
from mmablate.errors import UsageError

STREAM = np.random.default_rng(0)


def grid_of(stream, rows, n=4, shift=0.0):
    return {r: {s: tuple(stream.normal(40 + shift * i, 1, 3).tolist()) for s in range(n)} for i, r in enumerate(rows)}


def table_of(folder, grid, **options):
    return build_table(Made(grid, **options).write(folder))


def gain(grid, row, base, index):
    return np.array([grid[row][s][index] - grid[base][s][index] for s in sorted(grid[row].keys() & grid[base].keys())])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 5))
def test_pairs_are_what_scipy_makes_of_them(tmp_path_factory, seed, n):
    stream = np.random.default_rng(seed)
    one, two = grid_of(stream, ["r0", "r1", "r2"], 4), grid_of(stream, ["r0", "r2", "r1"], n)
    folder = tmp_path_factory.mktemp("two")
    made = compare(table_of(folder / "a", one), table_of(folder / "b", two))
    assert [(p.row, p.column) for p in made.pairs] == [(r, c) for r in ("r1", "r2") for c in ("V", "N", "VN", "Mean")]
    for pair in (p for p in made.pairs if p.column != "Mean"):
        index = ("V", "N", "VN").index(pair.column)
        a, b = (gain(grid, pair.row, "r0", index) for grid in (one, two))
        assert pair.delta_a == pytest.approx(a.mean())
        assert pair.delta_b == pytest.approx(b.mean())
        assert pair.same_sign == (a.mean() * b.mean() > 0)
        low, high = stats.ttest_1samp(a, 0).confidence_interval(0.95)
        assert pair.b_inside_a == (low <= b.mean() <= high)
        if n == 1:
            assert (pair.ci_b, pair.a_inside_b) == (None, None)
        else:
            low, high = stats.ttest_1samp(b, 0).confidence_interval(0.95)
            assert pair.ci_b == pytest.approx((low, high))
            assert pair.a_inside_b == (low <= a.mean() <= high)
    summary = made.summary()
    assert summary["same_sign"] == {"yes": sum(p.same_sign for p in made.pairs), "of": 8}
    assert summary["a_inside_b"]["of"] == (0 if n == 1 else 8)


def test_a_table_agrees_with_itself(tmp_path):
    table = table_of(tmp_path, grid_of(STREAM, ["r0", "r1", "r2"], shift=1))
    made = compare(table, table)
    assert made.summary() == {key: {"yes": 8, "of": 8} for key in ("same_sign", "b_inside_a", "a_inside_b")}
    cells = {(row.name, c): cell for row in table.rows for c, cell in row.cells.items()}
    assert all(cells[p.row, p.column].delta == p.delta_a == p.delta_b for p in made.pairs)
    assert all(cells[p.row, p.column].ci == p.ci_a == p.ci_b for p in made.pairs)


def test_no_difference_agrees_with_no_sign(tmp_path):
    grid = {"r0": {0: (1, 2, 3), 1: (2, 2, 2)}, "r1": {0: (1, 3, 3), 1: (2, 4, 2)}}
    made = compare(table_of(tmp_path, grid), table_of(tmp_path, grid))
    signs = {p.column: p.same_sign for p in made.pairs}
    assert signs == {"V": None, "N": True, "VN": None, "Mean": True}


def test_the_baseline_is_the_same_row_in_both(tmp_path):
    grid = grid_of(STREAM, ["r0", "r1", "q0", "q1"])
    bases = {"r0": "r0", "r1": "r0", "q0": "q0", "q1": "q0"}
    one = table_of(tmp_path / "a", grid, baseline=bases)
    made = compare(one, table_of(tmp_path / "b", grid, baseline="r1"))
    assert made.baselines == bases
    assert {p.row for p in made.pairs} == {"r1", "q1"}
    assert all(p.delta_a == p.delta_b for p in made.pairs)
    # The other way round the baseline of the first one counts.
    assert set(compare(table_of(tmp_path / "b", grid, baseline="r1"), one).baselines.values()) == {"r1"}
    # Where the first one's baseline is not in the second, the second one's counts.
    less = {name: some for name, some in grid.items() if name != "r0"}
    made = compare(table_of(tmp_path / "c", grid), table_of(tmp_path / "d", less, baseline="q0"))
    assert made.baselines == dict.fromkeys(less, "q0")
    assert any("Only in Made: the rows r0." in note for note in made.notes)


def test_tables_with_nothing_in_common_are_refused(tmp_path):
    one = table_of(tmp_path / "a", grid_of(STREAM, ["r0", "r1"]))
    for other, told in (
        (table_of(tmp_path / "b", grid_of(STREAM, ["x0", "x1"]), baseline="x0"), "share no row"),
        (table_of(tmp_path / "c", grid_of(STREAM, ["r1", "x1"]), baseline="x1"), "share only one row"),
        (load_tables(published_tables()["muses_losses"].path)[0][0], "share no row"),
        (table_of(tmp_path / "e", {"r0": {0: (1,)}, "r1": {0: (2,)}}, columns=("acc",)), "share no column"),
    ):
        with pytest.raises(UsageError, match=told):
            compare(one, other)


def test_a_table_of_effects_has_no_rows_to_compare(tmp_path):
    grid = grid_of(STREAM, ["a", "b"])
    store = Made(grid, baseline="a").write(tmp_path)
    study = json.loads((store.folder / "study.json").read_text())
    for row, losses in zip(study["table"]["rows"], (["sup"], ["sup", "mad"]), strict=True):
        row["losses"] = losses
    (store.folder / "study.json").write_text(json.dumps(study))
    (effects,) = view_tables(build_table(store), "effects")
    for pair in ((effects, effects), (build_table(store), effects)):
        with pytest.raises(UsageError, match="is a table of effects"):
            compare(*pair)


# --- published tables and the command ---------------------------------------------------------------------


def muses(tmp_path, n=3, name="made"):
    """A study in the columns and rows of the published loss table, scored around it."""
    columns, rows = published_tables()["muses_losses"].read()
    stream = np.random.default_rng(1)
    measured = [c for c in columns if c != "Mean"]
    grid = {r: {s: tuple(v[c] + stream.normal(0, 0.1) for c in measured) for s in range(n)} for r, v in rows.items()}
    made = Made(grid, baseline="sup", columns=columns, dataset={"name": "muses", "synthetic": True})
    return made.write(tmp_path, name), rows


def test_a_study_beside_the_published_table(tmp_path, mmablate):
    store, rows = muses(tmp_path / "out")
    path = published_tables()["muses_losses"].path
    documents = []
    for other in ("muses_losses", path):
        done = mmablate("compare", store.folder, other, "--format", "json")
        assert (done.code, done.err) == (0, "")
        documents.append(json.loads(done.out))
    document = documents[0]
    assert document["cells"] == documents[1]["cells"]
    assert document.keys() >= {"schema", "a", "b", "baselines", "cells", "summary", "synthetic", "notes"}
    assert document["synthetic"] == [document["a"]] == ["Made"]
    assert "published" in document["b"]
    assert len(document["cells"]) == 3 * 8
    for cell in document["cells"]:
        assert cell["delta_b"] == pytest.approx(rows[cell["row"]][cell["column"]] - rows["sup"][cell["column"]])
        assert (cell["ci_b"], cell["a_inside_b"]) == (None, None)
        low, high = cell["ci_a"]
        assert cell["b_inside_a"] == (low <= cell["delta_b"] <= high)
    assert document["summary"]["b_inside_a"]["yes"] >= 18
    assert any("single runs" in note for note in document["notes"])
    shown = mmablate("compare", store.folder, "muses_losses")
    assert shown.code == 0
    assert "SYNTHETIC DATA" in shown.out
    assert "Traceback" not in shown.err


def test_every_published_table_can_be_read():
    for name, about in published_tables().items():
        columns, rows = about.read()
        table = load_tables(about.path)[0][0]
        assert table.columns == columns
        means = {r.name: {c: m for c in columns if (m := r.cells[c].mean) is not None} for r in table.rows}
        assert means == (rows if about.row_prefix else {r.name: rows[r.name] for r in table.rows}), name
        assert len(table.rows) == len(rows)


def test_faults_of_compare_are_told_in_one_message(tmp_path, mmablate):
    store, _ = muses(tmp_path / "out")
    muses(tmp_path / "out", name="second")
    for arguments, told in (
        ((store.folder, "nowhere"), "nowhere"),
        ((store.folder.parent, store.folder), "holds 2 tables"),
        ((store.folder, "muses_lambda"), "share no row"),
        ((store.folder, "deliver_methods"), "share no row"),
    ):
        done = mmablate("compare", *arguments)
        assert (done.code, done.out) == (2, "")
        assert told in done.err
        assert len(done.err.splitlines()) == 1
