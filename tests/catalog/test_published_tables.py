"""Published figures that ship: complete, and named as the studies that measure the same."""

from __future__ import annotations

import math

import pytest
from project import ROOT

from mmablate.analysis import load_tables
from mmablate.analysis.comparing import compare
from mmablate.catalog.published import FOLDER, published_tables
from mmablate.recipe.reading import read_yaml
from mmablate.study import open_study, opening
from mmablate.study.sweeping import SweepRequest


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(published_tables())
    text = (FOLDER / "README.md").read_text()
    assert all(f"`{name}.csv`" in text for name in published_tables())


OF_CLASSIFIERS = [name for name in published_tables() if name.startswith("mfh_")]
BALANCED = [name for name in published_tables() if name.startswith("balancebenchmark_")]


OTHERS = (*OF_CLASSIFIERS, *BALANCED, "prism_components")


@pytest.mark.parametrize("name", [name for name in published_tables() if name not in OTHERS])
def test_each_mean_is_that_of_its_columns(name: str) -> None:
    columns, rows = published_tables()[name].read()
    assert columns[-1] == "Mean"
    for row, values in rows.items():
        mean = math.fsum(values[column] for column in columns[:-1]) / (len(columns) - 1)
        assert values["Mean"] == pytest.approx(mean, abs=0.0051), row


def test_rows_and_columns_are_those_of_the_full_study(mini_muses) -> None:
    recipe = ROOT / "recipes" / "muses_losses.yaml"
    name = read_yaml(recipe).data["profiles"]["full"]["name"]
    some = [table for table in published_tables().values() if table.name not in OTHERS]
    wanted = {table.study: table for table in some if table.study}
    requests = {name: None, f"{name}_lambda": "lambda", f"{name}_alpha": "alpha"}
    assert wanted.keys() == requests.keys()
    for study_name, parameter in requests.items():
        sweep = SweepRequest((parameter,), None) if parameter else None
        study = open_study(str(recipe), profile="full", data_root=str(mini_muses), sweep=sweep)
        assert study.name == study_name
        columns, rows = wanted[study_name].read()
        assert columns == ("F", "E", "L", "FE", "FL", "EL", "FEL", "Mean")
        assert set(rows) <= {row.name for row in study.rows}


@pytest.mark.parametrize("name", OF_CLASSIFIERS)
def test_rows_and_columns_are_those_of_the_recipe(name: str) -> None:
    table = published_tables()[name]
    study = open_study(str(table.study), seeds=[0])
    columns, rows = table.read()
    assert columns == ("Acc", "Teacher")
    assert set(rows) <= {row.name for row in study.rows}
    assert all(set(values) == ({"Acc"} if row.endswith("no_kd") else set(columns)) for row, values in rows.items())


FOUND = {  # of BalanceBenchmark's table: joint, OGM, unimodal, and the best of the others
    "cremad": (65.50, 67.76, 59.38, 58.10, 79.97),
    "ks": (65.63, 67.04, 55.06, 45.31, 74.55),
    "vggsound": (48.08, 48.25, 41.27, 30.43, 50.38),
}


@pytest.mark.parametrize("name", FOUND)
def test_methods_that_balance_modalities(name: str, tmp_path, monkeypatch) -> None:
    """Named as the rows of the recipe where they have a like there."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")
    table = published_tables()[f"balancebenchmark_{name}"]
    columns, rows = table.read()
    assert columns == ("Acc",)
    assert table.study is not None
    study = open_study(table.study.removesuffix("_full"), profile="full", data_root=str(tmp_path))
    assert study.name == table.study
    suffix = "+concat" if name == "cremad" else ""
    own = [f"{row}{suffix}" for row in ("joint", "ogm_ge", "audio_alone", "visual_alone")]
    assert next(iter(rows)) == own[0] == study.baseline[own[1]]
    assert set(own) <= {row.name for row in study.rows}
    others = [values["Acc"] for row, values in rows.items() if row not in own]
    assert (*(rows[row]["Acc"] for row in own), max(others)) == FOUND[name]
    assert len(rows) == 11
    assert not {row.name for row in study.rows} & (rows.keys() - set(own))


@pytest.mark.parametrize("name", FOUND)
def test_a_study_stands_beside_them(name: str) -> None:
    about = published_tables()[f"balancebenchmark_{name}"]
    (table,) = load_tables(about.path)[0]
    suffix = "+concat" if name == "cremad" else ""
    own = table.model_copy(update={"rows": table.rows[:4], "title": "mine"})
    compared = compare(own, table)
    assert set(compared.baselines.values()) == {f"joint{suffix}"}
    deltas = {pair.row: pair.delta_b for pair in compared.pairs}
    assert deltas[f"ogm_ge{suffix}"] == pytest.approx(FOUND[name][1] - FOUND[name][0])
    assert any("single runs" in note for note in compared.notes)


def test_table_2_says_what_it_is_quoted_for() -> None:
    _, rows = published_tables()["mfh_focus"].read()
    gains = [rows[f"{g}+kd_general"]["Acc"] - rows[f"{g}+kd"]["Acc"] for g in ("0.25", "0.33", "0.50", "0.67", "0.75")]
    assert [round(gain, 2) for gain in gains] == [1.55, 2.34, 2.39, 1.83, 1.17]


def test_components_are_named_as_the_rows_of_the_recipe(tmp_path, monkeypatch) -> None:
    """One published row, prototypes without pixels, has no like among the recipe's, which add one to another."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")
    table = published_tables()["prism_components"]
    columns, rows = table.read()
    study = open_study("brats_components", profile="full", data_root=str(tmp_path))
    assert study.name == table.study
    assert columns == ("Dice", "HD95")
    assert set(rows) - {row.name for row in study.rows} == {"fuse+uni+prm+proto"}
    assert rows["balanced"] == {"Dice": 69.28, "HD95": 10.71}
