"""The conversation buffer holds what PostgreSQL holds: each turn once, none missing, in order."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from uuid import UUID, uuid4

import orjson
import pytest
from typing_extensions import override

from reference_service.composition import Service as Parts
from reference_service.errors import ServiceError
from reference_service.models import ChatReply, ChatRequest, Emotion, Turn
from reference_service.services.conversation import RedisConversationBuffer, StoredConversation
from reference_service.storage.turns import TurnStore
from reference_service.telemetry.metrics import CacheMetrics
from tests.support.servers.chat_servers import ChatServers
from tests.support.servers.tcp_proxy import server_wire

pytestmark = pytest.mark.integration

COUNT = 10
"""Turns that a buffer holds; the service's default."""


@pytest.fixture(name="pair")
def _pair() -> tuple[str, UUID]:
    """Give a user and a personality who never spoke before."""
    return f"user-{uuid4().hex[:12]}", uuid4()


class HeldRecord(StoredConversation):
    """Reads from PostgreSQL, and keeps what it read back until it is let go."""

    def __init__(self, store: TurnStore) -> None:
        super().__init__(store, COUNT)
        self.read = asyncio.Event()
        self.go = asyncio.Event()

    @override
    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return what was there some time ago."""
        turns = await super().load(user_id, personality_id)
        self.read.set()
        await self.go.wait()
        return turns


def _buffer(parts: Parts, record: StoredConversation) -> RedisConversationBuffer:
    assert parts.redis is not None
    return RedisConversationBuffer(
        parts.redis,
        record,
        metrics=CacheMetrics(parts.instruments, "conversation"),
        count=COUNT,
        ttl_seconds=600,
        rng=random.Random(),
    )


async def _store(parts: Parts, pair: tuple[str, UUID], text: str = "x") -> Turn:
    user, personality = pair
    stored = await TurnStore(parts.database).append(
        user_id=user,
        personality_id=personality,
        key=uuid4().hex,
        fingerprint=b"",
        user_message=text,
        reply=text,
        emotion=Emotion(label="neutral", score=0.0),
        memories_used=0,
    )
    return Turn(id=stored.id, user_message=text, reply=text)


async def test_a_turn_copied_before_it_was_added_is_there_once(
    servers: ChatServers, pair: tuple[str, UUID]
) -> None:
    """It is stored; another process copies it; then its own process adds it."""
    async with servers.parts(conversation_buffer_enabled=True) as (parts, _):
        buffer = _buffer(parts, StoredConversation(TurnStore(parts.database), COUNT))
        turns = [await _store(parts, pair) for _ in range(3)]
        await buffer.load(*pair)
        await buffer.remember(*pair, turns[-1])
        found = await buffer.load(*pair)

    assert turns == found


async def test_a_copy_read_before_a_turn_was_stored_is_refused(
    servers: ChatServers, pair: tuple[str, UUID]
) -> None:
    """Of two in flight the later id is stored first, read, and then the earlier one is stored."""
    async with servers.parts(conversation_buffer_enabled=True) as (parts, _):
        record = HeldRecord(TurnStore(parts.database))
        buffer = _buffer(parts, record)
        [(five,)] = servers.rows("SELECT nextval('turns_id_seq')")
        six = await _store(parts, pair, "six")
        reading = asyncio.create_task(buffer.load(*pair))
        await record.read.wait()
        servers.rows(
            """INSERT INTO turns OVERRIDING SYSTEM VALUE VALUES
            (%s, %s, %s, 'five', '', 'five', 'five', 'neutral') RETURNING 1""",
            *(five, *pair),
        )
        await buffer.remember(*pair, Turn(id=five, user_message="five", reply="five"))
        record.go.set()
        await reading
        found = await buffer.load(*pair)
        again = await buffer.load(*pair)

    assert ["five", "six"] == [turn.reply for turn in found]
    assert six == found[1]
    assert found == again


async def test_a_turn_that_is_late_takes_its_place(
    servers: ChatServers, pair: tuple[str, UUID]
) -> None:
    """Added after a later one it still stands before it, and only the latest are kept."""
    async with servers.parts(conversation_buffer_enabled=True) as (parts, _):
        buffer = _buffer(parts, StoredConversation(TurnStore(parts.database), COUNT))
        turns = [await _store(parts, pair) for _ in range(COUNT + 3)]
        await buffer.load(*pair)
        for turn in (turns[-1], turns[-3], turns[0]):
            await buffer.remember(*pair, turn)
        found = await buffer.load(*pair)

    assert turns[-COUNT:] == found


@pytest.mark.parametrize("cuts", [1, 1000], ids=["repeated", "given-up"])
async def test_a_turn_whose_insert_lost_its_answer_is_shown(
    servers: ChatServers, cuts: int
) -> None:
    """Stored without anybody hearing of it, repeated or given up, it is in the next chat."""
    request = ChatRequest.model_validate({"message": "Hi", "personality_name": "elara"})
    user = f"lost-{uuid4().hex[:8]}"
    async with (
        server_wire(servers.postgres.url()) as wire,
        servers.parts(
            conversation_buffer_enabled=True, database_url=wire.url, db_pool_timeout_seconds=0.5
        ) as (parts, _),
    ):
        assert parts.buffer is not None
        await parts.chat.reply(user, request, None)
        personality = await parts.personalities.get_personality_id("elara")
        await parts.buffer.load(user, personality)
        servers.call(servers.llm.fault(kind="chat", extra_ms=500))
        try:
            chat = asyncio.create_task(parts.chat.reply(user, request, None))
            await asyncio.sleep(0.3)  # the model is asked, the INSERT comes next
            wire.cuts = cuts
            [outcome] = await asyncio.gather(chat, return_exceptions=True)
        finally:
            wire.cuts = 0
            servers.call(servers.llm.fault())
        await asyncio.sleep(1)  # the pool connects anew
        shown = await parts.buffer.load(user, personality)

    assert (cuts == 1) == isinstance(outcome, ChatReply)
    stored = servers.rows("SELECT id FROM turns WHERE user_id = %s ORDER BY id", user)
    assert 2 == len(stored)
    assert [identity for (identity,) in stored] == [turn.id for turn in shown]


async def test_a_replayed_turn_is_in_the_buffer(servers: ChatServers) -> None:
    """Its first process never came to add it; the retry that is answered from the store does."""
    request = ChatRequest.model_validate({"message": "Hi", "personality_name": "elara"})
    user = f"retry-{uuid4().hex[:8]}"
    async with servers.parts(conversation_buffer_enabled=True) as (parts, _):
        assert parts.buffer is not None
        await parts.chat.reply(user, request, "first")
        personality = await parts.personalities.get_personality_id("elara")
        await parts.buffer.load(user, personality)
        async with servers.parts() as (killed, _):  # without a buffer: as if killed before it
            second = await killed.chat.reply(user, request, "second")
        replay = await parts.chat.reply(user, request, "second")
        shown = await parts.buffer.load(user, personality)

    assert (True, second.turn_id) == (replay.replayed, replay.turn_id)
    assert second.turn_id == shown[-1].id
    assert 2 == len(shown)


async def test_readers_see_every_acknowledged_turn_once(
    servers: ChatServers, pair: tuple[str, UUID]
) -> None:
    """Two processes store and read one conversation at once while its buffer comes and goes."""
    rng = random.Random(3)
    acknowledged: set[int] = set()
    faults: list[str] = []
    client = servers.redis_client()
    key = f"conversation:{pair[0]}:{pair[1]}:turns"
    async with (
        servers.parts(conversation_buffer_enabled=True) as (one, _),
        servers.parts(conversation_buffer_enabled=True) as (other, _),
    ):

        async def write(parts: Parts) -> None:
            assert parts.buffer is not None
            for _ in range(60):
                turn = await _store(parts, pair)
                await asyncio.sleep(rng.random() * 0.004)
                await parts.buffer.remember(*pair, turn)
                acknowledged.add(turn.id)

        async def read(parts: Parts) -> None:
            assert parts.buffer is not None
            while not writing.done():
                before = set(acknowledged)
                ids = [turn.id for turn in await parts.buffer.load(*pair)]
                least = min(ids, default=0) if len(ids) == COUNT else 0
                missing = {turn for turn in before if turn > least} - set(ids)
                if missing or ids != sorted(set(ids)):
                    faults.append(f"{ids} lacks {missing}")

        async def expire() -> None:
            while not writing.done():
                client.delete(key)
                await asyncio.sleep(0.003)

        writing = asyncio.gather(*(write(one) for _ in range(4)), write(other))
        await asyncio.gather(writing, expire(), *(read(parts) for parts in (one, other) * 3))

    assert 300 == len(acknowledged)
    assert [] == faults


async def test_nothing_is_doubled_or_missing_after_a_storm(servers: ChatServers) -> None:
    """Connections to Redis and PostgreSQL are cut all the time; in the end both say the same."""
    users = [f"storm-{number}-{uuid4().hex[:6]}" for number in range(4)]
    request = ChatRequest.model_validate({"message": "Hi", "personality_name": "elara"})
    rng = random.Random(5)
    client = servers.redis_client()
    async with (
        servers.parts(conversation_buffer_enabled=True) as (one, _),
        servers.parts(conversation_buffer_enabled=True) as (other, _),
    ):

        async def converse(user: str) -> None:
            for number in range(25):
                for _ in range(80):
                    with suppress(ServiceError):
                        await rng.choice((one, other)).chat.reply(user, request, f"k{number}")
                        break
                    await asyncio.sleep(0.01)

        async def cut() -> None:
            while not talking.done():
                client.client_kill_filter(_type="normal", skipme=True)
                servers.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"
                    " = 'reference_service' AND random() < 0.5"
                )
                await asyncio.sleep(0.05)

        talking = asyncio.gather(*map(converse, users), *map(converse, users))
        await asyncio.gather(talking, cut())
        await _settled(one, other)
        personality = await one.personalities.get_personality_id("elara")
        assert one.buffer is not None
        shown = {
            user: [turn.id for turn in await one.buffer.load(user, personality)] for user in users
        }

    stored = {
        user: [identity for (identity,) in servers.rows(_LATEST, user, COUNT)][::-1]
        for user in users
    }
    assert stored == shown
    assert [(25,)] * 4 == [servers.rows(_COUNTED, user)[0] for user in users]


_LATEST = "SELECT id FROM turns WHERE user_id = %s ORDER BY id DESC LIMIT %s"
_COUNTED = "SELECT count(*) FROM turns WHERE user_id = %s"


async def _settled(*services: Parts) -> None:
    for _ in range(100):
        pending = any(parts.buffer and parts.buffer.deletions_pending for parts in services)
        if not pending and all(parts.redis_state() == "closed" for parts in services):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("Redis is not back, or deletions are still pending")


@pytest.mark.parametrize("kind", ["of-another-key", "old-schema", "types", "text", "no-set"])
async def test_what_is_no_turn_of_the_conversation_is_not_shown(
    servers: ChatServers, pair: tuple[str, UUID], kind: str
) -> None:
    """Whatever lies in the buffer, the turns are those that PostgreSQL has, and it heals."""
    key = f"conversation:{pair[0]}:{pair[1]}:turns"
    client = servers.redis_client()
    async with servers.parts(conversation_buffer_enabled=True) as (parts, sink):
        assert parts.buffer is not None
        turns = [await _store(parts, pair) for _ in range(2)]
        entries = {
            "of-another-key": [1, key.replace("user", "yours"), 7, "a", "b"],
            "old-schema": [7, "a", "b"],
            "types": [1, key, 7, None, 3],
            "text": "no",
        }
        if kind == "no-set":
            client.rpush(key, "x")
        else:
            client.zadd(key, {orjson.dumps(entries[kind]): 7})
        found = await parts.buffer.load(*pair)
        turns.append(await _store(parts, pair))
        await parts.buffer.remember(*pair, turns[-1])
        await parts.buffer.load(*pair)
        await _settled(parts)
        await parts.buffer.load(*pair)
        sink.clear()
        again = await parts.buffer.load(*pair)

    assert turns[:-1] == found
    assert turns == again
    assert [] == sink.named("SELECT turns")


async def test_a_stopping_process_deletes_what_it_could_not(
    servers: ChatServers, pair: tuple[str, UUID]
) -> None:
    """Redis came back a moment before the process ends: the buffer that lacks a turn goes."""
    key = f"conversation:{pair[0]}:{pair[1]}:turns"
    client = servers.redis_client()
    async with servers.parts(conversation_buffer_enabled=True, redis_timeout_ms=200) as (parts, _):
        assert parts.buffer is not None
        await _store(parts, pair)
        await parts.buffer.load(*pair)
        there = client.exists(key)
        servers.redis.pause()
        try:
            await parts.buffer.remember(*pair, await _store(parts, pair))
        finally:
            servers.redis.resume()
        await parts.buffer.close()

    assert (1, 0) == (there, client.exists(key))
