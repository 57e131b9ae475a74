"""BraTS 2018 and 2020 as recipes see them: reading options, options of the mini generator, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from mmablate.catalog.entries import DatasetEntry, Options
from mmablate.catalog.fingerprint import files_below

MaskList = Annotated[str, StringConstraints(pattern=r"^(mr[0-9]{4}|.+\.csv)$")]


class BratsOptions(Options):
    """How the scans are read; by default as PASSION's code reads them, under its mask list mr2468."""

    layout: Literal["auto", "nifti", "npy"] = Field(
        "auto",
        description="nifti: folders as downloaded, preprocessed whenever they are read (prepare a large set once, by "
        "`mmablate data prepare`); npy: vol/ and seg/ of pre-processed volumes; auto: npy where there are any",
    )
    masks: MaskList | None = Field(
        "mr2468",
        description="sequences that training subjects have: mrABCD (missing rates of T1, T1ce, FLAIR, T2 in tenths; "
        "drawn where the published list is not on disk), a CSV below the root with the columns data_name and mask, "
        'e.g. "[True, False, True, True]" for flair, t1ce, t1, t2, or null for every one on disk',
    )
    lists: str | None = Field(
        None,
        min_length=1,
        description="folder of train.txt, val.txt and test.txt below the root; null: where they usually lie, or a "
        "split drawn by a hash of the names where there are none",
    )
    mask_seed: int = Field(1037, ge=0, lt=2**32, description="of a mask list that is drawn; the same for every run")


class BratsMakeOptions(Options):
    """What the mini generator writes."""

    train: int = Field(24, ge=1, description="training subjects")
    val: int = Field(8, ge=1, description="validation subjects")
    test: int = Field(12, ge=1, description="test subjects")
    size: int = Field(48, ge=24, le=240, description="edge of the cube of voxels")
    raw: bool = Field(True, description="write the NIfTI files too, not the pre-processed volumes alone")
    seed: int = Field(0, ge=0, description="same seed, same bytes")


def _brats_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    """Volumes of the layout that is read, and every list beside them."""
    if root is None:
        return []
    found = files_below(root, {".nii", ".gz", ".npy", ".txt", ".csv"})
    stored = [path for path in found if path.suffix == ".npy" and path.parent.name in ("vol", "seg")]
    scans = [path for path in found if path.name.endswith((".nii", ".nii.gz"))]
    lists = [path for path in found if path.suffix in (".txt", ".csv")]
    layout = settings.get("layout", "auto")
    if layout == "auto":
        layout = "npy" if stored else "nifti"
    volumes = stored if layout == "npy" else scans
    return sorted([*volumes, *lists]) if volumes else []


BRATS = DatasetEntry(
    name="brats",
    summary="BraTS 2018 and 2020, tumour regions WT, TC, ET in 3D; flair, t1ce, t1, t2, of which subjects lack some",
    options=BratsOptions,
    target="mmablate.data.brats.opening:open_brats",
    check_target="mmablate.data.brats.opening:check_brats",
    source="Menze et al. 2015; Bakas et al. 2017, 2018; mask lists of PASSION (Shi et al. 2024)",
    modalities=("flair", "t1ce", "t1", "t2"),
    needs_root=True,
    files=_brats_files,
    attribution="BraTS (Menze et al. 2015; Bakas et al. 2017, 2018)",
    make_target="mmablate.data.brats.mini:make_brats",
    make_options=BratsMakeOptions,
    prepare_target="mmablate.data.brats.prepare:prepare_brats",
    conditions={"grade": ("HGG", "LGG")},
    task="volumes",
    together=lambda options: True,  # a subject is cropped by all its sequences, and left out where none is asked for
    n_classes=4,
    hides=("masks", "mask_seed"),
)
