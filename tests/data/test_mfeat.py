"""The digits that ship: the same numbers as the tables they were made of, split and standardised."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.catalog import find
from mmablate.data.mfeat import DIGITS, MODALITIES, check_mfeat, deal, load_digits, open_mfeat
from mmablate.errors import DataError

TABLES = Path(__file__).parents[3] / "shared" / "data" / "mfeat"


@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of ../shared/data/mfeat are not here")
@pytest.mark.parametrize("view", list(MODALITIES))
def test_every_number_is_that_of_the_table(view: str) -> None:
    """Each value, printed as its own type prints, reads as the number in the table."""
    with gzip.open(TABLES / f"mfeat-{view}.csv.gz", "rt") as file:
        rows = [line.strip().split(",") for line in file][1:]
    views, labels = load_digits()
    assert labels.tolist() == [int(row[-1]) for row in rows]
    printed = np.array([[float(str(value)) for value in row] for row in views[view]])
    assert np.array_equal(printed, np.array([[float(value) for value in row[:-1]] for row in rows]))


def test_the_file_is_the_one_described() -> None:
    described = DIGITS.with_name("mfeat.LICENSE.md").read_text()
    assert hashlib.sha256(DIGITS.read_bytes()).hexdigest() in described
    assert "CC BY 4.0" in described


def test_splits() -> None:
    data = open_mfeat(modalities=["kar", "pix"])
    assert data.modalities == {"kar": (64,), "pix": (240,)}
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 1000, "val": 400, "test": 600}
    seen: list[str] = []
    for name, split in data.splits.items():
        inputs, labels = split.batch(range(len(split)))
        assert inputs["pix"].shape == (len(split), 240)
        assert inputs["pix"].dtype == np.float32
        assert np.bincount(labels).tolist() == [len(split) // 10] * 10
        changes = (np.diff(labels) != 0).sum()
        assert changes > 0.8 * len(split), f"{name} is sorted by class"
        ids = [split.describe(index).id for index in range(len(split))]  # type: ignore[attr-defined]
        assert [int(one[0]) for one in ids] == labels.tolist()
        seen += ids
    assert len(set(seen)) == 2000


def test_views_are_standardised_by_the_training_split_row_by_row() -> None:
    data = open_mfeat(modalities=["mor", "fac"])
    raw, _ = load_digits()
    rows = {
        name: [int(split.describe(index).id[2:]) for index in range(len(split))]  # type: ignore[attr-defined]
        for name, split in data.splits.items()
    }
    for view in ("mor", "fac"):
        train = raw[view][rows["train"]].astype(np.float64)
        for name, split in data.splits.items():
            expected = (raw[view][rows[name]] - train.mean(axis=0)) / train.std(axis=0)
            found = split.batch(range(len(split)))[0][view]
            assert np.allclose(found, expected, rtol=0, atol=1e-5)


def test_a_feature_that_is_constant_in_training_is_zero(tmp_path: Path) -> None:
    views, labels = load_digits()
    train = deal(labels, (0.5, 0.2, 0.3), 0)[0]
    mor = views["mor"].copy()
    mor[train, 2] = 0.1
    path = tmp_path / "digits.npz"
    np.savez(path, labels=labels, **{**views, "mor": mor})
    for split in open_mfeat(modalities=["mor"], digits=path).splits.values():
        values = split.batch(range(len(split)))[0]["mor"]
        assert not values[:, 2].any()
        assert values[:, 1].any()


def test_the_deal_follows_its_seed_alone() -> None:
    first, again, other = (open_mfeat(modalities=["mor"], split_seed=seed) for seed in (0, 0, 1))
    ids = [[data.splits["test"].describe(i).id for i in range(600)] for data in (first, again, other)]  # type: ignore[attr-defined]
    assert ids[0] == ids[1]
    assert len(set(ids[0]) & set(ids[2])) < 300  # 180 expected by chance
    assert ids[0][:3] == ["8/1680", "5/1161", "7/1525"]  # the same on every machine


@settings(max_examples=30, deadline=None)
@given(train=st.integers(1, 198), val=st.integers(0, 198), seed=st.integers(0, 3))
def test_every_split_gets_its_share_of_every_class(train: int, val: int, seed: int) -> None:
    val = min(val, 199 - train)
    counts = (train, val, 200 - train - val)
    labels = np.repeat(np.arange(10), 200)
    dealt = deal(labels, [count / 200 for count in counts], seed)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(2000))
    for rows, count in zip(dealt, counts, strict=True):
        assert np.bincount(labels[rows], minlength=10).tolist() == [count] * 10


def test_no_validation_split() -> None:
    assert list(open_mfeat(modalities=["mor"], fractions=(0.6, 0, 0.4)).splits) == ["train", "test"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ["pix", "fax"]}, "modalities: expected some of fac"),
        ({"modalities": []}, "modalities: expected some of fac"),
        ({"modalities": ["pix", "pix"]}, "modalities: expected some of fac"),
        ({"fractions": (0.5, 0.5)}, "fractions: expected train and test"),
        ({"fractions": (0.5, 0.5, 0.0)}, "fractions: expected train and test"),
        ({"fractions": (0.5, 0.2, 0.2)}, "fractions: expected train and test"),
        ({"fractions": (0.9, -0.2, 0.3)}, "fractions: expected train and test"),
        ({"split_seed": -1}, "split_seed: expected 0 or more, found -1"),
    ],
)
def test_faults_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_mfeat(**changes)  # type: ignore[arg-type]
    assert len(check_mfeat(**changes)) == 1  # type: ignore[arg-type]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    assert "no such file" in check_mfeat(digits=path)[0]
    path.write_bytes(DIGITS.read_bytes()[:-1000])
    assert check_mfeat(digits=path) == []
    assert "expected the digits" in check_mfeat(digits=path, thorough=True)[0]
    views, labels = load_digits()
    np.savez(path, labels=labels, **{**views, "mor": views["mor"][:, :5]})
    with pytest.raises(DataError, match=r"mor: expected \(2000, 6\) finite numbers, found \(2000, 5\)"):
        open_mfeat(digits=path)
    np.savez(path, labels=labels)
    with pytest.raises(DataError, match="expected the views"):
        open_mfeat(digits=path)


def test_the_catalogue_entry() -> None:
    entry = find("dataset", "mfeat")
    assert entry.files(None, {}) == [DIGITS]
    assert (entry.task, entry.synthetic, entry.modalities) == ("classification", False, tuple(MODALITIES))
    assert open_mfeat(modalities=["mor"], **entry.options().model_dump(mode="json")).attribution == entry.attribution
