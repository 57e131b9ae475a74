"""Small folders of clips for the tests, written file by file and not by the generators."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile

ACTORS = (1, 2, 3, 4, 5, 6)
TABLES = {"train": "spa_dl.csv", "val": "spa_val.csv", "test": "spa_test.csv"}


def picture(seed: int, size: tuple[int, int] = (6, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(*size, 3)).astype(np.uint8)


def features(seed: int, size: tuple[int, int] = (4, 9)) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(-10, 80, size=size).astype(np.float32)


def wave(seed: int, length: int = 4000) -> np.ndarray:
    return np.random.default_rng([seed, 2]).uniform(-0.5, 0.5, size=length)


def ravdess_names() -> list[str]:
    """Fields 2-7 of two emotions of six actors."""
    return [f"01-{emotion:02d}-01-01-01-{actor:02d}" for actor in ACTORS for emotion in (1, 5)]


def write_table(root: Path, split: str, lines: Iterable[str], header: str = "audio,image,label") -> Path:
    path = root / "data_file" / TABLES[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in [header, *lines]))
    return path


def ravdess_line(key: str) -> str:
    return f"03-{key}.npy,01-{key}.png,{int(key[3:5]) - 1}"


def write_ravdess_arrays(root: Path) -> Path:
    """Twelve clips; the tables deal them in turn, so that every actor is in two splits."""
    for folder in ("aud_features", "vid_features"):
        (root / folder).mkdir(parents=True)
    for seed, key in enumerate(ravdess_names()):
        np.save(root / "aud_features" / f"03-{key}.npy", features(seed))
        Image.fromarray(picture(seed)).save(root / "vid_features" / f"01-{key}.png")
    names = ravdess_names()
    for split, chosen in (("train", names[::2]), ("val", names[1::4]), ("test", names[3::4])):
        write_table(root, split, map(ravdess_line, chosen))
    return root


def write_ravdess_media(root: Path) -> Path:
    """Twelve clips of wav files and folders of three frames, the middle one `picture(seed)`."""
    for seed, key in enumerate(ravdess_names()):
        folder = root / f"Actor_{key[-2:]}"
        frames = folder / f"02-{key}"
        frames.mkdir(parents=True)
        wavfile.write(folder / f"03-{key}.wav", 22_050, wave(seed, 30_000).astype(np.float32))
        for number, at in enumerate((seed + 100, seed, seed + 200), 1):
            Image.fromarray(picture(at)).save(frames / f"frame{number}.png")
    return root


CLASSES = {"dog barking": 0, "rain": 1, "train horn": 2}
FRAMES, EDGE = 4, 8


def clip_name(video: int, second: int, label: str) -> str:
    return f"id_{video:08d}_{second:06d}_{label}_0"


def write_clip(root: Path, split: str, name: str, seed: int, *, raw: bool = False, length: int = 2000) -> None:
    folder = root / split
    stacked = picture(seed, (FRAMES * EDGE, EDGE))
    for sub in ("video", "audio") if raw else ("video_jpg", "audio_npy"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    if raw:
        wavfile.write(folder / "audio" / f"{name}.wav", 16_000, wave(seed, length).astype(np.float32))
        (folder / "video" / name).mkdir()
        for number, frame in enumerate(stacked.reshape(FRAMES, EDGE, EDGE, 3)):
            Image.fromarray(frame).save(folder / "video" / name / f"f_{number}.png")
    else:
        np.save(folder / "audio_npy" / f"{name}.npy", wave(seed, length).astype(np.float32)[None])
        Image.fromarray(stacked).save(folder / "video_jpg" / f"{name}.jpg", quality=95, subsampling=0)


def write_vggsound(root: Path, *, raw: bool = False) -> Path:
    """Thirty training clips of ten videos, and nine test clips of three others."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "vggsound_classes.json").write_text(json.dumps(CLASSES))
    labels = list(CLASSES)
    for i in range(30):
        write_clip(root, "train", clip_name(i // 3, i % 3, labels[i % 3]), i, raw=raw)
    for i in range(9):
        write_clip(root, "test", clip_name(50 + i // 3, i % 3, labels[i % 3]), 100 + i, raw=raw)
    return root
