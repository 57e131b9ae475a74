"""What is read from a published table, and what an audit of it finds: plain frozen values, one type at each door.

file --reading--> Grid --layout--> PublishedTable --checks--> Audit
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

Kind = Literal["label", "metric", "mean", "delta", "std", "extra"]
Script = Literal["", "sub", "sup"]
Role = Literal["data", "mean", "delta"]
MAX_TEXT = 500  # of a label, a header, a caption
APART = "\x1f"  # stands between inline elements: numbers end there, words go on


class Run(NamedTuple):
    """A stretch of a cell's text that is set in one way.

    Attributes:
        bold: set in bold.
        colour: of the text or of a box behind it, "#rrggbb"; None where nothing is said.
        script: raised or lowered.
    """

    text: str
    bold: bool = False
    colour: str | None = None
    script: Script = ""


@dataclass(frozen=True)
class Cell:
    """One place of a grid.

    Attributes:
        runs: the text, from left to right.
        background: colour of the cell itself, "#rrggbb".
        header: marked as a header by the format.
        origin: (row, column) of the upper left corner of the cell that covers this place.
    """

    runs: tuple[Run, ...] = ()
    background: str | None = None
    header: bool = False
    origin: tuple[int, int] = (-1, -1)

    @property
    def text(self) -> str:
        """The text on one line, a subscript behind "_"; raised text (footnotes) is left out unless it is all."""
        parts: list[str] = []
        for script, group in itertools.groupby(self.runs, key=lambda run: run.script):
            text = "".join(run.text for run in group)
            if script == "sub" and parts and text.strip():
                parts.append("_" + text.strip())
            elif script != "sup":
                parts.append(text)
        text = "".join(parts) or "".join(run.text for run in self.runs)
        return " ".join(text[: 4 * MAX_TEXT].replace(APART, "").split())[:MAX_TEXT]


@dataclass(frozen=True)
class Grid:
    """A table as the format lays it out: every row has the same number of places, spans are filled.

    Attributes:
        n_header: rows of the header, None where the format does not say.
        rules: indices of rows above which the format draws a rule or begins a new body.
    """

    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    n_header: int | None = None
    rules: frozenset[int] = frozenset()


@dataclass(frozen=True)
class PrintedNumber:
    """A number as printed: its value stands for an interval that its own digits decide.

    Attributes:
        value: as printed, the sign of an arrow included.
        digits: after the decimal point.
        signed: a sign or an arrow is printed.
        colour: of the text or of the cell, "#rrggbb".
    """

    value: Decimal
    digits: int
    text: str
    signed: bool = False
    bold: bool = False
    colour: str | None = None

    @property
    def unit(self) -> Decimal:
        """One in the last printed digit."""
        return Decimal(1).scaleb(-self.digits)


@dataclass(frozen=True)
class Entry:
    """The numbers of one cell.

    Attributes:
        value: the first number; None where the cell holds none.
        delta: a signed number behind it, or in brackets.
        has_std: "± 0.3" is printed.
        missing: empty or a dash, on purpose.
        readable: False where digits are there that could not be understood.
    """

    value: PrintedNumber | None = None
    delta: PrintedNumber | None = None
    has_std: bool = False
    missing: bool = False
    readable: bool = True


@dataclass(frozen=True)
class Column:
    """A column with its meaning.

    Attributes:
        name: as findings name it.
        group: the upper levels of its header.
        direction: +1 higher is better, -1 lower is better, 0 not known.
        of: for a column of Δ or std: index of the column that it belongs to.
    """

    index: int
    name: str
    header: str
    kind: Kind
    group: str = ""
    direction: int = 1
    of: int | None = None


@dataclass(frozen=True)
class Row:
    """A body row.

    Attributes:
        index: in the grid.
        keys: the texts of all label columns.
        section: number of the block it stands in; blocks are divided by rules and by rows that span all columns.
        role: "mean" and "delta" are rows that are computed from others.
        reference: a teacher, an oracle: shown, but not in the competition.
        partial: its Δ may be over fewer seeds than its value (a row that lacks seeds says so).
    """

    index: int
    label: str
    section: int
    entries: tuple[Entry, ...]
    role: Role = "data"
    reference: bool = False
    partial: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """Δ of one metric column.

    Attributes:
        column: the metric.
        rank: 0 for the first Δ of a metric, 1 for a second one (to another baseline).
        header: of the column in which they stand.
        deltas: by position in `PublishedTable.rows`.
    """

    column: Column
    rank: int
    header: str
    deltas: dict[int, PrintedNumber]


@dataclass(frozen=True)
class PublishedTable:
    """A table with its meaning, ready to be checked.

    Attributes:
        number: 1 for the first table of the file.
        n_read, n_unread: cells of numeric columns that were understood, and that were not.
    """

    number: int
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    series: tuple[Series, ...] = ()
    n_read: int = 0
    n_unread: int = 0

    def value(self, row: int, column: int) -> PrintedNumber | None:
        """The value at a position of `rows` and an index of `columns`."""
        return self.rows[row].entries[column].value

    def measured(self) -> tuple[Column, ...]:
        """Metric and Mean columns."""
        return tuple(column for column in self.columns if column.kind in ("metric", "mean"))


@dataclass(frozen=True)
class Finding:
    """One fault, or one number that is right only by rounding.

    Attributes:
        table: 1 for the first table of the file.
        row_index: 1 for the first body row.
        printed: as printed.
        computed: from the other printed numbers: a Δ, a Mean, the best of a column, the nearest possible accuracy.
        against: what it was computed from, in words.
        colour: "#rrggbb", for colours.
    """

    table: int
    row: str
    row_index: int
    column: str
    printed: PrintedNumber
    computed: Decimal
    against: str = ""
    colour: str | None = None


@dataclass(frozen=True)
class Audit:
    """Everything found in one file.

    Attributes:
        wrong_delta, wrong_mean, impossible: no rounding of the inputs gives the printed number.
        bold_not_best, colour_contradicts: marks that claim what the numbers do not.
        only_by_rounding: not what the printed inputs give, but within their rounding or truncation; no fault.
        checked: numbers recomputed, by kind ("delta", "mean", "bold", "colour", "grim").
        notes: what was assumed, and what could not be decided.
    """

    path: str
    tables: tuple[PublishedTable, ...]
    wrong_delta: tuple[Finding, ...] = ()
    wrong_mean: tuple[Finding, ...] = ()
    bold_not_best: tuple[Finding, ...] = ()
    colour_contradicts: tuple[Finding, ...] = ()
    impossible: tuple[Finding, ...] = ()
    only_by_rounding: tuple[Finding, ...] = ()
    checked: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> int:
        """Number of faults; a number that is right by rounding is none."""
        kinds = (self.wrong_delta, self.wrong_mean, self.bold_not_best, self.colour_contradicts, self.impossible)
        return sum(len(kind) for kind in kinds)
