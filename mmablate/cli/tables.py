"""`table`: from folders and files to any format."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mmablate.analysis import Table, build_table, condition_tables, load_tables
from mmablate.analysis.details import load_details
from mmablate.analysis.effects import effect_tables, view_tables
from mmablate.analysis.importing import CsvOptions
from mmablate.analysis.notes import with_decimals
from mmablate.analysis.saliency import load_saliency
from mmablate.analysis.scenes import load_scenes
from mmablate.cli.writing import write_text
from mmablate.errors import UsageError
from mmablate.report import render
from mmablate.report.terminal import print_tables
from mmablate.results import StudyStore
from mmablate.results.files import telling, write_atomic

ENDINGS = {
    ".html": "html", ".htm": "html", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json",
    ".txt": "terminal",
}  # fmt: skip


@dataclass(frozen=True)
class TableRequest:
    """The options of `table`, as typed."""

    paths: list[Path]
    format: str | None = None
    output: Path | None = None
    baseline: str | None = None
    condition: str | None = None
    subset: str | None = None
    confidence: float | None = None
    view: str | None = None
    standalone: bool = False
    figures: Path | None = None
    color: str = "auto"
    row_column: str | None = None
    seed_column: str | None = None
    columns: str | None = None
    lower: str | None = None
    primary: str | None = None
    decimals: int | None = None

    @property
    def csv(self) -> CsvOptions:
        """How to read a CSV of runs."""
        return CsvOptions(
            row=_names(self.row_column), seed=self.seed_column, columns=_names(self.columns),
            lower=_names(self.lower), primary=self.primary,
        )  # fmt: skip

    @property
    def chosen_format(self) -> str:
        """The format asked for, or that of the output file's ending."""
        if self.format is not None:
            return self.format
        if self.output is None or str(self.output) == "-":
            return "terminal"
        ending = self.output.suffix.lower()
        if ending not in ENDINGS:
            raise UsageError(f"-o {self.output}: the ending says no format ({', '.join(ENDINGS)}); --format does")
        return ENDINGS[ending]


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def print_table(request: TableRequest) -> int:
    """Prints the tables of all paths, in that order.

    Raises:
        UsageError: options that do not go together or are out of range; see also `load_tables`.
    """
    _check(request)
    tables: list[Table] = []
    single = len(request.paths) == 1
    for path in request.paths:
        found, one = load_tables(
            path, baseline=request.baseline, condition=request.condition, subset=request.subset,
            confidence=request.confidence, csv=request.csv,
        )  # fmt: skip
        tables += found
        single = single and one
    if request.view is not None:
        tables = [view for table in tables for view in view_tables(table, request.view)]
        single = single and len(tables) == 1
    if request.decimals is not None:
        tables = [with_decimals(table, request.decimals) for table in tables]
    if request.figures is not None:
        _write_figures(tables, request.figures)
    format = request.chosen_format
    output = None if str(request.output) == "-" else request.output
    if format == "terminal" and output is None:
        print_tables(tables, _console(request.color))
        return 0
    write_text(render(tables, format, single=single, standalone=request.standalone), output)
    return 0


def _check(request: TableRequest) -> None:
    if request.condition is not None and request.subset is not None:
        raise UsageError("--condition or --subset, not both")
    if request.confidence is not None and not 0.5 < request.confidence < 1:
        raise UsageError(f"--confidence {request.confidence:g}: a share between 0.5 and 1, e.g. 0.95")
    if request.standalone and request.chosen_format != "latex":
        raise UsageError("--standalone goes with --format latex")


def _console(color: str) -> Console:
    """ "auto" leaves it to rich: colours on a terminal, none in a pipe or under NO_COLOR."""
    if color == "never":
        return Console(no_color=True, highlight=False)
    return Console(force_terminal=True, no_color=False, highlight=False) if color == "always" else Console()


def _write_figures(tables: Sequence[Table], folder: Path) -> None:
    """The figures of each table; of several in a folder each."""
    from mmablate.report.figures import write_figures

    with telling(folder):
        for index, table in enumerate(tables, start=1):
            # The name of a study in a JSON file is anybody's: it must not lead out of the folder.
            name = re.sub(r"[^\w.+=-]", "_", table.study).strip(".")
            place = folder if len(tables) == 1 else folder / f"{index}_{name}"[:120]
            for path in write_figures(table, None, place):
                print(path, file=sys.stderr)


def write_study_page(store: StudyStore) -> tuple[Table, Path]:
    """Writes a study's index.html and figures anew; its table and the page's path."""
    from mmablate.report.figures import SALIENCY_CSV, write_figures  # these bring matplotlib
    from mmablate.report.study_page import render_study

    table, details = build_table(store), load_details(store)
    page = store.folder / "index.html"
    effects = effect_tables(table)
    saliency = load_saliency(store)
    text = render_study(
        table, condition_tables(store), load_scenes(store), details=details, effects=effects,
        saliency=saliency, saliency_link=f"figures/{SALIENCY_CSV}",
    )  # fmt: skip
    write_atomic(page, text.encode())
    write_figures(table, details, store.folder / "figures", effects=effects, saliency=saliency)
    return table, page
