"""Rows laid over the recipe: each row's sections, checked, shared by all rows that have the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from mmablate.catalog import find
from mmablate.catalog.models import stage_shapes
from mmablate.recipe import Draft, Recipe
from mmablate.recipe.reading import dotted
from mmablate.recipe.rechecking import Checked, Override, Rechecker, Sections
from mmablate.recipe.schema import Loss
from mmablate.study.plan import Row
from mmablate.study.rows import RowPlan, loss_label, parameter_paths

# What a row may override; all else is of the table: one set of files, one score, one set of columns.
ROW_SECTIONS = frozenset(Sections._fields)
STUDY_KEYS = frozenset(
    {"data.name", "data.root", "data.generate", "data.modalities", "teacher.checkpoint", "teacher.row"}
)


def resolve_rows(draft: Draft, base: Recipe, plans: list[RowPlan], info: Mapping[str, Any] | None) -> list[Row]:
    """The rows of these plans; faults are noted in the draft, and name the row.

    Args:
        base: the recipe, sound.
        plans: emptied on the way, so that a large grid is held once.
        info: of a sweep.
    """
    resolver = _Resolver(draft, base, tuple(info["parameters"]) if info else None)
    plans.reverse()
    rows = []
    while plans:
        rows.append(resolver.row(plans.pop()))
    return rows


class _Resolver:
    """What is known of the sections of one row is known for all rows that have them."""

    def __init__(self, draft: Draft, base: Recipe, swept: tuple[str, ...] | None) -> None:
        self.draft = draft
        self.base = base
        self.swept = swept
        self.rechecker = Rechecker(base)
        self.untouched = Checked(Sections(*(getattr(base, name) for name in Sections._fields)))
        self._paths: dict[str, list[tuple[str, ...]]] = {}
        self._alien: dict[tuple[str, tuple[str, ...] | None], list[str]] = {}
        self._losses: dict[Hashable, tuple[Mapping[str, Loss], str]] = {}
        self._stages: dict[Hashable, list[str]] = {}

    def row(self, plan: RowPlan) -> Row:
        checked = self._override(plan) if plan.overrides else self.untouched
        sections = checked.sections or self._base_sections()
        losses, label = self._present(sections.losses, plan.losses)
        if not losses:
            self.draft.report(plan.path, f"row {plan.name!r}: no loss has a weight above 0")
        for text in self._unlike_stages(sections, losses):
            self.draft.report(plan.path, f"row {plan.name!r}: {text}")
        label = plan.label or _label(plan, label)
        levels, values = plan.levels, {}
        if self.swept is not None:
            levels, values = {}, {key: plan.levels[key] for key in self.swept}
        return Row(plan.name, label, self.base, sections, losses, levels, values)

    def _base_sections(self) -> Sections:
        assert self.untouched.sections is not None
        return self.untouched.sections

    def _override(self, plan: RowPlan) -> Checked:
        """The recipe of one row, checked like any other."""
        overrides: list[Override] = [
            (path, value) for key, value in plan.overrides.items() for path in self._paths_of(key)
        ]
        checked = self.rechecker.check(overrides, plan.losses)
        alien = [name for key, value in plan.overrides.items() for name in self._study_keys(key, value)]
        if checked.sections is None or checked.blocked or alien:
            self._tell(plan, checked)
        return checked

    def _tell(self, plan: RowPlan, checked: Checked) -> None:
        for key, value in plan.overrides.items():
            for name in self._study_keys(key, value):
                text = f"{name} is of the whole study, not of a row, got {value!r}"
                self.draft.report(plan.path, f"row {plan.name!r}: {text}")
            for keys in self._paths_of(key):
                if keys in checked.blocked:
                    self.draft.report(plan.path, f"row {plan.name!r}: {checked.blocked[keys]}")
        place = "--param, --values" if plan.swept else self.draft.source.place(plan.path)
        for path, text in checked.reports:
            at = dotted(path)
            self.draft.problems.append(f"{place}: row {plan.name!r}: {at}{': ' if at else ''}{text}")

    def _paths_of(self, key: str) -> list[tuple[str, ...]]:
        """The keys that an override sets: those that a parameter's name stands for, or itself."""
        if key not in self._paths:
            self._paths[key] = [tuple(path.split(".")) for path in parameter_paths(self.draft, key) or [key]]
        return self._paths[key]

    def _study_keys(self, key: str, value: Any) -> list[str]:
        """The keys of an override that no row may have a value of its own for."""
        below = tuple(value) if isinstance(value, Mapping) else None
        if (key, below) not in self._alien:
            self._alien[key, below] = list(_study_keys(key, below))
        return self._alien[key, below]

    def _present(self, losses: Mapping[str, Loss], names: tuple[str, ...]) -> tuple[Mapping[str, Loss], str]:
        """The row's losses of a weight above zero, and their label."""
        key = id(losses), names
        if key not in self._losses:
            present = {name: losses[name] for name in names if name in losses and losses[name].weight > 0}
            self._losses[key] = present, loss_label(present)
        return self._losses[key]

    def _unlike_stages(self, sections: Sections, losses: Mapping[str, Loss]) -> list[str]:
        """Student and teacher must have stages of one shape where their features are compared."""
        compared = any(find("loss", str(loss.term)).compares_features for loss in losses.values())
        teacher, model = sections.teacher, sections.model
        if teacher is None or not compared or teacher.name != model.name:
            return []
        key = id(teacher), id(model)
        if key not in self._stages:
            own, theirs = stage_shapes(model.options), stage_shapes(teacher.options)
            self._stages[key] = [
                f"features of student and teacher are compared, and teacher.{option} is {theirs[option]}, "
                f"model.{option} {own[option]}"
                for option in own
                if own[option] != theirs[option]
            ]
        return self._stages[key]


def _study_keys(key: str, below: Sequence[str] | None) -> Iterator[str]:
    if key.partition(".")[0] in Recipe.model_fields.keys() - ROW_SECTIONS:
        yield key
        return
    names = [key] if below is None else [f"{key}.{name}" for name in below]
    yield from (name for name in names if any(name == k or name.startswith(f"{k}.") for k in STUDY_KEYS))


def _label(plan: RowPlan, losses: str) -> str:
    """The losses; for a row that differs by more than them, its name and what it changes too."""
    if not plan.overrides:
        return losses
    changes = ", ".join(f"{key} = {value}" for key, value in plan.overrides.items())
    return f"{plan.name} ({losses}, {changes})"
