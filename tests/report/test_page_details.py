"""What the study's page tells besides its scores, read from folders in every state, and how it is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import HOSTILE, losses, with_failures
from test_study_page import Page, assert_self_contained

from mmablate.analysis import courses, details, histories, settings
from mmablate.analysis.details import StudyDetails, load_details
from mmablate.analysis.usage import RowUse
from mmablate.cli.tables import write_study_page
from mmablate.report.study_page import render_study
from mmablate.results import RunError, RunRecord, StudyStore

ROWS = ("sup", "sup+mad")
ENVIRONMENT = {"worker": "secret-host:77", "seconds_waiting": 0.25, "device": "cpu", "torch": "2.13.0", "threads": 1}


def epoch(number: int, value: float, *, mad: bool = False, mean: float | None = None) -> dict[str, Any]:
    terms = {"sup": value, **({"mad": value / 10} if mad else {})}
    return {"epoch": number, "losses": terms, "val": None if mean is None else {"F": 1.0, "Mean": mean}}


def config(row: str, seed: int, **changes: Any) -> dict[str, Any]:
    terms = [{"key": "sup", "term": "sup", "weight": 1.0}, {"key": "mad", "term": "mad", "weight": 13.2}]
    return {
        "run_id": f"{row}{seed}", "seed": seed, "compute": 1,
        "data": {"name": "made", "fingerprint": "x", "root": "/data/anna/data"},
        "losses": terms if "mad" in row else terms[:1],
        "train": {"lr": 1e-3 if "mad" in row else 0.002, "epochs": 3},
        "teacher": {"run": f"t{seed}"} if "mad" in row else None,
        **changes,
    }  # fmt: skip


def study(tmp_path: Path, **changes: Any) -> StudyStore:
    """Two rows of two seeds, three epochs each, every file in its place."""
    store = StudyStore(tmp_path, "made")
    store.prepare()
    plan = []
    for row in ROWS:
        for seed in (0, 1):
            run_id = f"{row}{seed}"
            plan.append(
                {"run_id": run_id, "role": "student", "seed": seed, "rows": [row], "cells": {}, "depends_on": []}
            )
            store.start_run(run_id, config(row, seed))
            for number in (1, 2, 3):
                mean = 20.0 + number + seed if number > 1 else None
                store.append_history(run_id, epoch(number, 1.0 / number + seed, mad="mad" in row, mean=mean))
            store.finish_run(record(run_id, row, seed))
    info = {"metric": "mIoU", "unit": "%", "direction": "max", "subset": True}
    made = {
        "name": "made", "plan": plan, "execution": {"mode": "in_turn", "threads": 1}, "created": "2026-01-02T03:04:05",
        "recipe": {"name": "made", "data": {"root": "/data/anna/data", "name": "made"},
                   "teacher": {"checkpoint": "/data/anna/teacher.safetensors"},
                   "losses": {"sup": {"label": "sup"}, "mad": {"label": "mad"}}},
        "table": {"rows": [{"name": name, "label": f"L_{name}"} for name in ROWS], "baseline": "sup",
                  "columns": ["F", "Mean"], "column_info": {"F": info, "Mean": {**info, "subset": False}}},
    }  # fmt: skip
    store.update_study(lambda old: {**made, **changes})
    return store


def record(run_id: str, row: str | None, seed: int, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": run_id, "study": "made", "row": row, "seed": seed, "status": "ok", "error": None,
        "metrics": {"F": 30.0, "Mean": 30.0}, "n_parameters": 5, "seconds": 1.5, "steps": 9, "depends_on": [],
        "digests": {}, "environment": ENVIRONMENT, "selected_epoch": 2,
    }  # fmt: skip
    return RunRecord(**(fields | changes))


# --- reading ----------------------------------------------------------------------------------------------


def test_curves_are_means_over_seeds_with_their_range(tmp_path: Path) -> None:
    training = load_details(study(tmp_path)).training
    assert training is not None
    assert [panel.name for panel in training.terms] == ["sup", "mad"]
    assert [panel.label for panel in training.terms] == ["L_{sup}", "L_{mad}"]
    sup, mad = training.terms
    assert [course.row for course in sup.courses] == ["L_sup", "L_sup+mad"]
    assert [course.place for course in mad.courses] == [1]
    point = sup.courses[0].points[1]
    assert (point.epoch, point.low, point.high) == (2, 0.5, 1.5)
    assert point.mean == pytest.approx(1.0)
    assert training.validation is not None
    assert [p.epoch for p in training.validation.courses[0].points] == [2, 3]
    assert training.validation.courses[0].selected == ((2, 22.0), (2, 23.0))
    assert training.n_seeds == 2


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"epoch": 4, "losses": {"sup": 0.1', b"\xff\xfe\x00", b"[1, 2]\nnull\n7\n",
     b'{"epoch": true, "losses": {}}',
     b'{"epoch": 9, "losses": {"sup": null, "mad": "x", "z": NaN}, "val": 3}', b"[" * 9999,
     b'{"epoch": 9, "losses": {"sup": ' + b"9" * 5000 + b"}}", b'{"losses": 5}\n{"epoch": "2"}'],
)  # fmt: skip
def test_lines_that_cannot_be_read_take_away_themselves_alone(tmp_path: Path, damage: bytes) -> None:
    store = study(tmp_path)
    whole = load_details(store)
    for folder in store.runs.iterdir():
        with (folder / "history.jsonl").open("ab") as file:
            file.write(damage)
    assert load_details(store) == whole


def test_missing_and_foreign_files_take_away_their_own_lines(tmp_path: Path) -> None:
    store = study(tmp_path)
    (store.runs / "sup0" / "config.json").unlink()
    (store.runs / "sup1" / "history.jsonl").unlink()
    (store.runs / "foreign").mkdir()
    (store.runs / "foreign" / "notes.txt").write_text("mine")
    found = load_details(store)
    assert found.diffs[0].changes  # of the other seed
    assert found.training is not None
    assert found.training.terms[0].courses[0].points[0].low == found.training.terms[0].courses[0].points[0].high
    (store.runs / "sup1" / "config.json").write_text('["no settings"]')
    assert load_details(store).diffs[0].changes is None
    assert "could not be read" in render_study(losses(), details=load_details(store))
    for folder in store.runs.glob("sup*"):
        (folder / "history.jsonl").unlink(missing_ok=True)
    assert load_details(store).training is None


@pytest.mark.parametrize("odd", [None, [], "x", {"losses": []}, {"losses": {"sup": "x"}}])
def test_a_study_without_a_usable_recipe_has_the_rest(tmp_path: Path, odd: object) -> None:
    found = load_details(study(tmp_path, recipe=odd, execution=odd, created=None, profile=3))
    assert found.training is not None
    assert found.training.terms[0].label == "L_{sup}"
    assert_self_contained(Page(render_study(losses(), details=found)))


@pytest.mark.parametrize("kind", ["mappings", "lists"])
def test_a_recipe_nested_without_end_is_told_to_a_depth(tmp_path: Path, kind: str) -> None:
    deep: Any = {"innermost": 1}
    for _ in range(900):
        deep = {"a": deep} if kind == "mappings" else [deep]
    store = study(tmp_path, recipe={"name": "made", "deep": deep, "empty": {"a": [[], {}]}})
    table, page = write_study_page(store)
    text = page.read_text(encoding="utf-8")
    assert table.study == "made"
    assert "…" in text.partition("<pre>")[2].partition("</pre>")[0]
    assert "innermost" not in text
    usual: Any = 1
    for _ in range(settings.DEEPEST):
        usual = {"a": usual}
    assert settings.without_paths(usual) == usual
    assert settings.without_paths([usual]) != [usual]


def test_many_rows_and_seeds_are_told_by_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StudyStore(tmp_path, "made")
    names = [f"r{i}" for i in range(30)]
    records = [record(f"{name}-{seed}", name, seed) for name in names for seed in range(20)]
    table = {"rows": [{"name": name} for name in names], "columns": ["Mean"], "column_info": {"Mean": {}}}
    (store.folder).mkdir()
    (store.folder / "study.json").write_text(json.dumps({"name": "made", "plan": [], "table": table}))
    read: list[Path] = []
    monkeypatch.setattr(courses, "history_lines", lambda path: read.append(path) or [epoch(1, 1.0), epoch(2, 0.5)])
    training = load_details(store, records=records).training
    assert training is not None
    assert len(read) == courses.MOST_ROWS * histories.MOST_SEEDS
    assert training.rows[0] == "r0"
    assert training.rows[-1] == "r29"
    assert training.n_rows == 30
    assert "8 of 30 rows" in render_study(losses(), details=load_details(store, records=records))


def test_long_trainings_are_thinned_and_keep_both_ends() -> None:
    points = courses._points([{i: float(i) for i in range(1, 5001)}])
    assert len(points) <= 152
    assert (points[0].epoch, points[-1].epoch) == (1, 5000)


# --- settings ---------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_settings_alone(tmp_path: Path) -> None:
    (diff,) = load_details(study(tmp_path)).diffs
    assert (diff.row, diff.baseline) == ("L_sup+mad", "L_sup")
    assert diff.changes is not None
    assert [(c.key, c.before, c.after) for c in diff.changes] == [
        ("losses.mad", "–", "weight 13.2"),
        ("train.lr", "0.002", "0.001"),
        ("teacher", "null", "{}"),
    ]


def test_what_is_equal_is_no_change() -> None:
    first = {"a": 1, "b": [1, 2], "losses": [{"key": "x", "w": 1}, {"key": "y", "w": 2}]}
    assert settings.changes(first, {**first, "a": 1.0, "losses": first["losses"][::-1], "seed": 9}) == ()
    (change,) = settings.changes(first, {**first, "a": True})
    assert (change.key, change.before, change.after) == ("a", "1", "true")


def test_no_folder_of_the_machine_reaches_the_page(tmp_path: Path) -> None:
    store = study(tmp_path)
    text = render_study(losses(), details=load_details(store))
    assert "anna" not in text
    assert "secret-host" not in text
    assert "root:" not in text
    assert "…/teacher.safetensors" in text


@pytest.mark.parametrize(
    ("value", "kept"),
    [("/data/anna/x.pt", "…/x.pt"), ("~/x", "…/x"), (r"C:\Users\Anna\x.pt", "…/x.pt"), ("train --on /data/anna/set now",
     "train --on …/set now"), ("a/b", "a/b"), ("km/h", "km/h"), ("50 / 60", "50 / 60"), ("/", "/"), ("https://a.b/c/d",
     "https://a.b/c/d"), ("x", "x")],
)  # fmt: skip
def test_absolute_paths_keep_their_name_only(value: str, kept: str) -> None:
    assert settings.without_paths({"a": [value]}) == {"a": [kept]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
MAPPINGS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


@given(MAPPINGS, MAPPINGS)
def test_any_two_settings_can_be_compared(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert settings.changes(first, first) == ()
    forth, back = settings.changes(first, second), settings.changes(second, first)
    assert sorted((c.key, c.before, c.after) for c in forth) == sorted((c.key, c.after, c.before) for c in back)


# --- machines and failures --------------------------------------------------------------------------------


def test_machines_that_differ_are_said(tmp_path: Path) -> None:
    store = study(tmp_path)
    alike = Page(render_study(losses(), details=load_details(store)))
    assert "2.13.0" in alike.text
    assert "not made alike" not in alike.text
    assert "seconds waiting" not in alike.text
    store.finish_run(record("sup1", "sup", 1, environment={**ENVIRONMENT, "torch": "2.9.1"}))
    told = Page(render_study(losses(), details=load_details(store))).text
    assert "The runs were not made alike: they differ in PyTorch." in told
    assert "2.13.0 (3 runs), 2.9.1 (1 run)" in told


def used(*, memory: object = None, share: object = None, group: object = None) -> dict[str, Any]:
    told = {"peak_memory_mb": memory, "utilisation": share, "group": group}
    return {**ENVIRONMENT, **{name: value for name, value in told.items() if value is not None}}


def uses_on_the_page(found: StudyDetails) -> str:
    text = render_study(losses(), details=found)
    assert_self_contained(Page(text))
    return " ".join(Page(text).text.partition("Memory and device used by row")[2].split())


def test_memory_and_device_are_medians_over_the_finished_runs_of_a_row(tmp_path: Path) -> None:
    store = study(tmp_path)
    group = ["sup0", "sup1", "sup2"]
    for seed, (memory, share) in enumerate([(100, 0.5), (300.4, 0.9), (200, 0.61)]):
        store.finish_run(record(f"sup{seed}", "sup", seed, environment=used(memory=memory, share=share, group=group)))
    store.finish_run(failed("sup3", "sup", 3, "out of memory", 1, environment=used(memory=9999, share=0.01)))
    store.finish_run(record("sup+mad0", "sup+mad", 0, environment=used(memory=512)))
    store.finish_run(record("t0", None, 0, role="teacher", environment=used(memory=64.6, share=1)))
    found = load_details(store)
    assert [(u.row, u.peak_memory_mb, u.utilisation, u.together) for u in found.uses] == [
        ("teacher", 64.6, 1.0, 1), ("L_sup", 200.0, 0.61, 3), ("L_sup+mad", 512.0, None, 1),
    ]  # fmt: skip
    told = uses_on_the_page(found)
    for words in ("teacher65 MB100 %", "200 MB61 %", "512 MB–", "up to 3 in a group"):
        assert words in told
    # They are no properties of the machines, which would make every two runs differ.
    page = Page(render_study(losses(), details=found)).text
    assert "not made alike" not in page
    assert "peak memory mb" not in page


def test_without_measures_nothing_is_shown(tmp_path: Path) -> None:
    found = load_details(study(tmp_path))
    assert found.uses == ()
    assert uses_on_the_page(found) == ""


@pytest.mark.parametrize("odd", ["512", True, -1, 10**400, [3], {"mb": 3}])
def test_odd_measures_are_none(tmp_path: Path, odd: object) -> None:
    store = study(tmp_path)
    store.finish_run(record("sup0", "sup", 0, environment=used(memory=odd, share=odd, group=odd)))
    assert load_details(store).uses == ()
    store.finish_run(record("sup1", "sup", 1, environment=used(memory=7, group=[])))
    (use,) = load_details(store).uses
    assert (use.peak_memory_mb, use.utilisation, use.together) == (7.0, None, 1)
    assert "in a group" not in uses_on_the_page(load_details(store))


def test_uses_beyond_the_page_are_counted(tmp_path: Path) -> None:
    records = [record(f"x{i}", f"row{i}", 0, environment=used(memory=i)) for i in range(107)]
    assert "7 further rows are left out" in uses_on_the_page(load_details(study(tmp_path), records=records))


def failed(run_id: str, row: str | None, seed: int, message: str, step: int | None, **changes: Any) -> RunRecord:
    error = RunError(type="NonFiniteLoss", message=message, step=step)
    return record(run_id, row, seed, status="failed", error=error, metrics={}, **changes)


def test_failures_have_one_section_with_reason_and_step(tmp_path: Path) -> None:
    store = study(tmp_path)
    for seed in (0, 1):
        store.finish_run(failed(f"sup+mad{seed}", "sup+mad", seed, "loss term 'mad' became nan", 17))
    store.finish_run(failed("t0", None, 0, "out of memory", None, role="teacher"))
    found = load_details(store)
    assert [(f.row, f.seeds, f.step) for f in found.failures] == [("teacher", (0,), None), ("L_sup+mad", (0, 1), 17)]
    assert found.n_failures == 3
    text = render_study(with_failures(), details=found)
    assert 'class="failures"' not in text  # they stand in one place
    assert 'class="failures"' in render_study(with_failures())
    page = Page(text)
    assert_self_contained(page)
    section = page.text.partition("What failed")[2].partition("Settings by row")[0]
    for words in ("NonFiniteLoss", "became nan", "17", "0, 1", "out of memory", "–"):
        assert words in section
    assert {"href": "#failures"} in page.all("a")


def test_failures_beyond_the_page_are_counted(tmp_path: Path) -> None:
    records = [failed(f"x{i}", "sup", i, f"reason {i}", i) for i in range(details.MOST_FAILURES + 7)]
    text = render_study(losses(), details=load_details(study(tmp_path), records=records))
    assert "7 further failed runs are left out" in text


# --- printing ---------------------------------------------------------------------------------------------


def test_sections_stand_in_order_and_are_linked(tmp_path: Path) -> None:
    page = Page(render_study(losses(), details=load_details(study(tmp_path))))
    assert_self_contained(page)
    anchors = ["training", "settings", "recipe", "machines"]
    assert [a["href"] for a in page.all("a")] == [f"#{anchor}" for anchor in anchors]
    assert [s["id"] for s in page.all("section")] == ["t1", *anchors]
    assert "checkpoint: …/teacher.safetensors" in page.text
    assert "in turn" in page.text


def test_a_finished_study_gets_its_page_and_its_figures(tmp_path: Path) -> None:
    store = study(tmp_path)
    table, page = write_study_page(store)
    assert table.study == "made"
    assert_self_contained(Page(page.read_text(encoding="utf-8")))
    names = {path.name for path in (store.folder / "figures").iterdir()}
    assert {"training_sup.svg", "training_mad.pdf", "validation.svg"} <= names
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    write_study_page(store)
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_page_without_details_has_none_of_it() -> None:
    page = Page(render_study(losses()))
    assert [s["id"] for s in page.all("section")] == ["t1"]


def test_hostile_details_stay_text(tmp_path: Path) -> None:
    store = study(tmp_path)
    found = load_details(store)
    assert found.training is not None
    term = found.training.terms[0]
    course = courses.Course(HOSTILE, 0, term.courses[0].points)
    odd = StudyDetails(
        training=courses.Training((courses.Panel(HOSTILE, HOSTILE, (course,)),), None, (HOSTILE,), 1, False, 1),
        recipe={HOSTILE: [HOSTILE, {"x": "a\n</script><script>"}]},
        diffs=(details.RowDiff(HOSTILE, HOSTILE, (settings.Change(HOSTILE, HOSTILE, HOSTILE),)),),
        n_diffs=1,
        facts=(details.Fact(HOSTILE, ((HOSTILE, 1), (HOSTILE + "2", 1))),),
        failures=(details.Failure(HOSTILE, (0,), HOSTILE, HOSTILE, 3),),
        n_failures=1, n_runs=1, seconds=1.0, execution={"mode": HOSTILE}, created=HOSTILE, profile=HOSTILE,
        uses=(RowUse(HOSTILE, 1.0, 0.5),),
    )  # fmt: skip
    text = render_study(losses(), details=odd)
    page = Page(text)
    assert_self_contained(page)
    assert len(page.scripts) == 1
    assert "\x1b" not in text
    assert page.text.count("<script>alert('x')</script>") > 8
