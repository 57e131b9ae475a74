"""Rows: from the forms that a recipe may use to a flat list of named overrides.

A row is data: a name, a label and overrides of the recipe. Lists, products, leave-one-out and the rest
are ways to write such lists, not code paths of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmablate.recipe.checking import Draft
from mmablate.recipe.programs import setting_key
from mmablate.recipe.reading import KeyPath
from mmablate.recipe.schema import GREEK, Expander, Loss, Recipe, RowSpec


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
    kinds = [kind for kind in EXPANSIONS if getattr(form, kind) is not None]
    if len(kinds) != 1:
        draft.report(path, f"exactly one of {', '.join(EXPANSIONS)}, got {', '.join(kinds) or 'none'}")
        return
    kind = kinds[0]
    dimensions = getattr(form, kind)
    if form.keep and dimensions != "losses":
        draft.report((*path, "keep"), f"goes with {kind}: losses alone, got {form.keep!r}")
    if dimensions == "losses":
        yield from _expand_losses(draft, form, kind, path)
        return
    factors = draft.sections["factors"]
    unknown = [name for name in dimensions if name not in factors]
    if unknown or not dimensions:
        defined = ", ".join(factors) or "none"
        draft.report((*path, kind), f"factors out of those defined ({defined}), got {dimensions!r}")
        return
    if len(set(dimensions)) != len(dimensions):
        draft.report((*path, kind), f"a factor is given twice, got {dimensions!r}")
        return
    levels = {name: list(factors[name]) for name in dimensions}
    _check_exclude(draft, form, levels, path)
    if kind == "zip" and len({len(values) for values in levels.values()}) > 1:
        counts = {name: len(values) for name, values in levels.items()}
        draft.report((*path, kind), f"zipped factors have the same number of levels, got {counts}")
        return
    for combination in EXPANSIONS[kind](levels):
        if not _excluded(dict(combination), form.exclude):
            yield from _combine(draft, combination, path)


def _combine(draft: Draft, combination: Combination, path: KeyPath) -> Iterator[RowPlan]:
    overrides: dict[str, Any] = {}
    for factor, level in combination:
        overrides.update(draft.sections["factors"][factor][level])
    losses = _losses(draft, overrides.pop("losses", None), path)
    if losses is not None:
        name = "+".join(level for _, level in combination)
        yield RowPlan(name, name.replace("+", " + "), losses, overrides, dict(combination), path)


def _expand_losses(draft: Draft, form: Expander, kind: str, path: KeyPath) -> Iterator[RowPlan]:
    """The terms themselves as factors with the levels absent and present."""
    everything = _terms(draft)
    keep = _losses(draft, form.keep, (*path, "keep")) if form.keep else ()
    if keep is None:
        return
    levels = {term: ["without", term] for term in everything if term not in keep}
    _check_exclude(draft, form, levels, path)
    for combination in EXPANSIONS[kind](levels):
        present = {level for _, level in combination}
        losses = tuple(term for term in everything if term in keep or term in present)
        if losses and not _excluded(dict(combination), form.exclude):
            yield RowPlan("+".join(losses), None, losses, path=path)


def _check_exclude(draft: Draft, form: Expander, levels: Mapping[str, Sequence[str]], path: KeyPath) -> None:
    """A rule with a misspelt factor or level would silently exclude nothing."""
    for index, rule in enumerate(form.exclude):
        for factor, level in rule.items():
            where = (*path, "exclude", index)
            if factor not in levels:
                there = ", ".join(levels)
                draft.report(where, f"no factor of these rows is called {factor!r} (there are: {there})")
            elif str(level) not in levels[factor]:
                there = ", ".join(levels[factor])
                draft.report(where, f"{factor} has no level {str(level)!r} (there are: {there})")


def _excluded(combination: Mapping[str, str], exclude: Sequence[Mapping[str, Any]]) -> bool:
    return any(all(combination.get(f) == str(level) for f, level in rule.items()) for rule in exclude if rule)


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


EXPANSIONS: dict[str, Callable[[Mapping[str, Sequence[str]]], Iterator[Combination]]] = {
    "product": _product,
    "factorial": _product,
    "zip": _zip,
    "leave_one_out": _leave_one_out,
    "add_one_in": _add_one_in,
}


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
