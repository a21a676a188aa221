"""The two headers that tie a request to the run: W3C ``traceparent`` and ``baggage``."""

from __future__ import annotations

import random
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


def given_trace_id(header: str) -> bytes | None:
    """Return the trace id of somebody's own traceparent, or None when it is not one."""
    parts = header.split("-")
    try:
        found = bytes.fromhex(parts[1])
    except (IndexError, ValueError):
        return None
    return found if len(found) == 16 else None  # noqa: PLR2004 - a trace id has 16 bytes


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
