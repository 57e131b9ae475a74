"""Rows and levels that change more than they say.

What a row says is its losses, its level of each factor, or the parameter that a sweep sets; a row of the form
{name, overrides} says that it is one change. The rule, over sections of the recipe (data, model, method, teacher,
train, masks, losses):

- a row that is no combination of factors and no value of a sweep differs from its baseline in one section at most,
  terms and options of losses being one;
- a row called by its losses, as rows of losses alone are, has no further change at all;
- a level differs from the first level of its factor in one section at most.

A focus counts with the losses: it is what those learn from.
The teacher's section counts with that of the student (its stages must follow the model's) and where the row has a
term that reads it. Several keys of one section are one change: `{train.epochs: 5, train.lr: 0.1}` may be a schedule.
Terms that only one of the two update rules can compute (the unimodal losses of DGL) come with the rule. Options of
one that are about terms which the baseline does not have (a gate on them) come with the terms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mmablate.catalog import find
from mmablate.catalog.entries import describe_options
from mmablate.recipe import Recipe
from mmablate.recipe.rechecking import Sections
from mmablate.recipe.schema import Loss
from mmablate.study.linting.sharing import Texts
from mmablate.study.plan import Row
from mmablate.study.rows import listed


def changing_more(rows: Sequence[Row], baseline: Mapping[str, str], texts: Texts) -> Iterator[str]:
    """Rows that differ from their baseline in more than they say."""
    by_name = {row.name: row for row in rows}
    for row in rows:
        base = by_name[baseline[row.name]]
        if row is base or row.levels or row.values:
            continue
        changed = _changed(row, base, texts)
        if len(changed) > 1:
            yield (
                f"the row {row.name} differs from its baseline {base.name} in {_and(changed)}: "
                "its Δ cannot tell them apart; change one in a row of its own"
            )
        elif "losses" not in changed and changed and row.name == "+".join(row.losses):
            yield f"the row {row.name} is called by its losses, and changes {changed[0]} too: say so in its name"


def _changed(row: Row, base: Row, texts: Texts) -> list[str]:
    changed = [
        name
        for name, own, other in zip(Sections._fields, row.sections, base.sections, strict=True)
        if own is not other and name != "losses" and texts.of(own) != texts.of(other)
    ]
    if "teacher" in changed and ({"model", "train"} & set(changed) or not _reads_teacher(row)):
        changed.remove("teacher")
    if row.losses is not base.losses and texts.of(row.losses) != texts.of(base.losses):
        changed.append("losses")
    if "focus" in changed and ("losses" in changed or not _reads_teacher(row)):
        changed.remove("focus")
    shared = row.losses.keys() & base.losses.keys()
    alike = all(texts.of(row.losses[key]) == texts.of(base.losses[key]) for key in shared)
    if (
        {"method", "losses"} <= set(changed)
        and alike
        and _come_with_method(
            _terms(row.losses), row.sections.method.name, _terms(base.losses), base.sections.method.name
        )
    ):
        changed.remove("losses")
    elif {"method", "losses"} <= set(changed) and _come_with_terms(row, base):
        changed.remove("method")
    return changed


def _come_with_terms(row: Row, base: Row) -> bool:
    """Whether the update rules differ only in options that are about terms which the baseline does not have."""
    own, other = row.sections.method, base.sections.method
    about = find("method", own.name).about
    differing = [key for key in {**own.options, **other.options} if own.options.get(key) != other.options.get(key)]
    there = _terms(base.losses)
    return own.name == other.name and all(key in about and not there & set(about[key]) for key in differing)


def _terms(losses: Mapping[str, Loss]) -> set[str]:
    return {str(loss.term) for loss in losses.values()}


def _come_with_method(own: Collection[str], method: str, others: Collection[str], other_method: str) -> bool:
    """Whether each rule has all the terms in use that it can compute, of those that either has."""
    computed, other = (set(find("method", name).terms) for name in (method, other_method))
    return computed != other and set(own) ^ set(others) <= computed ^ other


def _reads_teacher(row: Row) -> bool:
    return any(find("loss", str(loss.term)).needs_teacher for loss in row.losses.values())


def options_left_behind(recipe: Recipe, rows: Sequence[Row]) -> Iterator[str]:
    """Rows that name another update rule, which replaces the recipe's as a whole: what both have is at its default."""
    base = recipe.method
    for row in rows:
        own = row.sections.method
        if own.name == base.name:
            continue
        plain = {option["name"]: option["default"] for option in describe_options(find("method", own.name).options)}
        usual = {option["name"]: option["default"] for option in describe_options(find("method", base.name).options)}
        shared = [key for key in plain if key in own.options and key in base.options]
        lost = [key for key in shared if own.options[key] == plain[key] != base.options[key] != usual.get(key)]
        if lost:
            told = ", ".join(f"{key} {base.options[key]!r}" for key in lost)
            yield (
                f"the row {row.name} names the method {own.name}, which does not take over from the recipe's: {told}; "
                "say it in the row too"
            )


def mixed_levels(recipe: Recipe, rows: Sequence[Row]) -> Iterator[str]:
    """Levels of the rows' factors that change several sections at once."""
    plain = recipe.model_dump(mode="json")
    used: dict[str, dict[str, None]] = {}
    for row in rows:
        for factor, level in row.levels.items():
            used.setdefault(factor, {})[level] = None
    for factor, seen in used.items():
        levels = recipe.factors[factor]
        first = next(iter(levels))
        for level in seen:
            changed = _sections(levels[first], levels[level], plain)
            if len(changed) > 1:
                yield (
                    f"the level {level} of the factor {factor} differs from {first} in {_and(changed)}: "
                    "no effect of the one can be told from that of the other; make them factors of their own"
                )


def _sections(first: Mapping[str, Any], level: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
    """Sections whose settings differ between two levels; a key that one leaves out keeps the recipe's value."""
    changed: dict[str, None] = {}
    terms_alone = True  # of what differs in the losses: which ones there are
    for key in (*first, *level):
        own, other = (some[key] if key in some else _at(plain, key) for some in (level, first))
        section = key.partition(".")[0]
        if own != other:
            name = section if section in Sections._fields else "losses"  # a Greek letter is a weight
            changed[name] = None
            terms_alone = terms_alone and (name != "losses" or key == "losses")
    if changed.keys() & {"model", "train"}:
        changed.pop("teacher", None)
    if "losses" in changed:
        changed.pop("focus", None)
    if {"method", "losses"} <= changed.keys() and terms_alone:
        (own, method), (others, other_method) = (_level_terms(some, plain) for some in (level, first))
        if _come_with_method(own, method, others, other_method):
            del changed["losses"]
    return list(changed)


def _level_terms(level: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[set[str], str]:
    """The terms that a level chooses, and its update rule."""
    named = plain["losses"]
    chosen = {str(named[key]["term"]) for key in level.get("losses", named) if key in named}
    method = level.get("method", {})
    own = method if isinstance(method, str) else method.get("name")
    return chosen, str(level.get("method.name", own) or plain["method"]["name"])


def _at(plain: Mapping[str, Any], key: str) -> Any:
    here: Any = plain
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else listed(names)
