"""Faults of recipes of classification: key, rule, value, file and line, each told once."""

from __future__ import annotations

import pytest
import torch
from recipe_samples import SOUND, line_of, write

from mmablate.catalog import entries, load_target
from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe
from mmablate.study import open_study

SMALL = {
    "ravdess_image": {"widths": [4, 5, 6], "hidden": [9, 7]},
    "ravdess_audio": {"widths": [4, 5, 6]},
    "resnet18": {"widths": [4, 5, 6, 7]},
    "resnet3d": {"widths": [4, 5, 6, 7]},
    "mlp": {"hidden": [8, 4]},
}

CLASSES = """\
name: tiny
title: Tiny
data:
  name: gaussian
  modalities: [x1, x2]
  xs: 20
  x1: {channels: 25, decisive: [5, 15]}
  x2: {channels: 30, decisive: [0, 10]}
model: {name: mlp, modality: x2, hidden: [8, 4]}
teacher: {name: mlp, modality: x1, hidden: [8, 4], seed: paired}
method: crossmodal
train: {steps: 5, batch_size: all, select: last}
masks: {mode: none}
losses:
  sup: {weight: 1}
  kd: {weight: 1}
focus: {keep: general, place: input}
rows:
  - {name: no_kd, losses: [sup]}
  - {name: kd, losses: [sup, kd], overrides: {focus.keep: all}}
  - {name: general, losses: [sup, kd]}
baseline: no_kd
seeds: 0-3
evaluate: {metric: accuracy}
"""
FOCUS, TEACHER = (
    "focus: {keep: general, place: input}",
    "teacher: {name: mlp, modality: x1, hidden: [8, 4], seed: paired}",
)
MODEL, TRAIN = "model: {name: mlp, modality: x2, hidden: [8, 4]}", "train: {steps: 5, batch_size: all, select: last}"


def spoilt(*pairs: tuple[str, str]) -> str:
    text = CLASSES
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


# name -> (what stands there, what is written instead, the whole message after "file:line: ")
FAULTS = {
    "ratio above 1": (FOCUS, "focus: {ratio: 1.5}", "focus.ratio: should be less than 1, got 1.5"),
    "ratio below 0": (FOCUS, "focus: {ratio: -0.5}", "focus.ratio: should be greater than or equal to 0, got -0.5"),
    "ratio as text": (
        FOCUS,
        "focus: {ratio: half}",
        "focus.ratio: should be a valid number, unable to parse string as a number, got 'half'",
    ),
    "ratio and count": (
        FOCUS,
        "focus: {ratio: 0.5, count: 3}",
        "focus: ratio 0.5 or count 3, not both, got {'ratio': 0.5, 'count': 3}",
    ),
    "count 0": (
        FOCUS,
        "focus: {count: 0}",
        "focus.count: should be greater than or equal to 1 or should be 'significant' or 'known', got 0",
    ),
    "count as text": (
        FOCUS,
        "focus: {count: many}",
        "focus.count: should be a valid integer, unable to parse string as an integer or should be 'significant' "
        "or 'known', got 'many'",
    ),
    "drop at a hidden place": (
        FOCUS,
        "focus: {removal: drop, place: hidden1}",
        "focus: removal: drop leaves out inputs, place: input, got hidden1, "
        "got {'removal': 'drop', 'place': 'hidden1'}",
    ),
    "unknown place": (
        FOCUS,
        "focus: {place: fc2}",
        "focus.place: a place of mlp (input, hidden1, hidden2), got 'fc2'",
    ),
    "place of the logits": (
        FOCUS,
        "focus: {place: logits}",
        "focus.place: a place of mlp (input, hidden1, hidden2), got 'logits'",
    ),
    "unknown keep": (
        FOCUS,
        "focus: {keep: best}",
        "focus.keep: should be 'all', 'general', 'specific', 'random' or 'known', got 'best'",
    ),
    "unknown key": (FOCUS, "focus: {kep: all}", "focus.kep: unknown key; did you mean 'keep'?"),
    "no permutation": (
        FOCUS,
        "focus: {permutations: 0}",
        "focus.permutations: should be greater than or equal to 1, got 0",
    ),
    "negative distance": (FOCUS, "focus: {joint: -1}", "focus.joint: should be greater than or equal to 0, got -1"),
    "joint training": (FOCUS, "focus: {train: {lr: -1}}", "focus.train.lr: should be greater than 0, got -1"),
    "key of the joint training": (
        FOCUS,
        "focus: {train: {epoch: 1}}",
        "focus.train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "known at a hidden place": (
        FOCUS,
        "focus: {keep: known, place: hidden1}",
        "focus.keep: which channels are general is known of input alone, not of hidden1, got 'known'",
    ),
    "as many as known at a hidden place": (
        FOCUS,
        "focus: {count: known, place: hidden1}",
        "focus.count: which channels are general is known of input alone, not of hidden1, got 'known'",
    ),
    "more than the hidden channels": (
        FOCUS,
        "focus: {keep: random, count: 5, place: hidden2}",
        "focus.count: at most the 4 channels of hidden2, got 5",
    ),
    "the saliency of another teacher": (
        TEACHER,
        TEACHER.replace("seed: paired", "checkpoint: t.pkl"),
        "@focus: {keep@focus.keep: the saliency of another teacher's channels says nothing of teacher.checkpoint: "
        "give its own with saliency, got 'general'",
    ),
    "a vector that tells no count": (
        FOCUS,
        "focus: {keep: general, saliency: s.npy}",
        "focus.saliency: how many are significant a vector alone does not tell: give ratio or a count, got 's.npy'",
    ),
    "no teacher": (
        TEACHER,
        "caption: x",
        "@  kd: {@losses.kd: the term compares with a teacher, and the recipe has no `teacher:`\n"
        "@focus: {keep@focus: a focus is on the channels of a teacher, and the recipe has no `teacher:`",
    ),
    "student of another task": (
        MODEL,
        "model: {name: anymodal_segmentor}",
        "model.name: 'anymodal_segmentor' is of segmentation, the data 'gaussian' are of classification",
    ),
    "teacher of another task": (
        TEACHER,
        "teacher: {name: anymodal_segmentor}",
        "teacher.name: 'anymodal_segmentor' is of segmentation, the data 'gaussian' are of classification",
    ),
    "method of another task": (
        "method: crossmodal",
        "method: anymodal",
        "@  kd: {@losses.kd: the method 'anymodal' has no term 'kd' (it has sup, mad, umd, cmd, fusion_first)\n"
        "@method:@method.name: 'anymodal' is of segmentation, the data 'gaussian' are of classification",
    ),
    "no such modality": (
        MODEL,
        "model: {name: mlp, modality: x3, hidden: [8, 4]}",
        "model.modality: one of the data's modalities (x1, x2), got 'x3'",
    ),
    "no such modality of the teacher": (
        TEACHER,
        TEACHER.replace("x1", "audio"),
        "teacher.modality: one of the data's modalities (x1, x2), got 'audio'",
    ),
    "no modality": (MODEL, "model: {name: mlp}", "model.modality: missing"),
    "a score of pixels": (
        "metric: accuracy",
        "metric: miou",
        "evaluate.metric: the data have one label a sample: accuracy, got 'miou'",
    ),
    "augmentation": (
        TRAIN,
        "train: {augment: {crop: [8, 8]}}",
        "train.augment: augmentation is of images with a label a pixel; leave it out",
    ),
    "no steps": (TRAIN, "train: {steps: 0}", "train.steps: should be greater than or equal to 1, got 0"),
    "batch size": (
        TRAIN,
        "train: {batch_size: most}",
        "train.batch_size: should be a valid integer, unable to parse string as an integer or should be 'all', "
        "got 'most'",
    ),
    "open range of seeds": ("seeds: 0-3", "seeds: 5-", "seeds: seeds such as 0-49 or 0,1,2, got '5-'"),
    "falling range of seeds": ("seeds: 0-3", "seeds: 5-3", "seeds: seeds such as 0-49 or 0,1,2, got '5-3'"),
    "endless range of seeds": (
        "seeds: 0-3",
        "seeds: 0-2000000000",
        "seeds: seeds such as 0-49 or 0,1,2, got '0-2000000000'",
    ),
    "seed twice": ("seeds: 0-3", "seeds: 0-3,2", "seeds: a seed is given twice, got [0, 1, 2, 3, 2]"),
    "execution": ("seeds: 0-3", "execution: fast", "execution: should be 'auto', 'in-turn' or 'stacked', got 'fast'"),
}


def problems_of(tmp_path, text):
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, text))
    return list(error.value.problems)


def test_the_sound_recipe_is_sound(tmp_path):
    assert load_recipe(write(tmp_path, CLASSES)).seeds == [0, 1, 2, 3]
    assert open_study(str(tmp_path / "tiny.yaml")).warnings == ()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_at_its_place(tmp_path, name):
    old, new, expected = FAULTS[name]
    text = spoilt((old, new))
    told = []
    for line in expected.splitlines():
        _, part, message = line.split("@") if line.startswith("@") else ("", new, line)
        told.append(f"{tmp_path / 'tiny.yaml'}:{line_of(text, part)}: {message}")
    assert problems_of(tmp_path, text) == told


def test_every_fault_ends_the_command_with_one_message(tmp_path, mmablate):
    path = write(tmp_path, spoilt((FOCUS, "focus: {place: fc2}"), ("seeds: 0-3", "seeds: 5-")))
    done = mmablate("ablate", path, "-n")
    assert (done.code, done.out) == (2, "")
    assert "focus.place: a place of mlp (input, hidden1, hidden2), got 'fc2'" in done.err.replace("\n", " ")
    assert "Traceback" not in done.err


# --- rows -------------------------------------------------------------------------------------------------

ROW = "  - {name: general, losses: [sup, kd]}"
ROWS = {
    "focus.place: fc2": "focus.place: a place of mlp (input, hidden1, hidden2), got 'fc2'",
    "focus.ratio: 2": "focus.ratio: should be less than 1, got 2",
    "focus: {removal: drop, place: hidden1}": "focus: removal: drop leaves out inputs, place: input, got hidden1",
    "data.x1: {channels: 4, decisive: [0, 5]}": "data.x1: 5 decisive channels from 0 on do not fit into 4",
    "data.xs: 3": "data: x1.decisive [5, 15] must lie within the 3 channels of xs",
    "data.name: landsat": "data.name is of the whole study, not of a row, got 'landsat'",
    "model.modality: x9": "model.modality: one of the data's modalities (x1, x2), got 'x9'",
    "model: {name: anymodal_segmentor}": "model.name: 'anymodal_segmentor' is of segmentation, the data 'gaussian' are",
    "teacher.hidden: [0]": "teacher.hidden.0: should be greater than or equal to 1, got 0",
    "train.augment.flip: true": "train.augment: augmentation is of images with a label a pixel; leave it out",
    "evaluate.metric: miou": "evaluate.metric is of the whole study",
    "execution: stacked": "execution is of the whole study",
}


@pytest.mark.parametrize("override", ROWS)
def test_a_row_that_is_wrong_is_named(tmp_path, override):
    new = "  - {name: general, losses: [sup, kd], overrides: {" + override + "}}"
    text = spoilt((ROW, new))
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        open_study(path)
    problems = [problem.replace(": rows.2: ", ": ") for problem in error.value.problems]
    expected = f"{path}:{line_of(text, new)}: row 'general': {ROWS[override]}"
    assert any(problem.startswith(expected) for problem in problems), (expected, problems)
    assert all("row 'general': " in problem for problem in error.value.problems)


def test_a_teacher_that_is_not_filled_in_hides_no_other_fault(tmp_path):
    """A model that is wrong leaves the teacher without its options, such as widths that places are counted by."""
    text = spoilt((MODEL, "model: {name: mlp, modality: x2, hidden: [0]}"),
                  (TEACHER, "teacher: {name: mlp, modality: x1}"))  # fmt: skip
    assert problems_of(tmp_path, text) == [
        f"{tmp_path / 'tiny.yaml'}:9: model.hidden.0: should be greater than or equal to 1, got 0"
    ]


# --- segmentation -------------------------------------------------------------------------------------------

SEGMENTATION = {
    "evaluate: {metric: accuracy}": "evaluate.metric: the data have a label a pixel: miou, got 'accuracy'",
    "focus: {keep: general}": "focus: the model 'anymodal_segmentor' has no places whose channels could be looked at",
    "model: {name: linear, modality: V}": (
        "model.name: 'linear' is of classification, the data 'landsat' are of segmentation"
    ),
    "method: crossmodal": "method.name: 'crossmodal' is of classification, the data 'landsat' are of segmentation",
}  # fmt: skip


@pytest.mark.parametrize("line", SEGMENTATION)
def test_what_is_of_classification_alone(tmp_path, line):
    key = line.partition(":")[0]
    text = "\n".join(f"{line}" if some.startswith(f"{key}:") else some for some in SOUND.splitlines())
    text = text if line in text else f"{text}\n{line}"
    assert f"{tmp_path / 'tiny.yaml'}:{line_of(text, line)}: {SEGMENTATION[line]}" in problems_of(tmp_path, text)


# --- what is filled in --------------------------------------------------------------------------------------


def test_a_recipe_may_leave_to_the_task_what_follows_from_it(tmp_path):
    whole = load_recipe(write(tmp_path, CLASSES))
    short = CLASSES
    for part in ("method: crossmodal\n", "masks: {mode: none}\n", "evaluate: {metric: accuracy}\n"):
        short = short.replace(part, "")
    assert load_recipe(write(tmp_path, short, "short.yaml")) == whole
    assert whole.method.name == "crossmodal"
    assert whole.significance.primary == "Acc"
    assert not whole.train.augment.flip
    segmentation = load_recipe(write(tmp_path, SOUND, "sound.yaml"))
    assert (segmentation.method.name, segmentation.masks.mode) == ("anymodal", "dynamic")
    assert (segmentation.evaluate.metric, segmentation.significance.primary) == ("miou", "Mean")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("'7'", [7]),
        ("0,1,2", [0, 1, 2]),
        ("2-4, 9", [2, 3, 4, 9]),
        ("5-5", [5]),
        ("[3, 1]", [3, 1]),
    ],
)
def test_seeds_as_on_the_command_line(tmp_path, text, expected):
    assert load_recipe(write(tmp_path, spoilt(("seeds: 0-3", f"seeds: {text}")))).seeds == expected


@pytest.mark.parametrize(
    "model", [name for name, entry in entries("model").items() if "modality" in entry.options.model_fields]
)
def test_the_widths_of_places_are_those_of_the_networks(model):
    """What a focus may count, from options alone, against what stands at each place."""
    entry = entries("model")[model]
    options = entry.options(modality="m", **SMALL.get(model, {})).model_dump(mode="json")
    shape = {"resnet3d": (3, 4, 16, 16), "linear": (12,), "mlp": (12,)}.get(model, (3, 32, 32))
    network = load_target(entry)(n_classes=3, shape=shape, **{k: v for k, v in options.items() if k != "modality"})
    x = torch.zeros(2, *shape)
    widths = entry.widths(options)
    assert list(widths) == list(entry.places(options)[1:-1])
    assert {place: network.eval().until(x, place).shape[1] for place in widths} == dict(widths)
