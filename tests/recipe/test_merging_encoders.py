"""Another kind of encoder, or another update rule, leaves nothing of the options of the old one."""

from __future__ import annotations

import pytest
from recipe_samples import write

from mmablate.errors import RecipeError
from mmablate.recipe import draft_recipe, load_recipe
from mmablate.recipe.merging import merge, set_path
from mmablate.study import open_study

FUSED = """\
name: tiny
data: {name: mfeat, modalities: [pix, fou]}
model:
  name: fusion_classifier
  encoder: {kind: mlp, hidden: [8], dropout: 0.5}
  encoders: {fou: {kind: conv, widths: [4], norm: none}}
method: {name: dgl, truncate: false, clip: joint}
losses: {sup: {weight: 1}, uni: {weight: 2}}
rows: [{name: a, losses: [sup, uni]}]
seeds: [0]
"""
LINEAR = {"kind": "linear", "dim": 64}
MLP = {"kind": "mlp", "hidden": [8], "dropout": 0.5}


def model_of(tmp_path, text=FUSED, **options):
    return load_recipe(write(tmp_path, text), **options).model.options


@pytest.mark.parametrize(
    ("layer", "encoder"),
    [
        ("{kind: linear}", LINEAR),
        ("{kind: linear, dim: 3}", {"kind": "linear", "dim": 3}),
        ("{kind: mlp}", MLP),
        ("{hidden: [9]}", {**MLP, "hidden": [9]}),
        ("{kind: mlp, hidden: [9]}", {**MLP, "hidden": [9]}),
    ],
)
def test_an_encoder_whose_kind_changes_is_replaced(tmp_path, layer, encoder):
    """By a profile, the command line, and a row alike."""
    profile = FUSED + f"profiles: {{other: {{model: {{encoder: {layer}}}}}}}\n"
    assert model_of(tmp_path, profile, profile="other")["encoder"] == encoder
    assert model_of(tmp_path, overrides=[f"model.encoder={layer}"])["encoder"] == encoder
    row = FUSED.replace("losses: [sup, uni]}", f"losses: [sup, uni], overrides: {{model.encoder: {layer}}}}}")
    study = open_study(write(tmp_path, row))
    assert study.rows[0].recipe.model.options["encoder"] == encoder
    assert study.recipe.model.options["encoder"] == MLP


@pytest.mark.parametrize("layer", ["{kind: linear}", "{kind: mlp, hidden: [5]}"])
def test_so_is_one_of_a_single_modality(tmp_path, layer):
    profile = FUSED + f"profiles: {{other: {{model: {{encoders: {{fou: {layer}}}}}}}}}\n"
    told = [
        model_of(tmp_path, profile, profile="other"),
        model_of(tmp_path, overrides=[f"model.encoders.fou={layer}"]),
        model_of(tmp_path, overrides=[f"model.encoders={{fou: {layer}}}"]),
        model_of(tmp_path, overrides=[f"model={{encoders: {{fou: {layer}}}}}"]),
    ]
    wanted = LINEAR if "linear" in layer else {"kind": "mlp", "hidden": [5], "dropout": 0.0}
    assert all(options["encoders"] == {"fou": wanted} for options in told)
    assert all(options["encoder"] == MLP for options in told)


def test_the_kind_alone(tmp_path):
    assert model_of(tmp_path, overrides=["model.encoder.kind=linear"])["encoder"] == LINEAR
    both = ["model.encoder.kind=linear", "model.encoder.dim=7"]
    assert model_of(tmp_path, overrides=both)["encoder"] == {"kind": "linear", "dim": 7}
    assert model_of(tmp_path, overrides=["model.encoder.kind=mlp"])["encoder"] == MLP
    row = FUSED.replace("losses: [sup, uni]}", "losses: [sup, uni], overrides: {model.encoder.kind: linear}}")
    assert open_study(write(tmp_path, row)).rows[0].recipe.model.options["encoder"] == LINEAR


def test_an_unknown_kind_is_told_alone(tmp_path):
    with pytest.raises(RecipeError) as told:
        model_of(tmp_path, overrides=["model.encoder.kind=vit"])
    kinds = "resnet18, conv, mlp, linear, identity"
    assert list(told.value.problems) == [f"command line: model.encoder.kind: should be one of {kinds}, got 'vit'"]


@pytest.mark.parametrize("layer", ["joint_fusion", "{name: joint_fusion}"])
def test_another_update_rule_has_its_own_defaults(tmp_path, layer):
    text = FUSED.replace("rows: [{name: a, losses: [sup, uni]}]", "rows: [{name: a, losses: [sup]}]")
    text = text.replace("losses: {sup: {weight: 1}, uni: {weight: 2}}", "losses: {sup: {weight: 1}}")
    row = text.replace("losses: [sup]}", f"losses: [sup], overrides: {{method: {layer}}}}}")
    assert open_study(write(tmp_path, row)).rows[0].recipe.method.model_dump() == {
        "name": "joint_fusion", "clip": "joint",
    }  # fmt: skip
    found = load_recipe(write(tmp_path, text), overrides=[f"method={layer}"]).method
    assert found.model_dump() == {"name": "joint_fusion", "clip": "joint"}


DGL = {"name": "dgl", "truncate": True, "detach_head": True, "clip": "separate"}


def test_the_short_form_of_a_rule_is_that_rule_with_its_defaults(tmp_path):
    row = FUSED.replace("losses: [sup, uni]}", "losses: [sup, uni], overrides: {method: dgl}}")
    assert open_study(write(tmp_path, row)).rows[0].recipe.method.model_dump() == DGL
    assert load_recipe(write(tmp_path, FUSED), overrides=["method=dgl"]).method.model_dump() == DGL


def test_options_join_the_short_form_of_a_rule(tmp_path):
    short = FUSED.replace("method: {name: dgl, truncate: false, clip: joint}", "method: dgl")
    wanted = {**DGL, "truncate": False}
    profile = short + "profiles: {other: {method: {truncate: false}}}\n"
    row = short.replace("losses: [sup, uni]}", "losses: [sup, uni], overrides: {method.truncate: false}}")
    path = write(tmp_path, short)
    assert load_recipe(path, overrides=["method.truncate=false"]).method.model_dump() == wanted
    assert load_recipe(path, overrides=["method={truncate: false}"]).method.model_dump() == wanted
    assert load_recipe(write(tmp_path, profile), profile="other").method.model_dump() == wanted
    assert open_study(write(tmp_path, row)).rows[0].recipe.method.model_dump() == wanted


def test_the_settings_of_a_program_have_no_kinds_of_ours(tmp_path):
    text = "name: own\nrun: {command: 'true {encoder.kind}'}\nmetrics: {a: max}\nseeds: [0]\n"
    text += "settings: {kind: a, lr: 1, encoder: {kind: a, width: 2}}\n"
    path = write(tmp_path, text + "profiles: {other: {settings: {kind: b, encoder: {kind: b}}}}\n")
    changed = {"kind": "b", "lr": 1, "encoder": {"kind": "b", "width": 2}}
    overrides = ["kind=b", "settings.encoder.kind=b"]
    assert draft_recipe(path, profile="other")[0].finish_program().settings == changed
    assert draft_recipe(path, overrides=overrides)[0].finish_program().settings == changed


def test_layers_are_left_as_they_are():
    base = {"model": {"name": "m", "encoder": {"kind": "a", "x": 1}}}
    layer = {"model": {"encoder": {"kind": "b"}}}
    assert merge(base, layer) == {"model": {"name": "m", "encoder": {"kind": "b"}}}
    set_path(data := {**base}, ["model", "encoder", "kind"], "b", what="")
    assert data == {"model": {"name": "m", "encoder": {"kind": "b"}}}
    assert base == {"model": {"name": "m", "encoder": {"kind": "a", "x": 1}}}
    assert layer == {"model": {"encoder": {"kind": "b"}}}
