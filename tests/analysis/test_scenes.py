"""Scores of single scenes against plain loops, and which runs are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_samples import Made
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scene_samples import GRID, samples, written

from mmablate.analysis.scenes import first_runs, load_scenes, scene_scores

VOID = 9


def by_loops(labels, prediction):
    pairs = [(int(t), int(p)) for t, p in zip(labels.ravel(), prediction.ravel(), strict=True) if t != VOID]
    if not pairs:
        return None, None
    ious = []
    for k in sorted({c for pair in pairs for c in pair}):
        both = sum(t == k and p == k for t, p in pairs)
        either = sum(t == k or p == k for t, p in pairs)
        ious.append(both / either)
    return 100 * sum(ious) / len(ious), 100 * sum(t == p for t, p in pairs) / len(pairs)


classes = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 3, VOID]))


@given(classes, arrays(np.int16, (4, 5), elements=st.integers(0, 4)))
@settings(max_examples=150, deadline=None)
def test_scores_are_those_of_plain_loops(labels, prediction):
    found, expected = scene_scores(labels, prediction, VOID), by_loops(labels, prediction)
    assert found == (None, None) if expected[0] is None else found == pytest.approx(expected)


def test_a_perfect_map_scores_100_and_void_does_not_matter():
    labels = np.array([[0, 1, VOID]])
    assert scene_scores(labels, np.array([[0, 1, 0]]), VOID) == (100.0, 100.0)
    assert scene_scores(np.full((2, 2), VOID), np.zeros((2, 2), dtype=int), VOID) == (None, None)


def test_rows_show_their_smallest_planned_seed_and_share_runs():
    study = Made({"r0": {1: (1, 2, 3), 0: (3, 4, 8)}, "r1": {2: (2, 2, 2)}, "r2": {}}, teacher={0: (1, 1, 1)}).study()
    study["plan"][1]["rows"].append("r2")
    assert first_runs(study) == [("L_r0", "r0-0", 0), ("L_r1", "r1-2", 2), ("L_r2", "r0-0", 0)]


def test_scenes_of_a_study(tmp_path):
    store = written(tmp_path)
    scenes = load_scenes(store)
    assert scenes.rows == ("L_r0", "L_r1")
    assert scenes.seeds == (0,)
    assert scenes.subsets == ("V", "N", "VN")  # in the order of the table, whatever that of the file
    assert [scene.id for scene in scenes.scenes] == ["scene0", "scene1", "scene2"]
    assert scenes.synthetic
    with np.load(store.run_folder("r1-0") / "predictions.npz") as archive:
        expected = archive["prediction/N"][2]
    cell = scenes.scenes[2].predictions[1][1]
    assert np.array_equal(cell.classes, expected)
    assert cell.score == pytest.approx(scene_scores(samples().labels[2], expected, 255)[0])


def test_scenes_that_no_row_has_are_left_out(tmp_path):
    store = written(tmp_path)
    few = samples(2)
    for folder in store.runs.iterdir():
        (folder / "predictions.npz").unlink()
    assert load_scenes(store) is None
    maps = {"V": few.labels}
    from mmablate.results.shown import write_predictions

    write_predictions(store.run_folder("r0-0"), [11, 12], maps)
    scenes = load_scenes(store)
    assert scenes.rows == ("L_r0",)
    assert [scene.id for scene in scenes.scenes] == ["scene1", "scene2"]


def test_a_study_without_scenes_has_none(tmp_path):
    store = Made(GRID).write(tmp_path)
    assert load_scenes(store) is None
    study = json.loads((store.folder / "study.json").read_text())
    assert len(first_runs(study)) == 2
