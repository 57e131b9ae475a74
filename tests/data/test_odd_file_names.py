"""Names of files need not be UTF-8: samples called so are read as any other; classes called so are refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from audiovisual_samples import BOTH, CHECK, SMALL, write_kinetics_sounds

from mmablate.catalog.fingerprint import fingerprint
from mmablate.data.class_folders.opening import check_class_folders, open_class_folders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")

MODALITIES = {"a": {"files": "a/{class}/{id}.npy"}, "b": {"files": "b/{class}/{id}.npy"}}
ODD = os.fsdecode(b"\xff")


@pytest.fixture
def root(tmp_path) -> Path:
    for place in ("a", "b"):
        for kind in ("cat", "dog"):
            folder = tmp_path / place / kind
            folder.mkdir(parents=True)
            for i in range(10):
                np.save(folder / f"{ODD if i == 0 else i}.npy", np.full((2, 2), i, dtype=np.float32))
    return tmp_path


@pytest.mark.parametrize("by", [(), ("id",)])
def test_a_sample_of_any_name_is_read(root, by):
    assert check_class_folders(root, modalities=MODALITIES, by=by, thorough=True) == []
    data = open_class_folders(root, modalities=MODALITIES, by=by)
    ids = [split.describe(i).id for split in data.splits.values() for i in range(len(split))]
    assert len(ids) == 20
    assert f"cat/{ODD}" in ids


def test_a_file_of_any_name_has_a_fingerprint(root):
    files = sorted(root.rglob("*.npy"))
    known = fingerprint(files, relative_to=root)
    other = files[-1].rename(files[-1].with_name(os.fsdecode(b"\xfe.npy")))
    assert fingerprint([*files[:-1], other], relative_to=root) != known


def test_a_class_needs_a_name_that_can_be_written(root):
    for place in ("a", "b"):
        (root / place / "cat").rename(root / place / ODD)
    (told,) = check_class_folders(root, modalities=MODALITIES)
    assert told == f"{root}: expected folders of classes whose names are UTF-8, found '\\udcff'"


def test_a_class_of_kinetics_sounds_too(tmp_path):
    root = write_kinetics_sounds(tmp_path, listed=False)
    (root / "kinect_sound" / "audio" / "train" / ODD).mkdir()
    (told,) = CHECK["kinetics_sounds"](root, modalities=BOTH, **SMALL)
    assert told.endswith("expected names of classes in UTF-8, found '\\udcff'")
