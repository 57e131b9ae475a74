"""The page's one script, and the policy that lets no other run."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources

from markupsafe import Markup

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@functools.cache
def page_script() -> Markup:
    """The script as it stands in the page."""
    text = resources.files("mmablate.report").joinpath("templates/page.js").read_text(encoding="utf-8")
    text = text.replace("\r\n", "\n")  # browsers hash what they parse
    if "</" in text or "<!--" in text:
        raise ValueError("page.js would end its own element")
    return Markup(text)


def policy(script: str) -> str:
    """The Content-Security-Policy of a page with exactly this script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"{POLICY}; script-src 'sha256-{digest}'"
