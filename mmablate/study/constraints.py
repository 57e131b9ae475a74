"""Which combinations of levels become rows: `exclude` and `require`, rules of data, never of code."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mmablate.recipe.checking import Draft
from mmablate.recipe.reading import KeyPath
from mmablate.recipe.schema import Expander

Pattern = Mapping[str, frozenset[str]]  # factor -> the levels meant


class Constraints:
    """The rules of one expander.

    Attributes:
        exclude: combinations that answer to one of these are left out.
        require: (if, then): a combination that answers to the first is left out unless it answers to the second.
    """

    def __init__(self, draft: Draft, form: Expander, levels: Mapping[str, Sequence[str]], path: KeyPath) -> None:
        """Problems of the rules are noted in the draft: a misspelt factor or level would silently rule nothing."""

        def pattern(rule: Mapping[str, Any], *where: str | int) -> Pattern:
            return _pattern(draft, rule, levels, (*path, *where))

        # A rule without factors excludes nothing.
        self.exclude = [pattern(rule, "exclude", i) for i, rule in enumerate(form.exclude) if rule]
        self.require = [
            (pattern(rule["if"], "require", i, "if"), pattern(rule["then"], "require", i, "then"))
            for i, rule in enumerate(form.require)
        ]

    def __bool__(self) -> bool:
        return bool(self.exclude or self.require)

    def keep(self, combination: Mapping[str, str]) -> bool:
        """Whether the combination {factor: level} becomes a row."""
        if any(_answers(combination, rule) for rule in self.exclude):
            return False
        return all(_answers(combination, then) for when, then in self.require if _answers(combination, when))


def _answers(combination: Mapping[str, str], pattern: Pattern) -> bool:
    return all(combination.get(factor) in levels for factor, levels in pattern.items())


def _pattern(draft: Draft, rule: Mapping[str, Any], levels: Mapping[str, Sequence[str]], path: KeyPath) -> Pattern:
    found = {}
    for factor, given in rule.items():
        wanted = [str(level) for level in given] if isinstance(given, (list, tuple)) else [str(given)]
        found[factor] = frozenset(wanted)
        if factor not in levels:
            draft.report(path, f"no factor of these rows is called {factor!r} {_known(factor, levels)}")
            continue
        if not wanted:
            draft.report(path, f"{factor}: a level, or a list of at least one, got {given!r}")
        for level in wanted:
            if level not in levels[factor]:
                draft.report(path, f"{factor} has no level {level!r} {_known(level, levels[factor])}")
    return found


def _known(name: str, names: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"(there are: {', '.join(names)})" + (f"; did you mean {near[0]!r}?" if near else "")
