"""How operations are told apart in a table: by name, and by service where two have one name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol


class OfService(Protocol):
    """A row about an operation of a service."""

    @property
    def service(self) -> str:
        """The service's name."""
        ...

    @property
    def operation(self) -> str:
        """The span's name."""
        ...


def labels(rows: Iterable[OfService]) -> Callable[[OfService], str]:
    """Give what to call a row's operation: ``GET /cart``, or ``load: GET /cart`` beside another.

    The load's request and the service's own span often have one name.
    """
    services: dict[str, set[str]] = {}
    for row in rows:
        services.setdefault(row.operation, set()).add(row.service)

    def label(row: OfService) -> str:
        is_shared = len(services.get(row.operation, ())) > 1
        return f"{row.service}: {row.operation}" if is_shared else row.operation

    return label
