"""The user's cache folder: what can be made again at any time lies here, never results."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$MMABLATE_CACHE`, else `$XDG_CACHE_HOME/mmablate`, else `~/.cache/mmablate`; it need not exist."""
    own = os.environ.get("MMABLATE_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mmablate"
