"""What can go wrong in worthit, each with the exit code that `worthit` ends with.

Only ``worthit.__main__`` prints these and exits. Every message is one sentence: what was found,
what was expected, what to do next.
"""

from __future__ import annotations

from worthit.contract.exit_codes import ExitCode


class WorthitError(Exception):
    """Something in worthit failed; the message is fit to be shown as it is."""

    exit_code: ExitCode = ExitCode.TOOL_FAILED


class UsageError(WorthitError):
    """The user asked for something that cannot be, such as an unknown experiment key."""

    exit_code = ExitCode.WRONG_USAGE


class PartError(WorthitError):
    """A part (PostgreSQL, Redis, simulator, recorder, service, Locust) did not start or died."""
