"""What is wrong with a folder of RAVDESS is told with file, rule and value; nothing is read past it in silence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from clip_samples import (
    features,
    picture,
    ravdess_line,
    ravdess_names,
    wave,
    write_ravdess_arrays,
    write_ravdess_media,
    write_table,
)
from PIL import Image
from scipy.io import wavfile

from mmablate.data.ravdess.opening import check_ravdess, open_ravdess
from mmablate.errors import DataError

BOTH = ("audio", "image")
FIRST = ravdess_names()[0]


@pytest.fixture
def arrays(tmp_path):
    return write_ravdess_arrays(tmp_path)


@pytest.fixture
def media(tmp_path):
    return write_ravdess_media(tmp_path)


def told(root, **options) -> str:
    """The one fault of a folder, told by the check and by opening alike, whatever is read first."""
    problems = check_ravdess(root, modalities=BOTH, thorough=True, **options)
    assert len(problems) == 1, problems
    with pytest.raises(DataError) as caught:
        open_ravdess(root, modalities=BOTH, **options)  # small splits are read at once
    assert problems[0].startswith(str(caught.value))
    return problems[0]


def dropped(root, count: int = 1, **options) -> None:
    """The fault of one clip can be left out, with a note."""
    data = open_ravdess(root, modalities=BOTH, on_fault="drop", **options)
    assert sum(map(len, data.splits.values())) == 12 - count
    assert f"{count} clip{' was' if count == 1 else 's were'} dropped" in data.notes[-1]


def test_sound_samples(arrays, tmp_path_factory):
    assert check_ravdess(arrays, modalities=BOTH, thorough=True) == []
    other = write_ravdess_media(tmp_path_factory.mktemp("media"))
    assert check_ravdess(other, modalities=BOTH, thorough=True) == []


def test_arrays_or_media(arrays, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match="aud_features, vid_features and data_file, or Actor_XX, found neither"):
        open_ravdess(empty, modalities=BOTH)
    write_ravdess_media(arrays)
    with pytest.raises(DataError, match="found both; say `layout: arrays`"):
        open_ravdess(arrays, modalities=BOTH)
    assert len(open_ravdess(arrays, modalities=BOTH, layout="media", size=(4, 4)).splits["train"]) == 8
    assert open_ravdess(arrays, modalities=BOTH, layout="arrays").modalities["audio"] == (1, 4, 9)


@pytest.mark.parametrize(
    ("file", "what"), [(f"aud_features/03-{FIRST}.npy", "the sound"), (f"vid_features/01-{FIRST}.png", "the picture")]
)
def test_a_row_without_its_file(arrays, file, what):
    (arrays / file).unlink()
    assert told(arrays) == f"{arrays / file}: expected {what} of {arrays}/data_file/spa_dl.csv, line 2, found no file"
    dropped(arrays)


@pytest.mark.parametrize("missing", ["sound", "picture"])
def test_a_clip_of_media_without_its_other_half(media, missing):
    folder = media / f"Actor_{FIRST[-2:]}"
    if missing == "sound":
        (folder / f"03-{FIRST}.wav").unlink()
        left = folder / f"02-{FIRST}"
    else:
        shutil.rmtree(folder / f"02-{FIRST}")
        left = folder / f"03-{FIRST}.wav"
    assert told(media) == f"{left}: expected the {missing} of this clip too, found none"
    dropped(media)


@pytest.mark.parametrize("label", ["8", "-1", "1.5", "happy", "", "²"])
def test_labels_outside_of_0_to_7(arrays, label):
    line = ravdess_line(FIRST).rsplit(",", 1)[0]
    path = write_table(arrays, "train", [f"{line},{label}", *map(ravdess_line, ravdess_names()[2::2])])
    if label.lstrip("-").isascii():
        assert f"{path}, line 2: expected a label from 0 to 7, found {label!r}" in told(arrays)
    else:
        assert "expected a label from 0 to 7" in told(arrays)


def test_a_table_without_its_columns(arrays):
    path = write_table(arrays, "val", ["a.npy,1"], header="audio,label")
    text = "expected a header row of at least three columns (npy name, image name, label), found ['audio', 'label']"
    assert told(arrays) == f"{path}: {text}"


def test_a_table_without_its_header(arrays):
    lines = list(map(ravdess_line, ravdess_names()[1::4]))
    path = write_table(arrays, "val", lines[1:], header=lines[0])
    assert told(arrays) == f"{path}: expected a header row first, found the data {lines[0]}"


def test_a_row_that_is_too_short(arrays):
    path = write_table(arrays, "val", ["a.npy,b.png", *map(ravdess_line, ravdess_names()[1::4])])
    assert told(arrays) == f"{path}, line 2: expected three columns (npy name, image name, label), found 2"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"audio,image,label\n"])
def test_a_table_of_nothing(arrays, content):
    path = arrays / "data_file" / "spa_val.csv"
    path.write_bytes(content)
    assert told(arrays).startswith(f"{path}: expected")


def test_a_missing_table(arrays):
    (arrays / "data_file" / "spa_val.csv").unlink()
    assert "spa_val.csv: expected a csv file, found: No such file" in told(arrays)


@pytest.mark.parametrize("name", ["../03.npy", "/etc/passwd", "a/../../b.npy", "..\\x.npy", "C:\\x.npy", ""])
def test_paths_that_leave_the_folder(arrays, name):
    line = f"{name},01-{FIRST}.png,0"
    path = write_table(arrays, "train", [line, *map(ravdess_line, ravdess_names()[2::2])])
    assert told(arrays) == f"{path}, line 2: expected a name below its folder, found {name!r}"


def test_sound_and_picture_of_two_actors(arrays):
    line = f"03-{FIRST}.npy,01-{ravdess_names()[2]}.png,0"
    path = write_table(arrays, "train", [line, *map(ravdess_line, ravdess_names()[2::2])])
    assert told(arrays).startswith(f"{path}, line 2: expected sound and picture of one actor and emotion")


def test_a_label_of_two_emotions(arrays):
    line = ravdess_line(ravdess_names()[1]).rsplit(",", 1)[0] + ",0"
    path = write_table(arrays, "val", [line, *map(ravdess_line, ravdess_names()[5::4])])
    assert f"{path}, line 2: expected label 0 for neutral as in" in told(arrays)


def test_a_row_that_stands_twice(arrays):
    path = write_table(arrays, "val", map(ravdess_line, [*ravdess_names()[1::4], ravdess_names()[1]]))
    assert f"{path}, line 5: expected each clip once in a table" in told(arrays)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (features(0).astype(np.float64), "expected a 2-D float32 array, found float64 of shape (4, 9)"),
        (features(0).astype(np.int16), "expected a 2-D float32 array, found int16 of shape (4, 9)"),
        (features(0)[None], "expected a 2-D float32 array, found float32 of shape (1, 4, 9)"),
        (features(0)[:0], "expected a 2-D float32 array, found float32 of shape (0, 9)"),
        (np.array([{"a": 1}], dtype=object), "expected a .npy file of float32 (never pickled objects), found: "),
        (features(0, (4, 8)), "expected 4 x 9 as most others, found 4 x 8 (the option `audio_size`"),
        (np.where(features(0) > 0, np.nan, features(0)), "expected finite numbers, found NaN or infinity"),
    ],
)
def test_arrays_of_another_form(arrays, values, text):
    path = arrays / "aud_features" / f"03-{FIRST}.npy"
    np.save(path, values, allow_pickle=True)
    assert told(arrays).startswith(f"{path}: {text}")
    dropped(arrays)


@pytest.mark.parametrize("keep", [0, 5, 60, 200])
def test_an_array_that_is_cut_short(arrays, keep):
    path = arrays / "aud_features" / f"03-{FIRST}.npy"
    path.write_bytes(path.read_bytes()[:keep])
    assert told(arrays).startswith(f"{path}: expected a .npy file of float32")


def test_an_image_of_another_size(arrays):
    path = arrays / "vid_features" / f"01-{FIRST}.png"
    Image.fromarray(picture(0, (6, 11))).save(path)
    assert told(arrays).startswith(f"{path}: expected 6 x 10 as most others, found 6 x 11 (the option `size`")
    dropped(arrays)
    data = open_ravdess(arrays, modalities=BOTH, size=(3, 5), audio_size=(2, 3))
    assert data.modalities == {"audio": (1, 2, 3), "image": (3, 3, 5)}


@pytest.mark.parametrize("keep", [0, 20, 150])
def test_an_image_that_is_damaged(arrays, keep):
    path = arrays / "vid_features" / f"01-{FIRST}.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert told(arrays).startswith(f"{path}: expected a readable image, found: ")
    dropped(arrays)


@pytest.mark.parametrize("name", ["03-01-01-01-01-01.wav", "hello.wav", "03-01-01-01-01-01-30.wav"])
def test_names_of_media_without_seven_fields(media, name):
    wavfile.write(media / "Actor_01" / name, 22_050, wave(0).astype(np.float32))
    text = "expected a name of seven fields (modality-channel-emotion-intensity-statement-repetition-actor) of actor 01"
    assert told(media) == f"{media}/Actor_01/{name}: {text}, found {name}"


def test_a_clip_in_the_folder_of_another_actor(media):
    (media / "Actor_01" / f"03-{FIRST}.wav").rename(media / "Actor_02" / f"03-{FIRST}.wav")
    problems = check_ravdess(media, modalities=BOTH)
    assert problems[0].startswith(f"{media}/Actor_02/03-{FIRST}.wav: expected a name of seven fields")
    assert len(problems) == 2  # the picture is alone then


def test_a_clip_that_is_there_twice(media):
    shutil.copytree(media / "Actor_01", media / "again" / "Actor_01")
    assert "expected each clip once, found" in check_ravdess(media, modalities=BOTH)[0]


def test_a_silent_wav_is_told_by_its_name(media):
    path = media / "Actor_01" / f"03-{FIRST}.wav"
    wavfile.write(path, 22_050, np.zeros(1000, np.int16))
    assert told(media, size=(6, 10)) == f"{path}: expected sound, found nothing but silence"
    dropped(media, size=(6, 10))


def test_many_faults_of_one_kind_are_counted(arrays):
    for path in (arrays / "aud_features").iterdir():
        path.unlink()
    problems = check_ravdess(arrays, modalities=BOTH)
    assert len(problems) == 3
    assert problems[-1].endswith("(... and 9 more like it)")


def test_too_few_speakers(arrays):
    with pytest.raises(DataError, match=r"speakers for each split \(4 for val and 5 for test, .*\), found 6 in all"):
        open_ravdess(arrays, modalities=BOTH, val_actors=4, test_actors=5)


def test_nothing_left_of_a_split(arrays):
    for path in (arrays / "aud_features").glob("*-06.npy"):
        path.unlink()
    with pytest.raises(DataError, match="expected sound clips of the split test, found none"):
        open_ravdess(arrays, modalities=BOTH, on_fault="drop", val_actors=[5], test_actors=[6])
