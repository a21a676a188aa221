"""Redis away: places at the database are for queries, and what a reply can do without is left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from reference_service.models import ChatReply, ChatRequest
from tests.support.servers.chat_servers import ChatServers

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_redis(servers: ChatServers) -> Iterator[None]:
    servers.call(servers.redis.stop())
    yield
    servers.call(servers.redis.start())


def _request() -> ChatRequest:
    message = f"What do I like? {uuid4().hex}"
    return ChatRequest.model_validate({"message": message, "personality_name": "elara"})


async def test_an_embedding_holds_no_place_at_the_database(servers: ChatServers) -> None:
    """While memories wait for the model, personalities are looked up through the only place."""
    servers.call(servers.llm.fault(kind="embeddings", extra_ms=800))
    try:
        async with servers.parts(
            redis_enabled=True,
            memory_cache_enabled=True,
            fallback_max_concurrency=1,
            fallback_max_waiting=0,
        ) as (parts, sink):
            chat = asyncio.create_task(parts.chat.reply("u00001", _request(), None))
            await asyncio.sleep(0.4)
            before = len(sink.named("memory.retrieve"))
            found = await parts.personalities.get_personality("p00001")
            reply = await chat
    finally:
        servers.call(servers.llm.fault())

    assert (0, "p00001", 5) == (before, found.name, reply.memories_used)


async def test_a_shed_memory_lookup_is_done_without(servers: ChatServers) -> None:
    """Of twelve chats at once that find one place, each is answered, some without memories."""
    async with servers.parts(
        memory_cache_enabled=True,
        fallback_max_concurrency=1,
        fallback_max_waiting=0,
        latency_profile="seed",
    ) as (parts, _):
        chats = (parts.chat.reply("u00001", _request(), None) for _ in range(12))
        replies = await asyncio.gather(*chats)

    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert {0, 5} == {reply.memories_used for reply in replies}
