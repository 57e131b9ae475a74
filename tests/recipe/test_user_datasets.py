"""Recipes of features and pictures of a user's own: forms of writing, and faults told at their key."""

from __future__ import annotations

import pytest

from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe

TEXT = """\
name: mine
data: DATA
model: {name: mlp, modality: SEEN, hidden: [4]}
losses:
  sup: {weight: 1}
rows: [[sup]]
baseline: sup
seeds: [0]
"""
ARRAYS = "name: arrays, root: d, modalities: {a: a.npy, b: {files: b.csv, channels: [0, 1]}}"
FOLDERS = 'name: class_folders, root: d, modalities: {a: "{class}/a/{id}.png", b: "{class}/b/{id}.npy"}'
PAIRS = "name: rgb_lidar, root: d"
DIGITS = "name: mfeat, modalities: [fac, mor]"


def loaded(tmp_path, data, seen="a"):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("DATA", "{" + data + "}").replace("SEEN", seen))
    return load_recipe(str(path))


def test_short_forms(tmp_path):
    data = loaded(tmp_path, f"{ARRAYS}, labels: y.csv, split: part, group: {{file: g.csv, column: who}}").data
    assert data.options["labels"] == {"file": "y.csv", "column": None}
    assert data.options["split"] == {"file": None, "column": "part"}
    assert data.options["group"] == {"file": "g.csv", "column": "who"}
    assert loaded(tmp_path, f"{ARRAYS}, labels: -1").data.options["labels"] == {"file": None, "column": -1}
    assert loaded(tmp_path, ARRAYS).data.options["labels"] == {"file": None, "column": -1}
    assert loaded(tmp_path, FOLDERS).data.options["fractions"] == [0.6, 0.2, 0.2]
    published = loaded(tmp_path, f"{PAIRS}, fractions: [0.8, 0.2, 0], lidar: {{upright: true}}", "rgb").data
    assert published.modalities == ["rgb", "lidar"]
    assert published.options["lidar"] == {"max_range": 50.0, "upright": True, "normalise": "standard"}
    assert loaded(tmp_path, f"{DIGITS}, mor: {{noise: 2}}", "mor").data.options["mor"] == {"noise": 2.0, "keep": None}
    assert set(loaded(tmp_path, DIGITS, "mor").data.options) == {"fractions", "split_seed"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f"{ARRAYS}, labels: true", "data.labels"),
        (f"{ARRAYS}, labels: {{}}", "file, column or both must be given"),
        (f"{ARRAYS}, labels: {{file: y.csv, colum: x}}", "data.labels.colum: unknown key"),
        (f"{ARRAYS}, fractions: [0.5, 0.2, 0.2]", "fractions must sum to 1, train and one other above 0"),
        (f"{ARRAYS}, missing: mask", "data.missing: should be 'refuse' or 'drop', got 'mask'"),
        (f"{ARRAYS}, standardise: batch", "data.standardise"),
        ("name: arrays, root: d, modalities: [a, b]", "arrays needs a mapping of names to files"),
        ("name: arrays, root: d, modalities: {a: [0, 1]}", "arrays needs a mapping of names to files"),
        (
            "name: arrays, root: d, modalities: {a: a.npy, split: b.npy}",
            "data.modalities: names other than those of options of arrays, got 'split'",
        ),
        (
            'name: class_folders, root: d, modalities: {a: "{class}/{id}.png", size: "{class}/{id}.npy"}',
            "data.modalities: names other than those of options of class_folders, got 'size'",
        ),
        (f"{FOLDERS}, missing: ask", "data.missing: should be 'refuse', 'drop' or 'mask', got 'ask'"),
        (f"{FOLDERS}, normalise: imagnet", "data.normalise"),
        (f"{FOLDERS}, splits: {{dev: dev}}", "data.splits"),
    ],
)
def test_faults(tmp_path, data, message):
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, data)
    text = "\n".join(caught.value.problems)
    assert message in text
    assert "mine.yaml:2" in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f"{PAIRS}, rgb: {{sizes: [4, 4]}}", "data.rgb.sizes: unknown key"),
        (f"{PAIRS}, lidar: {{max_range: 0}}", "data.lidar.max_range: should be greater than 0, got 0"),
        (f"{PAIRS}, modalities: [rgb, depth]", "rgb_lidar has no modality 'depth' (there are: rgb, lidar)"),
        (f"{PAIRS}, generate: {{samples: 4}}", "data.generate.samples: should be greater than or equal to 8, got 4"),
        (f"{DIGITS}, mor: {{keep: 7}}", "mor.keep 7 must be at most the 6 features of mor"),
        (f"{DIGITS}, mor: {{}}", "noise above 0, or keep, must be given"),
        (f"{DIGITS}, moor: {{noise: 1}}", "data.moor: unknown key"),
    ],
)
def test_faults_of_named_modalities(tmp_path, data, message):
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, data, "mor" if "mfeat" in data else "rgb")
    assert message in "\n".join(caught.value.problems)


@pytest.mark.parametrize("name", ["name", "modalities", "fingerprint"])
def test_a_modality_is_not_called_as_a_setting_of_the_data(tmp_path, name):
    data = f'name: class_folders, modalities: {{{name}: {{files: "{{class}}/a/{{id}}.png"}}}}'
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, data, name)
    message = f"data.modalities: names other than those of options of class_folders, got {name!r}"
    assert message in "\n".join(caught.value.problems)
