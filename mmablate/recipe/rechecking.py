"""Checking a sound recipe again under the overrides of many rows: each section once, however many rows share it.

What a row is told is what `check` would tell of the whole recipe with the row's overrides laid over it: the same
steps run in the same order, and what a step found for some sections holds wherever these meet again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mmablate.errors import UsageError
from mmablate.recipe import checking
from mmablate.recipe.checking import Draft
from mmablate.recipe.merging import set_path
from mmablate.recipe.reading import KeyPath, Source
from mmablate.recipe.schema import Data, Focus, Loss, Masks, Method, Model, Pretrain, Recipe, Teacher, Train

Path = tuple[str, ...]
Override = tuple[Path, Any]  # later ones win
Report = tuple[KeyPath, str]
Check = Callable[[Draft], None]


class Sections(NamedTuple):
    """The sections of a recipe that rows may override; rows share one object of those that are equal."""

    data: Data
    model: Model
    method: Method
    teacher: Teacher | None
    train: Train
    masks: Masks
    losses: Mapping[str, Loss]
    focus: Focus | None = None
    pretrain: Pretrain | None = None


@dataclass(frozen=True)
class _Found:
    """What the steps of `check` make of a section.

    Attributes:
        value: the section; `_ABSENT` where it is not sound.
        reports: each behind (number of the step, place of the section), their order in `check`.
        raw: what stands in the recipe, for messages.
        blocked: overrides that lead through a value, and what to say of them.
    """

    value: Any
    reports: tuple[tuple[tuple[int, int], Report], ...] = ()
    raw: Any = None
    blocked: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a row's overrides make of the recipe.

    Attributes:
        sections: None where there are faults.
        reports: the faults, in the order of `check`.
        blocked: overrides that were left out, since they lead through a value: path -> what to say.
    """

    sections: Sections | None
    reports: tuple[Report, ...] = ()
    blocked: Mapping[Path, str] = field(default_factory=dict)


_ABSENT = object()
_PLACE = {name: index for index, name in enumerate(Recipe.model_fields)}
# Numbers of the steps in `check`: 0 sections and what a task needs, 1 modalities, 2 components, 3 generate, 4 method,
# 5 teacher, 6 subsets, 7 claims, 8 what belongs to a task, 9 focus, 10 several modalities.
_METHOD, _TEACHER, _SUBSETS, _CLAIMS, _TASK, _FOCUS, _FUSED = 4, 5, 6, 7, 8, 9, 10


class Rechecker:
    """Rows of one recipe.

    Args:
        base: the recipe, sound.
    """

    def __init__(self, base: Recipe) -> None:
        self._data = base.model_dump(mode="json")
        self._base = {name: _Found(getattr(base, name), raw=self._data[name]) for name in Recipe.model_fields}
        self._known: dict[Hashable, _Found] = {}  # holds every section, so that none of their identities is used again
        self._terms: dict[tuple[str, str], tuple[Loss | None, list[Report]]] = {}
        self._checked: dict[tuple[int, ...], Checked] = {}

    def check(self, overrides: Sequence[Override], terms: tuple[str, ...]) -> Checked:
        """The sections under the overrides, and what is wrong with them.

        Args:
            terms: the losses that the row has.
        """
        touched: dict[str, list[Override]] = {}
        for override in overrides:
            touched.setdefault(override[0][0], []).append(override)
        unknown = [self._unknown(name, some) for name, some in touched.items() if name not in _PLACE]
        found = {name: self._section(name, some) for name, some in touched.items() if name in _PLACE}
        now = {**self._base, **found}
        steps = [*unknown, *found.values(), self._method(now, terms)]
        if now["teacher"].value is None or "teacher" in found or "model" in found:
            now["teacher"] = self._teacher(now, terms)
            steps.append(now["teacher"])
        if "data" in found or "evaluate" in found:
            steps.append(self._subsets(now))
        if found.keys() & {"data", "train", "evaluate"}:
            steps.append(self._filled(now))
            now["train"] = steps[-1].value or now["train"]
        if found.keys() & {"data", "model", "teacher", "method", "evaluate", "train", "masks"}:
            steps.append(self._task(now))
        if found.keys() & {"focus", "teacher", "model", "data"}:
            steps.append(self._focus(now))
        steps.append(self._fused(now, terms))
        told = [report for step in steps for report in step.reports]
        blocked = dict(some for step in steps for some in step.blocked)
        if told:
            return Checked(None, tuple(report for _, report in sorted(told, key=lambda item: item[0])), blocked)
        values = [now[name].value for name in Sections._fields]
        key = tuple(map(id, values))
        known = self._checked.get(key)
        if known is None:
            known = self._checked[key] = Checked(Sections(*values))
        return replace(known, blocked=blocked) if blocked else known

    def _once(self, key: Hashable, run: Callable[[], _Found]) -> _Found:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = run()
        return found

    # --- a section by itself ------------------------------------------------------------------------------

    def _section(self, name: str, overrides: Sequence[Override]) -> _Found:
        key = (name, *((path, repr(value)) for path, value in overrides))
        return self._once(key, lambda: self._check_section(name, overrides))

    def _check_section(self, name: str, overrides: Sequence[Override]) -> _Found:
        raw, blocked = self._overridden(name, overrides)
        draft = Draft(Source({name: raw}))
        steps: list[Check] = [
            lambda draft: checking.check_section(draft, name),
            checking.check_modalities,
            lambda draft: checking.check_components(draft, self._complete_loss),
            checking.check_generate,
        ]
        told: list[tuple[tuple[int, int], Report]] = []
        for number, step in enumerate(steps):
            told += _told(draft, step, number, _PLACE[name])
        told += _told(draft, checking.check_claims, _CLAIMS, 0)
        return _Found(draft.sections.get(name, _ABSENT), tuple(told), raw, blocked)

    def _overridden(self, name: str, overrides: Sequence[Override]) -> tuple[Any, tuple[tuple[Path, str], ...]]:
        data = {name: self._data[name]} if name in self._data else {}
        blocked = []
        for path, value in overrides:
            try:
                set_path(data, path, value, what="")
            except UsageError as error:
                blocked.append((path, str(error).removeprefix(": ")))
        return data[name], tuple(blocked)

    def _complete_loss(self, draft: Draft, key: str, given: Any) -> Loss | None:
        """One term of many sections: a grid over two weights has few terms and many pairs."""
        known = self._terms.get((key, repr(given)))
        if known is None:
            alone = Draft(draft.source)
            known = checking.complete_loss(alone, key, given), alone.reports
            self._terms[key, repr(given)] = known
        for path, text in known[1]:
            draft.report(path, text)
        return known[0]

    def _unknown(self, name: str, overrides: Sequence[Override]) -> _Found:
        """A key that no recipe has."""
        raw, blocked = self._overridden(name, overrides)
        draft = Draft(Source({**self._data, name: raw}))
        return _Found(_ABSENT, tuple(_told(draft, checking.check_sections, 0, len(_PLACE))), raw, blocked)

    # --- one section against another ----------------------------------------------------------------------

    def _method(self, now: Mapping[str, _Found], terms: tuple[str, ...]) -> _Found:
        return self._across(_METHOD, checking.check_method, now, ("method", "losses"), terms)

    def _teacher(self, now: Mapping[str, _Found], terms: tuple[str, ...]) -> _Found:
        """The teacher filled in.

        The recipe's own has all keys of `train` by now, so that those of the row never reach it; that the row's
        `train` and `losses` are sound is all that is read of them.
        """
        if now["teacher"].value is None:
            return self._across(_TEACHER, checking.check_teacher, now, ("teacher", "losses"), terms)
        sound = {name: self._base[name] for name in ("train", "losses") if now[name].value is not _ABSENT}
        names = ("teacher", "model", "train", "losses")
        found = self._across(_TEACHER, checking.check_teacher, {**now, **sound}, names, ())
        base = self._base["teacher"].value
        return replace(found, value=base) if found.value == base else found

    def _subsets(self, now: Mapping[str, _Found]) -> _Found:
        return self._across(_SUBSETS, checking.check_subsets, now, ("evaluate", "data"), ())

    def _filled(self, now: Mapping[str, _Found]) -> _Found:
        """What `fill_for_task` says, and the section `train` where it fills that in, such as for a key set to null.

        There is nothing else to fill in, since the recipe's own sections are complete.
        """
        raw = {name: now[name].raw for name in ("data", "train", "evaluate")}

        def run() -> _Found:
            draft = Draft(Source(raw))
            for name in raw:
                checking.check_section(draft, name)  # its faults are told with the section
            told = tuple(_told(draft, checking.fill_for_task, 0, len(_PLACE) + 1))
            train = draft.sections.get("train", _ABSENT)
            same = train is _ABSENT or train == now["train"].value
            return _Found(None if same else _Found(train, raw=raw["train"]), told)

        return self._once(("fill", *map(id, raw.values())), run)

    def _task(self, now: Mapping[str, _Found]) -> _Found:
        names = ("data", "model", "teacher", "method", "evaluate", "train", "masks")
        return self._across(_TASK, checking.check_tasks, now, names, ())

    def _focus(self, now: Mapping[str, _Found]) -> _Found:
        return self._across(_FOCUS, checking.check_focus, now, ("focus", "teacher", "data"), ())

    def _fused(self, now: Mapping[str, _Found], terms: tuple[str, ...]) -> _Found:
        names = ("model", "data", "method", "losses", "train", "pretrain", "teacher", "evaluate", "masks")
        return self._across(_FUSED, checking.check_fused, now, names, terms)

    def _across(
        self, number: int, step: Check, now: Mapping[str, _Found], names: tuple[str, ...], terms: tuple[str, ...]
    ) -> _Found:
        def run() -> _Found:
            raw = {name: now[name].raw for name in names}
            draft = Draft(Source(raw), terms=terms)
            draft.sections = {name: now[name].value for name in names if now[name].value is not _ABSENT}
            told = tuple(_told(draft, step, number, 0))
            return _Found(draft.sections.get(names[0], _ABSENT), told, raw[names[0]])

        return self._once((number, terms, *(id(now[name].value) for name in names)), run)


def _told(draft: Draft, step: Check, number: int, place: int) -> list[tuple[tuple[int, int], Report]]:
    before = len(draft.reports)
    step(draft)
    return [((number, place), report) for report in draft.reports[before:]]
