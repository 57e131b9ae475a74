"""MUSES as recipes see it: reading options, options of the mini generator, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

Weather = Literal["clear", "fog", "rain", "snow"]
TimeOfDay = Literal["day", "night"]
Pixels = Annotated[int, Field(ge=1)]


def _several(value: Any) -> Any:
    """`weather: fog` is short for `weather: [fog]`; an empty list would leave no scene."""
    if value in ([], ()):
        raise ValueError("at least one, or null for all")
    return [value] if isinstance(value, str) else value


class MusesOptions(Options):
    """How the tree is read; by default as it is, standardised by the training scenes."""

    layout: Literal["auto", "raw", "projected"] = Field(
        "auto", description="raw sensor files, or event and LiDAR already projected to the RGB plane"
    )
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that images, projections and labels are brought to; null keeps the files'"
    )
    normalise: Literal["standard", "imagenet", "unit", "none"] = Field(
        "standard",
        description="standard: mean 0, deviation 1 over train; imagenet: RGB by ImageNet's, others / 255; "
        "unit: 0-1; none: raw values, as released",
    )
    dilate_events: int = Field(1, ge=1, le=15, description="pixels that an event is widened to, 1 for none")
    dilate_lidar: int = Field(1, ge=1, le=15, description="pixels that a LiDAR point is widened to, 1 for none")
    event_window_us: int = Field(30_000, ge=1, description="the last so many microseconds of events count")
    min_range: float = Field(1.0, ge=0, description="LiDAR points nearer than this (m) are left out")
    weather: Annotated[tuple[Weather, ...] | None, BeforeValidator(_several)] = Field(
        None, description="only scenes of these, e.g. [fog, snow]; null for all"
    )
    time_of_day: Annotated[tuple[TimeOfDay, ...] | None, BeforeValidator(_several)] = Field(
        None, description="only scenes of these; null for all"
    )
    on_fault: Literal["refuse", "drop"] = Field(
        "refuse", description="scenes with a faulty file: refuse to train, or drop them with a note of their number"
    )


class MusesMakeOptions(Options):
    """What the mini generator writes."""

    train: int = Field(60, ge=1, description="training scenes, each under one condition")
    val: int = Field(20, ge=1, description="validation scenes, each under one condition")
    test: int = Field(20, ge=1, description="test scenes, each under every condition")
    size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = Field(
        (108, 192), description="height and width of the frame images"
    )
    seed: int = Field(0, ge=0, description="same seed, same bytes")


FOLDERS = ("frame_camera", "event_camera", "lidar", "gt_semantic")
PROJECTED = "projected_to_rgb"
ENDINGS = {".png", ".h5", ".bin", ".json", ".npy", ".npz"}


def _muses_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    """Every file of the tree that a number may depend on; radar, GNSS and other annotations are not read.

    A root that is the folder of projections itself has its frames and labels beside it: their paths lead
    there by "..", so that names below `root` can still be formed.
    """
    if root is None:
        return []
    inside = root.resolve().name == PROJECTED and not (root / "gt_semantic").is_dir()
    homes = [root, root / ".."] if inside else [root, root / PROJECTED]
    found = [path for home in homes for folder in FOLDERS for path in files_below(home / folder, ENDINGS)]
    found += [path for home in homes for path in home.glob("*.json") if path.is_file()]
    return sorted(found)


MUSES = DatasetEntry(
    name="muses",
    summary="MUSES driving scenes, 19 classes; F frame camera, E event camera, L LiDAR",
    options=MusesOptions,
    target="mmablate.data.muses.opening:open_muses",
    check_target="mmablate.data.muses.opening:check_muses",
    source="Broedermann et al. 2024, MUSES",
    modalities=("F", "E", "L"),
    needs_root=True,
    files=_muses_files,
    make_target="mmablate.data.muses.mini:make_muses",
    make_options=MusesMakeOptions,
    conditions={"weather": ("clear", "fog", "rain", "snow"), "time_of_day": ("day", "night")},
)
