"""What can go wrong in worthit, each with the exit code that `worthit` ends with.

Only ``worthit.__main__`` prints these and exits. Every message is one sentence: what was found,
what was expected, what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every `worthit` command."""

    DONE = 0
    """The command did what it was asked."""
    TOOL_FAILED = 1
    """The tool or a part of it failed; says nothing about the service under test."""
    WRONG_USAGE = 2
    """The command line, a file or a setting is wrong."""
    CLAIM_DOES_NOT_HOLD = 3
    """The run is good and a claim or threshold does not hold in it."""
    RUN_INVALID = 4
    """The run did not prove itself: no number in it may be believed."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; what a shell reports for it: 128 + SIGINT."""


class WorthitError(Exception):
    """Something in worthit failed; the message is fit to be shown as it is."""

    exit_code: ExitCode = ExitCode.TOOL_FAILED


class UsageError(WorthitError):
    """The user asked for something that cannot be, such as an unknown experiment key."""

    exit_code = ExitCode.WRONG_USAGE


class PartError(WorthitError):
    """A part (PostgreSQL, Redis, simulator, recorder, service, Locust) did not start or died."""
