"""The generated sets: the real layouts, the same bytes, the mark, and what sound and picture share."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mmablate.data.mini_clips import make_ravdess, make_vggsound
from mmablate.data.mini_clips.cause import SEEN, Cause
from mmablate.data.ravdess.opening import AUDIO_MEAN, AUDIO_STD, check_ravdess, open_ravdess
from mmablate.data.vggsound.opening import check_vggsound, open_vggsound
from mmablate.errors import DataError

SMALL = {"actors": 6, "clips": 2, "size": (8, 16), "audio_size": (8, 12)}
FEW = {"classes": 3, "train": 18, "test": 6, "frames": 4, "size": (8, 8), "seconds": 0.2}
IMAGES = ("audio", "image")
VIDEOS = ("audio", "video")


def content(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("form", ["arrays", "media"])
def test_ravdess_is_read_without_a_fault(tmp_path, form):
    make_ravdess(tmp_path / "r", form=form, **SMALL)
    assert check_ravdess(tmp_path / "r", modalities=IMAGES, thorough=True) == []
    options = {} if form == "arrays" else {"size": (8, 16), "audio_size": (8, 12)}
    data = open_ravdess(tmp_path / "r", modalities=IMAGES, **options)
    assert data.synthetic
    assert "synthetic" in data.attribution
    assert data.modalities == {"audio": (1, 8, 12), "image": (3, 8, 16)}
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 64, "val": 16, "test": 16}
    for split in data.splits.values():
        assert np.bincount(split.labels_of(range(len(split))), minlength=8).tolist() == [len(split) // 8] * 8


@pytest.mark.parametrize("form", ["arrays", "media"])
def test_vggsound_is_read_without_a_fault(tmp_path, form):
    make_vggsound(tmp_path / "v", form=form, **FEW)
    options = {} if form == "arrays" else {"frames": 4, "size": (8, 8)}
    assert check_vggsound(tmp_path / "v", modalities=VIDEOS, thorough=True, **options) == []
    data = open_vggsound(tmp_path / "v", modalities=VIDEOS, **options)
    assert data.synthetic
    assert data.modalities == {"audio": (1, 513, 313), "video": (3, 4, 8, 8)}
    assert len(data.splits["test"]) == 6
    assert len(data.splits["train"]) + len(data.splits["val"]) == 18
    assert not any("in train and in test" in note for note in data.notes)


def test_the_real_names_and_folders(tmp_path):
    make_ravdess(tmp_path / "r", **SMALL)
    names = content(tmp_path / "r")
    assert "aud_features/03-01-08-01-02-01-06.npy" in names
    assert "vid_features/01-01-08-01-02-01-06.png" in names
    assert names["data_file/spa_dl.csv"].startswith(b"audio,image,label\n03-01-0")
    make_vggsound(tmp_path / "v", **FEW)
    found = content(tmp_path / "v")
    kinds = {(name.split("/")[0], name.split("/")[1]) for name in found if name.endswith((".jpg", ".npy", ".wav"))}
    assert kinds == {("train", "video_jpg"), ("train", "audio_npy"), ("test", "video_jpg"), ("test", "audio")}
    assert json.loads(found["vggsound_classes.json"]) == {"event 0": 0, "event 1": 1, "event 2": 2}


@pytest.mark.parametrize(
    ("make", "options"),
    [(make_ravdess, SMALL), (make_ravdess, {**SMALL, "form": "media"}), (make_vggsound, FEW)],
)
def test_same_seed_same_bytes(tmp_path, make, options):
    make(tmp_path / "a", seed=3, **options)
    make(tmp_path / "b", seed=3, **options)
    make(tmp_path / "c", seed=4, **options)
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    assert first != content(tmp_path / "c")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    make(tmp_path / "a", seed=3, **options)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    with pytest.raises(DataError, match="found one of other options"):
        make(tmp_path / "a", seed=4, **options)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="found other files"):
        make_ravdess(tmp_path, **SMALL)
    assert content(tmp_path) == {"mine.txt": b"mine"}


def test_the_mark_stays_with_a_part(tmp_path):
    make_ravdess(tmp_path / "r", **SMALL)
    for path in list((tmp_path / "r").rglob("SYNTHETIC.json")):
        path.unlink()
    assert open_ravdess(tmp_path / "r", modalities=IMAGES).synthetic  # by the images
    make_vggsound(tmp_path / "v", **FEW)
    (tmp_path / "v" / "SYNTHETIC.json").unlink()
    for path in (tmp_path / "v").rglob("video_jpg"):
        shutil.rmtree(path)
    assert open_vggsound(tmp_path / "v", modalities=["audio"]).synthetic  # by the folder of the sounds


def test_one_more_clip_changes_nothing_of_the_others(tmp_path):
    make_ravdess(tmp_path / "a", form="media", **SMALL)
    make_ravdess(tmp_path / "b", form="media", **{**SMALL, "clips": 3})
    first, second = content(tmp_path / "a"), content(tmp_path / "b")
    del first["SYNTHETIC.json"]
    assert first.items() <= second.items()
    assert len(second) > len(first)


def test_arrays_have_the_mean_and_deviation_of_the_published_ones(tmp_path):
    make_ravdess(tmp_path, **SMALL)
    every = np.stack([np.load(path) for path in (tmp_path / "aud_features").glob("*.npy")]).astype(np.float64)
    np.testing.assert_allclose([every.mean(), every.std()], [AUDIO_MEAN, AUDIO_STD], rtol=1e-4)


@pytest.mark.parametrize(("shared", "common"), [(0.0, 0), (0.5, 4), (1.0, 8), (0.3, 2)])
def test_modalities_tell_as_many_numbers_whatever_they_share(shared, common):
    cause = Cause.draw(8, shared, 0)
    sound, picture = cause.views()
    assert len(sound) == len(picture) == SEEN
    assert sound[:common] == picture[:common]
    assert not set(sound[common:]) & set(picture[common:])
    assert set(sound) | set(picture) == set(range(cause.corners.shape[1]))
    for seen in (sound, picture):  # no two classes look alike
        assert len({tuple(row) for row in cause.corners[:, seen]}) == 8


def test_what_is_shared_is_the_same_number_in_both():
    for shared, common in ((1.0, 8), (0.5, 4), (0.0, 0)):
        cause = Cause.draw(4, shared, 0)
        states = [cause.state(i % 4, (0, 1, i), i % 5, 1.0, 1.0) for i in range(400)]
        sound, picture = (np.stack(told) for told in zip(*states, strict=True))
        assert_array_equal(sound[:, :common], picture[:, :common])
        assert (sound[:, common:] != picture[:, common:]).all()


def test_clips_of_unknown_speakers_are_harder():
    """A classifier that remembers speakers does better on other clips of them than on those of new ones."""
    cause = Cause.draw(8, 0.5, 0)
    labels = np.tile(np.arange(8), 24 * 4)
    groups = np.repeat(np.arange(24), 32)
    told = [cause.state(int(labels[i]), (0, 1, i), int(groups[i]), 1.0, 1.0) for i in range(len(labels))]
    states = np.stack([sound for sound, _ in told])

    def remembered(test: np.ndarray) -> float:
        distance = np.square(states[test][:, None] - states[~test][None]).sum(axis=-1)
        return float((labels[~test][distance.argmin(axis=1)] == labels[test]).mean())

    unknown = np.mean([remembered(groups % 4 == fold) for fold in range(4)])
    known = np.mean([remembered(np.arange(len(labels)) // 8 % 4 == fold) for fold in range(4)])
    assert known > unknown + 0.03
    assert 0.4 < unknown < 0.95
