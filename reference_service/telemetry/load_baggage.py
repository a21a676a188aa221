"""The baggage that a load sends along: run, arm, scenario, and which arrival it is.

Its six members go on the SERVER span and on to the model server. What else the caller sent is
between others: the model server may be anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import baggage, propagate
from opentelemetry.context import Context

_TEXTS: Final = frozenset({"worthit.run", "worthit.arm", "worthit.scenario"})
_INTEGERS: Final = frozenset({"worthit.step", "worthit.block", "worthit.draw"})
"""Others may not be named so: `worthit.emulated_ns` is what this service itself says."""
_TEXT_MAX_CHARACTERS: Final = 256
_INTEGER_END: Final = 2**63
_INTEGER_MAX_DIGITS: Final = 19


def caller_context(headers: Mapping[str, str]) -> Context:
    """Return the caller's trace context, and of its baggage the load's members."""
    given = propagate.extract(headers)
    context = baggage.clear(given)
    for key, value in baggage.get_all(given).items():
        typed = _typed(key, str(value).partition(";")[0].strip())
        if typed is not None:
            context = baggage.set_baggage(key, typed, context)
    return context


def members() -> dict[str, str | int]:
    """Return the load's members, typed, of the request that is being served."""
    return {key: value for key, value in baggage.get_all().items() if isinstance(value, str | int)}


def draw() -> int | None:
    """Return the arrival's draw: what is random about a request follows from it."""
    value = baggage.get_baggage("worthit.draw")
    return value if isinstance(value, int) else None


def _typed(key: str, text: str) -> str | int | None:
    """Return a member's value; None when the load sends no such member."""
    if key in _TEXTS:
        return text[:_TEXT_MAX_CHARACTERS]
    digits = text.isascii() and text.isdigit() and len(text) <= _INTEGER_MAX_DIGITS
    if key not in _INTEGERS or not digits:
        return None
    return int(text) if int(text) < _INTEGER_END else None
