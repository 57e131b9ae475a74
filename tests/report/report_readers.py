"""Reads the cells of a printed table back out of each format: rows of (mean, std, Δ), "" where nothing stands.

Numbers come back as people read them, but in ASCII and with the point, so that formats can be compared.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator

from rich.cells import cell_len

from mmablate.analysis.table import Table
from mmablate.report import numbers
from mmablate.report.terminal_grid import find_layout

Cells = list[list[tuple[str, str, str]]]
EMPTY = ("", "", "")
_NUMBER = r"[+−-]?\d[\d.,]*(?:e\+\d+)?"


def machine(text: str, table: Table) -> str:
    """A printed number in ASCII and with the point."""
    return text.replace("−", "-").replace(table.decimal, ".")


def expected(table: Table) -> Cells:
    """What every format must print."""

    def of(mean: float | None, std: float | None, delta: float | None) -> tuple[str, str, str]:
        n = table.n_decimals
        return numbers.fixed_ascii(mean, n), numbers.fixed_ascii(std, n), numbers.signed_ascii(delta, n)

    cells = [[row.cells.get(column) for column in table.columns] for row in table.rows]
    return [[EMPTY if c is None else of(c.mean, c.std, c.delta) for c in line] for line in cells]


def _tell(table: Table, texts: list[str]) -> tuple[str, str, str]:
    """Mean, std and Δ of a cell from its numbers in the order of print: the first one is a mean, or a lone Δ."""
    found = {"mean": "", "std": "", "delta": ""}
    for index, text in enumerate(texts):
        first = "delta" if table.kind == "effects" else "mean"
        what = "std" if text.startswith("±") else first if index == 0 else "delta"
        assert not found[what], texts
        found[what] = machine(text.removeprefix("±"), table)
    return found["mean"], found["std"], found["delta"]


def _from_cell(line: str, start: int, end: int) -> str:
    """The part of a printed line between two cells of the terminal."""
    place, kept = 0, ""
    for character in line:
        kept += character if start <= place < end else ""
        place += cell_len(character)
    return kept


def terminal_cells(text: str, table: Table, width: int = 80) -> Cells:
    """By place: every column has its room, in each group of columns."""
    layout = find_layout(table, width)
    grids = re.findall(r"^━+\n(.*?)^━+\n", text, flags=re.DOTALL | re.MULTILINE)
    assert len(grids) == len(layout.groups)
    found: Cells = [[] for _ in table.rows]
    for body, group in zip(grids, layout.groups, strict=True):
        blocks = re.split(r"^─+\n", body, flags=re.MULTILINE)[1:]
        assert len(blocks) == len(table.rows)
        for row, block in zip(found, blocks, strict=True):
            end = layout.label_width
            for column in group:
                start, end = end, end + layout.gap + column.width
                texts = [_from_cell(line, start, end) for line in block.splitlines()]
                row.append(_tell(table, [m[0] for t in texts if (m := re.search(f"±?{_NUMBER}", t))]))
    return [row[: len(table.columns)] for row in found]


def html_cells(page: str, table: Table) -> Cells:
    """The cells of the first table of a page."""
    body = re.findall(r"<tbody>(.*?)</tbody>", page, flags=re.DOTALL)[0]
    found: Cells = []
    for line in re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL):
        row = []
        for attributes, cell in re.findall(r"<td([^>]*)>(.*?)</td>", line, flags=re.DOTALL):
            if 'class="failure"' in attributes:
                row += [EMPTY] * len(table.columns)
            elif 'class="extra' not in attributes:
                texts = re.findall(f"(?<=>)±?{_NUMBER}", html.unescape(cell))
                row.append(_tell(table, texts))
        found.append(row)
    return found


def markdown_cells(text: str, table: Table) -> Cells:
    """The rows below the rule of the first grid."""
    grid = [line for line in text.splitlines() if line.startswith("|")][2 : 2 + len(table.rows)]
    found = []
    for line in grid:
        cells = re.split(r"(?<!\\)\|", line)[2 : 2 + len(table.columns)]
        texts = [re.findall(f"±?{_NUMBER}", cell.replace("± ", "±")) for cell in cells]
        found.append([_tell(table, numbers_of) for numbers_of in texts])
    return found


def _latex_numbers(cell: str) -> list[str]:
    plain = re.sub(r"\\cellcolor\[HTML\]\{\w+\}|\\color\[HTML\]\{\w+\}", "", cell)
    plain = plain.replace("$+$", "+").replace(r"\ensuremath{-}", "−").replace(r"\ensuremath{\pm}", "±")
    return re.findall(f"±?{_NUMBER}", plain)


def latex_rows(text: str) -> Iterator[tuple[list[list[str]], int]]:
    """Every tabular as rows of lines of cells, and its number of columns."""
    for body in re.findall(r"\\midrule\n(.*?)\n\\bottomrule", text, flags=re.DOTALL):
        rows = re.split(r"\\addlinespace\[3pt\]\n", body)
        lines = [[re.split(r"(?<!\\) & |^ & ", line) for line in row.splitlines()] for row in rows]
        yield [[*map("\n".join, zip(*row, strict=True))] for row in lines], len(lines[0][0]) - 1


def latex_cells(text: str, table: Table) -> Cells:
    """Tabulars of the same columns follow each other on further pages: they are joined by their rows."""
    found: Cells = [[] for _ in table.rows]
    row = 0
    for rows, _ in latex_rows(text):
        for cells in rows:
            found[row] += [_tell(table, _latex_numbers(cell)) for cell in cells[1:]]
            row = (row + 1) % len(table.rows)
    return [line[: len(table.columns)] for line in found]


def csv_cells(text: str, table: Table) -> Cells:
    """By place, since a column may have any name."""
    lines = list(csv.reader(io.StringIO(text)))[1:]
    return [[(line[i], line[i + 1], line[i + 2]) for i in range(2, 2 + 3 * len(table.columns), 3)] for line in lines]


def json_cells(text: str) -> Cells:
    """Rounded as the others are."""
    return expected(Table.model_validate(json.loads(text)))
