"""Any segmentation data that lie as images in folders, described by the recipe alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

Pixels = Annotated[int, Field(ge=1)]
Way = Literal["standard", "imagenet", "unit", "none"]
Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]


def _way_form(value: Any) -> str:
    return "mapping" if isinstance(value, dict) else "way"


def _void_form(value: Any) -> str:
    return "colour" if isinstance(value, (list, tuple)) else "number"


class LabelFiles(Options):
    """Where the labels are and what their values mean.

    Without `colours` a label file holds class numbers in `channel`; `offset` is added to them (-1 where classes
    count from 1), then `map` renames them.
    """

    files: str = Field(description="pattern, as for a modality")
    channel: int = Field(0, ge=0, description="channel that holds the class number")
    offset: int = Field(0, description="added to every number read, before anything else; void is told before it")
    map: dict[int, int] = Field(default_factory=dict, description="number in the file -> class, after the offset")
    colours: dict[str, Colour] | None = Field(None, description="class name -> RGB, for labels painted in colours")
    void: (
        tuple[
            Annotated[Annotated[int, Tag("number")] | Annotated[Colour, Tag("colour")], Discriminator(_void_form)], ...
        ]
        | None
    ) = Field(
        None,
        description="numbers or colours that are ignored, as in the file; default: 255, which must then be no class",
    )
    others: Literal["refuse", "void"] = Field("refuse", description="values that mean no class")


class Fractions(Options):
    """Splits drawn at random from one pool of samples; the same for every run seed.

    Each sample is drawn for itself, by a hash of its name: what the others are changes nothing for it, and the
    shares are met on average.
    """

    train: float = Field(gt=0, le=1)
    val: float = Field(gt=0, le=1)
    test: float = Field(0, ge=0, le=1)
    seed: int = Field(0, ge=0, description="another seed, another draw")
    by: tuple[str, ...] = Field(
        (), description="placeholders, e.g. [scene]: samples that agree in them are drawn together"
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.train + self.val + self.test > 1 + 1e-9:
            raise ValueError(f"train + val + test must be at most 1, got {self.train + self.val + self.test:g}")
        return self


class ImageFolderOptions(Options):
    """How files become samples.

    A pattern is a path below the root with placeholders: `{split}`, and any other word, such as `{id}`; each is
    one folder's or file's name, or a part of it. Samples are the files of equal placeholders in all modalities
    and labels; a placeholder of `conditions` is a condition to score by. `*` stands for any part of a name that
    differs between the modalities.
    """

    labels: LabelFiles = Field(description="where the labels are: files, channel, offset, map, colours, void, others")
    class_names: tuple[str, ...] | None = Field(None, min_length=2, description="names of classes 0, 1, ...")
    splits: dict[Literal["train", "val", "test"], str] | None = Field(
        None,
        description="what {split} is in each split, or a list of its samples (.txt, .csv, .yaml); "
        "default: folders train, val, test",
    )
    fractions: Fractions | None = Field(None, description="splits at random, in place of `splits`")
    conditions: tuple[str, ...] = Field((), description="placeholders that are conditions")
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="height and width that images and labels are brought to; null keeps the files'"
    )
    resize: dict[str, Literal["bilinear", "nearest"]] = Field(
        default_factory=dict,
        description="how `size` is reached: modality -> bilinear, as those not named, or nearest, for sparse ones such "
        "as events",
    )
    normalise: Annotated[
        Annotated[Way, Tag("way")] | Annotated[dict[str, Way], Tag("mapping")], Discriminator(_way_form)
    ] = Field(
        "standard",
        description="standard: mean 0, deviation 1 over train; unit: 8-bit / 255, 16-bit / 65535, others as they "
        "are; imagenet: unit, then ImageNet's mean and deviation where there are three channels; none: as in the "
        "files; or modality -> one of these, standard for those not named",
    )
    on_fault: Literal["refuse", "drop"] = Field("refuse", description="samples with a faulty file")
    attribution: str | None = Field(None, description="whom the data come from, for the tables")
    synthetic: bool = Field(False, description="the data were generated, and every table says so")

    @model_validator(mode="after")
    def _classes(self) -> Self:
        if self.class_names is None and self.labels.colours is None:
            raise ValueError("class_names, or labels.colours with the names as keys, must be given")
        if self.class_names is not None and self.labels.colours is not None:
            unknown = [name for name in self.labels.colours if name not in self.class_names]
            if unknown:
                raise ValueError(f"labels.colours names no class of class_names: {unknown}")
        if self.splits is not None and self.fractions is not None:
            raise ValueError("splits or fractions, not both")
        if self.splits is not None and not {"train", "val"} <= set(self.splits):
            raise ValueError("splits needs train and val")
        return self


ENDINGS = frozenset({".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg", ".bmp"})


def files_of_patterns(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The files that patterns can lead to; not what else lies below the root."""
    found: set[Path] = set()
    for pattern in patterns:
        literal = re.split(r"[{*]", pattern, maxsplit=1)[0]
        ending = Path(pattern).suffix.lower()
        found |= set(files_below(root / literal.rpartition("/")[0], {ending} if ending in ENDINGS else ENDINGS))
    return sorted(found)


def _image_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    """The files that the patterns can lead to, and the lists of samples."""
    if root is None:
        return []
    patterns = [dict(source)["files"] for _, source in settings["modalities"]] + [dict(settings["labels"])["files"]]
    lists = [root / name for name in (settings.get("splits") or {}).values() if Path(name).suffix]
    return sorted([*files_of_patterns(root, patterns), *(path for path in lists if path.is_file())])


IMAGE_FOLDER = DatasetEntry(
    name="image_folder",
    summary="images in folders of yours (PNG, TIFF, JPEG, npy); the recipe says where modalities and labels are",
    options=ImageFolderOptions,
    target="mmablate.data.image_folder.opening:open_image_folder",
    check_target="mmablate.data.image_folder.opening:check_image_folder",
    source="the user's own files",
    needs_root=True,
    files=_image_files,
    maps="files",
)
