"""Gradients and weakness read from histories: means and intervals against scipy, damage, which rows are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import suppression_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmablate.analysis import suppression
from mmablate.analysis.details import load_details
from mmablate.analysis.suppression import GRADIENTS, WEAKNESS, Looks, Suppression
from mmablate.results import StudyStore


def load(store: StudyStore) -> Suppression:
    found = load_details(store).suppression
    assert found is not None
    return found


def gradients(store: StudyStore) -> Looks:
    looks = load(store).gradients
    assert looks is not None
    return looks


def one_run(tmp_path: Path, lines: list[Any]) -> StudyStore:
    """A row of one seed with this history; lines that are text stand as they are."""
    store = samples.write(tmp_path, rows=("joint",), seeds=(0,))
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (store.run_folder("joint-0") / "history.jsonl").write_text("\n".join(texts), encoding="utf-8")
    return store


def test_means_and_intervals_are_students_over_seeds(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("joint", "dgl+unique"))
    found = load(store)
    for looks, kind, quantities, made in (
        (found.gradients, "gradients", GRADIENTS, samples.gradients),
        (found.weakness, "unique", WEAKNESS, samples.unique),
    ):
        assert looks is not None, kind
        row = looks.rows[-1]
        assert row.row == "dgl + unique"
        for quantity in quantities:
            (point,) = [p for p in row.modalities["video"][quantity] if p.epoch == row.last_epoch]
            values = [made("dgl+unique", seed, point.epoch)["video"][quantity] for seed in range(5)]
            assert point.mean == pytest.approx(np.mean(values))
            assert point.n_seeds == 5
            if np.ptp(values) < 1e-12:
                assert point.interval is None
            else:
                expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
                assert point.interval == pytest.approx(expected)
    assert found.gradients is not None
    assert found.gradients.samples == (256, 256)
    assert found.gradients.n_seeds == (5, 5)
    assert [p.epoch for p in found.gradients.rows[0].modalities["audio"]["left"]] == [2, 4, 6, 8]


def test_the_confidence_is_the_studys(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("joint",))
    study = store.read_study()
    for given_, used in ((0.8, 0.8), (None, 0.95), ("x", 0.95), (3, 0.95), (True, 0.95)):
        study["table"]["significance"] = {"primary": "Acc", "confidence": given_}
        (store.folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
        looks = suppression.load_suppression(store, study, {"joint": store.records()[0]})
        assert looks is not None
        assert looks.gradients is not None
        assert looks.gradients.confidence == used
        values = [samples.gradients("joint", seed, 8)["audio"]["left"] for seed in range(5)]
        expected = stats.t.interval(used, 4, loc=np.mean(values), scale=stats.sem(values))
        assert looks.gradients.rows[0].modalities["audio"]["left"][-1].interval == pytest.approx(expected)


def test_one_seed_has_values_and_no_interval(tmp_path: Path) -> None:
    looks = gradients(samples.write(tmp_path, seeds=(3,)))
    assert looks.n_seeds == (1, 1)
    points = [p for row in looks.rows for some in row.modalities.values() for track in some.values() for p in track]
    assert {(p.interval, p.n_seeds) for p in points} == {(None, 1)}
    assert looks.rows[0].modalities["audio"]["left"][0].mean == samples.gradients("joint", 3, 2)["audio"]["left"]


def test_rows_without_the_keys_are_not_there(tmp_path: Path) -> None:
    found = load(samples.write(tmp_path))
    assert found.gradients is not None
    assert found.weakness is not None
    assert [row.row for row in found.gradients.rows] == [
        "joint", "joint_lr", "dgl", "dgl + unique", "dgl + uniform", "dgl_film",
    ]  # fmt: skip
    assert [row.row for row in found.weakness.rows] == ["dgl + unique", "dgl + uniform"]
    assert load_details(samples.write(tmp_path / "none", rows=("video_only",))).suppression is None
    only = load(samples.write(tmp_path / "joint", rows=("joint",)))
    assert only.weakness is None


def test_null_is_no_value_and_no_fault(tmp_path: Path) -> None:
    looks = gradients(samples.write(tmp_path, rows=("joint", "dgl_film")))
    film = looks.rows[1].modalities["audio"]
    assert set(film) == {"larger", "left"}
    assert looks.n_left_out == 0
    about = {"larger": 0.5, "positive": 0.0, "larger_given": None, "larger_otherwise": 0.5, "left": 1.0, "samples": 7}
    met = {**about, "positive": 0.5, "larger_given": 1.0}
    store = one_run(tmp_path / "b", [{"epoch": 1, "gradients": {"a": about}}, {"epoch": 2, "gradients": {"a": met}}])
    row = gradients(store).rows[0]
    assert [p.epoch for p in row.modalities["a"]["larger_given"]] == [2]
    assert row.at("a", "larger_given", 1) is None
    assert row.at("a", "left", 2) is not None
    assert (row.at("b", "left", 2), row.last_epoch) == (None, 2)


GOOD = {"larger": 0.5, "left": 0.5, "samples": 4}


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ('{"epoch": 3, "gradients": {"a": {"lar', 0), ("\x00", 0), ("[]", 0), ("[" * 9999, 0),
        ({"epoch": 3, "gradients": None}, 0), ({"epoch": 3, "gradients": {}}, 0),
        ({"epoch": 3, "gradients": {"a": {}}}, 0), ({"epoch": 3, "gradients": {"a": {"larger": None}}}, 0),
        ({"epoch": 3, "gradients": []}, 1), ({"epoch": "3", "gradients": {"a": GOOD}}, 1),
        ({"gradients": {"a": GOOD}}, 1), ({"epoch": 10**400, "gradients": {"a": GOOD}}, 1),
        ({"epoch": -1, "gradients": {"a": GOOD}}, 1), ({"epoch": True, "gradients": {"a": GOOD}}, 1),
        ({"epoch": 3, "gradients": {"a": 0.5}}, 1), ({"epoch": 3, "gradients": {"a": {"larger": 1.5}}}, 1),
        ({"epoch": 3, "gradients": {"a": {"larger": -0.1, "left": -1}}}, 2),
        ({"epoch": 3, "gradients": {"a": {"larger": "0.5", "left": True, "samples": "x"}}}, 2),
        ('{"epoch": 3, "gradients": {"a": {"larger": NaN, "left": Infinity, "samples": -3}}}', 2),
        ({"epoch": 3, "gradients": {"a": {"left": 10**400}}}, 1),
    ],
)  # fmt: skip
def test_what_cannot_be_read_takes_away_itself_alone(tmp_path: Path, line: Any, faults: int) -> None:
    whole = [{"epoch": epoch, "gradients": {"a": GOOD}} for epoch in (1, 2)]
    looks = gradients(one_run(tmp_path, [*whole, line]))
    assert [p.epoch for p in looks.rows[0].modalities["a"]["larger"]] == [1, 2]
    assert (looks.n_left_out, looks.samples) == (faults, (4, 4))


def test_foreign_names_are_bounded_and_counted(tmp_path: Path) -> None:
    many = {f"m{i}": GOOD for i in range(suppression.MOST_MODALITIES + 5)}
    looks = gradients(one_run(tmp_path, [{"epoch": 1, "gradients": many}]))
    assert len(looks.modalities) == suppression.MOST_MODALITIES
    assert looks.n_left_out == 5


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GRADIENTS, *WEAKNESS, "samples", "a", "\ud800", ""]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(st.fixed_dictionaries({"epoch": ANYTHING | st.integers(0, 5), "gradients": ANYTHING,
                                       "unique": ANYTHING}), max_size=4))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_whatever_a_history_holds_it_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    found = load_details(one_run(tmp_path_factory.mktemp("any"), lines)).suppression
    for looks in (found.gradients, found.weakness) if found else ():
        for row in looks.rows if looks else ():
            for modality in row.modalities.values():
                for quantity, points in modality.items():
                    assert [p.epoch for p in points] == sorted({p.epoch for p in points})
                    assert all(0 <= p.mean <= 1 for p in points if quantity in suppression.SHARES)


def test_baselines_are_drawn_and_the_others_spread(tmp_path: Path) -> None:
    rows = tuple(f"r{i:02}" for i in range(20))
    store = samples.write(tmp_path, rows=rows, seeds=(0,))
    study = store.read_study()
    study["table"]["baseline"] = "r07"
    (store.folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    looks = gradients(store)
    drawn = [looks.rows[place].row for place in looks.drawn]
    assert len(drawn) == suppression.MOST_DRAWN
    assert {"r00", "r07", "r19"} <= set(drawn)
    assert drawn == sorted(drawn)
    assert len(looks.rows) == 20


def test_of_very_many_rows_a_part_is_read_the_baseline_among_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(suppression, "MOST_ROWS", 5)
    rows = tuple(f"r{i:02}" for i in range(12))
    store = samples.write(tmp_path, rows=rows, seeds=(0,), epochs=(1,))
    looks = gradients(store)
    assert (len(looks.rows), looks.n_unread) == (5, 7)
    assert looks.rows[0].row == "r00"


def test_seeds_of_different_length_are_averaged_where_they_are(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("joint",), seeds=(0, 1))
    path = store.run_folder("joint-1") / "history.jsonl"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:4]), encoding="utf-8")
    left = gradients(store).rows[0].modalities["audio"]["left"]
    assert [(p.epoch, p.n_seeds) for p in left] == [(2, 2), (4, 2), (6, 1), (8, 1)]
    assert left[-1].mean == samples.gradients("joint", 0, 8)["audio"]["left"]
