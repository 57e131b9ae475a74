"""MLflow: an experiment a study, a run a run. By default in a SQLite file of the study's folder.

`mlflow-skinny` is enough to write; to look at the runs, `mlflow ui` needs the whole of mlflow. A user who sets
MLFLOW_TRACKING_URI asks for that server or database instead.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

# MLflow reports its use to its makers unless told not to, and repeats what fails for minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mmablate.errors import StoreError
from mmablate.tracking.logs import SYNTHETIC, Point, RunLog, TableLog
from mmablate.tracking.naming import safe_keys, without_secrets
from mmablate.tracking.trackers import FOLDER, TABLE

if TYPE_CHECKING:
    from mlflow.entities import Experiment

_Item = TypeVar("_Item")
_ALLOWED = r"\w. -"
_LONGEST_KEY = 240
_LONGEST_PARAM = 500  # in MLflow 2 and older servers; later ones take more
_LONGEST_TAG = 4000
_MOST_METRICS, _MOST_PARAMS = 1000, 100  # a call
_LONGEST_NOTE = 20000
_NOTE = "mlflow.note.content"  # what MLflow shows as a description
# Tags of ours.
_STUDY, _RUN, _DIGEST = "mmablate.study", "mmablate.run_id", "mmablate.digest"


class MlflowTracker:
    """One experiment.

    Args:
        study: its name.
        folder: of the study.

    Raises:
        StoreError: an experiment of that name was deleted.
    """

    def __init__(self, study: str, folder: Path) -> None:
        for name in ("mlflow", "alembic"):  # they tell of every table that they make
            logging.getLogger(name).setLevel(logging.WARNING)
        self.study = study
        self.uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        self.own = not self.uri
        self.files: str | None = None  # where a study's own database keeps files
        if self.own:
            place = (folder / FOLDER).absolute()
            place.mkdir(parents=True, exist_ok=True)
            self.uri, self.files = f"sqlite:///{place / 'mlflow.db'}", (place / "mlflow-artifacts").as_uri()
        self.client = MlflowClient(tracking_uri=self.uri)
        self.moved = False
        self.experiment = self._experiment()
        # Runs that are followed: MLflow's id, and the points that it holds.
        self.live: dict[str, tuple[str, tuple[Point, ...]]] = {}

    def _experiment(self) -> str:
        found: Experiment | None = self.client.get_experiment_by_name(self.study)
        if found is None:
            try:
                return str(self.client.create_experiment(self.study, artifact_location=self.files))
            except MlflowException:  # another process was faster
                found = self.client.get_experiment_by_name(self.study)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise StoreError(f"the experiment {self.study} was deleted there; restore it, or give the study a new name")
        # MLflow keeps whole paths: files of a study that was moved or copied would go to where it was.
        self.moved = self.own and found.artifact_location != self.files
        return str(found.experiment_id)

    def _logged(self, run_id: str) -> list[tuple[str, str | None]]:
        """MLflow's id and our digest of a run or of the table; several where a process was killed at the wrong time."""
        wanted = f"tags.`{_RUN}` = '{run_id}'"  # hexadecimal, or "table": nothing to escape
        found = self.client.search_runs([self.experiment], filter_string=wanted)
        return [(r.info.run_id, r.data.tags.get(_DIGEST)) for r in found if r.data.tags[_STUDY] == self.study]

    def place(self) -> str:
        """See `Tracker`."""
        shown = without_secrets(self.uri)
        how = f"mlflow ui --backend-store-uri {shlex.quote(shown)}" if self.own else "as MLFLOW_TRACKING_URI says"
        return f"experiment {self.study} in {shown} ({how})"

    def digest(self, run_id: str) -> str | None:
        """See `Tracker`."""
        known = self._logged(run_id)
        return known[0][1] if len(known) == 1 else None

    def follow(self, run: RunLog) -> None:
        """See `Tracker`."""
        own, told = self.live.pop(run.run_id, ("", ()))
        if not own or told != run.points[: len(told)] or own not in [known for known, _ in self._logged(run.run_id)]:
            own, told = self._create(run.run_id, run.name, run.started, {"status": run.status}), ()
        self.live[run.run_id] = own, told
        for batch in _parts(_metrics(run, run.points[len(told) :]), _MOST_METRICS):
            self.client.log_batch(own, metrics=batch)
        self.live[run.run_id] = own, run.points

    def write_run(self, run: RunLog) -> None:
        """See `Tracker`."""
        self.follow(run)  # goes on where it was before
        own, _ = self.live.pop(run.run_id)
        tags = {
            "status": run.status,
            "role": str(run.config.get("role")),
            "rows": str(run.config.get("rows")),
            "seed": str(run.config.get("seed")),
            "data": SYNTHETIC if SYNTHETIC in run.tags else "measured data",
            **({"error": run.error, _NOTE: run.error} if run.error else {}),
        }
        self.client.log_batch(own, tags=[RunTag(key, value[:_LONGEST_TAG]) for key, value in tags.items()])
        keys = safe_keys(run.config, _ALLOWED, _LONGEST_KEY)
        params = (Param(keys[k], "null" if v is None else str(v)[:_LONGEST_PARAM]) for k, v in run.config.items())
        for some in _parts(params, _MOST_PARAMS):
            self.client.log_batch(own, params=some)
        keys = safe_keys(run.scores, _ALLOWED, _LONGEST_KEY)
        step, at = run.points[-1].step if run.points else 0, int(1000 * run.ended)
        scores = (Metric(keys[name], value, at, step) for name, value in run.scores.items())
        for batch in _parts(scores, _MOST_METRICS):
            self.client.log_batch(own, metrics=batch)
        self._finish(own, run.digest, "FINISHED" if run.status == "ok" else "FAILED", run.ended)

    def write_table(self, table: TableLog) -> None:
        """See `Tracker`."""
        tags = {"data": SYNTHETIC if table.synthetic else "measured data"}
        own = self._create(TABLE, f"{TABLE}: {table.title}", None, tags)
        if self.own and len(table.markdown) <= _LONGEST_NOTE:  # what an experiment on a server says is the user's
            self.client.set_experiment_tag(self.experiment, _NOTE, table.markdown)
        for ending, text in () if self.moved else (("md", table.markdown), ("html", table.html), ("json", table.json)):
            self.client.log_text(own, text, f"table.{ending}")
        self._finish(own, table.digest, "FINISHED", None)

    def close(self) -> None:
        """See `Tracker`."""

    def _create(self, run_id: str, name: str, started: float | None, tags: Mapping[str, str]) -> str:
        """A new run in MLflow, whose ids are its own; what was logged of it before goes."""
        for earlier, _ in self._logged(run_id):
            self.client.delete_run(earlier)
        own = {_STUDY: self.study, _RUN: run_id, **{key: value[:_LONGEST_TAG] for key, value in tags.items()}}
        started_ms = None if started is None else int(1000 * started)
        run = self.client.create_run(self.experiment, start_time=started_ms, tags=own, run_name=name[:_LONGEST_KEY])
        return str(run.info.run_id)

    def _finish(self, own: str, digest: str, status: str, ended: float | None) -> None:
        self.client.set_terminated(own, status, None if ended is None else int(1000 * ended))
        self.client.log_batch(own, tags=[RunTag(_DIGEST, digest)])


def _metrics(run: RunLog, points: Sequence[Point]) -> Iterator[Metric]:
    keys = safe_keys(dict.fromkeys(name for point in run.points for name in point.values), _ALLOWED, _LONGEST_KEY)
    for point in points:
        at = int(1000 * run.time(point))
        yield from (Metric(keys[name], value, at, point.step) for name, value in point.values.items())


def _parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    waiting = iter(items)
    while part := list(islice(waiting, size)):
        yield part
