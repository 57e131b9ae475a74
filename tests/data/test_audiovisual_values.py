"""Values of the audio-visual sets: spectrograms, frames, scaling, pictures, video files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from audiovisual_samples import (
    MEAN,
    RATE,
    STD,
    cremad_ids,
    numbers,
    opened,
    video_id,
    write_ave,
    write_cremad,
    write_kinetics_sounds,
)
from PIL import Image
from scipy.io import wavfile

from mmablate.catalog import find
from mmablate.data.audiovisual.media import Spectrogram
from mmablate.data.audiovisual.opening import open_ave
from mmablate.data.clips import ClipSplit
from mmablate.data.faults import FileFault


def log_magnitudes(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """log(|STFT| + 1e-7) by numpy: periodic Hann windows, ends mirrored."""
    mirrored = np.pad(wave.astype(np.float64), n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, len(mirrored) - n_fft + 1, hop)
    return np.log(np.abs(np.stack([np.fft.rfft(window * mirrored[s : s + n_fft]) for s in starts], axis=1)) + 1e-7)


@pytest.mark.parametrize("crop", ["centre", "start"])
@pytest.mark.parametrize("length", [300, 1_000, 1_400])
def test_a_spectrogram_is_that_of_the_stretch(tmp_path, crop, length):
    wave = np.random.default_rng(length).uniform(-1.6, 1.6, length).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", RATE, wave)
    reader = Spectrogram(RATE, 0.125, 128, 40, crop)
    whole = np.concatenate([wave] * 4) if length == 300 else wave
    start = (len(whole) - 1000) // 2 if crop == "centre" else 0
    expected = log_magnitudes(np.clip(whole[start : start + 1000], -1, 1), 128, 40)
    found = reader.read(tmp_path / "a.wav")
    assert found.shape == (1, *expected.shape) == reader.shape == (1, 65, 26)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)
    assert Spectrogram(RATE, 0.125, 128, 40, crop, (20, 30)).read(tmp_path / "a.wav").shape == (1, 20, 30)


def test_silence_is_sound_and_a_stretch_may_be_too_short(tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, np.zeros(100, np.int16))
    assert np.allclose(Spectrogram(RATE, 0.1, 128, 40).read(tmp_path / "a.wav"), np.log(1e-7))
    with pytest.raises(FileFault, match=r"expected more than 64 samples, found 40 \(options `seconds` and `n_fft`\)"):
        Spectrogram(RATE, 0.005, 128, 40).read(tmp_path / "a.wav")


def test_frames_are_evenly_apart_and_scaled_as_published(tmp_path):
    root = write_ave(tmp_path)
    folder = root / "AVE_Dataset" / "Image-01-FPS-SE" / video_id(0)
    for at, grey in enumerate((0, 51, 102, 153, 204, 255)):
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(folder / f"{at:05d}.png")
    data = open_ave(root, modalities=["visual"], frames=3, size=(4, 4))
    frames = data.splits["train"].batch([0])[0]["visual"][0]
    for at, grey in enumerate((51, 153, 255)):
        np.testing.assert_allclose(frames[:, at, 2, 1], (grey / 255 - MEAN) / STD, rtol=1e-5)
    shown = data.splits["train"].pictures(0)["visual"]
    assert shown.shape == (4, 12, 3)
    assert shown[0, ::4, 0].tolist() == [51, 153, 255]


def test_standardised_over_train(tmp_path):
    data = opened(write_kinetics_sounds(tmp_path), "kinetics_sounds", standardise=True)
    inputs, _ = data.splits["train"].batch(range(12))
    for values in inputs.values():
        channels = np.moveaxis(values.astype(np.float64), 1, 0).reshape(values.shape[1], -1)
        np.testing.assert_allclose(channels.mean(axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(channels.std(axis=1), 1, rtol=1e-4)
    other = opened(tmp_path, "kinetics_sounds").splits["train"].batch([0])[0]["audio"]
    assert not np.allclose(other, inputs["audio"][:1])


def test_files_and_memory_give_the_same(tmp_path):
    root = write_ave(tmp_path)
    kept = opened(root, "ave").splits["train"]
    read = opened(root, "ave", cache_bytes=0).splits["train"]
    assert isinstance(read, ClipSplit)
    assert not isinstance(kept, ClipSplit)
    inputs, labels = kept.batch([4, 0])
    for split in (read, pickle.loads(pickle.dumps(read))):
        others, same = split.batch([4, 0])
        np.testing.assert_array_equal(same, labels)
        for name, values in inputs.items():
            np.testing.assert_array_equal(others[name], values)


def test_pictures_of_all_modalities(tmp_path):
    shown = opened(write_cremad(tmp_path), "cremad").splits["test"].pictures(0)
    assert {name: (picture.shape, picture.dtype) for name, picture in shown.items()} == {
        "audio": ((33, 17, 3), np.dtype(np.uint8)),
        "visual": ((4, 4, 3), np.dtype(np.uint8)),
    }


@pytest.mark.parametrize("ending", [".mp4", ".flv", ".avi"])
def test_video_files_in_place_of_frames(tmp_path, ending):
    av = pytest.importorskip("av")
    root = write_cremad(tmp_path)
    folder = root / "CREMA-D" / "VideoFlash"
    folder.mkdir()
    for number, name in enumerate(cremad_ids()[:12]):
        for path in (frames := root / "CREMA-D" / "Image-01-FPS" / name).iterdir():
            path.unlink()
        frames.rmdir()
        with av.open(str(folder / f"{name}{ending}"), "w") as container:
            track = container.add_stream("flv" if ending == ".flv" else "mpeg4", rate=5)
            track.width, track.height, track.pix_fmt = 32, 32, "yuv420p"
            for _ in range(3):
                grey = np.full((32, 32, 3), 20 + 6 * number, np.uint8)
                container.mux(track.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(track.encode())
    for split in opened(root, "cremad").splits.values():
        heard, seen = numbers(split)
        np.testing.assert_allclose(heard, seen, atol=1)  # a codec keeps greys within a few levels
    assert len(opened(root, "cremad").content) == 30 + 30 + 2
    assert len(find("dataset", "cremad").files(root, {})) == 30 + 12 + 2 * 18 + 2
