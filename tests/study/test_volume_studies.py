"""Studies of 3D scans: ids of runs, what a run reads, sweeps, warnings, layout of the table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_planning import plain_study
from study_samples import Opener, names, students

from mmablate.errors import RecipeError, UsageError
from mmablate.execution.grouping import group_runs
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.study import open_study, opening
from mmablate.study.layout import table_layout
from mmablate.study.stacks import stacks_of
from mmablate.study.sweeping import SweepRequest

ALL = ["fuse", "uni", "prm", "pixel", "proto"]
VOLUMES: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "brats", "modalities": ["flair", "t1ce", "t1", "t2"], "masks": "mr2468"},
    "model": {"name": "incomplete_segmentor", "widths": [4, 8]},
    "method": {"name": "incomplete"},
    "train": {"epochs": 2, "batch_size": 2, "patches": {"size": [16, 16, 16]}},
    "evaluate": {"window": [24, 24, 24], "apart": ["full", "unseen"]},
    "losses": {"fuse": {}, "uni": {"term": "sep"}, "prm": {}, "pixel": {"symbol": "β"}, "proto": {"symbol": "δ"}},
    "rows": [["fuse"], ALL, {"name": "meta", "losses": ALL, "overrides": {"method": {"name": "metadrop"}}}],
    "baseline": "+".join(ALL),
    "seeds": [0, 1],
    "sweep": {
        "alpha": {"path": "method.alpha", "values": [0, 0.5, 1], "symbol": "α"},
        "gamma": {"path": "losses.prm.decay", "values": [0.5, 1], "symbol": "γ", "row": "meta"},
        "rates": {"path": "data.masks", "values": ["mr2468", "mr8888"]},
    },
}


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path, VOLUMES)


@pytest.fixture(autouse=True)
def _any_data(monkeypatch):
    """The fingerprint and the root of data that are made here mean nothing to these tests."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")
    monkeypatch.setattr("plain_planning.data_fingerprint", lambda recipe: "of the data")
    monkeypatch.setattr(opening, "with_data", lambda base, tell: base)


def row(name: str, losses: Any = ALL, **overrides: Any) -> dict[str, Any]:
    """A row; `method__gate` stands for the key method.gate."""
    return {"name": name, "losses": losses, "overrides": {k.replace("__", "."): v for k, v in overrides.items()}}


# --- ids ----------------------------------------------------------------------------------------------------

FIRST = {
    ("brats_metadrop", "mini"): "d8d8683a5b4b2518",
    ("brats_metadrop", "full"): "0ed9f0658e7d2962",
    ("brats_components", "mini"): "d3388927041ff90b",
    ("brats_components", "full"): "a002c71acc2e07af",
    ("brats_meta_masks", "mini"): "beb7c34ce696b0c5",
    ("brats_meta_masks", "full"): "3ad920772912a1b5",
}


@pytest.mark.parametrize(("name", "profile"), FIRST)
def test_ids_of_the_first_row_do_not_change(name, profile):
    """A finished run is known by its id: whoever changes these has all users train again.

    A recipe that is itself changed on purpose has another one; then these must be made anew.
    """
    study = open_study(name, profile=profile)
    assert students(study)[names(study)[0], 0] == FIRST[name, profile]


CHANGES = {  # key -> whether the runs of a single-level row, and those of Meta-Drop, are other ones with it
    "method.balance_low=0.2": (False, False),
    "method.rates=true": (True, False),  # the row of Meta-Drop names its rule as a whole
    "method.meta.masks=redrawn": (False, False),
    "method.second=step": (True, False),
    "method.gate=principled": (True, False),
    "train.patches.size=[8, 8, 8]": (True, True),
    "train.patches.flip=true": (False, False),
    "train.amsgrad=true": (True, True),
    "masks.mode=dynamic": (True, True),
    "masks.mode=permanent": (False, False),
    "data.masks=mr8888": (True, True),
    "evaluate.window=[16, 16, 16]": (True, True),
    "evaluate.hd95=false": (True, True),
    "losses.prm.decay=0.25": (True, True),
    "losses.pixel.symbol=μ": (False, False),
    "losses.pixel.weights={t1: 2}": (True, True),
    "report.conditions=[t1]": (False, False),
}


@pytest.mark.parametrize("override", CHANGES)
def test_what_a_run_hangs_on(opened, override):
    base, other = students(opened()), students(opened(options={"overrides": [override]}))
    single = VOLUMES["baseline"]
    assert tuple(base[name, 0] != other[name, 0] for name in (single, "meta")) == CHANGES[override]


def test_options_that_a_run_does_not_read_are_none_of_its_settings(opened):
    rows = [
        row("none", method={"meta": {"masks": "full"}}), row("step", method__second="step"),
        row("still", method={"name": "metadrop", "eta_out": 0, "meta": {"masks": "full"}, "order": "first"}),
        row("meta", method={"name": "metadrop"}), row("preference", method__balance="preference"),
        row("slopes", method={"name": "metadrop", "eta_out": 0, "balance": "meta"}),
    ]  # fmt: skip
    study = opened(rows=rows, baseline=None)
    found = {run.rows[0]: set(run.settings["method"]) for run in study.runs}
    fixed = {"name", "gate", "rates", "balance"}
    moved = {"balance_rate", "balance_low", "balance_high"}
    assert found == {
        "none": fixed | {"second"}, "step": fixed | {"second", "meta"},
        "still": fixed | {"alpha", "eta_out"},
        "meta": fixed | {"alpha", "eta_out", "schedule_outer", "order", "meta"},
        "preference": fixed | moved | {"second", "balance_raised"},
        "slopes": fixed | moved | {"alpha", "eta_out", "meta"},
    }  # fmt: skip


def test_what_the_recipe_says_of_a_balance_reaches_the_rows_that_have_one(opened):
    study = opened(rows=[row("fixed"), row("moved", method__balance="preference")], baseline=None, sweep={},
                   method={"name": "incomplete", "balance_low": 0.25, "balance_raised": [3]})  # fmt: skip
    found = {run.rows[0]: run.settings["method"] for run in study.runs}
    assert (found["moved"]["balance_low"], found["moved"]["balance_raised"]) == (0.25, [3])
    assert "balance_low" not in found["fixed"]


# --- rows, each by itself ------------------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "method": [{"name": "metadrop"}, {"name": "incomplete", "second": "union"}, "metadrop", "anymodal", {"second": 1},
               {"name": "metadrop", "order": "second"}],
    "method.gate": ["principled", "released", "none", "some"],
    "method.balance": ["preference", "meta", "fixed"],
    "method.balance_low": [0.2, 9, -1],
    "method.meta": [{"masks": "redrawn"}, {"batch_size": 0}],
    "masks": [{"mode": "dynamic"}, {"mode": "free"}, {"distribution": "cardinality"}],
    "masks.mode": ["dynamic", "free", "none", "permanent", "Free"],
    "data.masks": [None, "mr1379", "mine.csv", "mr1"],
    "train": [{"epochs": 3}, {"optimizer": "sgd", "momentum": 0}, {"patches": None}],
    "train.patches.size": [[8, 8, 8], None, [3, 8, 8]],
    "train.augment": [{"flip": False}, {"flip": True}],
    "train.batch_size": [1, "all"],
    "train.holdout": [0.5, 0],
    "losses.pixel.weights": [{"t1": 2}, {"t9": 1}, None],
    "losses.prm.decay": [0.25, 0],
    "model.widths": [[4, 4], [4]],
    "teacher": [None, {"name": "incomplete_segmentor"}],
    "pretrain": [None, {}],
}  # fmt: skip
some_rows = st.lists(
    st.tuples(
        st.sampled_from([["fuse"], ["fuse", "uni"], ["fuse", "pixel"], ALL]),
        st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 5), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=some_rows)
def test_rows_and_their_faults_are_those_of_each_row_by_itself(drawn, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), VOLUMES)
    rows = [
        row(f"r{i}", losses, **{k: VALUES[k][n % len(VALUES[k])] for k, n in some.items()})
        for i, (losses, some) in enumerate(drawn)
    ]
    changes = {"rows": rows, "baseline": None, "sweep": {}}
    opened.write(**changes)
    try:
        expected: Any = plain_study(str(opened.path))
    except RecipeError as error:
        expected = error
    if isinstance(expected, RecipeError):
        with pytest.raises(RecipeError) as told:
            opened(**changes)
        assert list(told.value.problems) == list(expected.problems)
        return
    study = opened(**changes)
    assert [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows] == [tuple(one) for one in expected[0]]
    assert [(r.run_id, r.settings, r.rows) for r in study.runs] == [(r.run_id, r.settings, r.rows) for r in expected[1]]


# --- sweeps --------------------------------------------------------------------------------------------------


def swept(opened, *parameters: str, values: Any = None, **changes: Any):
    return opened(options={"sweep": SweepRequest(parameters, values)}, **changes)


def test_a_parameter_of_the_last_row_s_own_rule(opened):
    study = swept(opened, "alpha")
    assert names(study) == ["alpha=0", "alpha=0.5", "alpha=1"]
    assert study.sweep == {
        "parameters": ["alpha"],
        "symbols": ["α"],
        "used": [1.0],
        "baseline": "alpha=1",
        "row": "meta",
    }
    assert students(study)["alpha=1", 0] == students(opened())["meta", 0]
    assert all(run.settings["method"]["name"] == "metadrop" for run in study.runs)


def test_a_parameter_is_varied_in_the_row_that_it_names(opened):
    study = swept(opened, "gamma")
    assert (study.sweep["row"], names(study)) == ("meta", ["gamma=0.5", "gamma=1"])
    assert students(study)["gamma=0.5", 0] == students(opened())["meta", 0]
    sweep = {"gamma": {**VOLUMES["sweep"]["gamma"], "row": None}}
    assert swept(opened, "gamma", sweep=sweep).sweep["row"] == VOLUMES["baseline"]  # the first that has the term
    assert swept(opened, "gamma", "alpha").sweep["row"] == "meta"


@pytest.mark.parametrize(
    ("row_of", "told"),
    [({"gamma": "fuse"}, "--param gamma, beta: the row fuse does not contain the term"),
     ({"gamma": "meta", "beta": VOLUMES["baseline"]},
      f"--param gamma, beta: the recipe varies them in different rows (gamma in meta, beta in {VOLUMES['baseline']})"),
     ({"gamma": "none"}, f"sweep.gamma.row: no row has that name (there are: fuse, {VOLUMES['baseline']}, meta), got "
      "'none'")],
)  # fmt: skip
def test_rows_that_do_not_do(opened, row_of, told):
    sweep = {"gamma": {"path": "losses.prm.decay", "values": [1]}, "beta": {"values": [1]}}
    sweep = {name: {**about, **({"row": row_of[name]} if name in row_of else {})} for name, about in sweep.items()}
    with pytest.raises(UsageError) as error:
        swept(opened, "gamma", "beta", sweep=sweep)
    assert str(error.value) == told


def test_a_key_that_no_row_has_is_told(opened):
    with pytest.raises(UsageError, match=r"--param method\.alfa: the recipe has no such key"):
        swept(opened, "x", sweep={"x": {"path": "method.alfa", "values": [1]}})


# --- warnings and notes --------------------------------------------------------------------------------------


def test_a_gate_comes_with_the_terms_that_it_is_about(opened):
    rows = [["fuse"], row("gated", method__gate="principled"), row("moved", method__balance="preference")]
    assert opened(rows=rows, baseline="fuse", sweep={}).warnings == ()
    rows = [["fuse", "uni"], row("gated", method__gate="principled")]
    (text,) = opened(rows=rows, baseline="fuse+uni", sweep={}).warnings
    assert text.startswith("the row gated differs from its baseline fuse+uni in method and losses: ")
    rows = [["fuse"], row("rated", method__rates=True), row("meta", method={"name": "metadrop"})]
    assert len(opened(rows=rows, baseline="fuse", sweep={}).warnings) == 2


def test_options_that_a_row_with_another_rule_does_not_take_over(opened):
    rows = [
        row("single"),
        row("meta", method={"name": "metadrop"}),
        row("rated", method={"name": "metadrop", "rates": 1}),
    ]
    method = {"name": "incomplete", "rates": True, "second": "step"}
    (text,) = opened(rows=rows, baseline=None, sweep={}, method=method).warnings
    assert text == (
        "the row meta names the method metadrop, which does not take over from the recipe's: rates True; say it in the "
        "row too"
    )  # fmt: skip
    assert opened(rows=rows[:2], baseline=None, sweep={}).warnings == ()


def test_other_mask_lists_are_no_other_samples(opened):
    study = swept(opened, "rates")
    assert study.warnings == ()
    assert "Rows have mask lists of their own: Dice unseen is over other subsets in each." in study.notes
    assert not any("mask lists" in note for note in opened().notes)
    rows = [row("a"), row("b", data__layout="npy")]
    (text,) = opened(rows=rows, baseline=None, sweep={}).warnings
    assert text == "rows read the data with different options: they may be trained and scored on other samples"


# --- who trains together ------------------------------------------------------------------------------------


def test_rows_of_other_patches_masks_or_rules_train_apart(opened):
    rows = [row("a"), row("lr", train__lr=0.1), row("patch", train__patches__size=[8, 8, 8]),
            row("drop", masks__mode="dynamic"), row("meta", method="metadrop"),
            row("step", method__second="step")]  # fmt: skip
    study = opened(rows=rows, baseline=None, seeds=[0])
    groups = group_runs(study.runs)
    assert sorted(sorted(run.rows[0] for run in group.specs) for group in groups) == [
        ["a", "lr"], ["drop"], ["meta"], ["patch"], ["step"],
    ]  # fmt: skip
    assert len({shared_shape(group) for group in groups}) == len(groups)
    shapes = {run.rows[0]: run_shape(run) for run in study.runs}
    assert shapes["a"] == shapes["lr"]
    assert len(set(shapes.values())) == len(rows) - 1
    assert all(len(stack) == 1 for group in groups for stack in stacks_of(group.specs))


# --- the table ----------------------------------------------------------------------------------------------


def test_columns_of_scans(opened):
    layout = table_layout(opened(), scored_on="test")
    assert layout["columns"] == ["WT", "TC", "ET", "Dice", "Dice full", "Dice unseen", "HD95"]
    assert {layout["column_info"][name]["direction"] for name in layout["columns"][:-1]} == {"max"}
    assert layout["column_info"]["HD95"] == {"metric": "HD95", "unit": "mm", "direction": "min", "subset": False}
    assert layout["significance"]["primary"] == "Dice"
    assert "over 15 subsets of flair, t1ce, t1, t2" in layout["caption"]
    assert layout["given"]["apart"] == ["Dice full", "Dice unseen"]
    assert "15 subsets" not in layout["given"]["caption"]
    assert "{given}" in layout["given"]["caption"]
    fewer = table_layout(opened(evaluate={"hd95": False, "subsets": ["t1", "t2"]}), scored_on="val")
    assert fewer["columns"] == ["WT", "TC", "ET", "Dice"]
    assert "HD95" not in fewer["caption"]
    assert "validation split, mean over the subjects and then over 2 subsets" in fewer["caption"]
    assert table_layout(opened(caption="Mine."), scored_on="test")["given"]["caption"] == "Mine."
