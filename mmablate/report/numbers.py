"""How numbers are printed, the same in every format.

A value that does not exist (None, NaN, infinite) prints as an en dash for people and as nothing in CSV.
A difference that rounds to zero has no sign: "+0.00" would claim a direction that the print does not show.
What people read has the decimal sign of the table (`decimal`); what machines read has the point.
"""

from __future__ import annotations

import math
from typing import TypeGuard

MISSING = "–"
MINUS = "−"
# From here on a number has more digits than a double holds: it is written as a power of ten.
_HUGE = 1e15


def is_number(value: float | None) -> TypeGuard[float]:
    """True for a finite number that a double holds: a whole number of a foreign table may be larger than that."""
    try:
        return value is not None and math.isfinite(value)
    except OverflowError:
        return False


def _rounded(value: float, n_decimals: int) -> str:
    """Fixed decimals in ASCII; a negative value that rounds to zero loses its sign."""
    text = f"{value:.{n_decimals}{'e' if abs(value) >= _HUGE else 'f'}}"
    return text.lstrip("-") if float(text) == 0 else text


def _for_people(text: str, decimal: str) -> str:
    """ASCII digits with a real minus and the decimal sign."""
    return text.replace("-", MINUS).replace(".", decimal)


def fixed_ascii(value: float | None, n_decimals: int) -> str:
    """For machines: "43.71", "-0.40", "" for a missing value; "1.23e+20" from 1e15 on."""
    return _rounded(value, n_decimals) if is_number(value) else ""


def signed_ascii(value: float | None, n_decimals: int) -> str:
    """For machines: "+0.02", "-0.40", "0.00", "" for a missing value."""
    text = fixed_ascii(value, n_decimals)
    return f"+{text}" if is_number(value) and value > 0 and float(text) != 0 else text


def fixed(value: float | None, n_decimals: int, decimal: str = ".") -> str:
    """For people: "43.71", "−0.40", "–" for a missing value."""
    return _for_people(fixed_ascii(value, n_decimals), decimal) or MISSING


def signed(value: float | None, n_decimals: int, decimal: str = ".") -> str:
    """For people: "+0.02", "−0.40", "0.00", "–" for a missing value."""
    return _for_people(signed_ascii(value, n_decimals), decimal) or MISSING


def interval(ends: tuple[float, float], n_decimals: int, decimal: str = ".") -> str:
    """An interval of a Δ: "[−0.12, +0.74]"; with a decimal comma its ends are parted by a semicolon."""
    low, high = (signed(end, n_decimals, decimal) for end in ends)
    return f"[{low}{';' if decimal == ',' else ','} {high}]"


def whole(value: int | None) -> str:
    """A number of seeds or samples: "19", "1e+20" from 1e15 on, "–" for a missing value."""
    if not is_number(value):
        return MISSING
    return f"{value:.3g}" if abs(value) >= _HUGE else _for_people(str(value), ".")


def count(value: float | None, decimal: str = ".") -> str:
    """A large count with three digits or so: "950", "81.2k", "1.3M", "2.4G"."""
    if not is_number(value):
        return MISSING
    if value < 1000:
        return f"{value:.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if float(f"{value:.1f}") < 1000:
            return _for_people(f"{value:.1f}{unit}", decimal)
    return _for_people(f"{value:.3g}T", decimal)


def seconds(value: float | None, decimal: str = ".") -> str:
    """A duration: "0.05 s", "12.3 s", "14.0 min", "2.5 h"."""
    if not is_number(value):
        return MISSING
    if value < 0.1:
        text = f"{value:.2f} s"
    elif value < 600:
        text = f"{value:.1f} s"
    elif value < 2 * 3600:
        text = f"{value / 60:.1f} min"
    else:
        text = f"{value / 3600:.1f} h"
    return _for_people(text, decimal)


def p_bare(value: float, decimal: str = ".") -> str:
    """A p-value without its name: "0.013", "< 0.001"."""
    return _for_people("< 0.001" if value < 0.001 else f"{value:.3f}", decimal)


def p_value(value: float, decimal: str = ".") -> str:
    """ "p = 0.013", "p < 0.001"."""
    text = p_bare(value, decimal)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def percent(share: float, decimal: str = ".") -> str:
    """A share of one: "95 %", "99.5 %"."""
    return _for_people(f"{100 * share:.6g} %", decimal)


def level(value: float, decimal: str = ".") -> str:
    """A value of a swept parameter, as short as it can be written: "0", "0.1", "50", "1e-05", "−2"."""
    text = f"{value:g}"
    return (f"{MINUS}{text[1:]}" if value < 0 else text).replace(".", decimal)
