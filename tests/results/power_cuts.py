"""A model of a disk that loses power: what may be found afterwards, given the system calls that were made.

Everything that was not fsynced may be lost, in any combination:

- a file holds what it held at its last fsync, or what it holds now, or half of it, or as many zeros;
- a folder has its entries of its last fsync; each change since then (made, renamed, linked, removed) is there or not,
  whatever became of the others. A rename is one change: both names change, or neither.

The calls come from an strace log of the driver (`crash_calls`), acknowledgements among them, so the order is the
true one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash_calls import Call

# So many combinations of lost changes are drawn at each moment, beside the extremes; all if there are no more.
SAMPLES = 24

Tree = dict[str, "bytes | None"]  # path -> content; None is a folder


@dataclass(eq=False)
class File:
    """One inode of a file."""

    now: bytes = b""
    synced: bytes = b""

    def survivors(self) -> list[bytes]:
        """What it may hold after a cut, the worst first."""
        if self.now == self.synced:
            return [self.now]
        return list(dict.fromkeys([self.synced, self.now, self.now[: len(self.now) // 2], bytes(len(self.now))]))


@dataclass(eq=False)
class Folder:
    """One inode of a folder.

    Attributes:
        now, synced: its entries; pending: changes since the last fsync, each as name -> new entry, None for none.
    """

    now: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, **entries: File | Folder | None) -> None:
        """One change of one or two names."""
        self.pending.append(entries)
        self.now = _changed(self.now, [entries])

    def sync(self) -> None:
        """As fsync does."""
        self.synced, self.pending = dict(self.now), []


def _changed(entries: dict[str, File | Folder], changes: Sequence[dict[str, File | Folder | None]]) -> dict:  # type: ignore[type-arg]
    result = dict(entries)
    for change in changes:
        for name, entry in change.items():
            if entry is None:
                result.pop(name, None)
            else:
                result[name] = entry
    return result


class Disk:
    """A folder of the real disk, all of it synced, and what a program does to it.

    Args:
        root: the folder, as it is before the program runs; its parent is part of the disk too.
    """

    def __init__(self, root: Path) -> None:
        self.top = Folder()
        self.root = root.parent
        self._add(self.top, root)
        self.offsets: dict[str, tuple[File, int]] = {}

    def _add(self, parent: Folder, path: Path) -> None:
        entry: File | Folder
        if path.is_dir():
            entry = Folder()
            for own in path.iterdir():
                self._add(entry, own)
        else:
            content = path.read_bytes()
            same = next((f for f in _files(self.top) if f.now == content and path.stat().st_nlink > 1), None)
            entry = same or File(content, content)
        parent.now[path.name] = parent.synced[path.name] = entry

    def do(self, call: Call) -> None:
        """Takes one call of the log; those that failed or are about other folders change nothing."""
        if call.result < 0:
            return
        data = [text.decode(errors="replace") for text in call.data]
        if call.kind == "openat" and "O_CREAT" in call.flags and self._owns(data[0]):
            parent, name = self._place(data[0])
            if name not in parent.now:
                parent.change(**{name: File()})
            elif "O_TRUNC" in call.flags:
                _file(parent.now[name]).now = b""
        elif call.kind == "write" and call.paths and self._owns(call.paths[0]):
            # Every writer here appends or starts at the beginning of an empty file.
            _file(self._find(call.paths[0])).now += call.data[0][: call.result]
        elif call.kind in ("fsync", "fdatasync") and self._owns(call.paths[0]):
            found = self._find(call.paths[0])
            if isinstance(found, Folder):
                found.sync()
            else:
                found.synced = found.now
        elif call.kind in ("mkdir", "unlink", "link", "rename") and self._owns(data[-1]):
            self._entries(call.kind, data)
        elif call.kind in ("ftruncate", "renameat", "renameat2", "linkat", "unlinkat", "mkdirat"):
            assert not any(map(self._owns, (*data, *call.paths))) or call.flags.endswith(", 0"), f"not modelled: {call}"

    def _entries(self, kind: str, data: list[str]) -> None:
        parent, name = self._place(data[-1])
        if kind == "mkdir":
            parent.change(**{name: Folder()})
        elif kind == "unlink":
            parent.change(**{name: None})
        else:
            source, old = self._place(data[0])
            entry = source.now[old]
            if kind == "link":
                parent.change(**{name: entry})
            elif parent.now.get(name) is not entry:  # two names of one file: rename does nothing
                assert source is parent, "a rename between folders is not modelled"
                parent.change(**{name: entry, old: None})

    def _owns(self, path: str) -> bool:
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def _find(self, path: str) -> File | Folder:
        entry: File | Folder = self.top
        for part in Path(path).relative_to(self.root).parts:
            assert isinstance(entry, Folder)
            entry = entry.now[part]
        return entry

    def _place(self, path: str) -> tuple[Folder, str]:
        parent = self._find(str(Path(path).parent))
        assert isinstance(parent, Folder)
        return parent, Path(path).name

    # --- after a cut --------------------------------------------------------------------------------------------

    def after_cut(self, chance: random.Random, samples: int = SAMPLES) -> Iterator[Tree]:
        """Trees that may be found after a cut at this moment: all there are, or the extremes and a sample."""
        folders, files = _reachable(self.top)
        choices: list[list[int]] = [[0, 1] for folder in folders for _ in folder.pending]
        choices += [list(range(len(file.survivors()))) for file in files]
        number = 1
        for choice in choices:
            number *= len(choice)
        if number <= samples:
            picks: Iterator[Sequence[int]] = iter(itertools.product(*choices))
        else:
            picks = self._some(choices, chance, samples)
        for pick in picks:
            yield self._tree(folders, files, list(pick))

    def _some(self, choices: list[list[int]], chance: random.Random, samples: int) -> Iterator[Sequence[int]]:
        lost, kept = [0] * len(choices), [min(1, len(choice) - 1) for choice in choices]
        yield lost
        yield kept
        for index, choice in enumerate(choices):  # each change alone there, alone lost or torn
            for value in choice:
                yield [*lost[:index], value, *lost[index + 1 :]]
                yield [*kept[:index], value, *kept[index + 1 :]]
        for _ in range(samples):
            yield [chance.choice(choice) for choice in choices]

    def _tree(self, folders: list[Folder], files: list[File], pick: list[int]) -> Tree:
        entries: dict[int, dict[str, File | Folder]] = {}
        for folder in folders:
            here, pick = pick[: len(folder.pending)], pick[len(folder.pending) :]
            kept = [change for change, there in zip(folder.pending, here, strict=True) if there]
            entries[id(folder)] = _changed(folder.synced, kept)
        contents = {id(file): file.survivors()[index] for file, index in zip(files, pick, strict=True)}
        tree: Tree = {}

        def grow(folder: Folder, path: str) -> None:
            for name, entry in entries[id(folder)].items():
                own = f"{path}{name}"
                if isinstance(entry, Folder):
                    tree[own] = None
                    grow(entry, f"{own}/")
                else:
                    tree[own] = contents[id(entry)]

        grow(self.top, "")
        return tree


def write_tree(tree: Tree, folder: Path) -> None:
    """Makes it a folder of the real disk."""
    for name, content in tree.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def _file(entry: File | Folder) -> File:
    assert isinstance(entry, File)
    return entry


def _files(folder: Folder) -> Iterator[File]:
    for entry in folder.now.values():
        if isinstance(entry, Folder):
            yield from _files(entry)
        else:
            yield entry


def _reachable(top: Folder) -> tuple[list[Folder], list[File]]:
    """All inodes that some choice can reach, each once."""
    folders, files, stack = [top], [], [top]
    seen = {id(top)}
    while stack:
        folder = stack.pop()
        changed = [entry for change in folder.pending for entry in change.values() if entry is not None]
        for entry in (*folder.synced.values(), *changed):
            if id(entry) in seen:
                continue
            seen.add(id(entry))
            if isinstance(entry, Folder):
                folders.append(entry)
                stack.append(entry)
            else:
                files.append(entry)
    return folders, files
