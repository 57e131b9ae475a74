"""Precedence: recipe, then its profile, then the command line (rows: see test_study_rows)."""

from __future__ import annotations

import pytest
from recipe_samples import SOUND, spoilt, write

from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import load_recipe
from mmablate.study import open_study

PROFILES = """\
profiles:
  mini: {train: {epochs: 3, weight_decay: 0.5}}
  long: {train: {epochs: 7}, losses: {mad: {weight: 0}}}
  nothing:
"""


def test_later_layers_win(tmp_path):
    path = write(tmp_path, SOUND + PROFILES)
    assert load_recipe(path, profile="nothing").train.epochs == 2
    assert load_recipe(path).train.epochs == 3  # mini is the default
    assert load_recipe(path, profile="mini").train.weight_decay == 0.5
    assert load_recipe(path, profile="long").train.epochs == 7
    assert load_recipe(path, profile="long", overrides=["train.epochs=9"]).train.epochs == 9
    assert load_recipe(path, profile="long", overrides=["train.lr=1"]).train.epochs == 7
    assert load_recipe(path, overrides=["train.epochs=4", "train.epochs=5"]).train.epochs == 5


def test_a_profile_merges_key_by_key(tmp_path):
    recipe = load_recipe(write(tmp_path, SOUND + PROFILES), profile="long")
    assert recipe.train.lr == 0.001
    assert recipe.losses["mad"].weight == 0
    assert recipe.losses["mad"].symbol == "λ"


def test_without_a_mini_profile_the_body_is_its_own_mini(tmp_path):
    path = write(tmp_path, SOUND + "profiles:\n  long: {train: {epochs: 7}}\n")
    assert load_recipe(path).train.epochs == load_recipe(path, profile="mini").train.epochs == 2


def test_rows_and_modalities_are_replaced_not_merged(tmp_path):
    layer = "profiles:\n  one: {rows: [[mad]], baseline: mad, data: {modalities: [N]}, sweep: {beta: {values: [5]}}}\n"
    study = open_study(write(tmp_path, SOUND + layer), profile="one")
    assert [row.name for row in study.rows] == ["mad"]
    assert study.recipe.data.modalities == ["N"]
    assert study.recipe.sweep["beta"].values == [5]


def test_mappings_that_mean_a_whole_are_replaced_too(tmp_path):
    body = "factors: {f: {a: {train.lr: 1}, b: {train.lr: 2}}}\nbaseline: {f: b}\n"
    body += "rows: {product: [f], exclude: [{f: a}]}\n"
    layer = "profiles:\n  other: {factors: {g: {c: {train.lr: 3}}}, rows: {zip: [g]}, baseline: {g: c}}\n"
    text = SOUND[: SOUND.index("rows:")] + SOUND[SOUND.index("seeds:") :] + body + layer
    assert [row.name for row in open_study(write(tmp_path, text)).rows] == ["b"]
    other = open_study(write(tmp_path, text), profile="other")
    assert [row.name for row in other.rows] == ["c"]
    assert list(other.recipe.factors) == ["g"]
    assert other.baseline == {"c": "c"}


def test_a_section_whose_name_changes_is_replaced(tmp_path):
    data = "{name: range_image, modalities: {A: [0]}, label_channel: 1, n_classes: 2}"
    text = SOUND + f"profiles:\n  mine: {{data: {data}}}\n"
    text = text.replace("modalities: [V, N, S]}", "modalities: [V, N, S], tile: 16}")
    recipe = load_recipe(write(tmp_path, text), profile="mine")
    assert recipe.data.options["label_channel"] == 1
    assert "tile" not in recipe.data.options
    same = SOUND + "profiles:\n  mine: {data: {name: landsat, tile: 16}}\n"
    recipe = load_recipe(write(tmp_path, same), profile="mine")
    assert recipe.data.options["tile"] == 16
    assert recipe.data.modalities == ["V", "N", "S"]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.weight_decay=0", 0.0),
        ("train.augment.flip=false", False),
        ("train.clip=null", None),
        ("train.clip=", None),
    ],
)
def test_zero_false_and_null_are_values(override, value, tmp_path):
    text = spoilt(("  lr: 1e-3", "  lr: 1e-3\n  clip: 2\n  weight_decay: 3\n  augment: {flip: true}"))
    here = load_recipe(write(tmp_path, text), overrides=[override]).train
    for part in override.partition("=")[0].split(".")[1:]:
        here = getattr(here, part)
    assert here == value
    assert type(here) is type(value)


def test_overrides_are_yaml(tmp_path):
    path = write(tmp_path)
    recipe = load_recipe(path, overrides=["losses.mad.weight=1e-3", "seeds=[0,3]", "rows=[[sup]]", "title=a=bc"])
    assert recipe.losses["mad"].weight == 0.001
    assert recipe.seeds == [0, 3]
    assert recipe.title == "a=bc"


def test_a_mapping_on_the_command_line_is_merged_as_in_a_profile(tmp_path):
    train = load_recipe(write(tmp_path), overrides=["train={epochs: 9}"]).train
    assert (train.epochs, train.lr) == (9, 0.001)


def test_an_override_makes_sections_on_the_way_and_leaves_the_file_alone(tmp_path):
    path = write(tmp_path)
    assert load_recipe(path, overrides=["masks.mode=none", "teacher.train.lr=2"]).teacher.train["lr"] == 2
    assert (tmp_path / "tiny.yaml").read_text(encoding="utf-8") == SOUND


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train..lr=1", ".train=1", "train.epochs.x=3", "rows.0=[sup]"])
def test_an_override_of_the_wrong_form_names_itself(text, tmp_path):
    with pytest.raises(UsageError) as caught:
        load_recipe(write(tmp_path), overrides=[text])
    assert text in str(caught.value)


def test_faults_of_the_command_line_are_placed_there(tmp_path):
    path = write(tmp_path)
    with pytest.raises(RecipeError, match=r"^command line: train.lr: should be greater than 0, got 0$"):
        load_recipe(path, overrides=["train.lr=0"])
    with pytest.raises(RecipeError, match=r"^command line: rows.0: the losses 'kd' are not defined"):
        open_study(path, overrides=["rows=[[kd]]", "baseline=null"])
    with pytest.raises(RecipeError, match=r"^command line: trian: unknown key; did you mean 'train'"):
        load_recipe(path, overrides=["trian.lr=1"])


def test_faults_of_a_profile_are_placed_on_its_lines(tmp_path):
    path = write(tmp_path, SOUND + "profiles:\n  bad:\n    train:\n      lr: 0\n")
    number = len(SOUND.splitlines()) + 4
    with pytest.raises(RecipeError, match=f"tiny.yaml:{number}: train.lr: should be greater than 0"):
        load_recipe(path, profile="bad")
    load_recipe(path)


@pytest.mark.parametrize(
    ("text", "profile", "told"),
    [
        ("profiles: 3", None, ": profiles: a mapping of names, got 3"),
        ("profiles: {mini: [1]}", None, ": profiles.mini: a mapping of keys, got [1]"),
        ("profiles: {a: {}, b: {}}", "c", "no profile is called 'c' (there are: a, b)"),
        ("", "c", "no profile is called 'c' (there are: none)"),
    ],
)
def test_profiles_of_the_wrong_form(text, profile, told, tmp_path):
    path = write(tmp_path, SOUND + text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, profile=profile)
    assert told in str(caught.value)
    assert str(caught.value).startswith(path)


# --- the teacher ------------------------------------------------------------------------------------------


def test_the_teachers_training_starts_as_a_copy_of_the_students(tmp_path):
    path = write(tmp_path)
    recipe = load_recipe(path)
    assert recipe.teacher.train == recipe.train.model_dump(mode="json")
    recipe = load_recipe(path, overrides=["train.epochs=5", "train.augment.vertical=true"])
    assert (recipe.teacher.train["epochs"], recipe.teacher.train["augment"]["vertical"]) == (5, True)
    recipe = load_recipe(path, overrides=["teacher.train.epochs=9", "train.lr=3"])
    assert (recipe.train.epochs, recipe.teacher.train["epochs"], recipe.teacher.train["lr"]) == (2, 9, 3)


def test_faults_of_the_teachers_training_are_told(tmp_path):
    with pytest.raises(RecipeError, match=r"teacher.train.epoch: unknown key; did you mean 'epochs'"):
        load_recipe(write(tmp_path), overrides=["teacher.train.epoch=9"])
    with pytest.raises(RecipeError, match=r"teacher.train.lr: should be greater than 0, got 0"):
        load_recipe(write(tmp_path), overrides=["teacher.train.lr=0"])


def test_the_teachers_model_is_the_students_unless_said_otherwise(tmp_path):
    path = write(tmp_path)
    assert load_recipe(path).teacher.options == load_recipe(path).model.options
    recipe = load_recipe(path, overrides=["teacher.decoder_width=99"])
    assert recipe.teacher.options == {**recipe.model.options, "decoder_width": 99}
