"""The mini by both paths, NIfTI and .npy, and by the published procedure."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from brats_samples import SEQUENCES
from test_brats_opening import equal, opened
from test_brats_preprocessing import published

from mmablate.data.brats.mini import make_brats
from mmablate.data.brats.prepare import prepare_brats


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats") / "mini"
    make_brats(root, train=5, val=1, test=2, size=24)
    return root


def test_nifti_and_npy_give_equal_tensors_and_masks(mini: Path) -> None:
    for masks in ("mr2468", "mr8825", None):
        stored = opened(mini, masks=masks)
        equal(opened(mini, layout="nifti", masks=masks), stored)
        equal(opened(mini / "raw", masks=masks), stored)
    assert stored.synthetic


def test_data_prepare_writes_what_the_published_procedure_gives(mini: Path, tmp_path: Path) -> None:
    prepare_brats(mini / "raw", tmp_path)
    equal(opened(tmp_path), opened(mini))
    written = sorted((tmp_path / "vol").glob("*.npy"))
    assert len(written) == 8
    for path in written:
        name = path.name.removesuffix("_vol.npy")
        folder = mini / "raw" / name[3:]
        scans = {k: np.asarray(nibabel.load(folder / f"{name[3:]}_{k}.nii.gz").dataobj) for k in (*SEQUENCES, "seg")}
        volume, labels = published(scans, 128)
        np.testing.assert_array_equal(np.load(path), volume)
        np.testing.assert_array_equal(np.load(tmp_path / "seg" / f"{name}_seg.npy"), labels)
        assert path.read_bytes() == (mini / "vol" / path.name).read_bytes()
