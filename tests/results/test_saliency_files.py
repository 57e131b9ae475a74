"""saliency.csv and saliency.json of a run: what is written is read, and damage is told without an exception."""

from __future__ import annotations

import csv
import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.errors import StoreError
from mmablate.results.saliency import SaliencyInfo, read_saliency, write_saliency

INFO = SaliencyInfo(
    place="encoder.2", distance="squared", permutations=100, count=2, rule="oracle", side="general", synthetic=True
)
FIELDS = {
    "scores": [0.5, 0.0, -0.25], "standard_errors": [0.1, 0.0, math.nan], "normalised": [1.0, 1 / 3, 0.0],
    "kept": [2, 0], "general": [0],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "run7"
    run.mkdir()
    write_saliency(run, **FIELDS, info=INFO)
    return run


def test_the_files_are_as_agreed(folder) -> None:
    lines = list(csv.reader((folder / "saliency.csv").read_text().splitlines()))
    assert lines[0] == ["channel", "score", "standard_error", "saliency", "kept", "general"]
    assert lines[1:] == [["0", "0.5", "0.1", "1.0", "1", "1"], ["1", "0.0", "0.0", repr(1 / 3), "0", "0"],
                         ["2", "-0.25", "", "0.0", "1", "0"]]  # fmt: skip
    assert json.loads((folder / "saliency.json").read_text()) == {
        "place": "encoder.2", "distance": "squared", "permutations": 100, "count": 2, "rule": "oracle",
        "side": "general", "synthetic": True,
    }  # fmt: skip
    assert sorted(os.listdir(folder)) == ["saliency.csv", "saliency.json"]


@settings(max_examples=60)
@given(st.data())
def test_what_is_written_is_read_to_the_last_bit(tmp_path_factory, data) -> None:
    n = data.draw(st.integers(1, 6))
    finite = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=n, max_size=n)
    some = st.none() | st.lists(st.integers(0, n - 1), unique=True)
    errors = st.lists(st.floats(0, 1e300) | st.just(math.nan), min_size=n, max_size=n)
    fields = {"scores": data.draw(finite), "standard_errors": data.draw(errors), "normalised": data.draw(finite),
              "kept": data.draw(some), "general": data.draw(some)}  # fmt: skip
    folder = tmp_path_factory.mktemp("run")
    write_saliency(folder, **fields, info=INFO, durable=False)
    found, reason = read_saliency(folder)
    assert reason == ""
    assert found.scores == tuple(fields["scores"])
    assert found.normalised == tuple(fields["normalised"])
    np.testing.assert_array_equal(found.standard_errors, fields["standard_errors"])
    for name in ("kept", "general"):
        expected = fields[name]
        assert getattr(found, name) == (None if expected is None else tuple(sorted(expected)))
    assert found.info == INFO


def test_arrays_are_taken_too(folder) -> None:
    write_saliency(
        folder, scores=np.array([1, 2]), standard_errors=np.zeros(2, np.float32), normalised=np.array([0.0, 1.0]),
        kept=np.array([1]), general=None, info=INFO,
    )  # fmt: skip
    found, _ = read_saliency(folder)
    assert (found.scores, found.kept, found.general) == ((1.0, 2.0), (1,), None)


@pytest.mark.parametrize(
    "changes",
    [{"scores": [1.0]}, {"scores": [math.nan, 0, 0]}, {"normalised": [math.inf, 0, 0]}, {"kept": [3]},
     {"general": [-1]}, {"standard_errors": []}],
)  # fmt: skip
def test_what_no_reader_could_take_is_not_written(tmp_path, changes) -> None:
    with pytest.raises(ValueError):
        write_saliency(tmp_path, **{**FIELDS, **changes}, info=INFO)
    assert os.listdir(tmp_path) == []


def test_nothing_there_is_no_damage(tmp_path) -> None:
    assert read_saliency(tmp_path) == (None, "")
    assert read_saliency(tmp_path / "nowhere") == (None, "")


HEAD = "channel,score,standard_error,saliency,kept,general\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the columns are"),
        (HEAD, "no channel"),
        ("a,b\n1,2\n", "the columns are"),
        (HEAD + "0,1,0,1,1\n", "line 2 has 5 fields, not 6"),
        (HEAD + "1,1,0,1,1,1\n", "line 2 is of channel '1', not 0"),
        (HEAD + "0,1,0,1,1,1\n0,1,0,1,1,1\n", "line 3 is of channel '0', not 1"),
        (HEAD + "0,nan,0,1,1,1\n", "score of channel 0 is 'nan'"),
        (HEAD + "0,1,-1,1,1,1\n", "standard_error of channel 0 is '-1'"),
        (HEAD + "0,1,0,x,1,1\n", "saliency of channel 0 is 'x'"),
        (HEAD + "0,1,0,1,2,1\n", "kept of channel 0 is '2', not 0 or 1"),
        (HEAD + "0,1,0,1,1,1\n1,1,0,1,0,\n", "general of channel 1 is '', not 0 or 1"),
        (HEAD + '0,1,0,1,1,"\n', "no CSV"),
        (HEAD + "0,1,0,1\x00,1,1\n", ""),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_damage_is_told_with_its_place(folder, content, reason) -> None:
    (folder / "saliency.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    found, told = read_saliency(folder)
    assert found is None
    assert told.startswith("run7/saliency.csv: ")
    assert reason in told
    assert str(folder.parent) not in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), ("{", "not valid JSON"), ("[]", ""), ('{"place": "x"}', "distance: Field required"),
     (json.dumps({**INFO.model_dump(), "permutations": "many"}), "permutations:")],
)  # fmt: skip
def test_damage_of_the_json_is_told(folder, content, reason) -> None:
    path = folder / "saliency.json"
    path.unlink() if content is None else path.write_text(content)
    found, told = read_saliency(folder)
    assert found is None
    assert told.startswith("run7/saliency.json: ")
    assert reason in told
    assert str(folder.parent) not in told


def test_a_folder_in_place_of_the_file_is_told(folder) -> None:
    (folder / "saliency.csv").unlink()
    (folder / "saliency.csv").mkdir()
    assert read_saliency(folder) == (None, "run7/saliency.csv: not a file")


@given(st.binary(max_size=200))
def test_any_bytes_are_told_or_read(tmp_path_factory, content) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "saliency.json").write_text(INFO.model_dump_json())
    (folder / "saliency.csv").write_bytes(HEAD.encode() + content)
    found, reason = read_saliency(folder)
    assert (found is None) == bool(reason)


def test_a_folder_that_cannot_be_written_names_the_path(tmp_path) -> None:
    with pytest.raises(StoreError, match="saliency.json"):
        write_saliency(tmp_path / "nowhere", **FIELDS, info=INFO)
