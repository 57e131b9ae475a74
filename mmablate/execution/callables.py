"""Callables of the user's: imported from his folder once a process, and again where their files have changed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_loaded: dict[tuple[str, Path], tuple[dict[str, str], Callable[..., Any]]] = {}


@contextlib.contextmanager
def imported_from(folder: Path) -> Iterator[None]:
    """Modules of this folder can be imported, before others of their name."""
    place = str(folder)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the program has taken it out itself
            sys.path.remove(place)


def loaded(call: str, source: Path, content: Mapping[str, str]) -> Callable[..., Any] | None:
    """The function, where this process has imported it from that file with that content.

    Args:
        call: `package.module:function`.
        source: file of the module.
        content: fingerprints of the program's files.
    """
    known = _loaded.get((call, source))
    return known[1] if known is not None and known[0] == content else None


def load(call: str, source: Path, content: Mapping[str, str]) -> Callable[..., Any]:
    """Imports the function; a module of that name that came from another file, or from this one as it was before, goes.

    Raises:
        Exception: whatever the import raises; TypeError where the name is no function.
    """
    name, _, function = call.partition(":")
    module = sys.modules.get(name)
    if module is not None and ((call, source) in _loaded or not _is_of(module, source)):
        top = name.partition(".")[0]
        for other in [key for key in sys.modules if key == top or key.startswith(f"{top}.")]:
            del sys.modules[other]
    importlib.invalidate_caches()
    found = functools.reduce(getattr, function.split("."), importlib.import_module(name))
    if not callable(found):
        raise TypeError(f"{call} is no function")
    _loaded[call, source] = (dict(content), found)
    return found


def _is_of(module: Any, source: Path) -> bool:
    file = getattr(module, "__file__", None)
    try:
        return file is not None and os.path.samefile(file, source)
    except OSError:
        return False
