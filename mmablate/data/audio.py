"""Sound: wav files as mono waves of one rate, and spectrograms of them by `torch.stft`."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.io import wavfile
from scipy.signal import resample_poly

from mmablate.data.faults import FileFault
from mmablate.data.untrusted import reason

Floats = NDArray[np.float64]

RATES = (1_000, 768_000)  # Hz; beyond, a header is damaged
SMALLEST_POWER = 1e-10
DYNAMIC_RANGE = 80.0  # dB below the loudest value of a clip


def read_wave(path: Path, rate: int, *, silence: bool = False) -> Floats:
    """A wav file as a mono wave at `rate`.

    8-bit files (unsigned) and those of 16, 24 and 32 bits are brought to -1..1, floats are taken as they are.
    Channels are averaged; another rate is resampled by a polyphase filter.

    Args:
        path: a wav file of PCM or float samples.
        rate: Hz.
        silence: whether a file of nothing but silence is sound too.

    Returns:
        (T,), T >= 1.

    Raises:
        FileFault: no wav file, one that is cut short, one without samples, or one with NaN, infinities or nothing
            but silence.
    """
    found, samples = _samples(path)
    if not RATES[0] <= found <= RATES[1]:
        raise FileFault(path, f"expected a rate of {RATES[0]} to {RATES[1]} Hz, found {found}", "rates")
    if samples.size == 0:
        raise FileFault(path, "expected sound, found a wav file without samples", "empty sounds")
    wave = _mono(samples)
    checked(path, wave, silence=silence)
    if found == rate:
        return wave
    shared = math.gcd(found, rate)
    return np.asarray(resample_poly(wave, rate // shared, found // shared), dtype=np.float64)


def checked(path: Path, wave: np.ndarray, *, silence: bool = False) -> None:
    """Raises FileFault where a wave holds NaN or infinities, or is silent throughout (unless `silence` may be)."""
    if not np.isfinite(wave).all():
        raise FileFault(path, "expected finite samples, found NaN or infinity", "sounds that are not finite")
    if not silence and not wave.any():
        raise FileFault(path, "expected sound, found nothing but silence", "silent sounds")


def _samples(path: Path) -> tuple[int, np.ndarray]:
    """Rate and samples (T,) or (T, channels) as in the file."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            rate, samples = wavfile.read(path)
    except Exception as error:  # damaged headers raise errors of many types, ZeroDivisionError among them
        raise FileFault(path, f"expected a wav file of PCM or float samples, found: {reason(error)}", "wav") from None
    for warning in told:  # others are about chunks that hold no sound
        if "EOF" in str(warning.message):
            raise FileFault(path, "expected a whole wav file, found one that is cut short", "wav cut short")
    return int(rate), np.asarray(samples)


def _mono(samples: np.ndarray) -> Floats:
    """-1..1, channels averaged; scipy gives 24 bits as the upper ones of 32."""
    if samples.dtype == np.uint8:
        wave = (samples.astype(np.float64) - 128) / 128
    elif samples.dtype.kind == "i":
        wave = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    else:
        wave = samples.astype(np.float64)
    return wave if wave.ndim == 1 else wave.mean(axis=1)


def magnitudes(wave: Floats, n_fft: int, hop: int) -> Floats:
    """|STFT| of a wave: periodic Hann window of `n_fft`, frames centred on multiples of `hop`.

    The ends are mirrored by half a window, as nnAudio (and librosa before 0.10) do.

    Args:
        wave: (T,), T > n_fft / 2.

    Returns:
        (n_fft / 2 + 1, T // hop + 1).

    Raises:
        ValueError: a wave too short to be mirrored.
    """
    if len(wave) <= n_fft // 2:
        raise ValueError(f"expected more than {n_fft // 2} samples, found {len(wave)}")
    window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float64)),
        n_fft,
        hop_length=hop,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return np.asarray(spectrum.abs().numpy())


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A spectrogram (h, w) at another size, bilinearly, smoothed where it shrinks; the same one where it fits."""
    if picture.shape == size:
        return picture
    values = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float64))[None, None]
    found = torch.nn.functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(found[0, 0].numpy())


@lru_cache(maxsize=8)
def mel_filters(rate: int, n_fft: int, bands: int) -> Floats:
    """Triangular filters of equal area, evenly apart on Slaney's mel scale from 0 Hz to half the rate.

    The scale is linear below 1 kHz (3 mels to 200 Hz) and logarithmic above (27 mels to a factor of 6.4).

    Returns:
        (bands, n_fft / 2 + 1), read-only.

    Source: Slaney 1998, Auditory Toolbox, version 2; the default of librosa.
    """
    top = rate / 2
    highest = top * 3 / 200 if top < 1000 else 15 + math.log(top / 1000) * 27 / math.log(6.4)
    mels = np.linspace(0, highest, bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * math.log(6.4) / 27))[:, None]
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    filters.setflags(write=False)
    return np.asarray(filters)


def log_mel(wave: Floats, rate: int, *, n_fft: int, hop: int, bands: int) -> Floats:
    """Power in mel bands, dB, no lower than 80 dB below the loudest; (bands, T // hop + 1)."""
    power = mel_filters(rate, n_fft, bands) @ np.square(magnitudes(wave, n_fft, hop))
    decibels = 10 * np.log10(np.maximum(power, SMALLEST_POWER))
    return np.asarray(np.maximum(decibels, decibels.max() - DYNAMIC_RANGE))


def mfcc(wave: Floats, rate: int, *, n_fft: int, hop: int, coefficients: int, bands: int = 128) -> Floats:
    """The first cepstral coefficients of the log-mel bands (DCT-II, orthonormal); (coefficients, T // hop + 1).

    Raises:
        ValueError: more coefficients than bands, or as `magnitudes`.
    """
    if coefficients > bands:
        raise ValueError(f"expected at most {bands} coefficients, found {coefficients}")
    decibels = log_mel(wave, rate, n_fft=n_fft, hop=hop, bands=bands)
    return np.asarray(dct(decibels, axis=0, type=2, norm="ortho")[:coefficients])
