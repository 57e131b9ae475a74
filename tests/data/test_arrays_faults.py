"""Features that cannot be used: each fault is told with its file, and no row is put beside another by chance."""

from __future__ import annotations

import gzip
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from test_arrays import BY_ID, LAST, write_csv, write_with_ids

from mmablate.data.arrays import files, lines, scaling
from mmablate.data.arrays.opening import check_arrays, open_arrays
from mmablate.errors import DataError

N = 30
FILES = {"a": {"files": "a.npy"}, "c": {"files": "c.csv"}}
OWN = {"file": "y.csv", "column": None}


@pytest.fixture
def root(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(2.0 * N).reshape(N, 2))
    write_csv(tmp_path / "c.csv", ["c0", "c1"], [[i + 0.5, -i] for i in range(N)])
    write_csv(tmp_path / "y.csv", ["kind"], [[f"k{i % 3}"] for i in range(N)])
    return tmp_path


def told(root, **changes) -> str:
    """The message; `check` says the same."""
    options = {"modalities": FILES, "labels": OWN, **changes}
    with pytest.raises(DataError) as caught:
        open_arrays(root, **options)
    assert check_arrays(root, **options, thorough=True) == caught.value.problems
    return "\n".join(caught.value.problems)


def test_the_folder_is_sound(root):
    assert check_arrays(root, modalities=FILES, labels=OWN, thorough=True) == []


@pytest.mark.parametrize("name", ["../a.npy", "/etc/passwd", "a.pkl", "{x}.npy", "*.npy", "", "a.npy/../a.npy"])
def test_paths_stay_below_the_root(root, name):
    message = told(root, modalities={"a": {"files": name}})
    assert "a: expected a .npy, .npz, .csv, .csv.gz file below the root" in message


@pytest.mark.parametrize("name", ["labels", "split"])
def test_a_modality_called_as_a_role_is_looked_at_too(root, name):
    message = told(root, modalities={name: {"files": "../a.npy"}}, split={"file": "y.csv", "column": None})
    assert message == f"{name}: expected a .npy, .npz, .csv, .csv.gz file below the root, found '../a.npy'"


def test_files_that_are_not_there_are_told_together(root):
    message = told(root, modalities={"a": {"files": "x.npy"}, "c": {"files": "z.csv"}})
    assert message == f"{root / 'x.npy'}: expected a file of a, found none\n" + (
        f"{root / 'z.csv'}: expected a file of c, found none"
    )


def test_no_pickle_is_opened(root):
    np.save(root / "a.npy", np.array([{"a": 1}] * N, dtype=object), allow_pickle=True)
    assert f"{root / 'a.npy'}: expected a readable .npy file" in told(root)
    (root / "a.npy").write_bytes(pickle.dumps([1, 2]))
    assert f"{root / 'a.npy'}: expected a readable .npy file" in told(root)
    np.savez(root / "b.npz", x=np.array([{"a": 1}] * N, dtype=object))
    assert "expected a readable .npz file" in told(root, modalities={"b": {"files": "b.npz"}})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_must_be_finite(root, value):
    values = np.arange(2.0 * N).reshape(N, 2)
    values[7, 1] = value
    np.save(root / "a.npy", values)
    assert told(root) == f"{root / 'a.npy'}: row 8, feature 1: expected finite numbers, found {value}"
    np.save(root / "a.npy", np.arange(1.0 * N))
    write_csv(root / "c.csv", ["c0"], [[value if i == 3 else i + 0.5] for i in range(N)])
    assert told(root) == f"{root / 'c.csv'}: row 4, feature 0: expected finite numbers, found {value}"


def test_numbers_must_fit(root):
    np.save(root / "a.npy", np.full((N, 1), 1e300))
    assert "a.npy: expected numbers within the range of float32" in told(root, standardise="none")


def test_lengths_must_be_the_same(root):
    np.save(root / "a.npy", np.zeros((N - 1, 2)))
    assert told(root) == f"{root}: expected files of the same number of rows, found a.npy 29, c.csv 30, y.csv 30"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c0,c1\n1,2\n3\n", "row 2: expected 2 values separated by commas, found 1"),
        ("c0,c1\n1,2\n\n3,4\n", "row 2: expected 2 values separated by commas, found 0"),
        ("c0,c1\n1,x\n3,4\n", "row 1, column 'c1': expected a number (or the column's name under `ignore`), found 'x'"),
        ("c0,c1\n1,\n3,4\n", "row 1, column 'c1': expected a number (or the column's name under `ignore`), found ''"),
        ("0.5,1.5\n1,2\n", "where the first line holds values, say header: false, found '0.5' in it"),
        ("5,1\n1,2\n", "where the first line holds values, say header: false, found '5' in it"),
        ("c,c\n1,2\n", "where the first line holds values, say header: false, found 'c' in it"),
        ("c0,c1\n", "expected a header and rows of values, found 1 lines"),
        ("", "expected a header and rows of values, found 0 lines"),
    ],
)
def test_tables_of_another_form(root, text, message):
    (root / "c.csv").write_text(text)
    assert f"{root / 'c.csv'}: " in told(root)
    assert message in told(root)


def test_bytes_that_are_no_text(root):
    (root / "c.csv").write_bytes(b"c0\n\xff\xfe\n")
    assert "c.csv: expected a readable .csv file" in told(root)
    (root / "c.csv.gz").write_bytes(b"c0\n1\n")
    assert "c.csv.gz: expected a readable .csv.gz file" in told(root, modalities={"c": {"files": "c.csv.gz"}})


def test_small_files_that_unpack_to_large_ones_are_refused(root, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    monkeypatch.setattr(lines, "MOST_TEXT", 1000)
    write_csv(root / "c.csv.gz", ["c0"], [["1"]] * 600)
    message = f"{root / 'c.csv.gz'}: expected at most 1,000 bytes of text unpacked, found more"
    assert told(root, modalities={"c": {"files": "c.csv.gz"}}) == message
    np.savez_compressed(root / "b.npz", x=np.zeros((N, 100)))
    assert "b.npz: expected at most 1,000 bytes unpacked, found 24," in told(root, modalities={"b": {"files": "b.npz"}})


@pytest.mark.parametrize(
    "text",
    ["c0\n" + "1\n" * 600_000, "c0\n" + "1\n" * N + "\n" * 1_200_000, "c0\n1" + " " * 1_200_000, "," * 1_200_000],
    ids=["rows", "empty lines", "one cell", "one row"],
)
def test_what_a_small_file_unpacks_to_is_not_held_as_a_whole(root, monkeypatch, text):
    """A limit of one million bytes takes little more memory than that, whatever the text is made of."""
    monkeypatch.setattr(lines, "MOST_TEXT", 1_000_000)
    monkeypatch.setattr(lines, "MOST_OF_ROW", 100_000)
    path = root / "c.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    del text
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"c\.csv\.gz: expected at most 1(,000,000 bytes|00,000 char)"):
            open_arrays(root, modalities={"c": {"files": "c.csv.gz"}}, labels=OWN)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000  # 500,000 numbers of 8 bytes


def test_a_row_may_not_be_endless_between_quotes(root, monkeypatch):
    monkeypatch.setattr(lines, "MOST_OF_ROW", 100)
    for text in ("c0\n" + '"\n",' * 60, "c0\n" + "1" * 101):
        (root / "c.csv").write_text(text)
        assert told(root) == f"{root / 'c.csv'}: expected at most 100 characters a row, found more"


def test_one_long_text_makes_no_column_of_long_texts(root, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 10_000)
    write_csv(root / "y.csv", ["kind"], [["x" * 100], *[["y"]] * (N - 1)])
    message = "column 'the labels': expected texts of at most 10,000 bytes, found 26 of up to 100 characters"
    assert told(root) == f"{root / 'y.csv'}: {message}"


def test_texts_of_several_pieces_are_one_column(root, monkeypatch):
    whole = open_arrays(root, modalities={"c": {"files": "c.csv"}}, labels=OWN)
    monkeypatch.setattr(files, "PIECE", 7)
    with (root / "c.csv").open("a") as file:
        file.write("\n\n")  # empty lines at the end are none
    again = open_arrays(root, modalities={"c": {"files": "c.csv"}}, labels=OWN)
    for name, split in whole.splits.items():
        rows = range(len(split))
        np.testing.assert_array_equal(again.splits[name].labels_of(rows), split.labels_of(rows))
        np.testing.assert_array_equal(again.splits[name].batch(rows)[0]["c"], split.batch(rows)[0]["c"])


def test_archives_of_another_form(root):
    np.savez(root / "b.npz", x=np.zeros((N, 2)), z=np.zeros((N, 2)))
    modalities = {"b": {"files": "b.npz"}}
    assert "b.npz: expected one array of features, or its name as `key`, found x, z" in told(
        root, modalities=modalities
    )
    assert "b.npz: expected an array 'w', found x, z" in told(root, modalities=modalities, key="w")
    assert "key: expected modalities (b), found q" in told(root, modalities=modalities, key={"q": "x"})
    assert open_arrays(root, modalities=modalities, labels=OWN, key={"b": "z"}).n_classes == 3
    with zipfile.ZipFile(root / "b.npz", "w") as archive:
        archive.writestr("x.npy", b"nonsense")
    assert "b.npz: expected" in told(root, modalities=modalities)
    np.savez(root / "b.npz", x=np.zeros((N, 2)), who=np.zeros(N - 1))
    assert "expected arrays of one length, found [29, 30]" in told(root, modalities=modalities, ignore=(), group={
        "file": None, "column": "who"})  # fmt: skip


@pytest.mark.parametrize("values", [np.zeros(N, dtype=complex), np.array(["x"] * N), np.zeros((N, 0)), np.array(3.0)])
def test_features_are_real_numbers(root, values):
    np.save(root / "a.npy", values)
    assert f"{root / 'a.npy'}: expected" in told(root)


def test_channels_that_are_not_there(root):
    assert "a.channels: expected 0 to 1, found [2]" in told(root, modalities={"a": {"files": "a.npy", "channels": [2]}})


# --- labels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["labels", "group"])
@pytest.mark.parametrize("pair", [("01", "1"), ("1", "1.0"), ("-0", "0")])
def test_two_ways_to_write_a_number_are_not_taken_for_one(root, role, pair):
    write_csv(root / "w.csv", ["kind"], [[(*pair, "2")[i % 3]] for i in range(N)])
    message = told(root, **{role: {"file": "w.csv", "column": None}})
    wanted = f"each {role.removesuffix('s')} written in one way"
    assert message == f"{root / 'w.csv'}: {role}: expected {wanted}, found {pair[0]!r} and {pair[1]!r}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"] * N, "labels: expected at least two classes, found x alone"),
        ([i / 7 for i in range(N)], "labels: expected names of classes or whole numbers, found 0.14"),
        (["", *["x", "y"] * 15][:N], "labels: expected a value in row 1, found none"),
        ([f"k{i}" for i in range(N)], "test: expected samples of at least two classes, found none"),
        (["x", "x", *["y"] * (N - 2)], "test: expected samples of at least two classes"),
    ],
)
def test_labels_that_are_none(root, words, message):
    write_csv(root / "y.csv", ["kind"], [['""' if word == "" else word] for word in words])
    assert message in told(root, fractions=(0.75, 0.0, 0.25))


def test_a_label_file_of_several_columns_needs_a_name(root):
    write_csv(root / "y.csv", ["kind", "other"], [[f"k{i % 3}", i] for i in range(N)])
    assert "y.csv: labels: expected one column, or the name of one as `column`" in told(root)
    assert "y.csv: labels: expected a column 'kin'" in told(root, labels={"file": "y.csv", "column": "kin"})
    assert "a column 'kin' in a.npy, c.csv, found none" in told(root, labels={"file": None, "column": "kin"})
    message = told(root, labels={"file": "c.csv", "column": None})
    assert "labels.column: expected a name or a place in" in message


def test_labels_that_files_disagree_on_are_refused(root):
    write_csv(root / "c.csv", ["c0", "y"], [[i + 0.5, i % 3] for i in range(N)])
    write_csv(root / "d.csv", ["d0", "y"], [[i + 0.5, (i + (i == 4)) % 3] for i in range(N)])
    modalities = {"c": {"files": "c.csv"}, "d": {"files": "d.csv"}}
    message = (
        f"{root / 'd.csv'}: expected the labels of c.csv (are the rows in one order?), found 1 others, "
        "first '2' for '1' in row 5"
    )
    for labels in (LAST, {"file": None, "column": "y"}, {"file": "c.csv", "column": "y"}):
        assert told(root, modalities=modalities, labels=labels) == message


def test_a_feature_that_is_the_label_is_refused(root):
    write_csv(root / "c.csv", ["c0", "digit"], [[i + 0.5, i % 3] for i in range(N)])
    write_csv(root / "y.csv", ["kind"], [[i % 3] for i in range(N)])
    assert told(root) == (
        f"{root / 'c.csv'}: expected features, none of which is the label itself, found it in feature 1 "
        "(name its column under `ignore`)"
    )
    assert open_arrays(root, modalities=FILES, labels=OWN, ignore=["digit"]).modalities["c"] == (1,)


# --- ids, splits, groups --------------------------------------------------------------------------------------


def test_rows_without_a_partner_are_refused_or_counted(tmp_path):
    names = [f"s{i}" for i in range(40)]
    write_with_ids(tmp_path, names[:38], names[1:], names)
    assert told(tmp_path, **BY_ID).splitlines() == [
        f"{tmp_path / name}: expected a partner of the same id in every file for each row (missing: drop leaves the "
        f"others out), found {lost}"
        for name, lost in (
            ("a.csv", "1 of 38 rows without ('s0')"),
            ("b.npz", "2 of 39 rows without ('s38', 's39')"),
            ("y.csv", "3 of 40 rows without ('s0', 's38', 's39')"),
        )
    ]


def test_ids_must_be_there_and_differ(tmp_path):
    names = [f"s{i}" for i in range(40)]
    write_with_ids(tmp_path, names, [*names[:-1], "s1"], names)
    assert f"{tmp_path / 'b.npz'}: expected each id once, found 's1' 2 times" in told(tmp_path, **BY_ID)
    write_with_ids(tmp_path, names, [f"t{i}" for i in range(40)], names)
    assert "a.csv: expected ids that all files have, found none in common" in told(tmp_path, **BY_ID)
    np.save(tmp_path / "n.npy", np.zeros((39, 1)))
    more = {**BY_ID, "modalities": {"a": {"files": "a.csv"}, "n": {"files": "n.npy"}}}
    assert "n.npy: expected the 40 rows of y.csv, found 39" in told(tmp_path, **more)
    write_csv(tmp_path / "a.csv", ["va"], [[i] for i in range(40)])
    assert "a.csv: expected a column 'name' of ids, found none" in told(tmp_path, **BY_ID)


def test_splits_that_are_none(root):
    place = {"file": "s.csv", "column": None}
    write_csv(root / "s.csv", ["part"], [["train" if i % 2 else "dev"] for i in range(N)])
    assert "split: expected train, val or test, found 'dev'" in told(root, split=place)
    write_csv(root / "s.csv", ["part"], [["train"] for i in range(N)])
    assert "split: expected samples of train and of test or val" in told(root, split=place)
    write_csv(root / "s.csv", ["part"], [["train" if i % 3 else "test"] for i in range(N)])
    message = told(root, split=place)
    assert "test: expected samples of at least two classes, found 10 of 'k0'" in message
    assert "test: expected the classes of train, found 'k0' there alone" in message


def test_too_few_groups(root):
    write_csv(root / "g.csv", ["who"], [[f"p{i % 2}"] for i in range(N)])
    message = told(root, group={"file": "g.csv", "column": None})
    assert "group: expected at least 3 groups for 3 splits, found 2" in message


def test_groups_that_leak_are_noted(root):
    write_csv(root / "g.csv", ["who", "part"], [[f"p{i % 4}", "test" if i > 20 else "train"] for i in range(N)])
    data = open_arrays(
        root, modalities=FILES, labels=OWN, val_fraction=0,
        split={"file": "g.csv", "column": "part"}, group={"file": "g.csv", "column": "who"},
    )  # fmt: skip
    assert data.notes == ("Groups have samples in more than one split (train and test 4).",)


def test_groups_that_val_and_test_share_are_noted(root):
    parts = ("train", "val", "test")
    write_csv(root / "g.csv", ["who", "part"], [["p" if i // 3 % 3 else "q", parts[i // 3 % 3]] for i in range(N)])
    place = {"split": {"file": "g.csv", "column": "part"}, "group": {"file": "g.csv", "column": "who"}}
    data = open_arrays(root, modalities=FILES, labels=OWN, **place)
    assert data.notes == ("Groups have samples in more than one split (val and test 1).",)


def test_rows_without_an_id_are_nobodys_partners(tmp_path):
    names = [f"s{i}" for i in range(40)]
    write_with_ids(tmp_path, names, names, names)
    write_csv(tmp_path / "a.csv", ["name", "va"], [[name, 0.5] for name in [*names, ""]])
    np.savez(tmp_path / "b.npz", name=np.array(["", *names]), values=np.zeros((41, 2)))
    write_csv(tmp_path / "y.csv", ["name", "kind"], [[name, f"k{i % 2}"] for i, name in enumerate(["", *names])])
    message = told(tmp_path, **BY_ID)
    assert f"{tmp_path / 'a.csv'}: expected an id in every row, found none in row 41" in message
    assert f"{tmp_path / 'b.npz'}: expected an id in every row, found none in row 1" in message
    assert told(tmp_path, **BY_ID, missing="drop") == message


@pytest.mark.parametrize("others", [["1", "2"], ["cat", "dog"]])
def test_a_missing_label_is_no_class(root, others):
    write_csv(root / "y.csv", ["kind"], [["nan" if i == 7 else others[i % 2]] for i in range(N)])
    assert f"{root / 'y.csv'}: labels: expected names of classes or whole numbers, found nan" in told(root)


def test_numbers_too_large_to_have_a_deviation_are_refused_not_turned_into_zeros(root, monkeypatch):
    monkeypatch.setattr(scaling, "CHUNK", 4)
    np.save(root / "a.npy", np.linspace(-1e200, 1e200, 2 * N).reshape(N, 2))
    assert f"{root / 'a.npy'}: expected numbers within the range of float32, found 1e+200" in told(root)
