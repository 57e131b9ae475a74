"""Rows: from the forms that a recipe may use to a flat list of named overrides.

A row is data: a name, a label and overrides of the recipe. Lists, products, leave-one-out and the rest
are ways to write such lists, not code paths of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmablate.recipe.checking import Draft
from mmablate.recipe.programs import setting_key
from mmablate.recipe.reading import KeyPath, Source
from mmablate.recipe.schema import GREEK, Expander, Loss, Recipe, RowSpec
from mmablate.study.constraints import Constraints
from mmablate.study.fractional import Fraction, parse_generators


@dataclass(frozen=True)
class RowPlan:
    """A row before it is laid over the recipe.

    Attributes:
        name, label: as in the table; a label of None is made from the losses or levels.
        losses: the terms it has, in the order of the recipe.
        overrides: dotted key -> value.
        levels: factor -> level, for rows made from factors.
        path: where it stands in the recipe, for messages.
        swept: made by a sweep, not written in the recipe.
    """

    name: str
    label: str | None
    losses: tuple[str, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    path: KeyPath = ("rows",)
    swept: bool = False


SHOWN = 20  # names in a message


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """ "a, b, c and 997 more": all names but those that a message has no room for."""
    more = len(names) - shown
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:shown])} and {more} more"


Combination = tuple[tuple[str, str], ...]  # ((factor, level), ...)


def expand_rows(draft: Draft) -> list[RowPlan]:
    """All rows of a draft, problems noted in it; an empty list where the sections needed are not sound."""
    if not draft.has("rows", "losses", "factors"):
        return []
    rows = draft.sections["rows"]
    everything = _terms(draft)
    if rows is None:
        plans = [RowPlan("+".join(everything), None, everything)]
    elif isinstance(rows, Expander):
        plans = list(_expand(draft, rows, ("rows",)))
    else:
        plans = [plan for i, item in enumerate(rows) for plan in _item(draft, item, ("rows", i))]
    seen: dict[str, RowPlan] = {}
    for plan in plans:
        if plan.name in seen:
            draft.report(plan.path, f"two rows are called {plan.name!r}; a `name` makes them differ")
        seen[plan.name] = plan
    if not plans and not draft.problems:
        draft.report(("rows",), "no row is left")
    return list(seen.values())


def _item(draft: Draft, item: Any, path: KeyPath) -> Iterator[RowPlan]:
    if isinstance(item, Expander):
        yield from _expand(draft, item, path)
        return
    spec = item if isinstance(item, RowSpec) else None
    losses, where = item, path
    overrides: Mapping[str, Any] = {}
    if spec is not None:
        overrides = {key: value for key, value in spec.overrides.items() if key != "losses"}
        losses = spec.overrides.get("losses", spec.losses)
        where = (*path, "overrides", "losses") if "losses" in spec.overrides else (*path, "losses")
    chosen = _losses(draft, losses, where)
    if chosen is not None:
        name, label = (spec.name, spec.label) if spec else ("+".join(chosen), None)
        yield RowPlan(name, label, chosen, overrides, path=path)


def _terms(draft: Draft) -> tuple[str, ...]:
    """The losses that the recipe writes; one that is not sound has been told and is no fault of a row."""
    raw = draft.source.data.get("losses")
    return tuple(map(str, raw)) if isinstance(raw, Mapping) else tuple(draft.sections["losses"])


def _losses(draft: Draft, losses: Any, path: KeyPath) -> tuple[str, ...] | None:
    """The chosen terms in the order of the recipe; None with a problem noted."""
    known = _terms(draft)
    if losses is None:
        return known
    if not isinstance(losses, (list, tuple)) or not losses:
        draft.report(path, f"a list of at least one loss, got {losses!r}")
        return None
    unknown = [name for name in losses if name not in known]
    if unknown:
        defined = ", ".join(known)
        draft.report(path, f"the losses {', '.join(map(repr, unknown))} are not defined (there are: {defined})")
        return None
    if len(set(losses)) != len(losses):
        draft.report(path, f"a loss is given twice, got {list(losses)!r}")
        return None
    return tuple(name for name in known if name in losses)


# --- factors ----------------------------------------------------------------------------------------------


def _expand(draft: Draft, form: Expander, path: KeyPath) -> Iterator[RowPlan]:
    levels = _levels(draft, form, path)
    if levels is None:
        return
    rules = Constraints(draft, form, levels, path)
    for combination in _combinations(draft, form, levels, path):
        if rules.keep(dict(combination)):
            yield from _row(draft, form, combination, path)


def _levels(draft: Draft, form: Expander, path: KeyPath) -> dict[str, list[str]] | None:
    """Factor -> levels of the form, checked; None with problems noted."""
    kinds = [kind for kind in KINDS if getattr(form, kind) is not None]
    if len(kinds) != 1:
        draft.report(path, f"exactly one of {', '.join(KINDS)}, got {', '.join(kinds) or 'none'}")
        return None
    where, dimensions = (*path, kinds[0]), _dimensions(form)
    if form.keep and dimensions != "losses":
        draft.report((*path, "keep"), f"goes with {kinds[0]}: losses alone, got {form.keep!r}")
    if dimensions == "losses":
        keep = _losses(draft, form.keep, (*path, "keep")) if form.keep else ()
        return None if keep is None else {term: ["without", term] for term in _terms(draft) if term not in keep}
    factors = draft.sections["factors"]
    unknown = [name for name in dimensions if name not in factors]
    if unknown or not dimensions:
        defined = ", ".join(factors) or "none"
        draft.report(where, f"factors out of those defined ({defined}), got {dimensions!r}")
        return None
    if len(set(dimensions)) != len(dimensions):
        draft.report(where, f"a factor is given twice, got {dimensions!r}")
        return None
    return {name: list(factors[name]) for name in dimensions}


def _dimensions(form: Expander) -> Any:
    """The factors of the form, or "losses"."""
    if form.fractional is not None:
        return form.fractional.factors
    return next(given for kind in EXPANSIONS if (given := getattr(form, kind)) is not None)


def _combinations(
    draft: Draft, form: Expander, levels: Mapping[str, Sequence[str]], path: KeyPath
) -> Iterable[Combination]:
    if form.fractional is not None:
        fraction = _fraction(draft, form, levels, path)
        return _of_fraction(fraction, levels) if fraction is not None else ()
    counts = {name: len(values) for name, values in levels.items()}
    if form.zip is not None and len(set(counts.values())) > 1:
        draft.report((*path, "zip"), f"zipped factors have the same number of levels, got {counts}")
        return ()
    return next(expand for kind, expand in EXPANSIONS.items() if getattr(form, kind) is not None)(levels)


def _row(draft: Draft, form: Expander, combination: Combination, path: KeyPath) -> Iterator[RowPlan]:
    if _dimensions(form) != "losses":
        yield from _combine(draft, combination, path)
        return
    # The terms themselves are the factors, with the levels absent and present.
    present = {*form.keep, *(level for _, level in combination)}
    losses = tuple(term for term in _terms(draft) if term in present)
    if losses:
        yield RowPlan("+".join(losses), None, losses, path=path)
    elif form.fractional is not None:
        draft.report((*path, "keep"), "one row of the fraction has no loss: give a term that every row keeps")


def _combine(draft: Draft, combination: Combination, path: KeyPath) -> Iterator[RowPlan]:
    overrides: dict[str, Any] = {}
    for factor, level in combination:
        overrides.update(draft.sections["factors"][factor][level])
    losses = _losses(draft, overrides.pop("losses", None), path)
    if losses is not None:
        name = "+".join(level for _, level in combination)
        label = " + ".join(_level_label(factor, level) for factor, level in combination)
        yield RowPlan(name, label, losses, overrides, dict(combination), path)


def _level_label(factor: str, level: str) -> str:
    """A level as rows print it; a number says of what it is one."""
    try:
        float(level)
    except ValueError:
        return level.replace("+", " + ")
    return f"{GREEK.get(factor, factor)} = {level}"


def _product(levels: Mapping[str, Sequence[str]]) -> Iterator[Combination]:
    for values in itertools.product(*levels.values()):
        yield tuple(zip(levels, values, strict=True))


def _zip(levels: Mapping[str, Sequence[str]]) -> Iterator[Combination]:
    for values in zip(*levels.values(), strict=True):
        yield tuple(zip(levels, values, strict=True))


def _leave_one_out(levels: Mapping[str, Sequence[str]]) -> Iterator[Combination]:
    full = {factor: values[-1] for factor, values in levels.items()}
    yield tuple(full.items())
    for factor, values in levels.items():
        yield tuple({**full, factor: values[0]}.items())


def _add_one_in(levels: Mapping[str, Sequence[str]]) -> Iterator[Combination]:
    empty = {factor: values[0] for factor, values in levels.items()}
    yield tuple(empty.items())
    for factor, values in levels.items():
        yield tuple({**empty, factor: values[-1]}.items())


def _fraction(draft: Draft, form: Expander, levels: Mapping[str, Sequence[str]], path: KeyPath) -> Fraction | None:
    assert form.fractional is not None
    where = (*path, "fractional")
    odd = {name: len(values) for name, values in levels.items() if len(values) != 2}
    if odd:
        draft.report((*where, "factors"), f"factors of two levels each, got {odd}")
        return None
    try:
        return Fraction(tuple(levels), parse_generators(list(levels), form.fractional.generators))
    except ValueError as error:
        draft.report((*where, "generators"), str(error))
        return None


def _of_fraction(fraction: Fraction, levels: Mapping[str, Sequence[str]]) -> Iterator[Combination]:
    for signs in fraction.rows():
        yield tuple((factor, levels[factor][sign > 0]) for factor, sign in signs.items())


def design_notes(recipe: Recipe) -> list[str]:
    """What the fractions among the rows of a sound recipe cannot tell apart."""
    forms = recipe.rows if isinstance(recipe.rows, list) else [recipe.rows]
    draft = Draft(Source({"losses": dict(recipe.losses)}), {"losses": recipe.losses, "factors": recipe.factors})
    notes = []
    for form in forms:
        if not isinstance(form, Expander) or form.fractional is None:
            continue
        levels = _levels(draft, form, ())
        fraction = None if levels is None else _fraction(draft, form, levels, ())
        if levels is None or fraction is None:
            continue  # told with the rows
        note = fraction.note()
        rules = Constraints(draft, form, levels, ())
        left = sum(not rules.keep(dict(some)) for some in _of_fraction(fraction, levels))
        if left:
            note += f" {left} of its rows are left out by exclude or require: effects are mixed further than that."
        notes.append(note)
    return notes


EXPANSIONS: dict[str, Callable[[Mapping[str, Sequence[str]]], Iterator[Combination]]] = {
    "product": _product,
    "factorial": _product,
    "zip": _zip,
    "leave_one_out": _leave_one_out,
    "add_one_in": _add_one_in,
}
KINDS = (*EXPANSIONS, "fractional")


# --- names of parameters and labels -----------------------------------------------------------------------


def parameter_paths(draft: Draft, name: str) -> list[str] | None:
    """The dotted keys that a parameter's name stands for; None where there is no such parameter.

    A name of the recipe's `sweep:` block with a `path`, or a Greek letter that is the symbol of loss weights
    ("lambda" for λ), or a dotted key itself; the name of a setting where the recipe runs a program.
    """
    sweep = draft.sections.get("sweep", {})
    if name in sweep and sweep[name].path is not None:
        path = sweep[name].path
        return [path] if isinstance(path, str) else list(path)
    symbol = GREEK.get(name, name)
    losses: Mapping[str, Loss] = draft.sections.get("losses", {})
    weights = [f"losses.{key}.weight" for key, loss in losses.items() if loss.symbol == symbol]
    if weights:
        return weights
    if draft.form is not Recipe:
        key = setting_key(draft.sections.get("settings", {}), name)
        return None if key is None else [key]
    return [name] if "." in name else None


def loss_label(losses: Mapping[str, Loss]) -> str:
    """ "L_sup + λL_mad": symbol and subscript of each term present; a weight without symbol is printed if not 1."""
    parts = []
    for loss in losses.values():
        factor = loss.symbol or ("" if loss.weight == 1 else f"{loss.weight:g}·")
        parts.append(f"{factor}L_{loss.label}")
    return " + ".join(parts)
