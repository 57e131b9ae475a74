"""Projection to the RGB plane against loops of a few lines, and the upstream faults that must not come back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from muses_samples import calibration, events, lidar_points, rotation

from mmablate.data.muses.projection import (
    Calibration,
    dilate_counts,
    dilate_lidar_image,
    event_homography,
    in_window,
    project_events,
    project_lidar,
    read_calibration,
    resize_nearest,
)

SHAPE = (54, 97)


@pytest.fixture
def rig(tmp_path: Path) -> Calibration:
    path = tmp_path / "calib.json"
    path.write_text(json.dumps(calibration()))
    read, faults = read_calibration(path, ("E", "L"))
    assert not faults
    return read


def scaled_k(shape: tuple[int, int]) -> list[list[float]]:
    k = calibration()["intrinsics"]["rgb"]["K"]
    return [[a * shape[1] / 1920 for a in k[0]], [a * shape[0] / 1080 for a in k[1]], k[2]]


def lidar_by_loop(points: np.ndarray, shape: tuple[int, int], min_range: float) -> np.ndarray:
    """Point by point, in Python floats; the nearest on a pixel stays, the later of two equally near."""
    height, width = shape
    k, transform = scaled_k(shape), calibration()["extrinsics"]["lidar2rgb"]
    image = np.zeros((height, width, 3), dtype=np.float32)
    best: dict[tuple[int, int], float] = {}
    for x, y, z, intensity, *_ in points.tolist():
        distance = math.sqrt(x * x + y * y + z * z)
        cx, cy, cz = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in transform[:3])
        if distance < min_range or cz <= 0:
            continue
        u = (k[0][0] * cx + k[0][1] * cy + k[0][2] * cz) / cz
        v = (k[1][0] * cx + k[1][1] * cy + k[1][2] * cz) / cz
        if not (0 < u < width - 1 and 0 < v < height - 1):
            continue
        pixel = int(v), int(u)
        if distance <= best.get(pixel, math.inf):
            best[pixel] = distance
            image[pixel] = distance, intensity, z
    return image


@pytest.mark.parametrize("shape", [SHAPE, (36, 64), (80, 80)])
@pytest.mark.parametrize("min_range", [1.0, 0.0, 12.5])
def test_lidar_is_the_loop(rig: Calibration, shape: tuple[int, int], min_range: float) -> None:
    points = lidar_points(3)
    image = project_lidar(points, rig, shape, min_range)
    assert image.dtype == np.float32
    assert 50 < (image[..., 0] > 0).sum() < len(points) / 2
    np.testing.assert_allclose(image, lidar_by_loop(points, shape, min_range), rtol=1e-6)


def camera_points(rig: Calibration, *places: tuple[float, float, float], intensity: tuple[float, ...]) -> np.ndarray:
    """LiDAR points at these places of the RGB camera's frame."""
    inverse = np.linalg.inv(rig.matrices["lidar2rgb"])
    points = np.zeros((len(places), 6))
    for row, place, strength in zip(points, places, intensity, strict=True):
        row[:3] = (inverse @ [*place, 1])[:3]
        row[3] = strength
    return points


def test_points_behind_the_camera_are_dropped(rig: Calibration) -> None:
    """Upstream divides by a negative Z and draws them mirrored."""
    behind = camera_points(rig, (0.5, 0.5, -10), (-1, 0.2, -4), intensity=(1, 2))
    assert not project_lidar(behind, rig, SHAPE, 1.0).any()
    ahead = camera_points(rig, (0.5, 0.5, 10), (-1, 0.2, 4), intensity=(1, 2))
    assert (project_lidar(ahead, rig, SHAPE, 1.0)[..., 0] > 0).sum() == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearest_point_of_a_pixel_wins(rig: Calibration, order: tuple[int, int]) -> None:
    """Upstream keeps whichever comes last in the file."""
    both = camera_points(rig, (0, 0, 10), (0, 0, 30), intensity=(7, 9))[list(order)]
    image = project_lidar(both, rig, SHAPE, 1.0)
    assert set(image[..., 1][image[..., 0] > 0].tolist()) == {7.0}


def test_no_points_at_all(rig: Calibration) -> None:
    assert not project_lidar(np.zeros((0, 6)), rig, SHAPE, 1.0).any()
    assert not project_lidar(np.zeros((4, 6)), rig, SHAPE, 0.0).any()


def rectified(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bouguet's rectification as cv2.stereoRectify does it: R1, R2 and a new camera matrix that both share."""
    event2rgb = np.array(calibration()["extrinsics"]["event2rgb"])
    rgb2event = np.linalg.inv(event2rgb)
    turn, shift = rgb2event[:3, :3], rgb2event[:3, 3]
    angle = math.acos((np.trace(turn) - 1) / 2)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / (2 * math.sin(angle))
    half = turned(axis, -angle / 2)  # each camera goes half of the way
    along = half @ shift
    main = int(np.argmax(np.abs(along[:2])))
    target = np.zeros(3)
    target[main] = math.copysign(1, along[main])
    normal = np.cross(along, target)
    align = turned(normal / np.linalg.norm(normal), math.acos(np.clip(abs(along[main]) / np.linalg.norm(along), -1, 1)))
    new = np.array([[333.0, 0, 40], [0, 333, 30], [0, 0, 1]])  # any; it cancels
    return align @ half.T, align @ half, new


def turned(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def test_rectifying_and_undoing_it_is_the_homography(rig: Calibration) -> None:
    r1, r2, new = rectified(SHAPE)
    rgb2event = np.linalg.inv(np.array(calibration()["extrinsics"]["event2rgb"]))
    # What rectification is for: rows of both images are the same, and both look the same way.
    np.testing.assert_allclose(r2 @ rgb2event[:3, :3], r1, atol=1e-12)
    along = r2 @ rgb2event[:3, 3]
    np.testing.assert_allclose(np.abs(along).max(), np.linalg.norm(along))
    k_event = np.array(calibration()["intrinsics"]["event"]["K"])
    long_way = np.array(scaled_k(SHAPE)) @ np.linalg.inv(r1) @ np.linalg.inv(new) @ new @ r2 @ np.linalg.inv(k_event)
    np.testing.assert_allclose(event_homography(rig, SHAPE), long_way, atol=1e-9)


def test_a_point_far_away_is_seen_at_the_same_pixel(rig: Calibration) -> None:
    """A point at infinity through both cameras, without any of the code under test."""
    ray = np.array([0.1, -0.05, 1.0])
    event2rgb = np.array(calibration()["extrinsics"]["event2rgb"])
    in_event = np.array(calibration()["intrinsics"]["event"]["K"]) @ ray
    in_rgb = np.array(scaled_k((1080, 1920))) @ (event2rgb[:3, :3] @ ray)
    mapped = event_homography(rig, (1080, 1920)) @ in_event
    np.testing.assert_allclose(mapped / mapped[2], in_rgb / in_rgb[2], atol=1e-9)


def events_by_loop(data: dict[str, np.ndarray], rig: Calibration, shape: tuple[int, int]) -> np.ndarray:
    k_event = np.array(calibration()["intrinsics"]["event"]["K"])
    turn = np.array(calibration()["extrinsics"]["event2rgb"])[:3, :3]
    k = np.array(scaled_k(shape))
    counts = np.zeros((*shape, 2), dtype=np.int64)
    for x, y, p in zip(data["x"].tolist(), data["y"].tolist(), data["p"].tolist(), strict=True):
        ray = turn @ [(x - k_event[0, 2]) / k_event[0, 0], (y - k_event[1, 2]) / k_event[1, 1], 1.0]
        u, v, w = k @ ray
        column = math.floor(u / w + 0.5 * shape[1] / 1920)
        row = math.floor(v / w + 0.5 * shape[0] / 1080)
        if 0 <= column < shape[1] and 0 <= row < shape[0]:
            counts[row, column, 0 if p else 1] += 1
    return counts


@pytest.mark.parametrize("shape", [SHAPE, (64, 64)])
def test_events_are_the_loop(rig: Calibration, shape: tuple[int, int]) -> None:
    data = events(5)
    counts = project_events(data["x"], data["y"], data["p"], rig, shape)
    expected = events_by_loop(data, rig, shape)
    assert len(data["x"]) / 2 < expected.sum() < len(data["x"])  # some fall outside
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("shape", [(1080, 1920), (540, 960), (108, 192), (36, 64), (27, 48), (1, 1)])
def test_events_fall_on_the_block_of_native_pixels_that_a_pixel_stands_for(
    rig: Calibration, shape: tuple[int, int]
) -> None:
    """Two cameras alike: an event of native pixel (x, y) is one of pixel (x // step, y // step), and no other."""
    alike = Calibration({**rig.matrices, "event.K": rig.matrices["rgb.K"], "event2rgb": np.eye(4)})
    x, y = np.arange(1920), np.arange(1920) % 1080
    counts = project_events(x, y, np.ones(1920), alike, shape)
    expected = np.zeros(shape, dtype=np.int64)
    np.add.at(expected, (y // (1080 // shape[0]), x // (1920 // shape[1])), 1)
    np.testing.assert_array_equal(counts[..., 0], expected)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_events_of_any_size_fall_where_the_resized_image_has_them(height: int, width: int) -> None:
    """The middle of native pixel x is x + 0.5 of 1920 equal parts: whole numbers say where it lies."""
    k = np.array(calibration()["intrinsics"]["rgb"]["K"])
    alike = Calibration({"rgb.K": k, "event.K": k, "event2rgb": np.eye(4)})
    # A middle that lies on the edge of two pixels, as of an image of half a native pixel, may go to either.
    x = np.array([x for x in range(1920) if (2 * x + 1) * width % 3840])
    y = np.array([y for y in range(1080) if (2 * y + 1) * height % 2160])
    columns, rows = (2 * x + 1) * width // 3840, (2 * y + 1) * height // 2160
    across = project_events(x, np.full(len(x), 545), np.ones(len(x)), alike, (height, width))[..., 0].sum(axis=0)
    down = project_events(np.full(len(y), 950), y, np.ones(len(y)), alike, (height, width))[..., 0].sum(axis=1)
    np.testing.assert_array_equal(across, np.bincount(columns, minlength=width))
    np.testing.assert_array_equal(down, np.bincount(rows, minlength=height))


def test_events_outside_the_image_are_dropped(rig: Calibration) -> None:
    """Upstream has no bounds check: below 0 they come out at the other edge."""
    corners = np.array([0, 1279, 0, 1279]), np.array([0, 0, 719, 719])
    turned_far = Calibration({**rig.matrices, "event2rgb": np.eye(4)})
    turned_far.matrices["event2rgb"][:3, :3] = rotation(0, 1.2, 0)
    assert project_events(*corners, np.ones(4), turned_far, SHAPE).sum() == 0


def test_counts_do_not_wrap_at_256(rig: Calibration) -> None:
    x, y = np.full(70_300, 630), np.full(70_300, 365)
    counts = project_events(x[:300], y[:300], np.ones(300), rig, SHAPE)
    assert counts.max() == 300
    assert project_events(x, y, np.zeros(70_300), rig, SHAPE).max() == 65_535


def test_a_window_longer_than_the_first_timestamp_keeps_everything() -> None:
    """Upstream subtracts in uint32: 29 000 - 30 000 becomes four thousand million, and nothing is kept."""
    times = np.array([10, 500, 29_000], dtype=np.uint32)
    assert in_window(times, 30_000).all()
    assert in_window(times, 28_500).tolist() == [False, True, True]  # both ends included
    assert in_window(times[:0], 5).tolist() == []


@given(st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_dilation(edge: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (9, 8, 2)) * (rng.random((9, 8, 1)) < 0.3)
    image = (rng.integers(1, 90, (9, 8, 3)) * (rng.random((9, 8, 1)) < 0.3)).astype(np.float32)
    wide, nearest = dilate_counts(counts, edge), dilate_lidar_image(image, edge)
    for row in range(9):
        for column in range(8):
            rows = slice(max(0, row - edge // 2), row - edge // 2 + edge)
            columns = slice(max(0, column - edge // 2), column - edge // 2 + edge)
            assert wide[row, column].tolist() == counts[rows, columns].reshape(-1, 2).max(axis=0).tolist()
            around = [tuple(point) for point in image[rows, columns].reshape(-1, 3) if point[0] > 0]
            found = tuple(nearest[row, column])
            if around:
                assert found in around
                assert found[0] == min(point[0] for point in around)
            else:
                assert found == (0, 0, 0)


def test_a_kernel_larger_than_the_image() -> None:
    assert dilate_counts(np.array([[[0], [3]]]), 15).ravel().tolist() == [3, 3]


def test_nearest_resizing() -> None:
    grid = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(resize_nearest(np.kron(grid, np.ones((5, 3), int)), (3, 4)), grid)
    np.testing.assert_array_equal(resize_nearest(grid, (6, 8)), np.kron(grid, np.ones((2, 2), int)))
    assert resize_nearest(grid, (3, 4)) is grid


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["intrinsics"].pop("event"), "intrinsics.event.K"),
        (lambda c: c["extrinsics"].update(event2rgb=[[1, 2], [3, 4]]), "extrinsics.event2rgb of 4 x 4 finite"),
        (lambda c: c["extrinsics"].update(lidar2rgb="none"), "extrinsics.lidar2rgb"),
        (lambda c: c["extrinsics"]["lidar2rgb"][0].__setitem__(0, float("nan")), "not finite"),
        (lambda c: c["extrinsics"]["lidar2rgb"][0].append(1.0), "extrinsics.lidar2rgb"),
        (lambda c: c["intrinsics"]["event"].update(K=np.zeros((3, 3)).tolist()), "determinant 0"),
        (lambda c: c.update(intrinsics=[]), "intrinsics.rgb.K"),
        (lambda c: c["extrinsics"]["lidar2rgb"][0].__setitem__(0, 10**400), "extrinsics.lidar2rgb of 4 x 4 numbers"),
        (lambda c: c["extrinsics"]["lidar2rgb"][0].__setitem__(0, 1e300), "not finite or larger"),
    ],
)
def test_faulty_calibration(tmp_path: Path, change, said: str) -> None:
    content = calibration()
    change(content)
    path = tmp_path / "calib.json"
    path.write_text(json.dumps(content))
    _, faults = read_calibration(path, ("F", "E", "L"))
    assert any(said in str(fault) and str(path) in str(fault) for fault in faults), faults
    assert read_calibration(path, ("F",))[1] == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000, None, b" " * (1 << 20) + b"{}"])
def test_calibration_that_is_no_json(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "calib.json"
    if content is not None:
        path.write_bytes(content)
    _, faults = read_calibration(path, ("L",))
    assert len(faults) == 1
    assert str(path) in str(faults[0])
