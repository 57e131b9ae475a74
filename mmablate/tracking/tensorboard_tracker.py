"""TensorBoard: a folder of event files a run, below results/<study>/tensorboard/.

Needs the package `tensorboard` alone; neither torch nor tensorflow is imported. The settings and scores of a run stand
in its HPARAMS, the curves in SCALARS, status and table in TEXT.
"""

from __future__ import annotations

import html
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from mmablate.results.files import write_atomic
from mmablate.tracking.logs import Point, RunLog, TableLog
from mmablate.tracking.naming import safe_name
from mmablate.tracking.trackers import TABLE

_ALLOWED = r"\w.+=, -"
_MARK = "mmablate.digest"  # in a run's folder, written last


class TensorBoardTracker:
    """Event files of one study.

    Args:
        study: its name.
        folder: of the study.
    """

    def __init__(self, study: str, folder: Path) -> None:
        self.study, self.folder = study, folder / "tensorboard"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.live: dict[str, _Live] = {}

    def place(self) -> str:
        """See `Tracker`."""
        return f"event files in {self.folder} (tensorboard --logdir {shlex.quote(str(self.folder))})"

    def digest(self, run_id: str) -> str | None:
        """See `Tracker`."""
        folders = self._folders(run_id)
        try:
            return (folders[0] / _MARK).read_text(encoding="ascii") if len(folders) == 1 else None
        except (OSError, ValueError):
            return None

    def follow(self, run: RunLog) -> None:
        """See `Tracker`."""
        live = self._live(run)
        for point in run.points[len(live.points) :]:
            _scalars(live.writer, dict(point.values), point.step, run.time(point))
        live.points = run.points
        live.writer.flush()

    def write_run(self, run: RunLog) -> None:
        """See `Tracker`."""
        # A TensorBoard that is looking on keeps what it has read: goes on where `follow` stopped, if it did well.
        self.follow(run)
        live = self.live.pop(run.run_id)
        try:
            # The name of a session in HPARAMS is that of its folder; where in the file it starts is all the same.
            config = {key: "null" if value is None else value for key, value in run.config.items()}
            live.writer.add_event(_event(hparams_pb(config, start_time_secs=run.started), run.started))
            last = int(run.scores.get("steps", run.points[-1].step if run.points else 0))
            _scalars(live.writer, dict(run.scores), last, run.ended)
            lines = [f"**{', '.join(run.tags)}**", *([f"`{run.error.replace('`', chr(39))}`"] if run.error else [])]
            _text(live.writer, "status", "\n\n".join(lines), run.ended)
            live.writer.add_event(_event(_session_end(run), run.ended))
        finally:
            live.writer.close()
        self._mark(live.folder, run.digest)

    def write_table(self, table: TableLog) -> None:
        """See `Tracker`."""
        self._clear(TABLE)
        writer = EventFileWriter(str(self.folder / TABLE))
        try:
            _text(writer, TABLE, f"**{html.escape(table.title)}** {', '.join(table.tags)}\n\n{table.markdown}", None)
        finally:
            writer.close()
        self._mark(self.folder / TABLE, table.digest)

    def close(self) -> None:
        """See `Tracker`."""
        for live in self.live.values():
            live.writer.close()
        self.live.clear()

    def _folders(self, run_id: str) -> list[Path]:
        return sorted(self.folder.glob(TABLE if run_id == TABLE else f"*-{run_id}"))

    def _clear(self, run_id: str) -> None:
        for earlier in self._folders(run_id):
            shutil.rmtree(earlier)

    def _live(self, run: RunLog) -> _Live:
        """The open file of a run, if what it holds is the beginning of the run; else a new one in an empty folder."""
        folder = self.folder / f"{safe_name(run.name, _ALLOWED, 80)}-{run.run_id}"
        live = self.live.pop(run.run_id, None)
        # Another process may have written the run meanwhile: then this one's file is gone.
        if live is not None and live.begins(folder, run) and folder.is_dir():
            self.live[run.run_id] = live
            return live
        if live is not None:
            live.writer.close()
        self._clear(run.run_id)
        self.live[run.run_id] = _Live(folder, EventFileWriter(str(folder)))
        return self.live[run.run_id]

    def _mark(self, folder: Path, digest: str) -> None:
        write_atomic(folder / _MARK, digest.encode(), durable=False)


@dataclass
class _Live:
    """The file of a run that is being written, and the points in it."""

    folder: Path
    writer: EventFileWriter
    points: tuple[Point, ...] = ()

    def begins(self, folder: Path, run: RunLog) -> bool:
        """Whether what is written is the beginning of the run, in the folder where it belongs."""
        return self.folder == folder and self.points == run.points[: len(self.points)]


def _event(summary: Summary, wall_time: float | None, step: int = 0) -> Event:
    return Event(summary=summary, wall_time=wall_time, step=step)


def _scalars(writer: EventFileWriter, values: dict[str, float], step: int, wall_time: float) -> None:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    writer.add_event(_event(summary, wall_time, step))


def _text(writer: EventFileWriter, tag: str, text: str, wall_time: float | None) -> None:
    """Markdown, which TensorBoard renders and cleans of scripts itself."""
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    content = TensorProto(
        dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    )
    writer.add_event(_event(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=content)]), wall_time))


def _session_end(run: RunLog) -> Summary:
    status = api_pb2.STATUS_SUCCESS if run.status == "ok" else api_pb2.STATUS_FAILURE
    content = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.ended)
    )
    about = metadata.create_summary_metadata(content)
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)]
    )
