"""What a command is about to do: cells, runs, groups, time and memory; and keeping to a budget of time."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.errors import UsageError
from mmablate.execution.estimating import Estimate, estimate
from mmablate.execution.grouping import Group, group_runs
from mmablate.execution.pending import over, wanted_runs
from mmablate.execution.probes import Probes
from mmablate.results import StudyStore
from mmablate.results.machine import available_cores
from mmablate.study import AnyStudy, ProgramStudy, RunSpec, Study

MOST_ROWS, LAST = 40, 5  # printed, and how many of them from the end


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        study, rows, seeds: that the runs are of.
        wanted: all runs of them.
        finished: ids of those that are over, here or in a sibling study.
        cost: of the rest.
        jobs: groups side by side.
    """

    study: AnyStudy
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    wanted: tuple[RunSpec, ...]
    finished: frozenset[str]
    cost: Estimate
    jobs: int

    @property
    def pending(self) -> list[RunSpec]:
        """The runs still to be trained."""
        return [spec for spec in self.wanted if spec.run_id not in self.finished]


def make_plan(
    study: AnyStudy,
    rows: Collection[str],
    seeds: Collection[int],
    *,
    out: Path,
    device: str,
    jobs: int | None,
    force: bool,
    retry_failed: bool = False,
    probes: Probes | None = None,
) -> Plan:
    """The plan; nothing is read but records and stored figures, and torch is not imported."""
    store = StudyStore(out, study.name)
    wanted = wanted_runs(study, rows, seeds)
    finished = set() if force else over(store, wanted, retry_failed=retry_failed)
    pending = [spec for spec in wanted if spec.run_id not in finished]
    kind = None if device == "auto" else device.partition(":")[0]
    probes = probes or Probes()
    if jobs is None:
        card = device.startswith("cuda") or (device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")))
        program = 1 if card else available_cores()
        jobs = program if isinstance(study, ProgramStudy) else _usual_jobs(pending, probes, kind)
    if isinstance(study, ProgramStudy):
        cost = _as_before(store, finished, len(pending), jobs)
    else:
        cost = estimate(pending, probes, kind=kind, jobs=jobs)
    return Plan(study, tuple(rows), tuple(seeds), tuple(wanted), frozenset(finished), cost, jobs)


def _usual_jobs(pending: Sequence[RunSpec], probes: Probes, kind: str | None) -> int:
    """Cores on a CPU; on CUDA the number that was measured last."""
    cores = available_cores()
    if kind == "cpu" or not pending:
        return cores
    devices = estimate(pending, probes, kind="cuda", jobs=1)
    return cores if devices.seconds is None else 1


def _as_before(store: StudyStore, finished: Collection[str], pending: int, jobs: int) -> Estimate:
    """Of runs of a program, which cannot be tried for a few steps: as long as the finished ones took."""
    records = [record for run_id in finished if (record := store.read_record(run_id)) is not None]
    seconds = [record.seconds for record in records if record.seconds is not None]
    if not pending or not seconds:
        return Estimate(None if pending else 0.0, None, (), None, ())
    devices = {str(record.environment.get("device_name", record.environment.get("device", ""))) for record in records}
    rounds = math.ceil(pending / jobs)
    return Estimate(rounds * sum(seconds) / len(seconds), None, tuple(sorted(devices - {""})), None, ())


def print_plan(plan: Plan, format: str) -> None:
    """The plan on stdout."""
    if format == "json":
        print(json.dumps(_as_json(plan), ensure_ascii=False, indent=1))
        return
    study = plan.study
    grid = Grid(title=Text(f"{study.name}: plan"))
    made_of = "settings" if isinstance(study, ProgramStudy) else "losses"
    for name in ("row", made_of, "baseline", "runs", "finished"):
        grid.add_column(name, justify="right" if name in ("runs", "finished") else "left")
    first, left_out, last = planned_rows(study.rows, plan.rows, plan.wanted, plan.finished)
    for shown in (*first, None, *last) if left_out else first:
        if shown is None:
            grid.add_row(f"... {left_out} more rows", "", "", "", "")
            continue
        row, base = shown.row, study.baseline[shown.row.name]
        base = "–" if base == row.name else base
        grid.add_row(Text(row.name), Text(row.label), Text(base), str(shown.runs), str(shown.finished))
    for role in ("pretraining", "pair", "teacher"):
        some = {s.run_id for s in plan.wanted if s.role == role}
        if some:
            grid.add_row(f"({role})", "", "", str(len(some)), str(len(some & plan.finished)))
    console = Console()
    console.print(grid)
    for line in summary(plan):
        console.print(line, highlight=False, markup=False)


def summary(plan: Plan) -> list[str]:
    """Counts and cost, a line each."""
    pending = plan.pending
    teachers = sum(spec.role == "teacher" for spec in plan.wanted)
    pairs = sum(spec.role == "pair" for spec in plan.wanted)
    before = sum(spec.role == "pretraining" for spec in plan.wanted)
    cells, students = len(plan.rows) * len(plan.seeds), len(plan.wanted) - teachers - pairs - before
    head = _count(cells, "cell")
    if students < cells:
        head += f", {cells - students} of them shared with other rows"
    if teachers:
        head += f"; {_count(teachers, 'teacher')}, trained once for all rows of a seed"
    if pairs:
        head += f"; {_count(pairs, 'pair')} of teacher and student, trained jointly for the saliency of channels"
    if before:
        head += f"; {_count(before, 'pre-training')}, each for all rows of a seed with the same encoders"
    groups = len(_groups(plan))
    lines = [head]
    text = f"{_count(len(plan.wanted), 'run')}, {len(plan.finished)} finished, {len(pending)} to train"
    lines.append(text + (f" in {_count(groups, 'group')}, up to {plan.jobs} side by side" if pending else ""))
    if pending:
        lines.append(cost_line(plan))
    if isinstance(plan.study, ProgramStudy):
        if plan.study.recipe.synthetic:
            lines.append("the data are SYNTHETIC, as the recipe says")
    elif plan.study.recipe.data.generate is not None:
        lines.append("the data are SYNTHETIC: made by the dataset's generator")
    return lines


def _groups(plan: Plan) -> list[Group]:
    """As the recipe says that they are trained."""
    stacked = isinstance(plan.study, Study) and plan.study.recipe.execution == "stacked"
    return group_runs(plan.pending, {spec.run_id for spec in plan.pending} if stacked else ())


def cost_line(plan: Plan) -> str:
    """Time and memory, or how to get to know them."""
    cost = plan.cost
    if cost.seconds is None and isinstance(plan.study, ProgramStudy):
        return "the time of a program's runs is known once some are finished"
    if cost.seconds is None:
        return "time and memory are not known yet: --probe measures them, in some seconds"
    text = f"about {spoken(cost.seconds)}"
    if cost.memory_mb is not None:
        text += f", {cost.memory_mb:.0f} MB at the peak of a group"
    when = f", measured {cost.measured[:10]}" if cost.measured else ""
    recipe = plan.study.recipe
    stacked = getattr(recipe, "execution", "auto") == "stacked"
    mode = ", in turn; stacked, as the recipe says, less" if stacked else ""
    return f"{text} (with -j {plan.jobs} on {', '.join(cost.devices)}{when}{mode})"


def within_budget(plan: Plan, budget: float, again: Any) -> Plan:
    """The plan, or one of fewer seeds that keeps to the budget.

    Args:
        budget: seconds.
        again: seeds -> plan.

    Raises:
        UsageError: not even one seed does.
    """
    if plan.cost.seconds is not None and plan.cost.seconds <= budget:
        return plan
    for count in range(len(plan.seeds) - 1, 0, -1):
        fewer: Plan = again(plan.seeds[:count])
        if fewer.cost.seconds is not None and fewer.cost.seconds <= budget:
            return fewer
    needed = "unknown" if plan.cost.seconds is None else spoken(plan.cost.seconds)
    first: Plan = again(plan.seeds[:1])
    one = "unknown" if first.cost.seconds is None else spoken(first.cost.seconds)
    raise UsageError(
        f"--budget {spoken(budget)}: one seed alone takes about {one}, all {len(plan.seeds)} about {needed}; "
        "nothing was trained"
    )


def parse_budget(text: str) -> float:
    """ "2h", "90min", "1h30min", "45s" in seconds.

    Raises:
        UsageError: anything else.
    """
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)(?:min|m))?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    if found is None or not any(found.groups()):
        raise UsageError(f"--budget {text}: a time such as 2h, 90min, 1h30min or 45s")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total > 0 or math.isinf(total):
        raise UsageError(f"--budget {text}: a time above zero")
    return total


def spoken(seconds: float) -> str:
    """ "45 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds >= 600 else seconds / 60
    if seconds < 600:
        return f"{int(minutes)} min {int(seconds % 60)} s"
    hours, rest = divmod(int(minutes), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def _as_json(plan: Plan) -> dict[str, Any]:
    runs = [
        {"run_id": s.run_id, "role": s.role, "seed": s.seed, "rows": list(s.rows),
         "depends_on": list(s.depends_on), "finished": s.run_id in plan.finished}
        for s in plan.wanted
    ]  # fmt: skip
    cost = plan.cost
    return {
        "study": plan.study.name,
        "cells": len(plan.rows) * len(plan.seeds),
        "runs": runs,
        "groups": [[spec.run_id for spec in group.specs] for group in _groups(plan)],
        "jobs": plan.jobs,
        "seconds": cost.seconds,
        "memory_mb": cost.memory_mb,
        "devices": list(cost.devices),
        "measured": cost.measured,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class PlannedRow:
    """A row of the plan.

    Attributes:
        row: of the study.
        runs, finished: numbers of its runs.
    """

    row: Any
    runs: int
    finished: int


def planned_rows(
    rows: Iterable[Any], names: Collection[str], wanted: Sequence[RunSpec], done: Collection[str]
) -> tuple[list[PlannedRow], int, list[PlannedRow]]:
    """The rows of a plan that are printed, and how many are left out between them; counted in one pass.

    Args:
        rows: of the study.
        names: of the rows asked for.
        wanted: the runs.
        done: ids of those that are finished.

    Returns:
        All rows, 0 and none where there are at most 40; otherwise the first 35, the number left out, the last 5.
    """
    chosen, finished = set(names), set(done)
    runs: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for spec in wanted:
        runs.update(spec.rows)
        if spec.run_id in finished:
            ended.update(spec.rows)
    kept = [row for row in rows if row.name in chosen]
    many = len(kept) > MOST_ROWS
    first, last = (kept[: MOST_ROWS - LAST], kept[-LAST:]) if many else (kept, [])

    def counted(some: list[Any]) -> list[PlannedRow]:
        return [PlannedRow(row, runs[row.name], ended[row.name]) for row in some]

    return counted(first), len(kept) - len(first) - len(last), counted(last)
