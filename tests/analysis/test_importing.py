"""Somebody else's runs: plain CSVs and exports of W&B and MLflow, sound and damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_samples import Made
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.analysis import build_table, load_tables
from mmablate.analysis.importing import CsvOptions, table_from_csv
from mmablate.errors import MmablateError, StoreError, UsageError

PLAIN = "row,seed,acc,f1\nsup,0,90.5,80\nsup,1,91,82.5\nkd,0,92,83\nkd,1,93.25,84\n"
VALUES = {"sup": {"0": 90.5, "1": 91.0}, "kd": {"0": 92.0, "1": 93.25}}


def written(folder, text, name="runs.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder, text, **options):
    baseline = options.pop("baseline", None)
    return table_from_csv(written(folder, text), CsvOptions(**options), baseline=baseline)


def column(table, name):
    return {row.name: row.cells[name].values for row in table.rows}


# --- sound files ------------------------------------------------------------------------------------------

WANDB = (
    '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","lr","method","seed","test/acc","val_loss"\n'
    '"fresh-sun-1","finished","-","me","","2025-01-01T00:00:00.000Z","61","","0.001","sup","0","90.5","0.3"\n'
    '"wild-sea-2","finished","-","me","","2025-01-01T00:00:00.000Z","62","","0.001","sup","1","91","0.31"\n'
    '"odd-fog-3","crashed","-","me","","2025-01-01T00:00:00.000Z","3","","0.001","sup","2","12","9"\n'
    '"calm-owl-4","finished","-","me","","2025-01-01T00:00:00.000Z","60","","0.001","kd","0","92","0.2"\n'
    '"red-fox-5","finished","-","me","","2025-01-01T00:00:00.000Z","60","","0.001","kd","1","93.25","0.21"\n'
)
MLFLOW = (
    "run_id,experiment_id,status,artifact_uri,start_time,end_time,metrics.acc,metrics.test_loss,params.method,"
    "params.seed,params.lr,tags.mlflow.runName\n"
    "a1,1,FINISHED,s3://x,2025-01-01,2025-01-01,90.5,0.3,sup,0,0.001,one\n"
    "a2,1,FINISHED,s3://x,2025-01-01,2025-01-01,91.0,0.31,sup,1,0.001,two\n"
    "a3,1,FAILED,s3://x,2025-01-01,2025-01-01,,,kd,2,0.001,three\n"
    "a4,1,FINISHED,s3://x,2025-01-01,2025-01-01,92.0,0.2,kd,0,0.001,four\n"
    "a5,1,FINISHED,s3://x,2025-01-01,2025-01-01,93.25,0.21,kd,1,0.001,five\n"
)


def test_a_plain_file_is_read_by_the_names_of_its_columns(tmp_path):
    table = read(tmp_path, PLAIN)
    assert table.columns == ("acc", "f1")
    assert column(table, "acc") == VALUES
    assert (table.baseline, table.study) == ("sup", "runs")
    assert [row.n_seeds for row in table.rows] == [2, 2]
    assert any("first row of the file, sup" in note for note in table.notes)
    assert read(tmp_path, PLAIN, baseline="kd").baseline == "kd"


def test_an_export_of_wandb_needs_the_metrics_named(tmp_path):
    with pytest.raises(UsageError, match="name the metrics: --columns"):
        read(tmp_path, WANDB)
    table = read(tmp_path, WANDB, columns=("test/acc", "val_loss"))
    assert column(table, "test/acc") == VALUES
    assert table.column_info["val_loss"].direction == "min"
    assert table.column_info["test/acc"].direction == "max"
    (sup, kd) = table.rows
    assert (sup.status, sup.errors) == ("partial", ("seed 2: crashed in line 4",))
    assert (kd.status, kd.errors) == ("ok", ())


def test_an_export_of_mlflow_marks_its_metrics(tmp_path):
    table = read(tmp_path, MLFLOW)
    assert table.columns == ("metrics.acc", "metrics.test_loss")
    assert [table.column_info[c].label for c in table.columns] == ["acc", "test_loss"]
    assert table.column_info["metrics.test_loss"].direction == "min"
    assert column(table, "metrics.acc") == VALUES
    assert [row.status for row in table.rows] == ["ok", "partial"]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", " , "),
        PLAIN + "\n\n",
        PLAIN.replace("90.5", '"90.5"').replace("91", "91 %"),
        PLAIN.replace(",0,", ",0.0,").replace(",1,", ",1.0,"),
        "\n".join(f"{i or ''},{line}" for i, line in enumerate(PLAIN.splitlines())),
    ],
    ids=["semicolons", "points", "tabs", "bom", "crlf", "spaces", "blank lines", "quotes", "float seeds", "index"],
)
def test_the_same_runs_in_another_dress_are_the_same_table(tmp_path, text):
    table = read(tmp_path, text)
    wanted = read(tmp_path, PLAIN)
    assert column(table, "acc") == VALUES
    assert table.columns == wanted.columns
    assert [row.cells for row in table.rows] == [row.cells for row in wanted.rows]


def test_quoted_fields_may_hold_separators_and_newlines(tmp_path):
    table = read(tmp_path, 'row,seed,acc\n"a, b",0,1\n"c\nd",0,2\n"e ""f""",0,3\n')
    assert [row.name for row in table.rows] == ["a, b", "c\nd", 'e "f"']


def test_several_columns_may_name_a_row(tmp_path):
    text = "fusion,drop,seed,acc\nlate,0.1,0,1\nlate,0.3,0,2\nearly,0.1,0,4\nearly,0.3,0,3\n"
    table = read(tmp_path, text, row=("fusion", "drop"))
    assert [row.name for row in table.rows] == ["late+0.1", "late+0.3", "early+0.1", "early+0.3"]
    assert table.rows[1].levels == {"fusion": "late", "drop": "0.3"}
    assert table.columns == ("acc",)


def test_a_published_table_is_rows_of_single_runs(tmp_path):
    table = read(tmp_path, "lambda,F,Mean\n1,43.9,39.3\n10,43.8,39.44\n")
    assert [row.name for row in table.rows] == ["lambda=1", "lambda=10"]
    assert (table.rows[1].cells["Mean"].delta, table.rows[1].cells["Mean"].p) == (pytest.approx(0.14), None)


def test_numbers_in_the_first_column_keep_all_their_digits(tmp_path):
    table = read(tmp_path, "k,acc\n1000001,1\n1000002,2\n1e-3,3\n0.123456789,4\n50,5\n")
    assert [row.name for row in table.rows] == ["k=1000001", "k=1000002", "k=0.001", "k=0.123456789", "k=50"]


# --- seeds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["row,acc\na,1\na,2\na,4\nb,3\nb,5\nb,5.5\n", "row,seed,acc\na,,1\na,,2\na,,4\nb,,3\nb,,5\nb,,5.5\n"]
)
def test_runs_without_a_seed_are_never_paired(tmp_path, text):
    table = read(tmp_path, text)
    cell = table.rows[1].cells["acc"]
    assert (cell.test, cell.n_pairs, len(cell.values)) == ("welch", None, 3)
    assert not set(cell.values) & set(table.rows[0].cells["acc"].values)


def test_a_second_run_of_a_seed_is_left_out_and_told(tmp_path):
    table = read(tmp_path, PLAIN + "kd,1,50,50\n")
    assert column(table, "acc") == VALUES
    assert "Left out: line 6: the row kd has another run of seed 1 (line 5)." in table.notes


def test_a_failed_try_does_not_take_its_seeds_place(tmp_path):
    text = "row,seed,state,acc\na,0,failed,1\na,0,finished,90\nb,0,Finished,80\n"
    assert column(read(tmp_path, text), "acc") == {"a": {"0": 90.0}, "b": {"0": 80.0}}


@pytest.mark.parametrize("gap", ["", "nan", "NaN", "inf", "-", "None", "1e999"])
def test_a_gap_is_no_value(tmp_path, gap):
    table = read(tmp_path, PLAIN.replace("93.25", gap))
    assert column(table, "acc")["kd"] == {"0": 92.0}
    assert column(table, "f1")["kd"] == {"0": 83.0, "1": 84.0}
    assert any("Some runs have no value for acc: kd" in note for note in table.notes)


# --- against a study --------------------------------------------------------------------------------------

scores = st.floats(0, 100).map(lambda x: round(x, 2))
grids = st.lists(
    st.dictionaries(st.integers(0, 4), st.tuples(scores, scores), min_size=1, max_size=4), min_size=2, max_size=4
).map(lambda some: {f"r{i}": row for i, row in enumerate(some)})


@settings(max_examples=40, deadline=None)
@given(grid=grids, semicolons=st.booleans())
def test_the_numbers_are_those_of_a_study_with_the_same_scores(tmp_path_factory, grid, semicolons):
    folder = tmp_path_factory.mktemp("made")
    info = {c: {"subset": False, "unit": "", "metric": c} for c in ("acc", "f1")}
    study = build_table(Made(grid, columns=("acc", "f1"), info=info).write(folder))
    point = "," if semicolons else "."
    lines = [[r, str(s), *(repr(v).replace(".", point) for v in some[s])] for r, some in grid.items() for s in some]
    lines = [["row", "seed", "acc", "f1"], *sorted(lines)]
    path = written(folder, "\n".join((";" if semicolons else ",").join(line) for line in lines))
    table = load_tables(path)[0][0]
    assert [row.cells for row in table.rows] == [row.cells for row in study.rows]
    assert table.families == study.families
    assert table.heat_scales == study.heat_scales


def test_primary_and_lower_are_heeded(tmp_path):
    stream = np.random.default_rng(0)
    lines = [f"{r},{s},{stream.normal()},{stream.normal()}" for r in "abc" for s in range(3)]
    table = read(tmp_path, "row,seed,acc,cost\n" + "\n".join(lines), primary="acc", lower=("cost",))
    assert [(f.columns, f.size) for f in table.families] == [(("acc",), 2), (("cost",), 2)]
    assert table.column_info["cost"].direction == "min"
    best = min(table.rows, key=lambda row: row.cells["cost"].mean)
    assert best.cells["cost"].best


# --- what is refused --------------------------------------------------------------------------------------

REFUSED = {
    "empty": ("", StoreError),
    "blank": ("\n\n\n", StoreError),
    "header only": ("row,seed,acc\n", StoreError),
    "one column": ("acc\n1\n2\n", StoreError),
    "no numbers": ("row,seed,acc\na,0,x\nb,0,y\n", StoreError),
    "binary": (bytes(range(256)) * 20, StoreError),
    "zeros": (bytes(4000), StoreError),
    "utf-16": (PLAIN.encode("utf-16"), StoreError),
    "latin-1": ("row,seed,acc\né,0,1\n".encode("latin-1"), StoreError),
    "open quote": ('row,seed,acc\n"a,0,1\nb,0,2\n', StoreError),
    "one long line": ("row,seed,acc\na,0,1\nb,0,2,9,9\n", StoreError),
    "long lines": ("row,seed,acc\na,0,90,3\nb,0,91,4\n", StoreError),
    "own csv": ("row,label,n_seeds,F\na,a,1,2\n", StoreError),
    "no rows": ("x,seed,acc\na,0,1\nb,0,2\n", UsageError),
    "rows twice": ("x,acc\na,1\na,2\n", UsageError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_csv_of_runs_is_told_with_the_file(tmp_path, name):
    text, kind = REFUSED[name]
    with pytest.raises(kind) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "runs.csv") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"row": ("nope",)}, "--row-column nope"),
        ({"seed": "nope"}, "--seed-column nope"),
        ({"columns": ("acc", "nope")}, "--columns nope"),
        ({"lower": ("nope",)}, "--lower nope"),
        ({"primary": "nope"}, "--primary nope"),
        ({"baseline": "nope"}, "--baseline nope: no row has that name (there are: sup, kd)"),
    ],
)
def test_an_option_that_names_nothing_is_told(tmp_path, options, told):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, PLAIN, **options)
    assert told in str(caught.value)


def test_a_huge_header_is_read(tmp_path):
    names = [f"metric_{i}" for i in range(5000)]
    table = read(tmp_path, f"row,seed,{','.join(names)}\n" + "".join(f"{r},0{',1.5' * 5000}\n" for r in "ab"))
    assert len(table.columns) == 5000
    assert all(len(note) < 2000 for note in table.notes)
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"x,seed,{','.join(names)}\n" + f"a,0{',1.5' * 5000}\n", columns=("nope",))
    assert len(str(caught.value)) < 2000


WORDS = ["row", "seed", "acc", "a", "0", "1.5", '"', "", "nan", "state", "x\ny", "-1", "é"]


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(
        st.lists(
            st.sampled_from(["row", "seed", "acc", "a", "0", "1.5", '"', "", "nan", "state", "x\ny", "-1", "é"])
        ).map(",".join),
        max_size=6,
    ).map("\n".join)
    | st.binary(max_size=80)
)
def test_any_file_is_a_table_or_a_message(tmp_path_factory, text):
    path = written(tmp_path_factory.getbasetemp(), text, "any.csv")
    try:
        table = load_tables(path)[0][0]
    except MmablateError as error:
        told = str(error)
    else:
        told = json.dumps(table.to_json_dict(), allow_nan=False)
    assert told


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_reads_a_csv_and_tells_faults_in_one_line(tmp_path, mmablate):
    path = written(tmp_path, WANDB)
    done = mmablate("table", path, "--columns", "test/acc,val_loss", "--baseline", "kd", "--format", "json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["baseline"] == "kd"
    for arguments in ([path], [path, "--columns", "nope"], [tmp_path / "no.csv"], [path, "--condition", "night"]):
        done = mmablate("table", *arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    done = mmablate("table", written(tmp_path, PLAIN.replace(",", "\t"), "runs.tsv"))
    assert done.code == 0
    assert "kd" in done.out


def test_a_line_an_epoch_is_refused_before_the_first_epoch_is_taken_for_the_result(tmp_path):
    lines = [f"{m},{s},{e},{40 + e}" for m in ("a", "b") for s in (0, 1) for e in range(30)]
    with pytest.raises(StoreError, match=r"runs\.csv: most of its lines repeat a run .*seed 0.* one line a run"):
        read(tmp_path, "method,seed,iteration,acc\n" + "\n".join(lines))


def test_a_status_in_other_words_does_not_fail_the_runs(tmp_path):
    table = read(tmp_path, "method,seed,status,acc\na,0,new,1\na,1,new,2\nb,0,new,3\nb,1,new,5\n")
    assert [row.status for row in table.rows] == ["ok", "ok"]
    with pytest.raises(StoreError, match="no run in it that finished"):
        read(tmp_path, "method,seed,status,acc\na,0,failed,1\na,1,crashed,2\n")


def test_the_primary_column_is_a_metric(tmp_path):
    with pytest.raises(UsageError, match="--primary seed: it is none of the metrics"):
        read(tmp_path, PLAIN, primary="seed")


def test_two_rows_never_become_one(tmp_path):
    with pytest.raises(StoreError, match=r"two rows are called x\+y\+z"):
        read(tmp_path, "m,k,seed,acc\nx+y,z,0,1\nx,y+z,1,2\n", row=("m", "k"))


def test_the_notes_agree_on_what_a_delta_is(tmp_path):
    mixed = "method,seed,acc\n" + "".join(
        f"{m},{s},{40 + s * s}\n" for m, r in (("a", range(3)), ("b", range(2, 5))) for s in r
    )
    notes = " ".join(read(tmp_path, mixed).notes)
    assert "Fewer than two common seeds with the baseline (b)" in notes
    assert "taken over the seeds that both rows have" not in notes


def test_what_is_no_number_is_named_with_its_line(tmp_path):
    notes = read(tmp_path, "row,seed,acc\na,0,50\na,1,fifty\na,2,\nb,0,60\nb,1,61\n").notes
    assert "Left out: line 3: acc is 'fifty', which is no number." in notes
    assert not any("line 4" in note for note in notes)


def test_the_direction_of_every_metric_is_said(tmp_path):
    (note,) = [n for n in read(tmp_path, "row,seed,acc,hd95\na,0,1,2\nb,0,3,4\n").notes if "better when" in n]
    assert "lower: hd95; better when higher: acc" in note


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(StoreError, match="two columns are called acc"):
        read(tmp_path, "row,seed,acc,acc\na,0,1,2\nb,0,3,4\n")


@pytest.mark.parametrize(("scale", "decimals"), [(1, 2), (0.01, 4)])
def test_shares_of_one_are_printed_finer(tmp_path, scale, decimals):
    lines = "".join(f"{r},{s},{v * scale}\n" for r, s, v in (("a", 0, 40.0), ("a", 1, 41.0), ("b", 0, 50.0)))
    assert read(tmp_path, "row,seed,acc\n" + lines).n_decimals == decimals
