"""`mmablate` and `python -m mmablate`."""

from __future__ import annotations

import gc


def main() -> None:
    """Starts the command line; imported late, so that worker processes do not pay for it."""
    # Imports, plans and figures make many objects that stay: to look for garbage among them every 700 new ones, as
    # Python does by itself, takes a seventh of a short command's time.
    gc.set_threshold(50_000, 20, 20)
    from mmablate.cli.app import run

    run()


if __name__ == "__main__":
    main()
