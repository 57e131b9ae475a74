"""Every planted fault is named, with its path; all at once; refused or dropped."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from muses_samples import SCENES, SIZE, events, place, png_bytes, write_events, write_projected, write_tree
from PIL import Image

from mmablate.data.faults import FileFault
from mmablate.data.muses.files import (
    read_frame,
    read_labels,
    read_projected_events,
    read_projected_lidar,
)
from mmablate.data.muses.opening import check_muses, open_muses
from mmablate.data.muses.sensors import read_events, read_lidar
from mmablate.errors import DataError

FEL = ("F", "E", "L")
HIT = SCENES[1]  # train/fog/night
Plant = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMABLATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("muses") / "set")


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "set")


def gone(kind: str, ending: str) -> Plant:
    def plant(root: Path) -> Path:
        path = place(root, kind, HIT, ending)
        path.unlink()
        return path

    return plant


def content(kind: str, ending: str, made: Callable[[bytes], bytes]) -> Plant:
    def plant(root: Path) -> Path:
        path = place(root, kind, HIT, ending)
        path.write_bytes(made(path.read_bytes()))
        return path

    return plant


def image(kind: str, pixels: np.ndarray) -> Plant:
    return content(kind, ".png", lambda _: png_bytes(pixels))


def event_file(**changes: Any) -> Plant:
    def plant(root: Path) -> Path:
        path = place(root, "E", HIT, ".h5")
        data = {**events(1), **changes}
        write_events(path, {name: values for name, values in data.items() if values is not None})
        return path

    return plant


def odd_type(root: Path) -> Path:
    """A type that HDF5 has and numpy lacks."""
    path = event_file(t=None)(root)
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple((4000,))
        h5py.h5d.create(file["events"].id, b"t", h5py.h5t.UNIX_D32LE, space)
    return path


def many(number: int, **options: Any) -> Plant:
    """A few kilobytes that say they hold so many events."""

    def plant(root: Path) -> Path:
        path = place(root, "E", HIT, ".h5")
        with h5py.File(path, "w") as file:
            for name, dtype in {"x": "u2", "y": "u2", "t": "u4", "p": "u1"}.items():
                file.create_dataset(f"events/{name}", shape=(number,), dtype=dtype, compression="gzip", **options)
        return path

    return plant


def no_group(root: Path) -> Path:
    path = place(root, "E", HIT, ".h5")
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    return path


def linked(root: Path) -> Path:
    path, other = place(root, "E", HIT, ".h5"), root / "other.h5"
    write_events(other, events(1))
    with h5py.File(path, "w") as file:
        for name in "xytp":
            file[f"events/{name}"] = h5py.ExternalLink(str(other), f"events/{name}")
    return path


def points(change: Callable[[np.ndarray], Any]) -> Plant:
    def made(data: bytes) -> bytes:
        values = np.frombuffer(data).reshape(-1, 6).copy()
        change(values)
        return values.tobytes()

    return content("L", ".bin", made)


HEADERS: dict[str, tuple[Plant, str]] = {
    "no frame": (gone("F", ".png"), "frame of train/fog/night/REC0002_frame_000002, found no file"),
    "no events": (gone("E", ".h5"), "events of train/fog/night/REC0002_frame_000002, found no file"),
    "no lidar": (gone("L", ".bin"), "LiDAR of train/fog/night/REC0002_frame_000002, found no file"),
    "no labels": (gone("labels", ".png"), "label image of train/fog/night/REC0002_frame_000002, found no file"),
    "lidar cut": (content("L", ".bin", lambda data: data[:-20]), "48 bytes each, found"),
    "lidar empty": (content("L", ".bin", lambda data: b""), "found 0 bytes"),
    "events no hdf5": (content("E", ".h5", lambda data: b"no"), "expected events in HDF5"),
    "events cut": (content("E", ".h5", lambda data: data[: len(data) // 2]), "expected events in HDF5"),
    "events without t": (event_file(t=None), "expected the dataset events/t, found none"),
    "events without group": (no_group, "expected the dataset events/x, found none"),
    "events elsewhere": (linked, "found a link"),
    "events of times": (odd_type, "events/t as (N,) integers, found "),
    "events too many": (many((1 << 25) + 1, chunks=(1 << 20,)), "at most 33554432 events, found 33554433"),
    "events in one chunk": (many(9, chunks=(1 << 26,), maxshape=(None,)), "chunks of at most 33554432 events"),
    "events of wide x": (event_file(x=np.zeros(4000, np.int64)), "events/x as integers of 2 to 4 bytes, found int64"),
    "events of narrow y": (event_file(y=np.zeros(4000, np.uint8)), "events/y as integers of 2 to 4 bytes, found uint8"),
    "events of wide p": (event_file(p=np.zeros(4000, np.int16)), "events/p as integers of 1 byte, found int16"),
    "events of floats": (event_file(x=np.zeros(4000)), "events/x as (N,) integers"),
    "events of two lengths": (event_file(p=np.zeros(5, np.uint8)), "p 5"),
    "events none": (
        event_file(**{name: values[:0] for name, values in events(1).items()}),
        "expected events, found a file without any",
    ),
    "frame no png": (content("F", ".png", lambda data: b"\xff\xd8\xff" + data), "frame as PNG, found no PNG header"),
    "frame of 16 bits": (image("F", np.zeros((*SIZE, 3), np.uint16)), "8-bit RGB PNG, found 16-bit RGB"),
    "frame grey": (image("F", np.zeros((*SIZE, 1), np.uint8)), "found 8-bit grey"),
    "frame of another size": (image("F", np.zeros((5, 7, 3), np.uint8)), "36 x 64 pixels as most images"),
    "labels of 16 bits": (image("labels", np.zeros((*SIZE, 1), np.uint16)), "found 16-bit grey"),
    "labels in colour": (image("labels", np.zeros((*SIZE, 3), np.uint8)), "found 8-bit RGB"),
    "labels of another size": (image("labels", np.zeros((5, 7, 1), np.uint8)), "found 5 x 7"),
}
VALUES: dict[str, tuple[Plant, str]] = {
    "label 19": (image("labels", np.full((*SIZE, 1), 19, np.uint8)), "train ids 0-18 and 255, found 19"),
    "label 254": (image("labels", np.full((*SIZE, 1), 254, np.uint8)), "found 254"),
    "labels cut": (content("labels", ".png", lambda data: data[:200]), "expected train ids"),
    "frame cut": (content("F", ".png", lambda data: data[: len(data) // 2]), "expected a frame"),
    "lidar NaN": (points(lambda p: p.__setitem__((3, 1), np.nan)), "found 1 points without"),
    "lidar infinite": (points(lambda p: p.__setitem__((slice(2), 0), np.inf)), "found 2 points without"),
    "lidar far beyond sense": (points(lambda p: p.__setitem__((0, 0), 1e200)), "found 1 points without"),
    "event times": (event_file(t=np.full(4000, 2**64 - 1, np.uint64)), "in microseconds, found 18446744073709551615"),
    "polarity": (event_file(p=np.full(4000, 2, np.uint8)), "polarities 0 and 1, found 2 to 2"),
}


@pytest.mark.parametrize("name", [*HEADERS, *VALUES])
def test_each_fault_is_named_refused_and_can_be_dropped(root: Path, name: str) -> None:
    plant, said = {**HEADERS, **VALUES}[name]
    path = plant(root)
    quick = check_muses(root, modalities=FEL)
    assert bool(quick) == (name in HEADERS)
    for on_fault in ("refuse", "drop"):
        lines = check_muses(root, modalities=FEL, thorough=True, on_fault=on_fault)
        assert len(lines) == 1, lines
        assert said in lines[0]
        assert lines[0].startswith(f"{path}: expected ")
    with pytest.raises(DataError) as raised:
        open_muses(root, modalities=FEL)
    assert raised.value.problems == lines
    for cache_bytes in (0, 1 << 31):
        data = open_muses(root, modalities=FEL, on_fault="drop", cache_bytes=cache_bytes)
        assert [data.splits["train"].describe(i).id.split("/")[1] for i in range(3)] == ["clear", "rain", "snow"]
        assert data.notes == ("1 of 8 scenes was dropped for faulty files (train 1)",)
        data.splits["train"].batch(range(3))


def test_all_faults_at_once_and_many_alike_with_their_number(root: Path) -> None:
    for scene in SCENES[:5]:
        place(root, "L", scene, ".bin").unlink()
    image("labels", np.full((*SIZE, 1), 77, np.uint8))(root)
    (root / "calib.json").write_text("{}")
    lines = check_muses(root, modalities=FEL, thorough=True)
    missing = [line for line in lines if "LiDAR of" in line]
    assert len(missing) == 3
    assert missing[-1].endswith("(... and 2 more like it)")
    assert sum("calib.json" in line for line in lines) == 3
    assert sum("found 77" in line for line in lines) == 1


@pytest.mark.parametrize("on_fault", ["refuse", "drop"])
def test_what_no_dropping_helps_against(root: Path, on_fault: str) -> None:
    (root / "calib.json").unlink()
    with pytest.raises(DataError, match=r"calib\.json: expected the calibration, found no file"):
        open_muses(root, modalities=("F", "E"), on_fault=on_fault)
    open_muses(root, modalities=("F",), on_fault=on_fault)
    with pytest.raises(DataError, match="split train, found none of 4 scenes of the weather"):
        open_muses(root, modalities=("F",), on_fault=on_fault, weather=["fog"], time_of_day=["day"])
    for scene in SCENES[4:6]:
        place(root, "F", scene, ".png").write_bytes(b"")
    with pytest.raises(DataError, match="sound scene of the split val" if on_fault == "drop" else "no PNG header"):
        open_muses(root, modalities=("F",), on_fault=on_fault)
    for folder in ("frame_camera", "gt_semantic"):
        shutil.rmtree(root / folder / "val")
    with pytest.raises(DataError, match="split val, found no scene"):
        open_muses(root, modalities=("F",), on_fault=on_fault)


@pytest.mark.parametrize("on_fault", ["refuse", "drop"])
def test_a_scene_in_two_splits(root: Path, on_fault: str) -> None:
    """Training scenes copied into the test split: the scores would be of what was trained on."""
    (root / "meta.json").unlink()
    for scene in SCENES[:4]:
        for kind, ending in {"F": ".png", "E": ".h5", "L": ".bin", "labels": ".png"}.items():
            shutil.copy(place(root, kind, scene, ending), place(root, kind, ("test", *scene[1:]), ending))
    lines = check_muses(root, modalities=FEL)
    assert len(lines) == 3
    both = "test/clear/day/REC0001_frame_000001 and train/clear/day/REC0001_frame_000001"
    assert f"expected REC0001_frame_000001 in one split, found {both}" in lines[0]
    assert lines[-1].endswith("(... and 1 more like it)")
    with pytest.raises(DataError, match="in one split"):
        open_muses(root, modalities=FEL, on_fault=on_fault)
    shutil.rmtree(root / "gt_semantic/test")  # without labels the split is left out, and nothing is scored twice
    assert check_muses(root, modalities=FEL) == []


def test_a_meta_file_that_is_too_large(root: Path) -> None:
    with (root / "meta.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    assert "meta.json: expected JSON, found more than 67108864 bytes" in check_muses(root, modalities=("F",))[0]


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "none"):
        lines = check_muses(root, modalities=FEL, thorough=True)
        assert lines
        assert all(str(root) in line for line in lines)
        with pytest.raises(DataError):
            open_muses(root, modalities=FEL)
    assert "found R" in check_muses(tmp_path, modalities=("F", "R"))[0]


def test_unknown_folders(root: Path) -> None:
    (root / "lidar/train/clear/day").rename(root / "lidar/train/clear/noon")
    lines = check_muses(root, modalities=FEL)
    assert any("found clear/noon" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda meta: meta[HIT[3]].update(weather="snow"), "expected weather fog of train/fog/night/REC0002"),
        (lambda meta: meta[HIT[3]].update(split="val"), "expected split train"),
        (lambda meta: meta[HIT[3]].update(time_of_day=3), "expected time_of_day night"),
        (lambda meta: meta.pop(HIT[3]), "expected an entry of train/fog/night/REC0002"),
        (
            lambda meta: meta.update(REC9={"split": "val", "weather": "fog"}),
            "expected the files of REC9 in the split val",
        ),
    ],
)
def test_meta_that_disagrees(root: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    meta = json.loads((root / "meta.json").read_text())
    change(meta)
    (root / "meta.json").write_text(json.dumps(meta))
    lines = check_muses(root, modalities=FEL)
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert lines[0].startswith(str(root / "meta.json"))
    with pytest.raises(DataError):
        open_muses(root, modalities=FEL)
    assert len(open_muses(root, modalities=FEL, on_fault="drop").notes) == 1


def test_meta_may_lack_fields_and_parts_may_be_absent(root: Path) -> None:
    meta = json.loads((root / "meta.json").read_text())
    del meta[HIT[3]]["weather"]
    meta["REC9"] = {"split": "val", "weather": "snow", "time_of_day": "day"}
    (root / "meta.json").write_text(json.dumps(meta))
    assert check_muses(root, modalities=FEL, weather=["clear", "fog"]) == []
    for folder in ("frame_camera", "gt_semantic", "lidar", "event_camera"):
        shutil.rmtree(root / folder / "test")
    assert check_muses(root, modalities=FEL, weather=["clear", "fog"]) == []
    (root / "meta.json").write_text("[1]")
    assert "object of scenes" in check_muses(root, modalities=FEL)[0]


def test_mixed_layouts_name_examples_and_counts(root: Path) -> None:
    for scene in SCENES:
        place(root, "L", scene, ".bin").unlink()
        write_projected(place(root / "projected_to_rgb", "L", scene, ".npy"), "L", np.zeros((*SIZE, 3), np.float32))
    line = next(line for line in check_muses(root, modalities=FEL) if "mixed" in line)
    assert "raw 8 (event_camera/test/clear/day/REC0007" in line or "raw 8 (event_camera/train/" in line
    assert "projected 8 (projected_to_rgb/lidar/" in line
    assert any("mixed" in line for line in check_muses(root, modalities=("L", "E")))


def lidar_image() -> np.ndarray:
    values = np.zeros((*SIZE, 3), dtype=np.float32)
    values[4:9, 3:7] = 12.0, 80.0, -1.5
    return values


def swapped(path: Path, ending: str) -> None:
    """[intensity, range, z], as a tool of one's own may write it."""
    rng = np.random.default_rng(1)
    values = np.zeros((*SIZE, 3), dtype=np.float32)
    values[10:30] = np.stack(
        [rng.integers(1, 256, (20, 64)), rng.uniform(2, 80, (20, 64)), rng.uniform(-2, 0, (20, 64))], axis=-1
    )
    write_projected(path.with_suffix(ending), "L", values)


def zipped(path: Path, compression: int = zipfile.ZIP_DEFLATED, encrypted: bool = False) -> None:
    """An archive of the array, which says it is encrypted: the flag in the local and in the central header."""
    stream = io.BytesIO()
    np.save(stream, lidar_image())
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("arr_0.npy", stream.getvalue())
    if encrypted:
        data = bytearray(path.read_bytes())
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)


def two_members(path: Path) -> None:
    """numpy reads the member without an ending, whatever it is."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("arr_0", b"another")


def npy_header(path: Path, text: str, version: bytes = b"\x01\x00") -> None:
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    path.write_bytes(b"\x93NUMPY" + version + size + text.encode())


PROJECTED: dict[str, tuple[str, str, Callable[[Path], Any], str]] = {
    "8 bits": ("L", ".png", lambda p: p.write_bytes(png_bytes(np.full((*SIZE, 3), 58, np.uint8))), "lost the low byte"),
    "16-bit events": ("E", ".png", lambda p: p.write_bytes(png_bytes(np.zeros((*SIZE, 3), np.uint16))), "8-bit RGB"),
    "integers": ("L", ".npy", lambda p: np.save(p, np.zeros((*SIZE, 3), np.uint16)), "of floats"),
    "two axes": ("E", ".npy", lambda p: np.save(p, np.zeros(SIZE)), "(36, 64)"),
    "another name": ("L", ".npz", lambda p: np.savez(p, lidar=lidar_image()), "arr_0"),
    "objects": ("L", ".npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "object"),
    "no zip": ("L", ".npz", lambda p: p.write_bytes(b"PK"), "zip"),
    "cut": ("L", ".npy", lambda p: p.write_bytes(p.read_bytes()[:-7]), "projected LiDAR"),
    "encrypted": ("L", ".npz", lambda p: zipped(p, encrypted=True), "encrypted"),
    "LZMA": ("L", ".npz", lambda p: zipped(p, zipfile.ZIP_LZMA), "a compression that numpy does not write"),
    "long floats": ("L", ".npy", lambda p: np.save(p, lidar_image().astype(np.longdouble)), "float128"),
    "negative shape": (
        "L",
        ".npy",
        lambda p: npy_header(p, "{'descr': '<f4', 'fortran_order': False, 'shape': (-9, -9, 3)}"),
        "(-9, -9, 3)",
    ),
    "too many pixels": (
        "E",
        ".npy",
        lambda p: npy_header(p, "{'descr': '|u1', 'fortran_order': False, 'shape': (8192, 8193, 3)}"),
        "(8192, 8193, 3)",
    ),
    "long header": ("E", ".npy", lambda p: npy_header(p, "{}", b"\x02\x00"), "version (2, 0)"),
    "beyond float32": ("L", ".npy", lambda p: np.save(p, np.full((*SIZE, 3), 1e200)), "infinite"),
    "intensity first": ("L", ".npy", lambda p: swapped(p, ".npy"), "another order of channels"),
    "intensity first 16": ("L", ".png", lambda p: swapped(p, ".png"), "another order of channels"),
    "channel order": ("L", ".npy", lambda p: np.save(p, lidar_image()[..., ::-1]), "another order of channels"),
    "event channel order": (
        "E",
        ".png",
        lambda p: p.write_bytes(png_bytes(np.full((*SIZE, 3), (3, 2, 0), np.uint8))),
        "third channel",
    ),
    "NaN": ("L", ".npy", lambda p: np.save(p, np.full((*SIZE, 3), np.nan, np.float32)), "NaN"),
    "no counts": ("E", ".npy", lambda p: np.save(p, np.full((*SIZE, 3), 0.5)), "counts"),
    "negative": ("E", ".npy", lambda p: np.save(p, np.full((*SIZE, 3), -1)), "counts"),
    "event NaN": ("E", ".npy", lambda p: np.save(p, np.full((*SIZE, 3), np.nan)), "counts"),
}


@pytest.mark.parametrize("name", PROJECTED)
def test_projected_faults(sound: Path, tmp_path: Path, name: str) -> None:
    kind, ending, plant, said = PROJECTED[name]
    root = tmp_path / "set"
    shutil.copytree(sound / "gt_semantic", root / "gt_semantic")
    for scene in SCENES:
        write_projected(
            place(root, kind, scene, ending),
            kind,
            lidar_image() if kind == "L" else np.zeros((*SIZE, 3), np.uint8),
        )
    assert check_muses(root, modalities=(kind,), thorough=True) == []
    path = place(root, kind, HIT, ending)
    plant(path)
    lines = check_muses(root, modalities=(kind,), thorough=True)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{path}: expected ")
    assert said in lines[0]


def test_the_array_of_an_archive_is_the_one_whose_header_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "l.npz"
    zipped(path)
    two_members(path)
    np.testing.assert_array_equal(read_projected_lidar(path), lidar_image())


@pytest.mark.parametrize("ending", [".npy", ".png"])
@pytest.mark.parametrize("whole", [True, False])
def test_no_false_alarm_of_swapped_channels(tmp_path: Path, ending: str, whole: bool) -> None:
    """Intensities whole or not; a return or many."""
    rng = np.random.default_rng(2)
    path = tmp_path / f"l{ending}"
    for number in (1, 2, 400):
        values = np.zeros((20, 20, 3), dtype=np.float32)
        strength = rng.integers(0, 200, number) if whole else rng.uniform(0, 1, number)
        values.reshape(-1, 3)[:number] = np.stack(
            [rng.uniform(1, 90, number), strength, rng.uniform(-1, 1, number)], axis=-1
        )
        write_projected(path, "L", values)
        np.testing.assert_allclose(read_projected_lidar(path), values, atol=0.0 if ending == ".npy" else 1 / 140)


def test_two_projections_of_a_scene(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(sound / "gt_semantic", root / "gt_semantic")
    for scene in SCENES:
        for ending in (".npy", ".npz"):
            write_projected(place(root, "L", scene, ending), "L", lidar_image())
    lines = check_muses(root, modalities=("L",))
    assert "expected one LiDAR file of REC" in lines[0]
    assert lines[-1].endswith("(... and 5 more like it)")


def test_blosc_is_read_and_missed_where_it_is_not_installed(root: Path) -> None:
    for scene in SCENES:
        write_events(place(root, "E", scene, ".h5"), events(1), **hdf5plugin.Blosc(cname="zstd"))
    assert check_muses(root, modalities=("E",), thorough=True) == []
    code = (
        "import sys; sys.modules['hdf5plugin'] = None\n"
        "from mmablate.data.muses.opening import check_muses\n"
        "print(*check_muses(__import__('pathlib').Path(sys.argv[1]), modalities=('E',)), sep='\\n')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True, env=environment
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "blosc" in lines[0]
    assert 'pip install "mmablate[muses]"' in lines[0]
    assert lines[-1].endswith("(... and 5 more like it)")


def test_no_events_inside_the_image(root: Path) -> None:
    calib = json.loads((root / "calib.json").read_text())
    calib["extrinsics"]["event2rgb"][0][:3], calib["extrinsics"]["event2rgb"][2][:3] = [-1, 0, 0], [0, 0, -1]
    (root / "calib.json").write_text(json.dumps(calib))
    with pytest.raises(DataError, match="events inside the image to standardise by, found none"):
        open_muses(root, modalities=("E",))


READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "frame": ("F", ".png", read_frame),
    "labels": ("labels", ".png", read_labels),
    "lidar": ("L", ".bin", read_lidar),
    "events": ("E", ".h5", lambda path: read_events(path, 30_000)),
    "projected lidar": ("L", ".npz", read_projected_lidar),
    "projected lidar 16": ("L", ".png", read_projected_lidar),
    "projected events": ("E", ".npy", read_projected_events),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_damaged_bytes_give_a_line_and_never_a_traceback(sound: Path, tmp_path: Path, name: str, draw: Any) -> None:
    kind, ending, read = READERS[name]
    origin = place(sound, kind, HIT, ending)
    if not origin.exists():
        origin = tmp_path / f"sound{ending}"
    if not origin.exists():
        write_projected(origin, kind, lidar_image() if kind == "L" else np.zeros((*SIZE, 3), np.uint8))
    data = bytearray(origin.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, min(len(data), 2000) - 1) | st.integers(0, len(data) - 1))
        data[at] = draw.draw(st.integers(0, 255))
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(data[: draw.draw(st.just(len(data)) | st.integers(0, len(data)))])
    said = None
    try:
        read(path)
    except FileFault as fault:
        said = str(fault)
    assert said is None or said.startswith(f"{path}: expected ")


def test_a_file_that_went_bad_later_is_told_when_it_is_read(root: Path) -> None:
    data = open_muses(root, modalities=("F",), cache_bytes=0, normalise="none")
    path = place(root, "F", HIT, ".png")
    Image.new("L", (3, 3)).save(path)
    with pytest.raises(DataError, match=str(path)):
        data.splits["train"].batch(range(4))
