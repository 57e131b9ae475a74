"""Mask lists: the published ones, and lists that are wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.data.brats.masks import (
    MASK_IDS,
    MASKS,
    generate_masks,
    possible_ids,
    rates_of,
    read_mask_list,
    write_mask_list,
)
from mmablate.errors import DataError

# Subjects with T1, T1ce, FLAIR, T2 in the published lists: BraTS 2020 (219 subjects), then 2018 (199).
PUBLISHED = [
    (219, "mr2468", (184, 135, 90, 43)),
    (219, "mr1379", (200, 156, 68, 23)),
    (219, "mr2258", (179, 180, 111, 44)),
    (219, "mr2285", (179, 180, 43, 113)),
    (219, "mr5528", (113, 111, 185, 42)),
    (219, "mr5582", (113, 111, 42, 186)),
    (219, "mr8825", (46, 44, 189, 118)),
    (219, "mr8852", (46, 44, 116, 190)),
    (199, "mr2468", (170, 121, 82, 41)),
    (199, "mr1379", (182, 141, 61, 20)),
]
# Numbers of the masks at the head of the published list mr2468 of 2020.
HEAD = [10, 2, 10, 14, 6, 5, 6, 9, 10, 13, 1, 6, 9, 14, 13, 10, 10, 3, 7, 5]
HEADER = "data_name,mask_id,mask,pos_mask_ids\n"


def rates(name: str) -> tuple[float, ...]:
    found = rates_of(name)
    assert found is not None
    return found


@pytest.mark.parametrize(("n", "name", "wanted"), PUBLISHED)
def test_generated_lists_have_the_published_counts(n: int, name: str, wanted: tuple[int, ...]) -> None:
    flair, t1ce, t1, t2 = generate_masks(n, rates(name)).sum(axis=0).tolist()
    assert (t1, t1ce, flair, t2) == wanted


def test_mr2468_is_the_published_list() -> None:
    masks = generate_masks(219, rates("mr2468"))
    numbers = [MASK_IDS[tuple(row)] for row in masks.tolist()]
    assert numbers[: len(HEAD)] == HEAD
    assert numbers[-2:] == [3, 2]
    assert (masks.sum(axis=1) == 4).sum() == 9
    assert (masks.sum(axis=1) == 1).sum() == 58


@given(
    n=st.integers(1, 60),
    some=st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda rates: min(rates) < 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_generated_masks_are_never_empty_and_follow_the_seed(n: int, some: list[float], seed: int) -> None:
    masks = generate_masks(n, some, seed)
    assert masks.shape == (n, 4)
    assert masks.any(axis=1).all()
    np.testing.assert_array_equal(masks, generate_masks(n, some, seed))


def test_rates_are_those_of_t1_t1ce_flair_t2() -> None:
    assert rates_of("mr2468") == (0.2, 0.4, 0.6, 0.8)
    assert rates_of("mr246") is rates_of("mr24688") is rates_of("xmr2468") is None


@pytest.mark.parametrize("bad", [(0, (0.5,) * 4), (3, (0.5,) * 3), (3, (1.0,) * 4), (3, (0.5, -0.1, 0.5, 0.5))])
def test_impossible_rates_are_refused(bad: tuple[int, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="missing rates"):
        generate_masks(*bad)


def test_the_fifteen_masks_are_numbered_as_published() -> None:
    assert len(set(MASKS)) == 15
    assert MASKS[0] == (False, False, False, True)
    assert MASKS[3] == (True, False, False, False)
    assert MASKS[10] == (True, True, True, False)
    assert MASKS[14] == (True, True, True, True)
    assert possible_ids(MASKS[10]) == (1, 2, 3, 5, 6, 9, 10)
    assert possible_ids(MASKS[13]) == (0, 1, 2, 4, 5, 7, 13)


def test_a_list_is_written_in_the_published_form_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    masks = generate_masks(30, rates("mr2468"))
    names = [f"HG_BraTS20_Training_{k:03d}" for k in range(30)]
    write_mask_list(path, names, masks)
    lines = path.read_bytes().split(b"\r\n")
    assert lines[0].decode() == HEADER.strip()
    number = MASK_IDS[tuple(masks[0].tolist())]
    assert lines[1].startswith(f'HG_BraTS20_Training_000,{number},"[{masks[0, 0]}, '.encode())
    assert b"\n" not in b"".join(lines)
    assert [row["data_name"] for row in csv.DictReader(path.read_text().splitlines())] == names
    found = read_mask_list(path)
    assert list(found) == names
    np.testing.assert_array_equal(np.array(list(found.values())), masks)
    assert [p.name for p in tmp_path.iterdir()] == ["list.csv"]
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    assert read_mask_list(path) == found


def test_no_list_is_written_of_empty_masks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a sequence"):
        write_mask_list(tmp_path / "list.csv", ["a"], np.zeros((1, 4), dtype=bool))
    with pytest.raises(ValueError, match="2 names"):
        write_mask_list(tmp_path / "list.csv", ["a", "b"], np.ones((1, 4), dtype=bool))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('a,14,"[True, True, True]",', "line 2: mask: expected 4 truth values (flair, t1ce, t1, t2), found 3"),
        ('a,,"[False, False, False, False]",', "line 2: mask: expected at least one sequence, found all false"),
        ('a,3,"[True, True, True, True]",', "line 2: mask_id: expected 14"),
        ('a,3,"[True, False, False, False]","[0, 3]"', "line 2: pos_mask_ids: expected [3], found [0, 3]"),
        ('a,14,"[1, 1, 1, 1]",', "line 2: expected a list like [True, False, True, False], found '[1, 1, 1, 1]'"),
        ("a,14,\"__import__('os').system('touch x')\",", "line 2: expected a list like"),
        ('a,14,"' + "[" * 150 + '",', "line 2: expected a list like"),
        ('a,14,"' + "[" * 100_000 + '",', "line 2: expected a list like"),
        ("a,14", "line 2: expected 4 cells, found 2"),
        (',14,"[True, True, True, True]",', "line 2: expected a name once, found ''"),
        ('a,14,"[True, True, True, True]",\na,14,"[True, True, True, True]",', "line 3: expected a name once"),
        ('a,14,"[True, True\nb,14,"[True', "line 2: expected quotes that end on their line"),
    ],
)
def test_rows_at_fault_are_told_with_file_and_line(tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(DataError) as caught:
        read_mask_list(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["", "a,b\n", "data_name,mask_id\n", "data_name,mask,mask\n"])
def test_a_list_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="line 1: expected the columns data_name and mask"):
        read_mask_list(path)


def test_masks_alone_suffice(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('mask,data_name\n"[True, False, False, True]",a\n')
    assert read_mask_list(path) == {"a": (True, False, False, True)}
