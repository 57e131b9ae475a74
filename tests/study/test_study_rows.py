"""The ways to write rows, their names and labels, baselines and overrides."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_samples import BASE, Opener, names, students, teachers

from mmablate.errors import RecipeError, UsageError
from mmablate.study import open_study
from mmablate.study.opening import select_rows

FACTORS = {
    "masking": {"utd": {"masks.mode": "none"}, "utd_drop": {"masks.mode": "dynamic"}},
    "update": {"single": {"train.lr": 0.1}, "meta": {"train.lr": 0.2}},
    "size": {"s": {"train.batch_size": 2}, "m": {"train.batch_size": 4}, "l": {"train.batch_size": 8}},
}


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture
def factored(opened):
    def run(rows, **changes):
        return opened(rows=rows, factors=FACTORS, **{"baseline": None, **changes})

    return run


def told(call) -> str:
    with pytest.raises(RecipeError) as caught:
        call()
    return str(caught.value)


# --- lists ------------------------------------------------------------------------------------------------


def test_rows_are_named_by_their_losses_and_labelled_by_their_symbols(opened):
    study = opened()
    assert names(study) == ["sup", "sup+mad", "sup+mad+umd", "sup+mad+umd+cmd"]
    assert [row.label for row in study.rows][1:4:2] == ["L_sup + λL_mad", "L_sup + λL_mad + αL_umd + βL_cmd"]


def test_the_order_of_the_losses_is_that_of_the_recipe(opened):
    assert names(opened(rows=[["mad", "sup"]], baseline=None)) == ["sup+mad"]


def test_a_row_may_have_a_name_a_label_losses_and_overrides(opened):
    study = opened(
        rows=[["sup"], {"name": "big", "label": "Big", "losses": ["sup", "mad"], "overrides": {"train.lr": 1}}]
    )
    row = study.rows[1]
    assert (row.name, row.label, list(row.losses), row.recipe.train.lr) == ("big", "Big", ["sup", "mad"], 1)
    assert study.rows[0].recipe.train.lr == 0.001


def test_no_rows_are_one_row_of_all_losses(opened):
    assert names(opened(without=("rows", "baseline"))) == ["sup+mad+umd+cmd"]


def test_a_weight_without_symbol_is_printed_unless_it_is_one(opened):
    losses = {
        "sup": {"weight": 0.5},
        "mad": {"weight": 3, "symbol": ""},
        "two": {"term": "sup", "weight": 2, "symbol": "γ"},
    }
    (row,) = opened(losses=losses, sweep={}, without=("rows", "baseline")).rows
    assert row.label == "0.5·L_sup + 3·L_mad + γL_two"


def test_two_rows_of_one_name_are_told(opened):
    text = told(lambda: opened(rows=[["sup"], ["sup"]]))
    assert "rows.1: two rows are called 'sup'" in text
    opened(rows=[["sup"], {"name": "again", "losses": ["sup"]}])


def test_rows_that_resolve_to_the_same_are_a_warning_and_an_error_under_strict(opened):
    rows = [["sup"], {"name": "again", "losses": ["sup"]}]
    study = opened(rows=rows)
    assert any("sup, again resolve to the same" in text for text in study.warnings)
    assert students(study)["sup", 0] == students(study)["again", 0]
    assert "--strict" in told(lambda: opened(rows=rows, options={"strict": True}))
    assert opened().warnings == ()


def test_a_row_whose_losses_all_have_weight_zero_is_told(opened):
    rows = [["sup"], {"name": "none", "losses": ["mad"], "overrides": {"losses.mad.weight": 0}}]
    assert "row 'none': no loss has a weight above 0" in told(lambda: opened(rows=rows))


# --- overrides of rows ------------------------------------------------------------------------------------


def row(**overrides):
    return [["sup", "mad"], {"name": "x", "losses": ["sup", "mad"], "overrides": overrides}]


def test_a_row_comes_after_the_command_line(opened):
    study = opened(rows=row(**{"train.epochs": 5}), baseline=None, options={"overrides": ["train.epochs=4"]})
    assert [r.recipe.train.epochs for r in study.rows] == [4, 5]


def test_zero_false_and_null_of_a_row_are_values(opened):
    overrides = {"losses.mad.weight": 0, "train.augment.flip": False, "train.clip": None, "train.weight_decay": 0}
    study = opened(rows=row(**overrides), baseline=None, train={"clip": 1.0})
    x = study.rows[1]
    assert list(x.losses) == ["sup"]
    assert (x.recipe.train.augment.flip, x.recipe.train.clip, x.recipe.train.weight_decay) == (False, None, 0)


def test_a_mapping_in_a_row_is_merged(opened):
    study = opened(rows=row(train={"epochs": 5}), baseline=None)
    assert study.rows[1].recipe.train.model_dump() == {**study.rows[0].recipe.train.model_dump(), "epochs": 5}


def test_a_rows_training_does_not_touch_the_teacher(opened):
    study = opened(rows=row(**{"train.epochs": 5, "model.decoder_width": 9}), baseline=None)
    assert study.rows[1].recipe.teacher == study.rows[0].recipe.teacher
    assert len(teachers(study)) == 2
    both = opened(rows=row(**{"train.epochs": 5, "teacher.train.epochs": 5}), baseline=None)
    assert len([run for run in both.runs if run.role == "teacher"]) == 4


def test_losses_that_a_row_lacks_need_no_method_and_no_teacher(opened):
    rows = [["sup", "mad"], {"name": "joint", "losses": ["sup"], "overrides": {"method": "joint"}}]
    rows.append({"name": "alone", "losses": ["sup"], "overrides": {"teacher": None}})
    assert opened(rows=rows, baseline=None).rows[1].recipe.method.name == "joint"
    rows[1]["losses"] = ["sup", "mad"]
    assert "row 'joint': losses.mad: the method 'joint' has no term 'mad'" in told(lambda: opened(rows=rows))


def test_faults_of_baseline_rows_and_overrides_come_together(opened):
    rows = [["kd"], {"name": "x", "losses": ["sup"], "overrides": {"train.lr": 0}}]
    text = told(lambda: opened(rows=rows, baseline="y"))
    for part in ("rows.0: the losses 'kd'", "baseline: no row has that name", "row 'x': train.lr: should be"):
        assert part in text
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"train.epoch": 1}, "train.epoch: unknown key"),
        ({"train.lr": -1}, "train.lr: should be greater than 0, got -1"),
        ({"losses.dkd.weight": 1}, "losses.dkd: no loss is called 'dkd'"),
        ({"train.lr.x": 1}, "train.lr is a value, not a section"),
        ({"seeds": [7]}, "seeds is of the whole study, not of a row, got [7]"),
        ({"title": "x"}, "title is of the whole study"),
        ({"model": {"name": "unet"}}, "model.name: no model is called 'unet'"),
    ],
)
def test_faults_of_a_rows_overrides_name_the_row(opened, overrides, text):
    message = told(lambda: opened(rows=row(**overrides), baseline=None))
    assert f"row 'x': {text}" in message
    assert message.startswith(f"{opened.path}:")


def test_faults_of_all_rows_come_together(opened):
    rows = [{"name": n, "losses": ["sup"], "overrides": {"train.lr": -1}} for n in "abc"]
    assert len(told(lambda: opened(rows=rows, baseline=None)).splitlines()) == 3


# --- factors ----------------------------------------------------------------------------------------------


def test_product_and_its_other_name(factored):
    study = factored({"product": ["masking", "update"]})
    assert names(study) == ["utd+single", "utd+meta", "utd_drop+single", "utd_drop+meta"]
    assert study.rows[1].label == "utd + meta"
    assert study.rows[1].levels == {"masking": "utd", "update": "meta"}
    assert (study.rows[1].recipe.masks.mode, study.rows[1].recipe.train.lr) == ("none", 0.2)
    assert names(factored({"factorial": ["masking", "update"]})) == names(study)


def test_zip(factored):
    assert names(factored({"zip": ["masking", "update"]})) == ["utd+single", "utd_drop+meta"]
    assert "{'masking': 2, 'size': 3}" in told(lambda: factored({"zip": ["masking", "size"]}))


def test_leave_one_out_and_add_one_in_of_factors(factored):
    out = factored({"leave_one_out": ["masking", "update", "size"]})
    assert names(out) == ["utd_drop+meta+l", "utd+meta+l", "utd_drop+single+l", "utd_drop+meta+s"]
    into = factored({"add_one_in": ["masking", "update", "size"]})
    assert names(into) == ["utd+single+s", "utd_drop+single+s", "utd+meta+s", "utd+single+l"]


def test_leave_one_out_and_add_one_in_over_the_losses(opened):
    full = "sup+mad+umd+cmd"
    out = opened(rows={"leave_one_out": "losses"}, baseline=full)
    assert names(out) == [full, "mad+umd+cmd", "sup+umd+cmd", "sup+mad+cmd", "sup+mad+umd"]
    kept = opened(rows={"leave_one_out": "losses", "keep": ["sup"]}, baseline=full)
    assert names(kept) == [full, "sup+umd+cmd", "sup+mad+cmd", "sup+mad+umd"]
    into = opened(rows={"add_one_in": "losses", "keep": ["sup"]})
    assert names(into) == ["sup", "sup+mad", "sup+umd", "sup+cmd"]
    assert names(opened(rows={"add_one_in": "losses"})) == ["sup", "mad", "umd", "cmd"]
    assert len(names(opened(rows={"product": "losses", "keep": ["sup"]}))) == 8
    few = opened(rows={"product": "losses", "keep": ["sup"], "exclude": [{"mad": "without", "umd": "umd"}]})
    assert len(names(few)) == 6


def test_exclude(factored):
    rows = {"product": ["masking", "update"], "exclude": [{"masking": "utd", "update": "meta"}]}
    assert names(factored(rows)) == ["utd+single", "utd_drop+single", "utd_drop+meta"]
    rows["exclude"].append({"masking": "utd_drop"})
    assert names(factored(rows)) == ["utd+single"]
    rows["exclude"].append({"update": "single"})
    assert "rows: no row is left" in told(lambda: factored(rows))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ({"product": ["masking"], "exclude": [{"maskign": "utd"}]}, "no factor of these rows is called 'maskign'"),
        (
            {"product": ["masking"], "exclude": [{"masking": "ut"}]},
            "masking has no level 'ut' (there are: utd,",
        ),
        ({"product": ["masking", "masking"]}, "a factor is given twice"),
        ({"product": ["nope"]}, "factors out of those defined (masking, update, size), got ['nope']"),
        ({"product": []}, "got []"),
        ({"product": ["masking"], "zip": ["masking"]}, "exactly one of product, factorial, zip, leave_one_out"),
        ({}, "got none"),
        ({"products": ["masking"]}, "products: unknown key; did you mean 'product'"),
        ({"product": ["masking"], "keep": ["sup"]}, "goes with product: losses alone"),
        ({"product": "losses", "keep": ["kd"]}, "the losses 'kd' are not defined"),
        ({"product": "loss"}, "rows.product"),
    ],
)
def test_faults_of_expanders(factored, rows, text):
    message = told(lambda: factored(rows))
    assert text in message
    assert "rows" in message


def test_a_list_may_mix_every_form(factored):
    rows = [["sup"], {"name": "x", "losses": ["sup", "mad"]}, {"product": ["masking"]}, {"zip": ["update"]}]
    assert names(factored(rows)) == ["sup", "x", "utd", "utd_drop", "single", "meta"]


def test_a_level_may_choose_the_losses_and_a_symbols_weight(opened):
    factors = {"loss": {"plain": {"losses": ["sup"]}, "kd": {"losses": ["sup", "mad"], "lambda": 7}}}
    study = opened(factors=factors, rows={"product": ["loss"]}, baseline="plain")
    assert [list(r.losses) for r in study.rows] == [["sup"], ["sup", "mad"]]
    assert study.rows[1].losses["mad"].weight == 7


def test_names_that_different_levels_share_are_told(opened):
    factors = {"a": {"x": {}, "x+y": {"train.lr": 1}}, "b": {"y+z": {}, "z": {"train.epochs": 1}}}
    assert "two rows are called 'x+y+z'" in told(
        lambda: opened(factors=factors, rows={"product": ["a", "b"]}, baseline=None)
    )


shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@settings(max_examples=10, deadline=None)
@given(shape=shapes)
def test_a_product_has_every_combination_once(tmp_path_factory, shape):
    opened = Opener(tmp_path_factory.getbasetemp())
    keys = ["train.epochs", "train.batch_size", "losses.mad.temperature"]
    factors = {f"f{i}": {f"l{j}": {keys[i]: j + 1} for j in range(size)} for i, size in enumerate(shape)}
    study = opened(factors=factors, rows={"product": list(factors)}, baseline=None)
    expected = ["+".join(levels) for levels in itertools.product(*factors.values())]
    assert names(study) == expected
    assert len(set(expected)) == len(expected)
    assert len({students(study)[name, 0] for name in expected}) == len(expected)
    for kind in ("leave_one_out", "add_one_in"):
        if min(shape) > 1:
            assert len(names(opened(factors=factors, rows={kind: list(factors)}, baseline=None))) == 1 + len(shape)


@settings(max_examples=25, deadline=None)
@given(terms=st.permutations(["sup", "mad", "umd", "cmd"]), count=st.integers(2, 4))
def test_leave_one_out_leaves_each_loss_out_once(tmp_path_factory, terms, count):
    opened = Opener(tmp_path_factory.getbasetemp())
    terms = list(dict.fromkeys(["sup", *terms[:count]]))
    losses = {term: BASE["losses"][term] for term in terms}
    study = opened(losses=losses, sweep={}, rows={"leave_one_out": "losses"}, baseline=None)
    absent = [set(terms) - set(r.losses) for r in study.rows]
    assert absent == [set(), *({term} for term in terms)]


# --- baselines --------------------------------------------------------------------------------------------


def test_without_a_baseline_the_first_row_is_it(opened):
    assert set(opened(without=("baseline",)).baseline.values()) == {"sup"}
    assert set(opened(baseline="sup+mad").baseline.values()) == {"sup+mad"}


def test_a_baseline_by_level_compares_within_the_other_factors(factored):
    study = factored({"product": ["masking", "update"]}, baseline={"update": "single"})
    assert study.baseline == {
        "utd+single": "utd+single",
        "utd+meta": "utd+single",
        "utd_drop+single": "utd_drop+single",
        "utd_drop+meta": "utd_drop+single",
    }


@pytest.mark.parametrize("baseline", [{"update": "nope"}, {"nope": "single"}])
def test_a_baseline_by_level_that_is_no_row_is_told(factored, baseline):
    text = told(lambda: factored({"product": ["masking", "update"]}, baseline=baseline))
    assert len(text.splitlines()) == 4
    assert "baseline: row 'utd+single' has no baseline: no row has the levels" in text


def test_a_baseline_by_level_that_exclude_took_away_is_told(factored):
    rows = {"product": ["masking", "update"], "exclude": [{"masking": "utd", "update": "single"}]}
    assert "row 'utd+meta' has no baseline" in told(lambda: factored(rows, baseline={"update": "single"}))


def test_the_name_of_the_reference_row_is_taken(opened):
    rows = [["sup"], {"name": "teacher", "losses": ["sup", "mad"]}]
    assert names(opened(rows=rows)) == ["sup", "teacher"]
    shown = {**BASE["teacher"], "row": True}
    assert "rows.1: the name 'teacher' is that of the reference row" in told(lambda: opened(rows=rows, teacher=shown))


# --- choosing rows ----------------------------------------------------------------------------------------


def test_only_and_exclude(opened):
    rows = opened().rows
    assert select_rows(rows, None, None) == [r.name for r in rows]
    assert select_rows(rows, "sup+mad*", None) == ["sup+mad", "sup+mad+umd", "sup+mad+umd+cmd"]
    assert select_rows(rows, "sup+mad+umd,sup", "sup") == ["sup+mad+umd"]
    with pytest.raises(UsageError, match=r"--exclude nope: no row has that name \(there are: sup, "):
        select_rows(rows, None, "nope")
    with pytest.raises(UsageError, match="leave no row"):
        select_rows(rows, "sup", "*")


def test_a_shipped_recipe_opens_by_its_bare_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = open_study("landsat_losses")
    assert names(study) == ["sup", "sup+mad", "sup+mad+umd", "sup+mad+umd+cmd"]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ("{data.root: elsewhere}", "data.root"),
        ("{data.name: range_image}", "data.name"),
        ("{data.modalities: [V]}", "data.modalities"),
        ("{data.generate: {seed: 7}}", "data.generate.seed"),
        ("{teacher.checkpoint: teacher.pt}", "teacher.checkpoint"),
        ("{teacher: {row: true}}", "teacher.row"),
        ("{evaluate.classes: all_zero}", "evaluate.classes"),
        ("{seeds: [7]}", "seeds"),
    ],
)
def test_what_the_whole_table_shares_is_no_row_s_to_change(overrides, named):
    rows = f"rows=[[sup], {{name: other, losses: [sup], overrides: {overrides}}}]"
    with pytest.raises(RecipeError, match=f"row 'other': {named} is of the whole study"):
        open_study("landsat_losses", overrides=[rows])


def test_a_row_that_changes_its_supervised_loss_keeps_the_teacher():
    rows = "rows=[[sup, mad], {name: hard, losses: [sup, mad], overrides: {losses.sup.definition: ohem}}]"
    study = open_study("landsat_losses", overrides=[rows, "baseline=hard", "seeds=[0]"])
    assert [spec.role for spec in study.runs] == ["teacher", "student", "student"]
    assert [row.label for row in study.rows] == [
        "L_sup + λL_mad",
        "hard (L_sup + λL_mad, losses.sup.definition = ohem)",
    ]


def test_a_teacher_without_anything_to_learn_from_is_told_once():
    with pytest.raises(RecipeError, match="no supervised term has a weight above 0") as told:
        open_study("landsat_losses", overrides=["losses.sup.weight=0", "rows=[[mad],[mad,umd]]", "baseline=mad"])
    assert len(told.value.problems) == 1


def test_features_of_unlike_stages_are_not_compared():
    with pytest.raises(RecipeError, match=r"row 'sup\+mad\+umd': features of student and teacher are compared"):
        open_study("landsat_losses", overrides=["teacher.widths=[8, 8, 8]"])
    open_study("landsat_losses", overrides=["teacher.widths=[8, 8, 8]", "rows=[[sup], [sup, mad]]"])


@pytest.mark.parametrize(
    ("claim", "warned"),
    [
        ("sup+mad > sup on Mean", False),
        ("beta=10 > beta=0 on Mean", False),  # about a sweep of the recipe
        ("Mean falls with beta", False),
        ("Mean falls with nothing", True),
        ("sup+mda > sup on Mean", True),
        ("sup > 30 on VN", False),
        ("sup > 30 on VX", True),
    ],
)
def test_claims_about_nothing_are_warned_of(opened, claim, warned):
    assert bool(opened(claims=[claim]).warnings) == warned
