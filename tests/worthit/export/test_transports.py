"""What an endpoint's answer means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worthit.errors import UsageError
from worthit.export.transports import open_transport, retry_after_s

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("Mon, 23 Nov 2026 12:00:05 GMT", 5.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
    ],
    ids=["absent", "seconds", "date", "date gone by", "nonsense"],
)
def test_retry_after_has_two_forms(header: str | None, seconds: float | None) -> None:
    """Retry-After is a number of seconds or a date; what is neither says nothing."""
    assert seconds == retry_after_s(header, now=NOW)


@pytest.mark.parametrize(
    "address",
    [
        *("localhost:4318", "ftp://host", "http://", "jaeger"),
        *("http://[::1", "grpc://h:99999", "http://h:99999", "http://h:x"),
    ],
)
def test_an_address_of_no_known_kind_is_a_sentence(address: str) -> None:
    """The message repeats the address and shows both forms that work."""
    with pytest.raises(UsageError, match=r"http://HOST:4318 .* grpc://HOST:4317"):
        open_transport(address, headers={}, timeout_s=1)
