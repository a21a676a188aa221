"""What can be wrong with the data somebody hands us, one class per cause.

Every message is one sentence that says what was found, what was expected and what to do next.
Nothing in ``analysis`` prints or exits: the command line turns these into its exit codes.
"""

from __future__ import annotations


class AnalysisError(Exception):
    """The analysis cannot answer; the message is fit to be shown to a person as it is."""


class InputError(AnalysisError):
    """A file, folder or address does not hold what was expected of it."""


class ColumnError(AnalysisError):
    """A table lacks a column, or holds it with the wrong type."""


class NotEnoughDataError(AnalysisError):
    """The question is sound but this much data cannot answer it; the message says how much can."""
