"""An `Idempotency-Key` that comes again is answered as it was, whatever has changed since."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.support.servers.chat_servers import ChatServers
from worthit.environment.service import Service

pytestmark = pytest.mark.integration

MESSAGE = "I am so glad, thanks"


def _chat(service: Service, user: str, key: str, **changes: object) -> httpx.Response:
    body = {"message": MESSAGE, "personality_name": "replayed", **changes}
    headers = {"X-User-Id": user, "Idempotency-Key": key}
    return httpx.post(f"{service.url}/chat", json=body, headers=headers, timeout=10)


def _put(service: Service) -> None:
    config = {"archetype": "a", "system_prompt": "You come again."}
    httpx.put(f"{service.url}/personalities/replayed", json=config).raise_for_status()


def _told(answer: httpx.Response) -> dict[str, object]:
    """Return the answer's body less the word that it is a replay."""
    body: dict[str, object] = answer.json()
    return {name: value for name, value in body.items() if name != "replayed"}


def test_a_replay_says_all_that_the_first_answer_said(servers: ChatServers) -> None:
    """Memories, score and personality's id, though a new personality has the name by now."""
    key = uuid4().hex
    with servers.service() as service:
        _put(service)
        first = _chat(service, "u00001", key)
        httpx.delete(f"{service.url}/personalities/replayed").raise_for_status()
        _put(service)
        again = _chat(service, "u00001", key)

    assert (False, True) == (first.json()["replayed"], again.json()["replayed"])
    assert _told(first) == _told(again)
    assert 5 == first.json()["memories_used"]
    assert first.json()["emotion"]["score"] > 0


def test_a_stored_turn_is_answered_beyond_the_limit_and_without_its_personality(
    servers: ChatServers,
) -> None:
    """The user has used the minute up and the personality is gone: the retry is a 200."""
    key, user = uuid4().hex, f"limited-{uuid4().hex[:8]}"
    with servers.service(RATE_LIMIT_ENABLED="true", RATE_LIMIT_PER_MINUTE="1") as service:
        _put(service)
        first = _chat(service, user, key)
        httpx.delete(f"{service.url}/personalities/replayed").raise_for_status()
        again = _chat(service, user, key)
        streamed = _chat(service, user, key, stream=True)
        new = _chat(service, user, uuid4().hex)

    assert [200, 200, 200, 429] == [one.status_code for one in (first, again, streamed, new)]
    assert _told(first) == _told(again)
    done = json.loads(streamed.text.rpartition("data: ")[2])
    assert again.json() == done


async def test_streams_with_one_key_at_once_are_done_with_the_stored_reply(
    servers: ChatServers,
) -> None:
    """Each shows the pieces of its own call of the model; `done` of all says what is stored."""
    key, user = uuid4().hex, f"streams-{uuid4().hex[:8]}"
    body = {"message": MESSAGE, "personality_name": "elara", "stream": True}
    headers = {"X-User-Id": user, "Idempotency-Key": key}
    with servers.service() as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
            calls = (client.post("/chat", json=body, headers=headers) for _ in range(5))
            answers = await asyncio.gather(*calls)

    done = [json.loads(answer.text.rpartition("data: ")[2]) for answer in answers]
    stored = servers.rows("SELECT id, reply FROM turns WHERE user_id = %s", user)
    assert stored == list({(one["turn_id"], one["reply"]) for one in done})
    assert 1 == sum(not one["replayed"] for one in done)


def test_a_database_of_before_gets_the_columns(servers: ChatServers) -> None:
    """`init-db` adds what a replay needs to a table of turns that was made without it."""
    url = servers.call(servers.postgres.create_database("older"))
    try:
        servers.command("init-db", DATABASE_URL=url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE turns DROP emotion_score, DROP memories_used")
            connection.execute(
                "INSERT INTO turns (user_id, personality_id, idempotency_key, fingerprint,"
                " user_message, reply, emotion) VALUES"
                " ('u', gen_random_uuid(), 'k', '', 'a', 'b', 'neutral')"
            )
        servers.command("init-db", DATABASE_URL=url)
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT emotion_score, memories_used FROM turns").fetchall()
    finally:
        servers.call(servers.postgres.drop_database("older"))

    assert [(0.0, 0)] == found
