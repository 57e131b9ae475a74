"""The JSON schema accepts every shipped recipe and refuses what the loader refuses."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml
from project import ROOT

from mmablate.cli.listing import recipe_schema

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
PROGRAM = {
    "name": "own",
    "run": {"command": "python train.py"},
    "settings": {"lr": 0.1},
    "metrics": {"accuracy": "max"},
}
SMALL = {"name": "small", "data": {"name": "landsat"}, "model": {"name": "anymodal_segmentor"}, "losses": {"sup": {}}}


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def numbers(value):
    """Editors read YAML 1.2, where 2e-3 is a number; PyYAML reads 1.1, where it is a word."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+e-?\d+", value) else value


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path, validator):
    errors = [error.message for error in validator.iter_errors(numbers(yaml.safe_load(path.read_text())))]
    assert errors == []


@pytest.mark.parametrize(
    "change",
    [
        {"nonsense": 1},
        {"data": {"name": "landsat", "nonsense": 1}},
        {"losses": {"sup": {"weight": -1}}},
        {"losses": {}},
        {"train": {"epochs": 0}},
        {"seeds": [-1]},
        {"rows": []},
    ],
)
def test_what_the_loader_refuses_is_refused(change, validator):
    assert list(validator.iter_errors(SMALL)) == []
    assert list(validator.iter_errors({**SMALL, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"nonsense": 1},
        {"data": {"name": "landsat"}},
        {"run": {"command": "python train.py", "call": "train:main"}},
        {"run": {"timeout": 5}},
        {"metrics": {}},
        {"metrics": {"accuracy": "best"}},
        {"metrics": {"accuracy": {"unit": "%"}}},
        {"seeds": [-1]},
    ],
)
def test_recipes_of_programs(change, validator):
    assert list(validator.iter_errors(PROGRAM)) == []
    assert list(validator.iter_errors({**PROGRAM, **change}))
    without_run = {key: value for key, value in PROGRAM.items() if key != "run"}
    assert any("'run' is a required property" in e.message for e in validator.iter_errors(without_run))
