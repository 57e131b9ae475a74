"""Folders of range images: any channels, sizes and dtypes; every fault named, all at once."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmablate.data.base import ArraySplit, SegmentationData
from mmablate.data.range_image import FileSplit, check_range_image, open_range_image
from mmablate.data.range_layout import list_files
from mmablate.data.summary import summarise
from mmablate.errors import DataError

SWEEPS = Path(__file__).parents[2] / "../shared/data" / "nuscenes_range"
needs_sweeps = pytest.mark.skipif(not SWEEPS.is_dir(), reason="shared/data/nuscenes_range is absent")

# Four channels, the label in front; channel 3 marks the return.
LAYOUT: dict[str, Any] = {
    "modalities": {"P": [1, 2], "R": [3]},
    "label_channel": 0,
    "ignore_label": 9,
    "n_classes": 3,
    "no_return": {"channel": 3, "value": 0},
}
NUSCENES: dict[str, Any] = {
    "modalities": {"G": [0, 1, 2], "I": [3], "D": [4]},
    "label_channel": 5,
    "ignore_label": 10,
    "n_classes": 10,
    "no_return": {"channel": 4, "value": 0},
}


def sample(seed: int, shape: tuple[int, int] = (5, 12), dtype: Any = np.float32) -> np.ndarray:
    """(H, W, 4): labels 0, 1, 2, 9, two inputs, and a marker that is 0 at about every fifth pixel."""
    rng = np.random.default_rng(seed)
    values = np.empty((*shape, 4), dtype=dtype)
    values[..., 0] = rng.choice([0, 1, 2, 9], size=shape)
    values[..., 1:3] = rng.integers(0, 100, size=(*shape, 2))
    values[..., 3] = rng.integers(1, 100, size=shape) * (rng.random(shape) > 0.2)
    return values


def write(root: Path, sizes: dict[str, int], **kwargs: Any) -> Path:
    """Writes a sound folder of so many files a split."""
    for at, (split, number) in enumerate(sizes.items()):
        (root / split).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            np.save(root / split / f"{i}.npy", sample(100 * at + i, **kwargs))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "set", {"train": 4, "val": 2, "test": 2})


def everything(data: SegmentationData, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return data.splits[split].batch(range(len(data.splits[split])))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9)),
    dtype=st.sampled_from(["f4", "f8", "f2", "u1", "i2", ">f4", ">i4"]),
    channels=st.integers(2, 5),
    classes=st.integers(1, 6),
    draw=st.data(),
)
def test_any_channels_sizes_and_dtypes(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    dtype: str,
    channels: int,
    classes: int,
    draw: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("any")
    order = draw.draw(st.permutations(range(channels)))
    label, inputs = order[0], order[1:]
    cut = draw.draw(st.integers(1, len(inputs)))
    modalities = {name: part for name, part in {"b": inputs[:cut], "a": inputs[cut:]}.items() if part}
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
    stack = {}
    for split, number in (("train", 3), ("val", 1)):
        (root / split).mkdir()
        values = rng.integers(0, 50, size=(number, *shape, channels)).astype(dtype)
        values[..., label] = rng.choice([*range(classes), 40], size=(number, *shape))
        stack[split] = values
        for i, value in enumerate(values):
            np.save(root / split / f"s{i}.npy", value)
    layout: dict[str, Any] = {"modalities": modalities, "label_channel": label, "ignore_label": 40}
    assert check_range_image(root, **layout, n_classes=classes, thorough=True) == []
    data = open_range_image(root, **layout, class_names=[f"c{k}" for k in range(classes)])
    assert data.modalities == {name: len(part) for name, part in modalities.items()}
    assert list(data.splits) == ["train", "val"]
    train = stack["train"].astype(np.float64)
    mean, std = train.mean(axis=(0, 1, 2)), train.std(axis=(0, 1, 2))
    std[std == 0] = 1
    for split, values in stack.items():
        found, labels = everything(data, split)
        np.testing.assert_array_equal(labels, values[..., label].astype(np.int64))
        for name, part in modalities.items():
            assert found[name].dtype == np.float32
            wanted = np.moveaxis((values[..., part] - mean[part]) / std[part], -1, 1)
            np.testing.assert_allclose(found[name], wanted, atol=1e-4)


def test_standardised_by_training_pixels_with_a_return(root: Path) -> None:
    data = open_range_image(root, **LAYOUT)
    train = np.stack([np.load(path) for path in list_files(root)["train"]]).astype(np.float64)
    kept = train[train[..., 3] != 0]
    for split in data.splits:
        found, labels = everything(data, split)
        raw = np.stack([np.load(path) for path in list_files(root)[split]]).astype(np.float64)
        wanted = (raw - kept.mean(axis=0)) / kept.std(axis=0) * (raw[..., 3:] != 0)
        np.testing.assert_allclose(found["P"], np.moveaxis(wanted[..., 1:3], -1, 1), atol=1e-5)
        np.testing.assert_allclose(found["R"][:, 0], wanted[..., 3], atol=1e-5)
        np.testing.assert_array_equal(labels, raw[..., 0])


def test_no_return_may_be_ignored_and_may_be_nan(root: Path) -> None:
    data = open_range_image(root, **LAYOUT, ignore_no_return=True)
    _, labels = everything(data, "val")
    raw = np.stack([np.load(path) for path in list_files(root)["val"]])
    np.testing.assert_array_equal(labels, np.where(raw[..., 3] == 0, 9, raw[..., 0]))

    plain = everything(open_range_image(root, **LAYOUT), "test")
    for paths in list_files(root).values():
        for path in paths:
            values = np.load(path)
            values[values[..., 3] == 0, 1:] = np.nan
            np.save(path, values)
    assert any("channel 3" in line for line in check_range_image(root, **LAYOUT, thorough=True))
    layout = {**LAYOUT, "no_return": {"channel": 3, "value": float("nan")}}
    assert check_range_image(root, **layout, thorough=True) == []
    found = everything(open_range_image(root, **layout), "test")
    for name in plain[0]:
        np.testing.assert_array_equal(found[0][name], plain[0][name])
    np.testing.assert_array_equal(found[1], plain[1])


def test_labels_without_a_return_are_free_where_they_are_ignored(root: Path) -> None:
    path = root / "val" / "0.npy"
    values = np.load(path)
    values[values[..., 3] == 0, 0] = np.nan
    np.save(path, values)
    with pytest.raises(DataError, match="labels"):
        open_range_image(root, **LAYOUT)
    data = open_range_image(root, **LAYOUT, ignore_no_return=True)
    assert (everything(data, "val")[1][0][values[..., 3] == 0] == 9).all()


@pytest.mark.parametrize("extra", [{}, {"columns": 4}, {"columns": 3, "column_stride": 2}])
def test_from_memory_and_from_files_alike(root: Path, extra: dict[str, Any]) -> None:
    memory = open_range_image(root, **LAYOUT, **extra)
    files = open_range_image(root, **LAYOUT, **extra, cache_bytes=0)
    for split in ("train", "val", "test"):
        assert isinstance(memory.splits[split], ArraySplit)
        one = files.splits[split]
        assert isinstance(one, FileSplit)
        assert len(one) == len(memory.splits[split])
        assert one.shape == memory.splits[split].shape
        chosen = [1, 0, len(one) - 1, 1]
        (a, la), (b, lb) = memory.splits[split].batch(chosen), one.batch(chosen)
        assert list(a) == list(b) == ["P", "R"]
        for name in a:
            assert a[name].dtype == b[name].dtype == np.float32
            assert b[name].flags.owndata or b[name].base is not None
            np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(la, lb)
        np.testing.assert_array_equal(one.labels_of(chosen), lb)
        with pytest.raises(IndexError):
            one.batch([len(one)])
    assert summarise(memory).to_json() == summarise(files).to_json()


def test_memory_is_used_up_to_the_limit(root: Path) -> None:
    val_bytes = 2 * 5 * 12 * (3 * 4 + 8)
    data = open_range_image(root, **LAYOUT, cache_bytes=val_bytes)
    kinds = {name: type(split) for name, split in data.splits.items()}
    assert kinds == {"train": FileSplit, "val": ArraySplit, "test": ArraySplit}
    below = open_range_image(root, **LAYOUT, cache_bytes=val_bytes - 1)
    assert {type(split) for split in below.splits.values()} == {FileSplit}


def test_windows_lie_side_by_side(root: Path) -> None:
    whole = everything(open_range_image(root, **LAYOUT), "val")
    data = open_range_image(root, **LAYOUT, columns=4)
    assert data.splits["val"].shape == (5, 4)
    found = everything(data, "val")
    assert len(found[1]) == 6
    np.testing.assert_array_equal(np.concatenate(list(found[1][3:]), axis=1), whole[1][1])
    np.testing.assert_array_equal(np.concatenate(list(found[0]["P"][:3]), axis=-1), whole[0]["P"][0])
    thin = everything(open_range_image(root, **LAYOUT, column_stride=5), "val")
    np.testing.assert_array_equal(thin[1], whole[1][:, :, ::5])


def test_natural_order_and_hidden_files(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": 12, "val": 1})
    (root / "train" / "._0.npy").write_bytes(b"resource fork")
    (root / "train" / "notes.txt").write_text("not a sample")
    names = [path.name for path in list_files(root)["train"]]
    assert names == [f"{i}.npy" for i in range(12)]
    data = open_range_image(root, **LAYOUT)
    np.testing.assert_array_equal(data.splits["train"].batch([10])[1][0], np.load(root / "train" / "10.npy")[..., 0])
    assert data.content == tuple(path for paths in list_files(root).values() for path in paths)


def test_statistics_from_some_of_the_files(root: Path) -> None:
    data = open_range_image(root, **LAYOUT, stats_samples=2)
    chosen = np.stack([np.load(root / "train" / f"{i}.npy") for i in (0, 3)]).astype(np.float64)
    kept = chosen[chosen[..., 3] != 0]
    raw = np.load(root / "train" / "1.npy")
    wanted = (raw[..., 3] - kept[:, 3].mean()) / kept[:, 3].std() * (raw[..., 3] != 0)
    np.testing.assert_allclose(data.splits["train"].batch([1])[0]["R"][0, 0], wanted, atol=1e-5)


class Bomb:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return (_explode, ())


def _explode() -> None:
    raise SystemExit("the pickle was loaded")


def plant_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def plant_cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def plant_pickle(path: Path) -> None:
    values = np.empty((5, 12, 4), dtype=object)
    values[:] = Bomb()
    np.save(path, values, allow_pickle=True)


def plant_bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def plant_text(path: Path) -> None:
    path.write_text("hello")


def plant_nothing(path: Path) -> None:
    path.write_bytes(b"")


def plant_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def plant_complex(path: Path) -> None:
    np.save(path, sample(0).astype(np.complex64))


def plant_shape(path: Path) -> None:
    np.save(path, sample(0, shape=(5, 11)))


def plant_flat(path: Path) -> None:
    np.save(path, sample(0)[..., 0])


def plant_few_channels(path: Path) -> None:
    np.save(path, sample(0)[..., :3])


def plant_zero_size(path: Path) -> None:
    np.save(path, sample(0)[:0])


def plant_nan(path: Path) -> None:
    values = sample(0)
    values[2, 3, 1] = np.nan
    np.save(path, values)


def plant_inf(path: Path) -> None:
    values = sample(0)
    values[2, 3, 3] = -np.inf
    np.save(path, values)


def plant_label(path: Path) -> None:
    values = sample(0)
    values[0, 0, 0] = 77
    np.save(path, values)


def plant_fraction(path: Path) -> None:
    values = sample(0)
    values[0, 0, 0] = 1.5
    np.save(path, values)


HEADER_FAULTS: dict[Callable[[Path], None], tuple[str, ...]] = {
    plant_truncated: ("bytes by its header", "truncated"),
    plant_cut_header: ("header", "damaged"),
    plant_pickle: ("pickled Python objects", "not loaded"),
    plant_bare_pickle: ("expected a .npy file", "starts with"),
    plant_text: ("expected a .npy file", "b'hello'"),
    plant_nothing: ("expected a .npy file", "empty file"),
    plant_folder: ("readable .npy file", "directory"),
    plant_complex: ("real numbers", "complex64"),
    plant_shape: ("(5, 12, 4)", "(5, 11, 4)"),
    plant_flat: ("(H, W, C)", "(5, 12)"),
    plant_few_channels: ("modality R: expected a channel 3", "3 channels"),
    plant_zero_size: ("(H, W, C)", "(0, 12, 4)"),
}
VALUE_FAULTS: dict[Callable[[Path], None], tuple[str, ...]] = {
    plant_nan: ("channel 1", "1 NaN or infinite", "row 2, column 3"),
    plant_inf: ("channel 3", "1 NaN or infinite"),
    plant_label: ("labels (channel 0)", "0..2 or 9", "77 (1 pixels)"),
    plant_fraction: ("labels (channel 0)", "1.5"),
}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("plant", HEADER_FAULTS | VALUE_FAULTS, ids=lambda plant: plant.__name__)
def test_every_planted_fault_is_named(root: Path, plant: Callable[[Path], None], split: str) -> None:
    path = root / split / "1.npy"
    plant(path)
    found = check_range_image(root, **LAYOUT, thorough=True)
    words = (HEADER_FAULTS | VALUE_FAULTS)[plant]
    assert any(str(path) in line and all(word in line for word in words) for line in found), found
    assert all("\n" not in line and str(path) in line for line in found)
    assert bool(check_range_image(root, **LAYOUT)) is (plant in HEADER_FAULTS)
    with pytest.raises(DataError) as caught:
        open_range_image(root, **LAYOUT)
    assert caught.value.problems == found


def test_all_faults_in_one_message(root: Path) -> None:
    planted = {
        "train/0.npy": plant_nan,
        "train/1.npy": plant_truncated,
        "train/3.npy": plant_label,
        "val/0.npy": plant_pickle,
        "val/1.npy": plant_text,
        "test/1.npy": plant_shape,
    }
    for name, plant in planted.items():
        plant(root / name)
    with pytest.raises(DataError) as caught:
        open_range_image(root, **LAYOUT)
    assert caught.value.problems == check_range_image(root, **LAYOUT, thorough=True)
    assert len(caught.value.problems) == len(planted)
    for name in planted:
        assert str(root / name) in str(caught.value)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert check_range_image(gone, **LAYOUT) == [f"{gone}: expected a folder with train/ and val/, found nothing"]
    only = write(tmp_path / "only", {"test": 1})
    found = check_range_image(only, **LAYOUT, thorough=True)
    assert [line.split(":")[0] for line in found] == [str(only / "train"), str(only / "val")]
    (only / "train").mkdir()
    (only / "val").write_text("a file")
    found = check_range_image(only, **LAYOUT, thorough=True)
    assert any("empty folder" in line and str(only / "train") in line for line in found)
    assert any(str(only / "val") in line for line in found)
    with pytest.raises(DataError) as caught:
        open_range_image(only, **LAYOUT)
    assert caught.value.problems == found
    with pytest.raises(DataError, match="found a file"):
        open_range_image(only / "val", **LAYOUT)


def test_a_channel_that_no_file_has_is_one_line(root: Path) -> None:
    found = check_range_image(root, **{**LAYOUT, "label_channel": 8}, thorough=True)
    assert len(found) == 1
    assert "label_channel: expected a channel 8, found 4 channels (and 7 more files" in found[0]


def test_faults_of_the_layout_are_told_together(root: Path) -> None:
    layout: dict[str, Any] = {
        "modalities": {"P": [], "R": [0, 3]},
        "label_channel": 0,
        "class_names": ["a", "b"],
        "n_classes": 3,
        "no_return": {"chanel": 3},
        "columns": 0,
        "column_stride": 0,
    }
    plant_truncated(root / "train" / "0.npy")
    found = check_range_image(root, **layout)
    heads = {line.split(":")[0] for line in found}
    assert {"modalities", "n_classes", "no_return", "columns", "column_stride"} < heads
    assert any("label channel" in line for line in found)
    assert any("truncated" in line for line in found)
    with pytest.raises(DataError) as caught:
        open_range_image(root, **layout)
    assert caught.value.problems == found
    assert any("neither" in line for line in check_range_image(root, **{**LAYOUT, "n_classes": None}))
    assert any("divisor of the 12" in line for line in check_range_image(root, **LAYOUT, columns=5))
    free = {**LAYOUT, "no_return": None}
    assert any("ignore_no_return" in line for line in check_range_image(root, **free, ignore_no_return=True))


def test_a_set_without_any_return_is_told(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": 2, "val": 1})
    for path in list_files(root)["train"]:
        values = np.load(path)
        values[..., 3] = 0
        np.save(path, values)
    with pytest.raises(DataError, match="pixels with a return"):
        open_range_image(root, **LAYOUT)


LATE = [plant_nan, plant_truncated, plant_label, plant_pickle, plant_shape, plant_few_channels, plant_nothing]


@pytest.mark.parametrize("plant", LATE, ids=lambda plant: plant.__name__)
def test_a_file_that_goes_bad_later_is_named(root: Path, plant: Callable[[Path], None]) -> None:
    data = open_range_image(root, **LAYOUT, cache_bytes=0)
    path = root / "val" / "0.npy"
    path.unlink()  # a new file: the old one may still be mapped
    np.save(path, sample(3))
    plant(path)
    data.splits["val"].batch([1])
    with pytest.raises(DataError) as caught:
        data.splits["val"].batch([1, 0])
    assert str(path) in str(caught.value)


def test_a_card_counts_what_is_there(root: Path) -> None:
    names = ["a", "b", "c"]
    data = open_range_image(root, **{**LAYOUT, "n_classes": None}, class_names=names, synthetic=True, name="mine")
    card = summarise(data)
    assert (card.name, card.synthetic, card.n_train, card.n_val, card.n_test) == ("mine", True, 4, 2, 2)
    raw = {split: np.stack([np.load(p) for p in paths]) for split, paths in list_files(root).items()}
    for split, values in raw.items():
        assert card.class_pixels[split] == tuple(int((values[..., 0] == k).sum()) for k in range(3))
        assert card.valid_fraction[split] == pytest.approx((values[..., 0] != 9).mean())
    guess = int(np.argmax(card.class_pixels["train"]))
    assert card.majority_class == names[guess]
    test = np.array(card.class_pixels["test"])
    assert card.majority_miou == pytest.approx(100 * test[guess] / test.sum() / 3)
    assert card.scored_split == "test"


def test_nothing_is_written(root: Path) -> None:
    before = sorted(root.rglob("*"))
    summarise(open_range_image(root, **LAYOUT, cache_bytes=0))
    check_range_image(root, **LAYOUT, thorough=True)
    assert sorted(root.rglob("*")) == before


@needs_sweeps
def test_real_sweeps() -> None:
    assert check_range_image(SWEEPS, **NUSCENES, thorough=True) == []
    data = open_range_image(SWEEPS, **NUSCENES)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 32, "val": 4}
    assert data.splits["train"].shape == (32, 1024)
    card = summarise(data)
    assert card.class_pixels["train"] == (277855, 65602, 105718, 59, 235057, 2284, 0, 1238, 72243, 0)
    assert card.class_pixels["val"] == (38887, 8726, 13790, 313, 6867, 81, 45, 1310, 2, 0)
    # Nine of the ten classes are in val; the guess is road.
    assert card.majority_miou == pytest.approx(100 * 38887 / sum(card.class_pixels["val"]) / 9)
    raw = np.load(SWEEPS / "val" / "25611.npy")
    inputs, labels = data.splits["val"].batch([0])
    np.testing.assert_array_equal(labels[0], raw[..., 5])
    assert (inputs["G"][0][:, raw[..., 4] == 0] == 0).all()
    assert (labels[0][raw[..., 4] == 0] == 10).all()


@needs_sweeps
def test_real_sweeps_with_too_few_classes() -> None:
    found = check_range_image(SWEEPS, **{**NUSCENES, "n_classes": 8}, thorough=True)
    assert found
    assert all("expected integers 0..7 or 10" in line for line in found)
