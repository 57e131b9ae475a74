"""Warnings before training: what they are about, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from study_samples import BASE, Opener

from mmablate.errors import RecipeError
from mmablate.models.anymodal import anymodal_segmentor
from mmablate.models.fusion.building import fusion_classifier
from mmablate.study.sweeping import SweepRequest


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture
def warned(opened):
    def run(*rows, **changes):
        return list(opened(rows=list(rows), **{"baseline": None, "seeds": [0], **changes}).warnings)

    return run


def row(name="x", losses=("sup",), **overrides):
    return {"name": name, "losses": list(losses), "overrides": {k.replace("__", "."): v for k, v in overrides.items()}}


# --- more than it says ------------------------------------------------------------------------------------


def test_losses_and_a_setting_at_once(warned):
    assert warned(["sup"], row(losses=["sup", "mad"], masks__mode="none")) == [
        "the row x differs from its baseline sup in masks and losses: its Δ cannot tell them apart; "
        "change one in a row of its own"
    ]


def test_two_settings_at_once(warned):
    (text,) = warned(["sup"], row(masks__mode="none", train__lr=1))
    assert "in train and masks" in text


@pytest.mark.parametrize(
    "overrides",
    [
        {"masks__mode": "none"},
        {"train__lr": 1},
        {"train__lr": 1, "train__clip": 1},  # a schedule
        {"losses__sup__weight": 3, "losses__sup__definition": "ohem"},
        {"train__lr": 1, "masks__mode": "dynamic"},  # the recipe's own value
        {"train__lr": 1, "teacher__train__lr": 1},  # the teacher goes with the student
        {"teacher__decoder_width": 9, "masks__mode": "none"},  # a teacher that the row does not read
    ],
)
def test_one_change_is_no_warning(warned, overrides):
    assert warned(["sup"], row(**overrides)) == []


def test_the_teacher_counts_where_the_row_reads_it(warned):
    rows = [["sup", "mad"], row(losses=["sup", "mad"], teacher__decoder_width=9, masks__mode="none")]
    (text,) = warned(*rows)
    assert "in teacher and masks" in text


def test_a_name_of_losses_alone(warned):
    rows = [["sup"], row("sup+mad", losses=["sup", "mad"]), row("sup+umd", losses=["sup", "umd"])]
    assert warned(*rows) == []
    hidden = [row("plain"), row("sup", train__lr=1)]
    assert warned(*hidden) == ["the row sup is called by its losses, and changes train too: say so in its name"]
    assert warned(row("plain"), row("fast", train__lr=1)) == []


def test_a_baseline_that_is_changed_is_what_rows_are_compared_with(warned):
    rows = [["sup"], row("none", masks__mode="none"), row("both", losses=["sup", "mad"], masks__mode="none")]
    assert len(warned(*rows)) == 1
    assert warned(*rows[1:], baseline="none") == []


FACTORS = {
    "update": {"single": {"train.lr": 0.1}, "meta": {"train.lr": 0.2, "masks.mode": "none"}},
    "arm": {"mad": {"losses": ["sup", "mad"]}, "umd": {"losses": ["sup", "umd"], "losses.umd.reduce": "mean"}},
    "pair": {"a": {"train.lr": 0.1, "masks.mode": "dynamic"}, "b": {"train.lr": 0.2, "masks.mode": "dynamic"}},
    "weight": {"w1": {"lambda": 1}, "w2": {"lambda": 2}},
}


def test_a_level_of_several_changes(opened):
    study = opened(factors=FACTORS, rows={"product": ["update", "arm"]}, baseline=None)
    assert list(study.warnings) == [
        "the level meta of the factor update differs from single in train and masks: no effect of the one can be "
        "told from that of the other; make them factors of their own"
    ]


def test_levels_of_one_change_are_no_warning_and_factors_change_together(opened):
    for factors in (["arm", "pair"], ["pair", "weight"]):
        assert opened(factors=FACTORS, rows={"product": factors}, baseline=None).warnings == ()


def test_a_swept_parameter_says_what_it_changes(opened):
    sweep = {"size": {"path": ["train.lr", "losses.mad.weight"], "values": [1, 2]}}
    assert opened(sweep=sweep, options={"sweep": SweepRequest(("size",))}).warnings == ()


# --- size -------------------------------------------------------------------------------------------------


def test_unequal_steps(warned):
    (text,) = warned(["sup"], row(train__epochs=4), row("y", train__epochs=4, train__lr=3))
    assert text == (
        "rows are trained for unequal numbers of steps (sup 2 epochs in batches of 8; x, y 4 epochs in batches of 8): "
        "equal epochs / batch_size makes them equal"
    )
    assert len(warned(["sup"], row(train__batch_size=4))) == 1
    assert warned(["sup"], row(train__epochs=4, train__batch_size=16)) == []


def parameters(**options):
    known = {**BASE["model"], **options}
    known.pop("name")
    with torch.device("meta"):
        return sum(p.numel() for p in anymodal_segmentor(n_classes=5, **known).parameters())


def test_unequal_parameters_with_the_arm_that_is_equal(warned):
    model = {**BASE["model"], "widths": [16, 32], "strides": [2, 2], "decoder_width": 64}
    rows = [["sup"], row(losses=["sup"], model__depths=[2, 1])]
    (text,) = warned(*rows, model=model, losses={"sup": {}}, sweep={}, without=("teacher",))
    own, theirs = (parameters(**{**model, "depths": depths}) for depths in ([2, 1], [1, 1]))
    width = min(
        range(1, 200), key=lambda d: abs(parameters(**{**model, "depths": [2, 1], "decoder_width": d}) - theirs)
    )
    matched = parameters(**{**model, "depths": [2, 1], "decoder_width": width})
    assert text == (
        f"the row x has {own:,} parameters, the baseline sup {theirs:,} ({own / theirs - 1:+.0%}): its Δ may be one "
        f"of size; a parameter-matched arm has model.decoder_width: {width} ({matched:,})"
    )


def test_another_decoder_is_matched_by_the_widths_unless_their_features_are_compared(warned):
    model = {**BASE["model"], "widths": [32, 64], "strides": [2, 2], "decoder_width": 64}
    teacher = {"name": "anymodal_segmentor"}
    for losses, said in ((["sup", "mad"], "arm has model.widths: ["), (["sup", "umd"], "no width of it alone")):
        rows = [losses, row(losses=losses, model__decoder_width=96)]
        (text,) = warned(*rows, model=model, teacher=teacher)
        assert said in text


def test_a_hair_more_is_no_warning(warned):
    model = {**BASE["model"], "widths": [32, 64, 128], "decoder_width": 200}
    assert warned(["sup"], row(model__decoder_width=201), model=model) == []


def test_very_many_warnings_of_a_kind_are_counted(warned):
    rows = [row(f"w{i}", model__decoder_width=10 * i) for i in range(1, 12)]
    texts = warned(["sup"], *rows)
    assert len(texts) == 6
    assert texts[-1] == "... and 6 more warnings like the last"


# --- seen before ------------------------------------------------------------------------------------------


def test_a_checkpoint_under_another_division_of_the_data(opened, tmp_path):
    (tmp_path / "t.pt").write_bytes(b"1")
    teacher = {**BASE["teacher"], "checkpoint": str(tmp_path / "t.pt")}
    rows = [["sup"], row("other", data__split_seed=1)]
    study = opened(rows=rows, teacher=teacher)
    assert any("other read the data with other options" in text and "checkpoint" in text for text in study.warnings)
    assert any("what it was trained on is not known here" in note for note in study.notes)
    trained = opened(rows=rows)  # a teacher trained here reads what its row reads
    assert not any("checkpoint" in text for text in (*trained.warnings, *trained.notes))


FOLDER = {
    "name": "image_folder", "modalities": {"R": "rgb/{split}/{id}.png"},
    "labels": {"files": "labels/{split}/{id}.png"}, "class_names": ["a", "b"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": "a", "val": "b", "test": "c"}, None),
        ({"train": "a", "val": "b", "test": "b"},
         "data.splits: val and test are both 'b': what is used to select the epoch would be scored"),
        ({"train": "a", "val": "a", "test": "b"},
         "data.splits: train and val are both 'a': what is trained on would be used to select the epoch"),
        ({"train": "a", "val": "b", "test": "a"},
         "data.splits: train and test are both 'a': what is trained on would be scored"),
    ],
)  # fmt: skip
def test_splits_that_are_the_same(warned, tmp_path, splits, said):
    for folder in ("rgb", "labels"):
        (tmp_path / "root" / folder / "a").mkdir(parents=True)
        (tmp_path / "root" / folder / "a" / "1.png").write_bytes(b"1")
    options = {"data_root": str(tmp_path / "root")}
    assert warned(["sup"], data={**FOLDER, "splits": splits}, options=options) == ([said] if said else [])


def test_under_strict_warnings_are_errors(opened):
    with pytest.raises(RecipeError, match="--strict: rows are trained for unequal numbers of steps"):
        opened(rows=[["sup"], row(train__epochs=4)], baseline=None, options={"strict": True})


# --- models that fuse modalities ------------------------------------------------------------------------------

FUSED = {
    "name": "tiny",
    "data": {"name": "mfeat", "modalities": ["pix", "fou"]},
    "model": {"name": "fusion_classifier", "encoder": {"kind": "mlp", "hidden": [8]}},
    "method": "dgl",
    "train": {"epochs": 2, "batch_size": 32, "holdout": 0.2},
    "losses": {"sup": {}, "uni": {"weight": 2}, "unique": {}},
    "baseline": "joint",
    "seeds": [0],
}
JOINT = {"name": "joint", "losses": ["sup"], "overrides": {"method": "joint_fusion"}}


def of_fused(tmp_path, *rows, **changes):
    """Warnings of a joint row and these."""
    return list(Opener(tmp_path, FUSED)(rows=[JOINT, *rows], **changes).warnings)


def other(losses, **overrides):
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return {"name": "other", "losses": losses, "overrides": overrides}


def test_terms_that_one_rule_alone_computes_come_with_it(tmp_path):
    assert of_fused(tmp_path, other(["sup", "uni"])) == []
    assert of_fused(tmp_path, other(["sup", "uni", "unique"])) == []
    assert of_fused(tmp_path, other(["sup"], method="ogm_ge")) == []
    assert of_fused(tmp_path, other(["sup"], method={"name": "dgl", "truncate": False})) == []


@pytest.mark.parametrize(
    ("losses", "overrides", "changed"),
    [
        (["sup", "uni"], {"train__lr": 0.1}, "method and train"),
        (["sup", "uni"], {"losses__sup__weight": 2}, "method and losses"),
        (["sup"], {"method": "ogm_ge", "train__encoder_lr": 4}, "method and train"),
        (["sup", "uni"], {"model__fusion": "sum", "train__lr": 0.1}, "model, method and train"),
    ],
)
def test_what_comes_along_beside_the_rule_is_told(tmp_path, losses, overrides, changed):
    (text,) = of_fused(tmp_path, other(losses, **overrides))
    assert text.startswith(f"the row other differs from its baseline joint in {changed}: its Δ cannot tell them apart")


def test_levels_of_rules_with_their_terms(tmp_path):
    rules = {"joint": {"losses": ["sup"], "method": "joint_fusion"}, "dgl": {"losses": ["sup", "uni"], "method": "dgl"}}
    mixed = {**rules, "dgl": {**rules["dgl"], "train.lr": 0.1}}
    forms = {"rows": {"product": ["rule"]}, "baseline": {"rule": "joint"}}
    opened = Opener(tmp_path, FUSED)
    assert opened(factors={"rule": rules}, **forms).warnings == ()
    weighed = {**rules, "dgl": {**rules["dgl"], "losses.sup.weight": 2}}
    (text,) = opened(factors={"rule": weighed}, **forms).warnings
    assert text.startswith("the level dgl of the factor rule differs from joint in losses and method")
    (text,) = opened(factors={"rule": mixed}, **forms).warnings
    assert text.startswith("the level dgl of the factor rule differs from joint in method and train")


@pytest.mark.parametrize(
    ("longer", "first", "warned"),
    [
        (4, {}, False),
        (3, {"epochs": 1}, False),
        (3, {}, True),
        (4, {"batch_size": 64}, True),
        (3, {"batch_size": 64}, False),
    ],
)
def test_as_long_as_pre_training_and_training_together_is_a_control(tmp_path, longer, first, warned):
    rows = [other(["sup"], pretrain__then="tune"), {**other(["sup"], train__epochs=longer), "name": "longer"}]
    method = {"method": "joint_fusion", "losses": {"sup": {}}}
    told = of_fused(tmp_path, *rows, pretrain={"then": "none", "train": first}, **method)
    assert [text.startswith("rows are trained for unequal numbers of steps") for text in told] == [True] * warned


def parameters_of(**options):
    """Of the module itself, on pix (240 features) and fou (76), 10 classes."""
    known = {**FUSED["model"], **options}
    known.pop("name")
    with torch.device("meta"):
        model = fusion_classifier(n_classes=10, shapes={"pix": (240,), "fou": (76,)}, **known)
    return sum(p.numel() for p in model.parameters())


def test_fusions_of_unequal_size_with_the_arm_that_is_equal(tmp_path):
    method = {"method": "joint_fusion", "losses": {"sup": {}}}
    (text,) = of_fused(tmp_path, other(["sup"], model__fusion="gated"), **method)
    own, base = parameters_of(fusion="gated"), parameters_of()
    assert text == (
        f"the row other has {own:,} parameters, the baseline joint {base:,} ({own / base - 1:+.0%}): its Δ may be one "
        "of size; a parameter-matched arm has model.match: {'fusion': 'concat'}"
    )
    matched = other(["sup"], model__fusion="gated", model__match={"fusion": "concat"})
    assert of_fused(tmp_path, other(["sup"], model__fusion="gated"), {**matched, "name": "matched"}, **method) == []
    assert of_fused(tmp_path, other(["sup"], model__modalities=["pix"]), **method) == []  # a control of another kind
    (text,) = of_fused(tmp_path, other(["sup"], model__encoder={"kind": "linear"}), **method)
    assert text.endswith("its Δ may be one of size; no width of it alone makes them equal")
    (text,) = of_fused(tmp_path, other(["sup"], model__hidden=64), **method)
    assert text.endswith("no width of it alone makes them equal")


def test_sizes_of_data_that_are_not_known_before_they_are_read_are_not_told(tmp_path):
    for name in ("a.npy", "b.npy", "y.csv"):
        (tmp_path / name).touch()
    data = {"name": "arrays", "modalities": {"a": "a.npy", "b": "b.npy"}, "labels": "y.csv"}
    options = {"data_root": str(tmp_path)}
    method = {"method": "joint_fusion", "losses": {"sup": {}}}
    assert of_fused(tmp_path, other(["sup"], model__fusion="bilinear"), data=data, options=options, **method) == []
