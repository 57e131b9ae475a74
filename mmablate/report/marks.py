"""What a table says in words besides its numbers: chips, marks of cells, the key to the marks.

Every format says the same things, so they are decided here and only set by the formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from mmablate.analysis.table import Cell, ColumnInfo, ExtraName, HeatScale, Row, Table
from mmablate.report import numbers
from mmablate.report.labels import clean, plain

WELCH = "ʷ"
TIED = "†"
NOT_SIGNIFICANT = "n.s."
NOT_TESTED = "n.t."

_MOST_EVIDENT = 3
_EMPTY_CELL = Cell()
_DEFAULT_INFO = ColumnInfo()


class Chip(NamedTuple):
    """A fact under the title.

    Attributes:
        text: a label: may hold `_x` subscripts.
        kind: "plain"; "warning" for what limits the numbers; "failure" for runs that are missing.
    """

    text: str
    kind: Literal["plain", "warning", "failure"] = "plain"


class SweepPoint(NamedTuple):
    """One level of a swept numeric parameter in the summary column."""

    value: float
    mean: float | None
    std: float | None
    used: bool
    baseline: bool


class SweepCurve(NamedTuple):
    """A sweep of one numeric parameter, sorted by its value.

    Attributes:
        symbol: of the parameter, as printed.
        column: the summary column: "Mean", or the first one.
        baseline_mean: of the baseline row in that column.
    """

    symbol: str
    column: str
    points: tuple[SweepPoint, ...]
    baseline_mean: float | None


class Extra(NamedTuple):
    """A fact of the runs that stands in a column of its own.

    Attributes:
        field: of the row.
        title: of the column.
        texts: row by row as printed.
    """

    field: ExtraName
    title: str
    texts: list[str]


def cell(row: Row, column: str) -> Cell:
    """The row's cell, or an empty one."""
    return row.cells.get(column, _EMPTY_CELL)


def info(table: Table, column: str) -> ColumnInfo:
    """What the column measures."""
    return table.column_info.get(column, _DEFAULT_INFO)


def column_label(table: Table, column: str) -> str:
    """What stands above the column: the label that the recipe gives it, or its name. May hold `_x` subscripts."""
    return clean(info(table, column).label) or clean(column)


def is_effects(table: Table) -> bool:
    """The cells are contrasts of several rows and have a Δ only."""
    return table.kind == "effects"


def is_empty(cell: Cell) -> bool:
    """Nothing to print: no mean, and no Δ that stands alone."""
    return not numbers.is_number(cell.mean) and not numbers.is_number(cell.delta)


def is_baseline(row: Row) -> bool:
    """A baseline row names itself as its baseline."""
    return row.baseline == row.name


def has_failed(table: Table, row: Row, column: str) -> bool:
    """A cell without a value lacks it because runs failed: such a cell must never look like a column left out.

    A reference column is empty where a row has no such thing (a teacher), whether or not some of its runs failed.
    """
    return row.status == "failed" or (row.status == "partial" and not info(table, column).reference)


def absent(table: Table, row: Row, column: str) -> str:
    """What stands in a cell without a value."""
    return "failed" if has_failed(table, row, column) else numbers.MISSING


def not_significant(cell: Cell) -> bool:
    """A test was made and found nothing. Without a test (one seed) nothing is said about significance."""
    return cell.delta is not None and cell.p_adjusted is not None and not cell.significant


def is_repeated(table: Table) -> bool:
    """Some row has two seeds or more. Of a table of single runs a chip says that nothing is tested."""
    return any(row.n_seeds > 1 for row in table.rows if not row.reference)


def doubt(cell: Cell, *, repeated: bool) -> str:
    """What a Δ must not be read without: "n.s.", or "n.t." where no test could be made; "" for any other.

    Args:
        cell: of the table.
        repeated: what `is_repeated` says of the table. Among tests a Δ without one must not look like a finding.
    """
    if not_significant(cell):
        return NOT_SIGNIFICANT
    return NOT_TESTED if repeated and numbers.is_number(cell.delta) and cell.p is None else ""


def welch_mark(cell: Cell, *, repeated: bool) -> str:
    """The mark of a Δ over seeds that are not paired, which the reader should know of; "" for any other.

    Args:
        cell: of the table.
        repeated: what `is_repeated` says of the table.
    """
    return WELCH if repeated and cell.test == "welch" and numbers.is_number(cell.delta) else ""


def label_of(table: Table, name: str) -> str:
    """The label of the row of that name."""
    return next((row.label for row in table.rows if row.name == name), name)


def title(table: Table) -> str:
    """The title, or the study's name."""
    return clean(table.title) or clean(table.study)


def judged_columns(table: Table) -> tuple[str, ...]:
    """The columns that say how good the rows are, not what describes them; all where there are no others."""
    return tuple(c for c in table.columns if not info(table, c).reference) or table.columns


def summary_column(table: Table) -> str | None:
    """The column that stands for a row: "Mean", else the primary one, else the first that judges the rows."""
    for name in ("Mean", table.primary):
        if name in table.columns:
            return name
    return next(iter(judged_columns(table)), None)


def primary_column(table: Table) -> str | None:
    """The column that the recipe calls primary, where the table has it; else the summary column."""
    return table.primary if table.primary in table.columns else summary_column(table)


def evident_columns(table: Table) -> tuple[str, ...]:
    """The columns whose tests are told line by line: the primary one; without one the first few metrics."""
    return (str(table.primary),) if table.primary in table.columns else judged_columns(table)[:_MOST_EVIDENT]


def one_metric(table: Table) -> ColumnInfo | None:
    """The metric that all columns that say how good the rows are share, None where they differ."""
    columns = judged_columns(table)
    kinds = {(i.metric, i.unit, i.direction) for i in (info(table, c) for c in columns)}
    return info(table, columns[0]) if len(kinds) == 1 else None


def measured(table: Table) -> str:
    """ "mIoU in %, muses, 800 training and 200 test samples": what the numbers are, from the table alone."""
    shared = one_metric(table)
    parts = []
    if shared is not None:
        unit = f" in {shared.unit}" if shared.unit else ""
        parts.append(clean(f"{shared.metric}{unit}{' (lower is better)' if shared.direction == 'min' else ''}"))
    if table.dataset.name:
        parts.append(clean(table.dataset.name))
    every = table.condition is None or table.given is not None  # how many samples a condition has is not known
    scored = _scored(table) if every else (0, "")
    sizes = [f"{numbers.whole(n)} {what}" for n, what in ((table.dataset.n_train, "training"), scored) if n > 0]
    if sizes:
        parts.append(f"{' and '.join(sizes)} samples")
    if table.given is not None:
        parts.append(f"scored {clean(table.given)}")
    elif table.condition is not None:
        parts.append(f"scored on {clean(table.condition)} only")
    return ", ".join(parts)


def _scored(table: Table) -> tuple[int, str]:
    """The samples that were scored: those of the test split, or of validation where there is none."""
    if table.dataset.n_test > 0:
        return table.dataset.n_test, "test"
    return table.dataset.n_val, "validation"


def column_notes(table: Table) -> dict[str, str]:
    """What the header says under each column's name where columns differ: unit and direction of "lower"."""
    shared = one_metric(table)
    notes = {}
    for column in table.columns:
        kind = info(table, column)
        alike = shared is not None and (kind.unit, kind.direction) == (shared.unit, shared.direction)
        parts = () if alike else (kind.unit, "↓" if kind.direction == "min" else "")
        notes[column] = clean(" ".join(part for part in parts if part))
    return notes


def row_facts(table: Table, row: Row) -> list[str]:
    """What must not be missed about a row, as labels: role, own baseline, missing seeds, "value used"."""
    facts = ["reference"] if row.reference else []
    if not row.reference and row.baseline is not None:
        if is_baseline(row):
            facts.append("baseline")
        elif table.baseline is None:
            facts.append(f"Δ to {label_of(table, row.baseline)}")
    if row.pruned:
        facts.append(f"stopped after {_plural(row.n_seeds, 'seed')}")
    elif row.status == "partial":
        facts.append(f"{_plural(row.n_seeds, 'seed')} only")
    if table.search is not None and table.search.chosen == row.name:
        facts.append("chosen on validation")
    if is_used(table, row):
        facts.append("value used")
    return facts


def is_used(table: Table, row: Row) -> bool:
    """The row holds the recipe's own value of every swept parameter."""
    if table.sweep is None or row.reference:
        return False
    pairs = list(zip(table.sweep.parameters, table.sweep.used, strict=False))
    return bool(pairs) and all(used is not None and row.level.get(name) == used for name, used in pairs)


def extras(table: Table) -> list[Extra]:
    """Parameters, FLOPs and time of a run: those that the table asks for and has."""
    known: dict[ExtraName, tuple[str, Callable[[float | None, str], str]]] = {
        "n_parameters": ("Parameters", numbers.count),
        "flops": ("FLOPs", numbers.count),
        "seconds": ("Time", numbers.seconds),
    }
    found = []
    for name in known if table.extras is None else dict.fromkeys(table.extras):
        title, write = known[name]
        values = [getattr(row, name) for row in table.rows]
        if any(value is not None for value in values):
            found.append(Extra(name, title, [write(value, table.decimal) for value in values]))
    return found


def extra_sentences(table: Table) -> Iterator[str]:
    """Parameters, FLOPs and time as sentences, where their columns do not fit. They may hold `_x` subscripts."""
    for field, title, texts in extras(table):
        what = "Time of a run" if field == "seconds" else title
        if len(set(texts)) == 1:
            yield f"{what}: {texts[0]}"
        else:
            each = (f"{clean(row.label)}: {text}" for row, text in zip(table.rows, texts, strict=True))
            yield f"{what}: {'; '.join(each)}"


def failures(table: Table) -> list[tuple[str, str]]:
    """Label and reason of every run that is missing; a failed row without a reason says that too."""
    return [
        (row.label, error)
        for row in table.rows
        for error in row.errors or (("no run finished",) if row.status == "failed" else ())
    ]


def _plural(n: int, noun: str) -> str:
    return f"{numbers.whole(n)} {noun}{'' if n == 1 else 's'}"


def chips(table: Table) -> list[Chip]:
    """The facts under the title: size, baseline, and whatever limits the numbers."""
    counted = [row for row in table.rows if not (row.status == "failed" or row.reference or row.pruned)]
    seeds = sorted({row.n_seeds for row in counted})
    size = _plural(len(table.rows), "effect" if is_effects(table) else "row")
    if seeds:
        span = "–".join(numbers.whole(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
        size += f" × {span} seed{'' if seeds == [1] else 's'}"
    found = [Chip(size)]
    if table.baseline is not None:
        found.append(Chip(f"baseline {label_of(table, table.baseline)}"))
    elif any(row.baseline is not None for row in table.rows):
        found.append(Chip("each row has its own baseline"))
    if table.dataset.synthetic:
        found.append(Chip("SYNTHETIC DATA", "warning"))
    if seeds == [1]:
        found.append(Chip("one seed: no spread, no test", "warning"))
    elif seeds and seeds[0] < 3:
        few = "fewer than 3 seeds"
        found.append(Chip(few if seeds[-1] < 3 else f"rows with {few}", "warning"))
    failed = sum(row.status == "failed" for row in table.rows)
    partial = sum(row.status == "partial" and not row.pruned for row in table.rows)
    stopped = sum(row.pruned for row in table.rows)
    if stopped:
        found.append(Chip(f"{_plural(stopped, 'row')} stopped early"))
    if failed:
        found.append(Chip(f"{_plural(failed, 'row')} failed", "failure"))
    if partial:
        found.append(Chip(f"{_plural(partial, 'row')} with missing seeds", "failure"))
    return found


def key(table: Table, *, best: str, delta: str, pale: str = "") -> str:
    """The key to the marks that occur in this table, and to no others.

    Args:
        best: how the format marks the best of a column, e.g. "bold".
        delta: where the format sets Δ, e.g. "in brackets".
        pale: what the format adds to "n.s.", e.g. " (pale)".
    """
    cells = [cell(row, column) for row in table.rows for column in table.columns]
    meaning = "the effect of a factor" if is_effects(table) else "the difference to the baseline"
    confidence = numbers.percent(table.confidence, table.decimal)
    repeated = is_repeated(table)
    describing = [
        plain(column_label(table, column))
        for column in table.columns
        if info(table, column).reference and any(not is_empty(cell(row, column)) for row in table.rows)
    ]
    facts = (
        (any(c.std is not None for c in cells), "±: standard deviation over seeds"),
        (any(c.delta is not None for c in cells), f"{delta}: Δ, {meaning}"),
        (
            any(not_significant(c) for c in cells),
            f"{NOT_SIGNIFICANT}: Δ not significant after Holm's correction within its family{pale}",
        ),
        (
            any(doubt(c, repeated=repeated) == NOT_TESTED for c in cells),
            f"{NOT_TESTED}: Δ not tested: no spread over seeds, or too few of them{pale}",
        ),
        (any(c.ci is not None for c in cells), f"intervals of Δ: {confidence}, each on its own"),
        (
            any(welch_mark(c, repeated=repeated) for c in cells),
            f"{WELCH}: seeds not paired: Welch's test, where there are seeds enough",
        ),
        (any(c.best for c in cells), f"{best}: best of the column"),
        (
            any(c.tied and not c.best for c in cells),
            f"{TIED}: not significantly different from the best (Holm within the column)",
        ),
        (bool(describing), f"{', '.join(describing)}: describing a row (its teacher, its training), not compared"),
    )
    return "; ".join(text for holds, text in facts if holds)


def scale_bounds(scale: HeatScale, decimal: str = ".") -> list[str]:
    """The |Δ| at which each heat step begins, weakest first: ">0", "≥0.7", "≥1.4", "≥2.1"."""
    return [f"{'≥' if index else '>'}{numbers.level(bound, decimal)}" for index, bound in enumerate(scale.steps)]


def scale_unit(scale: HeatScale) -> str:
    """What the bounds of a scale are in: "points of mIoU", "HD95 in mm"."""
    if scale.unit == "%":
        return clean(f"points of {scale.metric}")
    return clean(f"{scale.metric} in {scale.unit}" if scale.unit else scale.metric)


def has_heat(table: Table) -> bool:
    """Some Δ has a colour, so that the scale must be shown."""
    return any(c.heat is not None for row in table.rows for c in row.cells.values())


def sweep_curve(table: Table) -> SweepCurve | None:
    """The sweep as a curve, None unless exactly one numeric parameter was swept at two levels or more."""
    column = summary_column(table)
    if table.sweep is None or len(table.sweep.parameters) != 1 or column is None:
        return None
    parameter = table.sweep.parameters[0]
    points: list[SweepPoint] = []
    baseline_mean: float | None = None
    for row in table.rows:
        base = is_baseline(row)
        mean = cell(row, column).mean
        if base:
            baseline_mean = mean
        value = row.level.get(parameter)
        if row.reference or row.pruned or value is None:
            continue
        if isinstance(value, bool | str) or not numbers.is_number(value):
            return None
        points.append(SweepPoint(float(value), mean, cell(row, column).std, is_used(table, row), base))
    if len({point.value for point in points}) < 2:
        return None
    symbol = table.sweep.symbols[0] if table.sweep.symbols else parameter
    return SweepCurve(clean(symbol), column, tuple(sorted(points, key=lambda p: p.value)), baseline_mean)
