"""Whatever is sent: a documented answer, never a 500."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import fuzz
from tests.support.servers.chat_servers import ChatServers

pytestmark = pytest.mark.integration

CASES = 120
"""`python -m benchmarks fuzz` sends 2,000 and more."""


def test_fuzzed_requests_get_documented_answers(servers: ChatServers) -> None:
    """Requests made from the OpenAPI document, valid and not, are answered as it says."""
    # What is fuzzed is also written and deleted, so it is done to a copy.
    url = servers.call(servers.postgres.create_database("fuzzed", "postgres"))
    try:
        with servers.service(REDIS_ENABLED="true", LOG_LEVEL="ERROR", DATABASE_URL=url) as service:
            found = fuzz(service.url, cases=CASES, seed=7)
    finally:
        servers.redis_client().flushall()

    assert [] == found.problems
    assert found.cases >= CASES
    assert 500 not in found.statuses
    assert found.statuses.keys() >= {200, 404, 422}
