"""What a factorial study says of each factor: main effects, interactions, Shapley contributions.

All are contrasts of the table's own rows, computed within each seed and then tested over seeds, so they need no
model and no run of their own. A factor is a loss term (without, with) or a factor of the recipe.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmablate.analysis.assembly import Assembled, Draft, Rules, assemble, largest
from mmablate.analysis.notes import Found, table_notes
from mmablate.analysis.table import Row, Table
from mmablate.errors import UsageError

VIEWS = ("effects", "leave-one-out", "add-one-in")

Levels = tuple[int, ...]
"""The level of each factor, as its place among the factor's levels."""


@dataclass(frozen=True)
class Design:
    """A table's rows as points of a grid.

    Attributes:
        factors: name -> names of its levels, the first one the reference.
        labels: name -> as printed.
        rows: levels -> the row there.
        terms: the factors are loss terms, with the levels "without" and "with".
    """

    factors: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str]
    rows: Mapping[Levels, Row]
    terms: bool

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        return tuple(len(levels) for levels in self.factors.values())

    def missing(self) -> list[Levels]:
        """Points of the full grid that no row stands at."""
        return [point for point in itertools.product(*map(range, self.sizes)) if point not in self.rows]

    def name(self, point: Levels) -> str:
        """A point in words."""
        if self.terms:
            return "+".join(factor for factor, level in zip(self.factors, point, strict=True) if level) or "none"
        return "+".join(levels[i] for levels, i in zip(self.factors.values(), point, strict=True))


def view_tables(table: Table, view: str) -> list[Table]:
    """The tables of one of `VIEWS`.

    Raises:
        UsageError: the rows do not allow that view; names what is missing.
    """
    if view == "effects":
        design = _design(table)
        missing = design.missing()
        if missing:
            some = ", ".join(design.name(point) for point in missing[:6]) + (", ..." if len(missing) > 6 else "")
            raise UsageError(
                f"--view effects: {table.study} is no full factorial: {len(missing)} combinations have no row ({some})"
            )
        return _effect_tables(table, design)
    return [_one_at_a_time(table, _design(table), view)]


def effect_tables(table: Table) -> list[Table]:
    """Main effects, interactions and Shapley contributions; nothing where the rows are no full factorial of two
    factors or more."""
    try:
        design = _design(table)
    except UsageError:
        return []
    return [] if design.missing() or len(design.factors) < 2 else _effect_tables(table, design)


# --- the design -------------------------------------------------------------------------------------------


def _design(table: Table) -> Design:
    rows = [row for row in table.rows if not row.reference and row.n_seeds]
    by_levels = rows and all(row.levels and row.levels.keys() == rows[0].levels.keys() for row in rows)
    design = _of_levels(rows) if by_levels else _of_terms(rows)
    if design is None:
        raise UsageError(
            f"--view: the rows of {table.study} are no combinations of factors or loss terms, each made once"
        )
    return design


def _of_levels(rows: Sequence[Row]) -> Design | None:
    names = list(rows[0].levels)
    factors = {name: _in_order(rows, name) for name in names}
    factors = {name: levels for name, levels in factors.items() if len(levels) > 1}
    points = {tuple(levels.index(row.levels[n]) for n, levels in factors.items()): row for row in rows}
    if not factors or len(points) != len(rows):
        return None
    return Design(factors, {name: name for name in factors}, points, terms=False)


def _in_order(rows: Sequence[Row], factor: str) -> tuple[str, ...]:
    """The levels of a factor in the order of the recipe.

    Of two rows that differ in this factor alone, the first has the earlier level; the mere order of the rows would
    mislead where the first ones have failed.
    """
    levels = list(dict.fromkeys(row.levels[factor] for row in rows))
    before: dict[str, set[str]] = {level: set() for level in levels}
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        earlier = alike.setdefault(tuple(v for name, v in row.levels.items() if name != factor), [])
        before[row.levels[factor]].update(earlier)
        earlier.append(row.levels[factor])
    return tuple(sorted(levels, key=lambda level: len(before[level])))


def _of_terms(rows: Sequence[Row]) -> Design | None:
    always = set.intersection(*(set(row.losses) for row in rows)) if rows else set()
    # In the order of the recipe, which the fullest row has.
    ordered = sorted(rows, key=lambda row: -len(row.losses))
    terms = [t for t in dict.fromkeys(t for row in ordered for t in row.losses) if t not in always]
    points = {tuple(int(term in row.losses) for term in terms): row for row in rows}
    if not terms or len(points) != len(rows):
        return None
    return Design(dict.fromkeys(terms, ("without", "with")), _term_labels(rows, terms), points, terms=True)


def _term_labels(rows: Sequence[Row], terms: Iterable[str]) -> dict[str, str]:
    """Terms as the rows print them ("λL_mad"), where a row's label is the sum of its terms."""
    found: dict[str, str] = {}
    for row in rows:
        parts = row.label.split(" + ")
        if len(parts) == len(row.losses):
            found |= dict(zip(row.losses, parts, strict=True))
    return {term: found.get(term, f"L_{term}") for term in terms}


# --- contrasts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Contrast:
    """A weighted sum of rows: points -> weight."""

    name: str
    label: str
    weights: Mapping[Levels, float]


def _effect_tables(table: Table, design: Design) -> list[Table]:
    kinds: list[tuple[str, str, Callable[[Design], list[_Contrast]]]] = [
        ("main effects", _MAIN, _main_effects),
        ("pairwise interactions", _PAIRS, _interactions),
        ("Shapley contributions", _SHAPLEY, _shapley),
    ]
    made = [(title, caption, contrasts(design)) for title, caption, contrasts in kinds]
    return [_effects(table, design, title, caption, some) for title, caption, some in made if some]


_MAIN = (
    "Main effect of a factor: its level against the first one, averaged over all combinations of the other factors, "
    "within each seed."
)
_PAIRS = (
    "Interaction of two factors: by how much the effect of the one is larger where the other is present (the "
    "difference of the differences, twice the interaction effect of a 2^k design), averaged over the other factors, "
    "within each seed."
)
_SHAPLEY = (
    "Shapley value of a factor: what it adds, averaged over all orders in which the factors can be added to the "
    "row without any; the values of a column sum to the difference of the row with all factors to that one."
)


def _main_effects(design: Design) -> list[_Contrast]:
    found = []
    for place, (factor, levels) in enumerate(design.factors.items()):
        others = _others(design, {place})
        for level in range(1, len(levels)):
            weights = {_at(o, {place: level}): 1 / len(others) for o in others}
            weights |= {_at(o, {place: 0}): -1 / len(others) for o in others}
            found.append(_Contrast(*_named(design, factor, level), weights))
    return found


def _interactions(design: Design) -> list[_Contrast]:
    found = []
    for (i, a), (j, b) in itertools.combinations(enumerate(design.factors), 2):
        others = _others(design, {i, j})
        for k, m in itertools.product(range(1, design.sizes[i]), range(1, design.sizes[j])):
            weights = {
                _at(o, {i: x, j: y}): (1 if bool(x) == bool(y) else -1) / len(others)
                for o in others
                for x, y in itertools.product((0, k), (0, m))
            }
            (first, one), (second, two) = _named(design, a, k), _named(design, b, m)
            found.append(_Contrast(f"{first}×{second}", f"{one} × {two}", weights))
    return found


def _shapley(design: Design) -> list[_Contrast]:
    """Only where every factor is absent or present."""
    k = len(design.factors)
    if any(size != 2 for size in design.sizes) or k < 2:
        return []
    found = []
    for place, factor in enumerate(design.factors):
        weights = {}
        for others in _others(design, {place}):
            size = sum(others)
            weight = math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)
            weights[_at(others, {place: 1})] = weight
            weights[_at(others, {place: 0})] = -weight
        found.append(_Contrast(*_named(design, factor, 1), weights))
    return found


def _others(design: Design, fixed: set[int]) -> list[Levels]:
    """All points whose fixed factors are at their first level."""
    return list(itertools.product(*(range(1 if i in fixed else size) for i, size in enumerate(design.sizes))))


def _at(point: Levels, changes: Mapping[int, int]) -> Levels:
    return tuple(changes.get(i, level) for i, level in enumerate(point))


def _named(design: Design, factor: str, level: int) -> tuple[str, str]:
    """Name and label of a factor at a level."""
    if design.terms:
        return factor, design.labels[factor]
    levels = design.factors[factor]
    return f"{factor}:{levels[level]}", f"{design.labels[factor]}: {levels[level]} − {levels[0]}"


def _effects(table: Table, design: Design, title: str, caption: str, contrasts: Sequence[_Contrast]) -> Table:
    # What describes rows, e.g. their teachers, is no effect of a factor on how good they are.
    info = {column: table.column_info[column] for column in table.columns if not table.column_info[column].reference}
    drafts = [_draft(table, design, contrast, list(info)) for contrast in contrasts]
    made = assemble(drafts, info, Rules.of(table), effects=True)
    found = table.model_copy(
        update={
            "kind": "effects",
            "columns": tuple(info),
            "column_info": info,
            "title": f"{table.title or table.study}: {title}",
            "caption": caption,
            "row_header": "Term" if design.terms else "Factor",
            "baseline": None,
            "rows": made.rows,
            "families": made.families,
            "heat_scales": made.heat_scales,
            "sweep": None,
            "extras": (),
        }
    )
    return _noted(table, found, made)


def _draft(table: Table, design: Design, contrast: _Contrast, columns: Sequence[str]) -> Draft:
    """The contrast of every seed that all its rows have, column by column."""
    rows = {point: design.rows[point] for point in contrast.weights}
    values = {}
    for column in columns:
        scores = {point: row.cells[column].values for point, row in rows.items()}
        first = next(iter(scores.values()))
        seeds = [seed for seed in first if all(seed in some for some in scores.values())]
        values[column] = {s: math.fsum(w * scores[p][s] for p, w in contrast.weights.items()) for s in seeds}
    scale = {c: largest(v for row in rows.values() for v in row.cells[c].values.values()) for c in columns}
    n_seeds = max(map(len, values.values()), default=0)
    return Draft(Row(name=contrast.name, label=contrast.label, n_seeds=n_seeds), values, scale)


# --- one factor at a time ---------------------------------------------------------------------------------


def _one_at_a_time(table: Table, design: Design, view: str) -> Table:
    """The row with all factors and those without one, or the row without any and those with one."""
    leaving = view == "leave-one-out"
    start = tuple(size - 1 if leaving else 0 for size in design.sizes)
    points = [start, *(_at(start, {i: 0 if leaving else size - 1}) for i, size in enumerate(design.sizes))]
    lacking = [design.name(point) for point in points if point not in design.rows]
    if lacking:
        raise UsageError(f"--view {view}: {table.study} has no row {', '.join(lacking)}")
    rows = [design.rows[point] for point in points]
    title = "leaving one out" if leaving else "adding one in"
    what = "" if design.terms else f" Each factor in turn at its {'first' if leaving else 'last'} level."
    return reduced(table, [row.name for row in rows], rows[0].name, title, what)


def reduced(table: Table, names: Sequence[str], baseline: str, title: str, what: str = "") -> Table:
    """Some rows of a table as a table of their own, with another baseline.

    Args:
        names: of the rows, in the order of print; reference rows follow them.
        baseline: one of them.
        title: is added to the table's own.
        what: is added to the caption.
    """
    by_name = {row.name: row for row in table.rows}
    chosen = [by_name[name].model_copy(update={"baseline": baseline}) for name in names]
    chosen += [row for row in table.rows if row.reference]
    drafts = [Draft(row, {c: row.cells[c].values for c in table.columns}) for row in chosen]
    made = assemble(drafts, table.column_info, Rules.of(table))
    found = table.model_copy(
        update={
            "title": f"{table.title or table.study}: {title}",
            "caption": f"Rows of {table.title or table.study}. Δ: difference to {by_name[baseline].label}.{what}",
            "baseline": baseline,
            "rows": made.rows,
            "families": made.families,
            "heat_scales": made.heat_scales,
            "sweep": None,
        }
    )
    return _noted(table, found, made)


def _noted(table: Table, found: Table, made: Assembled) -> Table:
    """With the notes that the new table gives reason for, and those of the study that it was made of."""
    of_the_study = Found(of_the_study=table.study_notes, constant=made.constant)
    return found.model_copy(update={"notes": tuple(table_notes(found, of_the_study))})
