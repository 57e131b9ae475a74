"""RGB and LiDAR pairs: points of depth maps, pairs by name, and the mini set whose bodies are where they should be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmablate.catalog import find
from mmablate.catalog.rgb_lidar import RgbLidarMakeOptions, RgbLidarOptions
from mmablate.data.dealing import deal
from mmablate.data.image_folder.images import read_comment
from mmablate.data.rgb_lidar.lidar import directions, lidar_reader
from mmablate.data.rgb_lidar.mini import make_rgb_lidar, photograph, scan
from mmablate.data.rgb_lidar.opening import check_rgb_lidar, open_rgb_lidar
from mmablate.data.rgb_lidar.scene import SAME_AREA, Body, camera_rays, lidar_angles
from mmablate.errors import DataError

BOTH = ("rgb", "lidar")
SHAPE = (4, 6)
AZIMUTH, ZENITH = np.linspace(-0.5, 0.4, 4), np.linspace(0.3, -0.2, 6)


def write_set(root: Path, n: int = 10) -> Path:
    stream = np.random.default_rng(0)
    for label in ("cones", "rings"):
        (root / label / "rgb").mkdir(parents=True)
        (root / label / "lidar").mkdir()
        np.save(root / label / "azimuth.npy", AZIMUTH.astype(np.float32))
        np.save(root / label / "zenith.npy", ZENITH.astype(np.float32))
        for i in range(n):
            pixels = stream.integers(0, 256, size=(8, 8, 4)).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / "rgb" / f"{i:04d}.png")
            depth = stream.uniform(1, 80, size=SHAPE).astype(np.float32)
            np.save(root / label / "lidar" / f"{i:04d}.npy", depth)
    return root


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "set")


def told(root, **changes) -> str:
    options = {"modalities": BOTH, **changes}
    with pytest.raises(DataError) as caught:
        open_rgb_lidar(root, **options)
    assert check_rgb_lidar(root, **options, thorough=True) == caught.value.problems
    return "\n".join(caught.value.problems)


def whole(data, modality: str) -> dict[str, np.ndarray]:
    found = {}
    for split in data.splits.values():
        inputs, _ = split.batch(range(len(split)))
        found |= {split.describe(i).id: inputs[modality][i] for i in range(len(split))}
    return found


def points(depth: np.ndarray) -> np.ndarray:
    """Pixel by pixel, in float64."""
    made = np.zeros((4, *SHAPE))
    for i, a in enumerate(np.float32(AZIMUTH).astype(float)):
        for j, z in enumerate(np.float32(ZENITH).astype(float)):
            d = float(depth[i, j])
            if np.isfinite(d) and 0 < d < 50:
                made[:, i, j] = d * np.sin(-a) * np.cos(-z), d * np.cos(-a) * np.cos(-z), d * np.sin(-z), 1
    return made


# --- values ---------------------------------------------------------------------------------------------------


def test_depth_becomes_points_and_a_mask(root):
    path = root / "cones" / "lidar" / "0000.npy"
    depth = np.load(path)
    depth[0, :4] = [np.nan, np.inf, 0, -1]
    depth[1, :2] = [50, 49.99]
    np.save(path, depth)
    data = open_rgb_lidar(root, modalities=BOTH, lidar={"normalise": "none"})
    assert data.modalities == {"rgb": (3, 8, 8), "lidar": (4, *SHAPE)}
    for name, found in whole(data, "lidar").items():
        label, number = name.split("/")
        np.testing.assert_allclose(found, points(np.load(root / label / "lidar" / f"{number}.npy")), atol=2e-5)
    upright = whole(open_rgb_lidar(root, modalities=["lidar"], lidar={"normalise": "none", "upright": True}), "lidar")
    for name, found in whole(data, "lidar").items():
        np.testing.assert_array_equal(upright[name], found.transpose(0, 2, 1))


def test_points_are_standardised_over_the_returns_of_train(root):
    plain = open_rgb_lidar(root, modalities=BOTH, lidar={"normalise": "none"})
    raw, made = whole(plain, "lidar"), whole(open_rgb_lidar(root, modalities=BOTH), "lidar")
    train = [raw[plain.splits["train"].describe(i).id].astype(np.float64) for i in range(14)]
    returns = np.concatenate([one[:3, one[3] == 1] for one in train], axis=1)
    mean, std = returns.mean(axis=1)[:, None, None], returns.std(axis=1)[:, None, None]
    for name, found in made.items():
        there = raw[name][3]
        np.testing.assert_array_equal(found[3], there)
        np.testing.assert_allclose(found[:3], (raw[name][:3] - mean) / std * there, atol=1e-5)


def test_pictures_lose_their_transparency(root):
    made = whole(open_rgb_lidar(root, modalities=BOTH, rgb={"normalise": "none"}), "rgb")
    for name, found in made.items():
        label, number = name.split("/")
        pixels = np.array(Image.open(root / label / "rgb" / f"{number}.png"))
        np.testing.assert_array_equal(found, pixels[..., :3].transpose(2, 0, 1))
    assert open_rgb_lidar(root, modalities=["rgb"], rgb={"size": (4, 6)}).modalities == {"rgb": (3, 4, 6)}
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(root / "cones" / "rgb" / "0003.png")
    assert check_rgb_lidar(root, modalities=BOTH, thorough=True) == []
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(root / "cones" / "rgb" / "0003.png")
    assert "0003.png: expected 3 channels of 8-bit values" in told(root)


def test_angles_may_be_one_a_pixel():
    grid = np.meshgrid(AZIMUTH, ZENITH, indexing="ij")
    np.testing.assert_array_equal(directions(*grid), directions(AZIMUTH, ZENITH))
    np.testing.assert_allclose(np.linalg.norm(directions(AZIMUTH, ZENITH), axis=0), 1)


def test_splits(root):
    data = open_rgb_lidar(root, modalities=BOTH)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 14, "val": 2, "test": 4}
    published = open_rgb_lidar(root, modalities=BOTH, fractions=(0.8, 0.2, 0.0))
    assert {name: len(split) for name, split in published.splits.items()} == {"train": 16, "val": 4}
    assert published.scored_split == "val"
    assert published.notes == ("There is no test split: scores are those of the validation split.",)
    assert data.class_names == ("cones", "rings")
    alone = open_rgb_lidar(root, modalities=["lidar"])
    for name, split in alone.splits.items():
        ids = [split.describe(i).id for i in range(len(split))]
        assert ids == [data.splits[name].describe(i).id for i in range(len(split))]
    assert set(data.splits["train"].pictures(0)) == set(BOTH)
    assert data.splits["train"].pictures(0)["lidar"].shape == (*SHAPE, 3)


def test_the_published_numbers_of_pairs():
    """15,998 train and 4,000 validation, of 9,999 cubes and as many spheres."""
    labels = np.repeat([0, 1], 9999)
    dealt = deal(labels, range(len(labels)), (0.8, 0.2, 0.0), 0, "rgb_lidar")
    assert [len(rows) for rows in dealt] == [15_998, 4_000, 0]


# --- faults ---------------------------------------------------------------------------------------------------


def test_partners(root):
    (root / "cones" / "lidar" / "0003.npy").unlink()
    (root / "rings" / "rgb" / "0005.png").unlink()
    message = told(root)
    assert f"{root / 'cones/rgb/0003.png'}: expected its partner of lidar, cones/lidar/0003.npy, found none" in message
    assert f"{root / 'rings/lidar/0005.npy'}: expected its partner of rgb, rings/rgb/0005.png, found none" in message
    data = open_rgb_lidar(root, modalities=BOTH, missing="drop")
    assert data.notes == ("2 samples lack a modality and were dropped (without rgb 1, without lidar 1).",)
    assert sum(map(len, data.splits.values())) == 18


@pytest.mark.parametrize("missing", ["refuse", "drop", "mask"])
def test_a_class_without_any_file_of_a_modality_is_refused(root, missing):
    for path in (root / "rings" / "rgb").iterdir():
        path.unlink()
    line = f"{root}: expected files of rgb of every class, found none of 'rings' ('rings/rgb/{{id}}.png')"
    assert told(root, missing=missing).splitlines()[0] == line


def test_depths_beyond_float32_are_no_returns(root):
    depth = np.full(SHAPE, 2.0)
    depth[0, 0], depth[1, 1] = 1e300, -1e300
    np.save(root / "cones" / "lidar" / "0001.npy", depth)
    data = open_rgb_lidar(root, modalities=BOTH, lidar={"normalise": "none"})
    found = whole(data, "lidar")["cones/0001"]
    assert found[3].sum() == depth.size - 2
    assert not found[:, 0, 0].any()
    assert not found[:, 1, 1].any()


def test_files_at_fault(root):
    np.save(root / "cones" / "lidar" / "0001.npy", np.zeros((6, 4), dtype=np.float32))
    np.save(root / "cones" / "lidar" / "0002.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(root / "rings" / "lidar" / "0003.npy", np.zeros(SHAPE, dtype=complex))
    message = told(root)
    assert "0001.npy: expected a depth map of 4 x 6, as its angles say, found (6, 4)" in message
    assert "0002.npy: expected a depth map (H, W), found: " in message
    assert "0003.npy: expected a depth map (H, W), found complex128 of shape (4, 6)" in message
    data = open_rgb_lidar(root, modalities=BOTH, on_fault="drop")
    assert data.notes[0].startswith("3 samples were dropped for faulty files (")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("azimuth.npy", np.linspace(0, 90, 4), "azimuth.npy: expected angles in radians, found up to 90"),
        ("azimuth.npy", np.full(4, np.nan), "azimuth.npy: expected angles in radians, found up to nan"),
        ("zenith.npy", np.zeros((2, 2, 2)), "zenith.npy: expected angles in radians, (n,) or (H, W), found float64"),
        ("zenith.npy", np.zeros(5), "expected angles of 4 x 6, as of cones, found (4, 5)"),
        ("zenith.npy", np.zeros((3, 6)), "zenith.npy: expected angles that fit those of azimuth.npy"),
    ],
)
def test_angles_at_fault(root, name, values, message):
    np.save(root / "rings" / name, values)
    assert message in told(root)


def test_angles_that_are_not_there(root):
    (root / "rings" / "azimuth.npy").unlink()
    assert check_rgb_lidar(root, modalities=BOTH) == [
        f"{root / 'rings/azimuth.npy'}: expected the angles of its depth maps, found no such file"
    ]
    with pytest.raises(DataError, match=r"azimuth\.npy: expected angles in radians.*no such file"):
        open_rgb_lidar(root, modalities=BOTH)
    assert check_rgb_lidar(root, modalities=["rgb"], thorough=True) == []


def test_no_returns_at_all(root):
    for path in root.glob("*/lidar/*.npy"):
        np.save(path, np.full(SHAPE, 99, dtype=np.float32))
    with pytest.raises(DataError, match="expected returns within 50, found none"):
        open_rgb_lidar(root, modalities=BOTH)
    assert open_rgb_lidar(root, modalities=BOTH, lidar={"max_range": 100}).modalities["lidar"] == (4, *SHAPE)


# --- the mini set ---------------------------------------------------------------------------------------------

FEW = {"samples": 24, "size": 16}


def test_the_same_options_give_the_same_bytes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_rgb_lidar(tmp_path / name, **FEW, seed=seed)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 24 * 2 + 2 * 2 + 5  # pairs, angles of both classes, marks
    contents = [[(tmp_path / name / file).read_bytes() for file in files] for name in "abc"]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    with pytest.raises(DataError, match="found one of other options"):
        make_rgb_lidar(tmp_path / "a", **FEW, seed=2)


def test_the_mini_set_opens_and_says_that_it_is_synthetic(tmp_path):
    make_rgb_lidar(tmp_path / "set", **FEW)
    assert check_rgb_lidar(tmp_path / "set", modalities=BOTH, thorough=True) == []
    data = open_rgb_lidar(tmp_path / "set", modalities=BOTH)
    assert data.synthetic
    assert data.class_names == ("cubes", "spheres")
    assert data.modalities == {"rgb": (3, 16, 16), "lidar": (4, 16, 16)}
    assert read_comment(tmp_path / "set" / "cubes" / "rgb" / "0000.png").startswith("synthetic")
    for name in ("cubes", "spheres"):  # the mark of a part that was copied
        for part in ("lidar", "azimuth.npy", "zenith.npy"):
            (tmp_path / "part" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name / part).rename(tmp_path / "part" / name / part)
    assert open_rgb_lidar(tmp_path / "part", modalities=["lidar"]).synthetic
    mark = json.loads((tmp_path / "set" / "SYNTHETIC.json").read_text())
    assert mark["accuracy_at_best"] == {"rgb": 1 - 0.12 / 2, "lidar": 1 - 0.2 / 2, "rgb+lidar": 1 - 0.12 * 0.2 / 2}


def body(is_cube: bool, seed: int = 0) -> Body:
    return Body.draw(is_cube, 1.0, np.random.default_rng(seed))


@pytest.mark.parametrize("is_cube", [True, False])
def test_rays_end_on_the_surface(is_cube):
    rays = camera_rays(24, 1)
    for seed in range(5):
        one = body(is_cube, seed)
        distance, normals = one.hit(rays)
        met = np.isfinite(distance)
        assert 20 < met.sum() < 400
        ends = distance[met][:, None] * rays[met] - one.centre
        if is_cube:
            own = ends @ one.turn / (SAME_AREA * one.radius)
            np.testing.assert_allclose(np.abs(own).max(axis=1), 1, atol=1e-9)
            face = np.take_along_axis(own, np.abs(own).argmax(axis=1)[:, None], axis=1)
            np.testing.assert_allclose(np.abs(face), 1, atol=1e-9)
        else:
            np.testing.assert_allclose(np.linalg.norm(ends, axis=1), one.radius, atol=1e-9)
            np.testing.assert_allclose(normals[met], ends / one.radius, atol=1e-9)
        assert ((normals[met] * rays[met]).sum(axis=1) < 0).all()  # the side that faces the sensor
        np.testing.assert_allclose(np.linalg.norm(normals[met], axis=1), 1, atol=1e-9)
        np.testing.assert_allclose(one.turn @ one.turn.T, np.eye(3), atol=1e-12)


def test_outlines_of_both_shapes_are_of_one_size():
    rays = camera_rays(32, 1)
    areas = {
        shape: np.mean([np.isfinite(body(shape, seed).hit(rays)[0]).mean() for seed in range(150)])
        for shape in (True, False)
    }
    assert abs(areas[True] / areas[False] - 1) < 0.08


def test_both_sensors_see_the_body_at_one_place():
    azimuth, zenith = lidar_angles(24)
    pulses = np.moveaxis(directions(azimuth, zenith), 0, -1)
    for seed in range(4):
        one = body(True, seed)
        seen = np.isfinite(one.hit(camera_rays(24, 1))[0])
        met = np.isfinite(one.hit(pulses)[0]).T  # upright
        assert (seen & met).sum() > 0.7 * (seen | met).sum()


def test_what_is_hidden_leaves_no_trace():
    rays, pulses = camera_rays(16, 2), np.moveaxis(directions(*lidar_angles(16)), 0, -1)
    for hidden, same in ((True, True), (False, False)):
        pictures = [
            photograph(body(shape), rays, hidden, 1.0, 1.0, np.random.default_rng(3)) for shape in (True, False)
        ]
        scans = [scan(body(shape), pulses, hidden, 0.2, 1.0, np.random.default_rng(3)) for shape in (True, False)]
        assert np.array_equal(*pictures) == same
        assert np.array_equal(*scans) == same


def test_returns_are_lost_and_noisy_as_asked():
    pulses = np.moveaxis(directions(*lidar_angles(32)), 0, -1)
    truth = body(False).hit(pulses)[0]
    met = np.isfinite(truth)
    clean = scan(body(False), pulses, False, 0.0, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(clean[met], truth[met], rtol=1e-6)
    assert (clean[~met] == 100).all()
    kept = [
        (scan(body(False), pulses, False, 0.3, 0.0, np.random.default_rng(seed))[met] < 50).mean() for seed in range(60)
    ]
    assert abs(np.mean(kept) - 0.7) < 0.06
    assert np.std(kept) > 0.1  # some scans are better than others


def test_the_catalogue_entry(tmp_path):
    entry = find("dataset", "rgb_lidar")
    make_rgb_lidar(tmp_path / "set", **{**RgbLidarMakeOptions().model_dump(mode="json"), **FEW})
    make_rgb_lidar(tmp_path / "set", **FEW)  # of the same defaults: left alone
    options = RgbLidarOptions().model_dump(mode="json")
    data = open_rgb_lidar(tmp_path / "set", modalities=entry.modalities, **options)
    files = entry.files(tmp_path / "set", options)
    assert set(data.content) < set(files)
    assert {path.name for path in set(files) - set(data.content)} == {"azimuth.npy", "zenith.npy"}
    assert not entry.together(options)
    assert entry.together({**options, "missing": "drop"})


def test_a_reader_of_many_folders_needs_one_size(root):
    paths = sorted(root.glob("*/lidar/*.npy"))
    assert lidar_reader(paths, max_range=50, upright=False).shape == (4, *SHAPE)
