"""What a study's table tells of the search that chose its rows, and how a trial is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from mmablate.analysis.statistics import mean_estimate
from mmablate.analysis.statistics.summaries import average

Value = float | int | str | bool


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SearchParameter(_Frozen):
    """One dimension of the space.

    Attributes:
        name, symbol: as typed, as printed.
        kind: "float" and "integer" lie from low to high, "choice" is one of choices.
        log: sampled on a logarithmic scale.
    """

    name: str
    symbol: str
    kind: Literal["float", "integer", "choice"]
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()


class SearchTrial(_Frozen):
    """One trial.

    Attributes:
        number: in the order asked, from 0.
        row: of the table.
        state: "running" as long as it is not told; "pruned" where it was stopped before its last seed.
        objective: None but for a complete trial.
        values: parameter -> value.
        n_seeds: trained.
    """

    number: int
    row: str
    state: Literal["running", "complete", "pruned", "failed"]
    objective: FiniteFloat | None = None
    values: dict[str, Value] = Field(default_factory=dict)
    n_seeds: int = 0


class Search(_Frozen):
    """A search over the values of parameters; every score that it saw was a validation score.

    Attributes:
        sampler, seed: how trials were drawn.
        objective: "mean" over seeds, or "lcb", the one-sided bound of that mean at `confidence`.
        column, direction: of the objective.
        seeds: of every complete trial.
        prune: rule that stopped trials between seeds.
        trials: in the order asked.
        importance: parameter -> share of the variation among good trials, all of them 1; empty where too few
            trials are complete, or only one parameter is searched.
        chosen: row of the best complete trial.
        chosen_objective, baseline_objective: of that row and of the baseline, on the same seeds.
        optimistic: the table's scores are the validation scores that the search looked at.
        check: study in which the chosen row meets the baseline on fresh seeds.
    """

    sampler: Literal["tpe", "random"]
    seed: int = 0
    objective: Literal["mean", "lcb"] = "mean"
    confidence: float = 0.95
    column: str
    direction: Literal["max", "min"] = "max"
    seeds: tuple[int, ...]
    prune: Literal["none", "median", "wilcoxon"] = "none"
    parameters: tuple[SearchParameter, ...]
    trials: tuple[SearchTrial, ...] = ()
    importance: dict[str, FiniteFloat] = Field(default_factory=dict)
    chosen: str | None = None
    chosen_objective: FiniteFloat | None = None
    baseline_objective: FiniteFloat | None = None
    optimistic: bool = False
    check: str | None = None

    def pruned_rows(self) -> frozenset[str]:
        """Rows that were stopped early in every trial that asked them."""
        whole = {trial.row for trial in self.trials if trial.state in ("complete", "failed")}
        return frozenset(trial.row for trial in self.trials if trial.state == "pruned") - whole


def objective_value(values: Sequence[float], *, objective: str, direction: str, confidence: float) -> float | None:
    """How good a trial is, by its validation scores.

    Args:
        values: one a seed.
        objective: "mean"; or "lcb": mean minus t(confidence, n - 1) standard errors, the lower end of the one-sided
            interval of the mean by Student's t; plus where `direction` is "min". Without spread it is the mean.
        confidence: one-sided, e.g. 0.95.

    Returns:
        In the unit of the values; None without values, and for lcb with fewer than two.
    """
    if objective == "mean":
        return average(values) if values else None
    estimate = mean_estimate(values)
    if estimate is None:
        return None
    ends = estimate.interval(2 * confidence - 1) or (estimate.value, estimate.value)
    return ends[0] if direction == "max" else ends[1]
