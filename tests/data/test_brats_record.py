"""The record of prepared subjects survives being cut short, and memory keeps within its limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from brats_samples import write_npy

from mmablate.data.brats.finding import find_subjects
from mmablate.data.brats.record import Record, read_spacing
from mmablate.data.brats.split import KeptVolumes
from mmablate.errors import DataError


def test_a_record_says_what_was_begun_and_done(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add(spacing=[1.0, 1.0, 2.0])
    record.add(begun="a")
    record.add(done="a", sources={"t1": [1, 2]})
    record.add(begun="b")
    for one in (record, Record(tmp_path)):
        assert one.done == {"a": {"t1": [1, 2]}}
        assert one.begun == {"a", "b"}
        assert one.spacing == (1.0, 1.0, 2.0)
    record.add(begun="a")  # its files are being replaced: what they were made of no longer holds
    assert Record(tmp_path).done == record.done == {}


def test_a_line_cut_short_costs_none_but_itself(tmp_path: Path) -> None:
    Record(tmp_path).add(begun="a")
    path = tmp_path / "prepared.jsonl"
    path.write_bytes(path.read_bytes() + b'{"done": "a", "sou')
    Record(tmp_path).add(begun="b")
    assert Record(tmp_path).begun == {"a", "b"}
    assert Record(tmp_path).done == {}


WRONG = [
    "",
    "[]\n3\nnull",
    '{"spacing": [1.0, 0.0, 1.0]}',
    '{"spacing": [1.0, 1.0]}',
    '{"spacing": [NaN, 1.0, 1.0]}',
    '{"begun": 3, "done": [], "spacing": "x"}',
    "[" * 100_000,
    "\xff\0",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_record_of_anything_else_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "prepared.jsonl").write_text(text, encoding="latin-1")
    record = Record(tmp_path)
    assert (record.done, record.begun, record.spacing) == ({}, set(), None)
    assert read_spacing(tmp_path / "none") is None


@pytest.mark.parametrize("kept", [0, 1, 2, 6])
def test_so_many_subjects_are_kept_as_fit(tmp_path: Path, kept: int) -> None:
    write_npy(tmp_path)
    subjects = list(find_subjects(tmp_path, "npy").subjects.values())
    each = 14 * 12 * 10 * 17
    volumes = KeptVolumes(stored=True, limit=kept * each + each // 2)
    for subject in subjects:
        assert volumes.size(subject) == (14, 12, 10)
    assert volumes.nbytes == max(1, kept) * each  # the one asked for last is always kept
    for path in (tmp_path / "vol").iterdir():
        path.unlink()
    held = subjects[-max(1, kept) :]
    for subject in held:
        assert volumes.whole(subject)[0].shape == (14, 12, 10, 4)  # from memory
    for subject in subjects[: -len(held)]:
        assert volumes.size(subject) == (14, 12, 10)
        with pytest.raises(DataError, match=r"expected a \.npy array"):
            volumes.whole(subject)
