"""Pictures in folders of their classes, as recipes see them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.image_folder import Pixels, Way, files_of_patterns

Fraction = Annotated[float, Field(ge=0, le=1)]
Fractions = tuple[Fraction, Fraction, Fraction]


def _way_form(value: Any) -> str:
    return "mapping" if isinstance(value, dict) else "way"


class Drawn(Options):
    """How samples in folders of classes are dealt, and which are left out."""

    fractions: Fractions = Field(
        (0.6, 0.2, 0.2), description="share of train, val and test in every class; val or test 0: no such split"
    )
    split_seed: int = Field(0, ge=0, description="deals the samples; the same for every run seed")
    missing: Literal["refuse", "drop", "mask"] = Field(
        "refuse",
        description="samples that lack a modality: refuse them, drop them, or mask what they lack (zeros); the latter "
        "two with a note of the numbers",
    )
    on_fault: Literal["refuse", "drop"] = Field(
        "refuse", description="samples with a faulty file: refuse them, or drop them with a note of their number"
    )

    @model_validator(mode="after")
    def _sum(self) -> Self:
        train, val, test = self.fractions
        if abs(train + val + test - 1) > 1e-6 or not train or not (val or test):
            raise ValueError(f"fractions must sum to 1, train and one other above 0, not {list(self.fractions)}")
        return self


class ClassFoldersOptions(Drawn):
    """How files become samples.

    A pattern is a path below the root with the placeholder `{class}` and others, such as `{id}`; all modalities have
    the same ones, and files in which they are equal are one sample. `{split}` says which samples train. `*` stands for
    any part of a name that differs between the modalities.
    """

    class_names: tuple[str, ...] | None = Field(
        None, min_length=2, description="folders of the classes, in order; null: those there are, sorted"
    )
    splits: dict[Literal["train", "val", "test"], str] | None = Field(
        None, description="what {split} is in each split; null: train, val, test"
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of train that validates where there is a {split}, but none for val"
    )
    by: tuple[str, ...] = Field(
        (), description="placeholders, e.g. [scene]: samples that agree in them are drawn together"
    )
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that images are brought to; null keeps the files', which must be alike"
    )
    resize: dict[str, Literal["bilinear", "nearest"]] = Field(
        default_factory=dict, description="how `size` is reached: modality -> bilinear, as those not named, or nearest"
    )
    normalise: Annotated[
        Annotated[Way, Tag("way")] | Annotated[dict[str, Way], Tag("mapping")], Discriminator(_way_form)
    ] = Field(
        "standard",
        description="standard: mean 0, deviation 1 over train; unit: 8-bit / 255, 16-bit / 65535, others as they are; "
        "imagenet: unit, then ImageNet's mean and deviation where there are three channels; none: as in the files; or "
        "modality -> one of these, standard for those not named",
    )
    attribution: str | None = Field(None, description="whom the data come from, for the tables")
    synthetic: bool = Field(False, description="the data were generated, and every table says so")


def drops(options: Mapping[str, Any]) -> bool:
    """A sample is dropped or masked for all rows, or for none: then every run looks at all modalities."""
    return options.get("missing") in ("drop", "mask") or options.get("on_fault") == "drop"


def _together(options: Mapping[str, Any]) -> bool:
    """Options that name modalities are judged by all of them, too."""
    return drops(options) or bool(options.get("resize")) or isinstance(options.get("normalise"), Mapping)


def _class_folder_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    patterns = [dict(source)["files"] for _, source in settings["modalities"]]
    return [] if root is None else files_of_patterns(root, patterns)


CLASS_FOLDERS = DatasetEntry(
    name="class_folders",
    summary="pictures in folders of their classes (PNG, JPEG, TIFF, npy); the recipe says where each modality is",
    options=ClassFoldersOptions,
    target="mmablate.data.class_folders.opening:open_class_folders",
    check_target="mmablate.data.class_folders.opening:check_class_folders",
    source="the user's own files",
    needs_root=True,
    files=_class_folder_files,
    maps="files",
    task="classification",
    together=_together,
)
