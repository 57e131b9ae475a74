"""Ranking samples of a classification study, against plain Python over scipy's softmax."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from class_sample_samples import CLASSES, logits, put, written
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from mmablate.analysis.class_samples import ClassRow, chosen_rows, class_row, load_class_sheet
from mmablate.errors import StoreError, UsageError
from mmablate.results.class_predictions import (
    CLASS_PREDICTIONS,
    ClassPredictions,
    read_class_predictions,
    write_class_predictions,
)


def predictions(folder: Path, values: np.ndarray, labels: Any, **changes: Any) -> ClassPredictions:
    n = len(values)
    fields: dict[str, Any] = {
        "indices": range(n), "labels": labels, "ids": [str(i) for i in range(n)], "logits": {"Acc": values},
        "synthetic": False, **changes,
    }  # fmt: skip
    write_class_predictions(folder, **fields)
    found, reason = read_class_predictions(folder)
    assert found is not None, reason
    return found


@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 4), st.integers(0, 5), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_rank_confusion_and_counts(
    tmp_path_factory: pytest.TempPathFactory, n_seeds: int, n: int, k: int, wanted: int, start: int
) -> None:
    """The same numbers by loops over samples and seeds."""
    folder = tmp_path_factory.mktemp("run")
    stream = np.random.default_rng(start)
    labels = stream.integers(0, k, n)
    values = {seed: stream.normal(size=(n, k)) * 3 for seed in range(n_seeds)}
    row = class_row("r", "R", {s: predictions(folder, v, labels) for s, v in values.items()}, wanted, every=True)

    shares = {seed: softmax(v, axis=1) for seed, v in values.items()}
    mean_true = [float(np.mean([shares[s][i, labels[i]] for s in values])) for i in range(n)]
    order = sorted(range(n), key=lambda i: mean_true[i])
    assert [s.key.place for s in row.every] == order
    assert [s.key.place for s in row.worst] == order[:wanted]
    assert [s.key.place for s in row.best] == order[wanted:][::-1][:wanted]
    hits = {i: [int(values[s][i].argmax()) == labels[i] for s in values] for i in range(n)}
    for sample in row.every:
        i = sample.key.place
        assert sample.mean_true == pytest.approx(mean_true[i], rel=1e-5)
        assert sample.error_rate == pytest.approx(1 - np.mean(hits[i]))
        assert [own.right for own in sample.said] == hits[i]
        assert [own.seed for own in sample.said] == list(values)
    assert row.accuracy == pytest.approx([100 * np.mean([hits[i][s] for i in range(n)]) for s in values])
    assert row.n_always == sum(all(h) for h in hits.values())
    assert row.n_never == sum(not any(h) for h in hits.values())
    matrix = np.zeros((k, k), dtype=int)
    for v in values.values():
        for i in range(n):
            matrix[labels[i], v[i].argmax()] += 1
    assert np.array_equal(row.confusion, matrix)
    sure = {i: max((shares[s][i].max() for s in values if not hits[i][s]), default=-1.0) for i in range(n)}
    errors = sorted((i for i in sure if sure[i] >= 0), key=lambda i: -sure[i])
    assert [s.key.place for s in row.confident] == errors[:wanted]


def test_ranks_where_probabilities_are_all_0_or_1(tmp_path: Path) -> None:
    """exp(-800) is 0 in float64, and the second sample is still the worse one."""
    values = np.array([[800.0, 0.0], [900.0, 0.0], [0.0, 60.0], [0.0, 50.0]])
    row = class_row("r", "R", {0: predictions(tmp_path, values, [1, 1, 1, 1])}, 4)
    assert [s.key.place for s in row.worst] == [1, 0, 3, 2]


def test_votes(tmp_path: Path) -> None:
    said = [[0.0, 2.0, 0.0], [0.0, 1.0, 0.0], [5.0, 0.0, 0.0]]
    runs = {seed: predictions(tmp_path, np.array([v]), [2]) for seed, v in enumerate(said)}
    (sample,) = class_row("r", "R", runs, 1).worst
    expected = np.mean([softmax(said[0])[1], softmax(said[1])[1]])
    assert (sample.vote.predicted, sample.vote.n_for, sample.vote.n) == (1, 2, 3)
    assert sample.vote.probability == pytest.approx(expected)
    runs.pop(0)
    (sample,) = class_row("r", "R", runs, 1).worst
    assert sample.vote.predicted == 0  # one against one: the surer one


def test_samples_are_matched_by_place_id_and_class(tmp_path: Path) -> None:
    """Another order of the same samples is no difference; another id at the place is another sample."""
    values = logits(4, 3, 0)
    same = predictions(tmp_path, values, [0, 1, 2, 0])
    turned = predictions(tmp_path, values[::-1], [0, 2, 1, 0], indices=[3, 2, 1, 0], ids=["3", "2", "1", "0"])
    row = class_row("r", "R", {0: same, 1: turned}, 4)
    assert row.n_samples == 4
    assert all(len(s.said) == 2 and s.said[0].probability == s.said[1].probability for s in row.worst)
    other = predictions(tmp_path, values, [0, 1, 2, 0], ids=["x", "1", "2", "3"])
    row = class_row("r", "R", {0: same, 1: other}, 5)
    assert row.n_samples == 5
    assert sorted(len(s.said) for s in row.worst) == [1, 1, 2, 2, 2]


def test_data_drawn_for_every_seed_have_samples_of_their_own(tmp_path: Path) -> None:
    runs = {seed: predictions(tmp_path, logits(3, 3, seed), [0, 1, 2], drawn=True) for seed in (4, 7)}
    row = class_row("r", "R", runs, 6)
    assert row.n_samples == 6
    assert {(s.key.place, s.key.seed) for s in row.worst} == {(i, s) for i in range(3) for s in (4, 7)}
    assert all(len(s.said) == 1 and s.said[0].seed == s.key.seed for s in row.worst)


def test_the_most_frequent_errors() -> None:
    counts = np.array([[8, 2, 0], [1, 1, 0], [0, 30, 70]])
    row = ClassRow("r", "R", (0,), (1.0,), 0, 0, 0, (), (), (), counts)
    assert row.confusions() == [(1, 0, 1, 2), (2, 1, 30, 100), (0, 1, 2, 10)]


def test_a_study(tmp_path: Path) -> None:
    store = written(tmp_path)
    sheet = load_class_sheet(store, 3)
    assert [(row.name, row.label, row.seeds) for row in sheet.rows] == [
        ("r0", "L_r0", (0, 1)),
        ("r1", "L_r1", (0, 1)),
    ]
    assert sheet.class_names == CLASSES
    assert sheet.synthetic
    assert sheet.missing == sheet.faults == ()
    keys = sheet.samples()
    assert len(keys) == len(set(keys))
    assert {key.id for key in keys} <= {f"clip{i}" for i in range(12)}
    assert set(sheet.rows[0].worst[0].others) == {"unimodal/audio"}
    assert [row.name for row in load_class_sheet(store, 3, rows=["r1"]).rows] == ["r1"]
    assert [row.name for row in load_class_sheet(store, 3, rows=["L_r1", "*0"]).rows] == ["r0", "r1"]
    assert load_class_sheet(store, 3, seeds=[1]).rows[0].seeds == (1,)
    assert load_class_sheet(store, 3, seeds=[9]).rows == ()


def test_damage_leaves_a_run_out_and_is_told(tmp_path: Path) -> None:
    store = written(tmp_path)
    (store.run_folder("r0-0") / CLASS_PREDICTIONS).write_bytes(b"PK")
    (store.run_folder("r1-0") / CLASS_PREDICTIONS).unlink()
    put(store, "r1-1", 0, k=4)
    sheet = load_class_sheet(store, 3)
    assert [(row.name, row.seeds) for row in sheet.rows] == [("r0", (1,))]
    assert sheet.missing == ("L_r1",)
    assert len(sheet.faults) == 2
    assert sheet.faults[0].startswith("r0-0/class_predictions.npz: damaged")
    assert sheet.faults[1] == "r1-1: predictions of 4 classes, and the study has 3"


def test_predictions_of_another_training_are_left_out(tmp_path: Path) -> None:
    """Their accuracy is not that of the record; what another choice among equal logits changes is let pass."""
    store = written(tmp_path, 1000, info={"Acc": {"metric": "accuracy"}})
    accuracy = {}
    for folder in store.runs.iterdir():
        said, _ = read_class_predictions(folder)
        assert said is not None
        accuracy[folder.name] = 100 * float((said.outputs["Acc"].predicted == said.labels).mean())
        off = {"r0-0": 0.4, "r0-1": -0.6}.get(folder.name, 0.0)
        record = json.loads((folder / "record.json").read_text())
        record["metrics"]["Acc"] = accuracy[folder.name] + off
        (folder / "record.json").write_text(json.dumps(record))
    sheet = load_class_sheet(store, 3)
    assert [(row.name, row.seeds) for row in sheet.rows] == [("r0", (0,)), ("r1", (0, 1))]
    assert sheet.rows[1].accuracy == pytest.approx([accuracy["r1-0"], accuracy["r1-1"]])
    (fault,) = sheet.faults
    assert fault.startswith(f"r0-1: the predictions give {accuracy['r0-1']:.2f} % Acc, and the run was scored with")


def test_damaged_studies_and_unknown_rows_are_told(tmp_path: Path) -> None:
    store = written(tmp_path)
    with pytest.raises(UsageError, match=r"--row nix: no row has that name \(there are: r0, r1\)"):
        load_class_sheet(store, 3, rows=["nix"])
    path = store.folder / "study.json"
    study = json.loads(path.read_text())
    path.write_text(json.dumps({**study, "dataset": {"classes": 3}}))
    with pytest.raises(StoreError, match=r"dataset\.classes"):
        load_class_sheet(store, 3)


def test_names_are_taken_literally_first() -> None:
    study = {"table": {"rows": [{"name": "a[1]"}, {"name": "a1", "label": "x"}]}}
    assert chosen_rows(study, ["a[1]"]) == {"a[1]": "a[1]"}
    assert chosen_rows(study, ["a?"]) == {"a1": "x"}
    assert chosen_rows(study, None, ["more"]) == {"a[1]": "a[1]", "a1": "x", "more": "more"}
