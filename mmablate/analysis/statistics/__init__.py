"""Statistics over seeds: summaries, tests of differences, corrections for many tests, numbers of seeds.

No bootstrap is offered: below ten seeds its percentile interval covers far too little (measured for a 95 %
interval: 74 % at three seeds, 84 % at five), and from ten on Student's t does as well on scores such as these.
"""

from mmablate.analysis.statistics.estimates import Estimate, mean_estimate, no_spread, welch_estimate
from mmablate.analysis.statistics.multiple import holm
from mmablate.analysis.statistics.power import detectable_effect, seeds_needed, spread_upper_bound
from mmablate.analysis.statistics.signflip import sign_flip_p
from mmablate.analysis.statistics.summaries import LARGEST, mean, mean_over_columns, std

__all__ = [
    "LARGEST",
    "Estimate",
    "detectable_effect",
    "holm",
    "mean",
    "mean_estimate",
    "mean_over_columns",
    "no_spread",
    "seeds_needed",
    "sign_flip_p",
    "spread_upper_bound",
    "std",
    "welch_estimate",
]
