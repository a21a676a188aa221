"""Operations of one name are told apart by their service."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.document.operations import labels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    service: str
    operation: str


def test_the_loads_request_and_the_services_span_of_one_name_are_two() -> None:
    """Locust's ``GET /cart`` and the service's own are named apart, another operation is not."""
    rows = [
        _Row(service="load", operation="GET /cart"),
        _Row(service="shop", operation="GET /cart"),
        _Row(service="shop", operation="SELECT"),
    ]

    assert ["load: GET /cart", "shop: GET /cart", "SELECT"] == [*map(labels(rows), rows)]
