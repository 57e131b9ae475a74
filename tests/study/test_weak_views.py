"""Views of the digits that are made weaker on purpose: whose runs are other ones, and that old ids stay."""

from __future__ import annotations

import hashlib

import pytest

from mmablate.study import open_study, opening
from mmablate.study.reading import restricted

PIX_FOU = {
    "pix_fou+no_kd": "fbf2cfef07a5da28",
    "pix_fou+kd": "6d266274508b612b",
    "pix_fou+kd_random": "854a293cdc119ab6",
    "pix_fou+kd_general": "07de65bd6e60032e",
    "pix_fou+kd_specific": "3d519f460ea045c9",
}
ALL = "7b0e279575c7f8b0"


@pytest.fixture(autouse=True)
def any_data(monkeypatch):
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")


def planned(*overrides):
    """Row -> run of seed 0, and a mark of all runs."""
    study = open_study("mfeat_focus", seeds=[0], overrides=list(overrides))
    text = "\n".join(sorted(run.run_id for run in study.runs))
    ids = {run.rows[0]: run.run_id for run in study.runs if run.role == "student"}
    return ids, hashlib.sha256(text.encode()).hexdigest()[:16]


def test_ids_of_recipes_without_weak_views_do_not_change_with_the_version():
    ids, mark = planned()
    assert {name: run for name, run in ids.items() if name in PIX_FOU} == PIX_FOU
    assert mark == ALL


def test_a_weak_view_changes_the_runs_that_read_it_alone():
    before, after = planned()[0], planned("data.mor={noise: 2}")[0]
    assert {name for name in before if before[name] != after[name]} == {n for n in before if n.startswith("kar_mor")}


def test_a_mapping_of_modalities_is_cut_to_those_that_are_read():
    settings = {"name": "arrays", "modalities": [["a", {"files": "a.npy"}], ["b", {"files": "b.npy"}]], "b": 1,
                "labels": {"file": "y.csv"}}  # fmt: skip
    kept = restricted(settings, ("a",))
    assert kept == {"name": "arrays", "modalities": [["a", {"files": "a.npy"}]], "labels": {"file": "y.csv"}}
