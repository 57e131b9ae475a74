"""Every fault of a recipe is told: key, rule, value, file and line, and all of them at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_samples import SOUND, line_of, spoilt, write

from mmablate.errors import MmablateError, RecipeError
from mmablate.recipe import load_recipe, shipped_recipes, subset_names
from mmablate.recipe.reading import read_yaml
from mmablate.study import open_study

# name -> (what stands there, what is written instead, what the message says after "file:line: ")
FAULTS = {
    "unknown key": ("title: Tiny", "titel: Tiny", "titel: unknown key; did you mean 'title'?"),
    "unknown key of train": ("  epochs: 2", "  epoch: 2", "train.epoch: unknown key; did you mean 'epochs'?"),
    "unknown option of the model": ("widths:", "widht:", "model.widht: unknown key; did you mean 'widths'?"),
    "unknown option of a loss": (
        "weight: 13.2",
        "temprature: 2",
        "losses.mad.temprature: unknown key; did you mean 'temperature'?",
    ),
    "unknown key of a loss": ("weight: 2.6", "wieght: 2", "losses.umd.wieght: unknown key; did you mean 'weight'?"),
    "unknown key of the teacher": (
        "teacher: {",
        "teacher: {chekpoint: x, ",
        "teacher.chekpoint: unknown key; did you mean 'checkpoint'?",
    ),
    "unknown key of the data": ("landsat,", "landsat, tyle: 8,", "data.tyle: unknown key; did you mean 'tile'?"),
    "unknown key far below": (
        "  lr: 1e-3",
        "  augment: {flpi: true}",
        "train.augment.flpi: unknown key; did you mean 'flip'?",
    ),
    "unknown key of a sweep": ("beta: {", "beta: {vales: [1], ", "sweep.beta.vales: unknown key; did you mean"),
    "unknown key of evaluate": ("metric: miou", "metrics: miou", "evaluate.metrics: unknown key; did you mean"),
    "unknown key of a row": (
        "- [sup, mad]",
        "- {name: x, lossses: [sup]}",
        "rows.1.lossses: unknown key; did you mean 'losses'?",
    ),
    "unknown metric": (
        "metric: miou",
        "metric: iou",
        "evaluate.metric: should be 'miou', 'accuracy' or 'dice', got 'iou'",
    ),
    "unknown dataset": ("name: landsat,", "name: landsta,", "data.name: no dataset is called 'landsta'"),
    "unknown model": (
        "model: {name: anymodal_segmentor",
        "model: {name: unet",
        "model.name: no model is called 'unet' (there are: anymodal_segmentor",
    ),
    "unknown teacher": ("teacher: {name: anymodal_segmentor", "teacher: {name: t", "teacher.name: no model is called"),
    "unknown method": ("seeds: [0, 1]", "method: meta", "method.name: no method is called 'meta'"),
    "unknown loss": ("  cmd: {", "  dkd: {", "losses.dkd: no loss is called 'dkd'"),
    "unknown term": ("  cmd: {", "  cmd: {term: dkd, ", "losses.cmd.term: no loss is called 'dkd'"),
    "unknown definition": (
        "weight: 10",
        "definition: published",
        "losses.cmd.definition: the term 'cmd' has the definitions principled, paper, released, got 'published'",
    ),
    "unknown modality": ("[V, N, S]", "[V, Q]", "data.modalities: landsat has no modality 'Q' (there are: V, N, S)"),
    "modality twice": ("[V, N, S]", "[V, V]", "data.modalities: a modality is given twice"),
    "modalities as channels": ("[V, N, S]", "{V: [0]}", "data.modalities: landsat has named modalities"),
    "no modality": ("[V, N, S]", "[]", "data.modalities: list should have at least 1 item"),
    "unknown subset": ("subsets: all", "subsets: [V, VX]", "evaluate.subsets.1: no subset is called 'VX'"),
    "subset twice": ("subsets: all", "subsets: [V, N, V]", "evaluate.subsets.2: a subset is given twice, got 'V'"),
    "no subset": ("subsets: all", "subsets: []", "evaluate.subsets: "),
    "NaN weight": ("weight: 13.2", "weight: .nan", "losses.mad.weight: should be a finite number, got nan"),
    "infinite weight": ("weight: 13.2", "weight: .inf", "losses.mad.weight: should be a finite number, got inf"),
    "overflowing weight": ("weight: 13.2", "weight: 1e999", "losses.mad.weight: should be a finite number"),
    "negative weight": ("weight: 13.2", "weight: -1", "losses.mad.weight: should be greater than or equal to 0"),
    "weight as text": ("weight: 13.2", "weight: big", "losses.mad.weight: should be a valid number"),
    "NaN option": ("weight: 13.2", "temperature: .nan", "losses.mad.temperature: should be a finite number, got nan"),
    "learning rate zero": ("lr: 1e-3", "lr: 0", "train.lr: should be greater than 0, got 0"),
    "epochs not whole": ("epochs: 2", "epochs: 2.5", "train.epochs: should be a valid integer"),
    "negative seed": ("seeds: [0, 1]", "seeds: [0, -1]", "seeds.1: should be greater than or equal to 0, got -1"),
    "seed as truth value": ("seeds: [0, 1]", "seeds: [0, yes]", "seeds.1: should be a valid integer, got True"),
    "seed as text": ("seeds: [0, 1]", "seeds: ['1']", "seeds.0: should be a valid integer, got '1'"),
    "seed too large": ("seeds: [0, 1]", "seeds: [2147483648]", "seeds.0: should be less than 2147483648"),
    "no seeds": ("seeds: [0, 1]", "seeds: []", "seeds: list should have at least 1 item"),
    "seeds null": ("seeds: [0, 1]", "seeds: null", "seeds: should be a valid list, got None"),
    "empty row": ("- [sup, mad]", "- []", "rows.1: list should have at least 1 item"),
    "row of an undefined loss": ("- [sup, mad]", "- [sup, kd]", "rows.1: the losses 'kd' are not defined"),
    "loss twice in a row": ("- [sup, mad]", "- [sup, sup]", "rows.1: a loss is given twice"),
    "row as text": ("- [sup, mad]", "- sup", "rows.1: a row is a list of losses"),
    "baseline that is no row": ("baseline: sup", "baseline: mad", "baseline: no row has that name (there are: sup,"),
    "baseline as a list": ("baseline: sup", "baseline: [sup]", "baseline: should be a valid string"),
    "name that leaves the folder": ("name: tiny", "name: ../tiny", "name: string should match pattern"),
    "name as a number": ("name: tiny", "name: 1", "name: should be a valid string, got 1"),
    "losses as a list": ("- [sup, mad]", "- {name: x, losses: sup}", "rows.1.losses: should be a valid list, "),
    "teacher seed": ("seed: paired", "seed: single", "teacher.seed: "),
    "negative teacher seed": ("seed: paired", "seed: -1", "teacher.seed: "),
    "NaN in a sweep": ("[0, 1, 10]", "[.nan]", "sweep.beta.values.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_told_with_its_line(case, tmp_path):
    old, new, told = FAULTS[case]
    text = spoilt((old, new))
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        open_study(path)
    lines = [line for line in caught.value.problems if line.startswith(f"{path}:{line_of(text, new)}: {told}")]
    assert lines, str(caught.value)


def test_all_problems_come_in_one_message(tmp_path):
    wanted = [
        "unknown key",
        "epochs not whole",
        "unknown definition",
        "NaN weight",
        "negative seed",
        "unknown modality",
    ]
    wanted += ["unknown metric", "unknown option of the model"]
    text = spoilt(*(FAULTS[case][:2] for case in wanted))
    with pytest.raises(RecipeError) as caught:
        open_study(write(tmp_path, text))
    for case in wanted:
        assert FAULTS[case][2] in str(caught.value)
    assert len(caught.value.problems) == len(wanted), str(caught.value)


def test_a_faulty_loss_is_not_held_against_the_rows_that_name_it(tmp_path):
    with pytest.raises(RecipeError) as caught:
        open_study(write(tmp_path, spoilt(("weight: 13.2", "wieght: 13.2"))))
    assert len(caught.value.problems) == 1


def test_a_term_that_the_method_cannot_compute_is_told(tmp_path):
    text = spoilt(("seeds: [0, 1]", "method: joint"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, text))
    first, *others = caught.value.problems
    assert first.endswith(f":{line_of(text, '  mad:')}: losses.mad: the method 'joint' has no term 'mad' (it has sup)")
    assert len(others) == 2


@pytest.mark.parametrize("key", ["name", "data", "model", "losses"])
def test_a_missing_section_is_told(key, tmp_path):
    lines = [line for line in SOUND.splitlines() if not line.startswith(f"{key}:")]
    if key == "losses":
        lines = [line for line in lines if "weight" not in line]
    path = write(tmp_path, "\n".join(lines))
    with pytest.raises(RecipeError, match=f"{key}: missing"):
        load_recipe(path)


def test_a_term_that_compares_needs_a_teacher(tmp_path):
    text = "\n".join(line for line in SOUND.splitlines() if not line.startswith("teacher"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, text))
    assert [p.split(": ")[1] for p in caught.value.problems] == ["losses.mad", "losses.umd", "losses.cmd"]


def test_a_dataset_without_named_modalities_wants_a_mapping_even_beside_other_faults(tmp_path):
    data = "data: {name: range_image, label_channel: 3, n_classes: 4}"
    text = spoilt(("data: {name: landsat, modalities: [V, N, S]}", data), ("subsets: all", "subsets: [V]"))
    with pytest.raises(RecipeError, match="range_image needs a mapping of names to channel numbers") as caught:
        load_recipe(write(tmp_path, text))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", "'1e-3'"])
def test_one_thousandth_is_a_float_however_it_is_written(written, tmp_path):
    recipe = load_recipe(
        write(tmp_path, spoilt(("lr: 1e-3", f"lr: {written}"), ("weight: 13.2", f"weight: {written}")))
    )
    assert recipe.train.lr == recipe.losses["mad"].weight == 0.001
    assert type(recipe.train.lr) is type(recipe.losses["mad"].weight) is float


def test_one_thousandth_in_a_sweep_is_a_number(tmp_path):
    recipe = load_recipe(write(tmp_path, spoilt(("[0, 1, 10]", "[0, 1e-3, 2E5, word, true]"))))
    assert recipe.sweep["beta"].values == [0, 0.001, 2e5, "word", True]


def test_defaults_of_options_are_filled_in(tmp_path):
    recipe = load_recipe(write(tmp_path))
    mad = recipe.losses["mad"]
    assert (mad.term, mad.symbol, mad.label, mad.definition) == ("mad", "λ", "mad", "principled")
    assert mad.options == {"temperature": 1.0}
    assert recipe.model.options["in_channels"] == 3
    assert recipe.method.name == "anymodal"


def test_the_method_may_be_a_bare_name(tmp_path):
    recipe = load_recipe(write(tmp_path, spoilt(("seeds: [0, 1]", "method: anymodal"))))
    assert recipe.method.name == "anymodal"
    assert recipe.seeds == [0, 1, 2, 3, 4]


def test_subsets_single_ones_first_and_long_names_joined():
    assert list(subset_names(["V", "N", "S"])) == ["V", "N", "S", "VN", "VS", "NS", "VNS"]
    assert list(subset_names(["rgb", "D"])) == ["rgb", "D", "rgb+D"]
    assert subset_names(["rgb", "D"])["rgb+D"] == ("rgb", "D")


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_with_each_of_its_profiles(path):
    for profile in (None, *(read_yaml(path).data.get("profiles") or {})):
        recipe = load_recipe(str(path), profile=profile)
        assert recipe.title
        assert recipe.seeds


KEYS = st.sampled_from(["name", "weight", "sup", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
SECTIONS = ["name", "data", "model", "method", "teacher", "train", "masks", "losses", "factors", "rows", "baseline"]
SECTIONS += ["seeds", "evaluate", "sweep", "significance", "claims", "checkpoints", "n_decimals", "profiles"]


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(SECTIONS), value=values)
def test_any_value_in_any_section_opens_or_is_told(tmp_path_factory, key, value):
    import yaml

    data = {**yaml.safe_load(SOUND), key: value}
    path = write(tmp_path_factory.getbasetemp(), yaml.safe_dump(data, sort_keys=False, allow_unicode=True), "any.yaml")
    told = ""
    try:
        assert open_study(path).runs
    except MmablateError as error:
        told = str(error)
    assert not told or key in told or "row" in told
