"""Names that a tracker, a file system or a URL takes, made of names that anybody may have given."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable


def safe_name(name: str, allowed: str = r"\w.+=-", longest: int = 100) -> str:
    """The name with an underscore for every character that is not allowed; never empty, never hidden, no way out.

    Args:
        allowed: inside of a character class of a regular expression.
    """
    changed = re.sub(f"[^{allowed}]", "_", name)[:longest].strip()
    return changed if changed.strip(". ") and not changed.startswith(".") else f"_{changed.strip('. ')}"


def marked_name(name: str, allowed: str = r"\w.+=-", longest: int = 100) -> str:
    """As `safe_name`; one that had to be changed ends in a mark of what it was, so that two names stay two."""
    changed = safe_name(name, allowed, longest)
    if changed == name:
        return name
    return f"{changed[: longest - 9]}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def safe_keys(names: Iterable[str], allowed: str, longest: int) -> dict[str, str]:
    """Each name -> the key it is logged under; slashes part the keys. Names that would share a key are marked."""

    def path(name: str, one: int) -> str:
        return "/".join(safe_name(part, allowed, longest // (one + 1)) for part in name.split("/"))

    plain = {name: path(name, name.count("/")) for name in names}
    uses = Counter(plain.values())
    return {
        name: key if uses[key] == 1 else f"{key[: longest - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name, key in plain.items()
    }


def without_secrets(text: str) -> str:
    """The text without user names and passwords of addresses in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)
