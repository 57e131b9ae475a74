"""Keys of random streams, without torch: a stream depends on nothing but its key (see `mmablate.data.streams`)."""

from __future__ import annotations

import hashlib


def stream_key(seed: int, *purpose: str | int) -> int:
    """A 63-bit key, well mixed, the same on every machine; names of files need not be UTF-8."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big") >> 1
