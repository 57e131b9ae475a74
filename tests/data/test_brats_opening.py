"""BraTS as a dataset: both layouts, splits, masks, boxes."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import brats_samples as samples
import nibabel
import numpy as np
import pytest
from brats_samples import NUMBERS, SEQUENCES, name_of, write_lists, write_npy, write_raw

from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.data.brats.masks import generate_masks, write_mask_list
from mmablate.data.brats.opening import check_brats, open_brats
from mmablate.data.brats.preprocessing import preprocess
from mmablate.data.generated import write_json
from mmablate.errors import DataError, MissingExtra

BARE = [name_of(number) for number in NUMBERS]


def opened(root: Path, modalities: tuple[str, ...] = SEQUENCES, **options: object) -> VolumeData:
    return open_brats(root, modalities=modalities, **options)  # type: ignore[arg-type]


def equal(one: VolumeData, other: VolumeData) -> None:
    assert one.splits.keys() == other.splits.keys()
    for name, split in one.splits.items():
        twin = other.splits[name]
        assert len(split) == len(twin)
        np.testing.assert_array_equal(split.presence, twin.presence)
        for index in range(len(split)):
            assert split.describe(index) == twin.describe(index)
            assert split.size(index) == twin.size(index)
            for mine, theirs in zip(split.read(index), twin.read(index), strict=True):
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs)


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    names = write_npy(tmp_path)
    write_lists(tmp_path, names[:3], names[3:4], names[4:])
    return tmp_path


def test_stored_volumes_are_handed_out_as_they_are(npy: Path) -> None:
    data = opened(npy, masks=None)
    assert data.modalities == dict.fromkeys(SEQUENCES, 1)
    assert data.class_names == ("background", "NCR/NET", "ED", "ET")
    assert data.regions == {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    assert data.spacing == (1.0, 1.0, 1.0)
    assert not data.synthetic
    assert data.notes == ()
    assert data.attribution is not None
    assert "Menze" in data.attribution
    assert [len(split) for split in data.splits.values()] == [3, 1, 2]
    train = data.splits["train"]
    assert isinstance(train, VolumeSplit)
    volume, labels = samples.stored(NUMBERS[1])
    inputs, found = train.read(1)
    assert (inputs.dtype, found.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(inputs, np.moveaxis(volume, -1, 0))
    np.testing.assert_array_equal(found, labels)
    assert train.size(1) == samples.SHAPE
    assert train.presence.all()
    assert train.describe(1).id == name_of(NUMBERS[1])
    assert train.describe(1).conditions == {"grade": "HGG"}
    assert data.splits["val"].describe(0).conditions == {"grade": "LGG"}


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_boxes_are_parts_of_the_whole_and_the_callers_own(npy: Path, cache_bytes: int) -> None:
    split = opened(npy, masks=None, cache_bytes=cache_bytes).splits["test"]
    whole, labels = split.read(1)
    part, part_labels = split.read(1, (2, 3, 4), (5, 6, 4))
    np.testing.assert_array_equal(part, whole[:, 2:7, 3:9, 4:8])
    np.testing.assert_array_equal(part_labels, labels[2:7, 3:9, 4:8])
    assert part.flags.c_contiguous
    part[:], part_labels[:] = 9, 9
    np.testing.assert_array_equal(split.read(1)[0], whole)
    np.testing.assert_array_equal(split.read(1)[1], labels)
    rest, _ = split.read(1, (10, 0, 0))
    np.testing.assert_array_equal(rest, whole[:, 10:])
    for corner, size in (((-1, 0, 0), (2, 2, 2)), ((10, 0, 0), (5, 1, 1)), ((0, 0, 0), (0, 1, 1))):
        with pytest.raises(ValueError, match="no box"):
            split.read(1, corner, size)


def test_a_box_is_read_without_the_rest_of_its_file(npy: Path) -> None:
    path = npy / "vol" / "HG_BraTS20_Training_001_vol.npy"
    volume = np.load(path)
    volume[0, 0, 0, 0] = np.nan  # outside the box: seen only by whoever reads it
    np.save(path, volume)
    split = opened(npy, masks=None, cache_bytes=0).splits["train"]
    assert np.isfinite(split.read(0, (5, 5, 5), (2, 2, 2))[0]).all()
    with pytest.raises(DataError, match=re.escape(f"{path}: expected finite values")):
        split.read(0)


def test_splits_go_to_other_processes(npy: Path) -> None:
    for cache_bytes in (0, 1 << 30):
        split = opened(npy, cache_bytes=cache_bytes).splits["train"]
        twin = pickle.loads(pickle.dumps(split))
        np.testing.assert_array_equal(twin.read(2)[0], split.read(2)[0])


def test_modalities_come_in_the_order_asked_for(npy: Path) -> None:
    write_mask_list(npy / "own.csv", ["HG_" + name for name in BARE[:3]], np.eye(4, dtype=bool)[[0, 2, 3]])
    data = opened(npy, ("t2", "flair"), masks="own.csv")
    assert list(data.modalities) == ["t2", "flair"]
    train = data.splits["train"]
    np.testing.assert_array_equal(train.presence, [[False, True], [True, False]])
    assert [train.describe(k).id for k in range(2)] == [BARE[0], BARE[2]]
    np.testing.assert_array_equal(train.read(1)[0], np.moveaxis(samples.stored(NUMBERS[2])[0], -1, 0)[[3, 0]])
    assert data.notes == ("train: 1 subject has none of T2, FLAIR, and left out.",)
    with pytest.raises(DataError, match="expected a subject of train with one of T1ce, found none"):
        opened(npy, ("t1ce",), masks="own.csv")


@pytest.mark.parametrize("bad", [(), ("t1", "t1"), ("T1",)])
def test_modalities_it_does_not_have_are_refused(npy: Path, bad: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="brats has flair, t1ce, t1, t2"):
        opened(npy, bad)


@pytest.mark.parametrize("place", ["BraTS/brats_split", "brats_split", "."])
@pytest.mark.parametrize("prefixed", [True, False])
def test_a_named_mask_list_is_found_where_it_usually_lies(npy: Path, place: str, prefixed: bool) -> None:
    folder = npy / place
    folder.mkdir(parents=True, exist_ok=True)
    masks = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], dtype=bool)
    names = [("HG_" if prefixed else "") + name for name in reversed(BARE[:3])]
    write_mask_list(folder / "Brats2020_imb_split_mr2468.csv", names, masks)
    (folder / "Brats2018_imb_split_mr2468.csv").write_text("of another year")
    data = opened(npy)
    np.testing.assert_array_equal(data.splits["train"].presence, masks[::-1])
    assert data.splits["test"].presence.all()
    assert data.notes == ()
    assert folder / "Brats2020_imb_split_mr2468.csv" in data.content
    inputs, _ = data.splits["train"].read(2)
    assert inputs[3].any()  # the list hides a sequence that is there; whoever trains hides it


def test_a_named_list_that_is_not_there_is_drawn_from_its_rates(npy: Path) -> None:
    data = opened(npy, masks="mr5528", mask_seed=3)
    np.testing.assert_array_equal(data.splits["train"].presence, generate_masks(3, (0.5, 0.5, 0.2, 0.8), 3))
    assert data.notes == (
        "Masks mr5528 drawn here (missing rates T1 0.5, T1ce 0.5, FLAIR 0.2, T2 0.8; seed 3) by the published rule: "
        "no Brats2020_imb_split_mr5528.csv on disk.",
    )


def test_lists_match_with_and_without_prefix_and_may_end_their_lines_in_any_way(npy: Path) -> None:
    one = opened(npy)
    write_lists(npy, BARE[:3], BARE[3:4], BARE[4:], ends="\r\n")
    equal(opened(npy), one)
    (npy / "own").mkdir()
    for split in ("train", "val", "test"):
        (npy / f"{split}.txt").rename(npy / "own" / f"{split}.txt")
    equal(opened(npy, lists="own"), one)


def test_without_lists_the_split_is_drawn_by_names(tmp_path: Path) -> None:
    write_npy(tmp_path, range(1, 12))
    data = opened(tmp_path)
    assert [len(split) for split in data.splits.values()] == [7, 1, 3]
    assert "7 / 1 / 3" in data.notes[0]
    names = [split.describe(k).id for split in data.splits.values() for k in range(len(split))]
    assert sorted(names) == [name_of(k) for k in range(1, 12)]
    equal(opened(tmp_path), data)


def test_a_set_may_lie_some_folders_below_the_root(npy: Path, tmp_path: Path) -> None:
    inner = tmp_path / "BraTS" / "BRATS2020_Training_none_npy"
    inner.mkdir(parents=True)
    for name in ("vol", "seg", "train.txt", "val.txt", "test.txt"):
        (npy / name).rename(inner / name)
    write_mask_list(tmp_path / "BraTS" / "Brats2020_imb_split_mr2468.csv", BARE[:3], np.eye(4, dtype=bool)[:3])
    assert len(opened(tmp_path).splits["train"]) == 3


def test_nifti_is_preprocessed_when_read(tmp_path: Path) -> None:
    write_raw(tmp_path / "MICCAI_BraTS2020_TrainingData")
    write_lists(tmp_path, BARE[:3], BARE[3:4], BARE[4:])
    data = opened(tmp_path, masks=None)
    values = samples.scans(NUMBERS[0])
    volume, labels = preprocess(values, values["seg"])
    np.testing.assert_array_equal(data.splits["train"].read(0)[0], np.moveaxis(volume, -1, 0))
    np.testing.assert_array_equal(data.splits["train"].read(0)[1], labels)
    assert data.splits["train"].describe(0).conditions == {"grade": "HGG"}
    assert check_brats(tmp_path, modalities=SEQUENCES, thorough=True) == []


@pytest.mark.parametrize("cache_bytes", [0, 20_000, 1 << 30])
def test_both_layouts_give_equal_tensors(tmp_path: Path, cache_bytes: int) -> None:
    raw, npy = tmp_path / "raw", tmp_path / "npy"
    write_raw(raw)
    for number in NUMBERS:
        values = samples.scans(number)
        prefix = "LG_" if 260 <= number <= 335 else "HG_"
        samples.write_stored(npy, prefix + name_of(number), *preprocess(values, values["seg"]))
    equal(opened(raw, cache_bytes=cache_bytes), opened(npy, cache_bytes=cache_bytes))


def test_both_layouts_may_share_a_root(npy: Path) -> None:
    write_raw(npy / "raw")
    equal(opened(npy), opened(npy, layout="npy"))
    raw = opened(npy, layout="nifti")
    assert (raw.splits["train"].read(0)[0] != opened(npy).splits["train"].read(0)[0]).any()


def test_brats_2018_folders(tmp_path: Path) -> None:
    names = {"HGG": ["Brats18_2013_2_1", "Brats18_CBICA_AAB_1"], "LGG": ["Brats18_TCIA09_141_1"]}
    for grade, members in names.items():
        for number, name in enumerate(members):
            samples.write_subject(tmp_path / grade / name, samples.scans(number), ".nii")
    data = opened(tmp_path)
    grades = {}
    for split in data.splits.values():
        grades[split.describe(0).id] = split.describe(0).conditions["grade"]
    assert grades == {name: grade for grade, members in names.items() for name in members}
    assert any("Brats2018_imb_split_mr2468.csv" in note for note in data.notes)


def test_grades_are_told_only_where_all_are_known(tmp_path: Path) -> None:
    for number, name in enumerate(["patient_1", "BraTS20_Training_002", "patient_3"]):
        samples.write_stored(tmp_path, name, *samples.stored(number))
    data = opened(tmp_path)
    assert all(split.describe(0).conditions == {} for split in data.splits.values())


def test_a_missing_sequence_is_marked_and_zero_in_both_layouts(tmp_path: Path) -> None:
    raw, npy = tmp_path / "raw", tmp_path / "npy"
    write_raw(raw)
    (raw / BARE[0] / f"{BARE[0]}_t1.nii.gz").unlink()
    (raw / BARE[4] / f"{BARE[4]}_t2.nii.gz").unlink()
    for number in NUMBERS:
        values = samples.scans(number)
        if number in (NUMBERS[0], NUMBERS[4]):
            del values["t1" if number == NUMBERS[0] else "t2"]
        samples.write_stored(npy, name_of(number), *preprocess(values, values["seg"]))
    for root in (raw, npy):
        write_lists(root, BARE[:3], BARE[3:4], BARE[4:])
        data = opened(root, masks=None)
        np.testing.assert_array_equal(data.splits["train"].presence[0], [True, True, False, True])
        np.testing.assert_array_equal(data.splits["test"].presence[1], [True, True, True, False])
        assert not data.splits["train"].read(0)[0][2].any()
        wanted = "Sequences that are not on disk, and count as missing: T1 of 1, T2 of 1 (of 6 subjects)."
        assert wanted in data.notes
        assert check_brats(root, modalities=SEQUENCES) == []
    equal(opened(raw, masks=None), opened(npy, masks=None))


def test_the_labels_named_by_hand_of_subject_355_are_taken(tmp_path: Path) -> None:
    write_raw(tmp_path, [1, 2, 355])
    folder = tmp_path / name_of(355)
    (folder / f"{folder.name}_seg.nii.gz").rename(folder / "W39_1998.09.19_Segm.nii.gz")
    assert check_brats(tmp_path, modalities=SEQUENCES, thorough=True) == []


def test_the_unlabelled_sets_of_the_challenge_are_not_used(tmp_path: Path) -> None:
    write_raw(tmp_path / "MICCAI_BraTS2020_TrainingData")
    values = samples.scans(9)
    del values["seg"]
    samples.write_subject(tmp_path / "MICCAI_BraTS2020_ValidationData" / "BraTS20_Validation_001", values)
    assert "1 subject of the challenge's unlabelled sets not used." in opened(tmp_path).notes


def test_spacing_is_that_of_the_headers(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        for role, array in samples.scans(number).items():
            affine = np.diag([2.0, 2.0, 3.0, 1.0])
            samples.write_scan(tmp_path / name_of(number) / f"{name_of(number)}_{role}.nii", array, affine)
    assert opened(tmp_path).spacing == (2.0, 2.0, 3.0)


def test_generated_sets_say_so(npy: Path) -> None:
    write_json(npy / "SYNTHETIC.json", {"generator": "mmablate data make brats"})
    data = opened(npy)
    assert data.synthetic
    assert data.attribution == "synthetic scans by mmablate data make brats"


def test_a_generated_scan_among_others_says_so_in_its_header(tmp_path: Path) -> None:
    write_raw(tmp_path)
    assert not opened(tmp_path).synthetic
    path = tmp_path / BARE[3] / f"{BARE[3]}_t2.nii.gz"
    image = nibabel.load(path)
    image.header["descrip"] = b"synthetic: mmablate data make brats"
    values = np.asarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(values, image.affine, image.header), path)
    assert opened(tmp_path).synthetic


def test_nifti_without_nibabel_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    write_raw(tmp_path, [1, 2, 3])
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtra, match=re.escape('pip install "mmablate[medical]"')):
        opened(tmp_path)
    shutil.rmtree(tmp_path / name_of(1))
    write_npy(tmp_path / "npy")
    assert len(opened(tmp_path).splits["train"])  # .npy needs none
