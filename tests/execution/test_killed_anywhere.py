"""SIGKILL to all processes of a study at once, also in the middle of writes, and two `ablate` of one study.

A sample of tests/benchmarks/kills.py, which kills at 25 random moments.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from execution_samples import wait_for
from killing import Place, after, kill, killed_and_resumed, writing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """Everything that must come out, and the steps it takes."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    place.finish(1)
    steps = place.steps()
    assert set(steps.values()) == {1}
    assert len(place.records()) == 8
    return place.everything(), len(steps)


@pytest.mark.parametrize(
    ("jobs", "moment"),
    [
        (1, lambda: after(random.Random(1).randrange(30, 180), 0.003)),
        (2, lambda: after(random.Random(2).randrange(30, 180), 0.003)),
        (1, lambda: writing("state.safetensors", 20)),
        (2, lambda: writing("record.json", 2)),
    ],
    ids=["one job", "two jobs", "in the middle of a state", "in the middle of a record"],
)
def test_all_processes_are_killed(tmp_path: Path, undisturbed: Any, jobs: int, moment: Callable[..., Any]) -> None:
    expected, total = undisturbed
    done = killed_and_resumed(Place(tmp_path), expected, total, jobs, moment)
    assert done.wrong == ()
    assert done.progress > 0
    # States are saved after every step: one step at most of each run in training is taken again.
    assert done.redone <= 3 * jobs


def worker_of(records: dict[str, Any]) -> Counter[str]:
    return Counter(record["environment"]["worker"] for record in records.values())


def raw_records(place: Place) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_bytes()) for path in place.runs.glob("*/record.json")}


def test_two_processes_share_a_study_and_train_each_run_once(tmp_path: Path, undisturbed: Any) -> None:
    expected, total = undisturbed
    place = Place(tmp_path)
    processes = [place.start(1), place.start(1)]
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    steps = place.steps()
    assert set(steps.values()) == {1}, "no step of any run is taken twice"
    assert len(steps) == total
    assert place.everything() == expected
    workers = worker_of(raw_records(place))
    assert {name.rpartition(":")[2] for name in workers} == {str(process.pid) for process in processes}


def test_of_two_processes_one_is_killed_and_the_other_ends_the_study(tmp_path: Path, undisturbed: Any) -> None:
    expected, total = undisturbed
    place = Place(tmp_path)
    first, second = place.start(1), place.start(1)

    def both_train() -> bool:
        log = tmp_path / "steps"
        return log.exists() and len({line.split()[2] for line in log.read_text().splitlines()}) == 2

    wait_for(lambda: first.poll() is not None or second.poll() is not None or both_train())
    time.sleep(0.2)
    assert first.poll() is None
    before = place.finished()
    kill(first)
    assert first.returncode == -signal.SIGKILL
    _, told = second.communicate(timeout=120)
    assert second.returncode == 0, told
    assert place.everything() == expected
    steps = place.steps()
    assert len(steps) == total
    assert sum(steps.values()) - total <= 3, "one step at most of each run that the dead one was training"
    assert {name: place.finished()[name] for name in before} == before
    assert not [path for path in (place.out / ".leases").iterdir() if not path.name.startswith(".")]
