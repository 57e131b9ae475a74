"""BraTS in the catalogue: its options, and the files that its numbers depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mmablate.catalog import entries, fingerprint
from mmablate.catalog.brats import BRATS, BratsMakeOptions, BratsOptions

NAMES = {
    "npy": ["vol/HG_a_vol.npy", "seg/HG_a_seg.npy"],
    "nifti": ["raw/HGG/a/a_t1.nii", "raw/HGG/a/a_seg.nii.gz"],
    "lists": ["train.txt", "BraTS/brats_split/Brats2020_imb_split_mr2468.csv"],
    "neither": ["other/x.npy", "vol/.HG_b_vol.npy.7.part", "x.gz", "prepared.jsonl"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for names in NAMES.values():
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
    return tmp_path


def test_it_is_in_the_catalogue() -> None:
    assert entries("dataset")["brats"] is BRATS
    assert BratsOptions().masks == "mr2468"
    assert BratsOptions().model_dump(mode="json") == {
        "layout": "auto", "masks": "mr2468", "lists": None, "mask_seed": 1037
    }  # fmt: skip
    assert BratsMakeOptions().model_dump() == {
        "train": 24, "val": 8, "test": 12, "size": 48, "raw": True, "seed": 0
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["auto", "npy", "nifti"])
def test_the_files_are_those_of_the_layout_and_the_lists(root: Path, layout: str) -> None:
    found = {str(path.relative_to(root)) for path in BRATS.files(root, {"layout": layout})}
    assert found == {*NAMES["npy" if layout == "auto" else layout], *NAMES["lists"]}


def test_auto_takes_nifti_where_there_is_no_npy(root: Path) -> None:
    for name in NAMES["npy"]:
        (root / name).unlink()
    assert [path.name for path in BRATS.files(root, {}) if path.suffix in (".nii", ".gz")] == [
        "a_seg.nii.gz",
        "a_t1.nii",
    ]
    assert BRATS.files(root, {"layout": "npy"}) == []
    assert BRATS.files(None, {}) == []


def test_a_changed_mask_list_is_other_data(root: Path) -> None:
    before = fingerprint(BRATS.files(root, {}), relative_to=root)
    (root / NAMES["neither"][0]).write_text("changed")
    assert fingerprint(BRATS.files(root, {}), relative_to=root) == before
    (root / NAMES["lists"][1]).write_text("changed")
    assert fingerprint(BRATS.files(root, {}), relative_to=root) != before


@pytest.mark.parametrize("masks", ["mr246", "mr24688", "2468", "", "list.txt"])
def test_masks_are_a_name_or_a_csv(masks: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        BratsOptions(masks=masks)
    assert BratsOptions(masks=None).masks is None
    assert BratsOptions(masks="own/list.csv").masks == "own/list.csv"
