"""Scores of single subjects: written, read with suspicion, ranked, and told beside the pictures of slices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scene_samples import SUBSETS, samples, written

from mmablate.analysis.ranked_scenes import load_ranked_scenes
from mmablate.analysis.ranked_subjects import rank_subjects
from mmablate.analysis.scenes import load_scenes
from mmablate.results import StudyStore
from mmablate.results.shown import PREDICTIONS, SAMPLES, write_predictions
from mmablate.results.subject_scores import (
    SUBJECT_SCORES,
    SubjectScores,
    read_subject_scores,
    write_subject_scores,
)

IDS = tuple(f"scene{i - 10}" if 10 <= i < 13 else f"other{i}" for i in range(14))
COLUMNS = ("WT", "ET", "Dice", "HD95", "HD95 WT")


def values(seed: int, subjects: int = len(IDS)) -> dict[str, np.ndarray]:
    stream = np.random.default_rng(seed)
    found = {name: stream.uniform(1, 99, (subjects, len(SUBSETS))) for name in COLUMNS}
    for own in found.values():
        own[1, 0] = np.nan
    return found


def scans(out: Path) -> StudyStore:
    """A study of slices whose runs have scored fourteen subjects."""
    store = written(out, dataclasses.replace(samples(), scans=True, ignore_label=-1))
    for seed, folder in enumerate(sorted(store.runs.iterdir())):
        write_subject_scores(folder, IDS, SUBSETS, values(seed))
    return store


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = values(0)
    write_subject_scores(tmp_path, IDS, SUBSETS, given)
    found = read_subject_scores(tmp_path)
    assert found is not None
    assert (found.ids, found.columns, found.subsets) == (IDS, COLUMNS, SUBSETS)
    np.testing.assert_array_equal(found.values, np.stack(list(given.values())))
    assert found.of(3, "N") == {name: float(given[name][3, 1]) for name in COLUMNS}
    assert found.of(1, "VN") == found.of(99, "N") == found.of(-1, "N") == found.of(0, "nix") == {}
    first = (tmp_path / SUBJECT_SCORES).read_bytes()
    write_subject_scores(tmp_path, IDS, SUBSETS, given)
    assert (tmp_path / SUBJECT_SCORES).read_bytes() == first


def test_what_does_not_fit_is_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns, subjects, subsets"):
        write_subject_scores(tmp_path, IDS[1:], SUBSETS, values(0))
    assert read_subject_scores(tmp_path) is None
    for content in (b"", b"no archive"):
        (tmp_path / SUBJECT_SCORES).write_bytes(content)
        assert read_subject_scores(tmp_path) is None
    meta = '{"columns": ["Dice"], "subsets": ["V"], "ids": [7]}'
    np.savez(tmp_path / SUBJECT_SCORES, values=np.zeros((1, 1, 1)), meta=np.array(meta))
    assert read_subject_scores(tmp_path) is None
    np.savez(tmp_path / SUBJECT_SCORES, values=np.array(object()), meta=np.array(meta), allow_pickle=True)
    assert read_subject_scores(tmp_path) is None


def test_a_slice_has_the_score_of_its_whole_scan(tmp_path: Path) -> None:
    found = load_scenes(scans(tmp_path))
    assert found is not None
    assert found.scans
    for i, scene in enumerate(found.scenes):
        for row, seed in enumerate((0, 2)):  # the first seed of each row; folders are sorted
            for k, cell in enumerate(scene.predictions[row]):
                assert cell is not None
                own = values(seed)
                assert cell.score == own["Dice"][10 + i, SUBSETS.index(found.subsets[k])]
                assert set(cell.regions) == {"WT", "ET"}
                assert cell.accuracy is None


def test_another_subject_at_that_place_has_no_score(tmp_path: Path) -> None:
    store = scans(tmp_path)
    for folder in store.runs.iterdir():
        write_subject_scores(folder, tuple(reversed(IDS)), SUBSETS, values(0))
    found = load_scenes(store)
    assert found is not None
    assert {cell.score for scene in found.scenes for row in scene.predictions for cell in row if cell} == {None}


def test_a_subset_that_a_subject_lacks_is_not_shown(tmp_path: Path) -> None:
    store = scans(tmp_path)
    maps = {name: np.zeros((3, 6, 8), dtype=int) for name in SUBSETS}
    maps["N"][1] = -1
    for folder in store.runs.iterdir():
        write_predictions(folder, [10, 11, 12], maps)
    found = load_scenes(store)
    assert found is not None
    absent = [[cell is None for cell in scene.predictions[0]] for scene in found.scenes]
    assert absent == [[False] * 3, [name == "N" for name in found.subsets], [False] * 3]


def test_subjects_are_ranked_by_dice_over_subsets_and_seeds(tmp_path: Path) -> None:
    ranked = load_ranked_scenes(scans(tmp_path), 3)
    row = ranked.rows[0]
    assert row.subjects is not None
    dice = np.nanmean(np.stack([values(seed)["Dice"] for seed in (0, 1)]), axis=(0, 2))
    order = np.argsort(dice)
    kept = [*order[:3], *order[-3:]]
    assert [subject.id for subject in row.subjects.subjects] == [IDS[i] for i in kept]
    assert [subject.scores["Dice"] for subject in row.subjects.subjects] == pytest.approx(dice[kept])
    assert row.subjects.n == len(IDS)
    assert row.subjects.columns == ("WT", "ET", "Dice", "HD95")
    worst = row.subjects.subjects[0]
    by_subset = np.mean([values(seed)["Dice"][order[0]] for seed in (0, 1)], axis=0)
    assert worst.lowest == (SUBSETS[np.nanargmin(by_subset)], pytest.approx(np.nanmin(by_subset)))


def test_subjects_are_ranked_without_pictures_too(tmp_path: Path) -> None:
    store = scans(tmp_path)
    (store.folder / SAMPLES).unlink()
    for folder in store.runs.iterdir():
        (folder / PREDICTIONS).unlink()
    ranked = load_ranked_scenes(store)
    assert [len(row.scenes.scenes) for row in ranked.rows] == [0, 0]
    assert all(row.subjects is not None for row in ranked.rows)


def test_what_is_not_scored_is_not_ranked() -> None:
    assert rank_subjects({}, 3) is None
    one = SubjectScores(("a",), ("Dice",), ("V",), np.full((1, 1, 1), np.nan))
    assert rank_subjects({0: one}, 3) is None
    assert rank_subjects({0: dataclasses.replace(one, columns=("WT",))}, 3) is None
    other = SubjectScores(("b",), ("Dice",), ("V",), np.ones((1, 1, 1)))
    found = rank_subjects({1: other, 2: one}, 3)
    assert found is not None
    assert found.seeds == (1,)
