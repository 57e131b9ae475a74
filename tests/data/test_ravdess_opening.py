"""RAVDESS read from arrays and from media: values, labels, splits."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from clip_samples import (
    ACTORS,
    features,
    picture,
    ravdess_line,
    ravdess_names,
    wave,
    write_ravdess_arrays,
    write_ravdess_media,
    write_table,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from mmablate.data import audio
from mmablate.data.base import ClassificationData
from mmablate.data.clips import ClipSplit, KeptClips
from mmablate.data.loading import BatchReader
from mmablate.data.ravdess.names import EMOTIONS, read_name
from mmablate.data.ravdess.opening import check_ravdess, open_ravdess
from mmablate.data.ravdess.speakers import deal_actors
from mmablate.errors import DataError

BOTH = ("audio", "image")


def seed_of(clip_id: str) -> int:
    """Which of the samples a clip is, whatever it is called in front."""
    return ravdess_names().index(clip_id[-17:])


def actors_of(data: ClassificationData, split: str) -> set[int]:
    found = data.splits[split]
    return {int(found.describe(i).id[-2:]) for i in range(len(found))}


def test_arrays_come_as_published(tmp_path):
    data = open_ravdess(write_ravdess_arrays(tmp_path), modalities=BOTH)
    assert data.modalities == {"audio": (1, 4, 9), "image": (3, 6, 10)}
    assert data.class_names == EMOTIONS
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for split in data.splits.values():
        inputs, labels = split.batch(range(len(split)))
        for i in range(len(split)):
            seed = seed_of(split.describe(i).id)
            np.testing.assert_allclose(inputs["audio"][i, 0], (features(seed) + 10.59) / 85.66, rtol=1e-5, atol=1e-6)
            expected = (picture(seed) / 255 - mean) / std
            np.testing.assert_allclose(inputs["image"][i], np.moveaxis(expected, -1, 0), atol=1e-5)
            assert labels[i] == int(ravdess_names()[seed][3:5]) - 1
        assert inputs["audio"].dtype == inputs["image"].dtype == np.float32
        assert labels.dtype == np.int64


@pytest.mark.parametrize("write", [write_ravdess_arrays, write_ravdess_media])
def test_no_actor_is_in_two_splits(tmp_path, write):
    data = open_ravdess(write(tmp_path), modalities=BOTH)
    parts = [actors_of(data, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [4, 1, 1]
    assert set().union(*parts) == set(ACTORS)
    assert sum(map(len, data.splits.values())) == 12


def test_the_published_split_is_that_of_the_tables_and_says_who_leaks(tmp_path):
    data = open_ravdess(write_ravdess_arrays(tmp_path), modalities=BOTH, split="published")
    names = ravdess_names()
    for split, chosen in (("train", names[::2]), ("val", names[1::4]), ("test", names[3::4])):
        found = data.splits[split]
        assert [found.describe(i).id[-17:] for i in range(len(found))] == chosen
    assert data.notes == ("Published split: 3 of the 3 speakers of test are in train too.",)


def test_media_take_the_published_split_too(tmp_path):
    write_ravdess_arrays(tmp_path / "a")
    root = write_ravdess_media(tmp_path / "m")
    shutil.copytree(tmp_path / "a" / "data_file", root / "data_file")
    data = open_ravdess(root, modalities=BOTH, split="published")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 6, "val": 3, "test": 3}
    assert data.splits["val"].describe(0).id == ravdess_names()[1]


def test_names_without_a_speaker_leave_only_the_published_split(tmp_path):
    root = write_ravdess_arrays(tmp_path)
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        np.save(root / "aud_features" / f"clip{number}.npy", features(number))
        Image.fromarray(picture(number)).save(root / "vid_features" / f"clip{number}.png")
        write_table(root, split, [f"clip{number}.npy,clip{number}.png,{number}"])
    with pytest.raises(DataError, match=r"names of seven fields.*`split: published`"):
        open_ravdess(root, modalities=BOTH)
    data = open_ravdess(root, modalities=BOTH, split="published")
    assert "do not tell" in data.notes[0]
    assert [data.splits[name].labels_of([0])[0] for name in ("train", "val", "test")] == [0, 1, 2]


def test_a_clip_in_train_and_test_is_counted_in_a_note(tmp_path):
    root = write_ravdess_arrays(tmp_path)
    write_table(root, "test", map(ravdess_line, ravdess_names()[:2]))
    data = open_ravdess(root, modalities=BOTH, split="published")
    assert data.notes[1] == "Published split: 1 clip of validation and test is in train too."
    assert sum(map(len, open_ravdess(root, modalities=BOTH).splits.values())) == 9  # each once


def test_only_the_files_asked_for_are_needed(tmp_path):
    root = write_ravdess_arrays(tmp_path)
    shutil.rmtree(root / "vid_features")
    data = open_ravdess(root, modalities=["audio"])
    assert list(data.splits["train"].batch([0])[0]) == ["audio"]
    assert "picture" in check_ravdess(root, modalities=BOTH)[0]


def test_classes_are_named_as_the_tables_number_them(tmp_path):
    root = write_ravdess_arrays(tmp_path)
    lines = []
    for emotion in range(1, 9):
        key = f"01-{emotion:02d}-01-01-02-01"
        np.save(root / "aud_features" / f"03-{key}.npy", features(emotion))
        Image.fromarray(picture(emotion)).save(root / "vid_features" / f"01-{key}.png")
        lines.append(f"03-{key}.npy,01-{key}.png,{8 - emotion}")
    for split in ("train", "val", "test"):
        write_table(root, split, lines)
    data = open_ravdess(root, modalities=BOTH, split="published")
    assert data.class_names == EMOTIONS[::-1]


def test_media_give_the_features_of_their_waves_and_the_middle_frame(tmp_path):
    root = write_ravdess_media(tmp_path)
    data = open_ravdess(root, modalities=BOTH, audio_size=(13, 40), size=(6, 10), normalise="none")
    assert data.modalities == {"audio": (1, 13, 40), "image": (3, 6, 10)}
    split = data.splits["train"]
    inputs, labels = split.batch(range(len(split)))
    for i in range(len(split)):
        seed = seed_of(split.describe(i).id)
        cut = wave(seed, 30_000).astype(np.float32)[: 39 * 512].astype(np.float64)
        expected = audio.mfcc(cut, 22_050, n_fft=2048, hop=512, coefficients=13, bands=128)
        np.testing.assert_allclose(inputs["audio"][i, 0], expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(inputs["image"][i], np.moveaxis(picture(seed), -1, 0) / 255, atol=1e-6)
        assert labels[i] == int(ravdess_names()[seed][3:5]) - 1


def test_media_have_the_published_sizes_by_default_and_short_clips_end_in_silence(tmp_path):
    data = open_ravdess(write_ravdess_media(tmp_path), modalities=BOTH, features="logmel", normalise="none")
    assert data.modalities == {"audio": (1, 40, 256), "image": (3, 256, 512)}
    sound = data.splits["test"].batch([0])[0]["audio"][0, 0]
    assert sound[:, :55].min() > sound.max() - 80
    assert (sound[:, 65:] == sound.min()).all()  # 30,000 samples are 59 columns


def test_a_song_counts_where_it_is_asked_for(tmp_path):
    root = write_ravdess_media(tmp_path)
    for actor in ACTORS:
        folder = root / f"Actor_{actor:02d}"
        wavfile.write(folder / f"03-02-03-01-01-01-{actor:02d}.wav", 22_050, wave(actor).astype(np.float32))
        shutil.copytree(folder / f"02-01-05-01-01-01-{actor:02d}", folder / f"02-02-03-01-01-01-{actor:02d}")
    count = {
        channel: sum(map(len, open_ravdess(root, modalities=BOTH, size=(6, 10), channel=channel).splits.values()))
        for channel in ("speech", "song", "all")
    }
    assert count == {"speech": 12, "song": 6, "all": 18}


def test_sound_of_audio_alone_is_preferred_to_that_of_a_video(tmp_path):
    root = write_ravdess_media(tmp_path)
    for key in ravdess_names():
        other = np.full(30_000, 0.1, np.float32)
        wavfile.write(root / f"Actor_{key[-2:]}" / f"01-{key}.wav", 22_050, other)
    options = {"modalities": ["audio"], "audio_size": (13, 40)}
    with_both = open_ravdess(root, **options).splits["train"].batch([0])[0]["audio"]
    for path in root.glob("Actor_*/01-*.wav"):
        path.unlink()
    np.testing.assert_array_equal(with_both, open_ravdess(root, **options).splits["train"].batch([0])[0]["audio"])


def test_standard_gives_mean_0_and_deviation_1_over_train(tmp_path):
    data = open_ravdess(write_ravdess_arrays(tmp_path), modalities=BOTH, normalise="standard")
    inputs, _ = data.splits["train"].batch(range(len(data.splits["train"])))
    for values in inputs.values():
        axes = (0, 2, 3)
        np.testing.assert_allclose(values.mean(axis=axes, dtype=np.float64), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=axes, dtype=np.float64), 1, atol=1e-5)


def test_files_and_memory_give_the_same_and_workers_too(tmp_path):
    root = write_ravdess_arrays(tmp_path)
    kept = open_ravdess(root, modalities=BOTH).splits["train"]
    read = open_ravdess(root, modalities=BOTH, cache_bytes=0).splits["train"]
    assert isinstance(kept, KeptClips)
    assert isinstance(read, ClipSplit)
    again = pickle.loads(pickle.dumps(read))
    batches = [[0, 3], [2]]
    for by_worker, indices in zip(BatchReader(read, workers=1).read(batches), batches, strict=True):
        for split in (kept, read, again):
            inputs, labels = split.batch(indices)
            np.testing.assert_array_equal(by_worker[1].numpy(), labels)
            for name, values in inputs.items():
                np.testing.assert_array_equal(by_worker[0][name].numpy(), values)


def test_pictures_are_shown_in_their_own_sizes(tmp_path):
    split = open_ravdess(write_ravdess_arrays(tmp_path), modalities=BOTH).splits["test"]
    shown = split.pictures(0)
    np.testing.assert_array_equal(shown["image"], picture(seed_of(split.describe(0).id)))
    assert shown["audio"].shape == (4, 9, 3)
    assert shown["audio"].dtype == np.uint8


@given(
    st.sets(st.integers(1, 24), min_size=3),
    st.one_of(st.none(), st.integers(1, 8)),
    st.one_of(st.none(), st.integers(1, 8)),
    st.integers(0, 5),
)
def test_actors_are_dealt_whole_or_the_split_is_refused(actors, val, test, seed):
    if (val or 1) + (test or 1) >= len(actors):
        if val is not None and test is not None:
            with pytest.raises(ValueError, match=f"found {len(actors)} in all"):
                deal_actors(actors, val, test, seed)
        return
    try:
        dealt = deal_actors(actors, val, test, seed)
    except ValueError:
        assert val is None or test is None
        return
    assert set(dealt) == actors
    found = list(dealt.values())
    assert found.count("val") == (val or max(1, round(len(actors) / 6)))
    assert found.count("test") == (test or max(1, round(len(actors) / 5)))
    assert "train" in found
    assert deal_actors(sorted(actors, reverse=True), val, test, seed) == dealt


def test_women_and_men_take_turns_and_another_seed_deals_anew():
    dealt = deal_actors(range(1, 25), None, None, 0)
    for split, count in (("val", 4), ("test", 5)):
        members = [actor for actor, at in dealt.items() if at == split]
        assert len(members) == count
        assert sum(actor % 2 for actor in members) in (count // 2, count - count // 2)
    assert deal_actors(range(1, 25), None, None, 1) != dealt


def test_named_actors_are_taken():
    dealt = deal_actors(range(1, 7), [5], [1, 2], 0)
    assert [actor for actor, at in dealt.items() if at == "test"] == [1, 2]
    assert {actor for actor, at in dealt.items() if at == "train"} == {3, 4, 6}
    with pytest.raises(ValueError, match=r"val_actors: expected actors with clips, found 9"):
        deal_actors(range(1, 7), [9], [1], 0)
    with pytest.raises(ValueError, match="2 twice"):
        deal_actors(range(1, 7), [2], [1, 2], 0)


@pytest.mark.parametrize(
    ("stem", "actor"),
    [
        ("03-01-06-01-02-01-12", 12),
        ("03-01-06-01-02-01-25", None),
        ("03-01-09-01-02-01-12", None),
        ("00-01-06-01-02-01-12", None),
        ("03-01-06-01-02-01", None),
        ("03-01-06-01-02-01-12-01", None),
        ("3-1-6-1-2-1-12", None),
        ("03-01-06-01-02-01-12_f", None),
        ("٠٣-01-06-01-02-01-12", None),
    ],
)
def test_names_of_seven_fields(stem, actor):
    name = read_name(stem)
    assert (name and name.actor) == actor
    if name is not None:
        assert str(name) == stem
        assert name.label == 5


def test_names_of_features_may_go_on():
    name = read_name("03-01-06-01-02-01-12_croppad", whole=False)
    assert name is not None
    assert name.actor == 12
    assert read_name("03-01-06-01-02-01-123", whole=False) is None
