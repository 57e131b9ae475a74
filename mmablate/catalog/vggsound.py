"""VGGSound as recipes see it: reading options, options of the mini generator, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

Pixels = Annotated[int, Field(ge=1)]
CLASSES = "vggsound_classes.json"


class VggsoundOptions(Options):
    """How the clips are read; by default as published, with a validation split carved out of train."""

    classes: str = Field(
        CLASSES,
        min_length=1,
        description="JSON file of class name -> number, in the root or a path of its own; a clip's class is the part "
        'of its name between the last two "_"',
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of train's source videos whose clips validate; 0 for no validation split"
    )
    split_seed: int = Field(0, ge=0, description="draws the source videos; the same for every run seed")
    frames: int | None = Field(
        None,
        ge=1,
        description="frames of a clip; null: as many squares as an image of video_jpg holds below each other, 32 of "
        "mp4 files and folders of frames",
    )
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that frames are brought to; null: as the images', else 256 x 256"
    )
    audio_size: tuple[Pixels, Pixels] = Field(
        (513, 313), description="rows and columns that spectrograms of another length are resized to"
    )
    loudness: Literal["magnitude", "log"] = Field("magnitude", description="log: log(1 + magnitude)")
    on_fault: Literal["refuse", "drop"] = Field(
        "refuse", description="clips with a faulty file: refuse to train, or drop them with a note of their number"
    )


class VggsoundMakeOptions(Options):
    """What the mini generator writes."""

    form: Literal["arrays", "media"] = Field(
        "arrays", description="stacked frames and .npy waves (wav in test), or wav files and folders of frames"
    )
    classes: int = Field(8, ge=2, le=100, description="kinds of events")
    train: int = Field(400, ge=2, description="training clips")
    test: int = Field(160, ge=1, description="test clips")
    frames: int = Field(32, ge=1, le=255, description="frames of a clip")
    size: tuple[Annotated[int, Field(ge=8, le=256)], Annotated[int, Field(ge=8, le=256)]] = Field(
        (24, 24), description="height and width of a frame"
    )
    seconds: float = Field(1.0, ge=0.1, le=10, description="length of a clip")
    shared: float = Field(
        0.5, ge=0, le=1, description="share of what decides the class in a modality that the other sees too"
    )
    difficulty: float = Field(1.0, gt=0, description="spread of clips around their class")
    source: float = Field(1.0, ge=0, description="how much source videos differ, in the same unit")
    seed: int = Field(0, ge=0, description="same seed, same bytes")


ENDINGS = {".npy", ".wav", ".mp4", ".jpg", ".jpeg", ".png", ".bmp"}


def _vggsound_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    """Files of both splits, and the class map; one elsewhere is reached from the root by ".."."""
    if root is None:
        return []
    found = [path for split in ("train", "test") for path in files_below(root / split, ENDINGS)]
    classes = root / Path(str(settings.get("classes", CLASSES))).expanduser()
    if found and classes.is_file():
        found.append(classes if classes.is_relative_to(root) else root / os.path.relpath(classes, root))
    return found


VGGSOUND = DatasetEntry(
    name="vggsound",
    summary="VGGSound, sounding events in videos; spectrogram and frames; validation carved out of train",
    options=VggsoundOptions,
    target="mmablate.data.vggsound.opening:open_vggsound",
    check_target="mmablate.data.vggsound.opening:check_vggsound",
    source="Chen et al. 2020, VGGSound",
    modalities=("audio", "video"),
    needs_root=True,
    files=_vggsound_files,
    make_target="mmablate.data.mini_clips:make_vggsound",
    make_options=VggsoundMakeOptions,
    task="classification",
    together=lambda options: options.get("on_fault") == "drop",  # a clip is dropped for all rows, or for none
)
