"""The interface of a tracker, and the trackers there are. None is imported before it is asked for."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmablate.errors import MissingExtra, UsageError
from mmablate.tracking.logs import RunLog, TableLog

FOLDER = "tracking"
"""Of a study: what trackers keep on this disk, but for TensorBoard's own folder."""
TABLE = "table"
"""What the table of a study is called among its runs, whose names are hexadecimal."""


class Tracker(Protocol):
    """One tracker, for one study. Everything that goes wrong is raised as whatever the library raises."""

    def place(self) -> str:
        """Where the runs are and how to look at them, in one line."""

    def digest(self, run_id: str) -> str | None:
        """Of the run, or of the table (`TABLE`), as it was logged last; None where it is not, or only in part."""

    def follow(self, run: RunLog) -> None:
        """Logs how far a run in training is; called again and again. What is logged so counts as a part (`digest`)."""

    def write_run(self, run: RunLog) -> None:
        """Logs a run in place of what there may be of it."""

    def write_table(self, table: TableLog) -> None:
        """Logs the table in place of an earlier one."""

    def close(self) -> None:
        """Writes out what is held back, and ends processes that were started."""


@dataclass(frozen=True)
class Wish:
    """A tracker as asked for.

    Attributes:
        name: of the tracker.
        online: send the runs to a server.
    """

    name: str
    online: bool = False


# Tracker -> the module that must be there, and the package that brings it.
TRACKERS = {"wandb": ("wandb", "wandb"), "mlflow": ("mlflow", "mlflow-skinny"), "tensorboard": ("tensorboard",) * 2}


def parse_trackers(texts: list[str]) -> tuple[Wish, ...]:
    """Each `--track` names one tracker or several with commas; `wandb:online` asks W&B to send.

    Raises:
        UsageError: a tracker that does not exist.
    """
    found: dict[str, Wish] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, colon, how = part.partition(":")
        if name not in TRACKERS or (colon and (name, how) not in (("wandb", "online"), ("wandb", "offline"))):
            raise UsageError(f"--track {part}: choose from {', '.join(TRACKERS)}, wandb:online")
        found[name] = Wish(name, online=how == "online")
    return tuple(found.values())


def check_tracker(wish: Wish) -> None:
    """Whether the tracker is installed; it is not imported.

    Raises:
        MissingExtra: names the command that installs it.
    """
    module, package = TRACKERS[wish.name]
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f'--track {wish.name} needs {package}: pip install "mmablate[tracking]" (or {package})')


def open_tracker(wish: Wish, study: str, folder: Path, say: Callable[[str], None]) -> Tracker | None:
    """The tracker for one study; None where the user's own settings have switched it off.

    Args:
        folder: of the study.
        say: told what the user has to know.
    """
    # What a library thinks of its own dependencies is no business of a user who makes warnings errors.
    for module in ("wandb", "mlflow", "tensorboard", "sqlalchemy", "alembic", "google", "pydantic"):
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
    if wish.name == "tensorboard":
        from mmablate.tracking.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(study, folder)
    if wish.name == "mlflow":
        from mmablate.tracking.mlflow_tracker import MlflowTracker

        return MlflowTracker(study, folder)
    from mmablate.tracking.wandb_tracker import open_wandb

    return open_wandb(study, folder, online=wish.online, say=say)
