"""Which attributes of a resource do its spans keep? Those that somebody asks for, by name.

A resource has a dozen attributes that are the same on a million spans, so the readers leave them
out of the spans' JSON. ``kept("service.version")`` makes the readers put that one there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

_KEPT: Final[ContextVar[tuple[str, ...]]] = ContextVar("kept", default=())


@contextmanager
def kept(*keys: str) -> Iterator[None]:
    """Have whatever is read meanwhile keep these attributes of the resources."""
    token = _KEPT.set((*_KEPT.get(), *keys))
    try:
        yield
    finally:
        _KEPT.reset(token)


def asked_for() -> tuple[str, ...]:
    """Give the attributes to be kept."""
    return _KEPT.get()


def of_resource(about: Mapping[str, Any]) -> dict[str, Any]:
    """Give what its spans keep of a resource's attributes; a span's own go before them."""
    return {key: about[key] for key in _KEPT.get() if about.get(key) is not None}
