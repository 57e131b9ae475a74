"""Waves from wav files of every kind, and spectrograms against sums written out in numpy."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from mmablate.data import audio
from mmablate.data.faults import FileFault


def tone(rate: int, seconds: float = 0.25, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def write_wav(path, rate: int, channels: int, bits: int, frames: bytes) -> None:
    """PCM by the book, so that 24 bits can be written too."""
    block = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block, block, bits)
    data = struct.pack("<4sI", b"data", len(frames)) + frames
    path.write_bytes(struct.pack("<4sI", b"RIFF", 4 + len(head) + len(data)) + b"WAVE" + head + data)


def pcm(wave: np.ndarray, bits: int) -> bytes:
    if bits == 8:
        return np.round(wave * 128 + 128).clip(0, 255).astype(np.uint8).tobytes()
    whole = np.round(wave * 2.0 ** (bits - 1)).astype("<i4")
    return whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_of_any_width_come_as_minus_one_to_one(tmp_path, bits):
    wave = tone(16_000)
    write_wav(tmp_path / "a.wav", 16_000, 1, bits, pcm(wave, bits))
    found = audio.read_wave(tmp_path / "a.wav", 16_000)
    np.testing.assert_allclose(found, wave, atol=0.6 / 2 ** (bits - 1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_come_as_they_are(tmp_path, kind):
    wavfile.write(tmp_path / "a.wav", 16_000, (3 * tone(16_000)).astype(kind))
    np.testing.assert_allclose(audio.read_wave(tmp_path / "a.wav", 16_000), 3 * tone(16_000), atol=1e-6)


def test_channels_are_averaged(tmp_path):
    left, right = tone(16_000), tone(16_000, hertz=1000)
    wavfile.write(tmp_path / "a.wav", 16_000, np.stack([left, right], axis=1).astype(np.float32))
    np.testing.assert_allclose(audio.read_wave(tmp_path / "a.wav", 16_000), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled(tmp_path, rate):
    wavfile.write(tmp_path / "a.wav", rate, tone(rate, 0.5).astype(np.float32))
    found = audio.read_wave(tmp_path / "a.wav", 16_000)
    assert len(found) == 8_000
    inside = slice(800, -800)  # the filter rings at the ends
    np.testing.assert_allclose(found[inside], tone(16_000, 0.5)[inside], atol=2e-3)


def test_a_higher_tone_than_the_rate_holds_does_not_fold_down(tmp_path):
    wavfile.write(tmp_path / "a.wav", 48_000, tone(48_000, 0.5, 15_000.0).astype(np.float32))
    found = audio.read_wave(tmp_path / "a.wav", 16_000)
    assert np.abs(found[800:-800]).max() < 0.005


def faulty(path) -> str:
    with pytest.raises(FileFault) as caught:
        audio.read_wave(path, 16_000)
    assert str(caught.value).startswith(f"{path}: expected ")
    return str(caught.value)


def test_a_file_of_zero_bytes(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    assert "wav file" in faulty(tmp_path / "a.wav")


def test_other_bytes(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"ID3" + bytes(range(256)) * 8)
    assert "wav file" in faulty(tmp_path / "a.wav")


def test_a_missing_file(tmp_path):
    assert "No such file" in faulty(tmp_path / "a.wav")


def test_no_samples(tmp_path):
    write_wav(tmp_path / "a.wav", 16_000, 1, 16, b"")
    assert "without samples" in faulty(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(tmp_path, value):
    wave = tone(16_000).astype(np.float32)
    wave[100] = value
    wavfile.write(tmp_path / "a.wav", 16_000, wave)
    assert "NaN or infinity" in faulty(tmp_path / "a.wav")


@pytest.mark.parametrize("samples", [np.zeros(400, np.int16), np.full(400, 128, np.uint8)])
def test_silence(tmp_path, samples):
    wavfile.write(tmp_path / "a.wav", 16_000, samples)
    assert "silence" in faulty(tmp_path / "a.wav")


def test_channels_that_cancel_are_silence(tmp_path):
    wave = tone(16_000).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 16_000, np.stack([wave, -wave], axis=1))
    assert "silence" in faulty(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [0, 10, 4_000_000_000])
def test_a_rate_that_no_recorder_has(tmp_path, rate):
    frames = pcm(tone(16_000), 16)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2 % 2**32, 2, 16)
    data = struct.pack("<4sI", b"data", len(frames)) + frames
    (tmp_path / "a.wav").write_bytes(struct.pack("<4sI", b"RIFF", 4 + len(head) + len(data)) + b"WAVE" + head + data)
    assert str(rate) in faulty(tmp_path / "a.wav")


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 8043))
def test_a_file_cut_anywhere_is_told(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "a.wav"
    wavfile.write(path, 16_000, np.round(tone(16_000) * 2**15).astype(np.int16))
    content = path.read_bytes()
    assert len(content) == 8044
    path.write_bytes(content[:cut])
    faulty(path)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 43), st.integers(0, 255))
def test_a_damaged_header_is_read_or_told(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("flip") / "a.wav"
    wavfile.write(path, 16_000, np.round(tone(16_000) * 2**15).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(bytes(content))
    with contextlib.suppress(FileFault):
        assert np.isfinite(audio.read_wave(path, 16_000)).all()


def reference_magnitudes(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Each frame by a matrix of sines and cosines."""
    n = np.arange(n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)
    half = n_fft // 2
    mirrored = np.concatenate([wave[1 : half + 1][::-1], wave, wave[-half - 1 : -1][::-1]])
    turns = np.exp(-2j * np.pi * np.outer(np.arange(half + 1), n) / n_fft)
    starts = range(0, len(mirrored) - n_fft + 1, hop)
    return np.abs(np.stack([turns @ (window * mirrored[s : s + n_fft]) for s in starts], axis=1))


@pytest.mark.parametrize(("n_fft", "hop", "length"), [(64, 16, 200), (1024, 512, 16_000), (32, 32, 33), (64, 17, 333)])
def test_magnitudes_are_the_sums_of_the_definition(n_fft, hop, length):
    wave = np.random.default_rng(0).normal(size=length)
    found = audio.magnitudes(wave, n_fft, hop)
    assert found.shape == (n_fft // 2 + 1, length // hop + 1)
    np.testing.assert_allclose(found, reference_magnitudes(wave, n_fft, hop), rtol=1e-9, atol=1e-9)


def test_ten_seconds_give_the_published_shape():
    assert audio.magnitudes(np.ones(160_000), 1024, 512).shape == (513, 313)


def test_a_wave_too_short_to_mirror():
    with pytest.raises(ValueError, match="more than 512 samples, found 512"):
        audio.magnitudes(np.ones(512), 1024, 512)


def reference_mfcc(wave: np.ndarray, rate: int, n_fft: int, hop: int, coefficients: int, bands: int) -> np.ndarray:
    """The textbook's loops: filters, decibels, cosines."""

    def to_mel(hertz):
        return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)

    def to_hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    edges = [to_hertz(to_mel(rate / 2) * i / (bands + 1)) for i in range(bands + 2)]
    power = reference_magnitudes(wave, n_fft, hop) ** 2
    energy = np.zeros((bands, power.shape[1]))
    for band in range(bands):
        low, middle, high = edges[band : band + 3]
        for k in range(n_fft // 2 + 1):
            hertz = k * rate / n_fft
            weight = 0.0
            if low < hertz <= middle:
                weight = (hertz - low) / (middle - low)
            elif middle < hertz < high:
                weight = (high - hertz) / (high - middle)
            energy[band] += 2 / (high - low) * weight * power[k]
    decibels = 10 * np.log10(np.maximum(energy, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    found = np.zeros((coefficients, power.shape[1]))
    for i in range(coefficients):
        scale = np.sqrt((1 if i == 0 else 2) / bands)
        for band in range(bands):
            found[i] += scale * np.cos(np.pi * i * (2 * band + 1) / (2 * bands)) * decibels[band]
    return found


def test_cepstral_coefficients_are_those_of_the_definition():
    wave = tone(8_000, 0.2) + 0.01 * np.random.default_rng(1).normal(size=1600)
    found = audio.mfcc(wave, 8_000, n_fft=256, hop=100, coefficients=13, bands=20)
    np.testing.assert_allclose(found, reference_mfcc(wave, 8_000, 256, 100, 13, 20), rtol=1e-9, atol=1e-8)


def test_more_coefficients_than_bands():
    with pytest.raises(ValueError, match="at most 20 coefficients, found 21"):
        audio.mfcc(tone(8_000), 8_000, n_fft=256, hop=100, coefficients=21, bands=20)


def test_resizing_keeps_a_plane_of_one_slope_and_what_fits():
    slope = np.add.outer(np.arange(20.0), 2 * np.arange(30.0))
    assert audio.resized(slope, (20, 30)) is slope
    wider = audio.resized(slope, (20, 60))
    # By halves of a column, away from the ends, where there is nothing beyond.
    np.testing.assert_allclose(wider[:, 2:-2], np.add.outer(np.arange(20.0), np.arange(60.0) - 0.5)[:, 2:-2], atol=1e-9)
