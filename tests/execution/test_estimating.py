"""What a plan says of its cost: the schedule played through with measured figures."""

from dataclasses import replace
from pathlib import Path

import pytest
from execution_samples import small_study
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.cli.planning import make_plan, parse_budget, spoken, summary, within_budget
from mmablate.errors import UsageError
from mmablate.execution.estimating import AROUND_SECONDS, estimate
from mmablate.execution.grouping import group_runs
from mmablate.execution.local import probe_study
from mmablate.execution.options import Options
from mmablate.execution.pending import wanted_runs
from mmablate.execution.probes import Figures, Probes
from mmablate.execution.shapes import run_shape, shared_shape
from mmablate.study import Study

FIGURES = Figures(
    step=0.5, sample=0.0, build=0.0, finish=0.0, memory_mb=100, steps_per_epoch=10, n_val=4, n_scored=6, startup=0.0,
    device="a processor", kind="cpu", jobs=2,
)  # fmt: skip
FREE = replace(FIGURES, step=0.0)


def known(folder: Path, study: Study, run: Figures = FIGURES, shared: Figures = FREE) -> Probes:
    """Figures for every shape of a study."""
    probes = Probes(folder / "probes.json")
    probes.add({run_shape(spec): run for spec in study.runs})
    probes.add({shared_shape(group): shared for group in group_runs(study.runs)})
    return probes


def test_a_shape_is_what_time_depends_on(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    shapes = {run_shape(spec) for spec in study.runs}
    assert len(shapes) == 4, "the teacher's and one a row, whatever the seed"
    same = small_study(tmp_path, "losses.mad.weight=2", "train.epochs=3", "train.lr=0.1", "evaluate.every=2")
    assert {run_shape(spec) for spec in same.runs} == shapes
    for override in ("train.batch_size=7", "model.widths=[8]", "losses.mad.temperature=2", "train.clip=1"):
        other = {run_shape(spec) for spec in small_study(tmp_path, override).runs}
        assert other != shapes, override


def test_one_job_is_the_sum_and_more_wait_for_teachers(tmp_path: Path) -> None:
    study = small_study(tmp_path, "train.epochs=4")  # 2 teachers and 6 students of 4 epochs x 10 steps x 0.5 s = 20 s
    probes = known(tmp_path, study)
    seconds = {jobs: estimate(study.runs, probes, kind="cpu", jobs=jobs).seconds for jobs in (1, 2, 3)}
    assert seconds[1] == pytest.approx(8 * 20 + AROUND_SECONDS)
    assert seconds[2] == pytest.approx(20 + 3 * 20 + AROUND_SECONDS), "two teachers, then three students a seed"
    # With three, the one whose student needs no teacher begins at once; groups are split for the idle.
    assert 60 + AROUND_SECONDS <= seconds[3] < seconds[2]


def test_common_work_builds_and_evaluations_count(tmp_path: Path) -> None:
    study = small_study(tmp_path, "train.epochs=5", "evaluate.every=2")
    run = replace(FIGURES, step=0.1, sample=0.01, build=1.0, finish=2.0)
    shared = replace(FREE, step=0.2, sample=0.02, build=4.0, startup=3.0)
    # Validated after epochs 2, 4 and 5 (4 samples each), scored once (6 samples).
    own, common = 50 * 0.1 + 18 * 0.01 + 3, 50 * 0.2 + 18 * 0.02 + 4
    found = estimate(study.runs, known(tmp_path, study, run, shared), kind="cpu", jobs=1)
    assert found.seconds == pytest.approx(3 + 8 * own + 4 * common + AROUND_SECONDS)
    assert found.memory_mb == 100
    assert found.devices == ("a processor",)


def test_what_is_not_measured_is_named_and_gives_no_number(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    probes = known(tmp_path, small_study(tmp_path, "rows=[[sup],[sup,mad]]"))
    found = estimate(study.runs, probes, kind="cpu", jobs=2)
    assert found.seconds is None
    (group,) = found.missing
    assert {spec.rows[0] for spec in group.specs} == {"sup", "sup+mad", "sup+mad+umd"}
    assert estimate(study.runs, probes, kind="cuda", jobs=2).missing, "a processor's figures are not a card's"


@given(jobs=st.integers(1, 9), step=st.floats(0.001, 10), epochs=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_more_jobs_never_take_longer_than_one_nor_less_than_their_share(
    tmp_path_factory: pytest.TempPathFactory, jobs: int, step: float, epochs: int
) -> None:
    folder = tmp_path_factory.mktemp("estimate")
    study = small_study(folder, f"train.epochs={epochs}")
    probes = known(folder, study, replace(FIGURES, step=step))
    one = estimate(study.runs, probes, kind="cpu", jobs=1).seconds
    many = estimate(study.runs, probes, kind="cpu", jobs=jobs).seconds
    assert one is not None
    assert many is not None
    work = one - AROUND_SECONDS
    assert work / jobs * (1 - 1e-9) <= many - AROUND_SECONDS <= work * (1 + 1e-9)


def test_a_budget_leaves_out_seeds_from_the_end(tmp_path: Path) -> None:
    study = small_study(tmp_path, "train.epochs=4", "seeds=[3,1,2]")
    probes = known(tmp_path, study)
    rows = [row.name for row in study.rows]

    def plan(seeds):
        return make_plan(study, rows, seeds, out=tmp_path / "out", device="cpu", jobs=1, force=False, probes=probes)

    whole = plan(study.seeds)
    assert within_budget(whole, 3 * 80 + AROUND_SECONDS, plan) is whole
    assert within_budget(whole, 3 * 80 + AROUND_SECONDS - 1, plan).seeds == (3, 1)
    assert within_budget(whole, 80 + AROUND_SECONDS, plan).seeds == (3,)
    with pytest.raises(UsageError, match="one seed alone takes about 83 s, all 3 about 4 min 3 s"):
        within_budget(whole, 80, plan)
    lines = summary(whole)
    assert lines[0] == "9 cells; 3 teachers, trained once for all rows of a seed"
    assert lines[1].startswith("12 runs, 0 finished, 12 to train in 6 groups")
    assert lines[2].startswith("about 4 min 3 s, 100 MB")


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90min", 5400), ("1h30min", 5400), ("45s", 45), ("1.5h", 5400), ("5m", 300)]
)
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0s", "2 days", "1e3s", "nan", "2h!"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_times_are_spoken() -> None:
    assert [spoken(s) for s in (0.4, 89, 90, 200, 599, 600, 3600, 7500)] == [
        "0 s", "89 s", "1 min 30 s", "3 min 20 s", "9 min 59 s", "10 min", "1 h 0 min", "2 h 5 min",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_probe_measures_every_shape_and_writes_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMABLATE_CACHE", str(tmp_path / "cache"))
    study = small_study(tmp_path)
    out = tmp_path / "out"
    wanted = wanted_runs(study, [row.name for row in study.rows], study.seeds)
    said: list[str] = []
    probe_study(study, wanted, Options(out, "cpu", 2), None, said.append)
    assert said == ["measuring 2 kinds of groups on cpu, some seconds each"]
    assert not out.exists()
    found = estimate(wanted, Probes(), kind="cpu", jobs=2)
    assert found.seconds is not None
    assert found.seconds > AROUND_SECONDS
    probe_study(study, wanted, Options(out, "cpu", 2), None, said.append)
    assert len(said) == 1, "what is known is not measured again"
    probe_study(study, wanted, Options(out, "cpu", 2), None, said.append, again=True)
    assert len(said) == 2, "unless asked for"
    figures = [Probes().find(run_shape(spec), kind="cpu", jobs=2) for spec in wanted]
    assert all(own is not None and own.step > 0 and own.sample > 0 for own in figures)


def test_a_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    for content in ("", "{", "[]", '{"figures": {"a|b|1": {"step": 1}}}', '{"figures": []}'):
        path.write_text(content)
        probes = Probes(path)
        assert probes.find("a", kind=None, jobs=1) is None
        probes.add({"a": FIGURES})
        found = Probes(path).find("a", kind="cpu", jobs=2)
        assert found is not None
        assert found.step == 0.5
