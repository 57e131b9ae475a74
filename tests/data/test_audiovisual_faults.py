"""What is wrong with a set is told, counted and never misaligns the rest."""

from __future__ import annotations

import numpy as np
import pytest
from audiovisual_samples import (
    BOTH,
    CHECK,
    RATE,
    SMALL,
    WRITE,
    audio_file,
    cremad_ids,
    ids,
    numbers,
    opened,
    video_id,
    visual_folder,
    write_ave,
    write_cremad,
    write_frames,
    write_kinetics_sounds,
    write_sound,
    write_vggsound_av,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from mmablate.catalog import find
from mmablate.data.audiovisual.listing import AUDIO, VISUAL, Listed, Listing, class_key, settle
from mmablate.data.audiovisual.pairing import pair
from mmablate.errors import DataError

NAMES = tuple(WRITE)


def total(data) -> int:
    return sum(map(len, data.splits.values()))


def remove(path) -> None:
    for child in path.iterdir() if path.is_dir() else ():
        child.unlink()
    path.rmdir() if path.is_dir() else path.unlink()


# --- a modality that is missing ---------------------------------------------------------------------------


@pytest.mark.parametrize("modality", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_a_clip_without_one_of_its_files_never_shifts_the_others(tmp_path, name, modality):
    root = WRITE[name](tmp_path)
    before = total(opened(root, name))
    remove(audio_file(root, name, 1) if modality == "audio" else visual_folder(root, name, 1))
    lines = CHECK[name](root, modalities=BOTH, **SMALL)
    what = "the sound" if modality == "audio" else "frames or a video"
    assert len(lines) == 1
    assert f": expected {what} of " in lines[0]
    assert lines[0].endswith("found none (the option `missing` can `drop` such clips or `mask` what they lack)")
    for fault in ("refuse", "drop"):
        with pytest.raises(DataError) as caught:
            opened(root, name, on_fault=fault)
        assert caught.value.problems == lines
    data = opened(root, name, missing="drop")
    assert total(data) == before - 1
    for split in data.splits.values():
        heard, seen = numbers(split)
        assert heard == seen
        assert 1 not in heard
    (note,) = [note for note in data.notes if "missing" in note]
    where = "test" if "test 1" in note else "train"
    assert note == f"1 clip was dropped for a missing modality ({where} 1 without {modality})."


def test_masked_clips_stay_with_zeros(tmp_path):
    root = write_ave(tmp_path)
    full = opened(root, "ave", standardise=True)
    remove(audio_file(root, "ave", 2))
    remove(visual_folder(root, "ave", 3))
    remove(audio_file(root, "ave", 9))
    remove(audio_file(root, "ave", 13))
    remove(visual_folder(root, "ave", 13))
    data = opened(root, "ave", missing="mask")
    assert data.notes[0] == (
        "Missing modalities are zeros (train 1 without audio, 1 without visual; val 1 without audio; "
        "test 1 without audio, 1 without visual), and 1 clip without any was dropped."
    )
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8, "val": 4, "test": 3}
    inputs, labels = data.splits["train"].batch(range(8))
    np.testing.assert_array_equal(labels, full.splits["train"].labels_of(range(8)))
    assert [not values.any() for values in inputs["audio"]] == [n == 2 for n in range(8)]
    assert [not values.any() for values in inputs["visual"]] == [n == 3 for n in range(8)]
    scaled = opened(root, "ave", missing="mask", standardise=True).splits["train"].batch(range(8))[0]
    assert not scaled["audio"][2].any()
    np.testing.assert_allclose(scaled["audio"][[0, 1, 3, 4, 5, 6, 7]].mean(), 0, atol=1e-4)  # masked ones do not count
    assert not data.splits["train"].pictures(2)["audio"].any()
    assert data.splits["train"].pictures(2)["audio"].shape == (33, 17, 3)
    assert data.splits["train"].pictures(2)["visual"].any()


def test_an_empty_folder_of_frames_is_none(tmp_path):
    root = write_vggsound_av(tmp_path)
    folder = visual_folder(root, "vggsound_av", 4)
    for path in folder.iterdir():
        path.unlink()
    (folder / "notes.txt").write_text("no frame")
    with pytest.raises(DataError, match="expected frames or a video of _v-00000004_000004 in video/SPLIT-set-img/"):
        opened(root, "vggsound_av")
    heard, seen = numbers(opened(root, "vggsound_av", missing="drop").splits["train"])
    assert heard == seen == [n for n in range(12) if n != 4]


def test_many_missing_clips_are_counted_by_modality_and_split(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    for number in (0, 1, 2, 3, 4, 12):
        remove(audio_file(root, "kinetics_sounds", number))
    for number in (4, 5, 13):
        remove(visual_folder(root, "kinetics_sounds", number))
    with pytest.raises(DataError) as caught:
        opened(root, "kinetics_sounds")
    assert [line.rpartition("(")[2] for line in caught.value.problems if "more like it" in line] == [
        "... and 2 more like it)"
    ]
    data = opened(root, "kinetics_sounds", missing="drop")
    told = "train 4 without audio, 1 without visual; test 1 without audio, 1 without visual"
    assert data.notes[0] == f"7 clips were dropped for a missing modality ({told})."  # clip 4 left no trace
    for split in data.splits.values():
        heard, seen = numbers(split)
        assert heard == seen


def test_runs_of_one_modality_read_all_where_a_clip_may_be_dropped(tmp_path):
    entry = find("dataset", "cremad")
    assert not entry.together({"missing": "refuse", "on_fault": "refuse"})
    assert entry.together({"missing": "drop", "on_fault": "refuse"})
    assert entry.together({"missing": "mask", "on_fault": "refuse"})
    assert entry.together({"missing": "refuse", "on_fault": "drop"})


def test_nothing_left_is_an_error(tmp_path):
    root = write_ave(tmp_path)
    for number in range(12, 16):
        remove(audio_file(root, "ave", number))
    with pytest.raises(DataError, match="expected sound clips of the split test, found none"):
        opened(root, "ave", missing="drop")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), st.sampled_from(["drop", "mask"]))
def test_pairs_are_those_of_one_id(there, policy):
    files = {AUDIO: {}, VISUAL: {}}
    rows = []
    for number, (heard, seen) in enumerate(there):
        rows.append(Listed(str(number), "a", "train", "g", "list", str(number)))
        for name, has in ((AUDIO, heard), (VISUAL, seen)):
            if has:
                files[name][str(number)] = name / __import__("pathlib").Path(f"{number}.x")
    listing = Listing(home=None, clips=rows, classes={"a": "a"}, files=files, looked={}, sources={})
    found = pair(listing, (AUDIO, VISUAL), policy)
    wanted = [n for n, each in enumerate(there) if (all(each) if policy == "drop" else any(each))]
    assert [int(clip.id) for _, clip in found] == wanted
    for _, clip in found:
        assert {path.stem for path in clip.files.values()} == {clip.id}
    assert bool(listing.notes) == (not all(map(all, there)))


# --- files that cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda root: audio_file(root, "ave", 5).write_bytes(b"RIFF"), "expected a wav file of PCM or float samples"),
        (lambda root: audio_file(root, "ave", 5).write_bytes(b""), "expected a wav file of PCM or float samples"),
        (
            lambda root: wavfile.write(audio_file(root, "ave", 5), RATE, np.full(900, np.nan, np.float32)),
            "expected finite samples, found NaN or infinity",
        ),
        (
            lambda root: (visual_folder(root, "ave", 5) / "00002.png").write_bytes(b"\x89PNG\r\n"),
            "expected a readable image",
        ),
    ],
)
def test_unreadable_files(tmp_path, damage, text):
    root = write_ave(tmp_path)
    damage(root)
    assert CHECK["ave"](root, modalities=BOTH, **SMALL) == []  # by the names alone
    (line,) = CHECK["ave"](root, modalities=BOTH, thorough=True, **SMALL)
    assert text in line
    with pytest.raises(DataError, match=text):
        opened(root, "ave")
    with pytest.raises(DataError, match=text):
        opened(root, "ave", cache_bytes=0).splits["train"].batch(range(8))
    data = opened(root, "ave", on_fault="drop")
    assert data.notes == ("1 clip was dropped for faulty files (train 1).",)
    heard, seen = numbers(data.splits["train"])
    assert heard == seen == [0, 1, 2, 3, 4, 6, 7]


# --- lists ------------------------------------------------------------------------------------------------


def test_classes_that_differ_between_train_and_test_are_one_error(tmp_path):
    root = write_vggsound_av(tmp_path)
    path = root / "vggsound" / "vggsound.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.replace('"train horn",test', "Ship Horn,test") for line in lines))
    (line,) = CHECK["vggsound_av"](root, modalities=BOTH)
    assert line.endswith(
        "vggsound: expected the same classes in train and test, found in "
        f"{path} (train) but not in {path} (test): train horn; in {path} (test) but not in {path} (train): Ship Horn"
    )
    path.write_text(path.read_text().replace("Ship Horn", "Train_Horn"))
    assert opened(root, "vggsound_av").n_classes == 3  # another spelling is the same class


def test_classes_that_differ_in_ave_and_kinetics_sounds(tmp_path):
    path = write_ave(tmp_path / "a") / "a" / "AVE_Dataset" / "testSet.txt"
    path = tmp_path / "a" / "AVE_Dataset" / "testSet.txt"
    path.write_text(path.read_text().replace("Church bell", "Clock"))
    with pytest.raises(
        DataError, match=r"same classes .*trainSet.txt but not in .*testSet.txt: Church bell; in .*: Clock"
    ):
        opened(tmp_path / "a", "ave")
    root = write_kinetics_sounds(tmp_path / "k")
    for number in (12, 15):
        remove(audio_file(root, "kinetics_sounds", number))
        remove(visual_folder(root, "kinetics_sounds", number))
    with pytest.raises(DataError, match="in the folders of train but not in the folders of test: playing guitar"):
        opened(root, "kinetics_sounds", missing="drop")


def test_a_misnamed_class_is_never_read_as_another(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    home = root / "kinect_sound"
    (home / "audio" / "train" / "tap_dancing").rename(home / "audio" / "train" / "tap_dancng")
    with pytest.raises(DataError, match=r"expected the sound of .* in audio/train/CLASS"):
        opened(root, "kinetics_sounds")
    data = opened(root, "kinetics_sounds", missing="mask")
    assert "1 folder of classes that class.txt does not list was left out: tap_dancng." in data.notes
    (home / "class.txt").write_text("tap dancing, playing guitar, blowing noses")
    text = "expected a folder of each class of .*class.txt, found none of blowing noses; folders of no listed class: "
    with pytest.raises(DataError, match=text + "blowing nose, blowing_nose, tap_dancng"):
        opened(root, "kinetics_sounds")
    (home / "class.txt").write_text("tap dancing, playing guitar, tap_dancing")
    with pytest.raises(DataError, match="expected each class once, found 'tap dancing' and 'tap_dancing'"):
        opened(root, "kinetics_sounds")


@pytest.mark.parametrize(
    ("name", "file", "line", "text"),
    [
        ("cremad", "CREMA-D/train.csv", "1001_IEO_NEU_XX,HAP", "expected the emotion NEU that the id"),
        ("cremad", "CREMA-D/train.csv", "1001_IEO_JOY_XX,JOY", "expected an id ACTOR_SENTENCE_EMO_LEVEL"),
        ("cremad", "CREMA-D/train.csv", "../../etc/passwd,HAP", "expected an id ACTOR_SENTENCE_EMO_LEVEL"),
        ("cremad", "CREMA-D/train.csv", "1001_IEO_NEU_XX", "expected ID,EMO, found '1001_IEO_NEU_XX'"),
        ("ave", "AVE_Dataset/trainSet.txt", "Church bell,_v-00000000", "expected Category&VideoID&Quality"),
        ("vggsound_av", "vggsound/vggsound.csv", "abc,x,dog barking,train", "expected id,start,label,split"),
        ("vggsound_av", "vggsound/vggsound.csv", "abc,1,dog barking,dev", "expected id,start,label,split"),
        ("vggsound_av", "vggsound/vggsound.csv", "abc,²,dog barking,train", "expected id,start,label,split"),
    ],
)
def test_lines_of_another_form(tmp_path, name, file, line, text):
    root = WRITE[name](tmp_path)
    path = root / file
    number = len(path.read_text().splitlines()) + 1
    path.write_text(f"{path.read_text()}{line}\n")
    (told,) = CHECK[name](root, modalities=BOTH, **SMALL)
    assert told.startswith(f"{path}, line {number}: {text}")
    with pytest.raises(DataError):
        opened(root, name, missing="drop", on_fault="drop")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cremad", "CREMA-D/train.csv"),
        ("kinetics_sounds", "kinect_sound/class.txt"),
        ("vggsound_av", "vggsound/vggsound.csv"),
        ("ave", "AVE_Dataset/trainSet.txt"),
    ],
)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00bad", b""])
def test_lists_that_cannot_be_read(tmp_path, name, file, content):
    root = WRITE[name](tmp_path)
    (root / file).write_bytes(content)
    told = (
        CHECK[name](root, modalities=BOTH, split="published")
        if name == "cremad"
        else CHECK[name](root, modalities=BOTH)
    )
    assert told
    assert str(root / file) in " ".join(told)


def test_a_clip_in_two_lists_is_tested_alone(tmp_path):
    root = write_ave(tmp_path)
    home = root / "AVE_Dataset"
    for name in ("train", "val"):
        path = home / f"{name}Set.txt"
        path.write_text(path.read_text() + f"Church bell&{video_id(12)}&good&0&10\n")
    path = home / "testSet.txt"
    path.write_text(path.read_text() + f"Violin, fiddle&{video_id(14)}&good&0&10\n")
    data = opened(root, "ave")
    assert [ids(split) for split in data.splits.values()] == [
        [video_id(n) for n in range(8)],
        [video_id(n) for n in range(8, 12)],
        [video_id(n) for n in range(12, 16)],
    ]
    assert data.splits["test"].labels_of(range(4)).tolist() == [0, 1, 0, 1]
    assert data.notes == (
        "1 row names a clip again, 1 of them with another class; the first one counts.",
        "2 clips are listed in two splits; they stay in test (or val) alone.",
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["train", "val", "test"])), max_size=12))
def test_every_clip_is_left_once_and_in_its_strictest_split(rows):
    listing = Listing(
        home=None,
        clips=[Listed(str(clip), "a", split, "g", "list", f"{split}/{clip}") for clip, split in rows],
        classes={},
        files={},
        looked={},
        sources={},
    )
    settle(listing)
    left = {clip.id: clip.split for clip in listing.clips}
    assert len(left) == len(listing.clips)
    for clip, _ in rows:
        named = {split for other, split in rows if other == clip}
        assert left[str(clip)] == next(split for split in ("test", "val", "train") if split in named)


def test_files_of_no_list_are_counted(tmp_path):
    root = write_cremad(tmp_path)
    write_sound(root / "CREMA-D" / "AudioWAV" / "1001_TIE_HAP_XX.wav", 3)
    write_frames(root / "CREMA-D" / "Image-01-FPS" / "1001_TIE_HAP_XX", 3)
    write_frames(root / "CREMA-D" / "Image-01-FPS" / "1001_TIE_SAD_XX", 3)
    assert opened(root, "cremad").notes[1] == "Files of clips that no list names were left out (audio 1, visual 2)."
    for path in (root / "CREMA-D").glob("*.csv"):
        path.unlink()
    with pytest.raises(DataError, match="expected the sound of 1001_TIE_SAD_XX in AudioWAV, found none"):
        opened(root, "cremad")
    assert total(opened(root, "cremad", missing="drop")) == 31


@given(st.text())
def test_keys_of_classes_are_keys_of_themselves(name):
    assert class_key(class_key(name)) == class_key(name)
    assert class_key(name.replace("_", " ")) == class_key(name)


def test_spellings_of_a_class():
    assert class_key("Playing_ Guitar ") == class_key("playing  guitar") == "playing guitar"
    assert class_key("playing guitars") != class_key("playing guitar")


def test_too_few_videos_to_validate_on(tmp_path):
    home = tmp_path / "vggsound"
    rows = [(video, second, label) for video in ("one", "two") for second, label in ((1, "a"), (2, "b"))]
    for number, (video, second, _) in enumerate(rows):
        split = "train" if video == "one" else "test"
        name = f"{video}_{second:06d}"
        write_sound(home / "audio" / f"{split}-audios" / f"{split}-set" / f"{name}.wav", number)
        write_frames(home / "video" / f"{split}-set-img" / "Image-01-FPS" / name, number)
    lines = [f"{v},{s},{label},{'train' if v == 'one' else 'test'}\n" for v, s, label in rows]
    (home / "vggsound.csv").write_text("".join(lines))
    for seed in range(4):
        with pytest.raises(DataError, match=r"two source videos in train, one to validate on .* found one: one"):
            opened(tmp_path, "vggsound_av", val_fraction=0.5, split_seed=seed)
    assert total(opened(tmp_path, "vggsound_av")) == 4


def test_a_single_class_is_none(tmp_path):
    root = write_ave(tmp_path)
    for path in (root / "AVE_Dataset").glob("*.txt"):
        path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if "bell" in line))
    with pytest.raises(DataError, match="expected at least two classes, found 1: Church bell"):
        opened(root, "ave")


def test_cremad_ids_are_the_written_ones():
    assert len(set(cremad_ids())) == 30
