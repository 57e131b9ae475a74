"""samples.npz and predictions.npz: what is written reads back, what is damaged is left out."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_samples import SUBSETS, samples, written

from mmablate.results.shown import read_samples, read_shown, write_predictions, write_samples

ROWS = [("A", "r0-0"), ("B", "r1-0")]


def rewrite(path, change):
    """The npz at `path` with its arrays changed."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


def meta_change(**changes):
    def change(arrays):
        arrays["meta"] = np.array(json.dumps({**json.loads(str(arrays["meta"])), **changes}))

    return change


def test_samples_read_back(tmp_path):
    made = samples()
    write_samples(tmp_path, made)
    back = read_samples(tmp_path)
    assert back is not None
    for name in ("indices", "labels"):
        assert np.array_equal(getattr(back, name), getattr(made, name))
    assert list(back.pictures) == ["V", "N"]
    assert all(np.array_equal(back.pictures[m], made.pictures[m]) for m in made.pictures)
    for name in ("split", "ids", "conditions", "class_names", "colours", "ignore_label", "synthetic"):
        assert getattr(back, name) == getattr(made, name)
    assert back.labels.dtype == np.uint8
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


def test_the_same_samples_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name, samples())
    assert (tmp_path / "a/samples.npz").read_bytes() == (tmp_path / "b/samples.npz").read_bytes()


def test_rows_are_shown_in_order_and_a_run_may_serve_several(tmp_path):
    store = written(tmp_path)
    shown = read_shown(store, [*ROWS, ("C", "r0-0"), ("D", "none")])
    assert [(row.label, row.run_id) for row in shown.rows] == [*ROWS, ("C", "r0-0")]
    assert set(shown.rows[0].predictions) == set(SUBSETS)
    assert shown.rows[0].predictions["V"][1].dtype == np.uint8


def test_predictions_are_matched_to_scenes_by_index(tmp_path):
    store = written(tmp_path)
    maps = np.stack([np.full((6, 8), k) for k in (0, 1, 2)])
    write_predictions(store.run_folder("r0-0"), [12, 99, 10], {"V": maps})
    (row,) = read_shown(store, ROWS[:1]).rows
    assert [None if m is None else int(m[0, 0]) for m in row.predictions["V"]] == [2, None, 0]
    write_predictions(store.run_folder("r0-0"), [1, 2, 3], {"V": maps})
    assert read_shown(store, ROWS[:1]) is None


@pytest.mark.parametrize("top", [255, 256, 32767])
def test_classes_keep_their_values(tmp_path, top):
    store = written(tmp_path)
    maps = np.full((3, 6, 8), top)
    write_predictions(store.run_folder("r0-0"), [10, 11, 12], {"V": maps})
    assert int(read_shown(store, ROWS[:1]).rows[0].predictions["V"][0][0, 0]) == top


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(ValueError, match="int16"):
        write_predictions(tmp_path, [1], {"V": np.full((1, 2, 2), 40000)})
    with pytest.raises(ValueError, match="integers"):
        write_predictions(tmp_path, [1], {"V": np.zeros((1, 2, 2))})
    with pytest.raises(ValueError, match=r"\(n, h, w\) for 2 scenes"):
        write_predictions(tmp_path, [1, 2], {"V": np.zeros((1, 2, 2), dtype=int)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("labels"),
        lambda a: a.pop("meta"),
        lambda a: a.update(indices=a["indices"][:2]),
        lambda a: a.update(labels=a["labels"].astype(float)),
        lambda a: a.update({"picture/V": a["picture/V"][:, :3]}),
        lambda a: a.update({"picture/V": a["picture/V"].astype(np.int64)}),
        lambda a: a.update(meta=np.array("[1")),
        lambda a: a.update(meta=np.array("[1]")),
        lambda a: a.update(meta=np.array(3)),
        lambda a: a.update(meta=np.zeros(3)),
        meta_change(ids=["one"]),
        meta_change(ids=7),
        meta_change(conditions=[1, 2, 3]),
        meta_change(colours=[[1, 2, 3]]),
        meta_change(colours=[[1, 2], [1, 2], [1, 2]]),
        meta_change(colours=[[1, 2, 300]] * 3),
        meta_change(ignore_label="x"),
        meta_change(ignore_label=None),
    ],
)
def test_samples_of_another_form_are_left_out(tmp_path, change):
    store = written(tmp_path)
    assert read_shown(store, ROWS) is not None
    rewrite(store.folder / "samples.npz", change)
    assert read_shown(store, ROWS) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("indices"),
        lambda a: a.update(indices=a["indices"].astype(float)),
        lambda a: a.update({f"prediction/{s}": a[f"prediction/{s}"][:, :2] for s in SUBSETS}),
        lambda a: a.update({f"prediction/{s}": a[f"prediction/{s}"][:1] for s in SUBSETS}),
        lambda a: a.update({f"prediction/{s}": a[f"prediction/{s}"] / 2 for s in SUBSETS}),
    ],
)
def test_predictions_of_another_form_leave_their_row_out(tmp_path, change):
    store = written(tmp_path)
    rewrite(store.run_folder("r0-0") / "predictions.npz", change)
    assert [row.label for row in read_shown(store, ROWS).rows] == ["B"]


@pytest.mark.parametrize("name", ["samples.npz", "runs/r0-0/predictions.npz"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_never_shows_as_a_traceback(tmp_path_factory, name, data):
    store = written(tmp_path_factory.mktemp("made"), samples(1, (3, 4)))
    path = store.folder / name
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "flip":
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        content = bytearray(data.draw(st.binary(max_size=60)))
    path.write_bytes(bytes(content))
    read_shown(store, ROWS)


class _Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was run')",)


def test_no_pickle_is_ever_loaded(tmp_path):
    store = written(tmp_path)
    path = store.run_folder("r0-0") / "predictions.npz"
    trap = np.empty((3, 6, 8), dtype=object)
    trap[...] = _Trap()
    for content in ({"indices": np.arange(3), "prediction/V": trap}, None):
        if content is None:
            path.write_bytes(pickle.dumps(_Trap()))
        else:
            np.savez(path, **content)
        assert [row.label for row in read_shown(store, ROWS).rows] == ["B"]


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    store = written(tmp_path)
    monkeypatch.setattr("mmablate.results.shown.MAX_BYTES", 100)
    assert read_shown(store, ROWS) is None


def test_a_header_that_claims_a_huge_array_is_left_out(tmp_path):
    store = written(tmp_path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**14,)})
    with zipfile.ZipFile(store.run_folder("r0-0") / "predictions.npz", "w") as archive:
        archive.writestr("indices.npy", header.getvalue())
    assert [row.label for row in read_shown(store, ROWS).rows] == ["B"]
