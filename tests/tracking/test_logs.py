"""What is read from the store for a tracker: settings, curves, scores, marks; and names for all of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_samples import made_failure, made_lines, made_record, made_run, made_study

from mmablate.errors import UsageError
from mmablate.tracking.logs import counted_runs, flattened, read_run
from mmablate.tracking.naming import marked_name, safe_keys, safe_name
from mmablate.tracking.trackers import Wish, parse_trackers


@pytest.fixture
def store(tmp_path):
    return made_study(tmp_path, {"a": "sup", "b": "sup+mad"})


def logged(store, record, lines=None):
    made_run(store, record, lines)
    return read_run(store, store.read_study(), record)


def test_settings_are_flat_and_named_by_their_keys():
    losses = [{"key": "mad", "weight": 2}, {"weight": 3}]
    nested = {"train": {"lr": 0.1, "augment": {}}, "losses": losses, "widths": [1, 2]}
    assert dict(flattened(nested)) == {
        "train.lr": 0.1,
        "train.augment": "{}",
        "losses.mad.key": "mad",
        "losses.mad.weight": 2,
        "losses.1.weight": 3,
        "widths": "[1, 2]",
    }


def test_a_run_says_what_it_is_and_nothing_of_the_machine(store):
    store.start_run("a", {"run_id": "a", "weights": "/elsewhere/weights.pt", "data": {"root": "/data"}})
    record = made_failure("a", seed=7, role="student")
    store.finish_run(record)
    run = read_run(store, store.read_study(), record)
    assert run.name == "sup, seed 7"
    assert run.tags == ("student", "failed")
    assert run.error == "NonFiniteLoss: loss term 'mad' became nan (step 17)"
    assert run.config["weights"] == "…/weights.pt"
    told = json.dumps(run.config)
    for secret in ("elsewhere", "host:7", "/data", '"me"'):
        assert secret not in told
    assert not any(value in told for name, value in os.environ.items() if len(value) > 8 and "PATH" in name)


@pytest.mark.parametrize("by", ["record", "study"])
def test_generated_data_cannot_lose_their_mark(tmp_path, by):
    dataset = {"name": "d", "synthetic": by == "study"}
    store = made_study(tmp_path, {"a": "sup"}, dataset=dataset)
    run = logged(store, made_record("a", synthetic=by == "record"))
    assert "synthetic data" in run.tags
    assert run.config["synthetic"] is True


def test_curves_of_a_damaged_history(store):
    record = made_record("a")
    made_run(store, record, [*made_lines(1), {"epoch": True, "step": 20, "losses": {"sup": None, "mad": "x"}}])
    with (store.run_folder("a") / "history.jsonl").open("a") as file:
        file.write('[1]\n{"epoch": 3, "lo')
    run = read_run(store, store.read_study(), record)
    assert [(p.step, dict(p.values)) for p in run.points] == [
        (10, {"epoch": 1.0, "loss/sup": 1.0, "lr": 0.1, "seconds": 1.0}),
        (20, {}),
    ]


@pytest.mark.parametrize("steps", [[2, 1], [1, None], [1, True], [1, -2], [1, 2**70], [1, 1.5]])
def test_steps_never_go_back(store, steps):
    lines = [{"step": step, "loss": 1.0} for step in steps]
    run = logged(store, made_record("a"), lines)
    assert [point.step for point in run.points] == [1, 2]


def test_programs_report_whatever_they_like(store):
    run = logged(store, made_record("a"), [{"step": 5, "acc": 1, "nested": {"x": 2, "y": {"z": 3}}, "seconds": 0.5}])
    (point,) = run.points
    assert (point.step, dict(point.values)) == (5, {"acc": 1.0, "nested/x": 2.0, "nested/y/z": 3.0, "seconds": 0.5})


def test_the_digest_is_of_what_was_computed(store):
    first = logged(store, made_record("a"))
    os.utime(store.run_folder("a") / "record.json", (5, 5))
    assert read_run(store, store.read_study(), made_record("a", seconds=99.0)).digest == first.digest
    slower = [{**line, "seconds": 50.0} for line in made_lines(2)]
    assert logged(store, made_record("a"), slower).digest == first.digest
    others = [
        logged(store, made_record("a", metrics={"V": 50.00001})),
        logged(store, made_failure("a")),
        logged(store, made_record("a"), made_lines(3)),
        logged(store, made_record("a", seed=1)),
        replace(first, digest=logged(made_study(store.out, {"a": "other"}), made_record("a")).digest),
    ]
    assert len({first.digest, *(run.digest for run in others)}) == 6


def test_superseded_runs_do_not_count(tmp_path):
    store = made_study(tmp_path, {"b": "sup", "a": "sup+mad"})
    study = store.read_study()
    study["superseded"] = [{"run_id": "old"}]
    records = [made_record(run_id) for run_id in ("a", "b", "copied", "old")]
    assert [record.run_id for record in counted_runs(study, records)] == ["b", "a", "copied"]


@settings(max_examples=50)
@given(st.text(), st.integers(20, 120))
def test_names_stay_where_they_are_put(name, longest):
    for made in (safe_name(name, longest=longest), marked_name(name, longest=longest)):
        assert 0 < len(made) <= longest
        assert not made.startswith(".")
        assert not set(made) & set("/\\:\0\n\r*?")
    assert safe_name(safe_name(name)) == safe_name(name)


@settings(max_examples=50)
@given(st.lists(st.text(), unique=True))
def test_two_keys_stay_two(names):
    keys = safe_keys(names, r"\w. -", 240)
    assert len(set(keys.values())) == len(names)
    assert all(len(key) <= 249 and ".." not in key.split("/") for key in keys.values())


def test_what_track_takes():
    assert parse_trackers(["wandb, mlflow", "tensorboard", "mlflow"]) == (
        Wish("wandb"), Wish("mlflow"), Wish("tensorboard"),
    )  # fmt: skip
    assert parse_trackers(["wandb:online"]) == (Wish("wandb", online=True),)
    assert parse_trackers(["wandb:offline"]) == (Wish("wandb"),)
    for text in ("", "comet", "mlflow:online", "wandb:", "wandb,,mlflow", "wandb:yes"):
        with pytest.raises(UsageError, match="--track"):
            parse_trackers([text])


def test_ids_that_somebody_else_gave(tmp_path):
    store = made_study(tmp_path, {})
    found = set()
    for name in ("table", "it's", "x-a", "[a]", "*", "a"):
        run = logged(store, made_record(name))
        assert run.config["run_id"] == name
        assert run.run_id.isalnum()
        found.add(run.run_id)
    assert len(found) == 6
    assert "table" not in found
