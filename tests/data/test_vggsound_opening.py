"""VGGSound read from published files and from media: values, labels, the validation split, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from clip_samples import CLASSES, EDGE, FRAMES, clip_name, picture, wave, write_clip, write_vggsound
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from mmablate.data.clips import Clip, ClipSplit, KeptClips
from mmablate.data.image_folder.images import read_pixels
from mmablate.data.loading import BatchReader
from mmablate.data.vggsound.finding import carve, class_of, read_classes, source_of
from mmablate.data.vggsound.opening import check_vggsound, open_vggsound
from mmablate.errors import DataError

BOTH = ("audio", "video")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FIRST = clip_name(0, 0, "dog barking")


@pytest.fixture
def root(tmp_path):
    return write_vggsound(tmp_path / "set")


def ids(split) -> list[str]:
    return [split.describe(i).id for i in range(len(split))]


def magnitudes(samples: np.ndarray) -> np.ndarray:
    """The published recipe: the loudest sample to 1 / 1.1, Hann windows of 1024 samples, 512 apart, ends mirrored."""
    scaled = samples.astype(np.float64) / (1.1 * np.abs(samples).max())
    mirrored = np.pad(scaled, 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    starts = range(0, len(mirrored) - 1023, 512)
    return np.abs(np.stack([np.fft.rfft(window * mirrored[s : s + 1024]) for s in starts], axis=1))


def seed_of(clip_id: str) -> int:
    _, video, second, *_ = clip_id.split("/")[1].split("_")
    number = 3 * int(video) + int(second)
    return number if number < 100 else number - 50


@pytest.mark.parametrize("raw", [False, True])
def test_samples_are_those_of_the_published_recipe(tmp_path, raw):
    root = write_vggsound(tmp_path, raw=raw)
    options = {"frames": FRAMES, "size": (EDGE, EDGE)} if raw else {}
    data = open_vggsound(root, modalities=BOTH, audio_size=(513, 4), **options)
    assert data.modalities == {"audio": (1, 513, 4), "video": (3, FRAMES, EDGE, EDGE)}
    assert data.class_names == tuple(CLASSES)
    assert sum(map(len, data.splits.values())) == 39
    for name in ("train", "test"):
        split = data.splits[name]
        inputs, labels = split.batch(range(len(split)))
        for i, clip_id in enumerate(ids(split)):
            stem = clip_id.split("/")[1]
            seed = 100 + ids(split).index(clip_id) if name == "test" else seed_of(clip_id)
            expected = magnitudes(wave(seed, 2000).astype(np.float32))
            assert expected.shape == (513, 4)
            np.testing.assert_allclose(inputs["audio"][i, 0], expected, rtol=1e-5, atol=1e-5)
            shown = picture(seed, (FRAMES * EDGE, EDGE))
            if not raw:
                shown = read_pixels(root / name / "video_jpg" / f"{stem}.jpg", "colours")
            for at in range(FRAMES):
                frame = (shown[at * EDGE : (at + 1) * EDGE] / 255 - MEAN) / STD
                np.testing.assert_allclose(inputs["video"][i, :, at], np.moveaxis(frame, -1, 0), atol=1e-5)
            assert labels[i] == CLASSES[stem.split("_")[-2]]


def test_another_length_is_resized_in_train_and_test_alike(root):
    name = clip_name(99, 0, "rain")
    write_clip(root, "train", name, 5, length=9000)
    write_clip(root, "test", name.replace("99", "98"), 5, length=9000)
    data = open_vggsound(root, modalities=["audio"], audio_size=(513, 4), val_fraction=0)
    train, test = data.splits["train"], data.splits["test"]
    first = train.batch([ids(train).index(f"train/{name}")])[0]["audio"]
    second = test.batch([ids(test).index(f"test/{name.replace('99', '98')}")])[0]["audio"]
    np.testing.assert_array_equal(first, second)
    whole = magnitudes(wave(5, 9000).astype(np.float32))
    np.testing.assert_allclose(first[0, 0].mean(axis=1), whole.mean(axis=1), rtol=0.35, atol=0.5)


def test_the_published_shapes_are_the_default(tmp_path):
    root = tmp_path
    (root / "vggsound_classes.json").write_text(json.dumps(CLASSES))
    for split in ("train", "test"):
        write_clip(root, split, FIRST, 0, length=160_000)
        Image.fromarray(picture(0, (32 * 256, 256))).save(root / split / "video_jpg" / f"{FIRST}.jpg")
    data = open_vggsound(root, modalities=BOTH, val_fraction=0)
    assert data.modalities == {"audio": (1, 513, 313), "video": (3, 32, 256, 256)}
    assert data.notes == ("1 source video has clips in train and in test.",)
    found = data.splits["test"].batch([0])[0]["audio"][0, 0]
    np.testing.assert_allclose(found, magnitudes(wave(0, 160_000).astype(np.float32)), rtol=1e-5, atol=1e-5)


def test_either_form_may_lie_in_either_split_and_wav_of_another_rate_counts(root):
    for path in sorted((root / "test" / "audio_npy").iterdir()):
        (root / "test" / "audio").mkdir(exist_ok=True)
        both = np.repeat(np.load(path)[0], 2)
        wavfile.write(root / "test" / "audio" / f"{path.stem}.wav", 32_000, np.stack([both, both], axis=1))
    shutil.rmtree(root / "test" / "audio_npy")
    assert check_vggsound(root, modalities=BOTH, thorough=True) == []
    assert open_vggsound(root, modalities=BOTH, audio_size=(513, 4)).modalities["audio"] == (1, 513, 4)


def test_log_is_of_one_plus_the_magnitude(root):
    plain = open_vggsound(root, modalities=["audio"]).splits["test"].batch([0])[0]["audio"]
    log = open_vggsound(root, modalities=["audio"], loudness="log").splits["test"].batch([0])[0]["audio"]
    np.testing.assert_allclose(log, np.log1p(plain), rtol=1e-4, atol=1e-5)


def test_validation_is_carved_out_of_train_by_source_video(root):
    data = open_vggsound(root, modalities=["audio"], val_fraction=0.3)
    train, val, test = (ids(data.splits[name]) for name in ("train", "val", "test"))
    assert len(train) + len(val) == 30
    assert len(test) == 9
    assert all(clip.startswith("train/") for clip in (*train, *val))
    videos = [{clip.split("/")[1].split("_")[1] for clip in split} for split in (train, val)]
    assert videos[1]
    assert not videos[0] & videos[1]
    assert data.notes == (f"Validation: {len(val)} of the 30 training clips, those of {len(videos[1])} source videos.",)
    assert "val" not in open_vggsound(root, modalities=["audio"], val_fraction=0).splits


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.floats(0, 0.99), st.integers(0, 3))
def test_carving_is_by_video_and_leaves_no_side_empty(videos, fraction, seed):
    clips = [Clip(str(i), 0, {}, f"v{video}") for i, video in enumerate(videos)]
    train, val = carve(clips, fraction, seed)
    assert sorted(clip.id for clip in (*train, *val)) == sorted(clip.id for clip in clips)
    assert not {clip.group for clip in train} & {clip.group for clip in val}
    if fraction == 0:
        assert not val
    elif len(set(videos)) > 1:
        assert train
        assert val


def test_the_fraction_is_met_on_average_whatever_other_clips_there_are():
    clips = [Clip(str(i), 0, {}, str(i)) for i in range(4000)]
    val = carve(clips, 0.2, 0)[1]
    assert 0.18 < len(val) / 4000 < 0.22
    assert carve(clips[::2], 0.2, 0)[1] == [clip for clip in val if clip in clips[::2]]
    assert carve(clips, 0.2, 1)[1] != val


@pytest.mark.parametrize(
    ("stem", "name", "source"),
    [
        ("abcdefghijk_000030_dog barking_0", "dog barking", "abcdefghijk"),
        ("ab_d_123456_000030_rain_1", "rain", "ab_d_123456"),
        ("ab_de_12345_rain_1", "rain", "ab_de_12345"),
        ("_bcdefghij_000030_rain_0", "rain", "_bcdefghij"),
        ("abcdefghijk_12_rain_0", "rain", "abcdefghijk"),
        ("rain_0", "rain", "rain_0"),
        ("rain", None, "rain"),
    ],
)
def test_class_and_source_video_of_a_name(stem, name, source):
    assert class_of(stem) == name
    assert source_of(stem) == source


def test_files_and_memory_give_the_same_and_workers_too(root):
    kept = open_vggsound(root, modalities=BOTH).splits["train"]
    read = open_vggsound(root, modalities=BOTH, cache_bytes=0).splits["train"]
    assert isinstance(kept, KeptClips)
    assert isinstance(read, ClipSplit)
    (by_worker,) = BatchReader(read, workers=1).read([[4, 0]])
    for split in (kept, read, pickle.loads(pickle.dumps(read))):
        inputs, labels = split.batch([4, 0])
        np.testing.assert_array_equal(by_worker[1].numpy(), labels)
        for name, values in inputs.items():
            np.testing.assert_array_equal(by_worker[0][name].numpy(), values)


def test_a_video_is_shown_by_four_of_its_frames(root):
    shown = open_vggsound(root, modalities=BOTH).splits["test"].pictures(0)
    assert shown["video"].shape == (EDGE, 4 * EDGE, 3)
    assert shown["audio"].shape == (513, 313, 3)


def test_a_class_map_elsewhere(root, tmp_path):
    (root / "vggsound_classes.json").rename(tmp_path / "map.json")
    assert open_vggsound(root, modalities=["audio"], classes=str(tmp_path / "map.json")).n_classes == 3
    with pytest.raises(DataError, match=r"vggsound_classes.json: expected a JSON object .*option `classes`.*No such"):
        open_vggsound(root, modalities=["audio"])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('["rain", "train"]', "found a JSON list"),
        ('{"rain": 0, "train": "1"}', "expected a whole number for class 'train', found '1'"),
        ('{"rain": 0, "train": true}', "expected a whole number for class 'train', found True"),
        ('{"rain": 0, "train": 1.0}', "expected a whole number for class 'train', found 1.0"),
        ('{"rain": 0, "train": 2}', "expected the numbers 0 to 1, each once, found [0, 2]"),
        ('{"rain": 0, "train": 0}', "expected the numbers 0 to 1, each once, found [0, 0]"),
        ("{}", "expected the numbers 0 to 1, each once, found []"),
        ("{", "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_a_class_map_of_another_form(tmp_path, content, text):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_classes(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)


def told(root, **options) -> str:
    problems = check_vggsound(root, modalities=BOTH, thorough=True, **options)
    assert len(problems) == 1, problems
    with pytest.raises(DataError) as caught:
        open_vggsound(root, modalities=BOTH, **options)  # small splits are read at once
    assert str(caught.value) == problems[0]
    data = open_vggsound(root, modalities=BOTH, on_fault="drop", **options)
    assert sum(map(len, data.splits.values())) == 38
    assert data.notes[-1] == "1 clip was dropped for faulty files (train 1)."
    return problems[0]


def test_a_clip_without_its_sound_or_its_video(root, tmp_path):
    shutil.copytree(root, tmp_path / "other")
    (root / "train" / "audio_npy" / f"{FIRST}.npy").unlink()
    path = root / "train" / "video_jpg" / f"{FIRST}.jpg"
    assert told(root) == f"{path}: expected the sound of this clip in train/audio_npy or train/audio, found none"
    (tmp_path / "other" / "train" / "video_jpg" / f"{FIRST}.jpg").unlink()
    path = tmp_path / "other" / "train" / "audio_npy" / f"{FIRST}.npy"
    text = "expected the video of this clip in train/video_jpg or train/video, found none"
    assert told(tmp_path / "other") == f"{path}: {text}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id_00000000_000000_snow_0", "expected a class of the map before the last \"_\", found 'snow'"),
        ("dog barking", "expected a name ..._CLASS_NUMBER, found 'dog barking'"),
    ],
)
def test_labels_outside_of_the_map(root, name, text):
    for folder in ("audio_npy", "video_jpg"):
        (path,) = (root / "train" / folder).glob(f"{FIRST}.*")
        path.rename(path.with_name(name + path.suffix))
    assert told(root).endswith(text)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.ones((2, 900), np.float32), "expected a mono wave (1, T) of real numbers, found float32 of shape (2, 900)"),
        (np.ones((1, 900), complex), "expected a mono wave (1, T) of real numbers, found complex128"),
        (np.zeros((1, 900)), "expected sound, found nothing but silence"),
        (np.full((1, 900), np.nan), "expected finite samples, found NaN or infinity"),
        (np.ones((1, 0)), "expected sound, found an array without samples"),
        (np.ones((1, 512)), "expected more than 512 samples, found 512 (at 16000 Hz)"),
        (np.array([None]), "expected a .npy file of numbers (never pickled objects), found: "),
    ],
)
def test_waves_of_another_form(root, values, text):
    path = root / "train" / "audio_npy" / f"{FIRST}.npy"
    np.save(path, values, allow_pickle=True)
    assert told(root).startswith(f"{path}: {text}")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((FRAMES * EDGE, EDGE + 1), "expected 4 square frames below each other, found an image of 32 x 9"),
        ((FRAMES * EDGE + 1, EDGE), "expected 4 square frames below each other, found an image of 33 x 8"),
        ((FRAMES * 6, 6), "expected 4 frames of 8 x 8 as in the first clip, found 6 x 6 (the option `size`"),
    ],
)
def test_images_of_another_size(root, size, text):
    path = root / "train" / "video_jpg" / f"{clip_name(1, 0, 'dog barking')}.jpg"
    Image.fromarray(picture(0, size)).save(path)
    assert told(root).startswith(f"{path}: {text}")


def test_an_image_that_is_damaged(root):
    path = root / "train" / "video_jpg" / f"{clip_name(1, 0, 'dog barking')}.jpg"
    path.write_bytes(path.read_bytes()[:300])
    assert told(root).startswith(f"{path}: expected a readable image, found: ")


def test_frames_of_two_sizes(tmp_path):
    root = write_vggsound(tmp_path, raw=True)
    path = root / "train" / "video" / FIRST / "f_2.png"
    Image.fromarray(picture(0, (EDGE, EDGE + 1))).save(path)
    text = "expected a frame of 8 x 8 as the others of its video, found 8 x 9"
    assert told(root, size=(EDGE, EDGE)) == f"{path}: {text}"


def test_another_number_of_frames(root):
    with pytest.raises(DataError, match=r"expected 32 square frames below each other, found an image of 32 x 8"):
        open_vggsound(root, modalities=BOTH, frames=32)
    with pytest.raises(DataError, match=r"expected 5 frames of one height below each other, found .* 32 pixels high"):
        open_vggsound(root, modalities=BOTH, frames=5, size=(4, 4))
    data = open_vggsound(root, modalities=BOTH, frames=2, size=(4, 4))
    assert data.modalities["video"] == (3, 2, 4, 4)


def test_no_clips_and_no_videos_to_validate_on(root):
    for path in root.glob("train/*/*"):
        if not path.name.startswith("id_00000004"):
            path.unlink()
    with pytest.raises(DataError, match=r"two source videos in train, .* found one: id_00000004"):
        open_vggsound(root, modalities=BOTH)
    assert len(open_vggsound(root, modalities=BOTH, val_fraction=0).splits["train"]) == 3
    shutil.rmtree(root / "test")
    with pytest.raises(DataError, match=r"expected clips in test/audio_npy, test/audio, .*, found none"):
        open_vggsound(root, modalities=BOTH)
