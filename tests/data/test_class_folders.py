"""Pictures in folders of their classes: which files are one sample, which split it is in, and what its values are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmablate.catalog import find
from mmablate.catalog.class_folders import ClassFoldersOptions
from mmablate.data.class_folders.opening import check_class_folders, open_class_folders
from mmablate.data.class_folders.pairing import find_pairs, pairing_problems
from mmablate.data.clips import ClipSplit
from mmablate.data.loading import BatchReader
from mmablate.errors import DataError

CLASSES = ("cat", "dog")
BOTH = {"rgb": {"files": "{class}/rgb/{id}.png"}, "depth": {"files": "{class}/depth/{id}.npy"}}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes that tell the sample, so that a wrong pair would be seen."""
    return np.random.default_rng(sum(map(ord, name))).integers(0, 256, size=shape).astype(np.uint8)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_set(root: Path, n: int = 10) -> Path:
    for label in CLASSES:
        (root / label / "depth").mkdir(parents=True)
        for i in range(n):
            write_image(root / label / "rgb" / f"{i}.png", values(f"{label}{i}", (6, 8, 3)))
            np.save(root / label / "depth" / f"{i}.npy", values(f"{label}{i}", (6, 8)).astype(np.float32) / 7)
    return root


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path)


def samples_of(data, modality: str) -> dict[str, np.ndarray]:
    found = {}
    for split in data.splits.values():
        inputs, _ = split.batch(range(len(split)))
        found |= {split.describe(i).id: inputs[modality][i] for i in range(len(split))}
    return found


def told(root, **changes) -> str:
    """The message of opening; a thorough check says the same."""
    options = {"modalities": BOTH, **changes}
    with pytest.raises(DataError) as caught:
        open_class_folders(root, **options)
    assert check_class_folders(root, **options, thorough=True) == caught.value.problems
    return "\n".join(caught.value.problems)


def test_samples_are_the_files_of_equal_placeholders(root):
    data = open_class_folders(root, modalities=BOTH, normalise="none")
    assert data.modalities == {"rgb": (3, 6, 8), "depth": (1, 6, 8)}
    assert data.class_names == CLASSES
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "val": 4, "test": 4}
    for name, found in samples_of(data, "rgb").items():
        expected = values(name.replace("/", ""), (6, 8, 3)).transpose(2, 0, 1)
        np.testing.assert_array_equal(found, expected)
    for name, found in samples_of(data, "depth").items():
        np.testing.assert_array_equal(found[0], values(name.replace("/", ""), (6, 8)).astype(np.float32) / 7)
    for split in data.splits.values():
        labels = split.labels_of(range(len(split)))
        assert np.bincount(labels).tolist() == [len(split) // 2] * 2
        assert [CLASSES[label] for label in labels] == [split.describe(i).id.split("/")[0] for i in range(len(split))]
    assert data.notes == ()
    assert check_class_folders(root, modalities=BOTH, thorough=True) == []


@pytest.mark.parametrize("way", ["standard", "unit", "imagenet"])
def test_values_are_brought_to_the_range_of_a_network(root, way):
    data = open_class_folders(root, modalities=BOTH, normalise={"rgb": way, "depth": "standard"})
    plain = open_class_folders(root, modalities=BOTH, normalise="none")
    train = {plain.splits["train"].describe(i).id for i in range(12)}
    for name in BOTH:
        raw, made = samples_of(plain, name), samples_of(data, name)
        pixels = np.stack([raw[key] for key in sorted(train)]).astype(np.float64)
        mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
        if name == "rgb" and way == "unit":
            mean, std = np.zeros(3), np.full(3, 255.0)
        if name == "rgb" and way == "imagenet":
            mean, std = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
        for key, found in made.items():
            np.testing.assert_allclose(found, (raw[key] - mean[:, None, None]) / std[:, None, None], atol=1e-4)


def test_transparency_palettes_and_chosen_channels(tmp_path):
    for label in CLASSES:
        for i in range(8):
            pixels = values(f"{label}{i}", (4, 4, 4))
            write_image(tmp_path / label / f"{i}.png", pixels)
            write_image(tmp_path / label / f"p{i}.png", values(f"{label}{i}", (4, 4, 3)))
    both = {"a": {"files": "{class}/{id}.png"}}
    data = open_class_folders(tmp_path, modalities=both, normalise="none")
    assert data.modalities == {"a": (3, 4, 4)}
    found = samples_of(data, "a")["cat/3"]
    np.testing.assert_array_equal(found, values("cat3", (4, 4, 4))[..., :3].transpose(2, 0, 1))
    chosen = {"a": {"files": "{class}/{id}.png", "channels": [2, 0]}}
    found = samples_of(open_class_folders(tmp_path, modalities=chosen, normalise="none"), "a")["cat/3"]
    np.testing.assert_array_equal(found, values("cat3", (4, 4, 4))[..., [2, 0]].transpose(2, 0, 1))
    chosen = {"a": {"files": "{class}/{id}.png", "channels": [4]}}
    assert "expected channels [4] of a, found 4 channels" in told(tmp_path, modalities=chosen)


def test_a_size(root):
    write_image(root / "cat" / "rgb" / "0.png", values("x", (12, 16, 3)))
    assert (
        "expected 3 channels of 8-bit values, 12 x 16 as of the others, found 3 channels of 8-bit values, 6 x 8"
        in told(root)
    )
    np.save(root / "cat" / "depth" / "0.npy", np.repeat(np.repeat(values("y", (3, 4)), 4, 0), 4, 1) / np.float32(7))
    data = open_class_folders(root, modalities=BOTH, size=(3, 4), resize={"depth": "nearest"}, normalise="none")
    assert data.modalities == {"rgb": (3, 3, 4), "depth": (1, 3, 4)}
    np.testing.assert_allclose(samples_of(data, "depth")["cat/0"][0], values("y", (3, 4)) / np.float32(7))


def test_folders_that_are_the_splits(tmp_path):
    for split in ("training", "testing"):
        write_set(tmp_path / split)
    modalities = {name: {"files": "{split}/" + source["files"]} for name, source in BOTH.items()}
    splits = {"train": "training", "test": "testing"}
    data = open_class_folders(tmp_path, modalities=modalities, splits=splits)
    sets = {name: [s.describe(i).id for i in range(len(s))] for name, s in data.splits.items()}
    assert {name: len(ids) for name, ids in sets.items()} == {"train": 18, "val": 2, "test": 20}
    assert all(name.startswith("training/") for name in sets["train"] + sets["val"])
    assert all(name.startswith("testing/") for name in sets["test"])
    assert data.notes == ("Validation: 2 of the 20 training samples.",)
    missing = open_class_folders(tmp_path, modalities=modalities, splits=splits, val_fraction=0)
    assert set(missing.splits) == {"train", "test"}
    for path in sorted((tmp_path / "training" / "dog").rglob("*.*")):
        path.unlink()
    assert "test: expected the classes of train, found 'dog' there alone" in told(
        tmp_path, modalities=modalities, splits=splits, val_fraction=0
    )


def test_samples_of_a_scene_are_drawn_together(tmp_path):
    for label in CLASSES:
        for scene in range(5):
            for i in range(3):
                write_image(tmp_path / label / f"s{scene}_{i}.png", values(f"{label}{scene}{i}", (2, 2)))
    modalities = {"a": {"files": "{class}/{scene}_{id}.png"}}
    data = open_class_folders(tmp_path, modalities=modalities, by=["scene"])
    homes = {
        name: {split.describe(i).id.split("/")[1] for i in range(len(split))} for name, split in data.splits.items()
    }
    assert {name: len(own) for name, own in homes.items()} == {"train": 3, "val": 1, "test": 1}
    assert len(set.union(*homes.values())) == 5
    assert data.notes == ("No group has samples in two splits (groups: train 3, val 1, test 1).",)


# --- pairing --------------------------------------------------------------------------------------------------

IDS = st.sets(st.sampled_from([f"{i}" for i in range(8)]), min_size=1)


@settings(max_examples=25, deadline=None)
@given(rgb=IDS, depth=IDS)
def test_partners_are_found_by_their_names_alone(tmp_path_factory, rgb, depth):
    root = tmp_path_factory.mktemp("pairs")
    for name, ids in (("rgb", rgb), ("depth", depth)):
        (root / "cat" / name).mkdir(parents=True)
        for i in ids:
            (root / "cat" / name / f"{i}{'.png' if name == 'rgb' else '.npy'}").touch()
    pairs = find_pairs(root, {name: source["files"] for name, source in BOTH.items()})
    assert [sample.id for sample in pairs.complete] == [f"cat/{i}" for i in sorted(rgb & depth)]
    assert {sample.id for sample in pairs.lacking} == {f"cat/{i}" for i in rgb ^ depth}
    for sample in pairs.complete:
        assert {path.stem for path in sample.files.values()} == {sample.values["id"]}
        assert {name: path.parent.name for name, path in sample.files.items()} == {"rgb": "rgb", "depth": "depth"}


def test_samples_without_a_partner_are_refused_or_counted(root):
    (root / "cat" / "rgb" / "3.png").unlink()
    (root / "dog" / "depth" / "7.npy").unlink()
    (root / "dog" / "depth" / "8.npy").unlink()
    assert told(root).splitlines() == [
        f"{root / 'cat/depth/3.npy'}: expected its partner of rgb, cat/rgb/3.png, found none "
        "(missing: drop leaves such samples out, mask reads zeros)",
        f"{root / 'dog/rgb/7.png'}: expected its partner of depth, dog/depth/7.npy, found none "
        "(missing: drop leaves such samples out, mask reads zeros)",
        f"{root / 'dog/rgb/8.png'}: expected its partner of depth, dog/depth/8.npy, found none "
        "(missing: drop leaves such samples out, mask reads zeros)",
    ]
    data = open_class_folders(root, modalities=BOTH, missing="drop")
    assert sum(map(len, data.splits.values())) == 17
    assert data.notes == ("3 samples lack a modality and were dropped (without rgb 1, without depth 2).",)
    assert check_class_folders(root, modalities=BOTH, missing="drop", thorough=True) == []


def test_what_is_masked_is_zero(root):
    (root / "cat" / "rgb" / "3.png").unlink()
    (root / "dog" / "depth" / "7.npy").unlink()
    data = open_class_folders(root, modalities=BOTH, missing="mask")
    assert sum(map(len, data.splits.values())) == 20
    assert data.notes == ("2 samples lack a modality, which is read as zeros (without rgb 1, without depth 1).",)
    rgb, depth = samples_of(data, "rgb"), samples_of(data, "depth")
    assert {name for name, found in rgb.items() if not found.any()} == {"cat/3"}
    assert {name for name, found in depth.items() if not found.any()} == {"dog/7"}
    for split in data.splits.values():
        for i in range(len(split)):
            assert set(split.pictures(i)) == set(BOTH)
    for path in root.glob("*/rgb/*.png"):
        path.unlink()
    assert "expected samples (" in told(root, missing="mask")


@pytest.mark.parametrize("missing", ["refuse", "drop", "mask"])
def test_a_class_without_any_file_of_a_modality_is_refused(root, missing):
    """A class's folder under another name would be a class of its own, which zeros tell."""
    (root / "cats").mkdir()
    (root / "cat" / "rgb").rename(root / "cats" / "rgb")
    assert told(root, missing=missing).splitlines()[:2] == [
        f"{root}: expected files of rgb of every class, found none of 'cat' ('cat/rgb/{{id}}.png')",
        f"{root}: expected files of depth of every class, found none of 'cats' ('cats/depth/{{id}}.npy')",
    ]
    alone = open_class_folders(root, modalities={"rgb": BOTH["rgb"]}, missing=missing)
    assert alone.class_names == ("cats", "dog")


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ({"a": "rgb/{id}.png"}, "a: expected the placeholder {class} and one that tells samples apart"),
        ({"a": "{class}/rgb.png"}, "a: expected the placeholder {class} and one that tells samples apart"),
        ({"a": "{class}/a/{id}.png", "b": "{class}/b/{name}.png"}, "b: expected the placeholders of a (class, id)"),
        ({"a": "../{class}/{id}.png"}, "a: expected a path below the root"),
        ({"a": "/{class}/{id}.png"}, "a: expected a path below the root"),
    ],
)
def test_patterns_that_do_not_pair(tmp_path, patterns, message):
    assert message in "\n".join(pairing_problems(patterns))
    assert message in told(tmp_path, modalities={name: {"files": text} for name, text in patterns.items()})


def test_two_files_for_one_sample(root):
    write_image(root / "cat" / "rgb" / "3_b.png", values("x", (6, 8, 3)))
    modalities = {**BOTH, "rgb": {"files": "{class}/rgb/{id}*.png"}}
    for i in range(10):
        (root / "cat" / "rgb" / f"{i}.png").rename(root / "cat" / "rgb" / f"{i}_a.png")
    modalities["rgb"]["files"] = "{class}/rgb/{id}_*.png"
    message = told(root, modalities=modalities)
    assert f"{root / 'cat/rgb/3_b.png'}: expected one file of rgb for cat/3, found 3_a.png too" in message


# --- faults ---------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_told_or_dropped(root):
    (root / "cat" / "rgb" / "1.png").write_bytes(b"no image")
    np.save(root / "dog" / "depth" / "2.npy", np.full((6, 8), np.nan, dtype=np.float32))
    np.save(root / "dog" / "depth" / "3.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(root / "dog" / "depth" / "4.npy", np.zeros((6, 8), dtype=np.uint16))
    (root / "dog" / "depth" / "5.npy").write_bytes(pickle.dumps([1]))
    message = told(root, normalise="none")
    for path, text in (
        ("cat/rgb/1.png", "expected a readable image"),
        ("dog/depth/2.npy", "expected finite numbers"),
        ("dog/depth/3.npy", "expected a readable image"),
        ("dog/depth/4.npy", "expected 1 channel of numbers, 6 x 8 as of the others, found 1 channel of 16-bit values"),
    ):
        assert f"{root / path}: {text}" in message
    assert set(told(root).splitlines()) == set(message.splitlines())  # standardising reads them, too
    data = open_class_folders(root, modalities=BOTH, on_fault="drop")
    assert sum(map(len, data.splits.values())) == 15
    assert data.notes[0].startswith("5 samples were dropped for faulty files (")


def test_faults_of_files_that_are_not_kept_in_memory_are_told_when_read(root):
    data = open_class_folders(root, modalities=BOTH, cache_bytes=0)
    split = data.splits["train"]
    assert isinstance(split, ClipSplit)
    again = pickle.loads(pickle.dumps(split))
    kept = open_class_folders(root, modalities=BOTH).splits["train"]
    for name in BOTH:
        np.testing.assert_array_equal(again.batch(range(12))[0][name], kept.batch(range(12))[0][name])
    path = split.clips[0].files["rgb"]
    path.write_bytes(b"")
    with pytest.raises(DataError, match=str(path)):
        list(BatchReader(split).read([[0]]))
    assert kept.pictures(1)["rgb"].shape == (6, 8, 3)
    assert kept.pictures(1)["depth"].dtype == np.uint8


def test_folders_of_another_form(tmp_path, root):
    assert "expected a folder, found nothing" in told(tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "expected samples ({class}/rgb/{id}.png, {class}/depth/{id}.npy), found none" in told(empty)
    assert "expected the classes cat, cow (class_names), found dog too" in told(root, class_names=["cat", "cow"])
    assert "expected samples of every class, found none of cow" in told(root, class_names=["cat", "cow", "dog"])
    assert open_class_folders(root, modalities=BOTH, class_names=["dog", "cat"]).class_names == ("dog", "cat")
    one = write_set(tmp_path / "one")
    for path in sorted((one / "dog").rglob("*.*")):
        path.unlink()
    assert "expected folders of at least two classes, found cat alone" in told(one)
    assert "resize: expected a size" in told(root, resize={"depth": "nearest"})
    assert "normalise: expected modalities (rgb, depth), found 'x'" in told(root, normalise={"x": "unit"})
    assert "rgb: expected files .png" in told(root, modalities={**BOTH, "rgb": {"files": "{class}/rgb/{id}.gif"}})
    assert "splits: expected a folder each" in told(root, splits={"train": "a", "test": "a"})
    assert "by: expected placeholders of the patterns, found 'scene'" in told(root, by=["scene"])


def test_the_mark_of_generated_files_is_not_lost(root):
    assert not open_class_folders(root, modalities=BOTH).synthetic
    (root / "cat" / "SYNTHETIC.json").write_text("{}")
    assert open_class_folders(root, modalities=BOTH).synthetic


def test_the_catalogue_entry(root):
    entry = find("dataset", "class_folders")
    options = ClassFoldersOptions().model_dump(mode="json")
    pairs = [[name, {**source, "channels": None}] for name, source in BOTH.items()]
    assert len(entry.files(root, {"modalities": pairs, **options})) == 40
    assert not entry.together(options)
    assert entry.together({**options, "missing": "drop"})
    assert entry.together({**options, "missing": "mask"})
    assert entry.together({**options, "on_fault": "drop"})
    assert entry.together({**options, "normalise": {"rgb": "unit"}})
    assert entry.together({**options, "resize": {"rgb": "nearest"}})
    data = open_class_folders(root, modalities=dict(pairs), **options)
    assert set(data.content) == set(entry.files(root, {"modalities": pairs, **options}))
