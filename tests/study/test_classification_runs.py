"""Runs of classification: what each reads of the data, of its teacher and of a focus, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_planning import plain_study
from study_samples import BASE, CLASSES, Opener, pairs, students, teachers

from mmablate.errors import RecipeError
from mmablate.study import Study, open_study, opening
from mmablate.study.content import content_id
from mmablate.study.plan import STAGES
from mmablate.study.sweeping import SweepRequest


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path, CLASSES)


def plain_of(opened: Opener) -> Any:
    """What planning row by row gives of the recipe that was written, or tells."""
    try:
        return plain_study(str(opened.path))
    except RecipeError as error:
        return error


def row(name: str, losses=("kd",), **overrides: Any) -> dict[str, Any]:
    """A row; `focus__keep` stands for the key focus.keep."""
    return {"name": name, "losses": list(losses), "overrides": {k.replace("__", "."): v for k, v in overrides.items()}}


def assert_plain(study: Study, path: str, **options: Any) -> None:
    """The study is that of each row by itself."""
    rows, runs = plain_study(path, **options)
    assert [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows] == [tuple(row) for row in rows]
    ours = [(r.run_id, r.role, r.seed, r.settings, r.depends_on, r.rows, dict(r.cells)) for r in study.runs]
    assert ours == [tuple(run) for run in runs]


IDS = {
    "0+no_kd": "1ce35dc520dbfe3b",
    "0+kd": "3f4333b2b617a0d2",
    "0.11+kd": "8be5f7d0075e8086",
    "0.25+kd": "5f4a8582fdba61c9",
    "0.43+kd": "7d47192a1c0e6169",
    "0.67+kd": "a9de94f08573924f",
    "1+kd": "575a70c959ddf30a",
}
TEACHERS = ["26a01de787faeeb6", "c882f4a4f51ae850", "17246254878d3425", "4061b7d192038449",
            "c52311ec4831ae92", "82c1d403c1845b4f"]  # fmt: skip
FOCUS_IDS = {
    "0.25+no_kd": "cf4b476f6074628f",
    "0.25+kd": "7ea1bfee0903cac3",
    "0.25+kd_random": "c2562d78ff21b773",
    "0.25+kd_known": "e018a83ea6abf2f2",
    "0.25+kd_general": "a605e976894c6a44",
}


@pytest.fixture
def any_data(monkeypatch):
    """The fingerprint of data that are drawn is that of the code which draws them."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")


@pytest.mark.usefixtures("any_data")
def test_ids_do_not_change_with_the_version():
    """A finished run is known by its id: whoever changes these has all users train again."""
    study = open_study("gauss_gamma", seeds=[0])
    found = {run.rows[0]: run.run_id for run in study.runs if run.role == "student"}
    assert found == IDS
    assert [run.run_id for run in study.runs if run.role == "teacher"] == TEACHERS


@pytest.mark.usefixtures("any_data")
def test_ids_with_a_focus_do_not_change_with_the_version():
    study = open_study("gauss_focus", seeds=[0])
    found = {run.rows[0]: run.run_id for run in study.runs if run.role == "student" and run.rows[0].startswith("0.25")}
    assert found == FOCUS_IDS


# --- what changes an id -----------------------------------------------------------------------------------

# Per override: which of (no_kd, kd, teacher, pair, general) of seed 0 are other runs, in the order of COLUMNS.
COLUMNS = ("sup", "kd", "teacher", "pair", "general", "dropped")
READ = {
    "data.xs=21": "all",
    "data.n_train=100": "all",
    "data.x2.channels=31": "sup kd pair general dropped",
    "data.x1.channels=26": "kd teacher pair general dropped",
    "data.x1.decisive=[10,20]": "kd teacher pair general dropped",
    "train.lr=0.5": "all",
    "train.batch_size=50": "all",
    "train.steps=6": "all",
    "losses.sup.weight=2": "all",
    "losses.sup.symbol=μ": "",
    "losses.kd.weight=2": "kd general dropped",
    "losses.kd.temperature=2": "kd general dropped",
    "losses.kd.definition=released": "kd general dropped",
    "model.hidden=[9,4]": "sup kd pair general dropped",
    "teacher.hidden=[9,4]": "kd teacher pair general dropped",
    "teacher.train.lr=0.3": "kd teacher pair general dropped",
    "teacher.seed=shared": "",  # of seed 0 it is the same one
    "teacher.seed=7": "kd teacher pair general dropped",
    "focus.permutations=11": "pair general dropped",
    "focus.distance=l1": "pair general dropped",
    "focus.split=val": "pair general dropped",
    "focus.joint=0": "pair general dropped",
    "focus.joint=2": "pair general dropped",
    "focus.train.lr=0.3": "pair general dropped",
    "focus.train={select: last}": "",
    "focus.count=4": "general dropped",
    "focus.count=significant": "",
    "focus.ratio=0.5": "general dropped",
    "focus.replacement=true": "",
    "focus.keep=all": "general dropped",
    "focus.keep=specific": "general dropped",
    "evaluate.batch_size=7": "all",
    "execution=stacked": "",
    "seeds=0-3": "",
    "claims=[sup+kd > sup on Acc]": "",
    "report.labels={sup: x}": "",
    "masks.mode=none": "",
    "method=crossmodal": "",
    "evaluate.metric=accuracy": "",
    "train.augment.flip=false": "",
    "significance.primary=Acc": "",
}  # fmt: skip


def ids_of(opened: Opener, *overrides: str) -> dict[str, str | None]:
    """Column of `COLUMNS` -> run of seed 0; the pair is that of places that are not dropped."""
    rows = [
        {"name": "sup", "losses": ["sup"], "overrides": {"focus": None}},
        {"name": "kd", "losses": ["sup", "kd"], "overrides": {"focus": None}},
        {"name": "general", "losses": ["sup", "kd"]},
        {"name": "dropped", "losses": ["sup", "kd"], "overrides": {"focus.removal": "drop"}},
    ]
    study = opened(rows=rows, baseline="sup", focus={"keep": "general"}, options={"overrides": list(overrides)})
    found: dict[str, str | None] = {name: run for (name, seed), run in students(study).items() if seed == 0}
    by_id = {run.run_id: run for run in study.runs}
    (found["teacher"],) = by_id[str(found["kd"])].depends_on
    (found["pair"],) = by_id[str(found["general"])].depends_on
    return found


@pytest.mark.parametrize("override", READ)
def test_what_a_run_reads_changes_its_id_and_nothing_else_does(opened, override):
    before, after = ids_of(opened), ids_of(opened, override)
    changed = {name for name in COLUMNS if before[name] != after[name]}
    if override == "focus.keep=all":  # the dropped row has the ordinary teacher, the other the whole one of the pair
        assert after["dropped"] == after["kd"]
        assert before["pair"] == after["pair"]
    assert changed == (set(COLUMNS) if READ[override] == "all" else set(READ[override].split()))


# --- what is one run --------------------------------------------------------------------------------------

UNREAD_BY_NO_KD = {
    "data.x1": [{"channels": 30, "decisive": [0, 20]}],
    "data.x1.channels": [25, 40],
    "data.x1.decisive": [[0, 10], [5, 15], [10, 20]],
    "teacher.hidden": [[3], [8, 4]],
    "teacher.train.lr": [0.5, 1],
    "teacher.modality": ["x1", "x2"],
    "teacher.seed": ["paired", "shared", 5],
    "focus.keep": ["all", "random", "general", "specific", "known"],
    "focus.count": [1, 7, "significant", "known"],
    "focus.removal": ["mean", "zero", "batch_mean", "drop"],
    "focus.permutations": [1, 20],
    "losses.kd.weight": [0, 3],
    "losses.kd.temperature": [2],
}


def drawn_rows(losses: list[str], keys: dict[str, list[Any]], most: int = 5) -> st.SearchStrategy[list[dict[str, Any]]]:
    overrides = st.dictionaries(st.sampled_from(sorted(keys)), st.integers(0, 5), max_size=most)
    rows = st.lists(overrides, min_size=2, max_size=5)
    return rows.map(
        lambda some: [
            {"name": f"r{i}", "losses": losses, "overrides": {k: keys[k][n % len(keys[k])] for k, n in one.items()}}
            for i, one in enumerate(some)
        ]
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=drawn_rows(["sup"], UNREAD_BY_NO_KD))
def test_a_student_without_a_teacher_is_one_run_a_seed_whatever_the_teacher(rows, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), CLASSES)
    study = opened(rows=rows, baseline=None, focus={})
    assert [run.rows for run in study.runs] == [tuple(row["name"] for row in rows)] * 2
    assert [(run.role, run.seed, run.depends_on) for run in study.runs] == [("student", s, ()) for s in (0, 1)]
    assert all(len(set(run.cells.values())) == 1 for run in study.runs)
    plain = opened(rows=[["sup"]], losses={"sup": {}}, baseline=None, sweep={}, without=("teacher",))
    assert set(students(plain).values()) == {run.run_id for run in study.runs}


def test_weight_zero_is_absent(opened):
    rows = [["sup"], row("zero", ["sup", "kd"], losses__kd__weight=0)]
    study = opened(rows=rows)
    assert {run.rows for run in study.runs} == {("sup", "zero")}
    swept = opened(options={"sweep": SweepRequest(("lambda",))})
    found = students(swept)
    assert found["lambda=0", 0] == students(study)["sup", 0]
    assert len({found["lambda=0", 0], found["lambda=1", 0], found["lambda=2", 0]}) == 3


@pytest.mark.parametrize("extra", [{}, {"count": 3}, {"ratio": 0.5}, {"permutations": 3, "split": "val"}])
def test_all_inputs_kept_is_the_ordinary_teacher(opened, extra):
    rows = [row("plain", focus=None), row("all", focus__keep="all")]
    study = opened(rows=rows, baseline=None, focus={"keep": "all", "removal": "drop", **extra})
    assert pairs(study) == {}
    assert {run.rows for run in study.runs if run.role == "student"} == {("plain", "all")}
    assert teachers(study) == teachers(opened(rows=[row("x")], baseline=None))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"keep": "general", "replacement": True}, {"keep": "general"}),  # for random alone
        ({"keep": "specific", "count": 3, "replacement": True}, {"keep": "specific", "count": 3}),
        ({"keep": "known", "ratio": 0.5}, {"keep": "known", "count": 2}),  # as many as there are
        ({"keep": "all", "count": 4}, {"keep": "all", "ratio": 0.3}),
        ({"keep": "general"}, {"keep": "general", "count": "significant"}),
        ({"keep": "random", "count": 4, "removal": "drop", "permutations": 3}, {"keep": "random", "count": 4,
                                                                                "removal": "drop", "distance": "l1"}),
        ({"keep": "known", "removal": "drop", "joint": 3.0}, {"keep": "known", "removal": "drop", "split": "val"}),
    ],
)  # fmt: skip
def test_focus_rows_that_differ_in_nothing_read_are_one_run(opened, one, other):
    study = opened(rows=[row("a", focus=one), row("b", focus=other)], baseline=None)
    assert [run.rows for run in study.runs if run.role == "student"] == [("a", "b")] * 2


PAIR_KEYS = {"focus.place": ["input", "hidden1", "hidden2"], "focus.distance": ["squared", "l1"],
             "focus.permutations": [5, 10], "focus.split": ["train", "val"]}  # fmt: skip
CHOICES = {"focus.keep": ["all", "general", "specific", "random"], "focus.count": [1, 2, "significant"],
           "focus.removal": ["zero", "mean", "batch_mean"], "losses.kd.weight": [1, 2],
           "losses.kd.temperature": [1, 3], "focus.replacement": [True, False]}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=drawn_rows(["sup", "kd"], {**PAIR_KEYS, **CHOICES}))
def test_rows_of_one_seed_share_a_pair_where_it_measures_the_same(rows, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), CLASSES)
    study = opened(rows=rows, baseline=None, focus={"keep": "general"})
    by_id = {run.run_id: run for run in study.runs}
    measured = {}
    for (name, seed), run_id in students(study).items():
        overrides = next(row["overrides"] for row in rows if row["name"] == name)
        (pair,) = by_id[run_id].depends_on
        assert (by_id[pair].role, by_id[pair].seed) == ("pair", seed)
        defaults = {"focus.place": "input", "focus.distance": "squared", "focus.permutations": 10,
                    "focus.split": "train"}  # fmt: skip
        measured[seed, *({**defaults, **overrides}[key] for key in PAIR_KEYS), pair] = pair
    assert len(measured) == len({key[:-1] for key in measured}) == len(set(measured.values()))
    assert_plain(study, str(opened.path))


@pytest.mark.parametrize("key", ["model.hidden", "teacher.hidden", "data.x1.decisive", "data.x2.decisive"])
def test_other_networks_and_data_have_pairs_of_their_own(opened, key):
    values = [[3, 9], [4, 9]]
    rows = [{"name": f"r{i}", "losses": ["kd"], "overrides": {key: value}} for i, value in enumerate(values)]
    for removal in ("mean", "drop"):
        study = opened(rows=rows, baseline=None, focus={"keep": "general", "removal": removal})
        assert len({run.run_id for run in study.runs if run.role == "pair"}) == 2 * len(study.seeds)
        assert len({cell for run in study.runs for cell in run.cells.values()}) == 2
        assert_plain(study, str(opened.path))


# --- teachers of several seeds, checkpoints, saliency of the user's -----------------------------------------


def test_pairs_and_teachers_of_one_seed_for_all(opened):
    rows = [row("mean", focus__keep="general"), row("drop", focus__keep="general", focus__removal="drop")]
    paired, shared = (
        opened(rows=rows, baseline=None, focus={}, teacher={**CLASSES["teacher"], "seed": seed})
        for seed in ("paired", "shared")
    )
    assert (len(pairs(paired)), len(teachers(paired))) == (2, 2)
    assert (list(pairs(shared)), list(teachers(shared))) == ([0], [0])
    assert pairs(shared)[0] == pairs(paired)[0]
    assert students(shared)["drop", 0] == students(paired)["drop", 0]
    cells = [{run.cells["mean"] for run in study.runs if "mean" in run.cells} for study in (paired, shared)]
    assert [len(some) for some in cells] == [1, 1]
    assert cells[0] != cells[1], "a row under one teacher is no row under as many teachers as seeds"


def test_a_checkpoint_counts_by_its_content_and_needs_no_other_teacher(opened, tmp_path):
    def study(name: str, content: bytes, **focus: Any) -> Study:
        (tmp_path / name).write_bytes(content)
        teacher = {**CLASSES["teacher"], "checkpoint": str(tmp_path / name)}
        return opened(rows=[["sup"], ["kd"]], teacher=teacher, **({"focus": focus} if focus else {}))

    first, moved, other = study("a.pkl", b"1"), study("b.pkl", b"1"), study("c.pkl", b"2")
    assert {run.role for run in first.runs} == {"student"}
    assert students(first) == students(moved)
    assert students(first)["sup", 0] == students(other)["sup", 0]
    assert students(first)["kd", 0] != students(other)["kd", 0]
    whole = study("a.pkl", b"1", keep="all", removal="mean", place="hidden1")
    assert students(whole) == students(first), "with all channels kept it is the checkpoint as it is"
    some = study("a.pkl", b"1", keep="random", count=3)
    assert {run.role for run in some.runs} == {"student"}
    assert students(some)["kd", 0] != students(first)["kd", 0]
    with pytest.raises(RecipeError, match=r"the saliency of another teacher's channels says nothing .* how many"):
        study("a.pkl", b"1", keep="random")


def test_a_saliency_of_the_users_counts_by_its_content_where_it_is_read(opened, tmp_path):
    def study(name: str, values: list[float]) -> Study:
        np.save(tmp_path / name, np.array(values))
        focus = {"count": 3, "place": "hidden1", "saliency": str(tmp_path / name)}
        keeps = ("all", "random", "general", "specific")
        return opened(rows=[row(keep, focus__keep=keep) for keep in keeps], baseline=None, focus=focus)

    first, moved, other = study("a.npy", [1, 2, 3]), study("b.npy", [1, 2, 3]), study("c.npy", [1, 2, 4])
    assert students(first) == students(moved)
    changed = {name for (name, seed), run in students(first).items() if students(other)[name, seed] != run}
    assert changed == {"general", "specific"}
    assert pairs(first) == pairs(other)  # for the weights: nothing else gives the teacher any
    with pytest.raises(RecipeError, match=r"focus.saliency: no such file, got 'nowhere\.npy'"):
        opened(focus={"keep": "general", "count": 3, "saliency": "nowhere.npy"})


def test_with_a_checkpoint_and_its_saliency_nothing_is_trained_before_the_students(opened, tmp_path):
    np.save(tmp_path / "s.npy", np.ones(8))
    (tmp_path / "t.pkl").write_bytes(b"1")
    focus = {"keep": "general", "ratio": 0.75, "place": "hidden1", "saliency": str(tmp_path / "s.npy")}
    study = opened(focus=focus, teacher={**CLASSES["teacher"], "checkpoint": str(tmp_path / "t.pkl")})
    assert {run.role for run in study.runs} == {"student"}
    assert not any(run.depends_on for run in study.runs)
    assert sorted(study.weight_files.values()) == [str(tmp_path / "s.npy")]


# --- rows and faults, each by itself --------------------------------------------------------------------------

# Good and bad values of what a row may override, and of what it may not.
VALUES: dict[str, list[Any]] = {
    "focus.keep": ["all", "random", "general", "known", "best"],
    "focus.ratio": [0.5, 0, 1, 1.5, "half"],
    "focus.count": [3, "significant", "known", 0, "all"],
    "focus.place": ["input", "hidden1", "hidden2", "logits", "fc2"],
    "focus.removal": ["drop", "mean", "delete"],
    "focus.train": [{"lr": 0.3}, {"lr": -1}, {"epoch": 1}, 3],
    "focus.joint": [0, 2, -1],
    "focus": [None, {"keep": "random", "count": 2}, {"kep": "all"}],
    "model": [{"name": "linear"}, {"name": "linear", "modality": "x2"}, {"name": "unet"}],
    "model.modality": ["x1", "x3"],
    "model.hidden": [[5], [0]],
    "model.name": ["anymodal_segmentor", "linear"],
    "teacher": [None, {"name": "linear", "modality": "x1"}, {"modality": "x2"}],
    "teacher.name": ["anymodal_segmentor", "mlp"],
    "teacher.modality": ["x2", "x3"],
    "teacher.hidden": [[5], []],
    "teacher.train.lr": [0.2, -1],
    "teacher.checkpoint": ["x.pt"],
    "train.steps": [7, 0, None],
    "train.batch_size": [16, "all", "some", 0],
    "train.augment.flip": [False, True],
    "train.augment": [{"crop": [8, 8]}],
    "train.lr": [0.2, -1],
    "data.x1": [{"channels": 40, "decisive": [0, 5]}, {"channels": 4, "decisive": [0, 5]}, None],
    "data.x2.decisive": [[0, 5], [5, 0], [0, 30]],
    "data.xs": [30, 5, 0],
    "data.name": ["landsat", "mfeat"],
    "data": [{"name": "mfeat", "modalities": ["pix", "fou"]}],
    "data.modalities": [["x1"], ["x1", "x3"]],
    "evaluate.metric": ["accuracy", "miou"],
    "evaluate": [{"metric": "miou"}, {"metric": "f1"}],
    "method": ["crossmodal", "anymodal", "joint_pair"],
    "masks.mode": ["none"],
    "losses.kd.weight": [2, 0, -1],
    "losses.kd.temperature": [2, 0],
    "losses.mad": [{"weight": 1}],
    "lambda": [3, "x"],
    "execution": ["stacked", "fast"],
}
some_rows = st.lists(
    st.tuples(
        st.sampled_from([["sup"], ["kd"], ["sup", "kd"]]),
        st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 5), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=some_rows, focused=st.booleans())
def test_rows_and_their_faults_are_those_of_each_row_by_itself(drawn, focused, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), CLASSES)
    rows = [
        {"name": f"r{i}", "losses": losses, "overrides": {k: VALUES[k][n % len(VALUES[k])] for k, n in some.items()}}
        for i, (losses, some) in enumerate(drawn)
    ]
    changes = {"rows": rows, "baseline": None, **({"focus": {"keep": "general"}} if focused else {})}
    opened.write(**changes)
    expected = plain_of(opened)
    if isinstance(expected, RecipeError):
        with pytest.raises(RecipeError) as told:
            opened(**changes)
        assert list(told.value.problems) == list(expected.problems)
        assert all("row 'r" in text for text in expected.problems)
    else:
        study = opened(**changes)
        assert [tuple(row) for row in expected[0]] == [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows]
        assert_plain(study, str(opened.path))
        assert all(content_id(run.settings) == run.run_id for run in study.runs)


GOOD: dict[str, list[Any]] = {
    **PAIR_KEYS,
    **CHOICES,
    "focus.removal": ["drop", "mean", "zero"],
    "focus.place": ["input"],
    "focus.keep": ["all", "random", "general", "specific", "known"],
    "focus.joint": [0, 2],
    "focus.train": [{"lr": 0.3}, {"momentum": 0.5}],
    "model.hidden": [[5], [6]],
    "teacher.hidden": [[5], [6]],
    "teacher.train.lr": [0.2, 0.1],
    "train.steps": [7],
    "data.x1.decisive": [[0, 5], [3, 9]],
    "data.x2.decisive": [[0, 5]],
    "method": ["crossmodal"],
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=drawn_rows(["kd"], GOOD, 2), focus=st.sampled_from([None, {"keep": "general"}, {"removal": "drop"}]))
def test_sound_rows_have_the_runs_of_each_row_by_itself(rows, focus, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), CLASSES)
    study = opened(rows=rows, baseline=None, focus=focus)
    assert_plain(study, str(opened.path))
    assert [run.role for run in study.runs] == sorted([run.role for run in study.runs], key=STAGES.index)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["data", "model", "teacher", "method", "losses.kd", "train", "evaluate", "focus"]),
    spoilt=st.sampled_from(
        [{"name": "gaussian"}, {"name": "linear", "modality": "x2"}, {"name": "joint"}, {"keep": "all"},
         {"metric": "miou"}, {"metric": "accuracy"}, {"hidden": [0]}, {"lr": -1}, None, 3, "x"]
    ),
)  # fmt: skip
def test_a_row_of_segmentation_that_speaks_of_classification_is_told_as_by_itself(key, spoilt, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), BASE)
    rows = [{"name": "r0", "overrides": {key: spoilt}}]
    opened.write(rows=rows, baseline=None)
    expected = plain_of(opened)
    if isinstance(expected, RecipeError):
        with pytest.raises(RecipeError) as told:
            opened(rows=rows, baseline=None)
        assert list(told.value.problems) == list(expected.problems)
    else:
        assert_plain(opened(rows=rows, baseline=None), str(opened.path))


# --- warnings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        ({"data__x1__decisive": [0, 10]}, False),  # of the teacher's modality alone
        ({"data__x2__decisive": [2, 12]}, True),
        ({"data__n_train": 100}, True),
        ({"focus__keep": "random"}, False),
    ],
)
def test_rows_that_read_the_data_otherwise_warn_where_their_students_see_it(opened, overrides, warned):
    rows = [row("base"), row("other", **overrides)]
    told = list(opened(rows=rows, baseline="base", focus={"keep": "general"}).warnings)
    assert any("rows read the data with different options" in text for text in told) == warned
    assert len(told) == warned
