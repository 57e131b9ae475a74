"""Features of anybody's making: the same numbers as in the files, rows matched, labels kept out of the features."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import shared_data

from mmablate.catalog import find
from mmablate.catalog.arrays import ArraysOptions
from mmablate.data.arrays.aligning import canonical, match_ids
from mmablate.data.arrays.opening import check_arrays, open_arrays
from mmablate.data.arrays.scaling import standardised
from mmablate.data.dealing import deal_groups
from mmablate.data.mfeat import MODALITIES, open_mfeat

N = 30
LAST = {"file": None, "column": -1}


def write_csv(path: Path, header: list[str] | None, rows: list[list[object]]) -> None:
    lines = [*([",".join(header)] if header else []), *(",".join(map(str, row)) for row in rows)]
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def values_of(data, modality: str) -> dict[str, np.ndarray]:
    """Name of the sample -> its values."""
    found = {}
    for split in data.splits.values():
        inputs, _ = split.batch(range(len(split)))
        found |= {split.describe(i).id: inputs[modality][i] for i in range(len(split))}
    return found


def labels_of(data) -> dict[str, str]:
    """Name of the sample -> name of its class."""
    return {
        split.describe(i).id: data.class_names[label]
        for split in data.splits.values()
        for i, label in enumerate(split.labels_of(range(len(split))))
    }


@pytest.fixture
def raw(tmp_path):
    """Three modalities in three formats, labels in a file: numbers that are known."""
    stream = np.random.default_rng(0)
    made = {"a": stream.normal(3, 2, size=(N, 4)), "b": stream.normal(size=(N, 2, 3)), "c": stream.normal(size=(N, 2))}
    np.save(tmp_path / "a.npy", made["a"])
    np.savez(tmp_path / "b.npz", values=made["b"].astype(np.float32))
    write_csv(tmp_path / "c.csv.gz", ["c0", "c1"], made["c"].tolist())
    words = [("cat", "dog", "ant")[i % 3] for i in range(N)]
    write_csv(tmp_path / "y.csv", ["kind"], [[word] for word in words])
    return made, words


FILES = {"a": {"files": "a.npy"}, "b": {"files": "b.npz"}, "c": {"files": "c.csv.gz"}}
OWN = {"file": "y.csv", "column": None}


def test_three_formats_with_labels_of_their_own(tmp_path, raw):
    made, words = raw
    data = open_arrays(tmp_path, modalities=FILES, labels=OWN, standardise="none")
    assert data.modalities == {"a": (4,), "b": (2, 3), "c": (2,)}
    assert data.class_names == ("ant", "cat", "dog")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 18, "val": 6, "test": 6}
    for name, values in made.items():
        assert len(values_of(data, name)) == N
        for row, found in values_of(data, name).items():
            np.testing.assert_array_equal(found, values[int(row)].astype(np.float32))
    assert labels_of(data) == {str(i): word for i, word in enumerate(words)}
    for split in data.splits.values():
        assert len(set(np.bincount(split.labels_of(range(len(split)))))) == 1  # stratified
    assert data.notes == ()
    assert not data.synthetic


@pytest.mark.parametrize("way", ["channel", "each"])
def test_values_are_standardised_by_the_training_rows(tmp_path, raw, way):
    made, _ = raw
    data = open_arrays(tmp_path, modalities=FILES, labels=OWN, standardise=way)
    train = [int(data.splits["train"].describe(i).id) for i in range(18)]
    for name, values in made.items():
        axes = (0,) if way == "each" or values.ndim == 2 else (0, 2)
        mean, std = values[train].mean(axis=axes, keepdims=True), values[train].std(axis=axes, keepdims=True)
        for row, found in values_of(data, name).items():
            np.testing.assert_allclose(found, ((values - mean) / std)[int(row)], atol=1e-5)


def test_a_feature_that_is_constant_in_training_is_zero():
    values = np.tile([0.1, 0.0], (9000, 1))
    values[:, 1] = np.arange(9000)
    values[8000:, 0] = 7.0
    made = standardised(Path("x"), values, np.arange(8000), "channel")
    assert not made[:, 0].any()
    exact = (values[:, 1] - values[:8000, 1].mean()) / values[:8000, 1].std()
    np.testing.assert_allclose(made[:, 1], exact, rtol=1e-5, atol=1e-6)


def test_the_digits_are_those_of_mfeat():
    """With the split of mfeat, every number is the one that ships."""
    tables = shared_data("mfeat")
    modalities = {view: {"files": f"mfeat-{view}.csv.gz"} for view in MODALITIES}
    ours = open_arrays(tables, modalities=modalities, labels=LAST, fractions=(0.5, 0.2, 0.3), standardise="none")
    theirs = open_mfeat()
    assert ours.modalities == theirs.modalities
    assert ours.class_names == theirs.class_names
    digits = {row.split("/")[1].lstrip("0") or "0": label for row, label in labels_of(theirs).items()}
    assert labels_of(ours) == digits
    train = np.array([int(theirs.splits["train"].describe(i).id[2:]) for i in range(1000)])
    for view in MODALITIES:
        by_row = values_of(ours, view)
        raw = np.stack([by_row[str(row)] for row in range(2000)])
        scaled = standardised(Path(view), raw, train, "channel")
        for name, values in values_of(theirs, view).items():
            np.testing.assert_allclose(scaled[int(name[2:])], values, atol=2e-5)


def test_labels_in_every_table_are_no_features(tmp_path, raw):
    made, words = raw
    numbers = [[*row, i % 3] for i, row in enumerate(made["c"].tolist())]
    write_csv(tmp_path / "one.csv", ["0", "1", "0"], numbers)
    write_csv(tmp_path / "two.csv", ["x", "y", "digit"], numbers)
    modalities = {"a": {"files": "a.npy"}, "one": {"files": "one.csv"}, "two": {"files": "two.csv"}}
    data = open_arrays(tmp_path, modalities=modalities, labels=LAST, standardise="none")
    assert data.modalities == {"a": (4,), "one": (2,), "two": (2,)}
    assert data.class_names == ("0", "1", "2")
    assert labels_of(data) == {str(i): str(i % 3) for i in range(N)}
    named = {"file": "y.csv", "column": None}
    write_csv(tmp_path / "y.csv", ["kind"], [[word] for word in words])
    with_ignored = open_arrays(tmp_path, modalities={"two": {"files": "two.csv"}}, labels=named, ignore=["digit"])
    assert with_ignored.modalities == {"two": (2,)}
    by_name = open_arrays(
        tmp_path, modalities={"a": {"files": "a.npy"}, "two": {"files": "two.csv"}},
        labels={"file": "two.csv", "column": "digit"},
    )  # fmt: skip
    assert by_name.modalities == {"a": (4,), "two": (2,)}


def test_channels_of_a_modality(tmp_path, raw):
    made, _ = raw
    data = open_arrays(
        tmp_path, modalities={"a": {"files": "a.npy", "channels": [2, 0]}}, labels=OWN, standardise="none"
    )
    assert data.modalities == {"a": (2,)}
    for row, found in values_of(data, "a").items():
        np.testing.assert_array_equal(found, made["a"][int(row), [2, 0]].astype(np.float32))


def test_tables_without_a_header(tmp_path):
    rows = [[i + 0.5, -i, i % 2] for i in range(N)]
    write_csv(tmp_path / "x.csv", None, rows)
    data = open_arrays(tmp_path, modalities={"x": {"files": "x.csv"}}, labels=LAST, header=False, standardise="none")
    assert {row: found.tolist() for row, found in values_of(data, "x").items()} == {
        str(i): [i + 0.5, -i] for i in range(N)
    }


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(36.0))
    np.save(tmp_path / "y.npy", np.repeat([10, 9, -1], 12).astype(np.float32))
    data = open_arrays(tmp_path, modalities={"x": {"files": "x.npy"}}, labels={"file": "y.npy"}, standardise="none")
    assert data.class_names == ("-1", "9", "10")
    assert data.modalities == {"x": (1,)}
    assert labels_of(data)["0"] == "10"


# --- ids ------------------------------------------------------------------------------------------------------


def write_with_ids(root: Path, a: list[str], b: list[str], y: list[str]) -> None:
    """Each row holds numbers that tell its id, so that a wrong pair would be seen."""
    write_csv(root / "a.csv", ["name", "va"], [[name, hash_of(name)] for name in a])
    np.savez(root / "b.npz", name=np.array(b), values=np.array([[hash_of(name), 1.0] for name in b]))
    write_csv(root / "y.csv", ["name", "kind"], [[name, "even" if hash_of(name) % 2 == 0 else "odd"] for name in y])


def hash_of(name: str) -> int:
    return int(name[1:])


BY_ID = {
    "modalities": {"a": {"files": "a.csv"}, "b": {"files": "b.npz"}},
    "labels": {"file": "y.csv", "column": None},
    "id": "name",
    "standardise": "none",
}


@settings(max_examples=25, deadline=None)
@given(
    orders=st.tuples(*[st.permutations(range(40))] * 3),
    kept=st.tuples(*[st.integers(30, 40)] * 3),
)
def test_rows_are_matched_by_id_whatever_their_order(tmp_path_factory, orders, kept):
    root = tmp_path_factory.mktemp("ids")
    lists = [[f"s{i}" for i in order[:n]] for order, n in zip(orders, kept, strict=True)]
    write_with_ids(root, *lists)
    common = set(lists[0]) & set(lists[1]) & set(lists[2])
    data = open_arrays(root, **BY_ID, missing="drop", fractions=(0.5, 0.0, 0.5))
    for modality in ("a", "b"):
        found = values_of(data, modality)
        assert set(found) == common
        assert all(values[0] == hash_of(name) for name, values in found.items())
    assert all(word == ("even" if hash_of(name) % 2 == 0 else "odd") for name, word in labels_of(data).items())
    lost = {"a.csv": lists[0], "b.npz": lists[1], "y.csv": lists[2]}
    parts = ", ".join(f"{file} {len(own) - len(common)}" for file, own in lost.items() if len(own) > len(common))
    assert [note for note in data.notes if "dropped" in note] == (
        [f"Rows without a partner of the same id were dropped ({parts}); {len(common)} samples are left."]
        if parts
        else []
    )


@given(lists=st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1), min_size=1, max_size=4))
def test_match_ids(lists):
    common, places = match_ids(lists)
    assert sorted(common) == sorted(set.intersection(*map(set, lists)))
    assert common == [name for name in lists[0] if name in common]
    for own, rows in zip(lists, places, strict=True):
        assert [own[row] for row in rows] == common


def test_the_draw_follows_ids_and_not_the_order_of_rows(tmp_path):
    names = [f"s{i}" for i in range(40)]
    parts = []
    for order in (names, names[::-1]):
        write_with_ids(tmp_path, order, order, order)
        splits = open_arrays(tmp_path, **BY_ID).splits
        parts.append({name: {s.describe(i).id for i in range(len(s))} for name, s in splits.items()})
    assert parts[0] == parts[1]


def test_an_npy_file_takes_the_ids_of_the_labels(tmp_path):
    names = [f"s{i}" for i in range(40)]
    write_with_ids(tmp_path, names[::-1], names, names)
    np.save(tmp_path / "n.npy", np.array([[float(hash_of(name))] for name in names]))
    modalities = {**BY_ID["modalities"], "n": {"files": "n.npy"}}
    data = open_arrays(tmp_path, **{**BY_ID, "modalities": modalities})
    assert all(values[0] == hash_of(name) for name, values in values_of(data, "n").items())
    assert data.notes == ("n.npy has no ids: its rows are taken to be those of y.csv, in order.",)


# --- splits ---------------------------------------------------------------------------------------------------


def test_splits_of_a_column_with_validation_carved_from_train(tmp_path, raw):
    _, words = raw
    parts = ["test" if i % 5 == 0 else "train" for i in range(N)]
    write_csv(tmp_path / "y.csv", ["kind", "part"], [list(row) for row in zip(words, parts, strict=True)])
    options = {"labels": {"file": "y.csv", "column": "kind"}, "split": {"file": "y.csv", "column": "part"}}
    data = open_arrays(tmp_path, modalities=FILES, **options, val_fraction=0.25)
    sets = {name: {int(s.describe(i).id) for i in range(len(s))} for name, s in data.splits.items()}
    assert sets["test"] == set(range(0, N, 5))
    assert sets["train"] | sets["val"] == set(range(N)) - sets["test"]
    assert len(sets["val"]) == 6
    assert data.notes == ("Validation: 6 of the 24 training samples.",)
    without = open_arrays(tmp_path, modalities=FILES, **options, val_fraction=0)
    assert set(without.splits) == {"train", "test"}


def test_groups_are_drawn_together(tmp_path, raw):
    _, words = raw
    groups = [f"speaker {i // 3}" for i in range(N)]
    write_csv(tmp_path / "y.csv", ["kind", "who"], [list(row) for row in zip(words, groups, strict=True)])
    options = {"labels": {"file": "y.csv", "column": "kind"}, "group": {"file": "y.csv", "column": "who"}}
    data = open_arrays(tmp_path, modalities=FILES, **options)
    homes = {
        name: {groups[int(split.describe(i).id)] for i in range(len(split))} for name, split in data.splits.items()
    }
    assert sum(map(len, homes.values())) == len(set(groups)) == 10
    assert {name: len(own) for name, own in homes.items()} == {"train": 6, "val": 2, "test": 2}
    assert data.notes == ("No group has samples in two splits (groups: train 6, val 2, test 2).",)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=3, max_size=20), seed=st.integers(0, 3))
def test_no_group_is_torn_and_no_split_is_left_empty(sizes, seed):
    groups = [str(k) for k, size in enumerate(sizes) for _ in range(size)]
    dealt = deal_groups(groups, range(len(groups)), (0.8, 0.1, 0.1), seed, "x")
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(groups)))
    assert all(map(len, dealt))
    assert sum(len({groups[row] for row in rows}) for rows in dealt) == len(sizes)


def test_no_test_split_is_noted(tmp_path, raw):
    data = open_arrays(tmp_path, modalities=FILES, labels=OWN, fractions=(0.8, 0.2, 0.0))
    assert set(data.splits) == {"train", "val"}
    assert data.scored_split == "val"
    assert data.notes == ("There is no test split: scores are those of the validation split.",)


def test_the_mark_of_generated_files_is_not_lost(tmp_path, raw):
    (tmp_path / "SYNTHETIC.json").write_text("{}")
    assert open_arrays(tmp_path, modalities=FILES, labels=OWN).synthetic


def test_canonical():
    assert canonical(np.array(["3.0", "03", "-1"])).tolist() == ["3", "3", "-1"]
    assert canonical(np.array(["3.0", "a"])).tolist() == ["3.0", "a"]
    assert canonical(np.array(["3.5", "3"])).tolist() == ["3.5", "3"]
    assert canonical(np.array(["nan", "inf"])).tolist() == ["nan", "inf"]


def test_the_catalogue_entry(tmp_path, raw):
    entry = find("dataset", "arrays")
    options = ArraysOptions.model_validate({"labels": "y.csv"}).model_dump(mode="json")
    assert options["labels"] == {"file": "y.csv", "column": None}
    pairs = [[name, {**source, "channels": None}] for name, source in FILES.items()]
    settings = {"name": "arrays", "modalities": pairs, **options}
    assert [path.name for path in entry.files(tmp_path, settings)] == ["a.npy", "b.npz", "c.csv.gz", "y.csv"]
    assert entry.files(tmp_path, {**settings, "labels": {"file": "gone.csv"}}) == []
    assert not entry.together(options)
    assert entry.together(ArraysOptions().model_dump(mode="json"))
    assert entry.together({**options, "id": "name"})
    assert entry.together({**options, "key": {"b": "values"}})
    assert check_arrays(tmp_path, modalities=dict(pairs), **options, thorough=True) == []
    assert open_arrays(tmp_path, modalities=dict(pairs), **options).n_classes == 3
    short = {"labels": "digit", "split": {"file": "s.csv", "column": "part"}, "group": -2}
    made = ArraysOptions.model_validate(short)
    assert (made.labels.column, made.split and made.split.file, made.group and made.group.column) == (
        "digit", "s.csv", -2,
    )  # fmt: skip
