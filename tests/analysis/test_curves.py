"""A table as curves over its numeric factor: intervals against scipy, teachers that are shared or not, and no curve."""

from __future__ import annotations

import classification_samples as samples
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis.building import build_table
from mmablate.analysis.curves import Curve, CurvePoint, FactorCurves, factor_curves, number, split
from mmablate.analysis.table import Cell, ColumnInfo, Row, Sweep, Table

SEEDS = (0, 1, 2, 3)


@pytest.fixture
def table(tmp_path) -> Table:
    return build_table(samples.write(tmp_path))


def with_levels(table: Table, change) -> Table:
    rows = tuple(row.model_copy(update={"levels": change(dict(row.levels))}) for row in table.rows)
    return table.model_copy(update={"rows": rows})


def test_points_are_means_with_student_intervals(table) -> None:
    curves = factor_curves(table, "Acc")
    assert (curves.factor, curves.others, curves.xs) == ("gamma", ("method",), [0, 0.25, 0.5, 1])
    assert [(c.levels, c.is_baseline) for c in curves.curves] == [(("no_kd",), True), (("kd",), False),
                                                                  (("focus",), False)]  # fmt: skip
    for curve in curves.curves:
        for gamma, point in zip(samples.GAMMAS, curve.points, strict=True):
            own, base = ([samples.scores(gamma, m, s)["Acc"] for s in SEEDS] for m in (curve.levels[0], "no_kd"))
            assert point.x == float(gamma)
            assert point.mean == pytest.approx(np.mean(own))
            assert point.interval == pytest.approx(stats.t.interval(0.95, 3, np.mean(own), stats.sem(own)))
            if curve.is_baseline:
                assert (point.delta, point.delta_interval) == (None, None)
            else:
                apart = np.subtract(own, base)
                assert point.delta == pytest.approx(np.mean(apart))
                assert point.delta_interval == pytest.approx(
                    stats.t.interval(0.95, 3, np.mean(apart), stats.sem(apart))
                )


def test_intervals_have_the_confidence_of_the_table(tmp_path) -> None:
    curves = factor_curves(build_table(samples.write(tmp_path), confidence=0.8), "Acc")
    own = [samples.scores("1", "kd", s)["Acc"] for s in SEEDS]
    assert curves.curves[1].points[-1].interval == pytest.approx(stats.t.interval(0.8, 3, np.mean(own), stats.sem(own)))


def test_one_teacher_of_all_rows_is_one_curve_and_the_tag_is_none(table) -> None:
    (teacher,) = factor_curves(table, "Acc").references
    assert teacher.column == "Teacher"
    assert teacher.levels == (("kd",), ("focus",))
    assert dict(teacher.points) == pytest.approx({g: 70 + 10 * g + 0.15 for g in (0, 0.25, 0.5, 1)})


def test_teachers_that_differ_are_a_curve_each(tmp_path) -> None:
    def masked(gamma: str, method: str, seed: int) -> dict[str, float]:
        found = samples.scores(gamma, method, seed)
        return {**found, "Teacher": 55.0} if method == "focus" and gamma == "1" else found

    curves = factor_curves(build_table(samples.write(tmp_path, metrics=masked)), "Acc")
    assert [one.levels for one in curves.references] == [(("kd",),), (("focus",),)]
    assert [dict(one.points)[1.0] for one in curves.references] == pytest.approx([80.15, 55])


def test_a_row_without_a_score_is_left_out_and_counted(table) -> None:
    rows = list(table.rows)
    rows[1] = rows[1].model_copy(update={"cells": {}, "status": "failed"})
    curves = factor_curves(table.model_copy(update={"rows": tuple(rows)}), "Acc")
    assert curves.n_left_out == 1
    assert [point.x for point in curves.curves[1].points] == [0.25, 0.5, 1]


def test_levels_come_in_the_order_of_their_numbers(tmp_path) -> None:
    table = build_table(samples.write(tmp_path, gammas=["1", "0", "0.5"]))
    assert all([p.x for p in c.points] == [0, 0.5, 1] for c in factor_curves(table, "Acc").curves)


def test_the_axis_is_the_numeric_factor_with_most_levels(table) -> None:
    shifted = with_levels(table, lambda levels: {"method": str(samples.METHODS.index(levels["method"])), **levels,
                                                 "gamma": levels["gamma"]})  # fmt: skip
    by_number = with_levels(
        table, lambda levels: {"method": str(samples.METHODS.index(levels["method"])), "gamma": levels["gamma"]}
    )
    assert factor_curves(shifted, "Acc").factor == "gamma"
    assert factor_curves(by_number, "Acc").factor == "gamma"  # 4 levels against 3
    words = with_levels(table, lambda levels: {**levels, "gamma": f"g{levels['gamma']}"})
    assert factor_curves(words, "Acc") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.model_copy(update={"rows": tuple(r for r in t.rows if r.levels["gamma"] in ("0", "1"))}),
        lambda t: t.model_copy(update={"sweep": Sweep(parameters=("gamma",), symbols=("γ",), used=(None,))}),
        lambda t: t.model_copy(update={"kind": "effects"}),
        lambda t: t.model_copy(update={"rows": (*t.rows, t.rows[0])}),
        lambda t: t.model_copy(update={"rows": tuple(r.model_copy(update={"levels": {}}) for r in t.rows)}),
        lambda t: t.model_copy(update={"rows": (t.rows[0].model_copy(update={"levels": {"gamma": "9"}}), *t.rows)}),
        lambda t: t.model_copy(update={"rows": ()}),
        lambda t: with_levels(t, lambda levels: {**levels, "gamma": "nan" if levels["gamma"] == "0" else "1e999"}),
    ],
)
def test_no_curve_without_reason(table, change) -> None:
    assert factor_curves(table, "Acc") is not None
    assert factor_curves(change(table), "Acc") is None


def test_one_seed_has_no_interval(tmp_path) -> None:
    curves = factor_curves(build_table(samples.write(tmp_path, [3])), "Acc")
    assert {point.interval for curve in curves.curves for point in curve.points} == {None}


@given(st.text(max_size=8))
def test_a_number_is_finite_or_none(text) -> None:
    value = number(text)
    assert value is None or (abs(value) <= 1e100 and float(text) == value)


def grid(sizes: tuple[int, ...]) -> FactorCurves:
    points = tuple(CurvePoint(float(x), 1.0, None, None, None, False) for x in range(3))
    some = tuple(Curve(tuple(f"f{i}={v}" for i, v in enumerate(place)), points) for place in np.ndindex(sizes))
    return FactorCurves("x", tuple(f"f{i}" for i in range(len(sizes))), "Acc", some, ())


@pytest.mark.parametrize(
    ("sizes", "panels"), [((), [1]), ((6,), [6]), ((2, 3), [6]), ((3, 4), [4, 4, 4]), ((4, 2), [4, 4]), ((7,), None),
                          ((7, 2), None), ((5, 5), [5] * 5)]
)  # fmt: skip
def test_too_many_curves_are_parted_by_a_factor(sizes, panels) -> None:
    curves = grid(sizes)
    found = split(curves, 6)
    if panels is None:
        assert found is None
        return
    assert [len(some) for _, some in found] == panels
    assert sorted(c.levels for _, some in found for c in some) == sorted(c.levels for c in curves.curves)
    for level, some in found:
        assert not level or all(level in curve.levels for curve in some)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=4), min_size=3, max_size=6))
def test_any_scores_make_curves_or_none(values) -> None:
    rows = tuple(
        Row(name=str(x), label=str(x), levels={"x": str(x)}, cells={
            "Acc": Cell(mean=float(np.mean(some)) if some else None, values={str(i): v for i, v in enumerate(some)})
        })
        for x, some in enumerate(values)
    )  # fmt: skip
    table = Table(study="s", columns=("Acc",), column_info={"Acc": ColumnInfo(subset=False)}, rows=rows)
    curves = factor_curves(table, "Acc")
    drawn = [some for some in values if some]
    if len(drawn) < 3:
        assert curves is None
        return
    assert curves.n_left_out == len(values) - len(drawn)
    for point, some in zip(curves.curves[0].points, drawn, strict=True):
        assert point.mean == np.mean(some)
        if point.interval:
            assert point.interval[0] <= point.mean <= point.interval[1]
