"""The folder of projected scenes: same arrays with it and without, damaged files made again, no harm without it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from muses_samples import SCENES, SIZE, place, png_bytes, write_events, write_tree

from mmablate.data.base import SegmentationData
from mmablate.data.faults import FileFault
from mmablate.data.muses import scenes as scenes_module
from mmablate.data.muses.cache import DiskCache, default_folder
from mmablate.data.muses.opening import open_muses
from mmablate.data.muses.scenes import SceneReader
from mmablate.errors import DataError

FEL = ("F", "E", "L")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "set")


def opened(root: Path, folder: Path, **options: Any) -> SegmentationData:
    return open_muses(root, **{"modalities": FEL, "cache_bytes": 0, "cache_folder": folder, **options})


def everything(data: SegmentationData) -> list[np.ndarray]:
    out = []
    for split in data.splits.values():
        inputs, labels = split.batch(range(len(split)))
        out += [*inputs.values(), labels]
    return out


def same(one: SegmentationData, other: SegmentationData) -> None:
    for a, b in zip(everything(one), everything(other), strict=True):
        np.testing.assert_array_equal(a, b)


def arrays_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read from the set's own files."""
    reads: list[str] = []
    real = SceneReader.read

    def read(self: SceneReader, scene: Any, kind: str) -> np.ndarray:
        reads.append(f"{scene.key.id} {kind}")
        return real(self, scene, kind)

    monkeypatch.setattr(SceneReader, "read", read)
    return reads


def test_the_same_arrays_and_each_file_read_once(root: Path, tmp_path: Path, counted: list[str]) -> None:
    folder = tmp_path / "cache"
    first = opened(root, folder)
    same(first, opened(root, folder, cache_bytes=1 << 31))
    assert len(arrays_of(folder)) == len(SCENES) * 4
    counted.clear()
    second = opened(root, folder)
    same(second, first)
    assert counted == []


def test_small_sets_leave_no_files(root: Path, tmp_path: Path) -> None:
    opened(root, tmp_path / "cache", cache_bytes=1 << 31)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_files_are_made_again(root: Path, tmp_path: Path, damage: str, counted: list[str]) -> None:
    folder = tmp_path / "cache"
    expected = everything(opened(root, folder))
    files = arrays_of(folder)
    sound = [path.read_bytes() for path in files]
    for path, content in zip(files, sound, strict=True):
        middle = len(content) // 2
        path.write_bytes(
            {
                "cut": content[:-9],
                "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "empty": b"",
                "other": b"\x93NUMPY",
            }[damage]
        )
    for path in folder.rglob("*.json"):
        path.write_text("[[1], 2]" if damage == "flipped" else "")
    counted.clear()
    for a, b in zip(everything(opened(root, folder)), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(counted) == len(files)
    assert [path.read_bytes() for path in files] == sound


def test_damage_after_the_first_look_is_noticed_by_the_size(root: Path, tmp_path: Path) -> None:
    data = opened(root, tmp_path / "cache")
    expected = everything(data)
    for path in arrays_of(tmp_path / "cache"):
        path.write_bytes(path.read_bytes()[:-50])
    for a, b in zip(everything(data), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_changed_file_is_read_anew(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    before = opened(root, folder, normalise="none").splits["train"].batch([0])[0]["F"]
    path = place(root, "F", SCENES[0], ".png")
    path.write_bytes(png_bytes(np.zeros((*SIZE, 3), np.uint8)))
    os.utime(path, ns=(1, 1))
    after = opened(root, folder, normalise="none").splits["train"].batch([0])[0]["F"]
    assert before.any()
    assert not after.any()


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"size": (18, 32)}, {"F", "E", "L", "labels"}),
        ({"dilate_events": 3}, {"E"}),
        ({"dilate_lidar": 2}, {"L"}),
        ({"event_window_us": 100}, {"E"}),
        ({"min_range": 9.0}, {"L"}),
        ({"normalise": "none"}, set()),
        ({"weather": ["clear"]}, set()),
    ],
)
def test_options_have_their_own_files(
    root: Path, tmp_path: Path, options: dict[str, Any], kinds: set[str], counted: list[str]
) -> None:
    everything(opened(root, tmp_path / "cache"))
    counted.clear()
    data = opened(root, tmp_path / "cache", **options)
    kept = everything(data)
    assert {line.rsplit(" ", 1)[1] for line in counted} == kinds
    assert len(counted) == len(SCENES) * len(kinds)
    for a, b in zip(kept, everything(opened(root, tmp_path, cache_bytes=1 << 31, **options)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_calibration_and_version_are_part_of_the_name(
    root: Path, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(opened(root, tmp_path / "cache"))
    calib = json.loads((root / "calib.json").read_text())
    calib["extrinsics"]["lidar2rgb"][0][3] += 0.5
    (root / "calib.json").write_text(json.dumps(calib))
    counted.clear()
    everything(opened(root, tmp_path / "cache"))
    assert {line[-1] for line in counted} == {"L"}
    monkeypatch.setattr(scenes_module, "CODE_VERSION", 99)
    counted.clear()
    everything(opened(root, tmp_path / "cache"))
    assert len(counted) == 4 * len(SCENES)


def test_statistics_are_kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root, tmp_path / "cache")

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("mmablate.data.muses.opening.measured_scaling", refuse)
    same(opened(root, tmp_path / "cache"), first)
    with pytest.raises(AssertionError):
        opened(root, tmp_path / "cache", stats_samples=2)


def test_a_folder_that_cannot_be_written_is_no_error(root: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    same(opened(root, blocked), opened(root, tmp_path / "cache", cache_bytes=1 << 31))
    assert blocked.read_text() == "not a folder"


def test_faulty_scenes_are_not_kept(root: Path, tmp_path: Path) -> None:
    data = opened(root, tmp_path / "cache", normalise="none")
    place(root, "L", SCENES[0], ".bin").write_bytes(b"x" * 47)
    for _ in range(2):
        with pytest.raises(DataError, match="47 bytes"):
            data.splits["train"].batch([0])


def test_a_split_with_a_folder_is_picklable_and_small(root: Path, tmp_path: Path) -> None:
    split = opened(root, tmp_path / "cache").splits["train"]
    split.batch([0])
    packed = pickle.dumps(split)
    assert len(packed) < 50_000
    np.testing.assert_array_equal(pickle.loads(packed).batch([1])[0]["L"], split.batch([1])[0]["L"])


def test_a_fault_survives_the_way_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(FileFault(Path("a"), "expected b, found c", "k")))
    assert (str(fault), fault.kind, fault.problems) == ("a: expected b, found c", "k", ["a: expected b, found c"])


def fill(arguments: tuple[Path, Path]) -> float:
    return float(sum(values.astype(np.float64).sum() for values in everything(opened(*arguments))))


def test_two_processes_fill_one_folder(root: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sums = pool.map(fill, [(root, tmp_path / "cache")] * 2, chunksize=1)
    assert sums[0] == sums[1] == fill((root, tmp_path / "none"))
    assert not list((tmp_path / "cache").rglob(".*"))


def test_many_events_on_a_pixel_survive(root: Path, tmp_path: Path) -> None:
    """Counts beyond 255 take two bytes in the folder."""
    many = {"x": np.full(900, 600), "y": np.full(900, 360), "t": np.arange(900), "p": np.ones(900)}
    dtypes = {"x": "u2", "y": "u2", "t": "u4", "p": "u1"}
    write_events(place(root, "E", SCENES[0], ".h5"), {n: v.astype(dtypes[n]) for n, v in many.items()})
    for _ in range(2):
        data = opened(root, tmp_path / "cache", normalise="none")
        assert data.splits["train"].batch([0])[0]["E"].max() == 900
    scaled = opened(root, tmp_path / "cache")
    same(scaled, opened(root, tmp_path / "cache", cache_bytes=1 << 31))


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMABLATE_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own/projected"
    monkeypatch.delenv("MMABLATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg/mmablate/projected"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache/mmablate/projected"


def test_the_folder_of_the_environment_is_used(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMABLATE_CACHE", str(tmp_path / "own"))
    data = open_muses(root, modalities=("F",), cache_bytes=0)
    assert isinstance(data.splits["val"].source, DiskCache)
    assert arrays_of(tmp_path / "own/projected")
