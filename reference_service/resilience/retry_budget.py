"""Limits retries to a share of the requests, so that they do not multiply an outage."""

from __future__ import annotations

from typing import Final

RETRIES_PER_REQUEST: Final = 0.1
"""A tenth, as Finagle's and Linkerd's retry budgets have it in order of size."""
RESERVE: Final = 10.0
"""Retries that a quiet service has in hand."""


class RetryBudget:
    """Every request puts a tenth of a retry in, every retry takes one out."""

    def __init__(self) -> None:
        self._tokens = RESERVE

    def request(self) -> None:
        """Note a first attempt."""
        self._tokens = min(RESERVE, self._tokens + RETRIES_PER_REQUEST)

    def may_retry(self) -> bool:
        """Take one retry, if one is left."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
