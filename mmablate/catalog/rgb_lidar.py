"""RGB and LiDAR pairs as recipes see them: reading options, options of the mini generator, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mmablate.catalog.class_folders import Drawn, Fractions, drops
from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below
from mmablate.catalog.image_folder import Pixels, Way


class RgbOptions(Options):
    """How pictures are read."""

    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that pictures are brought to; null: as the files', which must be alike"
    )
    normalise: Way = Field(
        "standard",
        description="standard: mean 0, deviation 1 over train; unit: / 255; imagenet: unit, then ImageNet's mean and "
        "deviation; none: as in the files",
    )


class LidarOptions(Options):
    """How depth maps are read."""

    max_range: float = Field(50.0, gt=0, description="depth from which on there was no return, in the files' unit")
    upright: bool = Field(
        False, description="swap rows (azimuth) and columns (zenith), so that a depth map lies as a picture"
    )
    normalise: Literal["standard", "none"] = Field(
        "standard", description="x, y and z to mean 0, deviation 1 over the returns of train; none: as measured"
    )


class RgbLidarOptions(Drawn):
    """How the pairs are read; what concerns one modality alone stands under its name."""

    fractions: Fractions = Field(
        (0.7, 0.1, 0.2), description="share of train, val and test in every class; published: 0.8, 0.2 and no test"
    )
    rgb: RgbOptions = Field(RgbOptions(), description="of pictures: size, normalise")
    lidar: LidarOptions = Field(LidarOptions(), description="of depth maps: max_range, upright, normalise")


class RgbLidarMakeOptions(Options):
    """What the mini generator writes."""

    samples: int = Field(1200, ge=8, le=100_000, description="cubes and spheres together")
    size: int = Field(64, ge=8, le=256, description="height and width of pictures and depth maps")
    hidden_rgb: float = Field(0.12, ge=0, le=1, description="share of samples whose body the camera does not see")
    hidden_lidar: float = Field(0.2, ge=0, le=1, description="share of samples whose body the LiDAR does not see")
    spread: float = Field(0.5, ge=0, le=5, description="how far from the middle of the view bodies lie")
    clutter: float = Field(0.2, ge=0, description="texture, low contrast and bars in pictures")
    dropped: float = Field(0.1, ge=0, le=1, description="share of returns that are lost")
    noise: float = Field(0.5, ge=0, description="noise of colours and of distances")
    seed: int = Field(0, ge=0, description="same seed, same bytes")


def _rgb_lidar_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    return [] if root is None else files_below(root, {".png", ".npy"})


RGB_LIDAR = DatasetEntry(
    name="rgb_lidar",
    summary="pairs of a picture and a LiDAR depth map in folders of their classes, such as cubes and spheres",
    options=RgbLidarOptions,
    target="mmablate.data.rgb_lidar.opening:open_rgb_lidar",
    check_target="mmablate.data.rgb_lidar.opening:check_rgb_lidar",
    source="the layout of the public set of cubes and spheres, 64 x 64",
    modalities=("rgb", "lidar"),
    needs_root=True,
    files=_rgb_lidar_files,
    make_target="mmablate.data.rgb_lidar.mini:make_rgb_lidar",
    make_options=RgbLidarMakeOptions,
    task="classification",
    together=drops,
)
