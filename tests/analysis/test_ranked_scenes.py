"""Scenes of a segmentation study, row by row from worst to best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scene_samples import GRID, SUBSETS, samples, written

from mmablate.analysis.ranked_scenes import load_ranked_scenes
from mmablate.analysis.scenes import scene_scores
from mmablate.results.shown import read_shown, write_predictions


def test_every_row_is_ranked_by_all_its_seeds_and_subsets(tmp_path: Path) -> None:
    made = samples(5)
    store = written(tmp_path, made)
    ranked = load_ranked_scenes(store, 8)
    assert [row.name for row in ranked.rows] == list(GRID)
    assert ranked.synthetic
    for row in ranked.rows:
        runs = read_shown(store, [("x", f"{row.name}-{seed}") for seed in (0, 1)])
        expected = {
            made.ids[i]: np.mean(
                [scene_scores(made.labels[i], run.predictions[s][i], 255)[0] for run in runs.rows for s in SUBSETS]
            )
            for i in range(5)
        }
        assert [scene.id for scene in row.scenes.scenes] == sorted(expected, key=expected.__getitem__)
        assert row.scores == pytest.approx(sorted(expected.values()))
        assert row.seeds == (0, 1)
        assert [set(own) for own in row.by_seed] == [{0, 1}] * 5
        assert all(len(scene.predictions) == 1 for scene in row.scenes.scenes)
        assert row.n_left_out == 0


def test_the_middle_is_left_out_and_rows_without_predictions_are_named(tmp_path: Path) -> None:
    store = written(tmp_path, samples(5))
    for seed in (0, 1):
        (store.run_folder(f"r1-{seed}") / "predictions.npz").unlink()
    ranked = load_ranked_scenes(store, 2)
    assert ranked.missing == ("L_r1",)
    (row,) = ranked.rows
    whole = load_ranked_scenes(store, 5).rows[0]
    assert [s.id for s in row.scenes.scenes] == [whole.scenes.scenes[i].id for i in (0, 1, 3, 4)]
    assert row.n_left_out == 1
    assert load_ranked_scenes(store, 2, seeds=[1]).rows[0].seeds == (1,)


def test_a_scene_without_labels_comes_last(tmp_path: Path) -> None:
    made = samples(3)
    made.labels[0] = 255
    store = written(tmp_path, made)
    for folder in store.runs.iterdir():
        write_predictions(folder, [10, 11, 12], {"V": np.zeros((3, 6, 8), dtype=int)})
    row = load_ranked_scenes(store, 8).rows[0]
    assert row.scenes.scenes[-1].id == "scene0"
    assert row.scores[-1] is None
