"""RAVDESS as recipes see it: reading options, options of the mini generator, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

Pixels = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=1)]
Actors = Annotated[tuple[Annotated[int, Field(ge=1, le=24)], ...], Field(min_length=1)]


class RavdessOptions(Options):
    """How the clips are read; by default the split is one of speakers, not the published one."""

    layout: Literal["auto", "arrays", "media"] = Field(
        "auto",
        description="arrays: aud_features, vid_features, data_file of the published code; media: Actor_XX with wav "
        "files and mp4 files or folders of frames",
    )
    split: Literal["speaker", "published"] = Field(
        "speaker",
        description="speaker: actors of one split are in no other; published: data_file/spa_*.csv, where they are",
    )
    val_actors: Number | Actors | None = Field(
        None, description="actors of the validation split: how many, or their numbers; null: a sixth (4 of 24)"
    )
    test_actors: Number | Actors | None = Field(
        None, description="actors of the test split: how many, or their numbers; null: a fifth (5 of 24)"
    )
    split_seed: int = Field(0, ge=0, description="draws the actors; the same for every run seed")
    channel: Literal["speech", "song", "all"] = Field("speech", description="which clips of media count")
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that pictures are brought to; null: as they are, of media 256 x 512"
    )
    audio_size: tuple[Pixels, Pixels] | None = Field(
        None,
        description="rows and columns of the sound: arrays are resized to it, media give so many coefficients and "
        "columns of 23 ms; null: as they are, of media 40 x 256",
    )
    features: Literal["mfcc", "logmel"] = Field("mfcc", description="what media's sound is turned into")
    normalise: Literal["published", "standard", "none"] = Field(
        "published",
        description="published: (sound + 10.59) / 85.66, pictures by ImageNet's mean and deviation; standard: mean 0, "
        "deviation 1 over train; none: sound as it is, pictures 0-1",
    )
    on_fault: Literal["refuse", "drop"] = Field(
        "refuse", description="clips with a faulty file: refuse to train, or drop them with a note of their number"
    )


class RavdessMakeOptions(Options):
    """What the mini generator writes."""

    form: Literal["arrays", "media"] = Field("arrays", description="published arrays, or wav files and frames")
    actors: int = Field(24, ge=3, le=24, description="speakers")
    clips: int = Field(3, ge=1, le=8, description="clips of each emotion and actor (neutral has at most 4)")
    size: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = Field(
        (32, 64), description="height and width of the pictures"
    )
    audio_size: tuple[Annotated[int, Field(ge=4, le=128)], Annotated[int, Field(ge=8)]] = Field(
        (40, 64), description="rows and columns of the arrays; the length of the wav files follows the columns"
    )
    shared: float = Field(
        0.5, ge=0, le=1, description="share of what decides the class in a modality that the other sees too"
    )
    difficulty: float = Field(1.0, gt=0, description="spread of clips around their class")
    speaker: float = Field(1.0, ge=0, description="how much speakers differ, in the same unit")
    seed: int = Field(0, ge=0, description="same seed, same bytes")


ENDINGS = {".npy", ".csv", ".wav", ".mp4", ".jpg", ".jpeg", ".png", ".bmp"}


def _ravdess_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    return [] if root is None else files_below(root, ENDINGS)


RAVDESS = DatasetEntry(
    name="ravdess",
    summary="RAVDESS, 8 acted emotions; audio features and image of the actor; split by speaker",
    options=RavdessOptions,
    target="mmablate.data.ravdess.opening:open_ravdess",
    check_target="mmablate.data.ravdess.opening:check_ravdess",
    source="Livingstone and Russo 2018, RAVDESS",
    modalities=("audio", "image"),
    needs_root=True,
    files=_ravdess_files,
    make_target="mmablate.data.mini_clips:make_ravdess",
    make_options=RavdessMakeOptions,
    task="classification",
    together=lambda options: options.get("on_fault") == "drop",  # a clip is dropped for all rows, or for none
)
