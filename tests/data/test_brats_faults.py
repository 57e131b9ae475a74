"""What is wrong with a BraTS tree is told before training, in one message with the file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import brats_samples as samples
import nibabel
import numpy as np
import pytest
from brats_samples import SEQUENCES, name_of, write_lists, write_npy, write_raw, write_scan

from mmablate.data.brats.masks import write_mask_list
from mmablate.data.brats.opening import check_brats, open_brats
from mmablate.errors import DataError

FIRST, SECOND, THIRD = (name_of(number) for number in (1, 2, 3))
T1 = f"{FIRST}/{FIRST}_t1.nii.gz"
SEG = f"{FIRST}/{FIRST}_seg.nii.gz"
VOL = f"vol/HG_{FIRST}_vol.npy"
STORED_SEG = f"seg/HG_{FIRST}_seg.npy"


def expect(root: Path, told: str, *, headers: bool = True, **options: object) -> None:
    """The fault is found by a check and by opening; in names, lists and headers, or in voxels alone."""
    kept: dict[str, object] = {} if headers else {"cache_bytes": 0}
    problems = check_brats(root, modalities=SEQUENCES, thorough=True, **options)  # type: ignore[arg-type]
    assert len(problems) == 1, problems
    assert told in problems[0]
    quick = check_brats(root, modalities=SEQUENCES, **options)  # type: ignore[arg-type]
    assert quick == (problems if headers else [])
    with pytest.raises(DataError) as caught:
        open_brats(root, modalities=SEQUENCES, **options)  # type: ignore[arg-type]
    assert caught.value.problems == problems
    if not headers:  # a large set is opened, and refused when the subject is read
        data = open_brats(root, modalities=SEQUENCES, **options, **kept)  # type: ignore[arg-type]
        with pytest.raises(DataError) as caught:
            [split.read(k) for split in data.splits.values() for k in range(len(split))]
        assert caught.value.problems == problems


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_raw(tmp_path, (1, 2, 3))
    return tmp_path


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    write_npy(tmp_path, (1, 2, 3))
    write_lists(tmp_path, [FIRST], [SECOND], [THIRD])
    return tmp_path


def changed(place: tuple[int, int, int], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype(np.float32)
        values[place] = value
        return values

    return change


@pytest.mark.parametrize(
    ("role", "change", "told"),
    [
        ("t1", changed((5, 5, 5), np.nan), "expected finite intensities, found NaN or infinity"),
        ("t2", changed((0, 0, 0), np.inf), "expected finite intensities, found NaN or infinity"),
        ("seg", changed((5, 5, 5), 5), "expected labels of {0, 1, 2, 4} or {0, 1, 2, 3}, found 0, 1, 2, 4, 5"),
        ("seg", changed((5, 5, 5), 3), "found 0, 1, 2, 3, 4"),
        ("seg", changed((5, 5, 5), 1.5), "found 0, 1, 1.5, 2, 4"),
        ("seg", changed((5, 5, 5), -1), "found -1, 0, 1, 2, 4"),
        ("seg", changed((5, 5, 5), np.nan), "found 0, 1, 2, 4, nan"),
    ],
)
def test_voxels_of_scans(raw: Path, role: str, change: Callable[[np.ndarray], np.ndarray], told: str) -> None:
    path = raw / FIRST / f"{FIRST}_{role}.nii.gz"
    write_scan(path, change(samples.scans(1)[role]))
    expect(raw, told, headers=False)
    assert check_brats(raw, modalities=SEQUENCES, thorough=True)[0].startswith(f"{path}: ")


def test_empty_scans(raw: Path) -> None:
    for role in SEQUENCES:
        write_scan(raw / FIRST / f"{FIRST}_{role}.nii.gz", np.zeros(samples.SHAPE, dtype=np.int16))
    expect(raw, f"{raw / FIRST}: expected a voxel that is not 0, found none", headers=False)


def test_labels_may_be_0_1_2_3_too(raw: Path) -> None:
    write_scan(raw / SEG, samples.scans(1, most=3)["seg"])
    assert check_brats(raw, modalities=SEQUENCES, thorough=True) == []


def test_shapes_that_differ(raw: Path) -> None:
    write_scan(raw / T1, samples.scans(1)["t1"][:-1])
    expect(raw, f"{raw / T1}: expected the shape 14 x 12 x 10 of {FIRST}_flair.nii.gz, found 13 x 12 x 10")


def test_affines_that_differ(raw: Path) -> None:
    affine = np.eye(4)
    affine[0, 3] = 7
    write_scan(raw / SEG, samples.scans(1)["seg"], affine)
    expect(raw, f"{raw / SEG}: expected the affine of {FIRST}_flair.nii.gz, found one that differs by 7")


def test_affines_may_differ_by_rounding(raw: Path) -> None:
    affine = np.eye(4)
    affine[0, 3] = 1e-5
    write_scan(raw / SEG, samples.scans(1)["seg"], affine)
    assert check_brats(raw, modalities=SEQUENCES) == []


def test_spacings_that_differ_between_subjects(raw: Path) -> None:
    for role, array in samples.scans(2).items():
        write_scan(raw / SECOND / f"{SECOND}_{role}.nii.gz", array, np.diag([1.0, 1.0, 2.0, 1.0]))
    expect(raw, "1 x 1 x 2 mm")


@pytest.mark.parametrize("ending", ["gz", "nii"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6])
def test_truncated_scans(raw: Path, keep: float, ending: str) -> None:
    path = raw / T1
    content = path.read_bytes()
    if ending == "nii":
        path.unlink()
        path = path.with_suffix("")
        content = gzip.decompress(content)
    path.write_bytes(content[: int(len(content) * keep)])
    problems = check_brats(raw, modalities=SEQUENCES, thorough=True)
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: expected a NIfTI file, found: ")
    with pytest.raises(DataError, match="expected a NIfTI file"):
        open_brats(raw, modalities=SEQUENCES)


@pytest.mark.parametrize("content", [b"text", b"\x1f\x8b" + b"junk" * 200, b"\0" * 400])
def test_files_that_are_no_nifti(raw: Path, content: bytes) -> None:
    (raw / T1).write_bytes(content)
    expect(raw, f"{raw / T1}: expected a NIfTI file, found: ")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((14, 12, 10, 2), np.int16), "expected a volume of three axes"),
        (np.zeros((14, 12), np.int16), "expected a volume of three axes"),
        (np.zeros((14, 12, 10), np.complex64), "expected whole or real numbers, found complex64"),
        (np.zeros((14, 12, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "expected whole or real numbers, found"),
    ],
)
def test_scans_of_another_kind(raw: Path, array: np.ndarray, told: str) -> None:
    write_scan(raw / T1, array)
    expect(raw, f"{raw / T1}: {told}")


def test_a_header_that_promises_too_much(raw: Path) -> None:
    image = nibabel.load(raw / T1)
    header = image.header.copy()
    header["dim"][1:4] = (30_000, 30_000, 30_000)
    (raw / T1).write_bytes(gzip.compress(header.binaryblock + b"\0" * 100))
    expect(raw, "at most 67108864 voxels, found 30000 x 30000 x 30000")


def test_one_more_axis_of_length_one_is_let_pass(raw: Path) -> None:
    write_scan(raw / T1, samples.scans(1)["t1"][..., None])
    assert check_brats(raw, modalities=SEQUENCES, thorough=True) == []


def test_subjects_without_sequences_or_labels(raw: Path) -> None:
    for role in SEQUENCES:
        (raw / FIRST / f"{FIRST}_{role}.nii.gz").unlink()
    (raw / SECOND / f"{SECOND}_seg.nii.gz").unlink()
    samples.write_subject(raw / name_of(4), samples.scans(4))
    problems = check_brats(raw, modalities=SEQUENCES, masks=None)
    assert f"{raw / FIRST}: expected at least one of flair, t1ce, t1, t2, found labels alone" in problems
    assert f"{raw / SECOND}: expected {SECOND}_seg.nii or .nii.gz, found neither" in problems


def test_scans_in_the_folder_of_another_subject(raw: Path) -> None:
    (raw / T1).rename(raw / FIRST / f"{SECOND}_t1.nii.gz")
    samples.write_subject(raw / name_of(4), samples.scans(4))
    expect(raw, f"expected a scan of {FIRST} in its folder, found one of {SECOND}")


def test_scans_that_are_there_twice(raw: Path) -> None:
    write_scan((raw / T1).with_suffix(""), samples.scans(1)["t1"])
    samples.write_subject(raw / name_of(4), samples.scans(4))
    expect(raw, "expected one file of t1, found")
    (raw / T1).unlink()
    samples.write_subject(raw / "HGG" / FIRST, samples.scans(1))
    expect(raw, f"expected {FIRST} once, found it in")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_stored_values_that_are_not_finite(npy: Path, value: float) -> None:
    volume = np.load(npy / VOL)
    volume[5, 5, 5, 2] = value
    np.save(npy / VOL, volume)
    expect(npy, f"{npy / VOL}: expected finite values, found NaN or infinity", headers=False)


def test_stored_labels_that_are_unknown(npy: Path) -> None:
    labels = np.load(npy / STORED_SEG)
    labels[0, 0, 0] = 4
    np.save(npy / STORED_SEG, labels)
    told = f"{npy / STORED_SEG}: expected labels of {{0, 1, 2, 3}}, found 0, 1, 2, 3, 4"
    expect(npy, told, headers=False)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        (VOL, np.zeros((14, 12, 10, 4)), "expected float32 (H, W, Z, 4), found float64 (14, 12, 10, 4)"),
        (VOL, np.zeros((4, 14, 12, 10), np.float32), "expected float32 (H, W, Z, 4), found float32 (4, 14, 12, 10)"),
        (VOL, np.zeros((14, 12, 4), np.float32), "expected float32 (H, W, Z, 4), found float32 (14, 12, 4)"),
        (VOL, np.zeros((0, 12, 10, 4), np.float32), "expected float32 (H, W, Z, 4), found float32 (0, 12, 10, 4)"),
        (VOL, np.zeros((14, 12, 10, 4), np.float32), "expected at least one sequence that is not 0 throughout"),
        (STORED_SEG, np.zeros((14, 12, 9), np.uint8), "expected uint8 (14, 12, 10), as its volume, found uint8"),
        (STORED_SEG, np.zeros((14, 12, 10), np.int64), "expected uint8 (14, 12, 10), as its volume, found int64"),
    ],
)
def test_stored_arrays_of_another_kind(npy: Path, name: str, array: np.ndarray, told: str) -> None:
    np.save(npy / name, array)
    expect(npy, f"{npy / name}: {told}", masks=None)


@pytest.mark.parametrize("kind", ["pickled", "truncated", "empty", "text", "archive"])
def test_stored_files_that_cannot_be_read(npy: Path, kind: str) -> None:
    path = npy / VOL
    if kind == "pickled":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))
    else:
        content = {"truncated": path.read_bytes()[:3000], "empty": b"", "text": b"text"}[kind]
        path.write_bytes(content)
    expect(npy, f"{path}: expected a .npy array of numbers, found", masks=None)


def test_volumes_without_labels_and_the_reverse(npy: Path) -> None:
    (npy / STORED_SEG).unlink()
    (npy / "vol" / f"HG_{SECOND}_vol.npy").unlink()
    problems = check_brats(npy, modalities=SEQUENCES)
    assert f"{npy / STORED_SEG}: expected the labels of HG_{FIRST}_vol.npy, found no file" in problems
    assert any(f"expected the volume of HG_{SECOND}_seg.npy, found no file" in line for line in problems)


def test_a_subject_with_both_prefixes(npy: Path) -> None:
    samples.write_stored(npy, f"LG_{FIRST}", *samples.stored(1))
    expect(npy, f"expected {FIRST} once, found it in {npy / VOL} too")


def test_lists_that_fit_nothing(npy: Path) -> None:
    write_lists(npy, [FIRST, name_of(77)], [SECOND], [THIRD])
    expect(npy, f"{npy / 'train.txt'}: names subjects that are not on disk, {name_of(77)}")
    write_lists(npy, [FIRST], [SECOND, f"HG_{FIRST}"], [THIRD])
    expect(npy, f"{npy / 'val.txt'}: expected each subject in one split, found {FIRST} in train.txt too")
    write_lists(npy, [FIRST, f"HG_{FIRST}"], [SECOND], [THIRD])
    expect(npy, f"{npy / 'train.txt'}: expected each subject once, found {FIRST} again")
    write_lists(npy, [FIRST], [], [THIRD])
    expect(npy, f"{npy / 'val.txt'}: expected the name of at least one subject, found none")
    write_lists(npy, [FIRST], ["../../" + SECOND], [THIRD])
    expect(npy, f"{npy / 'val.txt'}: names subjects that are not on disk, ../../{SECOND}")
    (npy / "val.txt").unlink()
    expect(npy, f"{npy / 'val.txt'}: expected this list beside the others of the split, found no file")
    (npy / "train.txt").write_bytes(b"\xff\xfe\xfd")
    expect(npy, f"{npy / 'train.txt'}: expected a csv file, found: ")


def test_too_few_subjects_to_split(tmp_path: Path) -> None:
    write_npy(tmp_path, (1, 2))
    expect(tmp_path, "expected at least 3 subjects to split (there are no lists), found 2")


def test_mask_lists_that_fit_nothing(npy: Path) -> None:
    path, full = npy / "own.csv", np.ones((2, 4), dtype=bool)
    write_mask_list(path, [FIRST, name_of(77)], full)
    expect(npy, f"{path}: names subjects that are not on disk, {name_of(77)}", masks="own.csv")
    write_mask_list(path, [FIRST, SECOND], full)
    expect(npy, f"{path}: expected training subjects, found {SECOND}", masks="own.csv")
    write_mask_list(path, [], full[:0])
    told = f"{path}: expected a row for each of 1 training subjects, found none for {FIRST}"
    expect(npy, told, masks="own.csv")
    write_mask_list(path, [FIRST, f"HG_{FIRST}"], full)
    expect(npy, f"{path}: expected {FIRST} once, found it with and without prefix", masks="own.csv")
    write_mask_list(path, [FIRST], full[:1])
    path.write_text(path.read_text().replace("[True, True, True, True]", "[False, False, False, False]"))
    expect(npy, f"{path}: line 2: mask: expected at least one sequence, found all false", masks="own.csv")
    expect(npy, f"{npy / 'none.csv'}: expected a mask list (data.masks)", masks="none.csv")


@pytest.mark.parametrize("option", ["masks", "lists"])
@pytest.mark.parametrize("path", ["../out.csv", "/etc/out.csv", "link/out.csv"])
def test_options_that_lead_out_of_the_root(npy: Path, option: str, path: str) -> None:
    (npy / "inner").mkdir()
    for name in ("vol", "seg", "train.txt", "val.txt", "test.txt"):
        (npy / name).rename(npy / "inner" / name)
    (npy / "out.csv").write_text("data_name,mask\n")
    (npy / "inner" / "link").symlink_to(npy)
    expect(npy / "inner", f"data.{option}: expected a path below {npy / 'inner'}, found {path!r}", **{option: path})


def test_links_that_lead_out_of_the_root(npy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_raw(elsewhere, [4])
    (npy / VOL).rename(elsewhere / "moved.npy")
    (npy / VOL).symlink_to(elsewhere / "moved.npy")
    problems = check_brats(npy, modalities=SEQUENCES, masks=None)
    assert problems[0] == f"{npy / VOL}: expected a path within {npy}, found one that leads out of it"
    (npy / "raw").symlink_to(elsewhere)
    problems = check_brats(npy, modalities=SEQUENCES, layout="nifti")
    assert all("leads out of it" in problem for problem in problems)


def test_a_root_that_is_a_link_and_links_within_it_are_followed(npy: Path, tmp_path: Path) -> None:
    (npy / "store").mkdir()
    (npy / VOL).rename(npy / "store" / "x.npy")
    (npy / VOL).symlink_to(npy / "store" / "x.npy")
    link = npy.parent / f"{npy.name}_link"
    link.symlink_to(npy)
    assert check_brats(link, modalities=SEQUENCES, thorough=True) == []


def test_names_that_could_stand_in_no_list(npy: Path) -> None:
    samples.write_stored(npy, "a b", *samples.stored(1))
    expect(npy, f"{npy / 'vol' / 'a b_vol.npy'}: expected a name of letters")


@pytest.mark.parametrize("layout", ["auto", "nifti", "npy"])
def test_folders_without_scans(tmp_path: Path, layout: str) -> None:
    expect(tmp_path, f"{tmp_path}: expected ", layout=layout)
    expect(tmp_path / "none", f"{tmp_path / 'none'}: expected a folder, found none", layout=layout)


def test_many_faults_of_a_kind_are_told_in_few_lines(tmp_path: Path) -> None:
    write_npy(tmp_path, range(1, 9))
    for path in (tmp_path / "vol").iterdir():
        path.write_bytes(b"")
    problems = check_brats(tmp_path, modalities=SEQUENCES, masks=None)
    assert len(problems) == 3
    assert problems[-1].endswith("(... and 5 more like it)")


def test_a_misspelt_sequence_does_not_pass_for_a_missing_one(raw: Path) -> None:
    path = raw / SECOND / f"{SECOND}_flair.nii.gz"
    path.rename(path.with_name(f"{SECOND}_FLAIR.nii.gz"))
    expect(raw, f"{raw / SECOND}: expected the endings _flair, _t1ce, _t1, _t2, _seg, found {SECOND}_FLAIR.nii.gz")


def test_a_sequence_that_nobody_has_is_to_be_left_out(raw: Path) -> None:
    for name in (FIRST, SECOND, THIRD):
        (raw / name / f"{name}_flair.nii.gz").unlink()
    expect(raw, f"{raw}: expected flair of a subject at least, found none: leave it out of data.modalities")
    assert check_brats(raw, modalities=("t1", "t2"), thorough=True) == []
