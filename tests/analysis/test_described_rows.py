"""Reference columns that describe rows, and cells that a row cannot have: claims, families, notes, every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import suppression_samples as samples
from scipy import stats

from mmablate.analysis.building import build_table
from mmablate.analysis.claims import check_claims
from mmablate.analysis.effects import effect_tables
from mmablate.analysis.table import Table
from mmablate.report import render

SEEDS = range(5)
FORMATS = ("terminal", "html", "markdown", "latex", "csv", "json")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return build_table(samples.write(tmp_path))


def values(row: str, column: str) -> np.ndarray:
    return np.array([samples.scores(row, seed)[column] for seed in SEEDS])


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ("joint > 99 on Shrunk", "contradicted"), ("joint > 50 on Shrunk", "holds"),
        ("joint > 0 on Skew", "holds"), ("joint < 0 on Skew", "contradicted"),
        ("dgl > joint by 5 on Shrunk", "holds"), ("joint = 20 within 5 on Skew", "holds"),
    ],
)  # fmt: skip
def test_claims_on_columns_that_describe_rows_are_tested(table: Table, claim: str, outcome: str) -> None:
    (verdict,) = check_claims(table, [claim])
    assert verdict.outcome == outcome, verdict


def test_such_a_claim_is_the_one_sample_test(table: Table) -> None:
    (verdict,) = check_claims(table, ["joint > 59 on Shrunk"])
    expected = stats.ttest_1samp(values("joint", "Shrunk"), 59, alternative="greater")
    assert verdict.p == pytest.approx(expected.pvalue)
    assert (verdict.test, verdict.n_seeds, verdict.unit) == ("one sample", 5, "%")


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("video_only > 0 on Shrunk", "video_only has no value in Shrunk, a column that describes some rows only"),
        ("video_only > joint on audio", "video_only has no value in audio"),
        ("dgl > 0 on Δ Skew", "Skew describes rows: it has no Δ"),
    ],
)
def test_claims_on_cells_that_are_not_there_say_why(table: Table, claim: str, reason: str) -> None:
    (verdict,) = check_claims(table, [claim])
    assert (verdict.outcome, verdict.reason) == ("undecided", reason)


def test_families_count_the_cells_that_there_are(table: Table) -> None:
    further = [row for row in samples.ROWS if row != "joint"]
    p_values = {}
    for column in ("audio", "video", "Gain"):
        for row in further:
            if row != "video_only" or column == "video":
                pair = values(row, column), values("joint", column)
                p_values[row, column] = float(stats.ttest_rel(*pair).pvalue)
    assert [(f.columns, f.size) for f in table.families] == [
        (("Acc",), len(further)), (("audio", "video", "Gain"), 3 * len(further) - 2),
    ]  # fmt: skip
    ordered = sorted(p_values, key=p_values.__getitem__)
    raised = np.maximum.accumulate([min(1.0, p_values[key] * (len(ordered) - i)) for i, key in enumerate(ordered)])
    cells = {row.name: row.cells for row in table.rows}
    for (row, column), expected in zip(ordered, raised, strict=True):
        assert cells[row][column].p_adjusted == pytest.approx(expected)
    for column in ("audio", "Gain", "Shrunk", "Skew"):
        cell = cells["video_only"][column]
        assert (cell.mean, cell.delta, cell.p, cell.p_adjusted, cell.best, cell.tied) == (None,) * 4 + (False, False)


def test_notes_tell_rows_without_a_value_from_runs_without_one(tmp_path: Path, table: Table) -> None:
    assert [note for note in table.notes if "no value" in note] == ["Rows with no value for audio, Gain: video_only."]
    store = samples.write(tmp_path / "lame")
    lame = samples.record("dgl-2", "dgl", 2, metrics={"Acc": 70.0, "video": 50.0, "audio": 60.0, "Gain": 1.0})
    (store.run_folder("dgl-2") / "record.json").write_text(lame.model_dump_json(), encoding="utf-8")
    told = [note for note in build_table(store).notes if "no value" in note]
    assert told == ["Rows with no value for audio, Gain: video_only.", "Some runs have no value for Shrunk, Skew: dgl."]


def test_every_format_prints_the_cells_that_are_not_there(table: Table) -> None:
    texts = {name: render([table], name, single=True) for name in FORMATS}
    line = next(line for line in texts["markdown"].splitlines() if line.startswith("| video\\_only"))
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2 : 2 + len(table.columns)]]
    assert [cell == "–" for cell in cells] == [False, True, False, True, True, True]
    row = next(row for row in csv.DictReader(io.StringIO(texts["csv"])) if "video_only" in row.values())
    assert (row["audio"], row["Gain"], row["Shrunk"]) == ("", "", "")
    assert row["video"]
    read = Table.model_validate(json.loads(texts["json"]))
    assert read == table
    assert json.loads(texts["json"])["rows"][-1]["cells"]["audio"]["mean"] is None
    body = texts["html"].split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[-1]
    assert body.count('<td class="absent"') == 4
    assert "failed" not in body
    for name in ("terminal", "latex"):
        assert ("–" if name == "terminal" else r"\textendash{}") in texts[name]
        assert not re.search(r"\b(nan|none)\b", texts[name].lower())


def test_factors_have_no_effect_where_a_cell_is_missing(table: Table) -> None:
    levels = {"joint": ("no", "2"), "dgl": ("yes", "2"), "video_only": ("no", "1"), "dgl_film": ("yes", "1")}
    rows = [
        row.model_copy(update={"levels": dict(zip(("DGL", "modalities"), levels[row.name], strict=True))})
        for row in table.rows
        if row.name in levels
    ]
    factorial = table.model_copy(update={"rows": tuple(rows)})
    tables = effect_tables(factorial)
    assert tables
    for one in tables:
        for row in one.rows:
            assert row.cells["Acc"].delta is not None
            assert row.cells["audio"].delta is None
            assert "Shrunk" not in row.cells


def test_the_key_says_what_such_columns_are(table: Table) -> None:
    text = " ".join(render([table], "markdown", single=True).split())
    assert "Shrunk, Skew: describing a row (its teacher, its training), not compared" in text
