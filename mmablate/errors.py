"""The exception family. Every room may import it; it imports nothing.

A user's mistake is told in one message and ends the program with the exit code of its class;
only a fault of mmablate itself may show a traceback.
"""

from __future__ import annotations


class MmablateError(Exception):
    """Base of all errors that are told to the user as one message, without a traceback.

    Attributes:
        exit_code: status with which the command line ends.
    """

    exit_code = 2


class UsageError(MmablateError):
    """A command line that cannot be understood: option, value or combination at fault."""


class RecipeError(MmablateError):
    """One or more faults of a recipe, told together.

    Args:
        problems: one line each: place (file and line), key, rule and value.
    """

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(MmablateError):
    """Data on disk that are missing, truncated or of the wrong form; names the path."""

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class StoreError(MmablateError):
    """A results folder that cannot be read or written; names the path."""


class LeaseLost(MmablateError):
    """Another process has taken a run over, since this one seemed dead for too long; it must not write the run.

    Args:
        run_id: of the run.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} was taken over by another process, which took this one for dead")


class MissingExtra(MmablateError):
    """An optional package is missing; names the command that installs it."""


class BackendError(MmablateError):
    """Slurm or Ray is not there, refuses work, or has lost workers until it made no sense to send more."""


class RunFailed(MmablateError):
    """At least one run of the study failed; the others finished and are kept."""

    exit_code = 1


class NonFiniteLoss(MmablateError):
    """A loss became NaN or infinite; that run stops before its optimiser step.

    Args:
        term: the loss term at fault.
        value: what it was.
        step: optimiser step, counted from 1.
    """

    exit_code = 1

    def __init__(self, term: str, value: float, step: int) -> None:
        self.term, self.value, self.step = term, value, step
        super().__init__(f"loss term {term!r} became {value} at step {step}")
