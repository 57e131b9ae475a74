"""GitHub-flavoured Markdown: one column a metric, "43.71 ± 0.52 (+0.02)" in a cell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmablate.analysis.table import Cell, Row, Table
from mmablate.report import evidence, labels, marks, numbers

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPECIAL = re.compile(r"[\\`*_\[\]|~$]")
# What begins a heading or a list. A digit cannot be escaped, but the dot behind it can; "0.5 of" is no list.
_BLOCK = re.compile(r"^(?:(?=[#+-])|(\d+)(?=[.)](?: |$)))")


def _inline(text: str) -> str:
    """One run of a label: no markup and no HTML; spaces at its ends stay."""
    return _SPECIAL.sub(lambda match: "\\" + match[0], "".join(_ENTITIES.get(c, c) for c in text))


def escape(text: str) -> str:
    """Text that renders as itself in a table cell or a paragraph: no markup, no HTML, no new line."""
    return _BLOCK.sub(r"\1\\", _inline(labels.clean(text)))


def _label(label: str) -> str:
    return labels.with_sub_tags(label, _inline)


def _paragraph(label: str) -> str:
    """A label that begins a line, as text."""
    return _BLOCK.sub(r"\1\\", _label(label))


def cell_text(table: Table, row: Row, column: str, *, repeated: bool) -> str:
    """Mean, std, Δ and marks of one cell; Δ stands first, without brackets, where there is no mean.

    `repeated`: what `marks.is_repeated` says of the table.
    """
    cell = marks.cell(row, column)
    if marks.is_empty(cell):
        return marks.absent(table, row, column)
    n, sign = table.n_decimals, table.decimal
    std = f"± {numbers.fixed(cell.std, n, sign)}" if numbers.is_number(cell.std) else ""
    delta = _delta_text(cell, n, sign, repeated=repeated) if numbers.is_number(cell.delta) else ""
    if not numbers.is_number(cell.mean):
        return " ".join(part for part in (delta, std) if part)
    mean = numbers.fixed(cell.mean, n, sign)
    if cell.best:
        mean = f"**{mean}**"
    elif cell.tied:
        mean += marks.TIED
    return " ".join(part for part in (mean, std, f"({delta})" if delta else "") if part)


def _delta_text(cell: Cell, n_decimals: int, sign: str, *, repeated: bool) -> str:
    welch = marks.welch_mark(cell, repeated=repeated)
    doubt = marks.doubt(cell, repeated=repeated)
    quiet = f" {doubt}" if doubt else ""
    return f"{numbers.signed(cell.delta, n_decimals, sign)}{welch}{quiet}"


def _row_label(table: Table, row: Row) -> str:
    """The label with what must not be missed about its row."""
    facts = [_label(fact) for fact in marks.row_facts(table, row)]
    return _label(row.label) + (f" ({', '.join(facts)})" if facts else "")


def _headers(table: Table) -> list[str]:
    """Names of the columns, with what they are in where columns differ."""
    notes = marks.column_notes(table)
    names = [(_label(marks.column_label(table, c)), escape(notes[c])) for c in table.columns]
    return [f"{name} ({note})" if note else name for name, note in names]


def render_table(table: Table) -> str:
    """Title, chips, table, caption, failed runs and notes."""
    extras, repeated = marks.extras(table), marks.is_repeated(table)
    names = [
        escape(table.row_header) or "Row",
        *_headers(table),
        *(extra.title for extra in extras),
    ]
    lines = [
        "| " + " | ".join(names) + " |",
        "| :-- |" + " --: |" * (len(names) - 1),
    ]
    for index, row in enumerate(table.rows):
        cells = [cell_text(table, row, column, repeated=repeated) for column in table.columns]
        cells += [extra.texts[index] for extra in extras]
        lines.append("| " + " | ".join([_row_label(table, row), *cells]) + " |")
    chips = [f"**{_label(c.text)}**" if c.kind != "plain" else _label(c.text) for c in marks.chips(table)]
    facts = " · ".join([part for part in (escape(marks.measured(table)),) if part] + chips)
    blocks = [f"## {escape(marks.title(table))}", facts, "\n".join(lines)]
    key = marks.key(table, best="bold", delta="with a sign" if marks.is_effects(table) else "in brackets")
    blocks += [_paragraph(table.caption), escape(key), escape(evidence.key(table))]
    blocks.append("\n".join(f"- {_paragraph(line)}" for line in evidence.lines(table)))
    blocks.append("\n".join(f"- failed: {_label(label)}: {escape(error)}" for label, error in marks.failures(table)))
    blocks.append("\n".join(f"- {escape(note)}" for note in table.notes))
    blocks.append(escape(table.dataset.attribution or ""))
    return "\n\n".join(block for block in blocks if block) + "\n"


def render(tables: Sequence[Table], *, single: bool) -> str:
    """The tables one after another; `single` makes no difference here."""
    return "\n".join(render_table(table) for table in tables)
