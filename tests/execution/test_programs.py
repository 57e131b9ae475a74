"""Runs of a program: what comes back is recorded, what goes wrong is told, what is finished is left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from execution_samples import alive, wait_for
from hypothesis import given
from hypothesis import strategies as st
from program_samples import CALLABLE, COMMAND, RECIPE, SCRIPT, folder_of, only, program_study, run

from mmablate.analysis import build_table
from mmablate.errors import UsageError
from mmablate.execution.programs import WORK, as_number
from mmablate.results import StudyStore

ONE = {"rows": [{"name": "low"}], "seeds": [1]}
KINDS = [(CALLABLE, RECIPE["run"]), (SCRIPT, COMMAND)]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("program", "kind"), KINDS, ids=["call", "command"])
def test_a_study(tmp_path, program, kind, jobs, capfd):
    study = program_study(tmp_path, program, run=kind)
    outcome = run(study, tmp_path / "out", jobs=jobs)
    assert outcome.failed == []
    found = {(r.row, r.seed): r.metrics for r in outcome.trained}
    assert found == {
        (row, seed): {"accuracy": 10 * lr + seed, "loss": 1.0}
        for row, lr in (("low", 0.5), ("high", 1.5))
        for seed in (1, 2)
    }
    for record in outcome.trained:
        folder = folder_of(tmp_path / "out", record)
        written = json.loads((folder / "record.json").read_text())
        assert written["digests"] == {"init": None, "order": None, "final": None}
        assert written["role"] == "student"
        assert written["depends_on"] == []
        assert (written["steps"], written["n_parameters"]) == (1, None if program is CALLABLE else 7)
        assert (":" + str(os.getpid()) in written["environment"]["worker"]) == (jobs == 1)
        assert "hello" in (folder / "program.log").read_text()
        (line,) = [json.loads(text) for text in (folder / "history.jsonl").read_text().splitlines()]
        assert (line["step"], line["loss"]) == (1, 2.0)
        config = json.loads((folder / "config.json").read_text())
        assert config["settings"] == {"lr": 0.5 if record.row == "low" else 1.5, "fault": None}
        assert (folder / "work/tries").read_text() == "x"
    captured = capfd.readouterr()
    assert captured.out == captured.err == "", "what a program prints is in its log"
    table = build_table(StudyStore(tmp_path / "out", "own"))
    assert table.columns == ("accuracy", "loss")
    assert [table.column_info[c].subset for c in table.columns] == [False, False]
    assert table.column_info["loss"].direction == "min"
    high = table.rows[1].cells["accuracy"]
    assert (high.mean, high.delta, high.test, high.best) == (16.5, 10.0, "paired", True)
    assert table.primary is None
    study_json = json.loads((tmp_path / "out/own/study.json").read_text())
    assert study_json["execution"] == {"mode": "program", "device": "cpu", "jobs": jobs}
    assert str(tmp_path) not in (tmp_path / "out/own/study.json").read_text()


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/record.json")}


@pytest.mark.parametrize(("program", "kind"), KINDS, ids=["call", "command"])
def test_finished_runs_are_left_alone(tmp_path, program, kind):
    out = tmp_path / "out"
    run(program_study(tmp_path, program, run=kind), out)
    before = times(out)
    again = run(program_study(tmp_path, program, run=kind), out)
    assert (len(again.reused), again.trained, times(out)) == (4, [], before)
    more = run(program_study(tmp_path, program, run=kind, seeds=[1, 2, 3]), out)
    assert sorted((r.row, r.seed) for r in more.trained) == [("high", 3), ("low", 3)]
    sibling = run(program_study(tmp_path, program, run=kind, name="sibling"), out)
    assert (len(sibling.reused), sibling.trained) == (4, [])
    forced = run(program_study(tmp_path, program, run=kind), out, force=True)
    assert len(forced.trained) == 4
    assert {path.read_text() for path in out.glob(f"own/runs/*/{WORK}/tries")} == {"x"}, "a new try starts afresh"


def test_a_changed_program_runs_again(tmp_path):
    out = tmp_path / "out"
    first = run(program_study(tmp_path), out)
    other = CALLABLE.replace("10 * settings", "20 * settings")
    second = run(program_study(tmp_path, other), out)
    assert [r.metrics["accuracy"] for r in first.trained] == [6.0, 16.0, 7.0, 17.0]
    assert [r.metrics["accuracy"] for r in second.trained] == [11.0, 31.0, 12.0, 32.0]
    back = run(program_study(tmp_path), out)
    assert {r.run_id for r in back.reused} == {r.run_id for r in first.trained}


def test_modules_of_one_name_in_two_folders(tmp_path):
    for name, factor in (("a", 10), ("b", 30)):
        study = program_study(tmp_path / name, CALLABLE.replace("10 *", f"{factor} *"), **ONE)
        assert only(run(study, tmp_path / name / "out")).metrics["accuracy"] == factor * 0.5 + 1
    assert str(tmp_path / "a") not in sys.path


# --- failing ----------------------------------------------------------------------------------------------

BODIES = [
    ("return {'accuracy': 1.0}", "BadMetrics", "missing: loss"),
    ("return {'accuracy': 1.0, 'loss': 2.0, 'f1': 3.0}", "BadMetrics", "not among the recipe's metrics: f1"),
    ("return {'accuracy': float('nan'), 'loss': 2.0}", "BadMetrics", "accuracy: a finite number of at most"),
    ("return {'accuracy': 1e200, 'loss': 2.0}", "BadMetrics", "accuracy: a finite number of at most"),
    ("return {'accuracy': '5', 'loss': True}", "BadMetrics", "accuracy: a number, got '5'; loss: a number, got True"),
    ("return {'accuracy': 10**400, 'loss': [1]}", "BadMetrics", "accuracy: a number, got 1000"),
    ("return 5", "NoMetrics", "train:main returned no mapping of metrics but int"),
    ("return None", "NoMetrics", "the program ended without metrics"),
    ("reporter.finish([1])", "BadMetrics", "metrics: a mapping of names to numbers, got [1]"),
    ("reporter.finish({'accuracy': 1, 'loss': 1}, n_parameters=-1)", "BadMetrics", "n_parameters: a number of"),
    ("reporter.finish({'accuracy': 1, 'loss': 1}, flops=float('inf'))", "BadMetrics", "flops: a number of operations"),
    ("reporter.report(7, loss='x')", "ValueError", "a number, got 'x'"),
    ("reporter.report(7); 1 / 0", "ZeroDivisionError", "division by zero"),
    ("raise KeyError('odd \\ud800 name')", "KeyError", "odd"),
    ("import sys; sys.exit('no data')", "SystemExit", "no data"),
    ("import nowhere_at_all", "ModuleNotFoundError", "No module named 'nowhere_at_all'"),
]


@pytest.mark.parametrize(("body", "kind", "message"), BODIES, ids=[kind for _, kind, _ in BODIES])
def test_a_callable_that_fails(tmp_path, body, kind, message):
    record = only(run(program_study(tmp_path, f"def main(settings, reporter):\n    {body}\n", **ONE), tmp_path / "out"))
    assert (record.status, record.error.type, record.metrics) == ("failed", kind, {})
    assert message in record.error.message
    assert record.error.step == (7 if "report(7);" in body else None)
    log = folder_of(tmp_path / "out", record) / "program.log"
    assert ("Traceback" in log.read_text()) if kind[-5:] == "Error" else not log.exists()


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("main = 3", "TypeError", "train:main is no function"),
        ("", "AttributeError", "module 'train' has no attribute 'main'"),
        ("def main(:", "SyntaxError", "invalid syntax"),
        ("def main(settings): ...", "TypeError", "main() takes 1 positional argument but 2 were given"),
    ],
)
def test_a_module_that_is_none(tmp_path, text, kind, message):
    record = only(run(program_study(tmp_path, text, **ONE), tmp_path / "out"))
    assert record.error.type == kind
    assert message in record.error.message


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("print('no json')", "NoMetrics", "the program ended without metrics"),
        ("print('{\"metrics\": {\"accuracy\": NaN, \"loss\": 1}}')", "BadMetrics", "accuracy: a finite number"),
        ("print('{\"metrics\": {\"accuracy\": null, \"loss\": 1}}')", "BadMetrics", "accuracy: a number, got None"),
        ("print('{\"metrics\": {\"accuracy\": 1, \"\\\\ud800\": 1}}')", "BadMetrics", "missing: loss; not among"),
        ("print('{\"metrics\": 3}')", "BadMetrics", "metrics: a mapping of names to numbers, got 3"),
        ("import sys; print('{\"metrics\": {\"accuracy\": 1, \"loss\": 1}}'); sys.exit('no GPU')", "ExitStatus",
         "exit status 1: no GPU"),
        ("1 / 0", "ExitStatus", "exit status 1: ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 9)", "ExitStatus", "ended by SIGKILL: no word on stderr"),
        ("import time; print('{\"step\": 3}', flush=True); time.sleep(600)", "TimedOut", "not over after 2 seconds"),
    ],
)  # fmt: skip
def test_a_command_that_fails(tmp_path, script, kind, message):
    command = {"command": "{python} train.py", "timeout": 2.0}
    record = only(run(program_study(tmp_path, script, run=command, **ONE), tmp_path / "out"))
    assert (record.status, record.error.type, record.metrics) == ("failed", kind, {})
    assert message in record.error.message
    assert record.error.step == (3 if kind == "TimedOut" else None)


def test_a_command_that_does_not_exist(tmp_path):
    study = program_study(tmp_path, run={"command": "no-such-program {lr}"})
    outcome = run(study, tmp_path / "out")
    assert {r.error.type for r in outcome.failed} == {"CannotStart"}
    assert len(outcome.failed) == 4, "the others are tried"


def test_odd_progress_is_no_fault(tmp_path):
    script = (
        'print(\'{"step": NaN, "x": [Infinity], "\\\\ud800": 1, "y": 1e999}\'); print(\'{\'); print(\'{"step": 2}\')\n'
        'print(\'{"metrics": {"accuracy": 1, "loss": 1}}\')'
    )
    record = only(run(program_study(tmp_path, script, run={"command": "{python} train.py"}, **ONE), tmp_path / "out"))
    assert (record.status, record.steps) == ("ok", 2)
    history = (folder_of(tmp_path / "out", record) / "history.jsonl").read_text()
    lines = [json.loads(line) for line in history.splitlines()]
    assert [{k: v for k, v in line.items() if k != "seconds"} for line in lines] == [
        {"step": None, "y": None},
        {"step": 2},
    ]


def test_one_failure_stops_nobody_and_is_tried_again_on_request(tmp_path):
    out = tmp_path / "out"
    program = "import os\n" + CALLABLE.replace(
        "    return",
        "    if settings['lr'] > 1 and not os.environ.get('WELL'):\n        raise ValueError('sick')\n    return",
    )
    first = run(program_study(tmp_path, program), out)
    assert (len(first.trained), len(first.failed)) == (2, 2)
    assert len(run(program_study(tmp_path, program), out).failed) == 2
    fast = run(program_study(tmp_path, program), tmp_path / "fast", fail_fast=True)
    assert len(fast.failed) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WELL", "1")
        second = run(program_study(tmp_path, program), out, retry_failed=True)
    assert sorted((r.row, r.status) for r in second.trained) == [("high", "ok")] * 2
    assert {path.read_text() for path in out.glob(f"own/runs/*/{WORK}/tries")} == {"x"}


def test_a_file_that_changes_in_the_middle_is_noticed(tmp_path):
    script = SCRIPT + "\npathlib.Path('train.py').write_text('changed')\n"
    outcome = run(program_study(tmp_path, script, run=COMMAND), tmp_path / "out")
    assert [(r.row, r.seed) for r in outcome.trained] == [("low", 1)]
    assert {(r.error.type, r.error.message) for r in outcome.failed} == {
        ("ProgramChanged", "train.py is not what it was when the study was planned")
    }


def test_a_dead_worker_is_no_end(tmp_path):
    program = "import os\n" + CALLABLE.replace("    return", "    if settings['lr'] > 1: os._exit(9)\n    return")
    outcome = run(program_study(tmp_path, program), tmp_path / "out", jobs=2)
    assert sorted(r.row for r in outcome.trained) == ["low", "low"]
    assert {r.error.type for r in outcome.failed} == {"WorkerDied"}


def test_torchrun_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="start torchrun in its command"):
        run(program_study(tmp_path), tmp_path / "out")


# --- being cut off ----------------------------------------------------------------------------------------

SLOW = """\
import os, pathlib, time
def main(settings, reporter):
    tries = reporter.folder / "tries"
    with tries.open("a") as file: file.write("x")
    if settings["lr"] > 1 and reporter.seed == 2 and tries.read_text() == "x":
        pathlib.Path(os.environ["SIGN"]).write_text("here")
        time.sleep(600)
    return {"accuracy": reporter.seed, "loss": len(tries.read_text())}
"""


def test_a_killed_study_goes_on_where_it_was(tmp_path):
    program_study(tmp_path, SLOW)
    sign, out = tmp_path / "sign", tmp_path / "results"
    command = [sys.executable, "-m", "mmablate", "ablate", "own.yaml", "-q", "-j", "1", "--device", "cpu"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "SIGN": str(sign)}) as owner:
        wait_for(sign.exists)
        owner.kill()
    before = times(out)
    assert len(before) == 3
    outcome = run(program_study(tmp_path, SLOW), out)
    assert [(r.row, r.seed) for r in outcome.trained] == [("high", 2)]
    assert len(outcome.reused) == 3
    assert before.items() <= times(out).items()
    assert only(outcome).metrics["loss"] == 2, "its own folder was as it had left it"


def test_a_second_ctrl_c_ends_the_command_of_a_worker(tmp_path):
    import signal

    script = "import os, pathlib, time\npathlib.Path(os.environ['SIGN']).write_text(str(os.getpid()))\ntime.sleep(600)"
    program_study(tmp_path, script, run={"command": "{python} train.py"})
    sign = tmp_path / "sign"
    command = [sys.executable, "-m", "mmablate", "ablate", "own.yaml", "-q", "-j", "2", "--device", "cpu"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "SIGN": str(sign)}, stderr=-3) as owner:
        wait_for(lambda: sign.exists() and sign.read_text())
        pid = int(sign.read_text())
        owner.send_signal(signal.SIGINT)  # once: what runs may end
        with pytest.raises(subprocess.TimeoutExpired):
            owner.wait(2)
        owner.send_signal(signal.SIGINT)
        assert owner.wait(30) == 130
    wait_for(lambda: not alive(pid), seconds=10)
    assert times(tmp_path / "results") == {}


# --- numbers ----------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_numbers_are_taken_as_they_are(value):
    assert as_number(value) == value
    assert as_number(np.float64(value)) == value
    assert as_number(torch.tensor(value, dtype=torch.float64)) == value


@pytest.mark.parametrize("value", ["1", b"1", True, None, [1.0], 1j, np.zeros(2), torch.zeros(3), {}, object()])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="a number, got"):
        as_number(value)


def test_nothing_here_needs_torch(tmp_path):
    program_study(tmp_path)
    code = (
        "import sys; sys.argv = ['mmablate', 'ablate', 'own.yaml', '-q', '-j', '1']\n"
        "from mmablate.__main__ import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(times(tmp_path / "results")) == 4


def test_the_store_can_be_a_relative_path(tmp_path, monkeypatch):
    study = program_study(tmp_path / "code", SCRIPT, run=COMMAND)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(run(study, Path("results")).trained) == 4
    assert len(times(tmp_path / "here/results")) == 4
