"""image_folder: files that stand for more than one thing, labels among the inputs, lost marks, default void."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from image_folder_samples import OPTIONS, flat_folder, ids, plain_folder, save
from PIL import Image, PngImagePlugin

from mmablate.data.image_folder.images import resize_image
from mmablate.data.image_folder.marks import COMMENT, GENERATED
from mmablate.data.image_folder.opening import check_image_folder, open_image_folder
from mmablate.data.muses.mini.mark import FRAME_COMMENT, SYNTHETIC_FILE
from mmablate.errors import DataError

SPLITS = ("train", "val")


def refused(root, **options):
    """The lines by which check and open refuse a folder; they must agree."""
    lines = check_image_folder(root, **options)
    with pytest.raises(DataError) as caught:
        open_image_folder(root, **options)
    assert caught.value.problems == lines
    return lines


# Labels among the inputs


def stacks(root, bands=3):
    for split in SPLITS:
        values = np.zeros((2, 2, bands), np.float32)
        values[..., -1] = [[0, 1], [1, 0]]
        save(root / f"{split}/1.npy", values)
    return {"labels": {"files": "{split}/{id}.npy", "channel": bands - 1}, "class_names": ["a", "b"]}


@pytest.mark.parametrize(
    ("bands", "channels", "told"),
    [
        (3, None, "channel 2 holds the labels (name the channels without 2)"),
        (3, [0, 2], "channel 2 holds the labels (take 2 out of the channels)"),
        (1, None, "found the file of the labels: channel 0 holds the labels"),
    ],
)
def test_labels_in_the_file_of_a_modality_are_no_input(tmp_path, bands, channels, told):
    options = stacks(tmp_path, bands)
    own = {"X": {"files": "{split}/{id}.npy", "channels": channels}}
    for on_fault in ("refuse", "drop"):
        lines = refused(tmp_path, modalities=own, **options, on_fault=on_fault)
        assert len(lines) == 2
        assert lines[0].startswith(f"{tmp_path / 'train/1.npy'}: expected inputs of X without the labels, found")
        assert lines[0].endswith(told)


def test_other_channels_of_the_file_of_the_labels_are_inputs(tmp_path):
    options = stacks(tmp_path)
    own = {"X": {"files": "{split}/{id}.npy", "channels": [0, 1]}}
    assert open_image_folder(tmp_path, modalities=own, **options).modalities == {"X": 2}


def test_labels_in_the_transparency_are_no_input_until_it_is_named(tmp_path):
    for split in SPLITS:
        values = np.zeros((2, 2, 4), np.uint8)
        values[0, :, 3] = 1
        save(tmp_path / f"{split}/1.png", values)
    options = {"labels": {"files": "{split}/{id}.png", "channel": 3}, "class_names": ["a", "b"]}
    data = open_image_folder(tmp_path, modalities={"X": {"files": "{split}/{id}.png"}}, **options)
    assert data.modalities == {"X": 3}
    (line, _) = refused(tmp_path, modalities={"X": {"files": "{split}/{id}.png", "channels": [0, 3]}}, **options)
    assert "take 3 out of the channels" in line


@pytest.mark.parametrize("kind", ["palette", "colours"])
def test_colours_of_labels_are_no_input_in_any_channel(tmp_path, kind):
    for split in SPLITS:
        image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("L").convert("P")
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putdata([0, 1, 1, 0])
        (tmp_path / split).mkdir()
        (image if kind == "palette" else image.convert("RGB")).save(tmp_path / split / "1.png")
    colours = {"a": (10, 20, 30), "b": (40, 50, 60)} if kind == "colours" else None
    labels = {"files": "{split}/{id}.png", "colours": colours}
    own = {"X": {"files": "{split}/{id}.png", "channels": [2]}}
    lines = refused(tmp_path, modalities=own, labels=labels, class_names=["a", "b"])
    assert len(lines) == 2
    assert "the labels" in lines[0]


@pytest.mark.parametrize("folder", [True, False])
def test_a_link_to_the_labels_is_no_input(tmp_path, folder):
    plain_folder(tmp_path)
    depth, labels = tmp_path / "depth", tmp_path / "labels"
    for split in SPLITS:
        for path in (depth / split).iterdir():
            path.unlink()
            if not folder:
                path.symlink_to(labels / split / path.name)
        if folder:
            (depth / split).rmdir()
            (depth / split).symlink_to(labels / split)
    lines = refused(tmp_path, **OPTIONS)
    assert lines[0].startswith(f"{depth / 'train/1.png'}: expected inputs of D without the labels")
    assert lines[-1] == "... and 2 more label files among the inputs of D"


# One file in two splits


def test_a_split_that_is_a_link_to_another_is_refused(tmp_path):
    plain_folder(tmp_path, splits=("train",))
    for folder in ("rgb", "depth", "labels"):
        (tmp_path / folder / "val").symlink_to("train")
    lines = refused(tmp_path, **OPTIONS)
    told = f"{tmp_path / 'rgb/val/1.png'}: expected a file of val only, found {tmp_path / 'rgb/train/1.png'}, "
    assert lines[0] == told + "which is in train too"
    assert lines[-1] == "... and 5 more files in two splits"


@pytest.mark.parametrize("role", ["rgb", "labels"])
def test_one_file_that_is_a_link_into_another_split_is_refused(tmp_path, role):
    plain_folder(tmp_path)
    path = tmp_path / role / "val/2.png"
    path.unlink()
    path.symlink_to("../train/10.png")
    for on_fault in ("refuse", "drop"):
        (line,) = refused(tmp_path, **OPTIONS, on_fault=on_fault)
        assert line.startswith(f"{path}: expected a file of val only, found {tmp_path / role / 'train/10.png'}")


def test_equal_masks_in_a_store_by_content_are_no_mixup(tmp_path):
    """git-annex, DVC and others keep equal files once, under the hash of their content, and link to them."""
    plain_folder(tmp_path)
    store = tmp_path / "blobs"
    store.mkdir()
    for split in SPLITS:
        path = save(tmp_path / f"labels/{split}/1.png", np.zeros((4, 6), np.uint8))
        kept = path.rename(store / f"SHA256E-s9--{hashlib.sha256(path.read_bytes()).hexdigest()}.png")
        path.symlink_to(kept)
    assert check_image_folder(tmp_path, **OPTIONS) == []


def test_labels_without_a_split_may_not_serve_two(tmp_path):
    for split in SPLITS:
        save(tmp_path / f"in/{split}/1.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "gt/1.png", np.zeros((2, 2), np.uint8))
    options = {"modalities": {"A": {"files": "in/{split}/{id}.png"}}, "class_names": ["a", "b"]}
    (line,) = refused(tmp_path, labels={"files": "gt/{id}.png"}, **options)
    label = tmp_path / "gt/1.png"
    assert line == f"{label}: expected a file of val only, found {label}, which is in train too"


def test_links_between_samples_of_two_lists_are_refused(tmp_path):
    options = flat_folder(tmp_path, "abc")
    (tmp_path / "t.txt").write_text("a\nb")
    (tmp_path / "v.txt").write_text("c")
    splits = {"train": "t.txt", "val": "v.txt"}
    assert check_image_folder(tmp_path, **options, splits=splits) == []
    (tmp_path / "labels/c.png").unlink()
    (tmp_path / "labels/c.png").symlink_to("a.png")
    (line,) = refused(tmp_path, **options, splits=splits)
    assert line.startswith(f"{tmp_path / 'labels/c.png'}: expected a file of val only")
    (tmp_path / "v.txt").write_text("a")
    (line,) = refused(tmp_path, **options, splits=splits)
    assert "expected samples of val only, found a, which is in train too" in line


# Files of one sample


def test_files_of_one_sample_agree_in_every_placeholder(tmp_path):
    for split in SPLITS:
        for name, weather in (("0", "fog"), ("1", "fog")):
            save(tmp_path / f"rgb/{split}/{weather}/{name}.png", np.zeros((2, 2), np.uint8))
            save(tmp_path / f"ev/{split}/{weather}/{name}.png", np.zeros((2, 2), np.uint8))
            save(tmp_path / f"lab/{split}/{name}.png", np.zeros((2, 2), np.uint8))
    files = {"F": "rgb/{split}/{weather}/{id}.png", "E": "ev/{split}/{weather}/{id}.png"}
    options = {
        "modalities": {name: {"files": text} for name, text in files.items()},
        "labels": {"files": "lab/{split}/{id}.png"},
        "class_names": ["a", "b"],
        "conditions": ["weather"],
    }
    assert check_image_folder(tmp_path, **options) == []
    (tmp_path / "ev/train/rain").mkdir()
    moved = (tmp_path / "ev/train/fog/0.png").rename(tmp_path / "ev/train/rain/0.png")
    (line,) = refused(tmp_path, **options)
    other = "rgb/train/fog/0.png"
    assert line == f"{moved}: expected weather 'fog' as in {other}, a file of the same sample 0, found 'rain'"
    data = open_image_folder(tmp_path, **options, on_fault="drop")
    assert ids(data, "train") == ["train/1"]
    without_split = {**options, "labels": {"files": "lab/train/{id}.png"}, "conditions": ()}
    without_split["modalities"] = {name: {"files": text.replace("{split}", "train")} for name, text in files.items()}
    lines = refused(tmp_path, **without_split, fractions={"train": 0.5, "val": 0.5})
    assert any("expected weather 'fog' as in" in line for line in lines)


def beside(root, names=("0", "1", "2"), roles=("", "_d", "_gt")):
    for split in SPLITS:
        for name in names:
            for role in roles:
                save(root / split / f"{name}{role}.png", np.zeros((2, 2), np.uint8))
    return {
        "modalities": {"R": {"files": "{split}/{id}.png"}, "D": {"files": "{split}/{id}_d.png"}},
        "labels": {"files": "{split}/{id}_gt.png"},
        "class_names": ["a", "b"],
    }


@pytest.mark.parametrize("on_fault", ["refuse", "drop"])
def test_labels_beside_images_are_no_samples_of_their_own(tmp_path, on_fault):
    options = beside(tmp_path)
    assert check_image_folder(tmp_path, **options, on_fault=on_fault) == []
    data = open_image_folder(tmp_path, **options, on_fault=on_fault)
    assert ids(data, "train") == ["train/0", "train/1", "train/2"]
    assert data.notes == ()


@pytest.mark.parametrize(("lost", "told"), [("1.png", "modality R"), ("1_d.png", "modality D"), ("1_gt.png", "labels")])
def test_a_file_that_is_missing_beside_others_is_told_once(tmp_path, lost, told):
    options = beside(tmp_path)
    (tmp_path / "train" / lost).unlink()
    (line,) = refused(tmp_path, **options)
    assert line.startswith(f"{tmp_path / 'train' / lost}: expected ")
    assert told in line
    assert line.endswith("of sample 1, found no file")
    assert ids(open_image_folder(tmp_path, **options, on_fault="drop"), "train") == ["train/0", "train/2"]


def test_an_image_alone_is_a_sample_that_lacks_the_rest(tmp_path):
    options = beside(tmp_path)
    save(tmp_path / "train/7_x.png", np.zeros((2, 2), np.uint8))
    lines = refused(tmp_path, **options)
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / f"train/7_x{role}.png") for role in ("_d", "_gt")]


def test_of_two_files_of_a_sample_the_one_with_the_longer_pattern_is_known(tmp_path):
    """1_gt.png without 1.png: labels that lack their image, not an image that lacks its labels."""
    for split in SPLITS:
        for name in ("0", "1"):
            for role in ("", "_gt"):
                save(tmp_path / split / f"{name}{role}.png", np.zeros((2, 2), np.uint8))
    options = {
        "modalities": {"R": {"files": "{split}/{id}.png"}},
        "labels": {"files": "{split}/{id}_gt.png"},
        "class_names": ["a", "b"],
    }
    (tmp_path / "train/1.png").unlink()
    (line,) = refused(tmp_path, **options)
    assert line == f"{tmp_path / 'train/1.png'}: expected modality R of sample 1, found no file"


# Synthetic marks


def below(folder):
    """The options of `plain_folder` for a root one level above it."""
    return {
        **OPTIONS,
        "modalities": {
            name: {**one, "files": f"{folder}/{one['files']}"} for name, one in OPTIONS["modalities"].items()
        },
        "labels": {"files": f"{folder}/{OPTIONS['labels']['files']}"},
    }


def commented(path):
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", FRAME_COMMENT)
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=note)


@pytest.mark.parametrize("place", ["", "rgb", "rgb/train", "depth/val", "labels"])
def test_the_mark_of_a_generator_is_seen_in_any_folder_of_the_files(tmp_path, place):
    plain_folder(tmp_path / "tree")
    assert not open_image_folder(tmp_path, **below("tree")).synthetic
    (tmp_path / "tree" / place / "SYNTHETIC.json").write_text("{}")
    assert open_image_folder(tmp_path, **below("tree")).synthetic
    (tmp_path / "linked").symlink_to("tree")
    assert open_image_folder(tmp_path, **below("linked")).synthetic


def test_the_mark_is_seen_behind_links(tmp_path):
    plain_folder(tmp_path / "made/tree")
    (tmp_path / "made/tree/SYNTHETIC.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    for folder in ("rgb", "depth", "labels"):
        (tmp_path / "mine" / folder).symlink_to(tmp_path / "made/tree" / folder)
    assert open_image_folder(tmp_path / "mine", **OPTIONS).synthetic


def test_the_mark_is_seen_before_links(tmp_path):
    plain_folder(tmp_path / "store/far")
    (tmp_path / "mine/made").mkdir(parents=True)
    for folder in ("rgb", "depth", "labels"):
        (tmp_path / "mine/made" / folder).symlink_to(tmp_path / "store/far" / folder)
    assert not open_image_folder(tmp_path / "mine", **below("made")).synthetic
    (tmp_path / "mine/made/SYNTHETIC.json").write_text("{}")
    assert open_image_folder(tmp_path / "mine", **below("made")).synthetic


def test_generated_images_in_a_folder_beside_others_are_seen(tmp_path):
    for split, scene in (("train", "a"), ("train", "b"), ("val", "a")):
        for folder in ("in", "gt"):
            save(tmp_path / folder / split / scene / "1.png", np.zeros((2, 2), np.uint8))
    options = {
        "modalities": {"A": {"files": "in/{split}/{scene}/{id}.png"}},
        "labels": {"files": "gt/{split}/{scene}/{id}.png"},
        "class_names": ["a", "b"],
    }
    assert not open_image_folder(tmp_path, **options).synthetic
    commented(tmp_path / "in/train/b/1.png")
    assert open_image_folder(tmp_path, **options).synthetic


@pytest.mark.parametrize("role", ["rgb", "depth", "labels"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_mark_in_the_first_image_is_enough(tmp_path, role, split):
    plain_folder(tmp_path)
    commented(tmp_path / role / split / "1.png")
    assert open_image_folder(tmp_path, **OPTIONS).synthetic


@pytest.mark.parametrize("role", ["", "_d", "_gt"])
def test_generated_images_among_others_in_a_folder_are_seen(tmp_path, role):
    options = beside(tmp_path)
    commented(tmp_path / f"val/0{role}.png")
    assert open_image_folder(tmp_path, **options).synthetic


def test_other_comments_mark_nothing(tmp_path):
    plain_folder(tmp_path)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "not synthetic: measured")
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "rgb/train/1.png", pnginfo=note)
    assert not open_image_folder(tmp_path, **OPTIONS).synthetic


def test_marks_are_those_of_the_generator():
    assert GENERATED == SYNTHETIC_FILE
    assert FRAME_COMMENT.startswith(COMMENT)


# The number that is ignored


MANY = [f"class {i}" for i in range(300)]


def numbers(root, values):
    for split in SPLITS:
        save(root / f"in/{split}/1.png", np.zeros((2, 2), np.uint8))
        save(root / f"gt/{split}/1.png", np.array(values, np.uint16).reshape(2, 2))
    return {"modalities": {"A": {"files": "in/{split}/{id}.png"}}}


@pytest.mark.parametrize(
    ("names", "rule", "what"),
    [
        (MANY, {}, "255"),
        (MANY[:255], {"offset": -1}, "254"),
        (MANY[:2], {"map": {255: 1, 7: 0}}, "1"),
        (MANY, {"void": None}, "255"),
    ],
)
def test_a_class_is_not_ignored_silently(tmp_path, names, rule, what):
    options = numbers(tmp_path, [255] * 4)
    (line,) = refused(tmp_path, **options, class_names=names, labels={"files": "gt/{split}/{id}.png", **rule})
    assert line == f"labels: void: expected to be named, as 255, ignored by default, would be class {what} too"


@pytest.mark.parametrize(("void", "ignored"), [([255], [255]), ([], []), ([299], [299])])
def test_what_is_ignored_may_be_said(tmp_path, void, ignored):
    options = numbers(tmp_path, [255, 299, 0, 254])
    labels = {"files": "gt/{split}/{id}.png", "void": void}
    got = open_image_folder(tmp_path, **options, class_names=MANY, labels=labels).splits["val"].batch([0])[1]
    expected = [65535 if value in ignored else value for value in (255, 299, 0, 254)]
    assert got.reshape(-1).tolist() == expected


def test_255_is_ignored_by_default_where_it_is_no_class(tmp_path):
    options = numbers(tmp_path, [255, 254, 0, 3])
    labels = {"files": "gt/{split}/{id}.png"}
    data = open_image_folder(tmp_path, **options, class_names=MANY[:255], labels=labels)
    assert data.splits["val"].batch([0])[1].reshape(-1).tolist() == [255, 254, 0, 3]


# Ways of resizing


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_sparse_modality_keeps_its_values_when_resized(tmp_path, cache_bytes):
    plain_folder(tmp_path)
    sparse = np.zeros((8, 12), np.uint16)
    sparse[1::4, 2::5] = 60000
    for split in SPLITS:
        for name in ("1", "2", "10"):
            save(tmp_path / f"depth/{split}/{name}.png", sparse)
    options = {**OPTIONS, "size": (4, 6), "normalise": "none", "cache_bytes": cache_bytes}
    blurred = open_image_folder(tmp_path, **options).splits["val"].batch([0])[0]
    data = open_image_folder(tmp_path, **options, resize={"D": "nearest"}).splits["val"]
    inputs = data.batch([0])[0]
    np.testing.assert_array_equal(inputs["D"][0, 0], sparse[1::2, 1::2])  # the pixel after each centre, as of labels
    assert set(np.unique(inputs["D"])) <= {0, 60000}
    assert not set(np.unique(blurred["D"])) <= {0, 60000}
    np.testing.assert_array_equal(inputs["R"], blurred["R"])


def test_nearest_keeps_types_and_channels():
    values = np.arange(2 * 3 * 2, dtype=np.uint16).reshape(2, 3, 2)
    got = resize_image(values, (4, 6), "nearest")
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, values.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("resize", "told"), [({"X": "nearest"}, "found X: nearest"), ({"D": "cubic"}, "D: cubic")])
def test_unknown_ways_of_resizing_are_told(tmp_path, resize, told):
    plain_folder(tmp_path)
    (line,) = refused(tmp_path, **OPTIONS, resize=resize)
    assert line.startswith("resize: expected bilinear or nearest for any of R, D, found ")
    assert told in line
