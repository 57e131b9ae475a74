"""What the tests of execution share: two small studies, each run once and undisturbed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from execution_samples import LONG, numbers, run, small_study

from mmablate.execution import Outcome
from mmablate.study import Study


@dataclass(frozen=True)
class Finished:
    """A study run with one job, start to end."""

    study: Study
    out: Path
    outcome: Outcome
    numbers: dict[str, Any]


def _finished(folder: Path, *overrides: str) -> Finished:
    study = small_study(folder, *overrides)
    outcome = run(study, folder / "out")
    return Finished(study, folder / "out", outcome, numbers(outcome.trained))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One epoch."""
    return _finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def finished_long(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Twenty-five epochs."""
    return _finished(tmp_path_factory.mktemp("long"), *LONG)
