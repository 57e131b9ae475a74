"""From samples of a search to rows: bounds, digits, names, and what the recipe says of its space."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from study_samples import BASE, Opener, names, students

from mmablate.errors import RecipeError, UsageError
from mmablate.recipe.schema import Search
from mmablate.study.searching import Dimension, Space, search_space
from mmablate.study.sweeping import SweepRequest, row_name


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture
def spaced(opened):
    def space(*parameters, values=None, range_=None, **changes):
        opened(**changes)  # writes the recipe
        return search_space(str(opened.path), parameters, values=values, range_=range_)

    return space


numbers = st.floats(-1e9, 1e9, allow_nan=False)


@given(low=numbers, width=st.floats(1e-6, 1e9), share=st.floats(0, 1), used=st.none() | numbers)
def test_a_value_lies_within_the_bounds_close_to_its_sample_and_is_read_back_from_its_row(low, width, share, used):
    high = low + width
    assume(low < high)
    raw = min(max(low + share * (high - low), low), high)
    value = Dimension("x", "x", "float", low, high, used=used).value(raw)
    assert low <= value <= high
    assert math.isclose(value, raw, rel_tol=1e-5, abs_tol=0) or value in (low, high)
    assert float(row_name({"x": value}).removeprefix("x=")) == value


@given(low=numbers, width=st.floats(1e-3, 1e9), share=st.floats(0, 1))
def test_a_value_stays_what_it_is_when_it_is_mapped_again(low, width, share):
    high = low + width
    assume(low < high)
    dimension = Dimension("x", "x", "float", low, high)
    value = dimension.value(min(low + share * (high - low), high))
    assert dimension.value(value) == value


@given(st.floats(1e-8, 1e8))
def test_the_recipes_own_value_and_the_bounds_keep_all_their_digits(used):
    dimension = Dimension("x", "x", "float", used / 3, used * 3, used=used)
    assert dimension.value(used) == used
    assert dimension.value(used / 3) == used / 3
    assert dimension.value(used * 3) == used * 3


@given(low=st.integers(-1000, 1000), width=st.integers(1, 1000), share=st.floats(0, 1))
def test_whole_numbers_stay_whole(low, width, share):
    value = Dimension("x", "x", "integer", low, low + width).value(low + share * width)
    assert isinstance(value, int)
    assert low <= value <= low + width


@given(st.lists(st.lists(st.sampled_from([0.1, 1, 2.5, "a", True]), min_size=1, unique=True), min_size=1, max_size=4))
def test_corners_hold_every_choice_and_every_bound(choices):
    dimensions = [Dimension(f"p{i}", "", "choice", choices=tuple(some)) for i, some in enumerate(choices)]
    dimensions.append(Dimension("x", "x", "float", 2.0, 3.0))
    corners = Space(tuple(dimensions), Search()).corner_points()
    assert len(corners) == max(2, *map(len, choices))
    for d in dimensions:
        expected = [2.0, 3.0] if d.kind == "float" else list(d.choices)
        assert [corner[d.name] for corner in corners][: len(expected)] == expected


def test_lists_are_choices_and_ranges_are_ranges(spaced):
    (listed,) = spaced("beta").dimensions
    assert (listed.kind, listed.choices, listed.used, listed.symbol) == ("choice", (1, 10), 10, "β")
    sweep = {"beta": {"values": [1, 10], "range": ["1e-1", 100], "log": True}}
    (ranged,) = spaced("beta", sweep=sweep).dimensions
    assert (ranged.kind, ranged.low, ranged.high, ranged.log) == ("float", 0.1, 100, True)


def test_keys_that_hold_whole_numbers_are_searched_in_whole_numbers(spaced):
    assert spaced("train.epochs", range_=(1, 9, False)).dimensions[0].kind == "integer"
    assert spaced("train.lr", range_=(1, 9, False)).dimensions[0].kind == "float"
    sweep = {"beta": {"range": [1, 9], "integer": True}}
    assert spaced("beta", sweep=sweep).dimensions[0].kind == "integer"


def test_the_first_trial_is_the_recipes_own_point_where_it_lies_in_the_space(spaced):
    assert spaced("beta", range_=(1, 100, True)).own_point() == {"beta": 10}
    assert spaced("beta", range_=(20, 100, True)).own_point() is None
    assert spaced("beta", values=(1, 2)).own_point() is None
    assert spaced("beta", values=(1, 10)).own_point() == {"beta": 10}


@pytest.mark.parametrize(
    ("parameters", "options", "told"),
    [
        (("gamma",), {}, "--param gamma: the recipe has no such parameter"),
        (("alpha",), {}, "--param alpha: the recipe's `sweep:` block gives it no values or range"),
        (("beta", "beta"), {}, "a parameter is given twice"),
        (("beta",), {"range_": (3, 3, False)}, "--range 3:3: a range is LO < HI"),
        (("beta",), {"range_": (0, 3, True)}, "--range 0:3:log: a logarithmic range lies above 0"),
        (("beta",), {"range_": (0, math.inf, False)}, "--range 0:inf: a range is LO < HI"),
        (("beta",), {"values": (1, 1.0)}, "--values: a value is given twice"),
        (
            ("train.epochs",),
            {"range_": (1.5, 3, False)},
            "--param train.epochs: a range of whole numbers ends at whole",
        ),
        (("train.nothing",), {"range_": (1, 3, False)}, "the recipe has no such key"),
    ],
)
def test_faults_of_a_search_are_usage_errors(spaced, parameters, options, told):
    with pytest.raises(UsageError) as caught:
        spaced(*parameters, **options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"log": True}, "needs `values` or `range`"),
        ({"values": [1], "log": True}, "`log` and `integer` are about a `range`"),
        ({"range": [0, 1], "log": True}, "a logarithmic range lies above 0"),
        ({"range": [1, 1]}, "a range is LO < HI"),
        ({"range": [1.5, 3], "integer": True}, "ends at whole numbers"),
    ],
)
def test_faults_of_the_sweep_block_name_its_key(opened, about, told):
    with pytest.raises(RecipeError) as caught:
        opened(sweep={"beta": about})
    assert "sweep.beta: " in str(caught.value)
    assert told in str(caught.value)


def test_points_are_rows_behind_the_baseline_and_share_their_runs_with_the_grid(opened):
    grid = students(opened(options={"sweep": SweepRequest(("beta",), (0, 3))}))
    points = ({"beta": 7.25}, {"beta": 3.0}, {"beta": 7.25})
    study = opened(options={"sweep": SweepRequest(("beta",), points=points)})
    assert names(study) == ["beta=0", "beta=7.25", "beta=3"]
    assert set(study.baseline.values()) == {"beta=0"}
    assert students(study)["beta=3", 0] == grid["beta=3", 0]
    assert students(study)["beta=0", 0] == grid["beta=0", 0]


def test_the_baseline_of_points_that_are_no_weight_is_the_recipes_own_value(opened):
    study = opened(options={"sweep": SweepRequest(("train.lr", "beta"), points=({"train.lr": 0.5, "beta": 2.0},))})
    assert names(study) == ["train.lr=0.001+beta=0", "train.lr=0.5+beta=2"]
    assert BASE["train"]["lr"] == 0.001


def test_a_range_of_the_recipe_is_a_grid_too(opened):
    sweep = {"beta": {"range": [1, 100], "log": True}}
    assert names(opened(options={"sweep": SweepRequest(("beta",), count=3)}, sweep=sweep)) == [
        "beta=0", "beta=1", "beta=10", "beta=100",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="--trials 3: the grid's values are listed"):
        opened(options={"sweep": SweepRequest(("beta",), count=3)})
