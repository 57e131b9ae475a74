"""One command: its output is heard and logged, and nothing that it started outlives it."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from execution_samples import alive, wait_for

from mmablate.execution.commands import LONGEST_LINE, CannotStart, Ended, run_command


def run(code, *, timeout=None, cwd=Path(), argv=None):
    """Runs Python code; what became of it, the lines of stdout, and the log."""
    heard, log = [], io.BytesIO()
    ended = run_command(
        argv or [sys.executable, "-c", code], cwd=cwd, environment=dict(os.environ), log=log, hear=heard.append,
        timeout=timeout,
    )  # fmt: skip
    return ended, heard, log.getvalue()


def test_output_is_heard_line_by_line_and_logged_whole():
    ended, heard, log = run(
        "import sys\nprint('a'); print(); sys.stdout.write('b\\r\\nno end'); print('w1', file=sys.stderr)\n"
        "sys.stderr.write('last words\\n \\n'); sys.exit(3)"
    )
    assert ended == Ended(3, "last words")
    assert heard == [b"a", b"b", b"no end"]
    for text in (b"a\n", b"b\r\nno end", b"w1\n", b"last words\n"):
        assert text in log


def test_much_output_on_both_pipes():
    ended, heard, log = run(
        "import sys\nfor i in range(20000): print('x' * 50); print('y' * 50, file=sys.stderr)\nprint('{\"z\": 1}')"
    )
    assert ended == Ended(0, "y" * 50)
    assert len(heard) == 20001
    assert heard[-1] == b'{"z": 1}'
    assert len(log) == 2 * 20000 * 51 + 9


def test_an_endless_line_is_cut():
    ended, heard, _ = run(f"print('x' * {3 * LONGEST_LINE}); print('after')")
    assert ended.status == 0
    assert [len(line) for line in heard] == [LONGEST_LINE, 5]


def test_it_runs_in_its_folder_without_input(tmp_path):
    _, heard, _ = run("import os, sys; print(os.getcwd()); print(repr(sys.stdin.read()))", cwd=tmp_path)
    assert heard == [os.fsencode(tmp_path.resolve()), b"''"]


@pytest.mark.parametrize("argv", [["no-such-program-here"], ["true", "a\0b"], ["true", "x" * 5_000_000], ["/"]])
def test_what_cannot_be_started(argv):
    with pytest.raises(CannotStart):
        run("", argv=argv)


def test_a_signal_is_a_negative_status():
    assert run("import os; os.kill(os.getpid(), 9)")[0].status == -signal.SIGKILL


CHILD = "import subprocess, sys, time\nc = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(c.pid, flush=True)\ntime.sleep(600)"


def test_time_is_up_for_the_whole_group():
    started = time.monotonic()
    ended, heard, _ = run(CHILD + DEAF, timeout=1.5)
    assert ended == Ended(None, "")
    assert time.monotonic() - started < 60, "it would have slept for ten minutes"
    wait_for(lambda: not alive(int(heard[0])), seconds=10)


def test_what_it_leaves_behind_is_ended_too():
    ended, heard, _ = run(CHILD + "print(c.pid, flush=True)")
    assert ended == Ended(0, ""), "the child holds the pipes for ten minutes"
    wait_for(lambda: not alive(int(heard[0])), seconds=10)


def test_a_command_that_closes_its_pipes_is_waited_for():
    code = "import os, sys, time\nos.close(1); os.close(2); time.sleep(%s); os._exit(7)"
    assert run(code % "0.3")[0].status == 7
    assert run(code % "600", timeout=0.5)[0].status is None


def test_an_error_while_listening_ends_it():
    pids = []

    def refuse(line):
        pids.append(int(line))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_command(
            [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
            cwd=Path(), environment=dict(os.environ), log=io.BytesIO(), hear=refuse, timeout=None,
        )  # fmt: skip
    assert not alive(pids[0])


OWNER = """
import io, os, sys
from pathlib import Path
from mmablate.execution.commands import run_command
code = "import os, subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
code += "; print(os.getpid(), c.pid, flush=True); time.sleep(600)"
run_command([sys.executable, "-c", code], cwd=Path(), environment=dict(os.environ), log=io.BytesIO(),
            hear=lambda line: print(line.decode(), flush=True), timeout=None)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_does_not_outlive_its_owner(sent):
    """After SIGKILL only Linux helps, and only with the command itself."""
    if sent == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a process of its parent's death")
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        command, child = (int(text) for text in owner.stdout.readline().split())
        assert alive(command)
        assert alive(child)
        owner.send_signal(sent)
        assert owner.wait(30) != 0
        wait_for(lambda: not alive(command), seconds=10)
        if sent == signal.SIGKILL:
            os.kill(child, signal.SIGKILL)
        wait_for(lambda: not alive(child), seconds=10)
