"""Features of everybody else, as recipes see them: one file a modality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from mmablate.catalog.entries import DatasetEntry, Options

Fraction = Annotated[float, Field(ge=0, le=1)]
ENDINGS = (".npy", ".npz", ".csv", ".csv.gz")


class Where(Options):
    """Where labels, splits or groups are: a column, or a file of their own."""

    file: str | None = Field(None, min_length=1, description="file below the root; null: the files of the modalities")
    column: str | int | None = Field(
        None, description="name of a CSV's column or of an array in an .npz, or place of a column (-1: the last)"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.file is None and self.column is None:
            raise ValueError("file, column or both must be given")
        return self


def _where(value: Any) -> Any:
    """`labels.csv` is short for `{file: labels.csv}`, any other text or number for `{column: ...}`."""
    if isinstance(value, str) and value.lower().endswith(ENDINGS):
        return {"file": value}
    return {"column": value} if isinstance(value, (str, int)) and not isinstance(value, bool) else value


Place = Annotated[Where, BeforeValidator(_where)]


def _key_form(value: Any) -> str:
    return "mapping" if isinstance(value, dict) else "name"


class ArraysOptions(Options):
    """How files become samples: every file has one row a sample, in the same order or with an id."""

    labels: Place = Field(
        Where(column=-1),
        description="where the classes are: file, column; a file's name, a column's name or place alone will do; "
        "default: the last column of every CSV file",
    )
    id: str | None = Field(
        None, min_length=1, description="column that rows are matched by; null: all files have the same order"
    )
    missing: Literal["refuse", "drop"] = Field("refuse", description="rows whose id another file lacks")
    header: bool = Field(True, description="whether the first line of a CSV holds names")
    key: (
        Annotated[Annotated[str, Tag("name")] | Annotated[dict[str, str], Tag("mapping")], Discriminator(_key_form)]
        | None
    ) = Field(None, description="array of features in an .npz, of all or modality -> name; null: the only one there")
    ignore: tuple[str, ...] = Field((), description="columns that are no features")
    split: Place | None = Field(
        None, description="where the words train, val, test are: file, column; null: drawn by `fractions`"
    )
    fractions: tuple[Fraction, Fraction, Fraction] = Field(
        (0.6, 0.2, 0.2), description="share of train, val and test in every class; val or test 0: no such split"
    )
    val_fraction: float = Field(0.1, ge=0, lt=1, description="share of train that validates where `split` has no val")
    group: Place | None = Field(
        None, description="where the names of groups are: file, column; samples of a group are drawn together"
    )
    split_seed: int = Field(0, ge=0, description="deals the samples; the same for every run seed")
    standardise: Literal["channel", "each", "none"] = Field(
        "channel",
        description="mean 0, deviation 1 over train: of each feature, in samples of several axes of each place of the "
        "first; each: of every single number; none: as in the files",
    )
    attribution: str | None = Field(None, description="whom the data come from, for the tables")
    synthetic: bool = Field(False, description="the data were generated, and every table says so")

    @model_validator(mode="after")
    def _sum(self) -> Self:
        train, val, test = self.fractions
        if abs(train + val + test - 1) > 1e-6 or not train or not (val or test):
            raise ValueError(f"fractions must sum to 1, train and one other above 0, not {list(self.fractions)}")
        return self


def _arrays_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    """The files named in the recipe; none where one is missing, which opening tells."""
    if root is None:
        return []
    names = [dict(source)["files"] for _, source in settings["modalities"]]
    names += [where["file"] for key in ("labels", "split", "group") if (where := settings.get(key)) and where["file"]]
    paths = sorted({root / name for name in names})
    return paths if all(path.is_file() for path in paths) else []


def _together(options: Mapping[str, Any]) -> bool:
    """Rows that are matched by an id hang on all files; so do columns looked for in all, and options that name them."""
    places = [where for key in ("labels", "split", "group") if (where := options.get(key))]
    named = options.get("id") is not None or isinstance(options.get("key"), Mapping)
    return named or any(where["file"] is None for where in places)


ARRAYS = DatasetEntry(
    name="arrays",
    summary="features of yours, one file a modality (.npy, .npz, .csv, .csv.gz), with labels in a column or a file",
    options=ArraysOptions,
    target="mmablate.data.arrays.opening:open_arrays",
    check_target="mmablate.data.arrays.opening:check_arrays",
    source="the user's own files",
    needs_root=True,
    files=_arrays_files,
    maps="files",
    task="classification",
    together=_together,
)
