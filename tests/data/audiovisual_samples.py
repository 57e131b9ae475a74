"""Tiny sets in the layouts of CREMA-D, Kinetics-Sounds, VGGSound and AVE, written file by file for the tests.

Clip number n sounds at the frequency of row n + 2 of its spectrogram, and its frames are of the grey 20 + 6 n: what
is read tells which clip it is of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile

from mmablate.data.audiovisual.opening import (
    check_ave,
    check_cremad,
    check_kinetics_sounds,
    check_vggsound_av,
    open_ave,
    open_cremad,
    open_kinetics_sounds,
    open_vggsound_av,
)

BOTH = ("audio", "visual")
RATE, N_FFT = 8_000, 64
SMALL = {"sample_rate": RATE, "seconds": 0.064, "n_fft": N_FFT, "hop": 32, "audio_size": None, "size": (4, 4)}
ACTORS, EMOTIONS = (1001, 1002, 1003, 1004, 1005), ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
EVENTS = ("Church bell", "Violin, fiddle")
OPEN = {
    "cremad": open_cremad,
    "kinetics_sounds": open_kinetics_sounds,
    "vggsound_av": open_vggsound_av,
    "ave": open_ave,
}
CHECK = {
    "cremad": check_cremad,
    "kinetics_sounds": check_kinetics_sounds,
    "vggsound_av": check_vggsound_av,
    "ave": check_ave,
}
HOMES = {"cremad": "CREMA-D", "kinetics_sounds": "kinect_sound", "vggsound_av": "vggsound", "ave": "AVE_Dataset"}


def write_sound(path: Path, number: int, length: int = 700) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(0.7 + 2 * np.pi * (number + 2) / N_FFT * np.arange(length))
    wavfile.write(path, RATE, wave.astype(np.float32))


def write_frames(folder: Path, number: int, count: int = 2, ending: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        Image.fromarray(np.full((6, 5, 3), 20 + 6 * number, np.uint8)).save(folder / f"{at:05d}{ending}")


def numbers(split) -> tuple[list[int], list[int]]:
    """Numbers of the clips by what is heard, and by what is seen."""
    inputs, _ = split.batch(range(len(split)))
    heard = inputs["audio"][:, 0].mean(axis=2).argmax(axis=1) - 2
    red = (inputs["visual"][:, 0].mean(axis=(1, 2, 3)) * STD[0] + MEAN[0]) * 255
    return heard.tolist(), ((red - 20) / 6).round().astype(int).tolist()


def ids(split) -> list[str]:
    return [split.describe(i).id for i in range(len(split))]


def cremad_ids() -> list[str]:
    """Five actors, six emotions each: thirty clips, whose number is their place here."""
    return [f"{actor}_IEO_{emotion}_XX" for actor in ACTORS for emotion in EMOTIONS]


def write_cremad(root: Path, *, lists: bool = True) -> Path:
    home = root / "CREMA-D"
    for number, name in enumerate(cremad_ids()):
        write_sound(home / "AudioWAV" / f"{name}.wav", number)
        write_frames(home / "Image-01-FPS" / name, number)
    if lists:
        rows = [f"{name},{name.split('_')[2]}" for name in cremad_ids()]
        (home / "train.csv").write_text("".join(f"{row}\n" for row in rows if "1005" not in row and "1004" not in row))
        (home / "test.csv").write_text("".join(f"{row}\n" for row in rows if "1005" in row or "1004" in row))
    return root


def video_id(number: int) -> str:
    return f"_v-{number:08d}"


KS_CLASSES = ("playing guitar", "tap_dancing", "blowing nose")


def write_kinetics_sounds(root: Path, *, listed: bool = True) -> Path:
    """Twelve training and six test clips of three classes; folders of frames spell with spaces, those of sounds not."""
    home = root / "kinect_sound"
    for number in range(18):
        split, image = ("train", "train_img") if number < 12 else ("test", "val_img")
        name, label = f"{video_id(number)}_000010_000020", KS_CLASSES[number % 3]
        write_sound(home / "audio" / split / label.replace(" ", "_") / f"{name}.wav", number)
        write_frames(home / "visual" / image / "Image-01-FPS" / label.replace("_", " ") / name, number, 3)
    if listed:
        (home / "class.txt").write_text("tap_dancing, playing guitar, blowing_nose\n")
    return root


def write_vggsound_av(root: Path) -> Path:
    """Twelve training and six test clips of three classes."""
    home = root / "vggsound"
    labels = ("people eating, chewing", "dog barking", "train horn")
    rows = []
    for number in range(18):
        split = "train" if number < 12 else "test"
        name = f"{video_id(number)}_{number:06d}"
        rows.append(f'{video_id(number)},{number},"{labels[number % 3]}",{split}\n')
        write_sound(home / "audio" / f"{split}-audios" / f"{split}-set" / f"{name}.wav", number)
        write_frames(home / "video" / f"{split}-set-img" / "Image-01-FPS" / f"{name}.mp4", number, 3)
    (home / "vggsound.csv").write_text("".join(rows))
    return root


def write_ave(root: Path) -> Path:
    """Eight training, four validation and four test clips of two classes."""
    home = root / "AVE_Dataset"
    for number in range(16):
        write_sound(home / "Audios" / f"{video_id(number)}.wav", number)
        write_frames(home / "Image-01-FPS-SE" / video_id(number), number, 4)
    for name, members in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 16))):
        lines = [f"{EVENTS[number % 2]}&{video_id(number)}&good&0&10\n" for number in members]
        (home / f"{name}Set.txt").write_text("".join(lines))
    return root


WRITE = {
    "cremad": write_cremad,
    "kinetics_sounds": write_kinetics_sounds,
    "vggsound_av": write_vggsound_av,
    "ave": write_ave,
}


def audio_file(root: Path, name: str, number: int) -> Path:
    """The sound of a clip."""
    stem = cremad_ids()[number] if name == "cremad" else video_id(number)
    return next((root / HOMES[name]).rglob(f"{stem}*.wav"))


def visual_folder(root: Path, name: str, number: int) -> Path:
    """The frames of a clip."""
    stem = cremad_ids()[number] if name == "cremad" else video_id(number)
    return next(path for path in (root / HOMES[name]).rglob(f"{stem}*") if path.is_dir())


def opened(root: Path, name: str, **options):
    """A written set; validation clips only where a set has its own, or speakers."""
    fraction = {} if name == "cremad" else {"val_fraction": 0}
    return OPEN[name](root, modalities=BOTH, **{**SMALL, **fraction, **options})
