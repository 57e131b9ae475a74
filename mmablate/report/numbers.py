"""How numbers are printed, the same in every format.

A value that does not exist (None, NaN, infinite) prints as an en dash for people and as nothing in CSV.
A difference that rounds to zero has no sign: "+0.00" would claim a direction that the print does not show.
"""

from __future__ import annotations

import math
from typing import TypeGuard

MISSING = "–"
MINUS = "−"


def is_number(value: float | None) -> TypeGuard[float]:
    """True for a finite number."""
    return value is not None and math.isfinite(value)


def _decimal(value: float, n_decimals: int) -> str:
    """Fixed decimals in ASCII; a negative value that rounds to zero loses its sign."""
    text = f"{value:.{n_decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def fixed_ascii(value: float | None, n_decimals: int) -> str:
    """For machines: "43.71", "-0.40", "" for a missing value."""
    return _decimal(value, n_decimals) if is_number(value) else ""


def signed_ascii(value: float | None, n_decimals: int) -> str:
    """For machines: "+0.02", "-0.40", "0.00", "" for a missing value."""
    text = fixed_ascii(value, n_decimals)
    return f"+{text}" if is_number(value) and value > 0 and float(text) != 0 else text


def fixed(value: float | None, n_decimals: int) -> str:
    """For people: "43.71", "−0.40", "–" for a missing value."""
    return fixed_ascii(value, n_decimals).replace("-", MINUS) or MISSING


def signed(value: float | None, n_decimals: int) -> str:
    """For people: "+0.02", "−0.40", "0.00", "–" for a missing value."""
    return signed_ascii(value, n_decimals).replace("-", MINUS) or MISSING


def count(value: float | None) -> str:
    """A large count with three digits or so: "950", "81.2k", "1.3M", "2.4G"."""
    if not is_number(value):
        return MISSING
    if value < 1000:
        return f"{value:.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if float(f"{value:.1f}") < 1000:
            return f"{value:.1f}{unit}"
    return f"{value:.3g}T"


def seconds(value: float | None) -> str:
    """A duration: "0.05 s", "12.3 s", "14.0 min", "2.5 h"."""
    if not is_number(value):
        return MISSING
    if value < 0.1:
        return f"{value:.2f} s"
    if value < 600:
        return f"{value:.1f} s"
    if value < 2 * 3600:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"


def p_value(value: float) -> str:
    """ "p = 0.013", "p < 0.001"."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def level(value: float) -> str:
    """A value of a swept parameter, as short as it can be written: "0", "0.1", "50", "1e-05"."""
    return f"{value:g}".replace("-", MINUS) if value < 0 else f"{value:g}"
