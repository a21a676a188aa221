"""The exit codes of `worthit`, and of a Locust that has the load in it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

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
