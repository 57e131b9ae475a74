"""What a study's page tells besides its scores, as plain view values for the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml
from markupsafe import Markup

from mmablate.analysis.details import Fact, Failure, RowDiff, StudyDetails
from mmablate.analysis.table import Table
from mmablate.analysis.usage import RowUse
from mmablate.report import html, labels, numbers, plots
from mmablate.report.training_plots import training_drawings

_FACT_NAMES = {
    "device": "device",
    "device_name": "processor",
    "precision": "precision",
    "threads": "threads of a run",
    "python": "Python",
    "torch": "PyTorch",
    "cuda": "CUDA",
    "mmablate": "mmablate",
}
_MODES = {"in_turn": "in turn", "stacked": "stacked"}
_LONGEST_MESSAGE = 2000
_MOST_USES = 100
_LONGEST_RECIPE = 200_000


class DiffView(NamedTuple):
    """One row against its baseline: (key, before, after) of each setting; `word` where there is none to list."""

    row: Markup
    baseline: Markup
    changes: list[tuple[str, str, str]]
    word: str


class FactView(NamedTuple):
    """A property of the machines; `differs` where the runs do not share it."""

    name: str
    value: str
    differs: bool


class UseView(NamedTuple):
    """What a row used: peak memory, share of the device."""

    row: Markup
    memory: str
    share: str


class FailureView(NamedTuple):
    """Runs of a row that failed alike."""

    row: Markup
    seeds: str
    type: str
    message: str
    step: str


class DetailsView(NamedTuple):
    """Everything the template prints of a study's details.

    Attributes:
        training: the card of the curves, None without any.
        differing: names of the properties that runs do not share.
        uses: none where the records do not tell.
        together: most runs trained in one group, where there were several, else "".
    """

    training: list[html.PlotView]
    recipe: str
    diffs: list[DiffView]
    more_diffs: int
    facts: list[FactView]
    differing: str
    failures: list[FailureView]
    more_failures: int
    uses: list[UseView]
    more_uses: int
    together: str


def details_view(details: StudyDetails, table: Table) -> DetailsView:
    """The details as the template prints them.

    Args:
        details: of the study.
        table: of the study; its decimal sign holds for the figures, too.
    """
    drawn = training_drawings(details.training, decimal=table.decimal) if details.training else []
    facts = _facts(details, table)
    together = max((use.together for use in details.uses), default=1)
    listed = sum(len(failure.seeds) for failure in details.failures)
    return DetailsView(
        training=html.plot_views(plots.cards(drawn, "training")),
        recipe=recipe_text(details.recipe),
        diffs=[_diff_view(diff) for diff in details.diffs],
        more_diffs=details.n_diffs - len(details.diffs),
        facts=facts,
        differing=", ".join(fact.name for fact in facts if fact.differs),
        failures=[_failure_view(failure) for failure in details.failures],
        more_failures=max(0, details.n_failures - listed),
        uses=[_use_view(use, table.decimal) for use in details.uses[:_MOST_USES]],
        more_uses=max(0, len(details.uses) - _MOST_USES),
        together=numbers.whole(together) if together > 1 else "",
    )


def links(view: DetailsView) -> list[tuple[str, str]]:
    """Anchor and name of the sections that there are, in the order of the page."""
    sections = (
        ("failures", "what failed", view.failures),
        ("training", "training", view.training),
        ("settings", "settings by row", view.diffs),
        ("recipe", "recipe", view.recipe),
        ("machines", "environment", view.facts),
    )
    return [(anchor, name) for anchor, name, content in sections if content]


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """The resolved recipe as YAML, "" where the study has none."""
    if not recipe:
        return ""
    text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    lines = (labels.clean(line.strip()) and " " * (len(line) - len(line.lstrip())) + labels.clean(line)
             for line in text.splitlines())  # fmt: skip
    text = "\n".join(lines)
    return text if len(text) <= _LONGEST_RECIPE else f"{text[:_LONGEST_RECIPE]}\n…"


def _diff_view(diff: RowDiff) -> DiffView:
    changes = [(labels.clean(c.key), labels.clean(c.before), labels.clean(c.after)) for c in diff.changes or ()]
    word = "" if changes else "nothing differs" if diff.changes is not None else "its config.json could not be read"
    return DiffView(html.label_html(diff.row), html.label_html(diff.baseline), changes, word)


def _facts(details: StudyDetails, table: Table) -> list[FactView]:
    n = details.n_runs
    time = numbers.seconds(details.seconds, table.decimal)
    found = [FactView("runs", f"{n}, {time} of computing together" if n else "none yet", False)]
    mode = details.execution.get("mode")
    if mode:
        jobs = details.execution.get("jobs")
        found.append(
            FactView("execution", labels.clean(_MODES.get(mode, mode)) + (f", {jobs} jobs" if jobs else ""), False)
        )
    found += [_fact_view(fact) for fact in details.facts]
    for name, value in (("profile", details.profile), ("begun", details.created)):
        if value:
            found.append(FactView(name, labels.clean(value), False))
    return found


def _fact_view(fact: Fact) -> FactView:
    name = labels.clean(_FACT_NAMES.get(fact.name, fact.name.replace("_", " ")))
    if len(fact.values) == 1:
        return FactView(name, labels.clean(fact.values[0][0]), False)
    shown = [f"{labels.clean(value)} ({count} run{'s' if count != 1 else ''})" for value, count in fact.values[:8]]
    if len(fact.values) > len(shown):
        shown.append(f"{len(fact.values) - len(shown)} further values")
    return FactView(name, ", ".join(shown), True)


def _use_view(use: RowUse, decimal: str) -> UseView:
    memory = numbers.MISSING if use.peak_memory_mb is None else f"{numbers.fixed(use.peak_memory_mb, 0)} MB"
    share = numbers.MISSING if use.utilisation is None else f"{numbers.fixed(100 * use.utilisation, 0, decimal)} %"
    return UseView(html.label_html(use.row), memory, share)


def _failure_view(failure: Failure) -> FailureView:
    message = labels.clean(failure.message)
    return FailureView(
        row=html.label_html(failure.row),
        seeds=_ranges(failure.seeds),
        type=labels.clean(failure.type),
        message=message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…",
        step=numbers.MISSING if failure.step is None else str(failure.step),
    )


def _ranges(seeds: tuple[int, ...]) -> str:
    """ "0–4, 7": runs of neighbours are one range."""
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed <= spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return ", ".join(str(a) if a == b else f"{a}–{b}" if b - a > 1 else f"{a}, {b}" for a, b in spans)
