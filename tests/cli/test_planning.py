"""What a plan of many rows prints."""

from __future__ import annotations

import pytest

from mmablate.cli.planning import planned_rows
from mmablate.study import open_study


@pytest.mark.parametrize(("count", "shown"), [(3, (3, 0, 0)), (40, (40, 0, 0)), (41, (35, 1, 5)), (500, (35, 460, 5))])
def test_rows_and_runs_are_counted_and_long_plans_cut(count, shown):
    levels = ", ".join(f"l{i}: {{train.lr: {i + 1}}}" for i in range(count))
    overrides = [f"factors={{rate: {{{levels}}}}}", "rows={product: [rate]}", "baseline=null", "claims=[]"]
    study = open_study("landsat_losses", overrides=overrides, seeds=[0, 1])
    students = [run for run in study.runs if run.role == "student"]
    done = {run.run_id for run in students if run.rows == ("l0",)} | {students[-1].run_id}
    first, left_out, last = planned_rows(study.rows, [row.name for row in study.rows], study.runs, done)
    assert (len(first), left_out, len(last)) == shown
    assert all(planned.runs == 2 for planned in (*first, *last))
    found = {planned.row.name: planned.finished for planned in (*first, *last)}
    assert {name for name, finished in found.items() if finished} == {"l0", f"l{count - 1}"}
    assert found["l0"] == 2
    assert found[f"l{count - 1}"] == 1


def test_only_rows_asked_for_are_planned():
    study = open_study("landsat_losses", seeds=[0])
    first, left_out, last = planned_rows(study.rows, ["sup"], study.runs, set())
    assert [planned.row.name for planned in first] == ["sup"]
    assert (left_out, last) == (0, [])
