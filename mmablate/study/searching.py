"""The space that a search looks through: a dimension for each parameter, and from its samples to rows of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel

from mmablate.errors import RecipeError, UsageError
from mmablate.recipe import Draft, Recipe, draft_recipe
from mmablate.recipe.schema import Search, SweepParameter, range_fault
from mmablate.study.rows import expand_rows
from mmablate.study.sweeping import Swept, swept_row, symbol_of

Scalar = float | int | str | bool


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search.

    Attributes:
        name: as typed.
        symbol: as printed.
        kind: "float" and "integer" have bounds, "choice" has choices.
        low, high: bounds, both included; None for choices.
        log: sampled on a logarithmic scale.
        choices: the values of a "choice".
        used: the recipe's own value, whether or not it lies in the space.
    """

    name: str
    symbol: str
    kind: Literal["float", "integer", "choice"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    used: Any = None

    def value(self, raw: Any) -> Any:
        """The value that a row is trained with, for one that a sampler has drawn.

        Numbers keep 6 significant digits, so that what is printed is what was used, and stay within the bounds;
        the recipe's own value and the bounds themselves keep all of theirs.
        """
        if self.kind == "choice":
            return raw
        assert self.low is not None
        assert self.high is not None
        if self.kind == "integer":
            return min(max(round(raw), int(self.low)), int(self.high))
        exact = {float(self.low), float(self.high)}
        if isinstance(self.used, int | float) and not isinstance(self.used, bool):
            exact.add(float(self.used))
        if float(raw) in exact:
            return float(raw)
        return min(max(float(f"{raw:.6g}"), float(self.low)), float(self.high))

    def contains(self, value: Any) -> bool:
        """Whether a sampler could draw the value."""
        if self.kind == "choice":
            return any(value == choice and isinstance(value, bool) == isinstance(choice, bool)
                       for choice in self.choices)  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int | float) or self.low is None or self.high is None:
            return False
        whole = self.kind == "float" or value == round(value)
        return whole and self.low <= value <= self.high

    def corners(self) -> tuple[Any, ...]:
        """Its bounds, or all of its choices: what the recipe must accept before anything is trained."""
        return self.choices if self.kind == "choice" else (self.value(self.low), self.value(self.high))

    def to_json(self) -> dict[str, Any]:
        """For study.json, and for the identity of a search."""
        fields = asdict(self)
        fields["choices"] = list(self.choices)
        return fields


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        dimensions: in the order typed.
        rules: the recipe's `search:` block.
    """

    dimensions: tuple[Dimension, ...]
    rules: Search

    def point(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a row, for parameters that a sampler has drawn."""
        return {d.name: d.value(raw[d.name]) for d in self.dimensions}

    def own_point(self) -> dict[str, Any] | None:
        """The recipe's own values, None where they lie outside."""
        if not all(d.contains(d.used) for d in self.dimensions):
            return None
        return {d.name: d.used for d in self.dimensions}

    def corner_points(self) -> list[dict[str, Any]]:
        """Few points that hold every bound and every choice at least once."""
        corners = {d.name: d.corners() for d in self.dimensions}
        longest = max(map(len, corners.values()))
        return [{name: some[min(i, len(some) - 1)] for name, some in corners.items()} for i in range(longest)]


def search_space(
    recipe: str,
    parameters: Sequence[str],
    *,
    values: Sequence[Any] | None = None,
    range_: tuple[float, float, bool] | None = None,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    data_root: str | None = None,
) -> Space:
    """The space of `mmablate sweep --sampler tpe|random`.

    A `range` is sampled evenly, or evenly in its logarithm; listed `values` are choices, exactly those listed, which
    a sampler takes as having no order. Given a `range` and `values`, the range counts.

    Args:
        values, range_: of the one parameter, as on the command line, in place of the recipe's own.

    Raises:
        UsageError: an unknown parameter, one without values, or a range that is none.
        RecipeError: problems of the recipe.
    """
    draft, _ = draft_recipe(recipe, profile=profile, overrides=overrides, data_root=data_root)
    plans = expand_rows(draft)
    if draft.problems or not plans:
        raise RecipeError(draft.problems or [f"{recipe}: no row to search in"])
    swept = swept_row(draft, plans, parameters)
    dimensions = []
    for name in parameters:
        given = _given(values, range_) or draft.sections["sweep"].get(name)
        if given is None:
            raise UsageError(
                f"--param {name}: the recipe's `sweep:` block gives it no values or range; say --values or --range"
            )
        dimensions.append(_dimension(draft, name, given, swept))
    return Space(tuple(dimensions), draft.sections["search"])


def _given(values: Sequence[Any] | None, range_: tuple[float, float, bool] | None) -> SweepParameter | None:
    """The options of the command line as the recipe would say them."""
    if values is not None:
        if len(set(values)) != len(values):
            raise UsageError(f"--values: a value is given twice: {list(values)}")
        return SweepParameter(values=list(values))
    if range_ is None:
        return None
    low, high, log = range_
    if fault := range_fault(low, high, log=log):
        raise UsageError(f"--range {low:g}:{high:g}{':log' if log else ''}: {fault}")
    return SweepParameter(range=(low, high), log=log)


def _dimension(draft: Draft, name: str, given: SweepParameter, swept: Swept) -> Dimension:
    symbol, used = symbol_of(draft, name), swept.used[name]
    if given.range is None:
        choices = tuple(given.values or ())
        if len(set(choices)) != len(choices):
            raise UsageError(f"--param {name}: a value is given twice: {list(choices)}")
        return Dimension(name, symbol, "choice", choices=choices, used=used)
    low, high = given.range
    integer = given.integer or all(_holds_integers(path) for path in swept.paths[name])
    if fault := range_fault(low, high, log=given.log, integer=integer):
        raise UsageError(f"--param {name}: {fault}")
    return Dimension(name, symbol, "integer" if integer else "float", low, high, given.log, used=used)


def _holds_integers(path: str) -> bool:
    """Whether the key is one of the recipe's own that holds whole numbers, such as train.epochs."""
    here: Any = Recipe
    for part in path.split("."):
        if not (isinstance(here, type) and issubclass(here, BaseModel)) or part not in here.model_fields:
            return False
        here = here.model_fields[part].annotation
    return here is int
