"""`table`: from folders and files to any format."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mmablate.analysis import Table, build_table, condition_tables, load_tables
from mmablate.analysis.scenes import load_scenes
from mmablate.errors import UsageError
from mmablate.report import render
from mmablate.report.terminal import print_tables
from mmablate.results import StudyStore
from mmablate.results.files import telling, write_atomic

ENDINGS = {".html": "html", ".htm": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}


def print_table(
    paths: list[Path],
    format: str | None,
    output: Path | None,
    *,
    baseline: str | None = None,
    condition: str | None = None,
    subset: str | None = None,
) -> int:
    """Prints the tables of all paths, in that order; without a format, by the ending of the output file."""
    if condition is not None and subset is not None:
        raise UsageError("--condition or --subset, not both")
    if format is None:
        format = ENDINGS.get(output.suffix.lower(), "terminal") if output else "terminal"
    tables: list[Table] = []
    single = len(paths) == 1
    for path in paths:
        found, one = load_tables(path, baseline=baseline, condition=condition, subset=subset)
        tables += found
        single = single and one
    if format == "terminal" and output is None:
        print_tables(tables, Console())
        return 0
    text = render(tables, format, single=single)
    write_text(text, output)
    return 0


def write_study_page(store: StudyStore) -> tuple[Table, Path]:
    """Writes a study's index.html anew; its table and the page's path."""
    from mmablate.report.study_page import render_study  # brings matplotlib

    table = build_table(store)
    page = store.folder / "index.html"
    write_atomic(page, render_study(table, condition_tables(store), load_scenes(store)).encode())
    return table, page


def write_text(text: str, output: Path | None) -> None:
    """To a file, its folder made, or to stdout."""
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    with telling(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
