"""The verdicts of `mmablate check` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.style import Style
from rich.text import Text

from mmablate.analysis.claims import Checked, Verdict
from mmablate.report import labels, numbers
from mmablate.report.wrapping import wrap

_STYLES = {"holds": Style(color="green"), "contradicted": Style(color="red", bold=True), "undecided": Style(dim=True)}
_TESTS = {"paired": "pairs of seeds", "welch": "seeds, not paired (Welch)", "one sample": "seeds", "slope": "seeds"}


def evidence(verdict: Verdict, checked: Checked) -> str:
    """What a verdict rests on, in one sentence."""
    if verdict.estimate is None:
        return verdict.reason
    digits = checked.n_decimals
    if verdict.test == "slope":  # a slope can be far smaller than a score
        digits += 2
    parts = [f"{verdict.what} = {numbers.signed(verdict.estimate, digits)}"]
    if verdict.ci is not None:
        low, high = (numbers.signed(end, digits) for end in verdict.ci)
        parts.append(f"{100 * checked.confidence:g} % interval {low} to {high}")
    parts.append(f"{verdict.n_seeds} {_TESTS[verdict.test]}")
    if verdict.p is not None and verdict.p_adjusted is not None:
        parts.append(f"one-sided {numbers.p_value(verdict.p)}, adjusted {numbers.p_value(verdict.p_adjusted)}")
    if verdict.outcome == "contradicted" and verdict.p_against_adjusted is not None:
        parts.append(f"for the opposite, adjusted {numbers.p_value(verdict.p_against_adjusted)}")
    if verdict.reason:
        parts.append(verdict.reason)
    return "; ".join(parts)


def lines(checked: Checked, width: int) -> Iterator[Text]:
    """Everything about one study's claims, none wider than `width`."""
    for text in wrap(labels.clean(f"{checked.title or checked.study}: claims"), width):
        yield Text(text, style=Style(bold=True), no_wrap=True)
    if checked.synthetic:
        yield Text("SYNTHETIC DATA", style=Style(bold=True, color="yellow"))
    for verdict in checked.verdicts:
        first, *further = wrap(labels.clean(verdict.claim), max(width - 14, 1))
        yield Text.assemble((f"{verdict.outcome:<13} ", _STYLES[verdict.outcome]), first, no_wrap=True)
        for text in further:
            yield Text(" " * 14 + text, no_wrap=True)
        for text in wrap(labels.clean(evidence(verdict, checked)), max(width - 14, 1)):
            yield Text(" " * 14 + text, style=Style(dim=True), no_wrap=True)
    counts = [(sum(v.outcome == o for v in checked.verdicts), o) for o in ("holds", "contradicted", "undecided")]
    told = ", ".join(f"{n} {outcome}" for n, outcome in counts if n)
    summary = f"{told or 'no claims'}. One-sided tests over seeds, the claims of the recipe one Holm family at 5 %."
    if checked.n_elsewhere:
        n = checked.n_elsewhere
        summary += f" {n} claim{'s are' if n > 1 else ' is'} about another study of this recipe."
    for text in wrap(summary, width):
        yield Text(text, no_wrap=True)


def print_claims(studies: Sequence[Checked], console: Console) -> None:
    """Prints the verdicts in the console's width, an empty line between studies."""
    for index, checked in enumerate(studies):
        if index:
            console.print()
        for line in lines(checked, console.width):
            console.print(line, soft_wrap=True)
