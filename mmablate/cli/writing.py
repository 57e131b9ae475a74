"""Text to a file or to stdout."""

from __future__ import annotations

from pathlib import Path

from mmablate.results.files import telling


def write_text(text: str, output: Path | None) -> None:
    """To a file, its folder made, or to stdout."""
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    with telling(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
