"""The four published layouts: which clips, labels, splits and values are read."""

from __future__ import annotations

import os

import pytest
from audiovisual_samples import (
    BOTH,
    CHECK,
    EVENTS,
    HOMES,
    OPEN,
    SMALL,
    WRITE,
    cremad_ids,
    ids,
    numbers,
    opened,
    video_id,
    write_ave,
    write_cremad,
    write_frames,
    write_kinetics_sounds,
    write_sound,
    write_vggsound_av,
)
from hypothesis import given
from hypothesis import strategies as st

from mmablate.catalog import find
from mmablate.data.audiovisual.opening import LAYOUTS, open_ave, open_cremad, open_kinetics_sounds, open_vggsound_av
from mmablate.data.carving import deal_speakers
from mmablate.errors import DataError

NAMES = tuple(WRITE)
SIZES = {
    "cremad": {"train": 18, "val": 6, "test": 6},
    "kinetics_sounds": {"train": 12, "test": 6},
    "vggsound_av": {"train": 12, "test": 6},
    "ave": {"train": 8, "val": 4, "test": 4},
}


@pytest.mark.parametrize("name", NAMES)
def test_sound_and_frames_of_every_clip_are_its_own(tmp_path, name):
    root = WRITE[name](tmp_path)
    assert CHECK[name](root, modalities=BOTH, thorough=True, **SMALL) == []
    data = opened(root, name)
    assert data.name == name
    assert {split: len(members) for split, members in data.splits.items()} == SIZES[name]
    assert not data.synthetic
    seen = []
    for split in data.splits.values():
        heard, shown = numbers(split)
        assert heard == shown
        stems = cremad_ids() if name == "cremad" else [video_id(number) for number in range(18)]
        assert all(stems[number] in clip for number, clip in zip(heard, ids(split), strict=True))
        _, labels = split.batch(range(len(split)))
        assert labels.tolist() == split.labels_of(range(len(split))).tolist()
        seen += heard
    assert sorted(seen) == list(range(sum(SIZES[name].values())))


@pytest.mark.parametrize("name", NAMES)
def test_the_root_may_be_the_set_itself_or_the_folder_above(tmp_path, name):
    WRITE[name](tmp_path)
    above, below = opened(tmp_path, name), opened(tmp_path / HOMES[name], name)
    assert [ids(above.splits[s]) for s in above.splits] == [ids(below.splits[s]) for s in below.splits]
    files = find("dataset", name).files
    own = sorted(str(path) for path in files(tmp_path / HOMES[name], {}))
    assert sorted(str(path) for path in files(tmp_path, {})) == own
    assert all(str(path) in own or any(str(path) == os.path.dirname(file) for file in own) for path in above.content)
    with pytest.raises(DataError, match=f"expected the folder {HOMES[name]}, or .* found none of them"):
        opened(tmp_path / HOMES[name] / "nothing", name)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_of_catalogue_and_code_are_the_same(name):
    (layout,) = [layout for layout in LAYOUTS if layout.name == name]
    reading = layout.reading({})
    options = find("dataset", name).options()
    told = options.model_dump()
    assert {key: getattr(reading, key) for key in told} == told
    assert {"split", "test_fraction"} >= {key for key in vars(reading) if key not in told}
    with pytest.raises(TypeError, match="colour"):
        layout.reading({"colour": 1})


@pytest.mark.parametrize(
    ("name", "shape", "frames"),
    [
        ("cremad", (1, 257, 188), 1),
        ("kinetics_sounds", (1, 129, 626), 3),
        ("vggsound_av", (1, 129, 626), 3),
        ("ave", (1, 224, 224), 4),
    ],
)
def test_published_shapes(tmp_path, name, shape, frames):
    data = OPEN[name](WRITE[name](tmp_path), modalities=BOTH, cache_bytes=0)
    assert data.modalities == {"audio": shape, "visual": (3, frames, 224, 224)}
    inputs, _ = data.splits["test"].batch([0])
    assert inputs["audio"].shape == (1, *shape)


# --- CREMA-D ----------------------------------------------------------------------------------------------


def test_cremad_is_split_by_speaker(tmp_path):
    root = write_cremad(tmp_path)
    data = opened(root, "cremad")
    assert data.class_names == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
    actors = {name: {clip[:4] for clip in ids(split)} for name, split in data.splits.items()}
    assert sorted(map(len, actors.values())) == [1, 1, 3]
    assert len(set().union(*actors.values())) == 5
    assert data.notes == ("Split by speaker: 3 actors train, 1 validate, 1 test.",)
    assert data.splits["test"].labels_of(range(6)).tolist() == [5, 4, 3, 1, 0, 2]  # by id: ANG DIS FEA HAP NEU SAD
    assert {tuple(ids(opened(root, "cremad", split_seed=seed).splits["test"])) for seed in range(9)} != {
        tuple(ids(data.splits["test"]))
    }
    assert "val" not in opened(root, "cremad", val_fraction=0).splits
    for path in (root / "CREMA-D").glob("*.csv"):
        path.unlink()
    without = opened(root, "cremad")
    assert [ids(split) for split in without.splits.values()] == [ids(split) for split in data.splits.values()]
    with pytest.raises(DataError, match=r"expected speakers for each split \(4 to test, 1 to validate .*found 5"):
        opened(root, "cremad", test_fraction=0.8)


@given(st.sets(st.text("0123456789", min_size=4, max_size=4), min_size=3, max_size=40), st.integers(0, 3))
def test_speakers_are_dealt_whatever_others_there_are(speakers, seed):
    dealt = deal_speakers(speakers, 0.2, 0.3, seed)
    counts = [list(dealt.values()).count(split) for split in ("train", "val", "test")]
    assert set(dealt) == speakers
    assert min(counts) >= 1
    assert counts[2] == max(1, round(0.3 * len(speakers)))
    if len(speakers) > 3:  # one speaker less: nobody moves by more than the ends of the splits do
        order = sorted(speakers, key=lambda name: ("test", "val", "train").index(dealt[name]))
        fewer = deal_speakers(set(order[:-1]), 0.2, 0.3, seed)
        assert sum(fewer[name] != dealt[name] for name in fewer) <= 2


def test_the_published_split_of_cremad(tmp_path):
    root = write_cremad(tmp_path)
    home = root / "CREMA-D"
    rows = [f"{name},{name.split('_')[2]}\r\n" for name in cremad_ids()]
    (home / "train.csv").write_bytes(("\ufeff" + "".join(rows[:12] + rows[18:])).encode())  # BOM and CRLF
    (home / "test.csv").write_bytes("".join(rows[12:18]).encode())
    data = opened(root, "cremad", split="published", val_fraction=0.25)
    assert ids(data.splits["test"]) == cremad_ids()[12:18]
    assert len(data.splits["train"]) + len(data.splits["val"]) == 24
    assert len(data.splits["val"]) > 0
    assert data.notes == (
        "Published split: 0 of the 1 speakers of test are in train too.",
        f"Validation: {len(data.splits['val'])} of the 24 training clips.",
    )
    (home / "test.csv").write_text("".join(rows[::5]))
    (home / "train.csv").write_text("".join(row for i, row in enumerate(rows) if i % 5))
    assert "5 of the 5 speakers of test are in train too" in opened(root, "cremad", split="published").notes[0]
    (home / "test.csv").unlink()
    with pytest.raises(DataError, match=r"expected the lists test.csv \(option `lists`\), found none"):
        opened(root, "cremad")


def test_too_few_clips_to_validate_on_are_called_clips(tmp_path):
    root = write_cremad(tmp_path)
    name = cremad_ids()[0]
    (root / "CREMA-D" / "train.csv").write_text(f"{name},NEU\n")
    (root / "CREMA-D" / "test.csv").write_text(f"{cremad_ids()[6]},NEU\n")
    with pytest.raises(DataError, match=f"expected two clips in train, one to validate on .* found one: {name}"):
        opened(root, "cremad", split="published", val_fraction=0.5)


def test_lists_elsewhere(tmp_path):
    root = write_cremad(tmp_path / "media")
    folder = tmp_path / "dataset" / "data"
    folder.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (root / "CREMA-D" / name).rename(folder / name)
    data = opened(root, "cremad", split="published", lists="../dataset/data", val_fraction=0)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 18, "test": 12}
    files = find("dataset", "cremad").files(root, {"lists": "../dataset/data"})
    assert len(files) == 30 + 60 + 2
    assert len(data.content) == 30 + 30 + 2
    with pytest.raises(DataError, match=r"elsewhere: expected a folder of lists \(option `lists`\), found none"):
        opened(root, "cremad", lists="elsewhere")
    with pytest.raises(DataError, match=r"expected the lists train.csv and test.csv \(option `lists`\)"):
        opened(root, "cremad", split="published")


# --- Kinetics-Sounds --------------------------------------------------------------------------------------


def test_classes_are_numbered_by_class_txt_however_they_are_spelt(tmp_path):
    data = opened(write_kinetics_sounds(tmp_path), "kinetics_sounds")
    assert data.class_names == ("tap_dancing", "playing guitar", "blowing_nose")
    for split in data.splits.values():
        heard, _ = numbers(split)
        assert split.labels_of(range(len(split))).tolist() == [(1, 0, 2)[number % 3] for number in heard]
    assert data.notes == ()
    (tmp_path / "kinect_sound" / "class.txt").unlink()
    assert opened(tmp_path, "kinetics_sounds").class_names == ("blowing nose", "playing guitar", "tap dancing")


def test_one_class_a_line_with_a_byte_order_mark(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    (root / "kinect_sound" / "class.txt").write_bytes(
        b"\xef\xbb\xbfblowing nose\r\ntap  dancing\r\n\r\nPlaying_Guitar\r\n"
    )
    assert opened(root, "kinetics_sounds").class_names == ("blowing nose", "tap  dancing", "Playing_Guitar")


def test_folders_of_other_classes_are_left_out_with_a_note(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    write_sound(root / "kinect_sound" / "audio" / "train" / "juggling" / "a.wav", 3)
    data = opened(root, "kinetics_sounds")
    assert data.notes == ("1 folder of classes that class.txt does not list was left out: juggling.",)
    assert sum(map(len, data.splits.values())) == 18


# --- VGGSound ---------------------------------------------------------------------------------------------


def test_vggsound_by_one_list_or_two(tmp_path):
    root = write_vggsound_av(tmp_path)
    home = root / "vggsound"
    whole = opened(root, "vggsound_av")
    assert whole.class_names == ("dog barking", "people eating, chewing", "train horn")
    assert ids(whole.splits["test"]) == [f"{video_id(number)}_{number:06d}" for number in range(12, 18)]
    assert whole.splits["train"].labels_of(range(3)).tolist() == [1, 0, 2]
    lines = [line.split(",", 2) for line in (home / "vggsound.csv").read_text().splitlines()]
    for split in ("train", "test"):
        rows = [f"{i}_{int(s):06d}.mp4,{r.removesuffix(',' + split)}\n" for i, s, r in lines if r.endswith(split)]
        (home / f"{split}.csv").write_text("".join(rows))
    both = opened(root, "vggsound_av")
    (home / "vggsound.csv").unlink()
    parts = opened(root, "vggsound_av")
    for data in (both, parts):
        assert data.class_names == whole.class_names
        assert [ids(split) for split in data.splits.values()] == [ids(split) for split in whole.splits.values()]
        assert data.notes == ()
    (home / "train.csv").unlink()
    with pytest.raises(DataError, match=r"expected vggsound.csv, or train.csv and test.csv \(option `lists`\)"):
        opened(root, "vggsound_av")


def test_validation_is_carved_out_of_train_by_video(tmp_path):
    root = write_vggsound_av(tmp_path)
    data = open_vggsound_av(root, modalities=BOTH, val_fraction=0.3, **SMALL)
    n = len(data.splits["val"])
    assert len(data.splits["train"]) == 12 - n < 12
    assert data.notes == (f"Validation: {n} of the 12 training clips, those of {n} source videos.",)
    assert not set(ids(data.splits["val"])) & set(ids(data.splits["test"]))
    again = open_vggsound_av(root, modalities=["audio"], val_fraction=0.3, **SMALL)
    assert ids(again.splits["val"]) == ids(data.splits["val"])


def test_seconds_with_fewer_zeros_are_the_same_clip(tmp_path):
    root = write_vggsound_av(tmp_path)
    path = root / "vggsound" / "audio" / "train-audios" / "train-set" / f"{video_id(3)}_000003.wav"
    path.rename(path.with_name(f"{video_id(3)}_3.wav"))
    heard, seen = numbers(opened(root, "vggsound_av").splits["train"])
    assert heard == seen == list(range(12))


# --- AVE --------------------------------------------------------------------------------------------------


def test_ave_has_a_validation_split_and_numbers_classes_by_its_test_list(tmp_path):
    root = write_ave(tmp_path)
    home = root / "AVE_Dataset"
    data = opened(root, "ave", val_fraction=0.5)
    assert data.class_names == EVENTS
    assert data.notes == ()
    lines = (home / "testSet.txt").read_text().splitlines()
    header = "Category&VideoID&Quality&StartTime&EndTime"
    (home / "testSet.txt").write_bytes("\ufeff{}\r\n".format("\r\n".join([header, *lines[::-1]])).encode())
    assert opened(root, "ave").class_names == EVENTS[::-1]
    assert opened(root, "ave").splits["test"].labels_of(range(4)).tolist() == [0, 1, 0, 1]
    (home / "valSet.txt").unlink()
    carved = open_ave(root, modalities=BOTH, val_fraction=0.4, **SMALL)
    assert len(carved.splits["val"]) + len(carved.splits["train"]) == 8
    assert carved.notes[1].startswith("Validation: ")
    assert carved.notes[0] == "Files of clips that no list names were left out (audio 4, visual 4)."


def test_a_modality_by_another_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="modalities: cremad has audio, visual, not video"):
        open_cremad(write_cremad(tmp_path), modalities=["audio", "video"])


def test_a_single_modality_needs_no_files_of_the_other(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    write_frames(root / "kinect_sound" / "visual" / "train_img" / "Image-01-FPS" / "tap dancing" / "more", 1)
    data = open_kinetics_sounds(root, modalities=["audio"], val_fraction=0, **SMALL)
    assert data.modalities == {"audio": (1, 33, 17)}
    assert len(data.splits["train"]) == 12
