"""`sweep --sampler tpe|random` as a user types it."""

from __future__ import annotations

import json

import pytest
from project import TINY

CLAIM = 'claims=["Mean rises with lambda"]'
SEARCH = [
    "sweep",
    "landsat_losses",
    *TINY,
    CLAIM,
    "--param",
    "lambda",
    "--range",
    "1:100:log",
    "--device",
    "cpu",
    "-j",
    1,
]


def test_a_search_prints_both_tables_and_the_choice_and_all_commands_read_it(mmablate, tmp_path):
    done = mmablate(*SEARCH, "--sampler", "tpe", "--trials", 3)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert "chosen on" in done.out
    closing = " ".join(done.out.split("Chosen: ")[-1].split())
    assert "by the mean of the validation Mean" in closing
    assert "On fresh seeds (2, 3), test: Δ Mean" in closing
    assert "search: trial 2: lambda=" in done.err
    folder = tmp_path / "results"
    assert {path.parent.name for path in folder.glob("*/study.json")} == {
        "landsat_losses_lambda",
        "landsat_losses_lambda_best",
    }
    again = mmablate(*SEARCH, "--sampler", "tpe", "--trials", 3, "--format", "json", "-q")
    search, best = json.loads(again.out)["tables"]
    assert search["study"] == "landsat_losses_lambda"
    assert len(search["search"]["trials"]) == 3
    assert search["search"]["check"] == best["study"] == "landsat_losses_lambda_best"
    assert [row["name"] for row in best["rows"]] == ["lambda=0", search["search"]["chosen"]]
    page = (folder / "landsat_losses_lambda" / "index.html").read_text()
    assert "Search: objective over each parameter" in page
    table = mmablate("table", folder / "landsat_losses_lambda", "--format", "json")
    assert json.loads(table.out) == search
    assert "slope of Mean on lambda, 4 rows" in mmablate("check", folder / "landsat_losses_lambda").out
    for format in ("html", "markdown", "latex", "csv"):
        assert mmablate("table", folder / "landsat_losses_lambda", "--format", format).code == 0


def test_a_dry_run_says_what_is_searched_and_writes_nothing(mmablate, tmp_path):
    done = mmablate(*SEARCH, "--sampler", "random", "--trials", 7, "-n")
    assert done.code == 0, done.err
    assert "1 to 100 (log)" in done.out
    assert "at most 14 runs of trials" in done.out
    assert "fresh seeds 2, 3" in " ".join(done.out.split())
    plan = json.loads(mmablate(*SEARCH, "--sampler", "random", "-n", "--format", "json").out)
    assert plan["trials"] == 20
    assert plan["fresh_seeds"] == [2, 3]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--param", "gamma", "--sampler", "tpe"], "--param gamma: the recipe has no such parameter"),
        (["--param", "lambda", "--range", "9:1", "--sampler", "tpe"], "--range 9:1: a range is LO < HI"),
        (["--param", "lambda", "--range", "x", "--sampler", "tpe"], "--range x: LO:HI or LO:HI:log"),
        (["--param", "lambda", "--sampler", "tpe", "--trials", "0"], "--trials"),
        (["--param", "lambda", "--objective", "lcb"], "--objective lcb: a grid trains every value"),
        (["--param", "lambda", "--prune", "median"], "--prune median: a grid trains every value"),
        (["--param", "lambda", "--trials", "3"], "--trials 3: the grid's values are listed"),
        (["--param", "lambda", "--sampler", "tpe", "--force"], "--force: a search does not train its trials again"),
        (["--param", "lambda", "--sampler", "tpe", "--objective", "lcb", "--seeds", "1"], "two seeds or more"),
        (["--param", "lambda", "--sampler", "tpe", "search.column=Q"], "search.column: a column of the table"),
        (["--param", "lambda", "--sampler", "bayes"], "--sampler"),
        (["--param", "lambda", "--range=-1:1", "--sampler", "random"], "losses.mad.weight: should be greater than"),
    ],
)
def test_mistakes_end_with_2_and_one_message(mmablate, tmp_path, arguments, told):
    done = mmablate("sweep", "landsat_losses", *arguments)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "results").exists()
