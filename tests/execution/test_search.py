"""Searches for real: what is asked, trained, judged and chosen, and that nothing of it is done twice."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from execution_samples import tiles
from scipy import stats
from search_samples import NAME, asked, journal, options, plan, search, validation_means

from mmablate.analysis import build_table
from mmablate.errors import RecipeError, StoreError, UsageError
from mmablate.execution.search import fresh_seeds
from mmablate.results import StudyStore


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, search(folder, 5, sampler="tpe")


def test_trials_are_rows_of_one_study_behind_the_baseline(undisturbed):
    folder, result = undisturbed
    table = build_table(StudyStore(folder / "out", NAME))
    assert table.baseline == "rate=0.01+umd=0"
    assert [row.name for row in table.rows] == list(
        dict.fromkeys([table.baseline, *(trial.row for trial in result.search.trials)])
    )
    assert [trial.number for trial in result.search.trials] == list(range(5))
    assert all(row.n_seeds == 2 for row in table.rows)
    assert table.search == result.search


def test_the_first_trial_is_the_recipes_own_row(undisturbed):
    assert undisturbed[1].search.trials[0].row == "rate=0.01+umd=2"


def test_the_objective_is_the_mean_of_the_validation_scores(undisturbed):
    folder, result = undisturbed
    for trial in result.search.trials:
        expected = statistics.fmean(validation_means(folder / "out", trial.row, (1, 2)))
        assert trial.objective == pytest.approx(expected, abs=1e-9)
    best = max(result.search.trials, key=lambda trial: trial.objective)
    assert result.search.chosen == best.row
    base = statistics.fmean(validation_means(folder / "out", "rate=0.01+umd=0", (1, 2)))
    assert result.search.baseline_objective == pytest.approx(base, abs=1e-9)


def test_the_lower_bound_is_students(tmp_path):
    result = search(tmp_path, 2, objective="lcb", seeds=(1, 2, 3))
    for trial in result.search.trials:
        values = validation_means(tmp_path / "out", trial.row, (1, 2, 3))
        bound = statistics.fmean(values) - stats.t.ppf(0.95, 2) * statistics.stdev(values) / math.sqrt(3)
        assert trial.objective == pytest.approx(bound, abs=1e-9)


def test_the_best_row_meets_the_baseline_on_seeds_that_no_trial_has_used(undisturbed):
    folder, result = undisturbed
    table = build_table(StudyStore(folder / "out", f"{NAME}_best"))
    assert [row.name for row in table.rows] == ["rate=0.01+umd=0", result.search.chosen]
    cell = table.rows[1].cells["Mean"]
    assert list(cell.values) == ["0", "3"]
    searched = {record.seed for record in StudyStore(folder / "out", NAME).records()[0]}
    assert not {int(seed) for seed in cell.values} & searched
    base = table.rows[0].cells["Mean"]
    assert cell.delta == pytest.approx(cell.mean - base.mean, abs=1e-9)
    assert any("no trial was trained with them" in note for note in table.notes)


def test_fresh_seeds_are_the_smallest_unused_ones():
    assert fresh_seeds((0, 1, 4), 4) == [2, 3, 5, 6]
    assert fresh_seeds((7,), 1) == [0]


def test_the_same_command_asks_and_trains_nothing_again(undisturbed):
    folder, result = undisturbed
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("record.json")}
    lines = (folder / "out" / NAME / "optuna.journal").read_bytes()
    again = search(folder, 5, sampler="tpe")
    assert asked(again) == asked(result)
    assert again.search == result.search
    assert not again.outcome.trained
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("record.json")} == before
    after = (folder / "out" / NAME / "optuna.journal").read_bytes()
    assert after.startswith(lines)
    assert b'"params"' not in after[len(lines) :]
    assert len([line for line in after.splitlines() if json.loads(line)["op_code"] == 4]) == 5  # trials created


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_larger_number_of_trials_goes_on_as_if_it_had_been_asked_at_once(tmp_path, undisturbed, sampler):
    search(tmp_path, 2, sampler=sampler)
    grown = search(tmp_path, 5, sampler=sampler)
    whole = undisturbed[1] if sampler == "tpe" else search(tmp_path / "whole", 5, sampler=sampler)
    assert asked(grown) == asked(whole)
    assert len({row for row, _, _ in asked(grown)}) == 5


def test_other_seeds_or_settings_are_another_search_in_the_same_journal(tmp_path):
    first = search(tmp_path, 2)
    other = search(tmp_path, 2, seeds=(1,))
    assert [row for row, _, _ in asked(other)] == [row for row, _, _ in asked(first)]
    assert {trial.n_seeds for trial in other.search.trials} == {1}
    students = [r for r in other.outcome.trained if r.study == NAME and r.role == "student"]
    assert not students  # seed 1 of the same rows is there
    assert asked(search(tmp_path, 2)) == asked(first)


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from search_samples import journal, plan
folder = Path({folder!r})
log = journal(plan(folder, 5, sampler="tpe"), folder / "out")
with log:
    {act}
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill(folder: Path, act: str) -> None:
    """A process that does something to the journal and dies of it."""
    path = [str(Path(__file__).parent), *sys.path]
    code = KILLED.format(path=path, folder=str(folder), act=act)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    "act",
    [
        "assert [t.number for t in log.take(5, 1)] == [2]",
        "assert [t.number for t in log.take(5, 1)] == [2]; log.path.open('ab').write(b'{\"op_code\":')",
        "log.study.sampler = log._seeded(2); log.study.ask()",  # no parameter drawn, no owner
    ],
    ids=["asked", "torn line", "before its parameters"],
)
def test_killed_between_ask_and_tell_it_ends_like_an_undisturbed_search(tmp_path, undisturbed, act):
    search(tmp_path, 2, sampler="tpe")
    kill(tmp_path, act)
    result = search(tmp_path, 5, sampler="tpe")
    assert asked(result) == asked(undisturbed[1])


def test_killed_between_two_parameters_the_first_one_is_kept(tmp_path, undisturbed):
    search(tmp_path, 2, sampler="tpe")
    kill(
        tmp_path,
        "log.study.sampler = log._seeded(2); t = log.study.ask(); t.suggest_float('rate', 1e-3, 1e-1, log=True)",
    )
    trials = search(tmp_path, 5, sampler="tpe").search.trials
    assert [trial.state for trial in trials] == ["complete"] * 5
    assert trials[2].values["rate"] == undisturbed[1].search.trials[2].values["rate"]


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path):
    of = plan(tmp_path, 3)
    first, second = journal(of, tmp_path / "out"), journal(of, tmp_path / "out")
    with first, second:
        assert [trial.number for trial in first.take(3, 2)] == [0, 1]
        assert [trial.number for trial in second.take(3, 2)] == [2]
        assert second.take(3, 2) == []
        assert second.others_work()
    third = journal(of, tmp_path / "out")
    with third:  # both are gone
        assert [trial.number for trial in third.take(3, 5)] == [0, 1, 2]


@pytest.mark.slow
def test_two_processes_share_the_trials_and_train_no_run_twice(tmp_path):
    plan(tmp_path, 6)  # writes the recipe
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "from search_samples import search\n"
        f"result = search(Path({str(tmp_path)!r}), 6)\n"
        "print([r.run_id for r in result.outcome.trained])\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": "1"})
        for _ in range(2)
    ]  # fmt: skip
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    result = search(tmp_path, 6)
    assert [state for _, state, _ in asked(result)] == ["complete"] * 6
    assert not result.outcome.trained
    workers: dict[str, set[str]] = {}
    for study in (NAME, f"{NAME}_best"):
        for record in StudyStore(tmp_path / "out", study).records()[0]:
            workers.setdefault(record.run_id, set()).add(str(record.environment["worker"]))
    assert all(len(some) == 1 for some in workers.values())


def test_pruned_trials_stop_early_and_are_compared_with_nothing(tmp_path):
    result = search(tmp_path, 12, prune="median", sampler="tpe", seeds=(1, 2, 3))
    pruned = [trial for trial in result.search.trials if trial.state == "pruned"]
    assert pruned  # the trials are seeded: some of these are worse than most
    table = build_table(StudyStore(tmp_path / "out", NAME))
    rows = {row.name: row for row in table.rows}
    for trial in pruned:
        row = rows[trial.row]
        assert trial.objective is None
        assert row.pruned
        assert row.n_seeds == trial.n_seeds == 2
        assert all(cell.delta is None and not cell.best and not cell.tied for cell in row.cells.values())
        means = validation_means(tmp_path / "out", trial.row, (1, 2))
        earlier = [
            statistics.fmean(validation_means(tmp_path / "out", other.row, (1, 2)))
            for other in result.search.trials
            if other.state == "complete" and other.number < trial.number
        ]
        assert statistics.fmean(means) < statistics.median(earlier)
    assert result.search.chosen not in {trial.row for trial in pruned}
    assert any("Stopped before the last seed" in note for note in table.notes)
    assert not any(note.startswith("Not trained yet") for note in table.notes)
    with pytest.raises(UsageError, match="stopped that row"):
        build_table(StudyStore(tmp_path / "out", NAME), baseline=pruned[0].row)


def test_a_failed_trial_is_told_and_tried_again_only_where_that_is_asked_for(tmp_path):
    broken = ("train.optimizer=sgd", "train.precision=float32", "sweep.rate.range=[1e-3,1e30]")
    result = search(tmp_path, 4, *broken, sampler="random", parameters=("rate", "umd"))
    failed = [trial for trial in result.search.trials if trial.state == "failed"]
    assert failed
    assert result.outcome.failed
    assert result.search.chosen not in {trial.row for trial in failed}
    again = search(tmp_path, 4, *broken)
    assert len(again.search.trials) == 4
    assert {r.run_id for r in again.outcome.failed} == {r.run_id for r in again.outcome.known_failures}
    retried = search(tmp_path, 4, *broken, retry_failed=True)
    rows = [trial.row for trial in retried.search.trials]
    assert rows[4:] == [trial.row for trial in failed]


def test_nothing_is_written_for_a_search_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="a confidence bound needs two seeds"):
        search(tmp_path, 2, objective="lcb", seeds=(1,))
    with pytest.raises(UsageError, match=r"search.column: a column of the table \(V, N"):
        search(tmp_path, 2, column="Q")
    with pytest.raises(RecipeError, match="row 'rate=-1'"):
        search(tmp_path, 2, "sweep.rate={range: [-1, 1], log: false}", parameters=("rate",))
    assert not (tmp_path / "out").exists()


def test_a_journal_of_something_else_is_told_by_its_name(tmp_path):
    folder = tmp_path / "out" / NAME
    folder.mkdir(parents=True)
    (folder / "optuna.journal").write_text("no journal\nat all\n")
    with pytest.raises(StoreError, match=r"optuna\.journal: not the journal of a search"):
        search(tmp_path, 2)
    assert (folder / "optuna.journal").read_text() == "no journal\nat all\n"


def test_importance_names_the_parameter_that_matters(tmp_path):
    result = search(tmp_path, 14, sampler="random", seeds=(1,))
    shares = result.search.importance
    assert set(shares) == {"rate", "umd"}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["rate"] > shares["umd"]  # of one epoch the learning rate decides


def test_options_and_data_are_those_of_every_other_study(undisturbed):
    folder, result = undisturbed
    assert options(folder).out == folder / "out"
    assert tiles().scored_split == "test"
    assert result.search.optimistic is False
