"""The worked example of the README, typed as a user would: a training script of one's own, its grid and its tables."""

from __future__ import annotations

import json

import pytest
from program_samples import README_RECIPE, README_TRAIN
from project import ROOT

COLUMNS = ["accuracy", "loss"]
ROWS = ["sum+slow", "sum+fast", "concat+slow", "concat+fast"]


@pytest.fixture
def example(tmp_path):
    """The files of the example, in the folder where commands run."""
    (tmp_path / "train.py").write_text(README_TRAIN)
    (tmp_path / "fusion.yaml").write_text(README_RECIPE)
    return tmp_path


def test_the_example_of_the_readme(example, mmablate):
    plan = mmablate("ablate", "fusion.yaml", "-n", "--strict", "--format", "json")
    assert plan.code == 0, plan.err
    assert [run["finished"] for run in json.loads(plan.out)["runs"]] == [False] * 20
    done = mmablate("ablate", "fusion.yaml", "--format", "json", "-j", "1")
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert (table["study"], table["columns"], table["baseline"]) == ("fusion", COLUMNS, None)
    assert table["column_info"] == {
        "accuracy": {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False},
        "loss": {"metric": "loss", "unit": "", "direction": "min", "subset": False},
    }
    assert table["dataset"]["synthetic"] is True
    assert "Synthetic data" in table["notes"][0]
    assert [row["name"] for row in table["rows"]] == ROWS
    assert [row["baseline"] for row in table["rows"]] == ["sum+slow", "sum+fast"] * 2
    cell = table["rows"][3]["cells"]["accuracy"]
    assert sorted(cell["values"]) == ["0", "1", "2", "3", "4"]
    assert cell["delta"] > 10
    assert cell["significant"] is True
    assert "SYNTHETIC" in (example / "results/fusion/index.html").read_text().upper()

    again = mmablate("ablate", "fusion.yaml", "--format", "json")
    assert again.out == done.out
    assert json.loads(mmablate("table", "results/fusion", "--format", "json").out) == table
    check = mmablate("check", "results/fusion", "--format", "json")
    assert (check.code, json.loads(check.out)["claims"][0]["outcome"]) == (0, "holds"), check.out
    for format in ("terminal", "html", "markdown", "latex", "csv"):
        shown = mmablate("table", "results/fusion", "--format", format)
        assert shown.code == 0, shown.err
        assert "accuracy" in shown.out
    sweep = mmablate("sweep", "fusion.yaml", "--param", "lr", "-q", "--format", "json")
    assert [row["name"] for row in json.loads(sweep.out)["rows"]] == ["lr=0.01", "lr=0.1", "lr=1"], sweep.err
    assert mmablate("ablate", "fusion.yaml", "name=short", "steps=20", "-q").code == 0
    compared = mmablate("compare", "results/fusion", "results/short")
    assert compared.code == 0, compared.err


def test_the_readme_shows_what_is_tested():
    readme = (ROOT / "README.md").read_text()
    if "train:main" not in readme:
        pytest.skip("the README does not show the example yet")
    assert README_TRAIN in readme
    assert README_RECIPE in readme


def test_one_run(example, mmablate):
    done = mmablate("train", "fusion.yaml", "--row", "concat+fast", "--seed", "7", "steps=10", "--format", "json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert (record["row"], record["seed"], record["synthetic"]) == ("concat+fast", 7, True)
    shown = mmablate("train", "fusion.yaml", "--row", "concat+fast", "--seed", "7", "steps=10")
    assert "concat+fast, seed 7 · SYNTHETIC DATA" in " ".join(shown.out.split())
    assert "reported" in shown.out
    assert "None" not in shown.out


def test_only_some_rows_and_seeds(example, mmablate):
    done = mmablate("ablate", "fusion.yaml", "--only", "concat*", "--seeds", "0,1", "-q", "--format", "json")
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert {row["name"]: row["n_seeds"] for row in table["rows"]} == {"concat+slow": 2, "concat+fast": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr=x", "--param", "speed"], "--param speed: the recipe has no such parameter (there are: lr)"),
        (["--param", "lr", "--data-root", "."], "--data-root: the recipe runs a program"),
        (["--param", "lr", "run.call=train"], "run.call: package.module:function, got 'train'"),
        (["--param", "lr", "nope=1"], "command line: nope: unknown key"),
    ],
)
def test_mistakes_are_told(example, mmablate, arguments, message):
    done = mmablate("sweep", "fusion.yaml", *arguments)
    assert done.code == 2
    assert message in done.err.replace("\n  ", " ")
    assert "Traceback" not in done.err


def test_failures_are_told_with_their_reason(example, mmablate):
    (example / "train.py").write_text("def main(settings, reporter):\n    raise ValueError('no such disk')\n")
    done = mmablate("ablate", "fusion.yaml", "--seeds", "0", "-j", "1")
    assert done.code == 1
    assert done.err.count("ValueError: no such disk") == 4
    assert "Traceback" not in done.err
    again = mmablate("ablate", "fusion.yaml", "--seeds", "0", "-q")
    assert "4 runs failed; --retry-failed trains again" in again.err
