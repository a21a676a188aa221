"""What did PostgreSQL count? Transactions, sessions, scans and statements.

PostgreSQL's count of transactions is held against the spans, so sampling must not add to it: the
samples come from a connection to another database (`postgres`), and a table's own statistics,
which can only be read from inside its database, are read before the first and after the last look
at the transactions. A connection's start is itself a transaction; `sessions` counts them, so that
`xact_commit - sessions` is the number of transactions that clients asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from worthit.counters.postgres_connection import OUR_NAME, connect
from worthit.counters.sample import Sample, sample
from worthit.counters.statements import statement_counters

IDLE_SECONDS = 5.0
"""How long to wait until a database's connections have gone and their statistics have arrived."""

DATABASES = """
SELECT datname, xact_commit, xact_rollback, sessions, numbackends, blks_hit, blks_read,
  tup_returned, temp_bytes
FROM pg_stat_database
WHERE datname IS NOT NULL AND datname NOT IN ('postgres', 'template0', 'template1')
"""

TABLES = """
SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins, n_tup_upd, n_tup_del
FROM pg_stat_user_tables
"""

CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = ANY(%s) AND application_name LIKE %s
"""


async def postgres_counters(
    url: str, *, databases: Sequence[str] | None = None, now_ns: Callable[[], int] = time.time_ns
) -> list[Sample]:
    """Transactions, sessions, connections, blocks, rows of each database (or `databases`).

    Reads through the database `postgres`, so that no other database's count moves.
    """
    async with await connect(url, "postgres") as connection:
        return await database_counters(connection, databases, now_ns)


async def database_counters(
    connection: AsyncConnection[TupleRow],
    databases: Sequence[str] | None,
    now_ns: Callable[[], int],
) -> list[Sample]:
    """`postgres_counters` over a connection that is there."""
    rows = await (await connection.execute(DATABASES)).fetchall()
    t_ns = now_ns()
    names = (
        *("xact_commit", "xact_rollback", "sessions", "connections"),
        *("blocks_hit", "blocks_read", "rows_scanned", "temp_bytes"),
    )
    return [
        sample(t_ns, "postgres", name, value, database=database)
        for database, *values in rows
        if databases is None or database in databases
        for name, value in zip(names, values, strict=True)
    ]


async def table_counters(
    url: str, databases: Sequence[str], *, now_ns: Callable[[], int] = time.time_ns
) -> list[Sample]:
    """`table_scans` and `rows_*` by table, and `statement_calls` where pg_stat_statements works.

    Connects to each database, which adds to its `xact_commit` and `sessions`: use only before the
    first or after the last `postgres_counters` of a run, and see `settled`.
    """
    names = ("table_scans", "rows_inserted", "rows_updated", "rows_deleted")
    found = []
    for database in databases:
        async with await connect(url, database) as connection:
            rows = await (await connection.execute(TABLES)).fetchall()
            t_ns = now_ns()
            for table, *values in rows:
                found += [
                    sample(t_ns, "postgres", name, value, database=database, table=table)
                    for name, value in zip(names, values, strict=True)
                ]
            found += await statement_counters(connection, database, t_ns)
    return found


async def settled(
    url: str,
    databases: Sequence[str],
    *,
    ours_only: bool = False,
    patience_s: float = IDLE_SECONDS,
) -> bool:
    """Wait until nobody is connected to `databases`: only then have all counts arrived.

    A backend hands in its statistics at the latest when it ends. `ours_only` waits for this
    module's own connections alone. False when some stay connected.
    """
    deadline = time.monotonic() + patience_s
    async with await connect(url, "postgres") as connection:
        while True:
            cursor = await connection.execute(
                CONNECTED, (list(databases), OUR_NAME if ours_only else "%")
            )
            row = await cursor.fetchone()
            if row is not None and row[0] == 0:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)


async def first_postgres_counters(url: str, databases: Sequence[str]) -> list[Sample]:
    """The opening bracket of a run: tables first, then transactions, which then stand still."""
    tables = await table_counters(url, databases)
    await settled(url, databases)
    return tables + await postgres_counters(url, databases=databases)


async def last_postgres_counters(url: str, databases: Sequence[str]) -> list[Sample]:
    """The closing bracket, once the service has stopped: transactions first, then the tables."""
    await settled(url, databases)
    transactions = await postgres_counters(url, databases=databases)
    return transactions + await table_counters(url, databases)
