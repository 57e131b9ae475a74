"""Power cuts at every moment of the driver, by the model of `power_cuts`."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash_calls import acknowledged, base, broken, calls, resumed, traced
from crash_driver import RUNS
from power_cuts import SAMPLES, Disk, Tree, write_tree


@dataclass(frozen=True)
class Cut:
    """A state of the disk after a power cut.

    Attributes:
        moment: number of the call before it, of those that change the disk or tell of a run.
        after: what that call was.
        told: what the driver had said by then.
        tree: what the disk holds, from the parent of the results folder on.
    """

    moment: int
    after: str
    told: str
    tree: Tree


def cuts(*arguments: str, seed: int = 0, samples: int = SAMPLES) -> Iterator[Cut]:
    """Different states after a cut at every moment of a driver.

    Args:
        arguments: go to the driver.
        samples: drawn at each moment, beside the extremes.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = base(Path(folder))
        disk = Disk(out)
        done, lines = traced(out, *arguments)
        assert done.returncode == 0, done.stderr
        assert acknowledged(done.stdout) == set(RUNS)
    chance, told, moment = random.Random(seed), "", 0
    seen: set[int] = set()
    for call in calls(lines):
        if call.kind == "write" and call.flags.startswith("1<"):
            told += call.data[0].decode()
        elif call.kind == "close" or not call.touches(disk.root):
            continue
        disk.do(call)
        moment += 1
        for tree in disk.after_cut(chance, samples):
            if (key := hash((told, tuple(sorted(_plain(tree).items()))))) not in seen:
                seen.add(key)
                yield Cut(moment, f"{call.kind} {' '.join(call.paths)}", told, tree)
    assert told == done.stdout


def found(cut: Cut) -> tuple[list[str], list[str]]:
    """What is wrong on the disk, and with resuming from it."""
    with tempfile.TemporaryDirectory() as folder:
        write_tree(cut.tree, Path(folder))
        out = Path(folder) / "out"
        if not out.is_dir():
            return ["the results folder is lost"], []
        return broken(out, cut.told), resumed(out, cut.told, cut=True)


def _plain(tree: Tree) -> dict[str, bytes]:
    """The tree without the chance names of temporary files."""
    plain = {}
    for name, content in tree.items():
        path = Path(name)
        if not (path.name.startswith(".") and path.suffix) and not path.name.startswith(".claim"):
            plain[name] = b"/" if content is None else content
    return plain
