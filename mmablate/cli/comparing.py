"""`compare`: two studies, or a study and a published table, row by row."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from mmablate.analysis import Table, load_tables
from mmablate.analysis.comparing import compare
from mmablate.catalog.published import published_tables
from mmablate.errors import UsageError
from mmablate.report.comparison import print_comparison


def compare_paths(first: str, second: str, format: str) -> int:
    """Prints which Δ of the two agree.

    Args:
        first, second: a study's folder, a JSON table, a CSV, or the name of a published table that ships.
    """
    compared = compare(_one(first), _one(second))
    if format == "json":
        print(json.dumps(compared.to_json_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print_comparison(compared, Console())
    return 0


def _one(name: str) -> Table:
    published = published_tables()
    if name in published and not Path(name).exists():
        about = published[name]
        table = load_tables(about.path)[0][0]
        return table.model_copy(update={"title": f"{about.title} (published: {about.source})"})
    tables, _ = load_tables(Path(name))
    if len(tables) != 1:
        studies = ", ".join(table.study for table in tables[:8])
        raise UsageError(f"compare: {name} holds {len(tables)} tables ({studies}); name one of them")
    return tables[0]
