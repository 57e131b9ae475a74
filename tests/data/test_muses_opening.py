"""MUSES as a dataset: layouts, modalities, sizes, splits, filters and normalisation."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from muses_samples import SCENES, SIZE, calibration, events, imwrite, lidar_points, place, write_projected, write_tree
from PIL import Image

from mmablate.catalog import find
from mmablate.data.base import ArraySplit, Described, LabelReader, Pictured, SegmentationData
from mmablate.data.muses.classes import CLASS_NAMES
from mmablate.data.muses.mini import make_muses
from mmablate.data.muses.opening import check_muses, open_muses
from mmablate.data.muses.projection import Calibration, project_events, project_lidar
from mmablate.data.summary import summarise
from mmablate.errors import DataError

CONTENT = calibration()
RIG = Calibration(
    {
        "rgb.K": np.array(CONTENT["intrinsics"]["rgb"]["K"]),
        "event.K": np.array(CONTENT["intrinsics"]["event"]["K"]),
        **{name: np.array(CONTENT["extrinsics"][name]) for name in ("lidar2rgb", "event2rgb")},
    }
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound raw tree; not to be changed."""
    return write_tree(tmp_path_factory.mktemp("muses") / "set")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMABLATE_CACHE", str(tmp_path / "cache"))


def opened(root: Path, modalities: str = "FEL", **options: Any) -> SegmentationData:
    return open_muses(root, **{"modalities": tuple(modalities), "normalise": "none", **options})


def everything(data: SegmentationData, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return data.splits[split].batch(range(len(data.splits[split])))


def same(one: SegmentationData, other: SegmentationData, atol: float = 0.0) -> None:
    assert list(one.splits) == list(other.splits)
    for split in one.splits:
        (inputs, labels), (others, other_labels) = everything(one, split), everything(other, split)
        np.testing.assert_array_equal(labels, other_labels)
        for name, values in inputs.items():
            np.testing.assert_allclose(values, others[name], rtol=0, atol=atol if name == "L" else 0)


def test_arrays_are_those_of_the_files(sound: Path) -> None:
    data = opened(sound, "LFE")
    assert data.modalities == {"L": 3, "F": 3, "E": 3}
    assert list(data.modalities) == ["L", "F", "E"]
    assert data.class_names == CLASS_NAMES
    assert (data.ignore_label, data.synthetic, data.attribution) == (255, False, "MUSES (Broedermann et al. 2024)")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 4, "val": 2, "test": 2}
    seed = 0
    for split in ("train", "val", "test"):
        inputs, labels = everything(data, split)
        assert list(inputs) == ["L", "F", "E"]
        assert labels.dtype == np.int64
        assert all(values.dtype == np.float32 for values in inputs.values())
        for i in range(len(labels)):
            scene = SCENES[seed]
            with Image.open(place(sound, "F", scene, ".png")) as image:
                np.testing.assert_array_equal(inputs["F"][i], np.array(image).transpose(2, 0, 1))
            with Image.open(place(sound, "labels", scene, ".png")) as image:
                np.testing.assert_array_equal(labels[i], np.array(image))
            lidar = project_lidar(lidar_points(seed), RIG, SIZE, 1.0)
            np.testing.assert_array_equal(inputs["L"][i], lidar.transpose(2, 0, 1))
            fired = events(seed)
            counts = project_events(fired["x"], fired["y"], fired["p"], RIG, SIZE)
            np.testing.assert_array_equal(inputs["E"][i], np.pad(counts.transpose(2, 0, 1), ((0, 1), (0, 0), (0, 0))))
            seed += 1


def test_void_stays_void(sound: Path) -> None:
    """Upstream turns 255 into road."""
    labels = everything(opened(sound, "F"), "train")[1]
    with Image.open(place(sound, "labels", SCENES[0], ".png")) as image:
        truth = np.array(image)
    assert (truth == 255).any()
    np.testing.assert_array_equal(labels[0] == 255, truth == 255)
    np.testing.assert_array_equal(labels[0] == 0, truth == 0)


@pytest.mark.parametrize("modalities", ["E", "L", "EL"])
def test_without_the_frame_camera(tmp_path: Path, modalities: str) -> None:
    """Upstream dies of a KeyError; here neither the frames nor the other sensor need exist."""
    root = write_tree(tmp_path / "set", kinds=modalities)
    data = opened(root, modalities)
    assert list(everything(data, "val")[0]) == list(modalities)
    assert data.splits["val"].shape == SIZE
    assert check_muses(root, modalities=tuple(modalities), thorough=True) == []


def test_descriptions_and_pictures(sound: Path, tmp_path: Path) -> None:
    for cache_bytes in (0, 1 << 31):
        split = opened(sound, cache_bytes=cache_bytes).splits["val"]
        assert isinstance(split, Described)
        assert isinstance(split, Pictured)
        assert isinstance(split, LabelReader)
        assert isinstance(split, ArraySplit) == (cache_bytes > 0)
        info = split.describe(1)
        assert info.id == "val/fog/night/REC0006_frame_000006"
        assert info.conditions == {"weather": "fog", "time_of_day": "night"}
        pictures = split.pictures(1)
        assert list(pictures) == ["F", "E", "L"]
        inputs, _ = split.batch([1])
        np.testing.assert_array_equal(pictures["F"], inputs["F"][0].transpose(1, 2, 0))
        for name in "EL":
            assert pictures[name].shape == (*SIZE, 3)
            assert pictures[name].dtype == np.uint8
            lit = (pictures[name] != pictures[name].min(axis=(0, 1))).any(axis=2)
            np.testing.assert_array_equal(lit, inputs[name][0].any(axis=0))


def test_positive_events_are_red_and_near_returns_yellow(tmp_path: Path) -> None:
    from mmablate.data.muses.pictures import picture
    from mmablate.data.muses.scenes import RETURN

    counts = np.zeros((2, 1, 2), dtype=np.uint8)
    counts[0, 0, 0] = counts[1, 0, 1] = 3
    red, blue = picture("E", counts, (1, 2))[0].astype(int)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    near, far = picture("L", np.array([(0, (3, 0, 0)), (1, (90, 0, 0))], dtype=RETURN), (1, 2))[0].astype(int)
    assert near.sum() > far.sum()


def project(root: Path, target: Path, ending: str, scenes: Any = SCENES, kinds: str = "EL") -> None:
    """What the dataset's tool makes of a raw tree, by the test's own projection of the same points."""
    for seed, scene in enumerate(SCENES):
        if scene not in scenes:
            continue
        if "L" in kinds:
            write_projected(place(target, "L", scene, ending), "L", project_lidar(lidar_points(seed), RIG, SIZE, 1.0))
        if "E" in kinds:
            fired = events(seed)
            counts = project_events(fired["x"], fired["y"], fired["p"], RIG, SIZE)
            image = np.concatenate([counts, np.zeros((*SIZE, 1))], axis=2).astype(np.uint8)
            write_projected(place(target, "E", scene, ending), "E", image)


@pytest.mark.parametrize("ending", [".npz", ".npy", ".png"])
@pytest.mark.parametrize("where", ["projected_to_rgb", "inside", "anyseg"])
def test_projected_trees_give_the_same(sound: Path, tmp_path: Path, ending: str, where: str) -> None:
    """All three file types, in order, both bytes of them: from the folder above, from inside, as AnySeg has it."""
    root = tmp_path / "set"
    for folder in ("frame_camera", "gt_semantic"):
        shutil.copytree(sound / folder, root / folder)
    project(sound, root if where == "anyseg" else root / "projected_to_rgb", ending)
    given = root / "projected_to_rgb" if where == "inside" else root
    assert check_muses(given, modalities=("F", "E", "L"), thorough=True) == []
    step = 1 / 150 + 1e-4 if ending == ".png" else 0  # the tool rounds down
    same(opened(given), opened(sound), atol=step)
    assert any(name.name.startswith("REC0005") for name in opened(given).content)
    files = find("dataset", "muses").files(given, {})
    assert {path.resolve() for path in opened(given).content} == {path.resolve() for path in files}
    assert all(path.relative_to(given) for path in files)


def test_the_tool_writes_its_channels_backwards(tmp_path: Path) -> None:
    """cv2.imwrite takes the first channel for blue: Pillow sees z, intensity, range, and 0, negative, positive."""
    path = tmp_path / "events.png"
    counts = np.zeros((2, 3, 3), dtype=np.uint8)
    counts[0, 1] = 5, 2, 0
    imwrite(path, counts)
    with Image.open(path) as image:
        assert np.array(image)[0, 1].tolist() == [0, 2, 5]
    from mmablate.data.muses.files import read_projected_events

    assert read_projected_events(path)[0, 1].tolist() == [5, 2]


def test_a_layout_that_is_named_settles_a_mixed_tree(sound: Path, tmp_path: Path) -> None:
    root = shutil.copytree(sound, tmp_path / "set")
    project(sound, root / "projected_to_rgb", ".npz")
    for modalities in ("FEL", "E"):
        with pytest.raises(DataError, match="projected and raw mixed"):
            opened(root, modalities)
    same(opened(root, layout="raw"), opened(root, layout="projected"))
    same(opened(root, "F"), opened(sound, "F"))
    same(opened(root / "projected_to_rgb"), opened(sound))


def test_size_projects_anew_and_resizes(sound: Path) -> None:
    data = opened(sound, size=[18, 40], dilate_lidar=2, dilate_events=3)
    inputs, labels = everything(data, "train")
    assert data.splits["train"].shape == (18, 40)
    plain = everything(opened(sound, size=(18, 40)), "train")[0]
    lidar = project_lidar(lidar_points(0), RIG, (18, 40), 1.0)
    np.testing.assert_array_equal(plain["L"][0], lidar.transpose(2, 0, 1))
    for name in "EL":
        assert (inputs[name][:, 0] > 0).sum() > (plain[name][:, 0] > 0).sum()
    with Image.open(place(sound, "F", SCENES[0], ".png")) as image:
        small = image.resize((40, 18), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(inputs["F"][0], np.array(small).transpose(2, 0, 1))
    assert set(np.unique(labels)) <= {*range(19), 255}


def test_size_of_projected_files_is_by_the_nearest_pixel(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(sound / "gt_semantic", root / "gt_semantic")
    project(sound, root, ".npy")
    full, half = opened(root, "L"), opened(root, "L", size=(18, 32))
    np.testing.assert_array_equal(everything(half, "val")[0]["L"], everything(full, "val")[0]["L"][..., 1::2, 1::2])


def test_window_and_range_are_used(sound: Path) -> None:
    few = everything(opened(sound, "E", event_window_us=3000), "train")[0]["E"]
    fired = events(0)
    late = fired["t"].astype(int) >= int(fired["t"].max()) - 3000
    counts = project_events(fired["x"][late], fired["y"][late], fired["p"][late], RIG, SIZE)
    np.testing.assert_array_equal(few[0, :2], counts.transpose(2, 0, 1))
    ranges = everything(opened(sound, "L", min_range=20.0), "train")[0]["L"][:, 0]
    assert ranges[ranges > 0].min() >= 20


@pytest.mark.parametrize(("kind", "option"), [("L", {"min_range": 2.0}), ("E", {"event_window_us": 10_000})])
def test_choices_among_raw_points_are_refused_for_projected_files(
    sound: Path, tmp_path: Path, kind: str, option: dict[str, Any]
) -> None:
    """They would change nothing, and a table over them would show no difference."""
    root = shutil.copytree(sound, tmp_path / "set")
    project(sound, root / "projected_to_rgb", ".npz")
    name = next(iter(option))
    lines = check_muses(root, modalities=(kind,), layout="projected", **option)
    assert len(lines) == 1
    assert f"layout projected: {name} belongs to raw files" in lines[0]
    for on_fault in ("refuse", "drop"):
        with pytest.raises(DataError, match=name):
            opened(root, "FEL", layout="projected", on_fault=on_fault, **option)
    other = {"L": "E", "E": "L"}[kind]
    for modalities, layout in ((kind, "raw"), (other, "projected"), ("F", "projected")):
        assert check_muses(root, modalities=tuple(modalities), layout=layout, **option) == []


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"weather": ["clear"]}, {"train": 1, "val": 1, "test": 1}),
        ({"time_of_day": ("night",)}, {"train": 2, "val": 1, "test": 1}),
        ({"weather": ["clear", "fog"], "time_of_day": ["night"]}, {"train": 1, "val": 1, "test": 1}),
    ],
)
def test_filters(sound: Path, options: dict[str, Any], left: dict[str, int]) -> None:
    data = opened(sound, "F", **options)
    assert {name: len(split) for name, split in data.splits.items()} == left
    for split in data.splits.values():
        for i in range(len(split)):
            conditions = split.describe(i).conditions
            assert all(conditions[axis] in wanted for axis, wanted in options.items())


def test_withheld_test_labels_leave_the_split_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set")
    shutil.rmtree(root / "gt_semantic/test")
    data = opened(root)
    assert list(data.splits) == ["train", "val"]
    assert data.scored_split == "val"
    assert any("test" in note and "2 scenes" in note for note in data.notes)
    assert check_muses(root, modalities=("F", "E", "L"), thorough=True) == []


def test_some_missing_test_labels_are_faults(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set")
    place(root, "labels", SCENES[-1], ".png").unlink()
    with pytest.raises(DataError, match=r"REC0008.*found no file"):
        opened(root)


def test_standardised(sound: Path) -> None:
    raw = everything(opened(sound), "train")[0]
    scaled = everything(opened(sound, normalise="standard"), "train")[0]
    for name, values in scaled.items():
        counted = np.ones(values[:, 0].shape, bool) if name == "F" else raw[name].any(axis=1)
        assert not values.transpose(0, 2, 3, 1)[~counted].any()
        for channel in range(3):
            before = raw[name][:, channel][counted].astype(np.float64)
            spread = before.std() or 1.0
            np.testing.assert_allclose(values[:, channel][counted], (before - before.mean()) / spread, atol=1e-5)


def test_imagenet_and_unit(sound: Path) -> None:
    raw = everything(opened(sound), "val")[0]
    imagenet = everything(opened(sound, normalise="imagenet"), "val")[0]
    mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    np.testing.assert_allclose(imagenet["F"], (raw["F"] / 255 - mean) / std, atol=1e-5)
    np.testing.assert_allclose(imagenet["L"], raw["L"] / 255, atol=1e-6)
    unit = everything(opened(sound, normalise="unit"), "val")[0]
    np.testing.assert_allclose(unit["F"], raw["F"] / 255, atol=1e-6)
    np.testing.assert_allclose(unit["E"], raw["E"] / 255, atol=1e-6)
    for values in unit.values():
        assert 0 <= values.min() <= values.max() <= 1
    empty = ~raw["L"].any(axis=1)
    assert not unit["L"].transpose(0, 2, 3, 1)[empty].any()


def test_few_scenes_give_the_statistics(sound: Path) -> None:
    data = opened(sound, "F", normalise="standard", stats_samples=1)
    first = everything(data, "train")[0]["F"][0].astype(np.float64)
    np.testing.assert_allclose(first.mean(axis=(1, 2)), 0, atol=1e-5)


def test_split_goes_to_another_process(sound: Path) -> None:
    for cache_bytes in (0, 1 << 31):
        split = opened(sound, cache_bytes=cache_bytes).splits["train"]
        copy = pickle.loads(pickle.dumps(split))
        for name, values in split.batch([3, 0])[0].items():
            np.testing.assert_array_equal(copy.batch([3, 0])[0][name], values)


def test_indices_outside_are_refused(sound: Path) -> None:
    split = opened(sound, "F", cache_bytes=0).splits["val"]
    with pytest.raises(IndexError):
        split.batch([2])


def test_the_generated_set(tmp_path: Path) -> None:
    make_muses(tmp_path / "mini", train=2, val=1, test=1, size=(36, 64))
    data = open_muses(tmp_path / "mini", modalities=("F", "E", "L"))
    assert data.synthetic
    assert data.attribution == "synthetic scenes by mmablate data make muses"
    assert check_muses(tmp_path / "mini", modalities=("L", "E", "F"), thorough=True) == []
    assert summarise(data).n_test == 8
    files = find("dataset", "muses").files(tmp_path / "mini", {})
    assert set(data.content) <= set(files)


def test_options_of_the_catalogue_are_those_of_the_doors(sound: Path) -> None:
    options = find("dataset", "muses").options().model_dump(mode="json")
    assert list(open_muses(sound, modalities=["F"], **options).splits) == ["train", "val", "test"]
    assert check_muses(sound, modalities=["F"], thorough=True, **options) == []
