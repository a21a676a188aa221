"""Names of many requests that differ in an id alone become one: ``GET /orders/{id}``.

An instrumentation that does not know the framework's routes names a span, and a load tool its
requests, by the path as it was sent: a run of 10,000 orders would have 10,000 operations.
"""

from __future__ import annotations

import re
from typing import Final

PLACEHOLDER: Final = "{id}"

_PATH: Final = re.compile(r"(?:(?:[A-Z]+|HTTP [A-Z]+) )?(?:https?://[^/\s]+)?/")
"""How a name begins that holds a path: GET /orders/1, /orders/1, http://host/orders/1."""

_ID: Final = re.compile(
    r"(?<=/)(?:"
    r"\d+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}"
    r")(?=/|$|\?|#|\s)"
)
"""A whole segment that is a number, a UUID, or eight hexadecimal digits and more with a decimal
digit among them: "deadbeef" and "v1" are words."""


def folded(name: str) -> str:
    """Put ``{id}`` for every segment of a path that names one thing of many.

    ``GET /orders/123/lines`` becomes ``GET /orders/{id}/lines``; a name that holds no path stays.
    """
    return _ID.sub(PLACEHOLDER, name) if _PATH.match(name) else name
