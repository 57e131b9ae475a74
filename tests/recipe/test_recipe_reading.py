"""YAML files: what is refused before any key is looked at, each time with file and line."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_samples import SOUND, write

from mmablate.errors import MmablateError, RecipeError, UsageError
from mmablate.recipe import load_recipe, locate, shipped_recipes
from mmablate.recipe.reading import Source, parse_scalar, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)

BROKEN = {
    "unclosed bracket": ("name: x\ndata: [V, N\nmodel: {}\n", ":3: not valid YAML"),
    "tab": ("name: x\ntrain:\n\tepochs: 1\n", ":3: not valid YAML"),
    "two documents": ("name: x\n---\nname: y\n", ":2: not valid YAML"),
    "python object": ("name: x\ntitle: !!python/object/apply:os.system [echo]\n", ":2: not valid YAML"),
    "python name": ("title: !!python/name:os.system\n", ":1: not valid YAML"),
    "own tag": ("name: !secret x\n", ":1: not valid YAML"),
    "undefined alias": ("name: *nowhere\n", ":1: not valid YAML"),
    "unhashable key": ("name: x\n? [a, b]\n: 1\n", ":2: not valid YAML"),
    "no such date": ("name: 2020-13-45\n", "month must be in 1..12"),
    "control character": ("name: \x00\n", "not valid YAML"),
    "list": ("- a\n- b\n", ":1: a recipe is a mapping of keys, not a list"),
    "single value": ("hello\n", ":1: a recipe is a mapping of keys, not a single value"),
    "empty": ("", ":1: a recipe is a mapping of keys, not an empty file"),
    "comment only": ("# nothing\n", "not an empty file"),
    "deep nesting": ("a: " + "[" * 2000 + "]" * 2000 + "\n", "nested too deeply"),
    "recursion": ("a: &a [*a]\n", "nested too deeply"),
    "alias bomb": (BOMB, "aliases counted in full"),
    "alias bomb in a key": (BOMB + "? *a8\n: 1\n", "aliases counted in full"),
    "merge bomb": (BOMB + "b: {<<: {x: *a8}}\n", "aliases counted in full"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_are_no_recipe(case, tmp_path):
    text, told = BROKEN[case]
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_yaml(tmp_path / "tiny.yaml")
    assert str(caught.value).startswith(path)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


def test_not_utf8_is_told_with_the_byte(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"r.yaml: not UTF-8 text .byte 9."):
        read_yaml(tmp_path / "r.yaml")


def test_a_file_too_large_to_be_a_recipe_is_not_parsed(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(RecipeError, match="1000001 bytes are no recipe"):
        read_yaml(tmp_path / "r.yaml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xef\xbb\xbf" + SOUND.replace("\n", "\r\n").encode())
    assert load_recipe(str(tmp_path / "r.yaml")) == load_recipe(write(tmp_path))


def test_keys_given_twice_are_all_told(tmp_path):
    text = "name: x\ntrain:\n  lr: 1\n  lr: 2\nname: y\n"
    with pytest.raises(RecipeError) as caught:
        read_yaml(tmp_path / os.path.basename(write(tmp_path, text)))
    first, second = caught.value.problems
    assert first.endswith("tiny.yaml:4: train.lr: the key is given twice")
    assert second.endswith("tiny.yaml:5: name: the key is given twice")


def test_anchors_and_merge_keys_are_ordinary_yaml(tmp_path):
    text = SOUND.replace("{weight: 13.2, symbol: λ}", "&w {weight: 13.2}").replace(
        "{weight: 2.6, symbol: α}", "{<<: *w, symbol: α}"
    )
    assert load_recipe(write(tmp_path, text)).losses["umd"].weight == 13.2


def test_places_name_the_line_of_each_key_and_fall_back_on_the_parent(tmp_path):
    path = write(tmp_path)
    source = read_yaml(tmp_path / "tiny.yaml")
    assert source.place(("train", "lr")) == f"{path}:8"
    assert source.place(("rows", 2, 1)) == f"{path}:17"
    assert source.place(("train", "nothing")) == f"{path}:6"
    assert source.place(("nothing",)) == path
    assert Source({}).place(("x",)) == "recipe"


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_message(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    told = None
    try:
        assert isinstance(read_yaml(path).data, dict)
    except RecipeError as error:
        told = str(error)
    assert told is None or told.startswith(str(path))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_override_value_is_read_or_refused(text):
    told = None
    try:
        parse_scalar(text, key="train.lr")
    except UsageError as error:
        told = str(error)
    assert told is None or told.startswith("train.lr")


@pytest.mark.parametrize("text", ["[", "2020-13-45", "!!python/object/apply:os.system [echo]", "[" * 2000])
def test_an_override_that_is_no_yaml_names_its_key(text):
    with pytest.raises(UsageError, match=r"train\.lr"):
        parse_scalar(text, key="train.lr")


# --- finding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["landsat_losses", "landsat_losses.yaml", "recipes/landsat_losses.yaml"])
def test_shipped_recipes_are_found_from_any_folder(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate(typed) == shipped_recipes()["landsat_losses"]
    assert load_recipe(typed).name == "landsat_losses"


def test_a_file_of_the_users_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, name="landsat_losses")
    assert load_recipe("landsat_losses").name == "tiny"


@pytest.mark.parametrize(
    "typed", ["landsat_loses", "elsewhere/landsat_losses.yaml", "landsat_losses.txt", "x" * 5000, "a\0b"]
)
def test_a_recipe_that_is_nowhere_lists_the_shipped_ones(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        locate(typed)
    assert typed in str(caught.value)
    assert "landsat_losses" in str(caught.value)


def test_a_near_name_is_suggested():
    with pytest.raises(RecipeError, match="did you mean 'landsat_losses'"):
        locate("landsat_loses")


def test_a_folder_or_an_unreadable_file_is_no_recipe(tmp_path):
    with pytest.raises(RecipeError, match="no such file"):
        locate(str(tmp_path))
    with pytest.raises(RecipeError, match="cannot be read"):
        read_yaml(tmp_path)
    assert issubclass(RecipeError, MmablateError)
