"""What lists and folders of audio-visual sets may hide: lost rows, classes nobody trains on, videos in two splits."""

from __future__ import annotations

import shutil

import pytest
from audiovisual_samples import (
    BOTH,
    CHECK,
    KS_CLASSES,
    SMALL,
    WRITE,
    audio_file,
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

from mmablate.errors import DataError


def append(path, line: str) -> None:
    path.write_text((path.read_text() if path.exists() else "") + f"{line}\n")


def told(root, name, **options) -> str:
    """The message."""
    with pytest.raises(DataError) as caught:
        opened(root, name, **options)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "file", "line", "bad"),
    [
        ("cremad", "CREMA-D/train.csv", 4, '"1001_IEO_FEA_XX,FEA'),
        ("cremad", "CREMA-D/train.csv", 4, '1001_IEO_FEA_XX,"FEA'),
        ("vggsound_av", "vggsound/vggsound.csv", 7, '_v-00000006,6,"people eating, chewing,train'),
    ],
)
def test_an_open_quote_swallows_no_rows(tmp_path, name, file, line, bad):
    root = WRITE[name](tmp_path)
    lines = (root / file).read_text().splitlines()
    lines[line - 1] = bad
    (root / file).write_text("\n".join(lines))
    assert f"{root / file}: line {line}: expected quotes that end on their line" in told(root, name, missing="drop")


def test_a_list_that_cannot_be_read_is_told_whatever_else_is_wrong(tmp_path):
    root = write_cremad(tmp_path)
    lists = root / "CREMA-D"
    (lists / "test.csv").write_text(
        "".join(f"{1001 + i}_IEO_{e}_XX,{e}\n" for i, e in enumerate(("NEU", "HAP", "SAD")))
    )
    (lists / "train.csv").write_bytes("1001_IEO_NEU_XX,NEU\n".encode("utf-16"))
    message = told(root, "cremad")
    assert f"{lists / 'train.csv'}: expected a csv file" in message
    assert "expected the same classes" in message


def test_an_empty_list_of_cremad_is_a_fault(tmp_path):
    root = write_cremad(tmp_path)
    path = root / "CREMA-D" / "train.csv"
    shutil.copy(path, root / "CREMA-D" / "test.csv")
    path.write_text("\n")
    assert told(root, "cremad") == f"{path}: expected lines ID,EMO, found none"


def test_an_empty_validation_list_is_told_by_its_name(tmp_path):
    root = write_ave(tmp_path)
    path = root / "AVE_Dataset" / "valSet.txt"
    path.write_text("")
    text = f"{root / 'AVE_Dataset'}: expected clips of val ({path}), found none"
    assert CHECK["ave"](root, modalities=BOTH, **SMALL) == [text]
    assert told(root, "ave", val_fraction=0.1) == text


@pytest.mark.parametrize(
    ("file", "bad"), [("vggsound.csv", "_v-00000003,3,,train"), ("test.csv", "_v-00000012_000012.mp4,")]
)
def test_a_blank_label_of_vggsound_is_no_class(tmp_path, file, bad):
    root = write_vggsound_av(tmp_path)
    append(root / "vggsound" / file, bad)
    message = "\n".join(CHECK["vggsound_av"](root, modalities=BOTH, **SMALL))
    assert f"{root / 'vggsound' / file}, line" in message
    assert repr(bad) in message


def test_a_class_that_lost_all_its_training_clips_is_refused(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    (root / "kinect_sound" / "audio" / "train" / "tap_dancing").rename(root / "kinect_sound/audio/train/tapdancing")
    message = told(root, "kinetics_sounds", missing="drop")
    place = root / "kinect_sound"
    assert message == (
        f"{place}: expected training clips of every class, found none of tap_dancing: all were dropped for a missing "
        "modality"
    )
    assert CHECK["kinetics_sounds"](root, modalities=BOTH, missing="drop", **SMALL) == [message]


def test_a_class_whose_training_clips_are_all_faulty_is_refused(tmp_path):
    root = write_kinetics_sounds(tmp_path)
    for number in range(1, 12, 3):
        audio_file(root, "kinetics_sounds", number).write_bytes(b"RIFF")
    message = told(root, "kinetics_sounds", on_fault="drop")
    assert message == (
        f"{root}: expected training clips of every class, found none of tap_dancing: all were dropped for faulty files"
    )


@pytest.mark.parametrize("name", ["kinetics_sounds", "vggsound_av"])
def test_source_videos_in_two_splits_are_noted(tmp_path, name):
    root = WRITE[name](tmp_path)
    assert not any("source video" in note for note in opened(root, name).notes)
    if name == "kinetics_sounds":
        clip = f"{video_id(0)}_000040_000050"
        write_sound(root / "kinect_sound/audio/test" / KS_CLASSES[0].replace(" ", "_") / f"{clip}.wav", 18)
        write_frames(root / "kinect_sound/visual/val_img/Image-01-FPS" / KS_CLASSES[0] / clip, 18)
    else:
        clip = f"{video_id(0)}_000040"
        write_sound(root / "vggsound/audio/test-audios/test-set" / f"{clip}.wav", 18)
        write_frames(root / "vggsound/video/test-set-img/Image-01-FPS" / f"{clip}.mp4", 18)
        append(root / "vggsound/vggsound.csv", f'{video_id(0)},40,"people eating, chewing",test')
    note = "1 source video has clips in train and in another split, as the set ships them."
    assert note in opened(root, name).notes


@pytest.mark.parametrize("missing", ["refuse", "drop", "mask"])
def test_a_class_without_any_file_of_a_modality_is_refused(tmp_path, missing):
    """The folder of a class under another name would be a class of its own, which zeros tell."""
    root = write_kinetics_sounds(tmp_path, listed=False)
    home = root / "kinect_sound"
    for split in ("train", "test"):
        (home / "audio" / split / "tap_dancing").rename(home / "audio" / split / "tapping")
    with pytest.raises(DataError) as caught:
        opened(root, "kinetics_sounds", missing=missing)
    assert caught.value.problems == [
        f"{home}: expected the sound of every class, found none of 'tap dancing' in "
        "audio/train/tap dancing or audio/test/tap dancing",  # clips of one id count for the first class alone
    ]
    assert CHECK["kinetics_sounds"](root, modalities=BOTH, missing=missing, **SMALL) == caught.value.problems


VIDEOS = {
    "cremad": "CREMA-D/VideoFlash/{}.flv",
    "ave": "AVE_Dataset/AVE/{}.mp4",
    "vggsound_av": "vggsound/train-videos/train-set/{}.mp4",
    "kinetics_sounds": "kinect_sound/visual/train/tap_dancing/{}.mp4",
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", tuple(WRITE))
def test_an_empty_folder_of_frames_hides_no_video(tmp_path, name, beside):
    """Neither in another place nor beside the folder."""
    root = WRITE[name](tmp_path)
    folder = visual_folder(root, name, 1)
    for path in folder.iterdir():
        path.unlink()
    stem = folder.name.removesuffix(".mp4")
    video = folder.with_name(f"{stem}.webm") if beside else root / VIDEOS[name].format(stem)
    video.parent.mkdir(parents=True, exist_ok=True)
    video.write_bytes(b"a video")
    assert CHECK[name](root, modalities=BOTH, **SMALL) == []
    write_frames(folder, 1)  # frames come first
    assert any(1 in numbers(split)[1] for split in opened(root, name).splits.values())
