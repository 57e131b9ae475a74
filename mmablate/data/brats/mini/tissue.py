"""Tissue parameters at 1.5 T and the signal equations of the four sequences.

Sources. CSF, grey and white matter: the parameters of the BrainWeb phantom (Kwan, Evans & Pike 1999, IEEE Trans. Med.
Imaging 18:1085). Relaxivity of gadopentetate in plasma at 1.5 T, 4.1 per mmol/l and s: Rohrer et al. 2005, Invest.
Radiol. 40:715. Oedema, tumour and necrosis have longer T1 and T2 than white matter, overlapping widely (Just & Thelen
1988, Radiology 169:779); the values here are chosen in that order, not measured. Spin echo and inversion recovery by
the Bloch equations for a long TR against T2 (Haacke et al. 1999, Magnetic Resonance Imaging).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmablate.data.brats.mini.fields import Field

RELAXIVITY = 4.1
"""Of the contrast agent on 1/T1: per mmol/l and s."""


@dataclass(frozen=True)
class Tissue:
    """What decides the signal of a tissue.

    Attributes:
        density: protons, relative to water.
        t1, t2: relaxation times (ms).
    """

    density: float
    t1: float
    t2: float

    def varied(self, rng: np.random.Generator, spread: float) -> Tissue:
        """Another patient's: relaxation times by log-normal factors of this spread."""
        t1, t2 = np.exp(spread * rng.standard_normal(2))
        return replace(self, t1=float(self.t1 * t1), t2=float(self.t2 * t2))


CSF = Tissue(1.0, 2569.0, 329.0)
GREY = Tissue(0.86, 833.0, 83.0)
WHITE = Tissue(0.77, 500.0, 70.0)
OEDEMA = Tissue(0.88, 1120.0, 160.0)
ENHANCING = Tissue(0.87, 1100.0, 120.0)
NECROSIS = Tissue(0.96, 1700.0, 190.0)
SOLID = Tissue(0.90, 1300.0, 150.0)
"""A core that does not enhance and is not necrotic, as in gliomas of low grade."""
LESION = Tissue(0.85, 880.0, 120.0)
"""White-matter hyperintensity of age, no tumour."""
BLOOD = Tissue(0.30, 1440.0, 60.0)
"""In a vessel: most of its protons leave the slice between the pulses (flow void)."""


@dataclass(frozen=True)
class Timing:
    """Repetition and echo times (ms) of one examination; T1ce has those of T1."""

    t1: tuple[float, float]
    t2: tuple[float, float]
    flair: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Timing:
        """Within the ranges usual in hospitals."""
        low = [(450, 650), (9, 15), (4000, 6000), (85, 110), (8000, 10000), (100, 125)]
        found = [float(rng.uniform(*bounds)) for bounds in low]
        return cls((found[0], found[1]), (found[2], found[3]), (found[4], found[5]))


def spin_echo(density: Field | float, t1: Field | float, t2: Field | float, tr: float, te: float) -> Field:
    """PD (1 - exp(-TR/T1)) exp(-TE/T2); times in ms."""
    return np.asarray(density * (1 - np.exp(-tr / np.asarray(t1))) * np.exp(-te / np.asarray(t2)), dtype=np.float32)


def inversion_recovery(
    density: Field | float, t1: Field | float, t2: Field | float, tr: float, te: float, ti: float
) -> Field:
    """PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2); times in ms."""
    t1 = np.asarray(t1)
    recovered = np.abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))
    return np.asarray(density * recovered * np.exp(-te / np.asarray(t2)), dtype=np.float32)


def nulling_time(t1: float, tr: float) -> float:
    """TI (ms) at which a tissue of this T1 gives no signal in inversion recovery."""
    return float(t1 * np.log(2 / (1 + np.exp(-tr / t1))))


def enhanced(t1: Field | float, concentration: Field | float) -> Field:
    """T1 (ms) with this much contrast agent (mmol/l): 1/T1' = 1/T1 + r c."""
    return np.asarray(1 / (1 / np.asarray(t1) + RELAXIVITY * np.asarray(concentration) / 1000), dtype=np.float32)
