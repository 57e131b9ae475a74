"""Studies of a program: rows, ids, sweeps and what of the program counts for the identity of its runs."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from study_samples import Opener

from mmablate.errors import RecipeError, UsageError
from mmablate.study import ProgramStudy, open_study
from mmablate.study.identity import module_source
from mmablate.study.plan import content_id
from mmablate.study.sweeping import SweepRequest

BASE = {
    "name": "own",
    "run": {"call": "train:main"},
    "settings": {"lr": 0.1, "fusion": "sum", "optimizer": {"name": "sgd"}},
    "metrics": {"accuracy": {"unit": "%", "direction": "max"}},
    "seeds": [0, 1],
}


class Programs:
    """Writes a recipe beside a program, and opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "train.py").write_text("def main(settings, reporter): ...\n")

    def __call__(self, options=None, **changes):
        path = self.folder / "own.yaml"
        path.write_text(yaml.safe_dump({**BASE, **changes}, sort_keys=False))
        study = open_study(str(path), **(options or {}))
        assert isinstance(study, ProgramStudy)
        return study


@pytest.fixture
def opened(tmp_path):
    return Programs(tmp_path)


def ids(study):
    return {(row, run.seed): run.run_id for run in study.runs for row in run.rows}


# --- rows -------------------------------------------------------------------------------------------------


def test_without_rows_there_is_one(opened):
    study = opened()
    assert [row.name for row in study.rows] == ["default"]
    assert study.rows[0].settings == BASE["settings"]
    assert [(run.seed, run.rows) for run in study.runs] == [(0, ("default",)), (1, ("default",))]


def test_factors_and_rows_with_or_without_prefix(opened):
    factors = {
        "lr": {"low": {"lr": "1e-3"}, "high": {"settings.lr": 0.5}},
        "opt": {"sgd": {"optimizer.name": "sgd"}, "adam": {"settings.optimizer.name": "adam"}},
    }
    rows = [{"product": ["lr", "opt"]}, {"name": "more", "overrides": {"optimizer": {"name": "x", "beta": 2}}}]
    study = opened(factors=factors, rows=rows, baseline="low+sgd")
    assert [(row.name, row.settings["lr"], row.settings["optimizer"]) for row in study.rows] == [
        ("low+sgd", 0.001, {"name": "sgd"}),
        ("low+adam", 0.001, {"name": "adam"}),
        ("high+sgd", 0.5, {"name": "sgd"}),
        ("high+adam", 0.5, {"name": "adam"}),
        ("more", 0.1, {"name": "x", "beta": 2}),
    ]
    assert set(study.baseline.values()) == {"low+sgd"}
    assert study.rows[1].levels == {"lr": "low", "opt": "adam"}
    by_level = opened(factors=factors, rows={"product": ["lr", "opt"]}, baseline={"opt": "sgd"})
    assert by_level.baseline == {
        "low+sgd": "low+sgd", "low+adam": "low+sgd", "high+sgd": "high+sgd", "high+adam": "high+sgd",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rows": [["sup"]]}, "rows.0: a program's rows are {name, overrides} or made from factors"),
        ({"rows": {"add_one_in": "losses"}}, "rows: a program's rows are"),
        ({"rows": [{"name": "a", "losses": ["x"]}]}, "rows.0: a program's rows are"),
        ({"rows": [{"name": "a", "overrides": {"lrr": 3}}]}, "row 'a': lrr: no setting has that name (there are: lr, "),
        ({"rows": [{"name": "a", "overrides": {"run.call": "a:b"}}]}, "row 'a': run.call: no setting has that name"),
        ({"rows": [{"name": "a", "overrides": {"lr": float("nan")}}]}, "row 'a': "),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "two rows are called 'a'"),
        ({"factors": {"f": {"a": {"lr": 1}}}}, "rows: a program's rows are"),
        ({"rows": {"product": ["g"]}}, "rows.product: factors out of those defined (none), got ['g']"),
        ({"baseline": "nope"}, "baseline: no row has that name (there are: default), got 'nope'"),
        ({"sweep": {"lrr": {"values": [1]}}}, "sweep.lrr: lrr: no setting has that name"),
        ({"run": {"call": "nowhere.train:main"}}, "run.call: no module 'nowhere.train' in "),
        ({"run": {"call": "train:main", "files": ["*.txt"]}}, "run.files: no file in "),
        ({"run": {"call": "train:main", "cwd": "nowhere"}}, "run.cwd: no such folder"),
    ],
)
def test_what_is_refused(opened, changes, text):
    with pytest.raises(RecipeError) as found:
        opened(**changes)
    assert any(text in line for line in found.value.problems), found.value.problems


def test_warnings(opened):
    rows = [{"name": "a", "overrides": {"lr": 0.1}}, {"name": "b"}]
    study = opened(rows=rows, claims=["a > c on loss"], report={"labels": {"d": "D"}}, run={"command": "true"})
    assert [text.partition(":")[0] for text in study.warnings] == [
        "the claim 'a > c on loss' cannot be checked",
        "report.labels",
        "the rows a, b resolve to the same settings",
        "no file of the program counts for the identity of its runs",
    ]
    with pytest.raises(RecipeError, match="--strict: no file of the program"):
        opened({"strict": True}, run={"command": "true"})
    assert [run.rows for run in study.runs] == [("a", "b"), ("a", "b")], "equal settings are run once"


# --- identity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {**BASE["settings"], "lr": 0.2}},
        {"settings": {**BASE["settings"], "more": None}},
        {"run": {"call": "train:other"}},
        {"run": {"command": "python train.py"}},
        {"run": {"call": "train:main", "files": ["own.yaml"]}},
        {"metrics": {"accuracy": "max", "loss": "min"}},
    ],
)
def test_what_a_run_reads_changes_its_id(opened, changes):
    assert not set(ids(opened()).values()) & set(ids(opened(**changes)).values())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"}, {"title": "T"}, {"caption": "C"}, {"metrics": {"accuracy": "min"}}, {"synthetic": True},
        {"claims": ["default > 3 on accuracy"]}, {"n_decimals": 1}, {"dataset": "d"},
        {"sweep": {"lr": {"values": [1]}}},
        {"settings": dict(reversed(BASE["settings"].items()))}, {"run": {"call": "train:main", "cwd": "."}},
        {"rows": [{"name": "default", "label": "x"}]}, {"report": {"labels": {"accuracy": "Acc."}}},
    ],
)  # fmt: skip
def test_what_it_does_not_read_leaves_it(opened, changes):
    assert ids(opened()) == ids(opened(**changes))


def test_the_program_itself_counts_and_its_place_does_not(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    commands = ["python train.py --lr {lr}", "python -m train", "./train.py"]
    for run in ({"call": "train:main"}, *({"command": command} for command in commands)):
        one, two = Programs(first), Programs(second)
        before = ids(one(run=run))
        assert before == ids(two(run=run))
        (second / "train.py").write_text("def main(settings, reporter): ... # changed\n")
        after = ids(open_study(str(second / "own.yaml")))
        assert not set(before.values()) & set(after.values())


def test_files_and_globs_count(opened, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.py").write_text("1")
    run = {"call": "train:main", "files": ["lib/**/*.py"]}
    study = opened(run=run)
    assert list(study.files) == ["lib/a.py", "train"]
    before = set(ids(study).values())
    (tmp_path / "lib/a.py").write_text("2")
    assert not before & set(ids(opened(run=run)).values())


def test_the_id_is_the_hash_of_what_stands_in_the_settings(opened):
    for run in opened().runs:
        assert run.run_id == content_id(run.settings)
        assert json.loads(json.dumps(run.settings)) == run.settings
        assert run.settings["settings"] == BASE["settings"]


def test_runs_of_ordinary_recipes_read_what_they_always_did(tmp_path):
    keys = {"compute", "data", "evaluate", "role", "seed", "method", "model", "losses", "train", "masks", "teacher"}
    assert {frozenset(run.settings) for run in Opener(tmp_path)().runs} == {frozenset(keys)}


def test_finding_a_module_imports_nothing(tmp_path):
    package = tmp_path / "pack_of_this_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "deep.py").write_text("raise SystemExit('imported')")
    assert module_source("pack_of_this_test.deep", tmp_path) == package / "deep.py"
    assert module_source("pack_of_this_test", tmp_path) == package / "__init__.py"
    assert module_source("pack_of_this_test.deep.deeper", tmp_path) is None
    assert module_source("yaml", tmp_path) == Path(yaml.__file__)


# --- sweeps and grids -------------------------------------------------------------------------------------


def test_sweeps(opened):
    for name, block in (
        ("lr", {"lr": {"values": [0.1, 1]}}),
        ("settings.lr", {}),
        ("rate", {"rate": {"path": "lr", "values": [1]}}),
    ):
        study = opened({"sweep": SweepRequest((name,), (0.1, 1))}, sweep=block)
        assert study.name == f"own_{name}"
        assert [(row.name, row.settings["lr"]) for row in study.rows] == [(f"{name}=0.1", 0.1), (f"{name}=1", 1)]
        assert set(study.baseline.values()) == {f"{name}=0.1"}, "the recipe's own value"
        assert study.sweep["used"] == [0.1]
        assert set(ids(opened()).values()) < set(ids(study).values()), "the recipe's own value is run once"
    with pytest.raises(UsageError, match="--param nope: the recipe has no such parameter"):
        opened({"sweep": SweepRequest(("nope",), (1,))})
    with pytest.raises(UsageError, match="a list or mapping cannot be varied"):
        opened({"sweep": SweepRequest(("optimizer",), (1,))})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4), min_size=1), st.integers(1, 3))
def test_every_cell_of_a_product_is_there_once(opened, sizes, n_seeds):
    factors = {f: {f"{f}{i}": {f: i} for i in range(size)} for f, size in sizes.items()}
    own = dict.fromkeys(sizes, -1)
    study = opened(settings=own, factors=factors, rows={"product": list(sizes)}, seeds=list(range(n_seeds)))
    expected = [()]
    for size in sizes.values():
        expected = [(*head, i) for head in expected for i in range(size)]
    assert [tuple(row.settings[f] for f in sizes) for row in study.rows] == expected
    assert len({run.run_id for run in study.runs}) == len(study.runs) == len(expected) * n_seeds
