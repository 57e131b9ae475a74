"""How a trial is judged, against scipy; and which rows of a search stand aside."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis.search import Search, SearchTrial, objective_value

scores = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@given(scores, st.sampled_from(["max", "min"]), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_bound_is_the_end_of_students_one_sided_interval(values, direction, confidence):
    found = objective_value(values, objective="lcb", direction=direction, confidence=confidence)
    half = stats.t.ppf(confidence, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    expected = statistics.fmean(values) - half if direction == "max" else statistics.fmean(values) + half
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(scores)
def test_the_mean_is_the_mean(values):
    found = objective_value(values, objective="mean", direction="max", confidence=0.95)
    assert found == pytest.approx(statistics.fmean(values), rel=1e-12)


def test_what_cannot_be_judged_has_no_value():
    assert objective_value([], objective="mean", direction="max", confidence=0.95) is None
    assert objective_value([3.0], objective="lcb", direction="max", confidence=0.95) is None
    assert objective_value([3.0], objective="mean", direction="max", confidence=0.95) == 3.0


def test_a_row_that_another_trial_has_trained_whole_was_not_stopped():
    trials = (
        SearchTrial(number=0, row="a", state="pruned", n_seeds=2),
        SearchTrial(number=1, row="b", state="pruned", n_seeds=2),
        SearchTrial(number=2, row="b", state="complete", objective=1.0, n_seeds=3),
    )
    search = Search(sampler="tpe", column="Mean", seeds=(0, 1, 2), parameters=(), trials=trials)
    assert search.pruned_rows() == {"a"}


@given(st.sampled_from([1, 1.5, True, "a", 0, False]))
def test_values_come_back_from_json_as_what_they_were(value):
    trial = SearchTrial(number=0, row="x", state="running", values={"x": value})
    back = SearchTrial.model_validate_json(trial.model_dump_json())
    assert back.values["x"] == value
    assert type(back.values["x"]) is type(value)
