"""Which records stand behind which row of a study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmablate.results import RunRecord

Records = dict[str, list[RunRecord]]


def by_row(study: Mapping[str, Any], records: Sequence[RunRecord]) -> tuple[Records, list[str], list[str]]:
    """Records by row. The plan says which rows a planned run serves; any other record counts under its own.

    Also the rows that the recipe does not know, and a line for each record whose row has that seed already.
    Runs that an earlier version of the recipe left in the folder stand in `superseded` and do not count; nor does
    what students only learn from, a teacher or a pair that was trained jointly.
    """
    planned = {entry["run_id"]: entry["rows"] for entry in study["plan"]}
    superseded = {entry["run_id"] for entry in study.get("superseded", ())}
    known = {spec["name"] for spec in study["table"]["rows"]}
    found: Records = defaultdict(list)
    extra: dict[str, None] = {}
    doubles: list[str] = []
    taken: set[tuple[str, int]] = set()
    # Planned runs first: a copied run never pushes a planned one aside.
    for record in sorted(records, key=lambda r: r.run_id not in planned):
        if record.role != "student" or record.run_id in superseded:
            continue
        rows = planned.get(record.run_id) or ([record.row] if record.row else [])
        for row in rows:
            if (row, record.seed) not in taken:
                taken.add((row, record.seed))
                found[row].append(record)
                if row not in known:
                    extra[row] = None
            else:
                doubles.append(f"run {record.run_id}: the row {row} has another run of seed {record.seed}.")
    return {row: sorted(some, key=lambda r: r.seed) for row, some in found.items()}, list(extra), doubles
