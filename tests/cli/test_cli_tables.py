"""`table` with its options: views, confidence, figures, LaTeX, colours; and what a recipe says of its print."""

from __future__ import annotations

import json
import shutil

import pytest
from project import ROOT

DEMO = ROOT / "results" / "demo_landsat"
FULL = "sup+mad+umd+cmd"


@pytest.fixture
def demo(tmp_path):
    """The finished study that ships, in a results folder of its own."""
    shutil.copytree(DEMO, tmp_path / "results" / "demo_landsat")
    return tmp_path / "results" / "demo_landsat"


def relaid(demo, **changes):
    """The study with changes to the layout of its table."""
    path = demo / "study.json"
    study = json.loads(path.read_text())
    study["table"].update(changes)
    path.write_text(json.dumps(study))


def test_the_folder_of_results_becomes_one_page(mmablate, tmp_path):
    done = mmablate("table", ROOT / "results", "--format", "html", "-o", tmp_path / "t.html")
    assert (done.code, done.out, done.err) == (0, "", "")
    page = (tmp_path / "t.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "A small study on Landsat" in page


def test_the_interval_follows_the_confidence(mmablate, demo):
    widths = {}
    for confidence in ("0.9", "0.95", "0.99"):
        done = mmablate("table", demo, "--confidence", confidence, "--format", "json")
        low, high = json.loads(done.out)["rows"][1]["cells"]["Mean"]["ci"]
        widths[confidence] = high - low
    # Quantiles of Student's t with two degrees of freedom.
    assert widths["0.99"] / widths["0.95"] == pytest.approx(9.924843 / 4.302653, rel=1e-6)
    assert widths["0.9"] / widths["0.95"] == pytest.approx(2.919986 / 4.302653, rel=1e-6)
    default = json.loads(mmablate("table", demo, "--format", "json").out)["rows"][1]["cells"]["Mean"]["ci"]
    assert default[1] - default[0] == pytest.approx(widths["0.95"])


def test_the_recipe_names_what_is_printed(mmablate, demo):
    relaid(demo, decimal=",", extras=["n_parameters"], smallest_effect=1.0, n_decimals=1)
    study = json.loads((demo / "study.json").read_text())
    study["table"]["column_info"]["V"]["label"] = "Sichtbares Licht"
    study["table"]["rows"][1]["label"] = "alle Verluste"
    (demo / "study.json").write_text(json.dumps(study))
    text = mmablate("table", demo).out
    assert "Sichtbares" in text
    assert "alle Verluste" in text
    assert "Parameters" in text
    assert "Time of a run" not in text
    assert "seeds to detect 1" in " ".join(text.split())
    assert "28,1" in text
    assert "28.1" in mmablate("table", demo, "--format", "csv").out


@pytest.mark.parametrize("view", ["effects", "leave-one-out", "add-one-in"])
def test_two_rows_three_terms_apart_are_no_design(mmablate, demo, view):
    done = mmablate("table", demo, "--view", view)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert f"--view {view}: demo_landsat" in done.err


def test_latex_as_fragment_and_document(mmablate, demo, tmp_path):
    fragment = mmablate("table", demo, "--format", "latex").out
    assert "\\documentclass" not in fragment
    assert "\\toprule" in fragment
    done = mmablate("table", demo, "--standalone", "-o", tmp_path / "t.tex")
    assert done.code == 0
    assert "\\documentclass" in (tmp_path / "t.tex").read_text()
    refused = mmablate("table", demo, "--standalone")
    assert (refused.code, refused.err) == (2, "error: --standalone goes with --format latex\n")


def test_figures_as_files(mmablate, demo, tmp_path):
    done = mmablate("table", demo, "--figures", tmp_path / "figures")
    assert done.code == 0
    assert (tmp_path / "figures" / "subsets.svg").read_text().lstrip().startswith("<?xml")
    assert (tmp_path / "figures" / "subsets.pdf").read_bytes().startswith(b"%PDF")


def test_a_name_in_a_json_file_leads_out_of_no_folder(mmablate, demo, tmp_path):
    table = json.loads(mmablate("table", demo, "--format", "json").out)
    (tmp_path / "two.json").write_text(json.dumps({"schema": 1, "tables": [{**table, "study": "../../out"}, table]}))
    inner = tmp_path / "a" / "b" / "c"
    done = mmablate("table", tmp_path / "two.json", "--figures", inner)
    assert done.code == 0
    written = {path.relative_to(inner).parts[0] for path in inner.rglob("*.svg")}
    assert len(written) == 2
    assert not list((tmp_path / "a").glob("*.svg"))
    assert set(tmp_path.rglob("*.svg")) - set(demo.rglob("*.svg")) == set(inner.rglob("*.svg"))


@pytest.mark.parametrize(
    ("options", "colours"),
    [((), False), (("--color", "always"), True), (("--color", "never"), False)],
)
def test_colours_are_for_terminals_or_on_demand(mmablate, demo, options, colours):
    assert ("\x1b[" in mmablate("table", demo, *options).out) == colours


@pytest.mark.parametrize("value", ["0.5", "1", "-1", "95", "nan"])
def test_a_confidence_is_a_share(mmablate, demo, value):
    done = mmablate("table", demo, f"--confidence={value}")
    assert done.code == 2
    assert "--confidence" in done.err
    assert done.err.count("\n") == 1


def test_options_of_csv_files_are_for_csv_files(mmablate, demo):
    done = mmablate("table", demo, "--lower", "V")
    assert done.code == 2
    assert "for a CSV of runs" in done.err


def test_names_from_files_do_not_act_on_the_terminal(mmablate, tmp_path):
    (tmp_path / "r.csv").write_text("row,seed,a\x1b[31mcc\nx,0,1\n")
    done = mmablate("table", "r.csv", "--lower", "zz")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert "a\\x1b[31mcc" in done.err


def test_decimals_and_the_note_about_them(mmablate, demo):
    two, four = (" ".join(mmablate("table", demo, "--decimals", n).out.split()) for n in ("2", "4"))
    assert "28.10" in two
    assert "28.1018" not in two
    assert "28.1018" in four
    notes = [text.partition("unrounded scores. In ")[2][:8] for text in (two, four)]
    assert notes[0] != notes[1]


@pytest.mark.parametrize(
    ("path", "told"),
    [("recipe.yaml", "mmablate ablate recipe.yaml"), ("words.md", "neither a study's folder, nor a JSON table")],
)
def test_other_files_are_told_for_what_they_are_not(mmablate, tmp_path, path, told):
    (tmp_path / path).write_text("name: x\n")
    done = mmablate("table", path)
    assert done.code == 2
    assert told in done.err


def test_study_json_stands_for_its_folder(mmablate, demo):
    assert (
        mmablate("table", demo / "study.json", "--format", "csv").out == mmablate("table", demo, "--format", "csv").out
    )


def test_the_ending_must_say_a_format(mmablate, demo, tmp_path):
    done = mmablate("table", demo, "-o", tmp_path / "t.docx")
    assert done.code == 2
    assert ".docx" in done.err
    assert not (tmp_path / "t.docx").exists()
    assert mmablate("table", demo, "--format", "csv", "-o", "-").out.startswith("row,label")


def test_a_delta_that_no_test_judges_says_so_in_every_format(mmablate, tmp_path):
    (tmp_path / "r.csv").write_text("row,seed,acc,f1\na,0,50,10\na,1,60,11\nb,0,52,14\nb,1,62,16\n")
    for fmt in ("terminal", "markdown", "html", "latex"):
        text = mmablate("table", "r.csv", "--format", fmt).out
        assert "n.t." in text
        assert "not tested" in " ".join(text.split())
