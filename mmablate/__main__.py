"""`mmablate` and `python -m mmablate`."""

from __future__ import annotations


def main() -> None:
    """Starts the command line; imported late, so that worker processes do not pay for it."""
    from mmablate.cli.app import run

    run()


if __name__ == "__main__":
    main()
