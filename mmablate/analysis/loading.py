"""Tables from whatever PATH is: a study or a folder of them, JSON that `mmablate table` wrote, a CSV of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pydantic import ValidationError

from mmablate.analysis.building import build_table
from mmablate.analysis.forms import MOST_DECIMALS, fault_of
from mmablate.analysis.importing import CsvOptions, table_from_csv
from mmablate.analysis.statistics import LARGEST
from mmablate.analysis.table import Table
from mmablate.errors import StoreError, UsageError
from mmablate.results import find_studies
from mmablate.results.files import read_json


class Options(TypedDict):
    """What `build_table` can be asked for."""

    baseline: str | None
    condition: str | None
    subset: str | None
    confidence: float | None


def load_tables(
    path: Path,
    *,
    baseline: str | None = None,
    condition: str | None = None,
    subset: str | None = None,
    confidence: float | None = None,
    csv: CsvOptions | None = None,
) -> tuple[list[Table], bool]:
    """The tables at `path`, and whether it names exactly one.

    Args:
        baseline, condition, subset, confidence: see `build_table`.
        csv: how to read a CSV; see `CsvOptions`.

    Raises:
        StoreError: nothing there, or nothing that is a study or a table.
        UsageError: one of the options for a finished table, or one that the study does not have.
    """
    options: Options = {"baseline": baseline, "condition": condition, "subset": subset, "confidence": confidence}
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        if condition is not None or subset is not None:
            option = "condition" if condition is not None else "subset"
            raise UsageError(f"--{option}: {path} has no scores by condition")
        return [table_from_csv(path, csv, baseline=baseline, confidence=confidence)], True
    if csv:
        raise UsageError(
            f"--row-column, --seed-column, --columns, --lower and --primary are for a CSV of runs, not {path}"
        )
    if path.is_file() and path.name == "study.json":
        path = path.parent
    if path.is_file() and path.suffix.lower() != ".json":
        hint = f" (a recipe is trained first: mmablate ablate {path})" if path.suffix in (".yaml", ".yml") else ""
        raise StoreError(f"{path}: neither a study's folder, nor a JSON table, nor a CSV of runs{hint}")
    if path.is_file():
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise UsageError(f"--{given[0]}: {path} is a finished table; give the study's folder instead")
        return _from_json(path)
    stores = find_studies(path)
    single = stores[0].folder == Path(path).absolute() or (path / "study.json").is_file()
    return [build_table(store, **options) for store in stores], single


def _from_json(path: Path) -> tuple[list[Table], bool]:
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema") != 1:
        raise StoreError(f'{path}: not a table written by `mmablate table --format json` (no "schema": 1)')
    items = value.get("tables", [value])
    if not isinstance(items, list):
        raise StoreError(f"{path}: tables: a list, got {str(items)[:80]!r}")
    try:
        tables = [Table.model_validate(item) for item in items]
    except ValidationError as error:
        raise StoreError(f"{path}: {fault_of(error)}") from error
    for table in tables:
        if hole := _hole(table):
            raise StoreError(f"{path}: {hole}")
    return tables, "tables" not in value


def _hole(table: Table) -> str | None:
    """What a table lacks that every renderer relies on, or None."""
    if not 0 <= table.n_decimals <= MOST_DECIMALS:
        return f"n_decimals: from 0 to {MOST_DECIMALS}, got {str(table.n_decimals)[:20]}"
    for column in table.columns:
        if column not in table.column_info:
            return f"column_info: nothing about the column {column!r}"
        for index, row in enumerate(table.rows):
            if column not in row.cells:
                return f"rows.{index}.cells: no cell of the column {column!r}"
            # A contrast may be a few times larger than the scores that it is made of.
            if not all(abs(value) <= 100 * LARGEST for value in row.cells[column].values.values()):
                return f"rows.{index}.cells.{column}.values: a score is at most {LARGEST:g} in size"
    return None
