"""Frames of mp4 files and of folders."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from clip_samples import picture, write_ravdess_media, write_vggsound
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmablate.data import video
from mmablate.data.faults import FileFault
from mmablate.data.ravdess.opening import open_ravdess
from mmablate.data.vggsound.opening import open_vggsound
from mmablate.data.video import frame_files, read_frames, spread_over
from mmablate.errors import MissingExtra

SHADES = (20, 60, 100, 140, 180, 220)


def write_mp4(path, shades=SHADES, edge: int = 32) -> None:
    """One grey a frame; the codec keeps such frames within a few levels."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = edge
        stream.pix_fmt = "yuv420p"
        for shade in shades:
            frame = av.VideoFrame.from_ndarray(np.full((edge, edge, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_folder(path, names) -> None:
    path.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(path / name)


@given(st.integers(1, 400), st.integers(1, 64))
def test_frames_are_the_middles_of_equal_parts(total, count):
    found = spread_over(total, count)
    assert len(found) == count
    assert found == sorted(found)
    for i, at in enumerate(found):
        assert at <= Fraction(2 * i + 1, 2 * count) * total < at + 1


def test_numbers_in_names_are_read_as_numbers(tmp_path):
    write_folder(tmp_path / "f", [f"frame_{i}.png" for i in range(12)])
    (tmp_path / "f" / "notes.txt").write_text("no frame")
    (tmp_path / "f" / ".hidden.png").write_text("no frame")
    assert [path.name for path in frame_files(tmp_path / "f")] == [f"frame_{i}.png" for i in range(12)]
    np.testing.assert_array_equal(read_frames(tmp_path / "f", 4), [picture(i) for i in (1, 4, 7, 10)])
    np.testing.assert_array_equal(read_frames(tmp_path / "f", 1), [picture(6)])


def test_a_short_video_shows_frames_again(tmp_path):
    write_folder(tmp_path / "f", ["1.png", "2.png"])
    np.testing.assert_array_equal(read_frames(tmp_path / "f", 4), [picture(i) for i in (0, 0, 1, 1)])


def test_an_empty_folder(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(FileFault, match=r"expected frames .*, found none"):
        read_frames(tmp_path / "f", 1)


def test_mp4_frames_evenly_apart(tmp_path):
    write_mp4(tmp_path / "a.mp4")
    for count, wanted in ((6, SHADES), (3, SHADES[1::2]), (1, SHADES[3:4]), (12, np.repeat(SHADES, 2))):
        found = read_frames(tmp_path / "a.mp4", count)
        assert [frame.shape for frame in found] == [(32, 32, 3)] * count
        np.testing.assert_allclose([frame.mean() for frame in found], wanted, atol=4)


@pytest.mark.parametrize("announced", [0, 7, 1000])
def test_mp4_files_whose_header_is_wrong_are_counted(tmp_path, monkeypatch, announced):
    write_mp4(tmp_path / "a.mp4")
    expected = read_frames(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(video, "_announced", lambda av, path: announced)
    np.testing.assert_array_equal(read_frames(tmp_path / "a.mp4", 3), expected)


@pytest.mark.parametrize("keep", [0, 100, 600])
def test_mp4_files_that_are_damaged(tmp_path, keep):
    write_mp4(tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[:keep])
    with pytest.raises(FileFault, match=r"a.mp4: expected a video, found"):
        read_frames(tmp_path / "a.mp4", 2)


def test_mp4_files_without_the_extra_name_the_command(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r'pip install "mmablate\[video\]"'):
        read_frames(tmp_path / "a.mp4", 2)


def test_ravdess_takes_the_middle_frame_of_an_mp4(tmp_path):
    root = write_ravdess_media(tmp_path)
    for folder in root.glob("Actor_*/02-*"):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        write_mp4(folder.with_name(f"{folder.name}.mp4"))
    data = open_ravdess(root, modalities=["image"], size=(8, 8), normalise="none")
    np.testing.assert_allclose(data.splits["test"].batch([0])[0]["image"], SHADES[3] / 255, atol=4 / 255)


def test_vggsound_takes_mp4_files(tmp_path):
    root = write_vggsound(tmp_path)
    for path in list(root.glob("*/video_jpg/*.jpg")):
        (path.parents[1] / "video").mkdir(exist_ok=True)
        write_mp4(path.parents[1] / "video" / f"{path.stem}.mp4")
        path.unlink()
    data = open_vggsound(root, modalities=["video"], frames=3, size=(4, 4))
    assert data.modalities == {"video": (3, 3, 4, 4)}
    red = data.splits["test"].batch([0])[0]["video"][0, 0] * 0.229 + 0.485
    np.testing.assert_allclose(red * 255, np.broadcast_to(np.array(SHADES[1::2])[:, None, None], (3, 4, 4)), atol=4)
