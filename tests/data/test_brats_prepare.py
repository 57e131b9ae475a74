"""`data prepare brats`: from NIfTI to .npy, resumed, and nothing of the user's touched."""

from __future__ import annotations

import os
from pathlib import Path

import brats_samples as samples
import numpy as np
import pytest
from brats_samples import SEQUENCES, name_of, write_lists, write_raw
from filelock import FileLock
from test_brats_opening import BARE, equal, opened

from mmablate.data.brats import prepare as preparing
from mmablate.data.brats.masks import PUBLISHED, read_mask_list, write_mask_list
from mmablate.data.brats.opening import check_brats
from mmablate.data.brats.prepare import prepare_brats
from mmablate.data.brats.subjects import Subject
from mmablate.data.generated import write_json
from mmablate.errors import DataError


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_raw(tmp_path / "raw")
    return tmp_path / "raw"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file below a folder, the lock left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != preparing.LOCK]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_both_paths_give_equal_tensors(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told: list[str] = []
    steps: list[tuple[int, int]] = []
    prepare_brats(raw, out, tell=told.append, progress=lambda done, total: steps.append((done, total)))
    equal(opened(raw), opened(out))
    assert check_brats(out, modalities=SEQUENCES, thorough=True) == []
    assert sorted(path.name for path in (out / "vol").iterdir())[-1] == "LG_BraTS20_Training_261_vol.npy"
    assert steps == [(k, 6) for k in range(1, 7)]
    assert told[-1] == f"{out}: 6 subjects written"
    assert any(note.startswith("Split drawn here") for note in told)
    for name in PUBLISHED:
        masks = read_mask_list(out / f"Brats2020_imb_split_{name}.csv")
        assert list(masks) == (out / "train.txt").read_text().split()
        equal(opened(raw, masks=name), opened(out, masks=name))


def test_a_second_call_does_nothing(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_brats(raw, out)
    before = state(out)
    told: list[str] = []
    prepare_brats(raw, out, tell=told.append)
    assert state(out) == before
    assert told[-1] == f"{out}: 0 subjects written, 6 there already"


def test_a_changed_source_is_done_again(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_brats(raw, out)
    before = state(out)
    path = raw / BARE[1] / f"{BARE[1]}_t1.nii.gz"
    samples.write_scan(path, samples.scans(99)["t1"])
    os.utime(path, (1, 1))
    prepare_brats(raw, out)
    after = state(out)
    changed = {name for name in after if after[name] != before.get(name) and name.startswith(("vol", "seg"))}
    assert changed == {f"vol/HG_{BARE[1]}_vol.npy", f"seg/HG_{BARE[1]}_seg.npy"}
    equal(opened(raw), opened(out))


@pytest.mark.parametrize("at", ["first", "second"])
def test_an_interrupted_call_is_gone_on_with(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    out = tmp_path / "out"
    calls = []

    def killed(path: Path, array: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == (5 if at == "first" else 6):  # of the third subject its volume, or its labels
            path.with_name(f".{path.name}.1.part").write_bytes(b"half")
            raise KeyboardInterrupt
        np.save(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_brats(raw, out)
    with pytest.raises(
        DataError, match=r"data prepare has begun here and not ended|expected"
    ):  # never taken for a whole set
        opened(out)
    record = out / "prepared.jsonl"
    record.write_bytes(record.read_bytes() + b'{"done": "cut sh')
    told: list[str] = []
    prepare_brats(raw, out, tell=told.append)
    assert told[-1] == f"{out}: 4 subjects written, 2 there already"
    equal(opened(raw), opened(out))
    assert not list(out.rglob("*.part"))


def test_files_of_the_user_are_left_alone_and_their_lists_count(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_lists(out, BARE[2:], BARE[:1], BARE[1:2])
    masks = np.eye(4, dtype=bool)
    write_mask_list(out / "Brats2020_imb_split_mr2468.csv", BARE[2:], masks)
    samples.write_stored(out, f"HG_{BARE[0]}", *samples.stored(1))
    (out / "notes.txt").write_text("mine")
    before = state(out)
    told: list[str] = []
    prepare_brats(raw, out, tell=told.append)
    after = state(out)
    assert {name: after[name] for name in before} == before
    assert told[-1] == f"{out}: 5 subjects written, 1 left as they are, since this command did not make them"
    data = opened(out)
    assert [len(split) for split in data.splits.values()] == [4, 1, 1]
    assert data.splits["train"].presence.sum() == 4
    assert set(read_mask_list(out / "Brats2020_imb_split_mr1379.csv")) == {
        ("LG_" if "26" in name else "HG_") + name for name in BARE[2:]
    }


def test_lists_and_masks_beside_the_scans_are_taken_over(raw: Path, tmp_path: Path) -> None:
    write_lists(raw, BARE[2:], BARE[:1], BARE[1:2])
    write_mask_list(raw / "Brats2020_imb_split_mr2468.csv", BARE[2:], np.eye(4, dtype=bool))
    prepare_brats(raw, tmp_path / "out")
    equal(opened(raw), opened(tmp_path / "out"))


def test_a_missing_sequence_stays_missing(raw: Path, tmp_path: Path) -> None:
    (raw / BARE[0] / f"{BARE[0]}_t2.nii.gz").unlink()
    prepare_brats(raw, tmp_path / "out")
    equal(opened(raw), opened(tmp_path / "out"))


def test_it_does_not_write_beside_the_scans(raw: Path) -> None:
    """Volumes there would be read in place of the scans, whatever becomes of these."""
    with pytest.raises(DataError, match="expected another folder than the one of the scans"):
        prepare_brats(raw, raw / ".")
    assert not (raw / "vol").exists()


def test_spacing_and_the_synthetic_mark_are_kept(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for number in (1, 2, 3):
        for role, array in samples.scans(number).items():
            path = raw / name_of(number) / f"{name_of(number)}_{role}.nii.gz"
            samples.write_scan(path, array, np.diag([1.5, 1.5, 3.0, 1.0]))
    write_json(raw / "SYNTHETIC.json", {"generator": "x"})
    prepare_brats(raw, out)
    assert opened(out).synthetic
    assert opened(out).spacing == (1.5, 1.5, 3.0)


def test_faulty_subjects_are_told_together_and_the_others_done(raw: Path, tmp_path: Path) -> None:
    first = raw / BARE[0] / f"{BARE[0]}_t2.nii.gz"
    second = raw / BARE[1] / f"{BARE[1]}_seg.nii.gz"
    first.write_bytes(first.read_bytes()[:-400])
    samples.write_scan(second, samples.scans(2)["seg"] + np.int16(3))
    with pytest.raises(DataError) as caught:
        prepare_brats(raw, tmp_path / "out")
    lines = caught.value.problems
    assert lines[0].startswith(f"{first}: expected a NIfTI file")
    assert lines[1].startswith(f"{second}: expected labels")
    assert lines[2] == f"{tmp_path / 'out'}: 2 subjects at fault not written"
    assert len(list((tmp_path / "out" / "vol").iterdir())) == 4
    samples.write_subject(raw / BARE[0], samples.scans(1))
    samples.write_subject(raw / BARE[1], samples.scans(2))
    prepare_brats(raw, tmp_path / "out")
    equal(opened(raw), opened(tmp_path / "out"))


def test_what_is_wrong_with_names_and_lists_is_told_before_anything_is_written(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lists(raw, BARE, [name_of(77)], BARE[:1])
    with pytest.raises(DataError, match="names subjects that are not on disk"):
        prepare_brats(raw, out)
    (raw / BARE[0] / f"{BARE[0]}_seg.nii.gz").unlink()
    with pytest.raises(DataError, match="found neither"):
        prepare_brats(raw, out)
    with pytest.raises(DataError, match="expected"):
        prepare_brats(tmp_path / "none", out)
    assert not out.exists()


def test_two_calls_at_once_and_folders_that_cannot_be_written(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / preparing.LOCK), pytest.raises(DataError, match="another call of data prepare"):
        prepare_brats(raw, out)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        prepare_brats(raw, tmp_path / "file" / "out")


def test_subjects_are_listed_by_grade_as_published() -> None:
    assert Subject(name_of(1), "HGG", {}).listed == f"HG_{name_of(1)}"
    assert Subject("Brats18_2013_2_1", "HGG", {}).listed == "Brats18_2013_2_1"
