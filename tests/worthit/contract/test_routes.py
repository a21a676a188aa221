"""Names that differ in an id alone become one."""

from __future__ import annotations

import pytest

from worthit.contract.routes import folded


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("GET /orders/123", "GET /orders/{id}"),
        ("/orders/123/lines/4", "/orders/{id}/lines/{id}"),
        ("GET /u/6f9619ff-8b86-d011-b42d-00cf4fc964ff/x", "GET /u/{id}/x"),
        ("POST /blobs/9f86d081884c7d65?full=1", "POST /blobs/{id}?full=1"),
        ("http://127.0.0.1:8080/orders/7", "http://127.0.0.1:8080/orders/{id}"),
        ("GET /api/v1/orders/[id]", "GET /api/v1/orders/[id]"),
        ("GET /words/deadbeef", "GET /words/deadbeef"),
        ("GET /products/<int:pid>", "GET /products/<int:pid>"),
        ("SELECT 1/2", "SELECT 1/2"),
        ("POST /chat", "POST /chat"),
    ],
)
def test_ids_in_paths_are_folded_and_words_are_not(name: str, route: str) -> None:
    """Numbers, UUIDs and hexadecimal ids are ids; versions, words and templates are not."""
    assert route == folded(name)
