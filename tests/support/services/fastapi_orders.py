"""Somebody's orders: FastAPI, asyncpg. Nothing of ours, no telemetry of its own.

The change: with ``CHANGE=on`` an order's lines are read at once, not one by one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI, Request

LINES = 3
"""Lines of every order."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a pool of connections."""
    async with asyncpg.create_pool(os.environ["DB_URL"], min_size=1, max_size=4) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/orders/{number}")
async def show(number: int, request: Request) -> dict[str, Any]:
    """Answer with an order and its lines."""
    async with request.app.state.pool.acquire() as connection:
        buyer = await connection.fetchval("SELECT buyer FROM orders WHERE id = $1", number)
        if os.environ["CHANGE"] == "on":
            rows = await connection.fetch("SELECT quantity FROM lines WHERE order_id = $1", number)
        else:
            one = "SELECT quantity FROM lines WHERE order_id = $1 AND row_no = $2"
            rows = [await connection.fetchrow(one, number, line) for line in range(LINES)]
    return {"buyer": buyer, "quantities": [row["quantity"] for row in rows]}
