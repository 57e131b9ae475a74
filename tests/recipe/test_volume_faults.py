"""Faults of recipes of 3D scans: key, rule and value, told of the recipe or of a row by its name."""

from __future__ import annotations

import pytest
from recipe_samples import write

from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe
from mmablate.recipe.schema import Augment, Masks, Patches
from mmablate.study import open_study

VOLUMES = """\
name: tiny
title: Tiny
data: {name: brats, modalities: [flair, t1ce, t1, t2], masks: mr2468}
model: {name: incomplete_segmentor, widths: [4, 8]}
method: {name: incomplete}
masks: {mode: permanent}
train: {epochs: 1, batch_size: 2, optimizer: sgd, momentum: 0, patches: {size: [16, 16, 16]}}
evaluate: {window: [24, 24, 24], apart: [full]}
losses:
  fuse: {weight: 1}
  uni: {term: sep, weight: 1}
  prm: {weight: 1}
  pixel: {weight: 1}
  proto: {weight: 1}
rows:
  - {name: single, losses: [fuse]}
  - {name: whole, losses: [fuse, uni, prm, pixel, proto]}
baseline: single
seeds: [0]
sweep:
  gamma: {path: losses.prm.decay, values: [0.5, 1], row: whole}
"""
TERMS = "(it has fuse, sep, prm, pixel, proto)"
ALIEN = "for samples with one label each; the data 'brats' have one a voxel"
PLAIN = "second takes the gradient through a plain inner step: train.optimizer sgd, momentum 0, clip null"
LACK = "subjects lack modalities, by their files and data.masks"
FREE = "free draws from all modalities of a subject: give data.masks: null, or mode dynamic"
SUBSETS = (
    "flair, t1ce, t1, t2, flair+t1ce, flair+t1, flair+t2, t1ce+t1, t1ce+t2, t1+t2, flair+t1ce+t1, flair+t1ce+t2, "
    "flair+t1+t2, t1ce+t1+t2, flair+t1ce+t1+t2"
)
# KEY=VALUE arguments -> the whole of what is told, a line each
FAULTS = {
    "data.modalities=[flair, t9]": "data.modalities: brats has no modality 't9' (there are: flair, t1ce, t1, t2)",
    "data.masks=mr99": "data.masks: string should match pattern '^(mr[0-9]{4}|.+\\.csv)$', got 'mr99'",
    "masks.mode=free": f"masks.mode: {FREE}, got data.masks 'mr2468'",
    "masks.mode=none": f"masks.mode: {LACK}: permanent shows all that one has, dynamic and free draw of "
    "them, got 'none'",
    "train.augment.flip=true": "train.augment: augmentation is of images; that of 3D scans is train.patches",
    "train.batch_size=all": "train.batch_size: a number of patches, got 'all'",
    "train.holdout=0.2": f"train.holdout: {ALIEN}",
    "train.encoder_lr=3": f"train.encoder_lr: {ALIEN}",
    "train.pictures={modalities: [t1]}": f"train.pictures: {ALIEN}",
    "train.patches.rotate=1.5": "train.patches.rotate: should be a valid integer, got a number with a fractional part, "
    "got 1.5",
    "train.patches.intensity=1": "train.patches.intensity: should be less than 1, got 1",
    "pretrain={}": f"pretrain: {ALIEN}",
    "evaluate.also=[own]": f"evaluate.also: {ALIEN}, got ['own']",
    "evaluate.metric=miou": "evaluate.metric: the data are 3D scans: dice, got 'miou'",
    "evaluate.classes=in_target": "evaluate.classes: over which classes IoU is averaged; Dice is of WT, "
    "TC, ET: leave it "
    "out, got 'in_target'",
    "evaluate.window=null evaluate.stride=4": "evaluate.stride: of windows: give evaluate.window, e.g. [80, 80, 80], "
    "got 4",
    "evaluate.stride=25": "evaluate.stride: at most the window [24, 24, 24], or voxels between "
    "windows were never seen, "
    "got 25",
    "evaluate.apart=[all]": "evaluate.apart.0: should be 'full', 'single' or 'unseen', got 'all'",
    "evaluate.apart=[full, full]": "evaluate.apart: a group is given twice, got ['full', 'full']",
    "evaluate.subsets=[t1+flair]": f"evaluate.subsets.0: no subset is called 't1+flair' (there are: {SUBSETS})",
    "evaluate.min_et=-1": "evaluate.min_et: should be greater than or equal to 0, got -1",
    "significance.primary=Mean": "significance.primary: a column (WT, TC, ET, Dice, Dice full, HD95) or "
    "null, got 'Mean'",
    "significance.primary=HD95 evaluate.hd95=false": "significance.primary: a column (WT, TC, ET, Dice, Dice full) or "
    "null, got 'HD95'",
    "losses.sup={weight: 1}": f"losses.sup: the method 'incomplete' has no term 'sup' {TERMS}",
    "losses.pixel.weights={t9: 1}": "losses.pixel.weights: modalities of the data (flair, t1ce, t1, t2), got t9",
    "losses.proto.weights={t1: -1}": "losses.proto.weights.t1: should be greater than or equal to 0, got -1",
    "losses.prm.decay=0": "losses.prm.decay: should be greater than 0, got 0",
    "teacher={name: incomplete_segmentor}": "teacher: models of 3D scans distil into themselves: leave the teacher out",
    "model={name: anymodal_segmentor}": "model.name: 'anymodal_segmentor' is of segmentation, the data 'brats' are of "
    "volumes",
    "method.balance=meta": "method.balance: meta takes the loss of a meta batch: method metadrop, got 'meta'",
    "method={balance: preference, balance_low: 5}": "method.balance_low: below balance_high 4, got 5",
    "method={name: metadrop, alpha: 3}": "method.alpha: should be less than or equal to 2, got 3",
    "method={name: metadrop, eta_out: -1}": "method.eta_out: should be greater than or equal to 0, got -1",
    "method={name: metadrop, second: step}": "method.second: unknown key",
    "method={name: metadrop, order: second} train.optimizer=adamw": f"method.order: {PLAIN}, got adamw, 0, None",
    "method={name: metadrop, order: second} train.clip=1": f"method.order: {PLAIN}, got sgd, 0, 1.0",
    "method={name: metadrop, meta: {masks: own}}": "method.meta.masks: should be 'same', 'redrawn' or 'full', got "
    "'own'",
    "method.gate=principled data.modalities=[t1]": "method: gate and balance compare modalities, and the data have "
    "['t1']",
}
KEYS = [(text, *text.replace(" train", "\ntrain").replace(" eval", "\neval").replace(" data", "\ndata").split("\n"))
        for text in FAULTS]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    """Where a recipe is sound, planning would look for files, of which there are none."""
    monkeypatch.setattr("mmablate.study.opening.data_fingerprint", lambda recipe: "of the data")


def problems(path: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        open_study(path, overrides=list(overrides))
    return list(error.value.problems)


def test_the_sound_recipe_is_sound_and_what_it_leaves_out_is_what_scans_need(tmp_path):
    path = write(tmp_path, VOLUMES)
    assert open_study(path).warnings == ()
    told = ("sweep.gamma.row: there is no row 'hole' (did you mean 'whole'?)",)
    assert open_study(path, overrides=["sweep.gamma.row=hole"]).warnings == told
    short = "\n".join(
        line for line in VOLUMES.splitlines() if not line.startswith(("method", "masks", "train", "eval"))
    )
    recipe = load_recipe(write(tmp_path, short))
    assert (recipe.method.name, recipe.method.options["second"]) == ("incomplete", "none")
    assert recipe.masks == Masks(mode="permanent", distribution="subset")
    assert (recipe.train.augment, recipe.train.patches) == (Augment(flip=False), Patches())
    assert (recipe.evaluate.metric, recipe.significance.primary) == ("dice", "Dice")


@pytest.mark.parametrize(("text", "overrides"), [(text, overrides) for text, *overrides in KEYS])
def test_a_fault_is_told_with_key_rule_and_value(tmp_path, text, overrides):
    told = problems(write(tmp_path, VOLUMES), *overrides)
    assert [one.partition(": ")[2] for one in told] == [FAULTS[text]]


def test_a_method_of_images_is_told_with_its_lines(tmp_path):
    text = VOLUMES.replace("method: {name: incomplete}", "method: anymodal")
    path = write(tmp_path, text)
    told = problems(path)
    assert told[0] == f"{path}:10: losses.fuse: the method 'anymodal' has no term 'fuse' (it has sup, mad, umd, cmd, " \
                      "fusion_first)"  # fmt: skip
    assert told[-1] == f"{path}:5: method.name: 'anymodal' is of segmentation, the data 'brats' are of volumes"
    assert len(told) == 6


# --- rows ----------------------------------------------------------------------------------------------------

# overrides of a row of all terms -> what is told behind "row 'x': "
ROWS = {
    "masks.mode: free": f"masks.mode: {FREE}, got data.masks 'mr2468'",
    "data.masks: mr1": "data.masks: string should match pattern '^(mr[0-9]{4}|.+\\.csv)$', got 'mr1'",
    "train.augment.crop: [3, 3]": "train.augment: augmentation is of images; that of 3D scans is train.patches",
    "train.holdout: 0.5": f"train.holdout: {ALIEN}",
    "train.batch_size: all": "train.batch_size: a number of patches, got 'all'",
    "train.patches.flip: 3": "train.patches.flip: should be a valid boolean, unable to interpret input, got 3",
    "pretrain: {}": f"pretrain: {ALIEN}",
    "teacher: {name: incomplete_segmentor}": "teacher: models of 3D scans distil into themselves: leave the teacher "
    "out",
    "losses.pixel.weights: {t9: 2}": "losses.pixel.weights: modalities of the data (flair, t1ce, t1, t2), got t9",
    "method.balance: meta": "method.balance: meta takes the loss of a meta batch: method metadrop, got 'meta'",
    "method: {name: metadrop, order: second}, train.momentum: 0.9": f"method.order: {PLAIN}, got sgd, 0.9, None",
    "method.balance_high: 0.05, method.balance: preference": "method.balance_low: below balance_high 0.05, got 0.1",
    "evaluate.window: [8, 8, 8]": "evaluate.window is of the whole study, not of a row, got [8, 8, 8]",
}


@pytest.mark.parametrize("overrides", ROWS)
def test_a_row_is_checked_like_a_recipe(tmp_path, overrides):
    row = "  - {name: x, losses: [fuse, uni, prm, pixel, proto], overrides: {" + overrides + "}}\n"
    path = write(tmp_path, VOLUMES.replace("baseline:", row + "baseline:"))
    assert [told.split("row 'x': ")[1] for told in problems(path)] == [ROWS[overrides]]


@pytest.mark.parametrize(
    ("losses", "overrides", "told"),
    [
        ("fuse, pixel", "method.gate: principled", "method.gate: gates the terms sep and proto, and there is none, got "
         "'principled'"),
        ("fuse, uni", "method.balance: preference", "method.balance: weighs the term pixel by modality, and there is "
         "none, got 'preference'"),
    ],
)  # fmt: skip
def test_a_gate_or_a_balance_of_terms_that_a_row_lacks(tmp_path, losses, overrides, told):
    row = f"  - {{name: x, losses: [{losses}], overrides: {{{overrides}}}}}\n"
    path = write(tmp_path, VOLUMES.replace("baseline:", row + "baseline:"))
    assert problems(path) == [f"{path}:18: row 'x': {told}"]


# --- images --------------------------------------------------------------------------------------------------

IMAGES = """\
name: tiny
data: {name: landsat, modalities: [V, N, S]}
model: {name: anymodal_segmentor, widths: [4, 4], strides: [2, 2], decoder_width: 4}
method: joint
losses: {sup: {weight: 1}}
seeds: [0]
"""


@pytest.mark.parametrize(
    ("override", "key"),
    [("masks.mode=permanent", "masks.mode: 'permanent' is "), ("masks.mode=free", "masks.mode: 'free' is "),
     ("train.patches={}", "train.patches: "), ("evaluate.window=[8, 8, 8]", "evaluate.window: "),
     ("evaluate.stride=8", "evaluate.stride: "), ("evaluate.apart=[full]", "evaluate.apart: "),
     ("evaluate.hd95=false", "evaluate.hd95: "), ("evaluate.one_empty=released", "evaluate.one_empty: "),
     ("evaluate.min_et=5", "evaluate.min_et: ")],
)  # fmt: skip
def test_what_is_for_scans_alone_is_told_of_images(tmp_path, override, key):
    (told,) = problems(write(tmp_path, IMAGES), override)
    rest = ": dynamic or none" if key.startswith("masks") else ""
    assert told == f"command line: {key}for 3D scans, which the data 'landsat' are not{rest}"


def test_dice_is_not_of_images(tmp_path):
    told = problems(write(tmp_path, IMAGES), "evaluate.metric=dice")
    assert told == ["command line: evaluate.metric: the data have a label a pixel: miou, got 'dice'"]


def test_encoders_of_clips_are_answered_with_models_of_clips(tmp_path):
    text = (
        "name: a\ndata: {name: mfeat, modalities: [pix, fou]}\nmodel: {name: contrastive_encoders}\nlosses: {sup: {}}\n"
    )
    assert any(
        "one of fusion_classifier, map_fusion_classifier, got" in told for told in problems(write(tmp_path, text))
    )


def test_faults_end_the_command_with_one_message(tmp_path, mmablate):
    path = write(
        tmp_path, VOLUMES.replace("mode: permanent", "mode: free").replace("uni: {term: sep", "uni: {term: sup")
    )
    done = mmablate("ablate", path, "-n")
    assert (done.code, done.out) == (2, "")
    told = " ".join(done.err.split())
    assert f"tiny.yaml:11: losses.uni: the method 'incomplete' has no term 'sup' {TERMS}" in told
    assert f"tiny.yaml:6: masks.mode: {FREE}, got data.masks 'mr2468'" in told
    assert "Traceback" not in done.err
