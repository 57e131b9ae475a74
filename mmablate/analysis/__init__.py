"""Statistics over seeds and the `Table` that every renderer prints."""

from mmablate.analysis.building import build_table, condition_tables
from mmablate.analysis.loading import load_tables
from mmablate.analysis.table import Table

__all__ = ["Table", "build_table", "condition_tables", "load_tables"]
