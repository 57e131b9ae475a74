"""image_folder: what is wrong with options and files is told, by path, at once; faulty samples can be dropped."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from image_folder_samples import LABEL, OPTIONS, RGB, flat_folder, ids, plain_folder, save
from PIL import Image

from mmablate.data.image_folder.opening import check_image_folder, open_image_folder
from mmablate.errors import DataError


def modalities(files, channels=None):
    return {"R": {"files": files, "channels": channels}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"modalities": modalities("../rgb/{split}/{id}.png")}, "modalities: R: files: expected a path below the root"),
        ({"modalities": modalities("/rgb/{split}/{id}.png")}, "modalities: R: files: expected a path below the root"),
        ({"labels": {"files": "labels/../../{split}/{id}.png"}}, "labels: files: expected a path below the root"),
        ({"labels": {"files": "labels/{split}/{id}.jpg"}}, "without loss (PNG, TIFF, npy), found JPEG"),
        ({"labels": {"files": "labels/{split}/{id}.gif"}}, "ends in one of .png"),
        ({"modalities": modalities(RGB, [-1])}, "channels: expected numbers from 0, found [-1]"),
        ({"modalities": {}}, "expected at least one modality"),
        ({"labels": {"files": "labels/{split}/{name}.png"}}, "a placeholder such as {id} that all patterns have"),
        ({"conditions": ["weather"]}, "conditions: expected placeholders of the patterns (id), found 'weather'"),
        ({"conditions": ["split"]}, "found 'split'"),
        ({"fractions": {"train": 0.5, "val": 0.5}}, "without {split} beside splits by fractions"),
        ({"splits": {"train": "a.txt", "val": "b.txt"}}, "without {split} beside splits by list files"),
        ({"splits": {"train": "train", "val": "b.txt"}}, "folder names for all or list files for all"),
        ({"splits": {"train": "../a.txt", "val": "/b.txt"}}, "splits: train: expected a path below the root"),
        ({"splits": {"train": "train", "val": "train"}}, "expected different folders"),
        ({"splits": {"train": "train"}}, "found no val"),
        ({"splits": {"train": "train", "val": "a/b"}}, "names of single folders"),
        ({"class_names": ["one"]}, "class_names: expected two or more"),
        ({"labels": {"files": LABEL, "map": {7: 3}}}, "map: expected classes 0..2"),
        ({"labels": {"files": LABEL, "void": [[0, 0, 0]]}}, "void: expected numbers"),
        ({"labels": {"files": LABEL, "colours": {"sky": [1, 2, 3]}, "offset": 1}}, "neither channel, offset nor map"),
        ({"labels": {"files": LABEL, "colours": {"sky": [1, 2, 3]}, "void": [0]}}, "void: expected colours"),
        ({"labels": {"files": LABEL, "colours": {"sky": [1, 2, 3], "car": [1, 2, 3]}}}, "found twice: [(1, 2, 3)]"),
        ({"normalise": {"X": "unit"}}, "for each of R, D, found X: unit"),
        ({"normalise": "whiten"}, "found R: whiten"),
    ],
)  # fmt: skip
def test_options_at_fault_are_told(tmp_path, changes, told):
    plain_folder(tmp_path)
    lines = check_image_folder(tmp_path, **{**OPTIONS, **changes})
    assert any(told in line for line in lines), lines
    with pytest.raises(DataError) as caught:
        open_image_folder(tmp_path, **{**OPTIONS, **changes})
    assert caught.value.problems == lines


def test_patterns_without_any_way_to_split_are_told(tmp_path):
    (line,) = check_image_folder(tmp_path, **flat_folder(tmp_path, "ab"))
    assert "expected {split} in a pattern, list files in `splits`, or `fractions`" in line


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_no_folder(tmp_path, place):
    (tmp_path / "file").write_text("")
    (line,) = check_image_folder(tmp_path / place, **OPTIONS)
    assert line.startswith(f"{tmp_path / place}: expected a folder, found")


def test_no_files(tmp_path):
    lines = check_image_folder(tmp_path, **OPTIONS)
    assert len(lines) == 3
    assert all("found none that match" in line or "No such file" in line for line in lines)


PLANTED = {
    "rgb/train/1.png": "expected a readable image",
    "depth/train/2.png": "expected a readable image, found: ",
    "labels/train/3.png": "expected labels in a format without loss, found JPEG",
    "rgb/train/4.png": "expected 4 x 6 pixels, found 2 x 2",
    "depth/train/5.png": "expected 16-bit values as in 1.png, found 8-bit values",
    "rgb/train/6.png": "expected 3 channels as in 2.png, found 1 channels",
    "labels/train/7.png": "expected classes 0..2, or void, found 9 (3 pixels)",
    "depth/train/8.png": "expected modality D of sample 8, found no file",
    "labels/train/9.png": "expected the labels of sample 9, found no file",
    "rgb/val/10.png": "expected 8 bits a channel where there are several, found 16",
}


def faulty_folder(root):
    """One fault in each sample of PLANTED and none in train/11, train/12, val/11 and val/12."""
    names = [str(i) for i in range(1, 13)]
    plain_folder(root, names=names, size=(4, 6))
    stream = np.random.default_rng(5)
    (root / "rgb/train/1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    noise = save(root / "depth/train/2.png", stream.integers(0, 65536, (4, 6)).astype(np.uint16))
    whole = noise.read_bytes()
    noise.write_bytes(whole[: whole.index(b"IDAT") + 24])
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(root / "labels/train/3.png", format="JPEG")
    save(root / "rgb/train/4.png", np.zeros((2, 2, 3), np.uint8))
    save(root / "depth/train/5.png", np.zeros((4, 6), np.uint8))
    save(root / "rgb/train/6.png", np.zeros((4, 6), np.uint8))
    labels = np.zeros((4, 6), np.uint8)
    labels[0, :3] = 9
    save(root / "labels/train/7.png", labels)
    (root / "depth/train/8.png").unlink()
    (root / "labels/train/9.png").unlink()
    header = bytearray((root / "rgb/val/10.png").read_bytes())
    header[24] = 16
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (root / "rgb/val/10.png").write_bytes(bytes(header))


def test_every_planted_fault_is_named_at_once(tmp_path):
    faulty_folder(tmp_path)
    lines = check_image_folder(tmp_path, **OPTIONS, thorough=True)
    for path, told in PLANTED.items():
        assert [line for line in lines if line.startswith(f"{tmp_path / path}: ") and told in line], (path, told, lines)
    assert len(lines) == len(PLANTED)
    assert not any("/11.png" in line.split(":")[0] or "/12.png" in line.split(":")[0] for line in lines)
    quick = check_image_folder(tmp_path, **OPTIONS)
    unread = {"depth/train/2.png", "labels/train/7.png"}
    assert {line.split(": ")[0] for line in quick} == {str(tmp_path / p) for p in PLANTED if p not in unread}


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_faulty_samples_are_refused_or_dropped(tmp_path, cache_bytes):
    faulty_folder(tmp_path)
    with pytest.raises(DataError) as caught:
        open_image_folder(tmp_path, **OPTIONS, cache_bytes=cache_bytes)
    assert str(tmp_path / "depth/train/8.png") in str(caught.value)
    assert check_image_folder(tmp_path, **OPTIONS, on_fault="drop") == []
    data = open_image_folder(tmp_path, **OPTIONS, on_fault="drop", cache_bytes=cache_bytes)
    assert ids(data, "train") == ["train/10", "train/11", "train/12"]
    assert ids(data, "val") == [f"val/{i}" for i in (*range(1, 10), 11, 12)]
    assert data.notes == ("10 of 24 samples were left out for faulty files (train 9, val 1).",)
    data.splits["train"].batch(range(3))
    data.splits["val"].batch(range(11))
    assert tmp_path / "rgb/train/10.png" in data.content
    assert tmp_path / "rgb/train/4.png" not in data.content


def test_pixels_at_fault_are_told_when_a_split_is_read_from_files(tmp_path):
    plain_folder(tmp_path)
    labels = np.zeros((4, 6), np.uint8)
    labels[1, 1] = 77
    save(tmp_path / "labels/val/10.png", labels)
    data = open_image_folder(tmp_path, **OPTIONS, cache_bytes=0)
    with pytest.raises(DataError, match=r"labels/val/10.png: expected classes 0\.\.2, or void, found 77 \(1 pixels\)"):
        data.splits["val"].labels_of([2])
    with pytest.raises(DataError, match="found 77"):
        open_image_folder(tmp_path, **OPTIONS)
    (tmp_path / "rgb/train/2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"rgb/train/2.png: expected a readable image"):
        data.splits["train"].batch([1])
    with pytest.raises(DataError, match=r"rgb/train/2.png: expected a readable image"):
        data.splits["train"].pictures(1)


def test_infinite_values_are_told(tmp_path):
    for split in ("train", "val"):
        values = np.zeros((3, 4, 2), np.float32)
        values[2, 1, 1] = np.nan
        save(tmp_path / f"in/{split}/1.npy", values)
        save(tmp_path / f"gt/{split}/1.png", np.zeros((3, 4), np.uint8))
    options = {"labels": {"files": "gt/{split}/{id}.png"}, "class_names": ["a", "b"]}
    lines = check_image_folder(tmp_path, modalities={"A": {"files": "in/{split}/{id}.npy"}}, **options, thorough=True)
    assert len(lines) == 2
    assert "found 1 NaN or infinite (the first at row 2, column 1)" in lines[0]
    unused = {"A": {"files": "in/{split}/{id}.npy", "channels": [0]}}
    assert check_image_folder(tmp_path, modalities=unused, **options, thorough=True) == []


def test_many_alike_are_counted(tmp_path):
    plain_folder(tmp_path, names=[str(i) for i in range(20)])
    for i in range(3, 20):
        (tmp_path / f"depth/train/{i}.png").unlink()
    lines = check_image_folder(tmp_path, **OPTIONS)
    assert len(lines) == 5
    assert lines[0].startswith(str(tmp_path / "depth/train/3.png"))
    assert lines[-1] == "... and 13 more missing files of D in train"


def test_a_test_split_that_nobody_named_may_lack_labels_when_dropping(tmp_path):
    plain_folder(tmp_path, splits=("train", "val", "test"))
    for path in (tmp_path / "labels/test").iterdir():
        path.unlink()
    assert len(check_image_folder(tmp_path, **OPTIONS)) == 3
    data = open_image_folder(tmp_path, **OPTIONS, on_fault="drop")
    assert list(data.splits) == ["train", "val"]
    assert data.notes == ("3 of 9 samples were left out for faulty files (test 3).",)
    named = {name: name for name in ("train", "val", "test")}
    with pytest.raises(DataError, match="test: expected samples without a fault"):
        open_image_folder(tmp_path, **OPTIONS, on_fault="drop", splits=named)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("l.txt", b"a\nmissing\n", "expected samples that have files, found 'missing', which has none"),
        ("l.txt", b"", "expected samples of train, found none"),
        ("l.txt", b"\xff\xfe\0", "in UTF-8, found other bytes"),
        ("l.csv", b"name\na\n", "expected a column id, found ['name']"),
        ("l.csv", b"", "expected a column id, found []"),
        ("l.csv", b"id\nc\n", "found 'c', which has none"),
        ("l.yaml", b"{", "expected a list in yaml"),
        ("l.yaml", b"a: 1", "expected a list of samples"),
        ("l.yaml", b"!!python/object/apply:os.system [c]", "found 'c', which has none"),
        ("l.yaml", b"[" * 1500, "expected a list in yaml"),
        ("gone.txt", None, "expected a list of samples, found: No such file"),
    ],
)
def test_lists_at_fault_are_told(tmp_path, name, content, told):
    options = flat_folder(tmp_path, "ab")
    (tmp_path / "v.txt").write_text("b")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    lines = check_image_folder(tmp_path, **options, splits={"train": name, "val": "v.txt"})
    assert any(line.startswith(f"{tmp_path / name}: ") and told in line for line in lines), lines


def test_a_value_of_two_conditions_is_told(tmp_path):
    for split in ("train", "val"):
        for where in ("a/b", "b/c"):
            for folder in ("in", "gt"):
                save(tmp_path / f"{folder}/{split}/{where}.png", np.zeros((2, 2), np.uint8))
    options = {
        "modalities": {"A": {"files": "in/{split}/{x}/{y}.png"}},
        "labels": {"files": "gt/{split}/{x}/{y}.png"},
        "class_names": ["k", "l"],
        "conditions": ["x", "y"],
    }
    (line,) = check_image_folder(tmp_path, **options)
    assert line == "conditions: expected no value in two of them, found 'b' in ['x', 'y']"


def test_damaged_bytes_never_raise_anything_else(tmp_path):
    """Bytes flipped anywhere in a file give a line or a different image, no other error."""
    stream = np.random.default_rng(0)
    for suffix in ("png", "tif", "jpg", "npy"):
        root = tmp_path / suffix
        path = f"in/{{split}}/{{id}}.{suffix}"
        for split in ("train", "val"):
            save(root / f"in/{split}/1.{suffix}", stream.integers(0, 256, (9, 9)).astype(np.uint8))
            save(root / f"gt/{split}/1.png", np.zeros((9, 9), np.uint8))
        options = {
            "modalities": {"A": {"files": path}},
            "labels": {"files": "gt/{split}/{id}.png"},
            "class_names": ["a", "b"],
        }
        target = root / f"in/train/1.{suffix}"
        whole = target.read_bytes()
        told = 0
        for _ in range(60):
            damaged = bytearray(whole)
            for place in stream.integers(0, min(len(whole), 150), 3):
                damaged[place] ^= int(stream.integers(1, 256))
            target.write_bytes(bytes(damaged))
            lines = check_image_folder(root, **options, thorough=True)
            told += bool(lines)
            assert all(isinstance(line, str) and "\n" not in line for line in lines)
        assert told > 10
