"""Runs of a study in an experiment tracker: TensorBoard, MLflow or W&B; nothing is sent unless asked for."""

from mmablate.tracking.logs import TableLog
from mmablate.tracking.recording import Recorder
from mmablate.tracking.trackers import TRACKERS, check_tracker

__all__ = ["TRACKERS", "Recorder", "TableLog", "check_tracker"]
