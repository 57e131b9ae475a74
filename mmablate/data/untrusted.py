"""What reading files of unknown origin needs: the errors of decoders, and JSON of a bounded size."""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

# What decoders raise on damaged bytes; numpy parses an array's header as Python source, hence the tokeniser's error,
# and zipfile says of an encrypted archive that it is a RuntimeError.
BROKEN = (
    OSError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError,
    MemoryError, SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def reason(error: BaseException) -> str:
    """Why a file could not be read, without its path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def read_json(path: Path, most: int) -> Any:
    """The value of a JSON file of at most `most` bytes.

    Raises:
        ValueError: larger, or no JSON; else OSError or another of `BROKEN`.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most} bytes")
    return json.loads(content.decode("utf-8"))


def is_utf8(name: str) -> bool:
    """Whether a name, of a file maybe, can be written into tables: bytes that are no UTF-8 come as half characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
