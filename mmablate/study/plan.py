"""Rows x seeds -> `RunSpec`s: what to train, each run named by its content.

A run's id is the hash of the resolved settings that the run reads, its seed, its upstream run and the data's
fingerprint. Equal runs have equal ids, across rows, studies and commands, and are trained once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmablate.recipe.rechecking import Sections
from mmablate.recipe.schema import Loss, Recipe
from mmablate.study.content import COMPUTE_VERSION, Content, Run, content_id, supervised

__all__ = ["COMPUTE_VERSION", "Row", "RunSpec", "Study", "content_id", "plan_study", "supervised"]

STAGES = ("pretraining", "pair", "teacher", "student")
"""Roles of runs, those that others read first."""


@dataclass(frozen=True)
class Row:
    """A row of the table: the resolved recipe of one grid cell.

    Attributes:
        name, label: as printed.
        base: the recipe without the row's overrides.
        sections: the row's own, overrides applied; rows of equal sections share them.
        losses: the terms present (weight above zero), in order.
        levels: factor -> level, for rows made from factors.
        values: swept parameter -> value.
    """

    name: str
    label: str
    base: Recipe
    sections: Sections
    losses: Mapping[str, Loss]
    levels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe with the row's overrides applied."""
        return self.base.model_copy(update=self.sections._asdict())


@dataclass(frozen=True)
class RunSpec:
    """One training run.

    Attributes:
        run_id: 16 hexadecimal digits of the hash of `settings`.
        role: "student", "teacher", "pair" (a teacher and a student trained jointly for their saliency) or
            "pretraining" (encoders that learn without labels).
        seed: of the run.
        settings: everything that it reads, JSON-able; what config.json holds.
        depends_on: ids of the runs whose checkpoint or saliency it reads.
        rows: names of the rows that it serves; a teacher serves none by itself.
        cells: row -> hash of what the row makes of a run, without the seed, to know its runs of other seeds again.
    """

    run_id: str
    role: str
    seed: int
    settings: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A planned study.

    Attributes:
        name: folder below results/.
        recipe: the base recipe, overrides applied.
        profile: the profile used, None where the recipe has none.
        rows: in the order of the table.
        seeds: of every row.
        runs: teachers before the students that depend on them.
        baseline: row name -> name of its baseline row.
        sweep: for a sensitivity study: parameters, symbols, values used.
        notes: for the table.
        warnings: about the recipe, errors under --strict.
        weight_files: hash, as settings name a file that a model starts from -> where it is.
    """

    name: str
    recipe: Recipe
    profile: str | None
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunSpec, ...]
    baseline: Mapping[str, str]
    sweep: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    weight_files: Mapping[str, str] = field(default_factory=dict)


def plan_study(
    *,
    name: str,
    recipe: Recipe,
    profile: str | None,
    rows: Sequence[Row],
    seeds: Sequence[int],
    baseline: Mapping[str, str],
    fingerprint: str,
    checkpoint_hash: str | None = None,
    weight_hashes: Mapping[str, str] | None = None,
    sweep: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Study:
    """Plans all runs of a study.

    Args:
        fingerprint: of the data (`mmablate.catalog.fingerprint`).
        checkpoint_hash: of the user's own teacher, where the recipe names one.
        weight_hashes: file that a model of the recipe starts from -> its hash.
    """
    hashes = weight_hashes or {}
    content = Content(recipe, fingerprint, checkpoint_hash, hashes)
    runs: dict[str, RunSpec] = {}
    shared: dict[str, dict[str, str]] = {}  # run -> its rows and their cells, where it has several
    cells: list[str] = []
    for seed in seeds:
        for index, row in enumerate(rows):
            if index == len(cells):
                cells.append(content.cell(row.sections, row.losses))
            upstream = content.upstream(row.sections, row.losses, seed)
            for run in upstream:
                if run.run_id not in runs:
                    runs[run.run_id] = RunSpec(run.run_id, run.role, run.seed, run.settings, run.depends_on)
            spec = _student(content, row, seed, upstream, cells[index])
            known = runs.setdefault(spec.run_id, spec)
            if known is not spec:
                shared.setdefault(spec.run_id, dict(known.cells))[row.name] = cells[index]
    for run_id, some in shared.items():
        runs[run_id] = replace(runs[run_id], rows=tuple(some), cells=some)
    ordered = sorted(runs.values(), key=lambda spec: STAGES.index(spec.role))
    return Study(
        name=name, recipe=recipe, profile=profile, rows=tuple(rows), seeds=tuple(seeds), runs=tuple(ordered),
        baseline=dict(baseline), sweep=sweep, notes=tuple(notes),
        warnings=tuple(warnings),
        weight_files={digest: path for path, digest in hashes.items()},
    )  # fmt: skip


def _student(content: Content, row: Row, seed: int, upstream: Sequence[Run], cell: str) -> RunSpec:
    """The row's run of one seed; its teacher is that of the seed, whether or not the row looks at it."""
    run = content.student(row.sections, row.losses, seed, upstream)
    return RunSpec(run.run_id, run.role, seed, run.settings, run.depends_on, (row.name,), {row.name: cell})
