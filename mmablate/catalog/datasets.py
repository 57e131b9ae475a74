"""Datasets that ship with mmablate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from mmablate.catalog.arrays import ARRAYS
from mmablate.catalog.audiovisual import AUDIOVISUAL
from mmablate.catalog.brats import BRATS
from mmablate.catalog.class_folders import CLASS_FOLDERS
from mmablate.catalog.classification import CLASSIFICATION
from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.image_folder import IMAGE_FOLDER
from mmablate.catalog.muses import MUSES
from mmablate.catalog.ravdess import RAVDESS
from mmablate.catalog.rgb_lidar import RGB_LIDAR
from mmablate.catalog.vggsound import VGGSOUND

PACKAGE = Path(__file__).resolve().parent.parent
LANDSAT_FILE = PACKAGE / "data" / "files" / "landsat7_nc.npz"

Channel = Annotated[int, Field(ge=0)]


class LandsatOptions(Options):
    """How the scene is cut; the defaults are those of the shipped recipes."""

    tile: int = Field(32, ge=8, description="tile edge, pixels of 28.5 m")
    block: int = Field(64, ge=8, description="edge of the contiguous blocks that are dealt to the splits")
    gap: int = Field(8, ge=0, description="unused pixels between blocks")
    train_stride: int = Field(16, ge=1, description="distance of training tiles inside a block")
    split_seed: int = Field(0, ge=0, description="deals the blocks; the same for every run seed")


class NoReturn(Options):
    """Pixels without a measurement: `channel` has `value` there."""

    channel: Channel
    value: float = 0.0


class RangeImageOptions(Options):
    """How the channels of a folder of .npy images are read."""

    label_channel: Channel = Field(description="channel that holds the class number")
    ignore_label: int = Field(255, description="label that is neither trained on nor scored")
    class_names: tuple[str, ...] | None = Field(None, description="names of classes 0, 1, ...")
    n_classes: int | None = Field(None, ge=2, description="number of classes, where no names are given")
    no_return: NoReturn | None = Field(None, description="pixels whose inputs are set to zero")
    ignore_no_return: bool = Field(False, description="leave pixels without a return out of loss and score")
    columns: int | None = Field(None, ge=1, description="cut each image into side-by-side windows this wide")
    column_stride: int = Field(1, ge=1, description="keep every n-th column, in scoring too")

    @model_validator(mode="after")
    def _classes(self) -> Self:
        if self.class_names is None and self.n_classes is None:
            raise ValueError("class_names or n_classes must be given")
        if self.class_names is not None and self.n_classes not in (None, len(self.class_names)):
            raise ValueError(f"n_classes {self.n_classes} is not the number of class_names")
        return self


def _landsat_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    return [LANDSAT_FILE]


def _range_image_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    if root is None:
        return []
    found = (path for split in ("train", "val", "test") for path in (root / split).glob("*.npy"))
    return sorted(path for path in found if not path.name.startswith("."))


DATASETS = (
    DatasetEntry(
        name="landsat",
        summary="Landsat 7 scene of Wake County, 5 land covers; V visible, N near, S short-wave infrared",
        options=LandsatOptions,
        target="mmablate.data.landsat:open_landsat",
        check_target="mmablate.data.landsat:check_landsat",
        source="GRASS/OSGeo North Carolina sample data",
        modalities=("V", "N", "S"),
        files=_landsat_files,
        attribution="GRASS/OSGeo North Carolina sample data (CC BY-SA 3.0); Landsat imagery: public domain",
    ),
    DatasetEntry(
        name="range_image",
        summary="a folder of .npy images (train/, val/, optional test/); the recipe maps channels to modalities",
        options=RangeImageOptions,
        target="mmablate.data.range_image:open_range_image",
        check_target="mmablate.data.range_image:check_range_image",
        source="the user's own files, e.g. range images of LiDAR sweeps",
        needs_root=True,
        files=_range_image_files,
    ),
    MUSES,
    IMAGE_FOLDER,
    *CLASSIFICATION,
    ARRAYS,
    CLASS_FOLDERS,
    RGB_LIDAR,
    RAVDESS,
    VGGSOUND,
    *AUDIOVISUAL,
    BRATS,
)
