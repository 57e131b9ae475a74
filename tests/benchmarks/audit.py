"""A thousand faults planted in clean published tables: which of those that can be proven does `audit` find?

    python tests/benchmarks/audit.py            # about a minute
    python tests/benchmarks/audit.py --faults 200 --seed 7

Every kind of fault in every format that can show it, in tables of many shapes and styles. The unrounded numbers
behind the printed ones are known here, and whether the printed digits prove a fault is decided from them, not by
the auditor. As many clean tables are audited too: whatever is found in them is invented.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import _report
import _tables

from mmablate.analysis.audit import Audit, audit_file


def cells_read(audit: Audit, made: _tables.Made) -> tuple[int, int]:
    """(numbers read with the value that was printed, numbers printed)."""
    printed = sum(1 + (cell.delta is not None) for cell in made.cells.values())
    if len(audit.tables) != 1:
        return 0, printed
    table = audit.tables[0]
    rows = {row.label: position for position, row in enumerate(table.rows)}
    columns = {column.header: column for column in table.columns}
    read = 0
    for (row, name), cell in made.cells.items():
        column, position = columns.get(name), rows.get(row)
        if column is None or position is None:
            continue
        value = table.value(position, column.index)
        deltas = [s.deltas.get(position) for s in table.series if s.column == column]
        read += value is not None and value.value == cell.value
        read += cell.delta is not None and any(d is not None and d.value == cell.delta for d in deltas)
    return read, printed


def found_in(audit: Audit) -> set[tuple[str, str, str]]:
    """(kind, row, column) of every fault found, the column as its header prints it."""
    headers = {column.name: column.header for table in audit.tables for column in table.columns}
    return {
        (kind, finding.row, headers.get(finding.column, finding.column))
        for kind in _tables.KINDS
        for finding in getattr(audit, kind)
    }


def faulty_table(stream: random.Random, kind: str, form: str) -> _tables.Made:
    """A table with a fault of that kind, and now and then a second one of another kind."""
    while True:
        made = _tables.make(stream, form)
        if _tables.plant(stream, made, kind):
            break
    if kind in ("wrong_delta", "wrong_mean") and stream.random() < 0.15:
        _tables.plant(stream, made, stream.choice(["bold_not_best", "colour_contradicts"]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000, help="how many are planted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the tables in which something went wrong")
    options = parser.parse_args()
    stream = random.Random(options.seed)
    pairs = [(k, f) for k in _tables.KINDS for f in _tables.FORMATS if f != "csv" or k in _tables.KINDS[:2]]
    counts: dict[str, Counter[str]] = {f"{kind}, {form}": Counter() for kind, form in pairs}
    total: Counter[str] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        while total["planted"] < options.faults:
            kind, form = pairs[total["tables"] % len(pairs)]
            for made in (faulty_table(stream, kind, form), _tables.make(stream, form)):
                path = Path(folder) / f"table{_tables.ENDINGS[form]}"
                path.write_text(_tables.to_text(made, form), encoding="utf-8")
                audit = audit_file(path)
                found = found_in(audit)
                planted = {(k, r, c) for k, r, c, _ in made.planted}
                provable = {(k, r, c) for k, r, c, sure in made.planted if sure}
                read, printed = cells_read(audit, made)
                total.update(
                    planted=len(planted),
                    provable=len(provable),
                    found=len(found & provable),
                    invented=len(found - provable),
                    cells_printed=printed,
                    cells_read=read,
                    clean_tables=not made.planted,
                )
                for k, r, c in planted:
                    counts[f"{k}, {form}"].update(
                        planted=1, provable=(k, r, c) in provable, found=(k, r, c) in found & provable
                    )
                if options.keep and (found != provable or read != printed):
                    options.keep.mkdir(parents=True, exist_ok=True)
                    name = f"{total['tables']:04d}{'' if made.planted else 'clean'}"
                    (options.keep / (name + path.suffix)).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
                    print(name, form, "missed", provable - found, "invented", found - provable, f"{read}/{printed}")
                    print("   ", made.style, audit.notes)
            total["tables"] += 1
    _report.write(
        "audit",
        {
            "figure": "faults planted in published tables that `mmablate audit` finds, of those that can be proven",
            "baseline": "the planter, who knows the unrounded numbers",
            "ratio": total["found"] / max(total["provable"], 1),
            "planted": total["planted"],
            "provable": total["provable"],
            "found": total["found"],
            "invented": total["invented"],
            "clean_tables": total["clean_tables"],
            "cells_printed": total["cells_printed"],
            "cells_read": total["cells_read"],
            "cells_read_share": total["cells_read"] / max(total["cells_printed"], 1),
            "by_kind_and_format": {name: dict(count) for name, count in counts.items()},
            "seed": options.seed,
            "seconds": time.perf_counter() - started,
        },
    )


if __name__ == "__main__":
    main()
