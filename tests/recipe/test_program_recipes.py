"""Recipes that run a program: what is refused, where it is told, and what becomes of placeholders."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_samples import line_of, write

from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import draft_recipe, load_recipe
from mmablate.recipe.programs import GIVEN, fill, plain, split_command, with_settings

SOUND = """\
name: own
run: {command: "python train.py --lr {lr} --name {optimizer.name} --seed {seed}"}
settings:
  lr: 1e-3
  optimizer: {name: sgd, momentum: 0.9}
metrics: {accuracy: {unit: "%", direction: max}, loss: min}
seeds: [0, 1]
"""


def problems(tmp_path, text):
    return draft_recipe(write(tmp_path, text))[0].problems


def test_a_sound_recipe(tmp_path):
    draft, _ = draft_recipe(write(tmp_path, SOUND))
    recipe = draft.finish_program()
    assert recipe.settings == {"lr": 0.001, "optimizer": {"name": "sgd", "momentum": 0.9}}
    assert [(name, metric.direction, metric.unit) for name, metric in recipe.metrics.items()] == [
        ("accuracy", "max", "%"),
        ("loss", "min", ""),
    ]
    assert recipe.run.cwd == "."


@pytest.mark.parametrize(
    ("old", "new", "part", "text"),
    [
        ("lr: 1e-3", "lr: .nan", "settings:", "settings: lr: finite numbers, got nan"),
        ("lr: 1e-3", "lr: 2024-01-01", "settings:", "lr: text, numbers, true, false, null, lists and mappings"),
        ("lr: 1e-3", "seed: 3", "settings:", "no setting can be called 'seed'"),
        (
            "lr: 1e-3",
            "'l r': 3",
            "settings:",
            "names of settings are text without dots, braces, = and spaces, got 'l r'",
        ),
        ("lr: 1e-3", "3: 3", "settings:", "got 3"),
        ("lr: 1e-3", "rate: 1", "run:", "no setting for 'lr' (there are: rate, optimizer.name, optimizer.momentum, "),
        ("{lr}", "{lr:.2f}", "run:", "run.command: '{lr:.2f}': a placeholder is a name in braces"),
        ("{lr}", "{", "run:", "a brace itself is written twice"),
        ("{lr}", "'", "run:", "run.command: no closing quotation"),
        ("loss: min", "loss: {unit: a}", "metrics", "metrics.loss.direction: missing"),
        ("loss: min", "loss: least", "metrics", "metrics.loss: should be 'max' or 'min', got 'least'"),
        ("seeds:", "model: {}\nseeds:", "model", "a recipe that runs a program has no model: what it reads stands in"),
        ("seeds:", "losses: {}\ndata: 1\nseeds:", "data", "has no data, losses: what it reads"),
        ("seeds:", "seedz: 1\nseeds:", "seedz", "seedz: unknown key; did you mean 'seeds'?"),
        ("seeds:", "claims: [accuracy]\nseeds:", "claims", "claims.0: a claim has one of the forms"),
        ("seeds:", "significance: {primary: f1}\nseeds:", "f1", "one of the metrics (accuracy, loss), got 'f1'"),
        ("seeds:", "report: {conditions: [fog]}\nseeds:", "fog", "report.conditions: a program's scores are not"),
        ('run: {command: "python', 'run: {call: "a:b", command: "python', "run:", "exactly one of call and command"),
        ('run: {command: "python', 'run: {timeout: 0, command: "python', "run:", "run.timeout: should be greater than"),
        ('run: {command: "python', 'run: {comand: "python', "run:", "unknown key; did you mean 'command'?"),
    ],
)
def test_what_is_refused(tmp_path, old, new, part, text):
    assert SOUND.count(old) == 1
    spoilt = SOUND.replace(old, new)
    found = problems(tmp_path, spoilt)
    assert any(text in line for line in found), found
    assert any(line.startswith(f"{tmp_path}/tiny.yaml:{line_of(spoilt, part)}: ") for line in found), found


@pytest.mark.parametrize(
    "call", ["train", "train:", ":main", "a b:c", "a:b()", "a:b;c", "a-b:c", "../a:b", "a:b\n", "é:a"]
)
def test_a_callable_is_a_dotted_name(tmp_path, call):
    text = SOUND.replace(
        'command: "python train.py --lr {lr} --name {optimizer.name} --seed {seed}"', f"call: {call!r}"
    )
    assert any("run.call: package.module:function, got" in line for line in problems(tmp_path, text))


def test_a_callable_has_no_timeout(tmp_path):
    text = "name: a\nrun: {call: 'a:b', timeout: 3}\nmetrics: {x: max}\n"
    assert problems(tmp_path, text) == [
        f"{tmp_path}/tiny.yaml:2: run: timeout goes with command: a callable cannot be ended from outside, "
        "got {'call': 'a:b', 'timeout': 3}"
    ]


def test_without_run_the_message_is_about_run(tmp_path):
    assert problems(tmp_path, "name: a\nmetrics: {x: max}\n") == [f"{tmp_path}/tiny.yaml: run: missing"]


def test_what_trains_does_not_take_it(tmp_path):
    with pytest.raises(RecipeError, match="the recipe runs a program; ablate, sweep and train take it"):
        load_recipe(write(tmp_path, SOUND))


def test_overrides_may_name_settings_without_prefix(tmp_path):
    for key in ("optimizer.name", "settings.optimizer.name"):
        draft, _ = draft_recipe(write(tmp_path, SOUND), overrides=[f"{key}=adam", "lr=2e-3", "seeds=[5]"])
        recipe = draft.finish_program()
        assert recipe.settings == {"lr": 0.002, "optimizer": {"name": "adam", "momentum": 0.9}}
        assert recipe.seeds == [5]
    assert "typo: unknown key" in draft_recipe(write(tmp_path, SOUND), overrides=["typo=3"])[0].problems[0]


def test_data_root_is_not_silently_dropped(tmp_path):
    with pytest.raises(UsageError, match="--data-root: the recipe runs a program"):
        draft_recipe(write(tmp_path, SOUND), data_root="/data")


# --- settings ---------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), inner),
    max_leaves=8,
)


@given(JSON)
def test_settings_are_what_json_has(value):
    kept = plain(value, "x")
    assert json.loads(json.dumps(kept)) == kept
    if not isinstance(value, str | list | dict):
        assert kept == value
        assert type(kept) is type(value)


@given(st.integers(), JSON)
def test_a_row_changes_what_it_names(momentum, name):
    settings = {"lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.9}}
    overrides = {"optimizer.momentum": momentum, "settings.optimizer.name": name}
    found, wrong = with_settings(settings, overrides)
    assert wrong == []
    assert found == {"lr": 0.1, "optimizer": {"name": plain(name, ""), "momentum": momentum}}
    assert settings == {"lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.9}}, "the recipe's own stay as they are"


# --- commands ---------------------------------------------------------------------------------------------


@given(st.text(), st.text(), JSON)
def test_any_value_is_one_argument(first, second, other):
    settings = {"a": first, "b": {"c": second}, "d": other}
    given_values = dict.fromkeys(GIVEN, second)
    words = split_command("run {a} --b={b.c}{seed} '{settings.a} {d}' {{}}")
    argv = fill(words, settings, given_values)
    shown = other if isinstance(other, str) else json.dumps(other, ensure_ascii=False)
    assert argv == ["run", first, f"--b={second}{second}", f"{first} {shown}", "{}"]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="{}", exclude_categories=["Cs"])), min_size=1))
def test_words_without_placeholders_are_those_of_a_shell(words):
    assert fill(split_command(shlex.join(words)), {}, {}) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "0.001"), (1e-05, "1e-05"), (True, "true"), (None, "null"), ([1, "a"], '[1, "a"]'), ("", ""), (3, "3")],
)
def test_how_values_are_written(value, text):
    assert fill(["{x}"], {"x": value}, {}) == [text]
