"""`audit`: a published table, recomputed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mmablate.analysis.audit import audit_file
from mmablate.report.audit import print_audit, to_json


def print_findings(
    path: Path, format: str, *, baseline: str | None, samples: int | None, grim_columns: str | None, runs: int
) -> int:
    """Prints what is wrong in the tables of a file; 1 for a fault of any kind, 0 where none can be proven."""
    names = [name.strip() for name in (grim_columns or "").split(",") if name.strip()]
    found = audit_file(path, baseline=baseline, samples=samples, grim_columns=names, runs=runs)
    if format == "json":
        print(to_json(found), end="")
    else:
        print_audit(found, Console(highlight=False))
    return 1 if found.faults else 0
