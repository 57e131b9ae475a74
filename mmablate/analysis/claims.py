"""Claims put to the test: each a one-sided test over seeds, all of a recipe one Holm family at 5 %."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmablate.analysis.assembly import ALPHA
from mmablate.analysis.building import build_table
from mmablate.analysis.differences import common_seeds, estimated
from mmablate.analysis.statistics import LARGEST, Estimate, holm, mean_estimate
from mmablate.analysis.table import Row, Table
from mmablate.claims import Claim, Comparison, Equivalence, Quantity, Trend, among, is_about, parse_claim
from mmablate.errors import StoreError
from mmablate.results import StudyStore

Outcome = Literal["holds", "contradicted", "undecided"]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim.

    Attributes:
        claim: as written.
        outcome: "holds": the test of the claim is significant after Holm; "contradicted": that of its opposite is;
            else "undecided".
        what: of which quantity `estimate` is, in words.
        estimate: the difference, mean or slope; None where there are no scores for it.
        ci: its two-sided interval at the table's confidence.
        p, p_adjusted: one-sided, for the claim.
        p_against, p_against_adjusted: one-sided, for its opposite.
        n_seeds: pairs of seeds, or seeds, behind it.
        test: "paired", "welch", "one sample" or "slope".
        unit: of the estimate.
        reason: why no test could be made; empty otherwise.
    """

    claim: str
    outcome: Outcome = "undecided"
    what: str = ""
    estimate: float | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_against: float | None = None
    p_against_adjusted: float | None = None
    n_seeds: int = 0
    test: str = ""
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Checked:
    """The verdicts on one study's claims, in the order of the recipe.

    Attributes:
        n_elsewhere: claims of the recipe that are about its table and not this sweep of it, or the other way.
    """

    study: str
    title: str
    synthetic: bool
    confidence: float
    n_decimals: int
    verdicts: tuple[Verdict, ...]
    n_elsewhere: int = 0

    @property
    def all_hold(self) -> bool:
        """Whether every claim holds."""
        return all(verdict.outcome == "holds" for verdict in self.verdicts)

    def to_json_dict(self) -> dict[str, Any]:
        """The verdicts as JSON."""
        return {
            "schema": 1,
            "study": self.study,
            "synthetic": self.synthetic,
            "all_hold": self.all_hold,
            "claims": [
                {**vars(verdict), "ci": None if verdict.ci is None else list(verdict.ci)} for verdict in self.verdicts
            ],
        }


def check_study(store: StudyStore) -> Checked:
    """Evaluates the claims of a study's recipe on its records.

    Raises:
        StoreError: no study there, or claims that cannot be read.
    """
    study = store.read_study()
    recipe = study.get("recipe")
    claims = recipe.get("claims") if isinstance(recipe, dict) else None
    if claims is not None and (not isinstance(claims, list) or not all(isinstance(c, str) for c in claims)):
        raise StoreError(f"{store.folder / 'study.json'}: recipe.claims: a list of sentences, got {str(claims)[:80]!r}")
    table = build_table(store)
    try:
        about = [text for text in claims or [] if _is_about(study, _parsed(text))]
        verdicts = check_claims(table, about)
    except ValueError as error:
        raise StoreError(f"{store.folder / 'study.json'}: recipe.claims: {error}") from error
    return Checked(
        table.study,
        table.title,
        table.dataset.synthetic,
        table.confidence,
        table.n_decimals,
        tuple(verdicts),
        n_elsewhere=len(claims or []) - len(about),
    )


def _is_about(study: Mapping[str, Any], claim: Claim) -> bool:
    layout = study["table"]
    return is_about(
        claim,
        rows={row["name"] for row in layout["rows"]} | {"teacher"},
        factors={f for row in layout["rows"] for f in (*(row.get("levels") or ()), *(row.get("values") or ()))},
        sweeps=study["recipe"].get("sweep") or {},
        swept=bool(layout.get("sweep")),
    )


def check_claims(table: Table, claims: Sequence[str]) -> list[Verdict]:
    """Evaluates claims on a table.

    Claims and their opposites are two Holm families, each of all claims that can be tested: among all that hold
    by chance, and among all that are contradicted by chance, at least one occurs with a probability of 5 %.

    Raises:
        ValueError: a claim of no known form.
    """
    names = {row.name for row in table.rows}
    verdicts = [_evaluate(table, text, among(_parsed(text), names)) for text in claims]
    tested = [i for i, verdict in enumerate(verdicts) if verdict.p is not None]
    for_it = holm([verdicts[i].p or 0.0 for i in tested])
    against = holm([verdicts[i].p_against or 0.0 for i in tested])
    for i, p, q in zip(tested, for_it, against, strict=True):
        outcome: Outcome = "holds" if p < ALPHA else "contradicted" if q < ALPHA else "undecided"
        verdicts[i] = replace(verdicts[i], outcome=outcome, p_adjusted=p, p_against_adjusted=q)
    return verdicts


def _parsed(text: str) -> Claim:
    try:
        return parse_claim(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error


class _Untestable(Exception):
    """Why a claim cannot be tested; becomes the reason of its verdict."""


def _evaluate(table: Table, text: str, claim: Claim) -> Verdict:
    column = claim.quantity.column
    try:
        if column not in table.columns:
            raise _Untestable(f"no column is called {column!r} (there are: {', '.join(table.columns)})")
        unit = table.column_info[column].unit
        if isinstance(claim, Trend):
            return _trend(table, text, claim, unit)
        what, test, estimate = _difference(table, claim)
    except _Untestable as reason:
        return Verdict(text, reason=str(reason))
    points = _signed_points(claim, estimate)
    return _judged(table, Verdict(text, what=what, test=test, unit=unit), estimate, *points)


def _signed_points(claim: Comparison | Equivalence, estimate: Estimate) -> tuple[float | None, float | None]:
    """One-sided p-values for a claim and for its opposite."""
    if isinstance(claim, Equivalence):
        # Two one-sided tests; the opposite is that the difference lies outside, on one side or the other.
        above, below = estimate.p_above(-claim.margin), estimate.p_below(claim.margin)
        outside = estimate.p_above(claim.margin), estimate.p_below(-claim.margin)
        if above is None or below is None or outside[0] is None or outside[1] is None:
            return None, None
        return max(above, below), min(1.0, 2 * min(outside[0], outside[1]))
    if claim.sign == ">":
        return estimate.p_above(claim.margin), estimate.p_below(claim.margin)
    return estimate.p_below(-claim.margin), estimate.p_above(-claim.margin)


def _judged(table: Table, verdict: Verdict, estimate: Estimate, p: float | None, against: float | None) -> Verdict:
    reason = "" if p is not None else "every seed shows the same value: without spread no test can be made"
    return replace(
        verdict, estimate=estimate.value, ci=estimate.interval(table.confidence), n_seeds=estimate.n,
        p=p, p_against=against, reason=reason,
    )  # fmt: skip


# --- scores -----------------------------------------------------------------------------------------------


def _row(table: Table, name: str) -> Row:
    found = next((row for row in table.rows if row.name == name), None)
    if found is None:
        raise _Untestable(f"no row is called {name!r}, or it has no runs (there are: {_names(table)})")
    if found.pruned:
        raise _Untestable(f"{name} was stopped before its last seed, by the search that asked it")
    return found


def _names(table: Table) -> str:
    names = [row.name for row in table.rows]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _scores(table: Table, row: Row, quantity: Quantity) -> Scores:
    """Seed -> score, or difference to the row's baseline over common seeds."""
    own = row.cells[quantity.column].values
    about = table.column_info[quantity.column]
    if not own and row.n_seeds:
        why = ", a column that describes some rows only" if about.reference else ""
        raise _Untestable(f"{row.name} has no value in {quantity.column}{why}")
    if not quantity.of_delta:
        return own
    if about.reference:
        raise _Untestable(f"{quantity.column} describes rows: it has no Δ")
    base = next((other for other in table.rows if other.name == row.baseline), None)
    if base is None or base is row:
        raise _Untestable(f"{row.name} has no Δ: it {'is' if base is row else 'has no'} baseline")
    other = base.cells[quantity.column].values
    return {seed: own[seed] - other[seed] for seed in common_seeds(own, other)}


def _scale(table: Table, column: str) -> float:
    return max((abs(v) for row in table.rows for v in row.cells[column].values.values()), default=0.0)


def _difference(table: Table, claim: Comparison | Equivalence) -> tuple[str, str, Estimate]:
    """What is estimated, by which test, and the estimate."""
    first = _scores(table, _row(table, claim.first), claim.quantity)
    scale = _scale(table, claim.quantity.column)
    if not isinstance(claim.second, str):
        estimate = mean_estimate([value - claim.second for value in first.values()], scale)
        if estimate is None:
            raise _Untestable(_few(claim.first, first))
        return f"{claim.first} − {claim.second:g} on {claim.quantity}", "one sample", estimate
    second = _scores(table, _row(table, claim.second), claim.quantity)
    what = f"{claim.first} − {claim.second} on {claim.quantity}"
    test, estimate = estimated(first, second, scale)
    if estimate is None:
        sides = ((claim.first, first), (claim.second, second))
        raise _Untestable("; ".join(_few(name, scores) for name, scores in sides if len(scores) < 2))
    return what, test, estimate


def _few(name: str, scores: Scores) -> str:
    return f"{name} has {len(scores) or 'no'} seed{'s' if len(scores) != 1 else ''}: a test needs two"


# --- trends -----------------------------------------------------------------------------------------------


def _trend(table: Table, text: str, claim: Trend, unit: str) -> Verdict:
    """t test over seeds of the per-seed least-squares slope on the factor's numeric levels."""
    points = _points(table, claim)
    seeds = [s for s in points[0][1] if all(s in scores for _, scores in points)]
    if len(seeds) < 2:
        raise _Untestable(f"{len(seeds) or 'no'} seed{'s' if len(seeds) != 1 else ''} in all rows: a test needs two")
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    span = high - low
    # On levels from 0 to 1, whose squares neither over- nor underflow.
    places = [(x - low) / span for x, _ in points]
    middle = sum(places) / len(places)
    weight = sum((x - middle) ** 2 for x in places)
    rises = [
        sum((x - middle) * scores[seed] for x, (_, scores) in zip(places, points, strict=True)) / weight
        for seed in seeds
    ]
    estimate = mean_estimate([rise / span for rise in rises], _scale(table, claim.quantity.column) / span)
    assert estimate is not None  # there are two seeds
    above, below = estimate.p_above(0.0), estimate.p_below(0.0)
    p, against = (above, below) if claim.verb == "rises" else (below, above)
    what = f"slope of {claim.quantity} on {claim.factor}, {len(points)} rows"
    return _judged(table, Verdict(text, what=what, test="slope", unit=unit), estimate, p, against)


def _points(table: Table, claim: Trend) -> list[tuple[float, Scores]]:
    """(level, scores) of the rows that the claim is about.

    Rows without a Δ are left out where Δ is asked for, and rows without a value where the column describes some only.
    """
    points = []
    about = table.column_info[claim.quantity.column]
    for row in table.rows:
        level = _level(row, claim.factor)
        if row.reference or row.pruned or level is None or not _chosen(row, claim.rows):
            continue
        if claim.quantity.of_delta and row.baseline in (None, row.name):
            continue
        if about.reference and not row.cells[claim.quantity.column].values:
            continue
        points.append((level, _scores(table, row, claim.quantity)))
    if len({level for level, _ in points}) < 2:
        among = f" among the rows {claim.rows!r}" if claim.rows else ""
        among += f" that have a value in {claim.quantity.column}" if about.reference else ""
        raise _Untestable(f"{claim.factor!r} has fewer than two numeric levels{among}")
    return points


def _level(row: Row, factor: str) -> float | None:
    """The row's level of a factor as a number, where it is one."""
    value = row.level.get(factor, row.levels.get(factor))
    if isinstance(value, bool) or value is None:
        return None
    try:
        level = float(value)
    except (ValueError, OverflowError):
        return None
    return level if abs(level) <= LARGEST else None


def _chosen(row: Row, pattern: str | None) -> bool:
    """Whether a row is meant by its name or by one of its levels."""
    if pattern is None:
        return True
    return any(fnmatch.fnmatchcase(name, pattern) for name in (row.name, *row.levels.values()))
