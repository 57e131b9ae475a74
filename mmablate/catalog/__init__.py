"""What exists, told without torch: datasets, models, losses and methods, their options and definitions."""

from mmablate.catalog.entries import DatasetEntry, Entry, LossEntry, MethodEntry, ModelEntry, Options
from mmablate.catalog.fingerprint import file_hash, fingerprint
from mmablate.catalog.registry import entries, find, load_target

__all__ = [
    "DatasetEntry",
    "Entry",
    "LossEntry",
    "MethodEntry",
    "ModelEntry",
    "Options",
    "entries",
    "file_hash",
    "find",
    "fingerprint",
    "load_target",
]
