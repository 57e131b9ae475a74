"""Rows share what they have in common: ids, settings and faults are those of each row by itself."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_planning import plain_study
from study_samples import BASE, Opener, names, students, teachers

from mmablate.errors import RecipeError
from mmablate.recipe import locate, shipped_recipes
from mmablate.study import open_study
from mmablate.study.content import content_id
from mmablate.study.sweeping import SweepRequest


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in which every dataset finds files; what they hold means nothing to planning."""
    folder = tmp_path_factory.mktemp("root")
    front = [f"{d}/c/train/m/1_{name}_front.png" for d, name in
             (("img", "rgb"), ("hha", "depth"), ("event", "event"), ("lidar", "lidar"))]  # fmt: skip
    scans = "vol/a_vol.npy", "seg/a_seg.npy"
    for name in (*scans, "frame_camera/a.png", "train/a.npy", "semantic/c/train/m/1_semantic_front.png", *front):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    return str(folder)


def shipped():
    for name in shipped_recipes():
        data = yaml.safe_load(Path(locate(name)).read_text(encoding="utf-8"))
        for profile, layer in {None: {}, **data.get("profiles", {})}.items():
            yield pytest.param(name, profile, None, id=f"{name}-{profile}")
            for parameter in {**data.get("sweep", {}), **layer.get("sweep", {})}:
                if (name, profile, parameter) == ("landsat_fusion", "alpha_grid", "beta"):
                    continue  # no row of that profile contains the term
                yield pytest.param(name, profile, parameter, id=f"{name}-{profile}-{parameter}")


@pytest.mark.parametrize(("name", "profile", "parameter"), list(shipped()))
def test_shipped_recipes_give_no_warning(name, profile, parameter, root):
    sweep = SweepRequest((parameter,)) if parameter else None
    assert open_study(name, profile=profile, data_root=root, sweep=sweep).warnings == ()


def assert_same(study, rows, runs):
    assert [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows] == [tuple(row) for row in rows]
    ours = [(r.run_id, r.role, r.seed, r.settings, r.depends_on, r.rows, dict(r.cells)) for r in study.runs]
    assert ours == [tuple(run) for run in runs]
    assert all(content_id(run.settings) == run.run_id for run in study.runs)


@pytest.mark.parametrize(("name", "profile", "parameter"), list(shipped()))
def test_shipped_recipes_have_the_ids_of_each_row_by_itself(name, profile, parameter, root):
    sweep = SweepRequest((parameter,)) if parameter else None
    rows, runs = plain_study(name, profile=profile, data_root=root, sweep=sweep)
    study = open_study(name, profile=profile, data_root=root, sweep=sweep)
    assert_same(study, rows, runs)


def test_ids_do_not_change_with_the_version(opened):
    """A finished run is known by its id: whoever changes these has all users train again."""
    study = opened(seeds=[0])
    assert content_id({"a": [1, 0.5, None, "λ"], "b": {"y": True, "x": -0.0}}) == "0d00f1e8329ebf15"
    assert students(study) == {
        ("sup", 0): "42a8120c8e5a4991",
        ("sup+mad", 0): "4042c9497f6dbc9c",
        ("sup+mad+umd", 0): "a174aee70abbd082",
        ("sup+mad+umd+cmd", 0): "48122874706e08c7",
    }
    assert teachers(study) == {0: "da02d40b22863aaf"}


# Good and bad values of what a row may override, and of what it may not.
VALUES = {
    "train.lr": [0.1, "1e-3", 0, -1, "fast", None],
    "train.augment.flip": [False, "perhaps"],
    "train.augment": [{"crop": [8, 8]}, {"scale": [2, 1]}, 3],
    "train": [{"epochs": 3, "lr": 0.5}, {"epoch": 3}, None],
    "train.lr.peak": [1],
    "model.decoder_width": [8, 0, "wide"],
    "model.widths": [[4, 4, 4], [4, 4, 8], [4, 4]],
    "model.backbone": ["mit_b0", "resnet"],
    "model.name": ["unet"],
    "model": [{"backbone": "mit_b0", "widths": None, "strides": None, "decoder_width": None}],
    "teacher.decoder_width": [8, 0],
    "teacher.train.lr": [0.2, -1],
    "teacher.train": [{"epochs": 9}, {"epoch": 9}],
    "teacher.row": [True],
    "teacher": [None],
    "masks.mode": ["none", "all"],
    "masks": [{"distribution": "subset"}],
    "method": ["joint", "meta"],
    "data.tile": [16, 1],
    "data.modalities": [["V"], ["Q"]],
    "losses.mad.weight": [5, 0, -1, "1e-3"],
    "losses.mad.temperature": [2, 0],
    "losses.umd.definition": ["mse", "none"],
    "losses.extra": [{"term": "sup"}, {"weight": 1}],
    "lambda": [7, "x"],
    "evaluate.subsets": [["V"], ["X"]],
    "seeds": [[7], "many"],
    "claims": [["sup"]],
    "trian.lr": [1],
    "foo": [1],
}
rows_ = st.lists(
    st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=6
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=rows_)
def test_rows_and_their_faults_are_those_of_each_row_by_itself(drawn, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp())
    overrides = [{key: VALUES[key][index % len(VALUES[key])] for key, index in row.items()} for row in drawn]
    rows = [{"name": f"r{i}", "overrides": some} for i, some in enumerate(overrides)]
    expected = plain_of(opened, rows)
    if isinstance(expected, RecipeError):
        with pytest.raises(RecipeError) as told:
            opened(rows=rows, baseline=None)
        assert list(told.value.problems) == list(expected.problems)
    else:
        assert_same(opened(rows=rows, baseline=None), *expected)


def test_a_model_whose_options_reach_the_teacher(opened):
    """A MiT student brings `drop_path`, which the teacher of the recipe does not have: told as by itself."""
    rows = [{"name": "mit", "losses": ["sup"], "overrides": {"model": VALUES["model"][0]}}]
    expected = plain_of(opened, rows)
    with pytest.raises(RecipeError, match=r"row 'mit': teacher: the backbone conv has none") as told:
        opened(rows=rows, baseline=None)
    assert list(told.value.problems) == list(expected.problems)


def plain_of(opened, rows):
    """What planning row by row gives, or tells."""
    opened.write(rows=rows, baseline=None)
    try:
        return plain_study(str(opened.path))
    except RecipeError as error:
        return error


# --- size -------------------------------------------------------------------------------------------------


def grid(levels):
    """Three factors of so many levels each."""
    return {
        "rate": {f"lr{i}": {"train.lr": 0.001 * (i + 1)} for i in range(levels)},
        "mad": {f"mad{i}": {"losses.mad.weight": i} for i in range(levels)},
        "width": {f"w{i}": {"model.decoder_width": i + 1} for i in range(levels)},
    }


def test_rows_share_their_sections_and_runs_their_settings(opened):
    study = opened(factors=grid(6), rows={"product": ["rate", "mad", "width"]}, baseline=None)
    assert len(study.rows) == 6**3
    assert len({id(row.sections.train) for row in study.rows}) == 6
    assert len({id(row.sections.model) for row in study.rows}) == 6
    assert len({id(row.sections.teacher) for row in study.rows}) == 1
    runs = [run for run in study.runs if run.role == "student"]
    assert len({id(run.settings["train"]) for run in runs}) == 6
    assert len({id(run.settings["losses"]) for run in runs}) == 6
    assert names(study)[:2] == ["lr0+mad0+w0", "lr0+mad0+w1"]


def test_a_cell_takes_little_memory(opened):
    def kept(levels):
        changes = {"factors": grid(levels), "rows": {"product": ["rate", "mad", "width"]}, "baseline": None}
        opened(**changes)  # caches that stay are filled
        gc.collect()
        tracemalloc.start()
        study = opened(seeds=[0], **changes)
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return len(study.rows), now, peak

    (few, _, low), (many, kept_now, high) = kept(5), kept(14)
    per_cell = (high - low) / (many - few)
    assert per_cell < 3000  # bytes; whole settings of every cell were 46,000
    assert kept_now <= high


def test_a_run_that_many_rows_share_is_one_run_of_all_of_them(opened):
    factors = {"mad": {f"m{i}": {"losses.mad.weight": 0, "losses.mad.temperature": i + 1} for i in range(50)}}
    study = opened(factors=factors, rows={"product": ["mad"]}, baseline=None, seeds=[0],
                   losses={key: BASE["losses"][key] for key in ("sup", "mad")}, sweep={})  # fmt: skip
    (run,) = [run for run in study.runs if run.role == "student"]
    assert run.rows == tuple(f"m{i}" for i in range(50))
    assert set(run.cells) == set(run.rows)
    assert len(set(run.cells.values())) == 1
