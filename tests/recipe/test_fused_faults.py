"""Faults of recipes whose models fuse modalities: key, rule and value, told of the recipe or of a row by its name."""

from __future__ import annotations

import pytest
from recipe_samples import write

from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe
from mmablate.study import open_study

FUSED = """\
name: tiny
title: Tiny
data: {name: mfeat, modalities: [pix, fou, zer]}
model: {name: fusion_classifier, encoder: {kind: mlp, hidden: [8]}, fusion: concat}
method: dgl
train: {epochs: 1, batch_size: 32, holdout: 0.2}
losses:
  sup: {weight: 1}
  uni: {weight: 2}
  unique: {weight: 3}
rows:
  - {name: joint, losses: [sup], overrides: {method: joint_fusion}}
  - {name: dgl, losses: [sup, uni]}
  - {name: unique, losses: [sup, uni, unique]}
baseline: joint
seeds: 0-3
"""
DATA, MODEL = [line for line in FUSED.splitlines() if line.startswith(("data", "model"))]
METHOD, TRAIN = "method: dgl", "train: {epochs: 1, batch_size: 32, holdout: 0.2}"
SEEDS = "seeds: 0-3"
THERE = "modalities of the data (pix, fou, zer)"


def spoilt(*pairs: tuple[str, str]) -> str:
    text = FUSED
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def model(options: str) -> tuple[str, str]:
    return MODEL, MODEL[:-1] + f", {options}}}"


def fusion(name: str) -> tuple[str, str]:
    return MODEL, MODEL.replace("concat", name)


def train(options: str) -> tuple[str, str]:
    return TRAIN, TRAIN[:-1] + f", {options}}}"


TWO = "joins exactly two modalities, the model sees 3 (pix, fou, zer)"
UNIMODAL = "model: {name: mlp, modality: pix, hidden: [8]}"
RULES = "joint_fusion, dgl, ogm_ge"
# name -> (what stands there, what is written instead, the whole message after "file:line: ")
FAULTS = {
    "a rule of one modality": (
        (METHOD, "method: crossmodal"),
        "@  uni:@losses.uni: the method 'crossmodal' has no term 'uni' (it has sup, kd)\n"
        "@  unique:@losses.unique: the method 'crossmodal' has no term 'unique' (it has sup, kd)\n"
        f"@method@method: the model 'fusion_classifier' fuses modalities: one of {RULES}, got 'crossmodal'",
    ),
    "a rule of segmentation": (
        (METHOD, "method: joint"),
        "@  uni:@losses.uni: the method 'joint' has no term 'uni' (it has sup)\n"
        "@  unique:@losses.unique: the method 'joint' has no term 'unique' (it has sup)\n"
        "@method@method.name: 'joint' is of segmentation, the data 'mfeat' are of classification",
    ),
    "the rule of a pre-training": (
        (METHOD, "method: contrastive"),
        "@  sup:@losses.sup: the method 'contrastive' has no term 'sup' (it has nce)\n"
        "@  uni:@losses.uni: the method 'contrastive' has no term 'uni' (it has nce)\n"
        "@  unique:@losses.unique: the method 'contrastive' has no term 'unique' (it has nce)\n"
        f"@method@method.name: 'contrastive' is the rule of a `pretrain`: one of {RULES}",
    ),
    "a model of one modality": (
        (MODEL, UNIMODAL),
        "@method@method: the model 'mlp' sees one modality: one of crossmodal, got 'dgl'",
    ),
    "a pre-training's model": (
        (MODEL, "model: {name: contrastive_encoders, encoder: {kind: mlp, hidden: [8]}}"),
        "model.name: encoders alone classify nothing: one of fusion_classifier, map_fusion_classifier, "
        "got 'contrastive_encoders'",
    ),
    **{
        f"{name} of three": (fusion(name), f"model: fusion: {name} {TWO}")
        for name in ("gated", "film", "bilinear")
    },
    "matmul of three": (
        (MODEL, "model: {name: map_fusion_classifier, fusion: matmul}"),
        f"model: fusion: matmul {TWO}",
    ),
    "match of three": (model("match: {fusion: film}"), f"model: match.fusion: film {TWO}"),
    "an empty match": (model("match: {fusion: null}"), "model.match: match must give at least one of fusion, hidden, "
                       "got {'fusion': None}"),
    "no such fusion": (
        fusion("attention"),
        "model.fusion: should be 'concat', 'sum', 'gated', 'film', 'bilinear' or 'late', got 'attention'",
    ),
    "no such modality": (model("modalities: [pix, kar]"), f"model.modalities: {THERE}, got kar"),
    "a modality twice": (
        model("modalities: [pix, pix]"),
        "model: modalities must name each once, got pix, pix, got {'encoder': {'kind': 'mlp', 'hidden': [8]}, "
        "'fusion': 'concat', 'modalities':...",
    ),
    "no modality": (
        model("modalities: []"),
        "model.modalities: list should have at least 1 item after validation, not 0, got []",
    ),
    "an encoder of nothing": (
        model("encoders: {kar: {kind: linear}}"),
        "model: encoders: the data have no 'kar' (there are: pix, fou, zer)",
    ),
    "no such encoder": (
        (MODEL, MODEL.replace("kind: mlp", "kind: vit")),
        "model.encoder.kind: should be one of resnet18, conv, mlp, linear, identity, got 'vit'",
    ),
    "an encoder of no kind": (
        (MODEL, MODEL.replace("kind: mlp, ", "")),
        "model.encoder.kind: missing",
    ),
    "an encoder of no kind for one modality": (
        model("encoders: {fou: {hidden: [8]}}"),
        "model.encoders.fou.kind: missing",
    ),
    "an option of another encoder": (
        (MODEL, MODEL.replace("hidden: [8]", "hidden: [8], widths: [4]")),
        "model.encoder.widths: unknown key",
    ),
    "a modality that conditions and is not seen": (
        model("modalities: [pix, fou], conditions: zer"),
        "model: conditions: the model sees no 'zer' (it sees: pix, fou)",
    ),
    "nothing held out": (
        (TRAIN, TRAIN.replace(", holdout: 0.2", "")),
        "@  unique:@losses.unique: held-out training samples tell how weak a modality is: give train.holdout, e.g. 0.2",
    ),
    "unique information of one": (
        model("modalities: [fou]"),
        "@  unique:@losses.unique: unique information takes two modalities, and the model sees ['fou']",
    ),
    "encoders' learning rate": (
        train("encoder_lr: 0"),
        "train.encoder_lr: should be greater than 0, got 0",
    ),
    "all held out": (
        (TRAIN, TRAIN.replace("0.2", "1")),
        "train.holdout: should be less than 1, got 1",
    ),
    "pictures of nothing": (
        train("pictures: {modalities: [rgb]}"),
        f"train.pictures.modalities: {THERE}, got rgb",
    ),
    "pictures of no modality": (
        train("pictures: {modalities: []}"),
        "train.pictures.modalities: list should have at least 1 item after validation, not 0, got []",
    ),
    "pictures of which": (train("pictures: {flip: true}"), "train.pictures.modalities: missing"),
    "a crop that falls": (
        train("pictures: {modalities: [pix], crop: [1, 0.5]}"),
        "train.pictures.crop: the smallest share comes first, got [1, 0.5]",
    ),
    "a crop of nothing": (
        train("pictures: {modalities: [pix], crop: [0, 0.5]}"),
        "train.pictures.crop.0: should be greater than 0, got 0",
    ),
    "a crop beyond the picture": (
        train("pictures: {modalities: [pix], crop: [0.5, 1.5]}"),
        "train.pictures.crop.1: should be less than or equal to 1, got 1.5",
    ),
    "a key of pictures": (
        train("pictures: {modalities: [pix], flips: true}"),
        "train.pictures.flips: unknown key; did you mean 'flip'?",
    ),
    "a step beyond the end": (train("schedule: step, step_at: 1"), "train.step_at: should be less than 1, got 1"),
    "also what": (
        (SEEDS, SEEDS + "\nevaluate: {also: [probes, f1]}"),
        "@evaluate:@evaluate.also.1: should be 'probes', 'own', 'gain', 'scores', 'information' or 'gradients', "
        "got 'f1'",
    ),
    "a pre-training's key": (
        (SEEDS, SEEDS + "\npretrain: {train: {epoch: 3}}"),
        "@pretrain:@pretrain.train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "a pre-training's value": (
        (SEEDS, SEEDS + "\npretrain: {train: {lr: -1}}"),
        "@pretrain:@pretrain.train.lr: should be greater than 0, got -1",
    ),
    "another pre-training": (
        (SEEDS, SEEDS + "\npretrain: {name: masked}"),
        "@pretrain:@pretrain.name: should be 'contrastive', got 'masked'",
    ),
    "after a pre-training": (
        (SEEDS, SEEDS + "\npretrain: {then: tuned}"),
        "@pretrain:@pretrain.then: should be 'tune', 'freeze' or 'none', got 'tuned'",
    ),
    "a pre-training of one": (
        (MODEL + "\n", MODEL[:-1] + ", modalities: [pix]}\npretrain: {dim: 8}\n"),
        "@pretrain@pretrain: pairs of modalities are learned from, and the model sees ['pix']\n"
        "@  unique:@losses.unique: unique information takes two modalities, and the model sees ['pix']",
    ),
    "a teacher": (
        (SEEDS, SEEDS + "\nteacher: {name: mlp, modality: pix, row: true}"),
        "@teacher@teacher.row: no term of 'dgl' compares with a teacher: leave it out",
    ),
}  # fmt: skip


def expected(path: str, text: str, new: str, told: str) -> list[str]:
    lines = []
    for line in told.splitlines():
        _, part, message = line.split("@") if line.startswith("@") else ("", new.splitlines()[0], line)
        (number,) = [i for i, one in enumerate(text.splitlines(), 1) if one.startswith(part)]
        lines.append(f"{path}:{number}: {message}")
    return lines


def test_the_sound_recipe_is_sound(tmp_path):
    path = write(tmp_path, FUSED)
    assert load_recipe(path).method.name == "dgl"
    assert len(open_study(path).rows) == 3


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_at_its_place(tmp_path, name):
    (old, new), told = FAULTS[name]
    text = spoilt((old, new))
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        open_study(path)
    assert list(error.value.problems) == expected(path, text, new, told)


# --- rows ---------------------------------------------------------------------------------------------------

ROW = "  - {name: unique, losses: [sup, uni, unique]}"
# overrides of the row -> the whole of what is told behind "row 'unique': "
ROWS = {
    "method: crossmodal": (
        "losses.uni: the method 'crossmodal' has no term 'uni' (it has sup, kd)",
        "losses.unique: the method 'crossmodal' has no term 'unique' (it has sup, kd)",
        f"method: the model 'fusion_classifier' fuses modalities: one of {RULES}, got 'crossmodal'",
    ),
    "method: ogm_ge": (
        "losses.uni: the method 'ogm_ge' has no term 'uni' (it has sup)",
        "losses.unique: the method 'ogm_ge' has no term 'unique' (it has sup)",
    ),
    "method: {name: dgl, truncates: 1}": ("method.truncates: unknown key; did you mean 'truncate'?",),
    "model: {name: mlp, modality: pix, hidden: [8]}": (
        "method: the model 'mlp' sees one modality: one of crossmodal, got 'dgl'",
    ),
    "model.fusion: gated": (f"model: fusion: gated {TWO}",),
    "model.match: {fusion: bilinear}": (f"model: match.fusion: bilinear {TWO}",),
    "model.modalities: [pix, kar]": (f"model.modalities: {THERE}, got kar",),
    "model.modalities: [pix]": (
        "losses.unique: unique information takes two modalities, and the model sees ['pix']",
    ),
    "model.encoders: {kar: {kind: linear}}": (
        "model: encoders: the data have no 'kar' (there are: pix, fou, zer)",
    ),
    "model.encoder: {kind: vit}": (
        "model.encoder.kind: should be one of resnet18, conv, mlp, linear, identity, got 'vit'",
    ),
    "model.encoder: {kind: linear, hidden: [3]}": ("model.encoder.hidden: unknown key",),
    "train.holdout: 0": (
        "losses.unique: held-out training samples tell how weak a modality is: give train.holdout, e.g. 0.2",
    ),
    "train.encoder_lr: -1": ("train.encoder_lr: should be greater than 0, got -1",),
    "train.pictures: {modalities: [rgb]}": (f"train.pictures.modalities: {THERE}, got rgb",),
    "train.pictures: {modalities: [pix], crop: [1, 0.5]}": (
        "train.pictures.crop: the smallest share comes first, got [1, 0.5]",
    ),
    "pretrain: {train: {epoch: 3}}": ("pretrain.train.epoch: unknown key; did you mean 'epochs'?",),
    "pretrain: {name: masked}": ("pretrain.name: should be 'contrastive', got 'masked'",),
    "losses.unique.adapt: best": (
        "losses.unique.adapt: should be 'adaptive', 'uniform', 'inverted' or 'shuffled', got 'best'",
    ),
    "losses.unique.width: 0": ("losses.unique.width: should be greater than or equal to 1, got 0",),
    "losses.unique.redundancy: -1": ("losses.unique.redundancy: should be greater than or equal to 0, got -1",),
    "losses.unique.definition: exact": (
        "losses.unique.definition: the term 'unique' has the definitions principled, residual, got 'exact'",
    ),
    "losses.uni.definition: mse": ("losses.uni.definition: the term 'uni' has the definitions ce, got 'mse'",),
}  # fmt: skip


@pytest.mark.parametrize("override", ROWS)
def test_a_row_that_is_wrong_is_told_once_by_its_name(tmp_path, override):
    new = ROW[:-1] + ", overrides: {" + override + "}}"
    text = spoilt((ROW, new))
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        open_study(path)
    place = f"{path}:{text.splitlines().index(new) + 1}: row 'unique': "
    assert list(error.value.problems) == [place + told for told in ROWS[override]]


def test_what_a_rule_cannot_compare_is_told_of_the_row_alone(tmp_path):
    """ogm_ge compares what the joint loss makes of each modality; gated fusion has heads of its own."""
    row = (
        "  - {name: ogm, losses: [sup], overrides: {method: ogm_ge, model.fusion: gated, model.modalities: [pix, fou]}}"
    )
    text = spoilt((ROW, row))
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        open_study(path)
    assert list(error.value.problems) == [
        f"{path}:{text.splitlines().index(row) + 1}: row 'ogm': method.name: ogm_ge compares what the joint loss makes "
        "of each modality alone, with a fusion of concat, sum or late, got gated"
    ]


def test_a_learning_rate_of_encoders_that_a_model_does_not_have(tmp_path):
    text = spoilt((MODEL, UNIMODAL), (METHOD, "method: crossmodal"), train("encoder_lr: 4"))
    for part in ("  uni: {weight: 2}\n", "  unique: {weight: 3}\n"):
        text = text.replace(part, "")
    text = text[: text.index("rows:")] + "seeds: 0-3\n"
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        open_study(path)
    line = text.splitlines().index(train("encoder_lr: 4")[1]) + 1
    assert list(error.value.problems) == [f"{path}:{line}: train.encoder_lr: of a model with encoders, got 4 for 'mlp'"]


def test_every_fault_ends_the_command_with_one_message(tmp_path, mmablate):
    path = write(tmp_path, spoilt(fusion("gated"), train("pictures: {modalities: [rgb]}")))
    done = mmablate("ablate", path, "-n")
    assert (done.code, done.out) == (2, "")
    told = " ".join(done.err.split())
    assert f"model: fusion: gated {TWO}" in told
    assert f"train.pictures.modalities: {THERE}, got rgb" in told
    assert "Traceback" not in done.err
