"""The commands as a user types them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from project import ROOT, TINY, shared_data

TABLE_KEYS = {"schema", "study", "title", "baseline", "columns", "column_info", "dataset", "rows", "notes"}
ROW_KEYS = {"name", "label", "baseline", "status", "n_seeds", "n_parameters", "seconds", "cells"}
CELL_KEYS = {
    "mean", "std", "values", "delta", "test", "ci", "p", "p_adjusted", "significant", "best", "tied", "heat",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """landsat_losses at a tiny setting, trained once for the tests of this file."""
    folder = tmp_path_factory.mktemp("cli")
    command = [sys.executable, "-m", "mmablate", "ablate", str(ROOT / "recipes/landsat_losses.yaml"), *TINY]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "results", done


def test_ablate_prints_the_table_and_speaks_on_stderr(results):
    _, done = results
    assert "L_sup + λL_mad" in done.stdout
    assert "VNS" in done.stdout
    assert "±" in done.stdout
    assert "Always predicting the most frequent training class" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout + done.stderr
    assert "[10/10]" in done.stderr
    assert "left" in done.stderr


def test_table_json_obeys_the_contract(results, mmablate):
    folder, _ = results
    done = mmablate("table", folder / "landsat_losses", "--format", "json")
    assert done.code == 0
    table = json.loads(done.out)
    assert table.keys() >= TABLE_KEYS
    assert table["columns"] == ["V", "N", "S", "VN", "VS", "NS", "VNS", "Mean"]
    assert table["baseline"] == "sup"
    assert [row["name"] for row in table["rows"]] == ["sup", "sup+mad", "sup+mad+umd", "sup+mad+umd+cmd"]
    assert table["dataset"]["synthetic"] is False
    base = table["rows"][0]["cells"]
    for row in table["rows"]:
        assert row.keys() >= ROW_KEYS
        for column, cell in row["cells"].items():
            assert cell.keys() >= CELL_KEYS
            assert cell["mean"] == pytest.approx(sum(cell["values"].values()) / 2, abs=1e-12)
            if row["name"] == "sup":
                assert cell["delta"] is None
            else:
                paired = [cell["values"][seed] - base[column]["values"][seed] for seed in ("0", "1")]
                assert cell["delta"] == pytest.approx(sum(paired) / 2, abs=1e-12)
        for seed in ("0", "1"):
            seven = [row["cells"][column]["values"][seed] for column in table["columns"][:-1]]
            assert row["cells"]["Mean"]["values"][seed] == pytest.approx(sum(seven) / 7, abs=1e-12)


def test_records_and_table_agree(results):
    folder, _ = results
    study = json.loads((folder / "landsat_losses/study.json").read_text())
    assert study["execution"]["mode"] == "in_turn"
    for entry in study["plan"]:
        run = folder / "landsat_losses/runs" / entry["run_id"]
        record = json.loads((run / "record.json").read_text())
        assert record["run_id"] == entry["run_id"]
        assert (record["row"] is None) == (entry["role"] == "teacher")
        assert (run / "checkpoint.safetensors").exists() == (entry["role"] == "teacher")
        assert json.loads((run / "config.json").read_text())["seed"] == record["seed"]
        lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1]
        assert lines[0]["losses"].keys() == {loss["key"] for loss in record_losses(run)}


def record_losses(run):
    return json.loads((run / "config.json").read_text())["losses"]


def test_rows_of_a_seed_are_paired(results):
    folder, _ = results
    by_seed = {}
    for path in folder.glob("landsat_losses/runs/*/record.json"):
        record = json.loads(path.read_text())
        if record["role"] == "student":
            key = (record["digests"]["init"], record["digests"]["order"])
            by_seed.setdefault(record["seed"], set()).add(key)
    assert {seed: len(keys) for seed, keys in by_seed.items()} == {0: 1, 1: 1}
    assert by_seed[0] != by_seed[1]


@pytest.mark.parametrize("format", ["html", "markdown", "csv", "json"])
def test_table_writes_every_format_to_a_file(results, mmablate, tmp_path, format):
    folder, _ = results
    file = tmp_path / "sub" / f"table.{format}"
    done = mmablate("table", folder, "--format", format, "-o", file)
    assert (done.code, done.out) == (0, "")
    text = file.read_text()
    assert "mad" in text
    if format == "html":
        HTMLParser().feed(text)
    if format == "json":
        assert [table["study"] for table in json.loads(text)["tables"]] == ["landsat_losses"]
        again = mmablate("table", file, "--format", "json")
        assert again.out == text


def test_another_baseline(results, mmablate):
    folder, _ = results
    done = mmablate("table", folder / "landsat_losses", "--format", "json", "--baseline", "sup+mad")
    table = json.loads(done.out)
    assert table["baseline"] == "sup+mad"
    assert table["rows"][1]["cells"]["V"]["delta"] is None
    assert table["rows"][0]["cells"]["V"]["delta"] is not None


def test_sweep_shares_runs_with_the_loss_table(results, mmablate):
    folder, _ = results
    done = mmablate(
        "sweep", "landsat_losses", *TINY, "--param", "beta", "--values", "10,30", "--out", folder, "--format", "json"
    )
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert table["study"] == "landsat_losses_beta"
    assert [row["name"] for row in table["rows"]] == ["beta=0", "beta=10", "beta=30"]
    assert table["baseline"] == "beta=0"
    records = [json.loads(p.read_text()) for p in folder.glob("landsat_losses_beta/runs/*/record.json")]
    assert sum(record["study"] == "landsat_losses" for record in records) == 6  # 2 teachers, 2 x beta=0, 2 x beta=10
    assert sum(record["study"] == "landsat_losses_beta" for record in records) == 2


def test_train_takes_a_row_and_a_seed(results, mmablate):
    folder, _ = results
    done = mmablate(
        "train", "landsat_losses", *TINY, "--row", "sup", "--seed", 1, "--out", folder, "--format", "json", "-q"
    )
    record = json.loads(done.out)
    assert (done.code, record["row"], record["seed"], record["status"]) == (0, "sup", 1, "ok")
    human = mmablate("train", "landsat_losses", *TINY, "--out", folder)
    assert "sup+mad+umd+cmd, seed 0" in human.out


def test_the_second_call_needs_no_torch(results, mmablate):
    folder, _ = results
    code = (
        "import sys; from mmablate.cli.app import app\n"
        f"try: app(['ablate', 'landsat_losses', {', '.join(map(repr, TINY))}, '--out', {str(folder)!r}])\n"
        "finally: assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["ablate", "landsat_losses", "-n"], ["list"], ["schema"]])
def test_quick_commands_import_no_torch(arguments, tmp_path):
    code = (
        "import sys; from mmablate.cli.app import app\n"
        f"try: app({arguments!r})\n"
        "finally: assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "results").exists()


def test_lists_schema_doctor_and_data(mmablate):
    assert "landsat_losses" in mmablate("list", "recipes").out
    losses = mmablate("list", "losses").out
    assert "released" in losses
    schema = json.loads(mmablate("schema").out)
    assert schema["properties"].keys() >= {"name", "data", "losses", "rows", "profiles"}
    doctor = mmablate("doctor")
    assert doctor.code == 0
    assert "torch" in doctor.out
    assert "no faults found" in mmablate("data", "check", "landsat").out
    card = json.loads(mmablate("data", "info", "landsat", "--format", "json").out)
    assert card["modalities"] == {"V": 3, "N": 1, "S": 2}
    assert "CC BY-SA" in card["attribution"]


def test_real_sweeps(mmablate):
    folder = shared_data("nuscenes_range")
    done = mmablate("data", "check", "lidar_losses", folder)
    assert (done.code, "no faults found" in done.out) == (0, True)
    tiny = [
        "train.epochs=1",
        "seeds=[0]",
        "model.widths=[4,4,4]",
        "data.column_stride=4",
        "data.columns=64",
        "train.augment.crop=null",
    ]
    done = mmablate("ablate", "lidar_losses", *tiny, "--data-root", folder, "--format", "json", "-q")
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert table["columns"][0:3] == ["G", "I", "D"]
    assert any("no test labels" in note for note in table["notes"])


def test_recipe_is_found_from_any_folder_and_written_as_in_the_readme(mmablate, tmp_path):
    for name in ("landsat_losses", "landsat_losses.yaml", "recipes/landsat_losses.yaml"):
        assert mmablate("ablate", name, "-n", cwd=tmp_path).code == 0


def test_shipped_study_has_something_to_show(mmablate):
    """Studies of the user's own may stand beside it."""
    done = mmablate("table", ROOT / "results", "--format", "html")
    assert done.code == 0, done.err
    assert "A small study on Landsat" in done.out
    assert "demo_landsat" not in {p.stem for p in (ROOT / "recipes").rglob("*.yaml")}


def test_a_closed_pipe_is_no_error(results):
    folder, _ = results
    command = f"{sys.executable} -m mmablate table {folder} --format json | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_interrupt_ends_with_130_and_resumes_to_the_same_numbers(mmablate, tmp_path):
    settings = [*TINY, "train.epochs=4", "--only", "sup"]
    command = [sys.executable, "-m", "mmablate", "ablate", "landsat_losses", *settings]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("results/landsat_losses/runs/*/config.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, 2)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    done = mmablate("ablate", "landsat_losses", *settings, "-q", "--format", "json")
    fresh = mmablate("ablate", "landsat_losses", *settings, "-q", "--format", "json", "--out", "fresh")
    assert json.loads(done.out)["rows"][0]["cells"] == json.loads(fresh.out)["rows"][0]["cells"]


def test_a_terminal_without_greek_gets_question_marks(results, mmablate):
    folder, _ = results
    done = mmablate("table", folder, PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert "?L_mad" in done.out


def test_sweep_over_words(results, mmablate):
    folder, _ = results
    grid = ["--param", "losses.mad.definition", "--values", "principled,paper"]
    done = mmablate("sweep", "landsat_losses", *TINY, *grid, "--out", folder, "-q")
    assert done.code == 0, done.err
    study = folder / "landsat_losses_losses.mad.definition"
    table = json.loads(mmablate("table", study, "--format", "json").out)
    assert [row["name"] for row in table["rows"]] == [f"losses.mad.definition={w}" for w in ("principled", "paper")]
    assert table["baseline"] == "losses.mad.definition=principled"
    assert (study / "index.html").exists()


def test_train_leaves_the_table_of_the_study_whole(results, mmablate):
    folder, _ = results
    done = mmablate("train", "landsat_losses", *TINY, "--row", "sup", "--seed", 7, "--out", folder, "-q")
    assert done.code == 0, done.err
    table = json.loads(mmablate("table", folder / "landsat_losses", "--format", "json").out)
    assert {row["name"]: (row["status"], row["n_seeds"]) for row in table["rows"]} == {
        "sup": ("ok", 3),
        "sup+mad": ("ok", 2),
        "sup+mad+umd": ("ok", 2),
        "sup+mad+umd+cmd": ("ok", 2),
    }
    assert any("different seeds" in note for note in table["notes"])
