"""CREMA-D, Kinetics-Sounds, VGGSound and AVE as recipes see them: reading options, options of the minis, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

Pixels = Annotated[int, Field(ge=1, le=4096)]
Edge = Annotated[int, Field(ge=16, le=256)]
Kinds = Annotated[int, Field(ge=1, le=100)]
Group = tuple[Kinds, Kinds, Kinds]

PAIRS: tuple[Group, ...] = ((2, 1, 1), (1, 2, 1), (1, 1, 2))
OPENING, MAKING = "mmablate.data.audiovisual.opening", "mmablate.data.mini_clips.audiovisual"


class AudioVisualOptions(Options):
    """How the clips are read."""

    sample_rate: int = Field(16_000, ge=1_000, le=192_000, description="Hz that sounds are brought to")
    seconds: float = Field(5.0, gt=0, le=600, description="length of the sound that is read; shorter ones are repeated")
    crop: Literal["centre", "start"] = Field(
        "centre", description="which part of a longer sound is read, in training as in test"
    )
    n_fft: int = Field(256, ge=16, le=65_536, description="window of the spectrogram, samples")
    hop: int = Field(128, ge=1, le=65_536, description="step of the spectrogram, samples")
    audio_size: tuple[Pixels, Pixels] | None = Field(
        None, description="rows and columns that spectrograms are resized to; null: as they are"
    )
    frames: int = Field(3, ge=1, le=255, description="frames of a clip, evenly apart")
    size: tuple[Pixels, Pixels] = Field((224, 224), description="height and width of a frame")
    standardise: bool = Field(
        False,
        description="mean 0 and deviation 1 over train per channel; otherwise spectrograms as they are, frames by "
        "ImageNet's mean and deviation",
    )
    lists: str | None = Field(
        None, min_length=1, description="folder of the lists; null: the set's own folder, or the root"
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of train's source videos that validates where the set ships no such split"
    )
    split_seed: int = Field(0, ge=0, description="draws what is split here; the same for every run seed")
    missing: Literal["refuse", "drop", "mask"] = Field(
        "refuse",
        description="clips without a file of a modality: refuse to train, drop them, or keep them with zeros in place "
        "of what is missing; the latter two with a note of the numbers",
    )
    on_fault: Literal["refuse", "drop"] = Field(
        "refuse", description="clips with an unreadable file: refuse to train, or drop them with a note of their number"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, not {self.n_fft}")
        if round(self.seconds * self.sample_rate) <= self.n_fft // 2:
            raise ValueError(
                f"seconds {self.seconds:g} at {self.sample_rate} Hz is shorter than half of n_fft {self.n_fft}"
            )
        return self


class CremadOptions(AudioVisualOptions):
    """How CREMA-D is read; by default the split is one of speakers, not the published one."""

    sample_rate: int = Field(22_050, ge=1_000, le=192_000, description="Hz that sounds are brought to")
    seconds: float = Field(3.0, gt=0, le=600, description="length of the sound that is read; shorter ones are repeated")
    crop: Literal["centre", "start"] = Field("start", description="which part of a longer sound is read")
    n_fft: int = Field(512, ge=16, le=65_536, description="window of the spectrogram, samples")
    hop: int = Field(353, ge=1, le=65_536, description="step of the spectrogram, samples")
    frames: int = Field(1, ge=1, le=255, description="frames of a clip, evenly apart")
    split: Literal["speakers", "published"] = Field(
        "speakers",
        description="speakers: actors of one split are in no other; published: train.csv and test.csv, with all actors "
        "in both",
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="share that validates: of the actors who do not test, or of the published train"
    )
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the actors who test, of a split by speaker")


class AveOptions(AudioVisualOptions):
    """How AVE is read; it has a validation split of its own."""

    sample_rate: int = Field(22_050, ge=1_000, le=192_000, description="Hz that sounds are brought to")
    seconds: float = Field(
        10.0, gt=0, le=600, description="length of the sound that is read; shorter ones are repeated"
    )
    n_fft: int = Field(512, ge=16, le=65_536, description="window of the spectrogram, samples")
    hop: int = Field(256, ge=1, le=65_536, description="step of the spectrogram, samples")
    audio_size: tuple[Pixels, Pixels] | None = Field(
        (224, 224), description="rows and columns that spectrograms are resized to; null: as they are"
    )
    frames: int = Field(4, ge=1, le=255, description="frames of a clip, evenly apart")


class AudioVisualMakeOptions(Options):
    """What the mini generators write: sounds and frames whose shares in the class are known."""

    form: Literal["frames", "video"] = Field("frames", description="folders of jpg frames, or video files (needs PyAV)")
    parts: tuple[Group, ...] = Field(
        (*PAIRS, (1, 1, 1), (1, 1, 1)),
        min_length=1,
        description="groups of classes, each [a, v, s]: sound alone tells a kinds apart, picture alone v, only both "
        "together s, and both tell the group; a group has a*v*s classes",
    )
    train: int = Field(600, ge=2, description="training clips")
    test: int = Field(200, ge=2, description="test clips")
    size: tuple[Edge, Edge] = Field((32, 32), description="height and width of a frame")
    seconds: float = Field(0.75, ge=0.1, le=10, description="length of a sound")
    frames: int = Field(3, ge=1, le=99, description="frames of a clip")
    audio_strength: float = Field(1.5, ge=0, description="how strongly sound shows what it tells")
    visual_strength: float = Field(0.6, ge=0, description="how strongly pictures show what they tell")
    audio_noise: float = Field(0.8, ge=0, description="spread of sounds around it")
    visual_noise: float = Field(0.8, ge=0, description="spread of pictures around it")
    seed: int = Field(0, ge=0, description="same seed, same bytes")

    @model_validator(mode="after")
    def _classes(self) -> Self:
        number = sum(a * v * s for a, v, s in self.parts)
        if not 2 <= number <= 400:
            raise ValueError(f"parts make {number} classes, expected 2 to 400")
        return self


class CremadMakeOptions(AudioVisualMakeOptions):
    """What the mini generator of CREMA-D writes."""

    parts: tuple[Group, ...] = Field(
        PAIRS,
        min_length=1,
        description="groups of emotions, each [a, v, s]: sound alone tells a kinds apart, picture alone v, only both "
        "together s, and both tell the group; six in all",
    )
    frames: int = Field(1, ge=1, le=99, description="frames of a clip")
    visual_strength: float = Field(0.7, ge=0, description="how strongly pictures show what they tell")
    speakers: int = Field(16, ge=3, le=91, description="actors; the lists have each in train and in test")
    speaker: float = Field(0.5, ge=0, description="how much actors differ, in the unit of the noise")

    @model_validator(mode="after")
    def _emotions(self) -> Self:
        number = sum(a * v * s for a, v, s in self.parts)
        if number != 6:
            raise ValueError(f"parts make {number} classes, expected the 6 emotions of CREMA-D")
        if self.train + self.test > self.speakers * 6 * 48:
            raise ValueError(f"{self.speakers} speakers have at most {self.speakers * 6 * 48} clips")
        return self


class AveMakeOptions(AudioVisualMakeOptions):
    """What the mini generator of AVE writes."""

    val: int = Field(100, ge=2, description="validation clips")


MEDIA = {".wav", ".jpg", ".jpeg", ".png", ".bmp", ".mp4", ".flv", ".avi", ".mkv", ".webm", ".mov"}


def _files(home: str, names: tuple[str, ...]) -> Callable[[Path | None, Mapping[str, Any]], list[Path]]:
    """The media below the set's own folder, and its lists; one elsewhere is reached from the root by "..".

    A root may hold several sets, of which the others do not count.
    """

    def files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
        if root is None:
            return []
        own = root / home if (root / home).is_dir() else root
        found = files_below(own, MEDIA)
        lists = settings.get("lists")
        places = [own, root] if lists is None else [root / Path(str(lists)).expanduser()]
        for name in names if found else ():
            path = next((place / name for place in places if (place / name).is_file()), None)
            if path is not None:
                found.append(path if path.is_relative_to(root) else root / os.path.relpath(path, root))
        return found

    return files


def _together(options: Mapping[str, Any]) -> bool:
    """A clip that lacks a modality, or has a faulty file, is treated alike in all rows, whichever they read."""
    return options.get("on_fault") == "drop" or options.get("missing") in ("drop", "mask")


def _entry(
    name: str,
    summary: str,
    source: str,
    home: str,
    lists: tuple[str, ...],
    options: type[Options] = AudioVisualOptions,
    make_options: type[Options] = AudioVisualMakeOptions,
) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        summary=summary,
        options=options,
        target=f"{OPENING}:open_{name}",
        check_target=f"{OPENING}:check_{name}",
        source=source,
        modalities=("audio", "visual"),
        needs_root=True,
        files=_files(home, lists),
        make_target=f"{MAKING}:make_{name}",
        make_options=make_options,
        task="classification",
        together=_together,
    )


AUDIOVISUAL = (
    _entry(
        "cremad",
        "CREMA-D, 6 acted emotions; spectrogram of the voice and frames of the face; split by speaker",
        "Cao et al. 2014, CREMA-D",
        "CREMA-D",
        ("train.csv", "test.csv"),
        CremadOptions,
        CremadMakeOptions,
    ),
    _entry(
        "kinetics_sounds",
        "Kinetics-Sounds, actions seen and heard; spectrogram and frames; validation carved out of train",
        "Arandjelovic and Zisserman 2017, Look, Listen and Learn",
        "kinect_sound",
        ("class.txt",),
    ),
    _entry(
        "vggsound_av",
        "VGGSound in the layout of DGL and OGM-GE; spectrogram and frames; validation carved out of train",
        "Chen et al. 2020, VGGSound",
        "vggsound",
        ("vggsound.csv", "train.csv", "test.csv"),
    ),
    _entry(
        "ave",
        "AVE, 28 audio-visual events; spectrogram and frames; splits as published",
        "Tian et al. 2018, Audio-Visual Event Localization",
        "AVE_Dataset",
        ("trainSet.txt", "valSet.txt", "testSet.txt"),
        AveOptions,
        AveMakeOptions,
    ),
)
