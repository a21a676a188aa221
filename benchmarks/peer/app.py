"""FastAPI, psycopg's pool, redis-py, httpx's own transport: each used as its tutorial has it.

Tracing comes from `opentelemetry-instrument` and costs not a line here. No stage spans, no
breaker, no single flight, no metrics of its own: this does less than the reference service.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import redis.asyncio as redis
from fastapi import FastAPI, Header, HTTPException
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

TTL_SECONDS = 86_400
JOY = {"happy", "glad", "great", "love", "wonderful", "thanks", "fun"}


class ChatRequest(BaseModel):
    """A message to a personality."""

    message: str
    personality_name: str


class ChatReply(BaseModel):
    """The reply, stored."""

    turn_id: int
    reply: str
    personality_id: str
    emotion: str
    memories_used: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what the routes use."""
    # A thousand connections, because its default of a hundred would queue at 500 in flight.
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    async with (
        AsyncConnectionPool(
            os.environ["DATABASE_URL"],
            min_size=2,
            max_size=20,
            open=False,
            kwargs={"autocommit": True, "row_factory": dict_row},
        ) as pool,
        httpx.AsyncClient(base_url=os.environ["LLM_BASE_URL"], timeout=30, limits=limits) as llm,
        redis.from_url(os.environ["REDIS_URL"]) as cache,
    ):
        app.state.pool, app.state.llm, app.state.cache = pool, llm, cache
        yield


app = FastAPI(lifespan=lifespan)


async def query(statement: str, *parameters: object) -> list[dict[str, Any]]:
    """Run one statement and return its rows."""
    async with app.state.pool.connection() as connection, connection.cursor() as cursor:
        await cursor.execute(statement, parameters)
        rows: list[dict[str, Any]] = await cursor.fetchall()
        return rows


async def personality(name: str) -> dict[str, Any]:
    """Return a personality from the cache or else from the database."""
    key = f"peer:personality:{name}"
    found = await app.state.cache.get(key)
    if found is not None:
        cached: dict[str, Any] = json.loads(found)
        return cached
    rows = await query(
        "SELECT id, name, archetype, system_prompt, traits FROM personalities WHERE name = %s",
        name,
    )
    if not rows:
        raise HTTPException(404, "no such personality")
    row = rows[0] | {"id": str(rows[0]["id"])}
    await app.state.cache.set(key, json.dumps(row), ex=TTL_SECONDS)
    return row


async def memories(user: str, message: str) -> list[str]:
    """Return the user's memories nearest to the message."""
    answer = await app.state.llm.post(
        "/embeddings", json={"model": "sim-embed", "input": message, "dimensions": 256}
    )
    answer.raise_for_status()
    embedding = answer.json()["data"][0]["embedding"]
    rows = await query(
        """SELECT content FROM memories WHERE user_id = %s
        ORDER BY embedding <=> %s::vector LIMIT 5""",
        user,
        str(embedding),
    )
    return [row["content"] for row in rows]


@app.post("/chat")
async def chat(request: ChatRequest, x_user_id: Annotated[str, Header()]) -> ChatReply:
    """Answer a message."""
    found = await personality(request.personality_name)
    preferences = await query(
        "SELECT language, tone, reply_length FROM preferences WHERE user_id = %s", x_user_id
    )
    remembered = await memories(x_user_id, request.message)
    words = re.findall(r"[a-z']+", request.message.lower())
    emotion = "joy" if JOY.intersection(words) else "neutral"
    turns = await query(
        """SELECT user_message, reply FROM turns WHERE user_id = %s AND personality_id = %s
        ORDER BY id DESC LIMIT 10""",
        x_user_id,
        found["id"],
    )
    messages = [
        {
            "role": "system",
            "content": f"{found['system_prompt']} {preferences} {emotion} {remembered}",
        }
    ]
    for turn in reversed(turns):
        messages.append({"role": "user", "content": turn["user_message"]})
        messages.append({"role": "assistant", "content": turn["reply"]})
    messages.append({"role": "user", "content": request.message})
    answer = await app.state.llm.post(
        "/chat/completions", json={"model": "sim-chat", "messages": messages}
    )
    answer.raise_for_status()
    reply = answer.json()["choices"][0]["message"]["content"]
    stored = await query(
        """INSERT INTO turns (user_id, personality_id, idempotency_key, fingerprint, user_message,
        reply, emotion) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        x_user_id,
        found["id"],
        uuid.uuid4().hex,
        b"",
        request.message,
        reply,
        emotion,
    )
    return ChatReply(
        turn_id=stored[0]["id"],
        reply=reply,
        personality_id=found["id"],
        emotion=emotion,
        memories_used=len(remembered),
    )


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """Say that it is up."""
    return {"status": "ok"}
