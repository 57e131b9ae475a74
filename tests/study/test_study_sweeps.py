"""Sensitivity studies: rows, names, baseline, and the runs that they share with the loss table."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_samples import BASE, Opener, names, students

from mmablate.errors import RecipeError, UsageError
from mmablate.study.sweeping import SweepRequest, linear_or_log


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture
def swept(opened):
    def run(*parameters, values=None, **changes):
        return opened(options={"sweep": SweepRequest(parameters, values)}, **changes)

    return run


def test_the_study_and_its_rows_are_named_after_the_parameter(swept):
    study = swept("beta")
    assert study.name == "tiny_beta"
    assert names(study) == ["beta=0", "beta=1", "beta=10"]  # zero added
    assert [row.label for row in study.rows] == ["β = 0", "β = 1", "β = 10"]
    assert set(study.baseline.values()) == {"beta=0"}
    assert study.sweep["symbols"] == ["β"]
    assert study.sweep["used"] == [10]
    assert [row.values for row in study.rows] == [{"beta": 0}, {"beta": 1}, {"beta": 10}]


def test_the_swept_row_is_the_first_that_contains_the_term(swept):
    assert swept("lambda").sweep["row"] == "sup+mad"
    assert swept("beta").sweep["row"] == "sup+mad+umd+cmd"
    assert swept("alpha", values=(1,)).sweep["row"] == "sup+mad+umd"


def test_zero_and_the_used_value_are_the_runs_of_the_loss_table(opened, swept):
    table = students(opened())
    by_lambda, by_beta = students(swept("lambda")), students(swept("beta"))
    for seed in (0, 1):
        assert by_lambda["lambda=0", seed] == table["sup", seed]
        assert by_lambda["lambda=13.2", seed] == table["sup+mad", seed]
        assert by_beta["beta=0", seed] == table["sup+mad+umd", seed]
        assert by_beta["beta=10", seed] == table["sup+mad+umd+cmd", seed]
        assert by_beta["beta=1", seed] not in table.values()


@pytest.mark.parametrize("values", [(5, 0), (0.0, 5), (5,), (-0.0, 5)])
def test_the_baseline_zero_is_a_row_and_added_when_absent(swept, values):
    study = swept("beta", values=values)
    (baseline,) = set(study.baseline.values())
    assert baseline in names(study)
    row = next(row for row in study.rows if row.name == baseline)
    assert "cmd" not in row.losses
    assert len(study.rows) == 2
    whole = students(swept("beta", values=(0, 5)))
    assert students(study)["beta=5", 0] == whole["beta=5", 0]


def test_values_that_print_alike_in_six_digits_keep_their_digits(swept):
    assert names(swept("beta", values=(1.0000001, 1.0000002)))[1:] == ["beta=1.0000001", "beta=1.0000002"]
    assert names(swept("beta", values=(0.1, 1e-05, 10.0, 1e6)))[1:] == [
        "beta=0.1",
        "beta=1e-05",
        "beta=10",
        "beta=1e+06",
    ]


def test_one_thousandth_in_yaml_is_a_number(swept, opened):
    sweep = {"beta": {"values": ["1e-3", 10]}}  # as YAML reads 1e-3
    assert [row.values["beta"] for row in swept("beta", sweep=sweep).rows] == [0, 0.001, 10]


def test_several_parameters_make_a_grid(swept):
    study = swept("lambda", "beta")
    assert study.name == "tiny_lambda_beta"
    assert len(study.rows) == 9
    assert names(study)[:2] == ["lambda=0+beta=0", "lambda=0+beta=1"]
    assert set(study.baseline.values()) == {"lambda=0+beta=0"}
    assert study.sweep["row"] == "sup+mad+umd+cmd"


def test_a_dotted_path_is_a_parameter_with_the_recipes_value_as_baseline(swept):
    study = swept("train.lr", values=(0.1, 0.001))
    assert set(study.baseline.values()) == {"train.lr=0.001"}
    assert study.sweep["row"] == "sup+mad+umd+cmd"
    assert [row.recipe.train.lr for row in study.rows] == [0.1, 0.001]
    assert len({row.recipe.teacher.model_dump_json() for row in study.rows}) == 1


def test_a_path_may_be_given_a_name(swept):
    sweep = {"rate": {"path": "train.lr", "values": ["1e-3", 0.1], "symbol": "η₀"}}
    study = swept("rate", sweep=sweep)
    assert names(study) == ["rate=0.001", "rate=0.1"]
    assert study.rows[1].label == "η₀ = 0.1"
    assert set(study.baseline.values()) == {"rate=0.001"}


def test_a_symbol_of_two_terms_sets_both(swept):
    losses = {**BASE["losses"], "cmd": {"weight": 10, "symbol": "α"}}
    study = swept("alpha", values=(4,), losses=losses, rows=[["sup"], ["sup", "umd", "cmd"]], sweep={})
    assert {loss.weight for key, loss in study.rows[1].losses.items() if key != "sup"} == {4}


@pytest.mark.parametrize(
    ("parameters", "values", "told"),
    [
        (("gamma",), None, "--param gamma: the recipe has no such parameter (there are: lambda, beta, alpha)"),
        (("alpha",), None, "--param alpha: the recipe's `sweep:` block gives it no values"),
        (("beta",), (1, 1.0), "a value is given twice"),
        (("beta", "beta"), None, "a parameter is given twice"),
        (("train.nothing",), (1,), "the recipe has no such key"),
    ],
)
def test_faults_of_a_request_are_usage_errors(swept, parameters, values, told):
    with pytest.raises(UsageError) as caught:
        swept(*parameters, values=values)
    assert told in str(caught.value)


def test_a_term_that_no_row_contains_cannot_be_swept(swept):
    with pytest.raises(UsageError, match="--param beta: no row contains the term"):
        swept("beta", rows=[["sup"], ["sup", "mad"]])


def test_a_value_that_the_recipe_refuses_names_the_row(swept):
    with pytest.raises(RecipeError, match=r"row 'beta=-1': losses.cmd.weight: should be greater than or equal to 0"):
        swept("beta", values=(-1,))


def test_ranges_are_even_or_logarithmic_with_both_ends():
    assert linear_or_log(0, 1, 5, log=False) == (0, 0.25, 0.5, 0.75, 1)
    assert linear_or_log(0.1, 100, 4, log=True) == (0.1, 1, 10, 100)


@given(low=st.floats(1e-6, 10), factor=st.floats(1.5, 1e6), count=st.integers(2, 20), log=st.booleans())
def test_ranges_rise_from_low_to_high(low, factor, count, log):
    values = linear_or_log(low, low * factor, count, log=log)
    assert len(values) == count
    assert math.isclose(values[0], low, rel_tol=1e-5)
    assert math.isclose(values[-1], low * factor, rel_tol=1e-5)
    assert list(values) == sorted(values)


@pytest.mark.parametrize(
    ("low", "high", "count", "log"),
    [(1, 1, 3, False), (2, 1, 3, False), (0, 1, 3, True), (-1, 1, 3, True), (0, 1, 1, False), (0, math.inf, 3, False)],
)
def test_what_is_no_range(low, high, count, log):
    with pytest.raises(UsageError, match="--range"):
        linear_or_log(low, high, count, log=log)


def test_planning_imports_no_torch(opened):
    opened()
    code = (
        "import sys\n"
        "from mmablate.study import open_study\n"
        "from mmablate.study.sweeping import SweepRequest\n"
        "open_study(sys.argv[1]); open_study(sys.argv[1], sweep=SweepRequest(('beta',)))\n"
        "import mmablate.results, mmablate.catalog\n"
        "heavy = {'torch', 'pandas', 'scipy'}\n"
        "loaded = heavy & {name.split('.')[0] for name in sys.modules}\n"
        "import mmablate.analysis\n"  # tests of differences need scipy.special, which loads in a moment
        "loaded |= {'torch', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(loaded) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(opened.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
