"""Helpers for the tests of the audit: files written on the spot, findings as short tuples."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import SHARED

from mmablate.analysis.audit import Audit, audit_file


def audited(folder: Path, text: str, name: str = "table.md", **options: object) -> Audit:
    """The audit of a file with that content."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return audit_file(path, **options)  # type: ignore[arg-type]


def short(audit: Audit, kind: str) -> list[tuple[str, str, str, str]]:
    """(row, column, printed, computed) of one kind of finding."""
    return [(f.row, f.column, str(f.printed.value), str(f.computed)) for f in getattr(audit, kind)]


def shared_file(name: str) -> Path:
    """A real table beside the checkout; the test is skipped, with the reason, where it is not there."""
    path = SHARED.parent / name
    if not path.exists():
        pytest.skip(f"real tables not at hand: shared/{name}")
    return path
