"""What a search says of itself in words, under the tables that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmablate.analysis.search import Search, SearchParameter

SAMPLERS = {"tpe": "TPE (tree-structured Parzen estimator)", "random": "random sampling"}
_MOST_LISTED = 8


def search_notes(search: Search) -> list[str]:
    """Notes of the study that holds the trials."""
    return [_searched(search), *_chosen(search), *_pruned(search)]


def check_notes(search: Search, study: str) -> list[str]:
    """Notes of the study that checks the chosen row.

    Args:
        study: name of the one that holds the trials.
    """
    n = sum(trial.state == "complete" for trial in search.trials)
    chosen = (
        f"The row {search.chosen} is the best of {n} complete trials of the search {study}, by the "
        f"{described(search)}. The seeds of this table are fresh: no trial was trained with them."
    )
    if search.optimistic:
        return [chosen, f"{_OPTIMISTIC} Fresh seeds do not change that: the samples are the same."]
    return [f"{chosen} The search looked at validation scores, the scores here are on the test split."]


def check_title(symbols: Sequence[str]) -> str:
    """What is added to the recipe's title."""
    return f"best {', '.join(symbols)} of the search, on fresh seeds"


_OPTIMISTIC = (
    "The data have no test labels: the row was chosen on the split that is scored here, so the score of the best row "
    "is optimistic."
)


def described(search: Search) -> str:
    """The objective, e.g. "mean of the validation Mean over seeds 0, 1, 2"."""
    seeds = ", ".join(map(str, search.seeds))
    what = "mean"
    if search.objective == "lcb":
        what = f"{100 * search.confidence:g} % {'lower' if search.direction == 'max' else 'upper'} confidence bound"
    return f"{what} of the validation {search.column} over seed{'s' if len(search.seeds) > 1 else ''} {seeds}"


def extent(parameter: SearchParameter) -> str:
    """A dimension in words, e.g. "β from 0.1 to 100 (log)"."""
    if parameter.kind == "choice":
        return f"{parameter.symbol} among {', '.join(map(str, parameter.choices))}"
    scale = [text for text, on in (("log", parameter.log), ("whole", parameter.kind == "integer")) if on]
    ends = f"{parameter.symbol} from {parameter.low:g} to {parameter.high:g}"
    return f"{ends} ({', '.join(scale)})" if scale else ends


def _searched(search: Search) -> str:
    states = Counter(trial.state for trial in search.trials)
    n = len(search.trials)
    parts = [f"{count} {state}" for state, count in states.items()]
    text = (
        f"Search: {n} trial{'s' if n != 1 else ''} ({', '.join(parts) or 'none yet'}) by {SAMPLERS[search.sampler]}, "
        f"seed {search.seed}, over {'; '.join(map(extent, search.parameters))}. Objective: {described(search)}."
    )
    return f"{text} {_OPTIMISTIC}" if search.optimistic else f"{text} The search looked at no test score."


def _chosen(search: Search) -> list[str]:
    if search.chosen is None or search.chosen_objective is None:
        return []
    base = search.baseline_objective
    against = f", the baseline {base:.2f}" if base is not None else ""
    text = f"Chosen: {search.chosen} with an objective of {search.chosen_objective:.2f}{against}."
    if search.check is not None:
        text += (
            f" It was chosen on the seeds of this table; against the baseline on fresh seeds it stands in "
            f"{search.check}."
        )
    return [text]


def _pruned(search: Search) -> list[str]:
    rows = sorted(search.pruned_rows())
    if not rows:
        return []
    more = f" and {len(rows) - _MOST_LISTED} more" if len(rows) > _MOST_LISTED else ""
    return [
        f"Stopped before the last seed, by the {search.prune} rule on validation, and compared with no row: "
        f"{', '.join(rows[:_MOST_LISTED])}{more}."
    ]
