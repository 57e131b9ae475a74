"""The digits that ship: the same numbers as the tables they were made of, split and standardised."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmablate.catalog import find
from mmablate.catalog.classification import MFEAT_VIEWS, MfeatOptions
from mmablate.data.mfeat import DIGITS, MODALITIES, check_mfeat, deal, load_digits, open_mfeat, weakened
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


def whole(view: str, **options: Any) -> np.ndarray:
    """All digits of a view, split after split."""
    splits = open_mfeat(modalities=[view], **options).splits.values()
    return np.concatenate([split.batch(range(len(split)))[0][view] for split in splits])


def test_noise_on_purpose() -> None:
    plain, noisy = whole("fou"), whole("fou", fou={"noise": 1.5})
    noise = (noisy.astype(np.float64) * np.sqrt(1 + 1.5**2) - plain) / 1.5
    assert np.abs(noise.mean(axis=0)).max() < 5 / np.sqrt(2000)
    assert np.allclose(noise.std(axis=0), 1, atol=0.1)
    assert np.allclose(noisy.std(axis=0), plain.std(axis=0), atol=0.1)  # numbers of the size they had
    crossed = np.corrcoef(np.concatenate([plain, noise], axis=1), rowvar=False)[:76, 76:]
    assert np.abs(crossed).max() < 0.12
    assert np.array_equal(noisy, whole("fou", fou={"noise": 1.5}))
    assert not np.allclose(noisy, whole("fou", fou={"noise": 1.5}, split_seed=1))


def test_features_left_on_purpose() -> None:
    plain, fewer, fewest = whole("fou"), whole("fou", fou={"keep": 10}), whole("fou", fou={"keep": 4})
    columns = [int(np.flatnonzero((plain == column[:, None]).all(axis=0))[0]) for column in fewer.T]
    assert columns == sorted(set(columns))
    assert len(columns) == 10
    assert {column.tobytes() for column in fewest.T} < {column.tobytes() for column in fewer.T}
    noisy = whole("fou", fou={"noise": 1.5})
    assert np.array_equal(whole("fou", fou={"noise": 1.5, "keep": 10}), noisy[:, columns])
    assert open_mfeat(modalities=["fou"], fou={"keep": 10}).modalities == {"fou": (10,)}


def test_a_weak_view_is_noted_and_leaves_the_others_alone() -> None:
    data = open_mfeat(modalities=["mor", "fou"], fou={"noise": 1.5, "keep": 10}, mor=None)
    assert data.notes == (
        "The view fou was made weaker on purpose: noise of 1.5 standard deviations, 10 of its 76 features kept.",
    )
    alone = open_mfeat(modalities=["mor"])
    assert alone.notes == ()
    rows = range(len(alone.splits["train"]))
    assert np.array_equal(data.splits["train"].batch(rows)[0]["mor"], alone.splits["train"].batch(rows)[0]["mor"])


def test_noise_is_drawn_for_each_view_by_itself() -> None:
    zeros = np.zeros((2000, 6), dtype=np.float32)
    drawn = [weakened(zeros, view, 0, noise=1.0) for view in ("mor", "zer")]
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.05


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
        ({"modalities": ["pix"], "fou": {"noise": 1.0}}, "fou: expected one of the modalities"),
        ({"fou": {"noise": -1.0}}, "fou.noise: expected 0 or more, found -1"),
        ({"mor": {"keep": 7}}, "mor.keep: expected 1 to 6, found 7"),
        ({"mor": {"noise": 0.0}}, "mor: expected noise above 0, or keep"),
        ({"mor": {"noise": 1.0, "blur": 1}}, "mor: expected noise and keep, found blur"),
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
    assert MFEAT_VIEWS == MODALITIES
    assert (entry.task, entry.synthetic, entry.modalities) == ("classification", False, tuple(MODALITIES))
    assert open_mfeat(modalities=["mor"], **entry.options().model_dump(mode="json")).attribution == entry.attribution


def test_settings_know_nothing_of_views_that_are_left_as_they_are() -> None:
    assert MfeatOptions().model_dump(mode="json") == {"fractions": [0.5, 0.2, 0.3], "split_seed": 0}
    weak = MfeatOptions.model_validate({"mor": {"noise": 2.0}}).model_dump(mode="json")
    assert weak["mor"] == {"noise": 2.0, "keep": None}
    assert "fou" not in weak
    for wrong in ({"mor": {"keep": 7}}, {"mor": {}}, {"mor": {"noise": -1}}, {"mor": {"noise": 1, "blur": 1}}):
        with pytest.raises(ValidationError):
            MfeatOptions.model_validate(wrong)


def test_the_view_pix_is_shown_as_a_picture_and_others_as_strips():
    split = open_mfeat(modalities=["fou", "pix"]).splits["test"]
    views, _ = load_digits()
    shown = split.pictures(5)
    row = int(split.describe(5).id.split("/")[1])
    assert shown["pix"].shape == (16, 15, 3)
    assert shown["pix"].dtype == np.uint8
    expected = views["pix"][row].reshape(16, 15) * 42.5
    assert np.abs(shown["pix"].astype(float) - expected[:, :, None]).max() <= 0.5
    assert shown["fou"].shape[1] % 76 == 0
