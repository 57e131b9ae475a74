"""image_folder: whole folders in several layouts, splits, scaling, memory and files, conditions."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from image_folder_samples import (
    DELIVER_CONDITIONS,
    OPTIONS,
    deliver_folder,
    flat_folder,
    ids,
    plain_folder,
    save,
)
from PIL import Image
from project import ROOT

from mmablate.data.base import Described, LabelReader, Pictured
from mmablate.data.image_folder.opening import check_image_folder, open_image_folder
from mmablate.errors import DataError
from mmablate.recipe.reading import read_yaml


def standardised(images, key, train):
    """Standardised by hand in float64, (C, H, W)."""
    values = images[key].astype(np.float64).reshape(*images[key].shape[:2], -1)
    pool = np.concatenate([one[key].astype(np.float64).reshape(-1, values.shape[2]) for one in train])
    return np.moveaxis((values - pool.mean(0)) / pool.std(0), -1, 0)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_plain_folder(tmp_path, cache_bytes):
    written = plain_folder(tmp_path, splits=("train", "val", "test"))
    assert check_image_folder(tmp_path, **OPTIONS, thorough=True) == []
    data = open_image_folder(tmp_path, **OPTIONS, cache_bytes=cache_bytes)
    assert data.modalities == {"R": 3, "D": 1}
    assert list(data.splits) == ["train", "val", "test"]
    assert data.ignore_label == 255
    assert (data.synthetic, data.attribution, data.colours, data.notes) == (False, None, None, ())
    assert set(data.content) == set(tmp_path.rglob("*.png"))
    assert ids(data, "val") == ["val/1", "val/2", "val/10"]
    train = [images for (split, _), images in written.items() if split == "train"]
    for split, got in data.splits.items():
        assert all(isinstance(got, skill) for skill in (Described, LabelReader, Pictured))
        assert got.shape == (4, 6)
        inputs, labels = got.batch([2, 0])
        for i, name in enumerate(("10", "1")):
            images = written[split, name]
            np.testing.assert_allclose(inputs["R"][i], standardised(images, "rgb", train), atol=1e-5)
            np.testing.assert_allclose(inputs["D"][i], standardised(images, "depth", train), atol=1e-5)
            np.testing.assert_array_equal(labels[i], images["labels"])
        assert inputs["R"].dtype == np.float32
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(got.labels_of([2, 0]), labels)
        pictures = got.pictures(0)
        np.testing.assert_array_equal(pictures["R"], written[split, "1"]["rgb"])
        assert pictures["D"].dtype == np.uint8
        assert pictures["D"].shape == (4, 6, 3)
        assert len(np.unique(pictures["D"])) > 10


def test_memory_and_files_agree_and_files_can_be_pickled(tmp_path):
    plain_folder(tmp_path)
    kept = open_image_folder(tmp_path, **OPTIONS, size=(3, 5), cache_bytes=1 << 30).splits["train"]
    read = open_image_folder(tmp_path, **OPTIONS, size=(3, 5), cache_bytes=0).splits["train"]
    assert type(kept) is not type(read)
    copy = pickle.loads(pickle.dumps(read))
    for split in (read, copy):
        inputs, labels = split.batch([1, 2])
        for name, values in kept.batch([1, 2])[0].items():
            np.testing.assert_array_equal(inputs[name], values)
        np.testing.assert_array_equal(labels, kept.batch([1, 2])[1])
        assert split.describe(2) == kept.describe(2)
    kept.batch([0])[1][...] = 7
    assert kept.batch([0])[1].max() != 7  # arrays belong to the caller


def test_deliver_layout_by_the_shipped_recipe(tmp_path):
    deliver_folder(tmp_path)
    options = dict(read_yaml(ROOT / "recipes" / "deliver_losses.yaml").data["data"])
    del options["name"]
    options["modalities"] = {name: {"files": text, "channels": None} for name, text in options["modalities"].items()}
    lines = check_image_folder(tmp_path, **options)
    assert len(lines) == 5
    assert "found 16 x 16 (`size` brings" in lines[0]
    assert "11 more" in lines[-1]
    data = open_image_folder(tmp_path, **options, size=(32, 32))
    assert data.n_classes == 25
    assert data.modalities == {"R": 3, "D": 3, "E": 3, "L": 1}
    first = data.splits["train"].describe(0)
    assert first.id == "train/cloud/MAP_1_point100/045050"
    assert {data.splits["test"].describe(i).conditions["condition"] for i in range(5)} == set(DELIVER_CONDITIONS)
    inputs, labels = data.splits["train"].batch([0])
    where = "cloud/train/MAP_1_point100/045050"
    rgb = np.asarray(data.splits["train"].pictures(0)["R"], dtype=np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(inputs["R"][0], np.moveaxis((rgb / 255 - mean) / std, -1, 0), atol=1e-5)
    with Image.open(tmp_path / f"event/{where}_event_front.png") as image:
        events = np.asarray(image).repeat(2, 0).repeat(2, 1)  # no value that the event camera did not give
    np.testing.assert_allclose(inputs["E"][0], np.moveaxis(events / 255, -1, 0), atol=1e-6)
    assert inputs["D"].min() >= 0
    assert inputs["D"].max() <= 1
    with Image.open(tmp_path / f"semantic/{where}_semantic_front.png") as image:
        red = np.asarray(image)[..., 0].astype(int)
    assert labels[0, 0, 0] == labels[0, 0, 1] == 255
    valid = (red != 0) & (red != 255)
    np.testing.assert_array_equal(labels[0][valid], red[valid] - 1)
    assert set(np.unique(labels)) <= {*range(25), 255}


def test_channels_of_one_stack(tmp_path):
    stream = np.random.default_rng(0)
    for split in ("train", "val"):
        values = stream.normal(size=(4, 4, 5)).astype(np.float32)
        values[..., 4] = stream.integers(0, 2, (4, 4))
        save(tmp_path / split / "scene.npy", values)
    stack = "{split}/{id}.npy"
    options = {
        "modalities": {"A": {"files": stack, "channels": [2, 0]}, "B": {"files": stack, "channels": [1, 1, 1]}},
        "labels": {"files": stack, "channel": 4},
        "class_names": ["no", "yes"],
        "normalise": {"A": "none"},
    }
    assert check_image_folder(tmp_path, **options, thorough=True) == []
    data = open_image_folder(tmp_path, **options)
    inputs, labels = data.splits["val"].batch([0])
    np.testing.assert_array_equal(inputs["A"][0], np.moveaxis(values[..., [2, 0]], -1, 0))
    np.testing.assert_array_equal(inputs["B"][0, 0], inputs["B"][0, 2])
    np.testing.assert_array_equal(labels[0], values[..., 4])
    options["modalities"]["B"]["channels"] = [5]
    (line, _) = check_image_folder(tmp_path, **options)
    assert "expected a channel 5, found 5 channels" in line


def test_labels_in_colours(tmp_path):
    colours = {"sky": (0, 0, 255), "road": (128, 64, 128)}
    painted = np.array([[colours["sky"], colours["road"]], [(0, 0, 0), colours["road"]]], dtype=np.uint8)
    for split in ("train", "val"):
        save(tmp_path / f"in/{split}/1.png", np.zeros((2, 2), np.uint8))
        save(tmp_path / f"gt/{split}/1.png", painted)
    options = {
        "modalities": {"A": {"files": "in/{split}/{id}.png"}},
        "labels": {"files": "gt/{split}/{id}.png", "colours": colours, "void": [[0, 0, 0]]},
    }
    data = open_image_folder(tmp_path, **options)
    assert data.class_names == ("sky", "road")
    assert data.colours == ((0, 0, 255), (128, 64, 128))
    assert data.splits["val"].batch([0])[1].tolist() == [[[0, 1], [255, 1]]]
    turned = open_image_folder(tmp_path, **options, class_names=("road", "sky"))
    assert turned.colours == ((128, 64, 128), (0, 0, 255))
    assert turned.splits["val"].batch([0])[1].tolist() == [[[1, 0], [255, 0]]]
    options["labels"] = {"files": "gt/{split}/{id}.png", "colours": colours}
    lines = check_image_folder(tmp_path, **options, thorough=True)
    assert len(lines) == 2
    assert "found (0, 0, 0) (1 pixels)" in lines[0]
    with pytest.raises(DataError, match=r"found \(0, 0, 0\)"):
        open_image_folder(tmp_path, **options)
    options["labels"] |= {"others": "void"}
    assert open_image_folder(tmp_path, **options).splits["val"].batch([0])[1][0, 1, 0] == 255


def test_transparency_is_left_out_unless_asked_for(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (3, 3, 4)).astype(np.uint8)
    for split in ("train", "val"):
        save(tmp_path / f"in/{split}/1.png", values)
        save(tmp_path / f"gt/{split}/1.png", np.zeros((3, 3), np.uint8))
    options = {"labels": {"files": "gt/{split}/{id}.png"}, "class_names": ["a", "b"], "normalise": "none"}
    for channels, kept in ((None, [0, 1, 2]), ([3], [3]), ([0, 1, 2, 3], [0, 1, 2, 3])):
        modalities = {"A": {"files": "in/{split}/{id}.png", "channels": channels}}
        data = open_image_folder(tmp_path, modalities=modalities, **options)
        np.testing.assert_array_equal(data.splits["val"].batch([0])[0]["A"][0], np.moveaxis(values[..., kept], -1, 0))


@pytest.mark.parametrize(
    ("way", "dtype", "channels", "shift", "scale"),
    [
        ("none", "uint16", 1, 0, 1),
        ("unit", "uint8", 3, 0, 255),
        ("unit", "uint16", 1, 0, 65535),
        ("unit", "float32", 3, 0, 1),
        ("imagenet", "uint8", 3, [0.485 * 255, 0.456 * 255, 0.406 * 255], [0.229 * 255, 0.224 * 255, 0.225 * 255]),
        ("imagenet", "uint8", 1, 0, 255),
        ("imagenet", "uint8", 4, 0, 255),
        ("imagenet", "float32", 3, 0, 1),
    ],
)
def test_scaling(tmp_path, way, dtype, channels, shift, scale):
    values = (np.random.default_rng(0).random((3, 3, channels)) * 200).astype(dtype)
    for split in ("train", "val"):
        save(tmp_path / f"in/{split}/1.npy", values)
        save(tmp_path / f"gt/{split}/1.png", np.zeros((3, 3), np.uint8))
    modalities = {"A": {"files": "in/{split}/{id}.npy"}}
    labels = {"files": "gt/{split}/{id}.png"}
    data = open_image_folder(tmp_path, modalities=modalities, labels=labels, class_names=["a", "b"], normalise=way)
    expected = np.moveaxis((values.astype(np.float64) - shift) / scale, -1, 0)
    np.testing.assert_allclose(data.splits["val"].batch([0])[0]["A"][0], expected, rtol=1e-5, atol=1e-6)


def test_folders_of_splits_may_have_other_names(tmp_path):
    plain_folder(tmp_path, splits=("training", "validation", "test", "extra"))
    data = open_image_folder(tmp_path, **OPTIONS, splits={"train": "training", "val": "validation"})
    assert list(data.splits) == ["train", "val"]
    assert data.scored_split == "val"
    (line,) = check_image_folder(tmp_path, **OPTIONS, splits={"train": "training", "val": "validation", "test": "tst"})
    assert "expected samples of test (folder 'tst'), found none" in line


def test_labels_without_a_split_in_their_path_serve_all(tmp_path):
    for split, name in (("train", "1"), ("val", "2")):
        save(tmp_path / f"in/{split}/{name}.png", np.zeros((2, 2), np.uint8))
        save(tmp_path / f"gt/{name}.png", np.full((2, 2), int(name) - 1, np.uint8))
    modalities = {"A": {"files": "in/{split}/{id}.png"}}
    data = open_image_folder(tmp_path, modalities=modalities, labels={"files": "gt/{id}.png"}, class_names=["a", "b"])
    assert data.splits["val"].batch([0])[1].max() == 1
    assert ids(data, "val") == ["val/2"]


LISTS = {
    "train.txt": "# samples\ns1\n\n  s2.png \n", "val.txt": "s4\r\n", "test.txt": "s5\n",
    "train.csv": "id,other\ns1,x\ns2,y\n", "val.csv": "id\ns4\n", "test.csv": "other,id\n,s5\n",
    "all.csv": "id, split\ns1, train\ns4, val\ns2, train\ns5, test\n",
    "train.yaml": "[s1, s2]", "val.yaml": "- s4", "test.yml": "- s5\n",
    "all.yaml": "train: [s1, s2]\nval: [s4]\ntest: [s5]\n",
}  # fmt: skip


@pytest.mark.parametrize(
    "files",
    [
        ("train.txt", "val.txt", "test.txt"),
        ("train.csv", "val.csv", "test.csv"),
        ("all.csv",) * 3,
        ("train.yaml", "val.yaml", "test.yml"),
        ("all.yaml",) * 3,
    ],
)
def test_splits_by_lists(tmp_path, files):
    options = flat_folder(tmp_path, ["s1", "s2", "s3", "s4", "s5"])
    (tmp_path / "lists").mkdir()
    for name, text in LISTS.items():
        (tmp_path / "lists" / name).write_text(text, newline="")
    splits = dict(zip(("train", "val", "test"), (f"lists/{name}" for name in files), strict=True))
    data = open_image_folder(tmp_path, **options, splits=splits)
    assert {split: ids(data, split) for split in data.splits} == {
        "train": ["train/s1", "train/s2"],
        "val": ["val/s4"],
        "test": ["test/s5"],
    }
    assert {tmp_path / "lists" / name for name in files} <= set(data.content)


def test_lists_of_numbers_and_of_whole_names(tmp_path):
    options = flat_folder(tmp_path, ["fog/0001", "fog/0010", "sun/0001", "sun/0002"])
    options["modalities"] = {"A": {"files": "a/{weather}/{id}.png"}}
    options["labels"] = {"files": "labels/{weather}/{id}.png"}
    (tmp_path / "train.yaml").write_text("[0010, 0002]")
    (tmp_path / "val.txt").write_text("fog/0001.png\n")
    (tmp_path / "test.txt").write_text("sun/0001\n")
    splits = {"train": "train.yaml", "val": "val.txt", "test": "test.txt"}
    data = open_image_folder(tmp_path, **options, splits=splits, conditions=["weather"])
    assert ids(data, "train") == ["train/fog/0010", "train/sun/0002"]
    assert ids(data, "val") == ["val/fog/0001"]
    assert data.splits["test"].describe(0).conditions == {"weather": "sun"}
    (tmp_path / "train.yaml").write_text("['0001']")  # an id alone takes every sample that has it
    lines = check_image_folder(tmp_path, **options, splits=splits)
    assert len(lines) == 2
    assert "expected samples of val only, found fog/0001, which is in train too" in lines[0]


FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2, "seed": 0, "by": ()}


def drawn(root, options, fractions):
    data = open_image_folder(root, **options, fractions=fractions)
    return {name.split("/", 1)[1]: split for split in data.splits for name in ids(data, split)}


def test_drawn_splits_stay_when_samples_come_and_go(tmp_path):
    names = [f"s{i}" for i in range(60)]
    options = flat_folder(tmp_path, names)
    before = drawn(tmp_path, options, FRACTIONS)
    assert set(before) == set(names)
    counts = [list(before.values()).count(split) for split in ("train", "val", "test")]
    assert 24 <= counts[0] <= 48
    assert min(counts) >= 4
    flat_folder(tmp_path, [f"t{i}" for i in range(30)])
    after = drawn(tmp_path, options, FRACTIONS)
    assert len(after) == 90
    assert {name: after[name] for name in names} == before
    assert drawn(tmp_path, options, FRACTIONS | {"seed": 1}) != after
    half = drawn(tmp_path, options, FRACTIONS | {"train": 0.3})
    assert len(half) < len(after)
    assert all(after[name] == "train" for name, split in half.items() if split == "train")


def test_drawn_splits_keep_scenes_together(tmp_path):
    options = flat_folder(tmp_path, [f"scene{s}/{i}" for s in range(30) for i in range(3)])
    options["modalities"] = {"A": {"files": "a/{scene}/{id}.png"}}
    options["labels"] = {"files": "labels/{scene}/{id}.png"}
    got = drawn(tmp_path, options, FRACTIONS | {"by": ["scene"]})
    scenes = {}
    for name, split in got.items():
        scenes.setdefault(name.split("/")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in scenes.values())
    assert len(set(got.values())) == 3
    (line,) = check_image_folder(tmp_path, **options, fractions=FRACTIONS | {"by": ["id", "town"]})
    assert "fractions: by" in line
    assert "'town'" in line


def test_a_fraction_that_gets_nothing_is_told(tmp_path):
    options = flat_folder(tmp_path, ["a"])
    lines = check_image_folder(tmp_path, **options, fractions={"train": 0.5, "val": 0.5, "test": 0})
    assert len(lines) == 1
    assert "expected samples of" in lines[0]


def test_generated_data_say_so(tmp_path):
    plain_folder(tmp_path)
    assert open_image_folder(tmp_path, **OPTIONS, synthetic=True, attribution="us").attribution == "us"
    assert open_image_folder(tmp_path, **OPTIONS, synthetic=True).synthetic
    (tmp_path / "SYNTHETIC.json").write_text("{}")
    assert open_image_folder(tmp_path, **OPTIONS).synthetic


def test_a_placeholder_of_some_patterns_only(tmp_path):
    """`{date}` stands in the images' paths alone: it is no part of the key, yet may be a condition."""
    for split, date, name in (("train", "may", "1"), ("val", "june", "2")):
        save(tmp_path / f"in/{split}/{date}/{name}.png", np.zeros((2, 2), np.uint8))
        save(tmp_path / f"gt/{split}/{name}.png", np.zeros((2, 2), np.uint8))
    options = {
        "modalities": {"A": {"files": "in/{split}/{date}/{id}.png"}},
        "labels": {"files": "gt/{split}/{id}.png"},
        "class_names": ["a", "b"],
        "conditions": ["date"],
    }
    data = open_image_folder(tmp_path, **options)
    assert data.splits["val"].describe(0).conditions == {"date": "june"}
    assert data.splits["val"].describe(0).id == "val/2"
    save(tmp_path / "in/val/july/2.png", np.zeros((2, 2), np.uint8))
    (line,) = check_image_folder(tmp_path, **options)
    assert "in/val/june/2.png: expected one file of A for sample 2, found in/val/july/2.png too" in line


def test_the_statistics_come_from_so_many_samples(tmp_path):
    options = flat_folder(tmp_path, [f"{i}" for i in range(9)])
    (tmp_path / "t.txt").write_text("\n".join("01234567"))
    (tmp_path / "v.txt").write_text("8")
    splits = {"train": "t.txt", "val": "v.txt"}
    values = {}
    for number, chosen in ((8, range(8)), (2, (0, 7)), (3, (0, 4, 7))):
        data = open_image_folder(tmp_path, **options, splits=splits, stats_samples=number)
        got = float(data.splits["val"].batch([0])[0]["A"][0, 0, 0, 0])
        pool = np.array(list(chosen), dtype=np.float64)
        values[number] = got
        assert got == pytest.approx((8 - pool.mean()) / pool.std(), rel=1e-5)
    assert len(set(values.values())) == 3


def test_large_numbers_keep_their_differences(tmp_path):
    """Metres of a map projection: float32 would round them to half a metre before the mean is taken off."""
    values = 5_000_000 + np.random.default_rng(0).random((3, 3))
    for split in ("train", "val"):
        save(tmp_path / f"in/{split}/1.npy", values)
        save(tmp_path / f"gt/{split}/1.png", np.zeros((3, 3), np.uint8))
    options = {"modalities": {"A": {"files": "in/{split}/{id}.npy"}}, "labels": {"files": "gt/{split}/{id}.png"}}
    for cache_bytes in (0, 1 << 30):
        data = open_image_folder(tmp_path, **options, class_names=["a", "b"], cache_bytes=cache_bytes)
        got = data.splits["val"].batch([0])[0]["A"][0, 0]
        np.testing.assert_allclose(got, (values - values.mean()) / values.std(), atol=1e-4)


EXAMPLE = """
name: my_study
data:
  name: image_folder
  modalities: {R: "photos/{split}/{scene}/{id}_rgb.jpg", D: "depth/{split}/{scene}/{id}.png"}
  labels: {files: "masks/{split}/{scene}/{id}_*.png", void: [[0, 0, 0]], colours: {road: [9, 0, 9], car: [0, 0, 9]}}
  splits: {train: training, val: validation}
  size: [32, 48]
model: {name: anymodal_segmentor, widths: [16, 32], decoder_width: 32}
losses: {sup: {weight: 1}}
rows: [[sup]]
"""


def test_the_example_of_the_readme_runs(tmp_path, mmablate):
    stream = np.random.default_rng(0)
    for split in ("training", "validation"):
        for name in ("town/0001", "town/0002"):
            save(tmp_path / f"set/photos/{split}/{name}_rgb.jpg", stream.integers(0, 256, (40, 60, 3)).astype(np.uint8))
            save(tmp_path / f"set/depth/{split}/{name}.png", stream.integers(0, 65536, (20, 30)).astype(np.uint16))
            masks = np.array([[9, 0, 9], [0, 0, 9], [0, 0, 0]], np.uint8)[stream.integers(0, 3, (40, 60))]
            save(tmp_path / f"set/masks/{split}/{name}_mask.png", masks)
    (tmp_path / "own.yaml").write_text(EXAMPLE)
    small = ("seeds=[0]", "train.epochs=1", "train.batch_size=2", "model.widths=[4,4]", "model.decoder_width=4")
    done = mmablate("ablate", "own.yaml", *small, "--data-root", "set", "-q", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["columns"] == ["R", "D", "RD", "Mean"]
    (tmp_path / "set/depth/validation/town/0002.png").unlink()
    done = mmablate("ablate", "own.yaml", *small, "--data-root", "set", "-q")
    assert done.code == 2
    assert "town/0002.png: expected modality D of sample town/0002, found no file" in done.err


def test_options_are_checked_with_the_recipe(tmp_path, mmablate):
    (tmp_path / "own.yaml").write_text(EXAMPLE)
    changes = ("data.normalise={R: foo}", "data.labels.void=[[300,0,0]]", "data.labels.others=keep", "data.size=[0,4]")
    done = mmablate("ablate", "own.yaml", *changes, "--data-root", tmp_path, "-n")
    assert done.code == 2
    for told in (
        "data.normalise.R: should be 'standard'",
        "data.labels.void.0.0: should be less than or equal to 255",
        "data.labels.others: should be",
        "data.size.0: should be",
    ):
        assert told in done.err
