"""How often had PostgreSQL executed each statement by now? Read again and again, by statement id.

``pg_stat_statements`` counts a statement when it ends, at once, where ``pg_stat_database`` hands
its transactions in up to ten seconds late. So two readings within a block say what the server did
in that block. Texts are long and are read once, at the end, by ``table_counters``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from worthit.counters.postgres_connection import UNREADABLE, connect
from worthit.counters.sample import Sample, sample

EXTENSION = "SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'"

HAS_TOPLEVEL = """
SELECT 1 FROM pg_attribute
WHERE attrelid = to_regclass('pg_stat_statements') AND attname = 'toplevel'
"""
"""From PostgreSQL 14 on a statement of a function can be told from one that a client sent."""

CALLS = """
SELECT queryid, sum(calls) FROM pg_stat_statements({showtext})
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
AND queryid IS NOT NULL {toplevel} GROUP BY queryid
"""

TEXTS = """
SELECT queryid, query, sum(calls) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
AND queryid IS NOT NULL {toplevel} GROUP BY queryid, query
"""


async def statement_counters(
    connection: AsyncConnection[TupleRow], database: str, t_ns: int
) -> list[Sample]:
    """`statement_calls` with text and id; none where the extension is missing or not loaded."""
    if await (await connection.execute(EXTENSION)).fetchone() is None:
        return []
    try:
        query = TEXTS.format(toplevel=await _toplevel(connection))
        rows = await (await connection.execute(query)).fetchall()
    except UNREADABLE:
        return []
    return [
        sample(
            t_ns,
            "postgres",
            "statement_calls",
            calls,
            database=database,
            query=text,
            queryid=str(number),
        )
        for number, text, calls in rows
    ]


async def _toplevel(connection: AsyncConnection[TupleRow]) -> str:
    found = await (await connection.execute(HAS_TOPLEVEL)).fetchone()
    return "" if found is None else "AND toplevel"


@dataclass(slots=True, kw_only=True)
class StatementReadings:
    """Readings over one connection that is kept; close it before the last look at the counts."""

    url: str
    database: str
    _connection: AsyncConnection[TupleRow] | None = None
    _query: str = ""
    _known: dict[int, float] = field(default_factory=dict)

    async def read(self, now_ns: Callable[[], int] = time.time_ns) -> list[Sample]:
        """`statement_reading`, whose value is the seconds it took, and what has changed.

        Rows `statement_calls_by_id` are of statements that were called since the last reading.
        Raises psycopg.Error.
        """
        connection = await self._connected()
        before_ns = now_ns()
        rows = await (await connection.execute(self._query)).fetchall()
        took_s = (now_ns() - before_ns) / 1e9
        changed = {number: calls for number, calls in rows if self._known.get(number) != calls}
        self._known |= changed
        return [
            sample(before_ns, "postgres", "statement_reading", took_s, database=self.database),
            *(
                sample(
                    before_ns,
                    "postgres",
                    "statement_calls_by_id",
                    calls,
                    database=self.database,
                    queryid=str(number),
                )
                for number, calls in changed.items()
            ),
        ]

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> AsyncConnection[TupleRow]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = await connect(self.url, self.database)
        try:
            toplevel = await _toplevel(connection)
        except psycopg.Error:
            await connection.close()
            raise
        self._query = CALLS.format(showtext="false", toplevel=toplevel)
        self._connection = connection
        return connection
