"""The two headers that tie a request to the run: W3C ``traceparent`` and ``baggage``."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from urllib.parse import quote

from worthit.contract import names
from worthit.contract.plan import Block

_IDS = random.SystemRandom()
_SAFE = "-._~:/+@"
"""Characters of a baggage value that need no escape; comma, semicolon, space and quotes do (W3C
Baggage, section 3.2.1)."""


class Identifiers:
    """Trace and span ids: random and different in every process, also after a fork."""

    def __init__(self) -> None:
        self._bits = random.Random(_IDS.getrandbits(128)).getrandbits

    def both(self) -> bytes:
        """Return 16 bytes of a trace id and 8 of a span id, neither all zero."""
        return (self._bits(192) | _NEITHER_ZERO).to_bytes(24, "big")


_NEITHER_ZERO = 1 << 190 | 1 << 62
"""All zero is no id (W3C Trace Context, section 3.2.2): one bit of each is always set, the
trace id's in its first byte because samplers rely on the randomness of its last seven."""


def traceparent(both: bytes) -> str:
    """Return the header for a sampled trace (W3C Trace Context, version 00)."""
    text = both.hex()
    return f"00-{text[:32]}-{text[32:]}-01"


_NOT_HEX = re.compile(r"[^0-9a-f]")
_TRACE_BYTES, _SPAN_BYTES = 16, 8


def given_ids(header: str) -> bytes | None:
    """Return the 24 bytes of somebody's own traceparent, or None when it is not one."""
    parts = header.strip().split("-")
    return _ids(parts[1], parts[2]) if len(parts) >= 4 else None  # noqa: PLR2004 - version, trace, span, flags


def propagated_ids(headers: Mapping[str, str]) -> bytes | None:
    """Return the ids that other propagators' headers carry, by lower-case name.

    OpenTelemetry's B3 and Jaeger propagators (``opentelemetry.propagators.b3`` and ``.jaeger``, of
    its specification's list in context/api-propagators.md) send these in place of a traceparent
    when ``OTEL_PROPAGATORS`` asks for them: a service set up likewise follows them.
    """
    if "b3" in headers:
        parts = headers["b3"].split("-")
        return _ids(parts[0], parts[1]) if len(parts) > 1 else None
    if "x-b3-traceid" in headers:
        return _ids(headers["x-b3-traceid"], headers.get("x-b3-spanid", ""))
    if "uber-trace-id" in headers:
        parts = headers["uber-trace-id"].replace("%3A", ":").replace("%3a", ":").split(":")
        return _ids(parts[0], parts[1]) if len(parts) > 1 else None
    return None


OTHER_PROPAGATORS = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "uber-trace-id"})


def _ids(trace_id: str, span_id: str) -> bytes | None:
    trace_id, span_id = trace_id.strip().lower(), span_id.strip().lower()
    too_long = len(trace_id) > 2 * _TRACE_BYTES or len(span_id) > 2 * _SPAN_BYTES
    if too_long or _NOT_HEX.search(trace_id + span_id):
        return None
    found = int(trace_id or "0", 16), int(span_id or "0", 16)
    if not all(found):
        return None
    return found[0].to_bytes(_TRACE_BYTES, "big") + found[1].to_bytes(_SPAN_BYTES, "big")


def baggage_before_draw(run: str, block: Block, scenario: str) -> str:
    """Return the baggage of a block up to the draw, which differs from request to request."""
    values = {
        names.RUN: run,
        names.ARM: block.arm,
        names.STEP: str(block.step),
        names.BLOCK: str(block.block),
        names.SCENARIO: scenario,
    }
    entries = ",".join(f"{key}={quote(value, safe=_SAFE)}" for key, value in values.items())
    return f"{entries},{names.DRAW}="
