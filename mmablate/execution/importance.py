"""How much each parameter of a search matters: PED-ANOVA of its complete trials."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

FEWEST = 10
"""Complete trials below which nothing is said."""


def importance(study: optuna.Study) -> dict[str, float]:
    """Parameter -> importance, all of them 1, the largest first.

    PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255) as Optuna computes it: how far the best trials differ from all
    trials in the parameter. The best are a tenth, but five at least and half at most.

    Returns:
        {} for one parameter, for fewer than ten complete trials, and where trials do not differ.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = {name for trial in trials for name in trial.params}
    if len(trials) < FEWEST or len(names) < 2 or len({trial.value for trial in trials}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        share = min(0.5, max(0.1, 5 / len(trials)))
        evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
        raw = get_param_importances(study, evaluator=evaluator, normalize=False)
    total = math.fsum(raw.values())
    if not (math.isfinite(total) and total > 0):
        return {}
    shares = {name: value / total for name, value in raw.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
