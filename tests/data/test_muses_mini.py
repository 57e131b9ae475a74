"""The mini generator of MUSES: its tree, its agreement of the three sensors, its conditions, its mark, its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from mmablate.data.muses import mini
from mmablate.data.muses.classes import CLASS_NAMES, LABEL_IDS, SPLITS, TIMES, VOID, WEATHERS
from mmablate.data.muses.mini import _world, make_muses, rig
from mmablate.data.muses.mini.camera import bonnet
from mmablate.data.muses.mini.layout import draw_world, wanted
from mmablate.data.muses.mini.lidar import scan, sweep
from mmablate.data.muses.mini.mark import FRAME_COMMENT, SYNTHETIC_FILE, is_synthetic
from mmablate.data.muses.mini.raycast import GROUND, SKY, Rays, cast
from mmablate.data.muses.mini.world import CLASS_ID, Ground, Material, Shape, Solid, World
from mmablate.data.muses.opening import open_muses
from mmablate.data.muses.projection import Calibration, project_events
from mmablate.errors import DataError

SIZE = (54, 96)
SMALL = {"train": 3, "val": 1, "test": 2, "size": SIZE}
SUFFIXES = {
    "frame_camera": "frame_camera.png",
    "event_camera": "event_camera.h5",
    "lidar": "lidar.bin",
    "gnss": "gnss.txt",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set, made once."""
    root = tmp_path_factory.mktemp("mini") / "muses"
    make_muses(root, **SMALL, seed=3)
    return root


@pytest.fixture(scope="module")
def meta(made):
    return json.loads((made / "meta.json").read_text())


def digest(root: Path) -> dict[str, str]:
    """Path below the root -> hash of the bytes."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def image(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.array(opened)


def labels_of(root: Path, entry: dict) -> np.ndarray:
    place = entry["path_to_frame_camera"].replace("frame_camera/", "gt_semantic/", 1)
    return image(root / place.replace("_frame_camera.png", "_gt_labelTrainIds.png"))


def cloud_of(root: Path, entry: dict) -> np.ndarray:
    return np.fromfile(root / entry["path_to_lidar"], dtype="<f8").reshape(-1, 6)


def projected(points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 2) u, v of LiDAR points by calib.json, as the dataset's tools compute them, and the depth."""
    calib = rig.calibration()
    transform = np.array(calib["extrinsics"]["lidar2rgb"])
    k = np.array(calib["intrinsics"]["rgb"]["K"])
    k[0] *= size[1] / 1920
    k[1] *= size[0] / 1080
    seen = (transform @ np.column_stack([points, np.ones(len(points))]).T)[:3]
    pixels = k @ seen
    return (pixels[:2] / pixels[2]).T, seen[2]


def a_world(index: int = 1) -> World:
    return draw_world(np.random.default_rng(index), wanted(index, 60))


# --- The tree


def test_every_file_of_a_scene_lies_where_meta_says_and_nothing_else_does(made, meta):
    expected = {"meta.json", "calib.json", SYNTHETIC_FILE}
    for name, entry in meta.items():
        folder = f"{entry['split']}/{entry['weather']}/{entry['time_of_day']}"
        for modality, suffix in SUFFIXES.items():
            path = f"{modality}/{folder}/{name}_{suffix}"
            assert entry[f"path_to_{modality}"] == path
            expected.add(path)
        expected |= {f"gt_semantic/{folder}/{name}_gt_label{kind}.png" for kind in ("TrainIds", "Ids")}
    assert set(digest(made)) == expected


def test_counts_and_conditions_of_each_split(meta):
    found = {split: [e for e in meta.values() if e["split"] == split] for split in SPLITS}
    assert {split: len(entries) for split, entries in found.items()} == {"train": 3, "val": 1, "test": 16}
    assert len({(e["weather"], e["time_of_day"]) for e in found["train"]}) == 3
    pairs = sorted((e["weather"], e["time_of_day"]) for e in found["test"])
    assert pairs == sorted(2 * [(weather, time) for weather in WEATHERS for time in TIMES])
    assert len({name.split("_frame_")[0] for name in meta if meta[name]["split"] == "test"}) == 8


def test_a_test_world_has_the_same_labels_under_all_conditions(made, meta):
    for number in {name[-6:] for name, entry in meta.items() if entry["split"] == "test"}:
        same = [labels_of(made, entry) for name, entry in meta.items() if name.endswith(number)]
        assert len(same) == 8
        assert all(np.array_equal(same[0], other) for other in same)
    assert len({labels_of(made, entry).tobytes() for entry in meta.values()}) == 3 + 1 + 2


def test_frames_and_labels_have_the_size_and_the_values(made, meta):
    to_id = dict(enumerate(LABEL_IDS)) | {VOID: 0}
    for entry in meta.values():
        frame, labels = image(made / entry["path_to_frame_camera"]), labels_of(made, entry)
        assert (frame.shape, frame.dtype) == ((*SIZE, 3), np.uint8)
        assert (labels.shape, labels.dtype) == (SIZE, np.uint8)
        assert set(np.unique(labels)) <= set(to_id)
        assert (labels == VOID).any()
        ids = image(
            made
            / entry["path_to_frame_camera"]
            .replace("frame_camera/", "gt_semantic/", 1)
            .replace("frame_camera.png", "gt_labelIds.png")
        )
        assert np.array_equal(ids, np.vectorize(to_id.get)(labels))


def test_event_files_hold_a_sorted_window_of_30_ms(made, meta):
    for entry in meta.values():
        with h5py.File(made / entry["path_to_event_camera"]) as file:
            group = file["events"]
            assert {name: group[name].dtype.str for name in group} == {"t": "<u4", "x": "<u2", "y": "<u2", "p": "|u1"}
            t, x, y, p = (group[name][:] for name in "txyp")
            steps, start = file["ms_to_idx"][:], int(file["t_offset"][()])
        assert len(t) == len(x) == len(y) == len(p) > 100
        assert (np.diff(t.astype(np.int64)) >= 0).all()
        assert t.max() < 30_000
        assert x.max() < 1280
        assert y.max() < 720
        assert set(np.unique(p)) == {0, 1}
        assert steps.tolist() == [int((t < 1000 * k).sum()) for k in range(30)]
        ends = [entry[f"frame_camera_exposure_{end}_timestamp_us"] for end in ("start", "end")]
        assert start + 30_000 == sum(ends) / 2


def test_lidar_files_hold_rings_intensities_and_times_of_one_turn(made, meta):
    for entry in meta.values():
        cloud = cloud_of(made, entry)
        middle = (
            entry["frame_camera_exposure_start_timestamp_us"] + entry["frame_camera_exposure_end_timestamp_us"]
        ) / 2e6
        assert 1000 < len(cloud) < 4000
        assert np.isfinite(cloud).all()
        assert set(np.unique(cloud[:, 4])) <= set(range(26))
        assert (cloud[:, 3] >= 0).all()
        assert (cloud[:, 3] <= 255).all()
        assert np.abs(cloud[:, 5] - middle).max() <= 0.026
        assert (cloud[:, 0] < 0).any()  # it looks backwards too, as a turning LiDAR does
        assert np.linalg.norm(cloud[:, :3], axis=1).min() > 0.4


def test_gnss_is_one_line_of_28_integers_that_fits_the_scene(made, meta):
    for entry in meta.values():
        lines = (made / entry["path_to_gnss"]).read_text().splitlines()
        assert len(lines) == 1
        values = [int(value) for value in lines[0].split()]
        assert len(values) == 28
        start, end = (entry[f"frame_camera_exposure_{name}_timestamp_us"] for name in ("start", "end"))
        assert start < values[1] < end
        assert 5000 <= values[23] <= 13_000


def test_meta_tells_the_condition(meta):
    for entry in meta.values():
        falls = entry["weather"] in ("rain", "snow")
        assert (entry["precipitation_level"] == "none") is not falls
        assert (entry["precipitation_tag"] == entry["weather"]) is falls
        assert entry["sun_level"] == "dark" or entry["time_of_day"] == "day"
        assert entry["tunnel"] is False


def test_calibration_is_rigid_and_complete(made):
    calib = json.loads((made / "calib.json").read_text())
    assert set(calib["extrinsics"]) == {"lidar2rgb", "event2rgb", "radar2rgb", "lidar2gnss", "radar2gnss"}
    for transform in map(np.array, calib["extrinsics"].values()):
        turn = transform[:3, :3]
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert transform[3].tolist() == [0, 0, 0, 1]
        assert not np.allclose(transform, np.eye(4))
    # a point 10 m ahead of the LiDAR is about 10 m in front of the camera
    ahead = np.array(calib["extrinsics"]["lidar2rgb"]) @ [10, 0, 0, 1]
    assert ahead[2] == pytest.approx(10, abs=0.8)


# --- Geometry


def wall_ahead(**changes) -> World:
    """Empty ground and one box, 10 m ahead."""
    flat = Ground(0, 0, 0, 4, (2, 0), (0,), False, None, ((0.3,) * 3, (0.5,) * 3, (0.2,) * 3))
    solid = Solid(
        **{
            "shape": Shape.BOX, "centre": (11.0, 0.0, 2.0), "half": (1.0, 3.0, 2.0), "yaw": 0.0,
            "label": CLASS_ID["wall"], "material": Material.BRICK, "colour": (0.5, 0.5, 0.5), **changes,
        }
    )  # fmt: skip
    return World((solid,), flat, 10.0, np.array([0.0, 0.0, 1.0]), np.zeros((0, 3)), 0.0, 5)


def one_ray(world: World, direction, origin=(0.0, 0.0, 1.5), time=0.0):
    way = np.array([direction], dtype=float)
    return cast(world, Rays.of(way / np.linalg.norm(way)), np.array(origin), time)


@pytest.mark.parametrize(
    ("changes", "distance"),
    [
        ({}, 10.0),
        ({"yaw": np.pi / 2}, 8.0),
        ({"shape": Shape.ELLIPSOID, "centre": (11.0, 0.0, 1.5)}, 10.0),
        ({"shape": Shape.CYLINDER}, 10.0),
        ({"velocity": (-20.0, 0.0, 0.0)}, 10.0),
    ],
)
def test_a_ray_straight_ahead_meets_the_front(changes, distance):
    hit = one_ray(wall_ahead(**changes), (1, 0, 0))
    assert hit.distance[0] == pytest.approx(distance)
    assert hit.normal[0] == pytest.approx([-1, 0, 0], abs=1e-9)
    assert hit.label[0] == CLASS_ID["wall"]


def test_a_moving_solid_is_met_where_it_is_at_the_time_of_the_ray():
    world = wall_ahead(velocity=(-20.0, 0.0, 0.0))
    assert one_ray(world, (1, 0, 0), time=0.1).distance[0] == pytest.approx(8)
    assert one_ray(world, (1, 0, 0), time=-0.1).distance[0] == pytest.approx(12)


@pytest.mark.parametrize(
    ("direction", "label", "solid"),
    [
        ((1, 0, -1), "road", GROUND), ((1, 3.5, -1), "sidewalk", GROUND), ((0, -3.5, -1), "terrain", GROUND),
        ((1, 0, 1), "sky", SKY), ((0, 1, 0), "sky", SKY),
    ],
)  # fmt: skip
def test_what_no_solid_stops_is_ground_or_sky(direction, label, solid):
    hit = one_ray(wall_ahead(), direction)
    assert (hit.label[0], hit.solid[0]) == (CLASS_ID[label], solid)
    assert np.isfinite(hit.distance[0]) == (solid == GROUND)


def test_hits_agree_with_a_search_along_the_ray():
    """The solids as inequalities in float64, stepped through at 2 mm: no formula in common with the caster."""
    world = a_world(2)
    directions = rig.rgb_rays((9, 16)).direction
    hits = cast(world, Rays.of(directions), rig.RGB_POSE[:3, 3])
    steps = np.arange(0.05, 25, 0.002)
    for row in np.flatnonzero(hits.distance < 24.9)[::3]:
        points = rig.RGB_POSE[:3, 3] + steps[:, None] * directions[row]
        inside = points[:, 2] <= 0
        for solid in world.solids:
            c, s = np.cos(solid.yaw), np.sin(solid.yaw)
            away = points - solid.centre
            own = np.stack([c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0], away[:, 2]])
            own /= np.array(solid.half)[:, None]
            if solid.shape == Shape.BOX:
                inside |= (np.abs(own) < 1).all(axis=0)
            elif solid.shape == Shape.ELLIPSOID:
                inside |= (own**2).sum(axis=0) < 1
            elif solid.half[0] > 0.1:  # the caster's cylinders have no lids; thin ones show none
                continue
        if inside.any():
            assert hits.distance[row] <= steps[inside.argmax()] + 1e-6


def test_lidar_points_land_on_the_pixels_of_what_they_hit():
    """Noiseless hits of the scan, projected by calib.json, against the frame's own ray cast."""
    size = (108, 192)
    for index in range(3):
        world = a_world(index)
        seen = cast(world, rig.rgb_rays(size), rig.RGB_POSE[:3, 3])
        hits, _ = sweep(world)
        direction, _, _ = scan()
        finite = np.isfinite(hits.distance) & (hits.distance < 60)
        pixels, depth = projected(direction[finite] * hits.distance[finite, None], size)
        ok = (depth > 1) & (pixels > 1).all(axis=1) & (pixels < [size[1] - 2, size[0] - 2]).all(axis=1)
        u, v = pixels[ok].astype(int).T
        label, solid = seen.label.reshape(size), seen.solid.reshape(size)
        around = [(dv, du) for dv in (-1, 0, 1) for du in (-1, 0, 1)]
        met = hits.point[finite][ok]
        away = np.sqrt(np.square(met - rig.RGB_POSE[:3, 3]).sum(axis=1))
        # the LiDAR sits 0.5 m away from the camera and looks over things that hide others from it
        both = seen.distance.reshape(size)[v, u] > away - 0.3
        exact = solid[v, u] == hits.solid[finite][ok]
        near = np.any([label[v + dv, u + du] == hits.label[finite][ok] for dv, du in around], axis=0)
        assert ok.sum() > 900
        assert both.mean() > 0.9
        assert exact[both].mean() > 0.96
        assert near[both].mean() > 0.99
        apart = np.sqrt(np.square(seen.point.reshape(*size, 3)[v, u] - met).sum(axis=1))
        assert np.median(apart[exact]) < 0.15


def test_files_of_the_clear_day_agree_with_the_labels(made, meta):
    """The same from the files alone: high points are no road, and what is labelled road lies on the plane z = 0."""
    pose = rig.LIDAR_POSE
    checked = 0
    for entry in meta.values():
        if (entry["weather"], entry["time_of_day"]) != ("clear", "day"):
            continue
        cloud = cloud_of(made, entry)[:, :3]
        pixels, depth = projected(cloud, SIZE)
        ok = (depth > 1) & (pixels > 0).all(axis=1) & (pixels < [SIZE[1] - 1, SIZE[0] - 1]).all(axis=1)
        u, v = pixels[ok].astype(int).T
        height = (cloud @ pose[:3, :3].T + pose[:3, 3])[ok, 2]
        labels = labels_of(made, entry)[v, u]
        assert np.quantile(np.abs(height[labels == CLASS_ID["road"]]), 0.9) < 0.12
        assert np.median(height[np.isin(labels, [CLASS_ID["building"], CLASS_ID["vegetation"]])]) > 0.8
        checked += 1
    assert checked == 4


def test_events_fall_on_the_edges_of_the_frame(made, meta):
    """Projected by rotation alone, as the dataset's tool does, events lie where the frame of a clear day changes."""
    calib = rig.calibration()
    k, ke = (np.array(calib["intrinsics"][name]["K"]) for name in ("rgb", "event"))
    turn = np.array(calib["extrinsics"]["event2rgb"])[:3, :3]
    k[0] *= SIZE[1] / 1920
    k[1] *= SIZE[0] / 1080
    for entry in meta.values():
        if (entry["weather"], entry["time_of_day"]) != ("clear", "day"):
            continue
        with h5py.File(made / entry["path_to_event_camera"]) as file:
            x, y = file["events/x"][:].astype(float), file["events/y"][:].astype(float)
        way = k @ turn @ np.linalg.inv(ke) @ np.stack([x, y, np.ones_like(x)])
        u, v = np.floor(way[:2] / way[2] + 0.5 * np.array([[SIZE[1] / 1920], [SIZE[0] / 1080]])).astype(int)
        ok = (u >= 0) & (u < SIZE[1]) & (v >= 0) & (v < SIZE[0])
        assert ok.mean() > 0.97
        grey = image(made / entry["path_to_frame_camera"]).astype(float).mean(axis=2)
        edge = np.hypot(*np.gradient(grey))
        shown = ~bonnet(SIZE)
        # the cameras are 6 cm apart, which moves near edges by up to a pixel
        assert edge[v[ok], u[ok]].mean() > 1.45 * edge[shown].mean()


def test_event_pixels_meet_what_the_frame_shows_where_they_are_projected_to():
    """The event camera's rays from the place of the frame camera: without parallax the projection is exact."""
    size = (54, 96)
    content = rig.calibration()
    calibration = Calibration(
        {
            "rgb.K": np.array(content["intrinsics"]["rgb"]["K"]),
            "event.K": np.array(content["intrinsics"]["event"]["K"]),
            "event2rgb": np.array(content["extrinsics"]["event2rgb"]),
        }
    )
    x, y = rig.event_pixels(size)
    one = np.ones(1)
    target = np.array(
        [project_events(one * a, one * b, one, calibration, size).argmax() // 2 for a, b in zip(x, y, strict=True)]
    )
    same = {(down, right): [] for down in (-1, 0, 1) for right in (-1, 0, 1)}
    for index in range(3):
        world = a_world(index)
        frame = cast(world, rig.rgb_rays(size), rig.RGB_POSE[:3, 3]).solid.reshape(size)
        met = cast(world, rig.event_rays(size), rig.RGB_POSE[:3, 3]).solid
        for (down, right), shares in same.items():
            shares.append((np.roll(frame, (-down, -right), (0, 1)).ravel()[target] == met).mean())
    mean = {shift: np.mean(shares) for shift, shares in same.items()}
    assert mean[0, 0] > 0.94
    # Half a pixel of error on one side would bring the neighbour there as near as the pixel itself.
    for axis in ((1, 0), (0, 1)):
        before, after = (mean[sign * axis[0], sign * axis[1]] for sign in (-1, 1))
        assert abs(before - after) < 0.5 * (mean[0, 0] - max(before, after))


# --- Classes and conditions


def test_the_schedule_shows_every_rare_class_in_every_split():
    for count in (1, 2, 3, 5, 20, 60):
        names = [name for index in range(count) for name in wanted(index, count)]
        for name in set(wanted(0, 1)):
            assert names.count(name) >= min(2, count)
    assert len(set(wanted(0, 1))) == 11


def test_conditions_hurt_each_sensor_in_its_own_way(made, meta):
    def mean(measure, **where):
        rows = [e for e in meta.values() if e["split"] == "test" and all(e[k] == v for k, v in where.items())]
        return np.mean([measure(entry) for entry in rows])

    def contrast(entry):
        return image(made / entry["path_to_frame_camera"])[: SIZE[0] // 2].mean(axis=2).std()

    def brightness(entry):
        return image(made / entry["path_to_frame_camera"]).mean()

    def far_points(entry):
        return (np.linalg.norm(cloud_of(made, entry)[:, :3], axis=1) > 25).sum()

    def clutter(entry):
        """Points in the air right before the sensor."""
        cloud = cloud_of(made, entry)
        return ((np.linalg.norm(cloud[:, :3], axis=1) < 4) & (cloud[:, 2] > -0.8)).sum()

    def n_events(entry):
        with h5py.File(made / entry["path_to_event_camera"]) as file:
            return len(file["events/t"])

    clear_day = {"weather": "clear", "time_of_day": "day"}
    fog_day = {"weather": "fog", "time_of_day": "day"}
    assert mean(brightness, time_of_day="night") < 0.6 * mean(brightness, time_of_day="day")
    assert mean(contrast, **fog_day) < 0.6 * mean(contrast, **clear_day)
    assert mean(far_points, weather="fog") < 0.4 * mean(far_points, weather="clear")
    assert mean(far_points, weather="clear", time_of_day="night") > 0.8 * mean(far_points, **clear_day)
    for weather in ("fog", "snow"):
        assert mean(clutter, weather=weather) > 5 * mean(clutter, weather="clear") + 20
    assert mean(n_events, **fog_day) < 0.6 * mean(n_events, **clear_day)


# --- Mark, bytes, refusals


def test_the_set_says_that_it_is_synthetic(made, meta, tmp_path):
    mark = json.loads((made / SYNTHETIC_FILE).read_text())
    assert mark["synthetic"] is True
    assert mark["generator"] == "mmablate data make muses"
    assert mark["options"] == {"train": 3, "val": 1, "test": 2, "size": list(SIZE), "seed": 3}
    for path in made.rglob("*.png"):
        with Image.open(path) as opened:
            assert opened.info["Comment"] == FRAME_COMMENT
    for entry in meta.values():
        with h5py.File(made / entry["path_to_event_camera"]) as file:
            assert file.attrs["comment"] == FRAME_COMMENT
    assert is_synthetic(made)
    # one frame, copied away from everything else, still tells
    lone = tmp_path / "copied" / "frame_camera" / "train"
    lone.mkdir(parents=True)
    entry = next(iter(meta.values()))
    (lone / "a.png").write_bytes((made / entry["path_to_frame_camera"]).read_bytes())
    assert is_synthetic(tmp_path / "copied")


@pytest.mark.parametrize("kept", ["frame_camera", "gt_semantic", "event_camera"])
def test_any_folder_that_was_copied_tells(made, tmp_path, kept):
    """A study of events and LiDAR has no frames, and the mark file need not have come along."""
    shutil.copytree(made / kept, tmp_path / "set" / kept)
    shutil.copytree(made / "lidar", tmp_path / "set" / "lidar")
    assert is_synthetic(tmp_path / "set")


def test_an_opened_study_without_frames_says_that_it_is_synthetic(made, tmp_path):
    for folder in ("gt_semantic", "event_camera", "lidar"):
        shutil.copytree(made / folder, tmp_path / "set" / folder)
    shutil.copy(made / "calib.json", tmp_path / "set")
    for modalities in (("E",), ("L",), ("E", "L")):
        data = open_muses(tmp_path / "set", modalities=modalities)
        assert data.synthetic
        assert data.attribution == "synthetic scenes by mmablate data make muses"


@pytest.mark.parametrize("strange", ["train", "val", "test"])
@pytest.mark.parametrize("kind", ["frame_camera", "gt_semantic", "event_camera"])
def test_a_tree_of_both_is_not_taken_for_real(made, tmp_path, kind, strange):
    """Files of another origin in every split, and one synthetic one: last by its name, in a folder of its own."""
    ending = ".h5" if kind == "event_camera" else ".png"
    for split in SPLITS:
        for weather in WEATHERS[:2]:
            folder = tmp_path / kind / split / weather / "day"
            folder.mkdir(parents=True)
            if ending == ".h5":
                h5py.File(folder / "a.h5", "w").close()
            else:
                Image.new("L", (4, 4)).save(folder / "a.png")
    assert not is_synthetic(tmp_path)
    target = tmp_path / kind / strange / "snow" / "night"
    target.mkdir(parents=True)
    (target / f"._z{ending}").write_bytes(b"of a file system that keeps notes beside files")
    shutil.copy(next((made / kind).rglob(f"*{ending}")), target / f"z{ending}")
    assert is_synthetic(tmp_path)


def test_the_mark_is_found_through_links(made, tmp_path):
    (tmp_path / "gt_semantic").mkdir()
    (tmp_path / "gt_semantic" / "train").symlink_to(made / "gt_semantic" / "train", target_is_directory=True)
    assert is_synthetic(tmp_path)


def test_other_sets_are_not_synthetic(tmp_path):
    (tmp_path / "frame_camera").mkdir()
    assert not is_synthetic(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "frame_camera" / "a.png")
    assert not is_synthetic(tmp_path)
    (tmp_path / "frame_camera" / "a.png").write_bytes(b"\x89PNG broken")
    assert not is_synthetic(tmp_path)
    (tmp_path / "event_camera").mkdir()
    (tmp_path / "event_camera" / "a.h5").write_bytes(b"\x89HDF broken")
    assert not is_synthetic(tmp_path)
    with h5py.File(tmp_path / "event_camera" / "a.h5", "w") as file:
        file.attrs["comment"] = np.arange(3)
    assert not is_synthetic(tmp_path)


def test_same_seed_same_bytes_in_another_process(made, tmp_path):
    """With other hash seeds, another number of threads and another clock."""
    lines = ["from pathlib import Path", "from mmablate.data.muses.mini import make_muses"]
    code = "\n".join([*lines, f"make_muses(Path('s'), **{SMALL}, seed=3)"])
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert digest(tmp_path / "s") == digest(made)


def test_another_seed_gives_other_scenes(made, meta, tmp_path):
    make_muses(tmp_path / "s", train=1, val=1, test=1, size=SIZE, seed=4)
    other = {
        labels_of(tmp_path / "s", e).tobytes() for e in json.loads((tmp_path / "s/meta.json").read_text()).values()
    }
    assert len(other) == 3
    assert not other & {labels_of(made, entry).tobytes() for entry in meta.values()}


def test_a_set_of_the_same_options_is_left_alone_and_one_of_others_refused(tmp_path):
    root = tmp_path / "s"
    make_muses(root, train=1, val=1, test=1, size=(16, 16))
    (root / "note").write_text("mine")
    make_muses(root, train=1, val=1, test=1, size=(16, 16))
    assert (root / "note").exists()
    with pytest.raises(DataError, match=r"found one of other options \(.*'train': 1"):
        make_muses(root, train=2, val=1, test=1, size=(16, 16))
    assert (root / "note").exists()
    assert len(list((root / "frame_camera" / "train").rglob("*.png"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_several_processes_write_the_set_of_one(tmp_path, monkeypatch):
    options = {"train": 3, "val": 2, "test": 1, "size": (16, 16)}
    make_muses(tmp_path / "one", **options)
    monkeypatch.setattr(mini, "WORLDS_A_PROCESS", 1)
    monkeypatch.setattr(mini.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    make_muses(tmp_path / "two", **options)
    contents = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    ]
    assert contents[0] == contents[1]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(mini, "WORLDS_A_PROCESS", 1)
    monkeypatch.setattr(mini.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)


@pytest.mark.parametrize("places", [None, os.pathsep])
@pytest.mark.usefixtures("two_cores")
def test_processes_import_nothing_from_the_folder_one_works_in(tmp_path, monkeypatch, places):
    (tmp_path / "h5py.py").write_text("raise SystemExit('of the folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if places is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", places)
    make_muses(tmp_path / "s", train=1, val=1, test=1, size=(16, 16))
    assert is_synthetic(tmp_path / "s")


def stand_in(folder, monkeypatch, text):
    """Another program in the interpreter's place; the environment tells it the folder."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setenv("STAND_IN", str(folder))
    monkeypatch.setattr(mini.sys, "executable", str(script))


@pytest.mark.usefixtures("two_cores")
def test_a_process_that_dies_before_it_reads_its_jobs_is_told(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo no memory >&2; exit 3")
    jobs = [(tmp_path / ("long" * 50), "train", 0, index, 4000, (16, 16), 0, index) for index in range(4000)]
    with pytest.raises(DataError, match="ended with status 3: no memory"):
        list(mini._made(jobs))


@pytest.mark.usefixtures("two_cores")
def test_an_answer_that_is_no_json_is_told(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "cat >/dev/null; echo hello")
    with pytest.raises(DataError, match=r"answered 'hello.n', expected JSON"):
        make_muses(tmp_path / "s", train=1, val=1, test=1, size=(16, 16))


@pytest.mark.parametrize("dies", ["train", "val"])
@pytest.mark.usefixtures("two_cores")
def test_where_one_process_dies_no_other_goes_on_writing(tmp_path, monkeypatch, dies):
    """The first process has the training world, the second the other one; each may be the one to die."""
    own = tmp_path / "own"
    own.mkdir()
    lines = [
        "read -r jobs || true",
        'case "$jobs" in',
        f'*{dies}*) while [ ! -s "$STAND_IN/pid" ]; do sleep 0.05; done; exit 5 ;;',
        "esac",
        'echo $$ > "$STAND_IN/pid"',
        "exec sleep 30",
    ]
    stand_in(own, monkeypatch, "\n".join(lines))
    jobs = [(tmp_path, split, 0, 0, 1, (16, 16), 0, 0) for split in ("train", "val")]
    started = time.monotonic()
    with pytest.raises(DataError, match="status 5"):
        list(mini._made(jobs))
    assert time.monotonic() - started < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int((own / "pid").read_text()), 0)


def test_what_the_generator_did_not_make_is_refused_and_kept(tmp_path):
    (tmp_path / "photo.png").write_text("mine")
    with pytest.raises(DataError, match="expected an empty folder or a set of these options, found other files"):
        make_muses(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    with pytest.raises(DataError, match="found a file"):
        make_muses(tmp_path / "photo.png", **SMALL)
    with pytest.raises(DataError, match="cannot be written"):
        make_muses(tmp_path / "photo.png" / "below", **SMALL)


def test_an_empty_folder_is_taken(tmp_path):
    make_muses(tmp_path, train=1, val=1, test=1, size=(16, 16))
    assert (tmp_path / SYNTHETIC_FILE).is_file()


def test_a_run_that_dies_leaves_no_set_behind(tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmablate.data.muses.mini.write_json", die)
    with pytest.raises(KeyboardInterrupt):
        make_muses(tmp_path / "s", train=1, val=1, test=1, size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_twenty_worlds_of_any_split_show_all_classes():
    for place in range(len(SPLITS)):
        counts = np.zeros(len(CLASS_NAMES))
        for index in range(20):
            world = _world(0, place, index, wanted(index, 20), SIZE)
            seen = cast(world, rig.rgb_rays(SIZE), rig.RGB_POSE[:3, 3])
            counts += np.bincount(seen.label[seen.label < VOID], minlength=len(CLASS_NAMES))
        share = dict(zip(CLASS_NAMES, counts / counts.sum(), strict=True))
        assert min(share.values()) > 0.002, share
