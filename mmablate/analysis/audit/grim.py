"""GRIM: an accuracy over N samples is a count divided by N, and not every printed number is one.

Source: Brown and Heathers 2017, "The GRIM test", Social Psychological and Personality Science 8(4), for means of
whole numbers. It holds for accuracy and error rate alone: mIoU, F1 and averages over classes are no counts over N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from mmablate.analysis.audit import words
from mmablate.analysis.audit.baselines import to_decimal
from mmablate.analysis.audit.intervals import exact, rounded, truncated
from mmablate.analysis.audit.model import Column, Finding, PrintedNumber, PublishedTable


@dataclass
class GrimCheck:
    """What came of the accuracies of one table."""

    impossible: list[Finding] = field(default_factory=list)
    checked: int = 0
    notes: list[str] = field(default_factory=list)


def nearest(printed: PrintedNumber, samples: int, whole: int) -> Fraction:
    """The possible value next to a printed one.

    Args:
        printed: an accuracy.
        samples: that it is a share of.
        whole: 100 for percent, 1 for shares.
    """
    count = round(exact(printed) * samples / whole)
    return Fraction(whole * min(max(count, 0), samples), samples)


def is_possible(printed: PrintedNumber, samples: int, whole: int) -> bool:
    """Whether some count of `samples` gives the printed number, rounded or cut off."""
    for interval in (rounded(printed), truncated(printed)):
        share = Fraction(samples, whole)
        low, high = Fraction(interval.low * share), Fraction(interval.high * share)
        first = -(-low.numerator // low.denominator)
        first += interval.low_open and first == low
        if max(first, 0) <= samples and (max(first, 0) < high or (max(first, 0) == high and not interval.high_open)):
            return True
    return False


def grim_columns(table: PublishedTable, names: Sequence[str]) -> list[Column]:
    """The columns named; else those called accuracy; else metric columns that are nothing else by name."""
    metrics = [c for c in table.columns if c.kind == "metric"]
    if names:
        wanted = {words.bare(name).lower() for name in names}
        return [c for c in metrics if {c.name.lower(), words.bare(c.header).lower()} & wanted]
    named = [c for c in metrics if words.ACCURACY.search(f"{c.group} {c.header}")]
    named = [c for c in named if not words.NOT_A_COUNT.search(c.header)]
    if named:
        return named
    if words.NOT_A_COUNT.search(table.caption):
        return []
    return [c for c in metrics if not words.NOT_A_COUNT.search(f"{c.group} {c.header}") and c.direction > 0]


def check_grim(table: PublishedTable, samples: int, names: Sequence[str], runs: int) -> GrimCheck:
    """Accuracies that no count can give.

    Args:
        table: to check.
        samples: of the test set.
        names: columns to check; empty for those that look like accuracies.
        runs: equally large runs that a printed number is the mean of.
    """
    check = GrimCheck()
    columns = grim_columns(table, names)
    if not columns:
        check.notes.append("--samples: no column looks like an accuracy (--grim-columns names some)")
    spread = 0
    for column in columns:
        values = [(i, r.entries[column.index]) for i, r in enumerate(table.rows) if r.role == "data"]
        numbers = [e.value for _, e in values if e.value is not None]
        whole = 1 if numbers and all(0 <= n.value <= 1 for n in numbers) and any(n.digits for n in numbers) else 100
        for position, entry in values:
            if entry.value is None:
                continue
            if entry.has_std and runs == 1:
                spread += 1
                continue
            check.checked += 1
            if not is_possible(entry.value, samples * runs, whole):
                row = table.rows[position]
                best = to_decimal(nearest(entry.value, samples * runs, whole), entry.value.digits + 2)
                against = f"nearest count of {samples * runs}"
                check.impossible.append(
                    Finding(table.number, row.label, row.index, column.name, entry.value, best, against)
                )
    if spread:
        check.notes.append(
            f"{spread} accuracies with ± are means over runs and were not held against --samples (--runs)"
        )
    if check.checked:
        names_ = ", ".join(c.name for c in columns)
        check.notes.append(f"--samples holds for accuracy alone, not for mIoU or F1; taken as accuracy: {names_}")
    return check
