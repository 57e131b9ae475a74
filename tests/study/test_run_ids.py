"""A run is its content: what it reads changes its id, nothing else does; teachers and their seeds."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_samples import BASE, Opener, students, teachers

from mmablate.errors import DataError, RecipeError
from mmablate.study.plan import content_id


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


def all_ids(study):
    return {run.run_id for run in study.runs}


# --- what changes an id -----------------------------------------------------------------------------------

READ_BY_ALL = [
    "data.tile=16", "data.block=32", "data.gap=0", "data.train_stride=8", "data.split_seed=1", "data.modalities=[V,N]",
    "data.modalities=[N,V,S]", "evaluate.classes=in_target", "evaluate.every=2", "evaluate.batch_size=16",
    "evaluate.subsets=[V,VNS]", "train.epochs=3", "train.batch_size=4", "train.optimizer=sgd", "train.lr=2e-3",
    "train.weight_decay=0", "train.momentum=0.5", "train.schedule=cosine", "train.warmup=0", "train.clip=1",
    "train.select=last", "train.precision=float32", "train.augment.flip=false", "train.augment.vertical=true",
    "train.augment.crop=[8,8]", "model.widths=[4,4,4]", "model.decoder_width=8", "model.strides=[1,2,2]",
    "model.depths=[0,1,1]", "model.in_channels=4", "losses.sup.weight=2", "losses.sup.definition=ohem",
]  # fmt: skip
READ_BY_STUDENTS = [
    "masks.mode=none", "masks.distribution=subset",
]  # fmt: skip
READ_BY_THE_TEACHER = ["teacher.train.lr=9", "teacher.decoder_width=32", "teacher.depths=[2,1,1]"]
READ_BY_MAD = ["losses.mad.weight=5", "losses.mad.temperature=2", "losses.mad.definition=released"]
READ_BY_NONE = [
    "title=Other", "caption=x", "claims=['sup+mad > sup on Mean']", "rows=[[sup],[sup,mad]]", "baseline=sup+mad",
    "losses.sup.symbol=μ", "losses.mad.label=kl", "sweep.beta.values=[3]", "significance.family=column", "n_decimals=1",
    "checkpoints=all", "teacher.row=true", "name=other", "profiles={}", "factors.f.x={train.lr: 1}",
    "data.tile=32", "masks.mode=dynamic", "train.epochs=2.0", "train.lr=1.0e-3", "train.lr=1e-3", "losses.mad.term=mad",
    "losses.mad.definition=principled", "losses.mad.temperature=1", "method=anymodal", "teacher.train={}",
]  # fmt: skip


def changed(opened, override):
    """Which of the runs (row sup, row sup+mad, teacher) of seed 0 have another id under the override."""
    options = {"overrides": [override]} if not override.startswith("profiles") else {}
    before, after = opened(), opened(options=options)
    rows = [("sup", 0), ("sup+mad", 0)]
    return [students(before)[row] != students(after)[row] for row in rows] + [teachers(before)[0] != teachers(after)[0]]


@pytest.mark.parametrize("override", READ_BY_ALL)
def test_what_every_run_reads_changes_every_id(opened, override):
    assert changed(opened, override) == [True, True, True]


@pytest.mark.parametrize("override", READ_BY_STUDENTS)
def test_what_students_read_changes_theirs(opened, override):
    assert changed(opened, override) == [True, True, False]


@pytest.mark.parametrize("override", READ_BY_THE_TEACHER)
def test_what_the_teacher_reads_changes_it_and_its_students_and_never_sup(opened, override):
    assert changed(opened, override) == [False, True, True]


@pytest.mark.parametrize("override", READ_BY_MAD)
def test_what_a_term_reads_changes_the_rows_that_have_it(opened, override):
    assert changed(opened, override) == [False, True, False]


@pytest.mark.parametrize("override", READ_BY_NONE)
def test_what_no_run_reads_changes_nothing(opened, override):
    assert changed(opened, override) == [False, False, False]


def test_seeds_make_runs_and_leave_those_of_other_seeds_alone(opened):
    few, many = opened(seeds=[0, 1]), opened(seeds=[1, 2, 0])
    assert students(few).items() <= students(many).items()
    assert len(all_ids(many)) == 4 * 3 + 3


def shuffled(value, order):
    """The mapping with its keys in another order at every level, save `losses`: terms are summed in that order."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    order.shuffle(keys)
    return {key: (value[key] if key == "losses" else shuffled(value[key], order)) for key in keys}


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_keys_means_nothing(tmp_path_factory, order):
    opened = Opener(tmp_path_factory.getbasetemp())
    content = copy.deepcopy(BASE)
    expected = students(opened()), teachers(opened())
    for name, loss in content["losses"].items():
        content["losses"][name] = shuffled(loss, order)
    study = opened(**shuffled(content, order))
    assert (students(study), teachers(study)) == expected


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
contents = st.dictionaries(st.text(max_size=3), st.recursive(scalars, lambda x: st.lists(x, max_size=2), max_leaves=4))


@given(a=contents, b=contents)
def test_content_ids_are_equal_for_equal_content_alone(a, b):
    assert content_id(a) == content_id(dict(reversed(a.items())))
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (content_id(a) == content_id(b)) == same
    assert len(content_id(a)) == 16
    assert set(content_id(a)) <= set("0123456789abcdef")


def test_content_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_id({"lr": float("nan")})


def test_the_settings_of_a_run_are_json_and_make_its_id(opened):
    for run in opened().runs:
        assert content_id(json.loads(json.dumps(run.settings))) == run.run_id
        assert run.settings["seed"] == run.seed


# --- data -------------------------------------------------------------------------------------------------

RANGE = {"name": "range_image", "modalities": {"A": [0], "B": [1]}, "label_channel": 2, "n_classes": 3}


def sweeps(folder, value=0.0):
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        np.save(folder / split / "0.npy", np.full((4, 8, 3), value))
    return str(folder)


def test_the_same_files_elsewhere_are_the_same_data_and_other_content_is_not(opened, tmp_path):
    ids = [
        all_ids(opened(data=RANGE, options={"data_root": sweeps(tmp_path / name, value)}))
        for name, value in (("a", 0.0), ("b", 0.0), ("c", 1.0))
    ]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]


def test_the_order_of_mapped_modalities_counts(opened, tmp_path):
    root = sweeps(tmp_path / "a")
    turned = {**RANGE, "modalities": {"B": [1], "A": [0]}}
    ids = [all_ids(opened(data=data, options={"data_root": root})) for data in (RANGE, turned)]
    assert not ids[0] & ids[1]


def test_data_that_are_not_there(opened, tmp_path):
    for options, told in (({}, "--data-root"), ({"data_root": str(tmp_path / "no")}, "no such folder")):
        with pytest.raises(DataError, match=told):
            opened(data=RANGE, options=options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected a folder of \.npy files, found none"):
        opened(data=RANGE, options={"data_root": str(tmp_path / "empty")})


def test_a_data_root_beside_shipped_data_changes_nothing(opened, tmp_path):
    assert all_ids(opened(options={"data_root": str(tmp_path)})) == all_ids(opened())


# --- the teacher ------------------------------------------------------------------------------------------


def test_one_teacher_a_seed_for_all_rows_of_that_seed(opened):
    study = opened()
    assert sorted(teachers(study)) == [0, 1]
    assert study.runs[0].role == study.runs[1].role == "teacher"  # before those that depend on them
    for run in study.runs[2:]:
        expected = () if run.rows == ("sup",) else (teachers(study)[run.seed],)
        assert run.depends_on == expected


@pytest.mark.parametrize(("seed", "expected"), [("shared", 3), (7, 7), (0, 0)])
def test_one_teacher_for_all_seeds(opened, seed, expected):
    study = opened(teacher={**BASE["teacher"], "seed": seed}, seeds=[3, 1])
    assert list(teachers(study)) == [expected]
    assert {d for run in study.runs for d in run.depends_on} == set(teachers(study).values())
    assert any("hold for that teacher" in note for note in study.notes)


def test_the_shared_teacher_is_that_of_the_recipe_whatever_seeds_are_asked_for(opened):
    shared = {**BASE["teacher"], "seed": "shared"}
    whole, later = opened(teacher=shared), opened(teacher=shared, options={"seeds": [5]})
    assert teachers(whole) == teachers(later)
    assert list(teachers(whole)) == [0]


def test_a_paired_teacher_has_no_such_note(opened):
    assert opened().notes == ()


def test_only_rows_that_compare_need_a_teacher_unless_it_is_shown(opened):
    assert teachers(opened(rows=[["sup"]])) == {}
    assert sorted(teachers(opened(rows=[["sup"]], teacher={**BASE["teacher"], "row": True}))) == [0, 1]


def test_sup_does_not_depend_on_the_teacher_at_all(opened):
    one = opened(rows=[["sup"]], losses={"sup": {}}, sweep={}, without=("teacher",))
    assert students(one).items() <= students(opened()).items()


def test_a_users_checkpoint_takes_the_teachers_place_by_its_content(opened, tmp_path):
    def study(name, content):
        (tmp_path / name).write_bytes(content)
        return opened(teacher={**BASE["teacher"], "checkpoint": str(tmp_path / name)})

    first, moved, other = study("a.pt", b"1"), study("b.pt", b"1"), study("c.pt", b"2")
    assert teachers(first) == {}
    assert students(first) == students(moved)
    assert students(first)["sup", 0] == students(other)["sup", 0] == students(opened())["sup", 0]
    assert students(first)["sup+mad", 0] != students(other)["sup+mad", 0]
    assert first.notes
    with pytest.raises(RecipeError, match=r"teacher.checkpoint: no such file, got 'nowhere\.pt'"):
        opened(teacher={**BASE["teacher"], "checkpoint": "nowhere.pt"})
