"""Published figures that ship: complete, and named as the studies that measure the same."""

from __future__ import annotations

import math

import pytest
from project import ROOT

from mmablate.catalog.published import FOLDER, published_tables
from mmablate.recipe.reading import read_yaml
from mmablate.study import open_study
from mmablate.study.sweeping import SweepRequest


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(published_tables())
    text = (FOLDER / "README.md").read_text()
    assert all(f"`{name}.csv`" in text for name in published_tables())


@pytest.mark.parametrize("name", published_tables())
def test_each_mean_is_that_of_its_columns(name: str) -> None:
    columns, rows = published_tables()[name].read()
    assert columns[-1] == "Mean"
    for row, values in rows.items():
        mean = math.fsum(values[column] for column in columns[:-1]) / (len(columns) - 1)
        assert values["Mean"] == pytest.approx(mean, abs=0.0051), row


def test_rows_and_columns_are_those_of_the_full_study(mini_muses) -> None:
    recipe = ROOT / "recipes" / "muses_losses.yaml"
    name = read_yaml(recipe).data["profiles"]["full"]["name"]
    wanted = {table.study: table for table in published_tables().values() if table.study}
    requests = {name: None, f"{name}_lambda": "lambda", f"{name}_alpha": "alpha"}
    assert wanted.keys() == requests.keys()
    for study_name, parameter in requests.items():
        sweep = SweepRequest((parameter,), None) if parameter else None
        study = open_study(str(recipe), profile="full", data_root=str(mini_muses), sweep=sweep)
        assert study.name == study_name
        columns, rows = wanted[study_name].read()
        assert columns == ("F", "E", "L", "FE", "FL", "EL", "FEL", "Mean")
        assert set(rows) <= {row.name for row in study.rows}
