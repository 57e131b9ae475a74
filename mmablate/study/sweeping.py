"""Sensitivity studies: rows made from the values of one or more parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmablate.errors import UsageError
from mmablate.recipe.checking import Draft
from mmablate.recipe.rechecking import Rechecker
from mmablate.recipe.schema import GREEK, Recipe
from mmablate.study.rows import RowPlan, listed, parameter_paths


@dataclass(frozen=True)
class SweepRequest:
    """What `mmablate sweep` was asked for.

    Attributes:
        parameters: names as typed.
        values: grid of the (one) parameter, None for the recipe's own.
        points: rows one by one in place of the grid, each a value for every parameter; rows of one name are one.
        count: values of a range of the recipe that becomes a grid; None for five, where no number was typed.
    """

    parameters: tuple[str, ...]
    values: tuple[Any, ...] | None = None
    points: tuple[Mapping[str, Any], ...] | None = None
    count: int | None = None


@dataclass(frozen=True)
class Swept:
    """What a sweep starts from.

    Attributes:
        base: the row in which the parameters are varied.
        paths: parameter -> the dotted keys that it sets.
        used: parameter -> the value that the row has.
        weights: parameters that are weights of loss terms.
    """

    base: RowPlan
    paths: Mapping[str, Sequence[str]]
    used: Mapping[str, Any]
    weights: frozenset[str]


def swept_row(draft: Draft, plans: Sequence[RowPlan], parameters: Sequence[str]) -> Swept:
    """Where the parameters stand.

    Raises:
        UsageError: a parameter that the recipe does not know, is given twice, or is in no row.
    """
    if len(set(parameters)) != len(parameters):
        raise UsageError(f"--param {', '.join(parameters)}: a parameter is given twice")
    paths = {name: _paths(draft, name) for name in parameters}
    base = _swept_row(draft, plans, paths)
    used = {name: _used(draft, base, paths[name][0]) for name in paths}
    weights = {name for name, some in paths.items() if some[0].startswith("losses.") and some[0].endswith(".weight")}
    return Swept(base, paths, used, frozenset(weights))


def sweep_rows(draft: Draft, plans: Sequence[RowPlan], request: SweepRequest) -> tuple[list[RowPlan], dict[str, Any]]:
    """Rows `beta=0`, `beta=1`, ... over the row that contains the swept terms.

    For a loss weight the baseline is the value 0 (the term absent), added where the grid lacks it; for any
    other parameter it is the recipe's own value, or the first of a grid without it. Of points the baseline is
    the first row.

    Raises:
        UsageError: a parameter that the recipe does not know, or one without values.
    """
    swept = swept_row(draft, plans, request.parameters)
    if request.points is not None:
        zeros = {name: 0 if name in swept.weights else swept.used[name] for name in request.parameters}
        combinations = list({row_name(point): point for point in (zeros, *map(dict, request.points))}.values())
    else:
        grids, zeros = _grids(draft, request, swept)
        combinations = [dict(zip(grids, some, strict=True)) for some in itertools.product(*grids.values())]
    rows = [_row(swept.base, values, swept.paths, draft) for values in combinations]
    info = {
        "parameters": list(request.parameters),
        "symbols": [symbol_of(draft, name) for name in request.parameters],
        "used": [swept.used[name] for name in request.parameters],
        "baseline": row_name(zeros),
        "row": swept.base.name,
    }
    return rows, info


def _grids(draft: Draft, request: SweepRequest, swept: Swept) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The values of each parameter, and the one of each that the baseline has."""
    ranged = [name for name, about in draft.sections["sweep"].items() if about.values is None]
    if request.count is not None and not set(ranged) & set(request.parameters):
        raise UsageError(f"--trials {request.count}: the grid's values are listed; it goes with --range or a search")
    grids, zeros = {}, {}
    for name in request.parameters:
        values = _values(draft, name, request)
        reference = 0 if name in swept.weights else swept.used[name] if swept.used[name] in values else values[0]
        grids[name] = values if reference in values else [reference, *values]
        zeros[name] = grids[name][grids[name].index(reference)]  # as written: 0, 0.0 or -0.0
    return grids, zeros


def linear_or_log(low: float, high: float, count: int, *, log: bool) -> tuple[float, ...]:
    """`count` values from low to high, ends included, rounded to 6 significant digits.

    Raises:
        UsageError: bounds that are no range, or a logarithmic one that is not positive.
    """
    finite = math.isfinite(low) and math.isfinite(high)
    if not finite or low >= high or count < 2 or (log and low <= 0):
        raise UsageError(f"--range {low:g}:{high:g}{':log' if log else ''}: LO < HI (LO > 0 for log), 2 trials or more")
    step = [i / (count - 1) for i in range(count)]
    raw = [low * (high / low) ** t if log else low + (high - low) * t for t in step]
    return tuple(float(f"{value:.6g}") for value in raw)


def _paths(draft: Draft, name: str) -> list[str]:
    paths = parameter_paths(draft, name)
    if paths is None:
        greek = {symbol: word for word, symbol in GREEK.items()}
        symbols = {loss.symbol for loss in draft.sections["losses"].values() if loss.symbol}
        known = dict.fromkeys([*draft.sections["sweep"], *(greek.get(s, s) for s in sorted(symbols))])
        raise UsageError(f"--param {name}: the recipe has no such parameter (there are: {', '.join(known)})")
    return paths


def _swept_row(draft: Draft, plans: Sequence[RowPlan], paths: Mapping[str, Sequence[str]]) -> RowPlan:
    """The row that the recipe names for a parameter.

    Without one, the first row that contains every swept term; the last row for parameters that are of no term.
    """
    sweep = draft.sections["sweep"]
    named = {name: sweep[name].row for name in paths if name in sweep and sweep[name].row is not None}
    if len(set(named.values())) > 1:
        told = ", ".join(f"{name} in {row}" for name, row in named.items())
        raise UsageError(f"--param {', '.join(paths)}: the recipe varies them in different rows ({told})")
    groups = [
        {path.split(".")[1] for path in some} & set(draft.sections["losses"])
        for some in paths.values()
        if some[0].startswith("losses.")
    ]
    able = [plan for plan in plans if all(terms & set(plan.losses) for terms in groups)]
    for name, row in named.items():
        if row not in (there := [plan.name for plan in plans]):
            raise UsageError(f"sweep.{name}.row: no row has that name (there are: {listed(there)}), got {row!r}")
        if row not in [plan.name for plan in able]:
            raise UsageError(f"--param {', '.join(paths)}: the row {row} does not contain the term")
        return next(plan for plan in able if plan.name == row)
    if not able:
        raise UsageError(f"--param {', '.join(paths)}: no row contains the term")
    return able[0] if groups else plans[-1]


def _values(draft: Draft, name: str, request: SweepRequest) -> list[Any]:
    values = list(request.values) if request.values is not None else None
    if values is None:
        sweep = draft.sections["sweep"]
        if name not in sweep:
            raise UsageError(f"--param {name}: the recipe's `sweep:` block gives it no values; say --values or --range")
        values = sweep[name].values
        if values is None:
            low, high = sweep[name].range
            spaced = linear_or_log(low, high, request.count or 5, log=sweep[name].log)
            values = list(dict.fromkeys(round(value) for value in spaced)) if sweep[name].integer else list(spaced)
    if len(set(values)) != len(values):
        raise UsageError(f"--param {name}: a value is given twice: {values}")
    return values


def _used(draft: Draft, base: RowPlan, path: str) -> Any:
    if path in base.overrides:
        return base.overrides[path]
    here: Any = _of_row(draft, base)
    for part in path.split("."):
        if not isinstance(here, dict) or part not in here:
            raise UsageError(f"--param {path}: the recipe has no such key")
        here = here[part]
    if isinstance(here, list | dict):
        raise UsageError(f"--param {path}: a list or mapping cannot be varied, a single value in it can")
    return here


def _of_row(draft: Draft, base: RowPlan) -> dict[str, Any]:
    """The recipe as the row has it: with the options of another update rule, say, where it names one."""
    recipe = draft.form.model_construct(**draft.sections)
    data: dict[str, Any] = recipe.model_dump(mode="json", warnings=False)
    if not isinstance(recipe, Recipe) or not base.overrides:
        return data
    own = [
        (tuple(path.split(".")), value)
        for key, value in base.overrides.items()
        for path in parameter_paths(draft, key) or [key]
    ]
    sections = Rechecker(recipe).check(own, base.losses).sections
    if sections is None:
        return data  # what is not sound is told with the row
    changed = recipe.model_copy(update=sections._asdict())
    return changed.model_dump(mode="json", warnings=False)


def symbol_of(draft: Draft, name: str) -> str:
    """A parameter as printed, e.g. "β" for beta."""
    sweep = draft.sections["sweep"]
    given = sweep[name].symbol if name in sweep else None
    return given or GREEK.get(name, name)


def _row(base: RowPlan, values: Mapping[str, Any], paths: Mapping[str, Sequence[str]], draft: Draft) -> RowPlan:
    overrides = dict(base.overrides)
    for name, value in values.items():
        overrides.update(dict.fromkeys(paths[name], value))
    label = ", ".join(f"{symbol_of(draft, name)} = {_text(value)}" for name, value in values.items())
    return RowPlan(row_name(values), label, base.losses, overrides, values, base.path, swept=True)


def row_name(values: Mapping[str, Any]) -> str:
    """ "alpha=0.1+beta=10"; numbers as short as they stay exact."""
    return "+".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
