"""The context of a request: its caller's trace, its baggage, its outcome so far."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Final
from urllib.parse import unquote

from reference_service.telemetry.spans import RemoteParent

_TRACEPARENT: Final = re.compile(
    rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
BAGGAGE_MAX_BYTES: Final = 8192
"""W3C Baggage's own limit, for all its lines together; longer baggage is neither read nor passed
on."""
_VALUE_MAX_CHARACTERS: Final = 256
_PREFIX: Final = "worthit."
_TEXTS: Final = frozenset({"worthit.run", "worthit.arm", "worthit.scenario"})
_INTEGERS: Final = frozenset({"worthit.step", "worthit.block", "worthit.draw"})
"""The members that a load sends. Others may not be named so on a span: `worthit.emulated_ns` and
`worthit.key` are what this service itself says there."""
_INTEGER_MAX: Final = 2**63
_INTEGER_DIGITS: Final = 19


class RequestContext:
    """One request's baggage and what went wrong in it so far."""

    __slots__ = (
        "attributes", "baggage", "draw", "emulated_queries", "failure", "redis_failed",
        "traceparent",
    )  # fmt: skip

    def __init__(self, baggage: str = "", traceparent: str = "") -> None:
        self.traceparent = traceparent
        """The caller's header, passed on as it is when this service does not trace."""
        self.attributes, self.baggage = _members(baggage) if _PREFIX in baggage else ({}, "")
        """The load's members: typed, for the SERVER span, and as a header for the model server,
        which may be anybody's and is told nothing else of what the caller sent."""
        draw = self.attributes.get("worthit.draw")
        self.draw = draw if isinstance(draw, int) else None
        """The arrival's draw: what is random about it follows from this."""
        self.failure = ""
        """What ended an answer that had begun with status 200: an error's class."""
        self.redis_failed = False
        """Whether Redis failed this request once: it then waits for Redis no second time."""
        self.emulated_queries: set[str] = set()
        """The tables whose query was slowed down for this request."""


REQUEST: ContextVar[RequestContext | None] = ContextVar("reference_service_request", default=None)
"""The request that the running task works for; none at start-up and in background tasks."""


def _members(header: str) -> tuple[dict[str, str | int], str]:
    """Return the load's members of a baggage header, and a header with them alone.

    Of a key that comes twice the later value counts.
    """
    found: dict[str, str | int] = {}
    raw: dict[str, str] = {}
    for member in header.split(","):
        key, equals, rest = member.partition("=")
        key, text = key.strip(), rest.partition(";")[0].strip()
        value = _typed(key, text) if equals else None
        if value is not None:
            found[key], raw[key] = value, text
    return found, ",".join([f"{key}={text}" for key, text in raw.items()])


def _typed(key: str, text: str) -> str | int | None:
    """Return a member's value; None when the load sends no such member."""
    if key in _TEXTS:
        return unquote(text)[:_VALUE_MAX_CHARACTERS]
    if key not in _INTEGERS or not text.isascii() or not text.isdigit():
        return None
    value = int(text) if len(text) <= _INTEGER_DIGITS else _INTEGER_MAX
    return value if value < _INTEGER_MAX else None


def read_traceparent(header: bytes) -> RemoteParent | None:
    """Return the caller's context, or None when the header is not one by W3C Trace Context."""
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if (
        version == b"ff"
        or (version == b"00" and rest)
        or not trace_id.strip(b"0")
        or not span_id.strip(b"0")
    ):
        return None
    return RemoteParent(
        bytes.fromhex(trace_id.decode()),
        bytes.fromhex(span_id.decode()),
        sampled=bool(int(flags, 16) & 1),
    )


def read_baggage(header: bytes) -> str:
    """Return a baggage header that is fit to be passed on, or nothing."""
    if len(header) > BAGGAGE_MAX_BYTES or not header.isascii():
        return ""
    text = header.decode("ascii")
    return text if text.isprintable() else ""
