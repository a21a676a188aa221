"""PostgreSQL behind one door: a statement is one transaction, one round trip and one span.

Sessions are configured by connection options and never by statements, and a statement is prepared in the same
implicit transaction that first runs it, so that PostgreSQL's own count of transactions equals the count of spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Final, Protocol, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests
from typing_extensions import override

from reference_service.errors import DatabaseUnavailableError, OverloadedError
from reference_service.telemetry import names
from reference_service.telemetry.spans import Span, SpanShape, Tracer

Row = tuple[Any, ...]


class Connection(psycopg.AsyncConnection[Row]):
    """A connection that remembers which statements it has prepared."""

    prepared: set[str]

    @override
    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = await super().connect(*args, **kwargs)
        connection.prepared = set()
        return connection


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with placeholders, and the shape of its span."""

    sql: str
    collection: str
    shape: SpanShape


class Executor(Protocol):
    """Runs a statement on a connection that is held for it."""

    async def execute(
        self, connection: Connection, statement: Statement, parameters: Sequence[Any], span: Span
    ) -> list[Row]:
        """Return the rows."""


class PreparedExecutor:
    """Runs statements prepared, with binary results."""

    async def execute(
        self, connection: Connection, statement: Statement, parameters: Sequence[Any], span: Span
    ) -> list[Row]:
        """Return the rows; preparing costs no round trip and no transaction of its own."""
        del span
        if statement.sql in connection.prepared:
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement.sql, parameters, prepare=True)
            return await cursor.fetchall()
        async with connection.pipeline():
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement.sql, parameters, prepare=True)
            rows = await cursor.fetchall()
        connection.prepared.add(statement.sql)
        return rows


_CONNECT_TIMEOUT_SECONDS: Final = 2


class Database:
    """The pool, and the one way to run a statement."""

    def __init__(
        self,
        url: str,
        *,
        tracer: Tracer,
        pool_min: int,
        pool_max: int,
        timeout_seconds: float,
        max_waiting: int,
        statement_timeout_ms: int,
        executor: Executor,
    ) -> None:
        self._tracer = tracer
        self._executor = executor
        self._namespace = str(conninfo_to_dict(url).get("dbname", ""))
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            _conninfo(url, statement_timeout_ms),
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": 0},
            min_size=pool_min,
            max_size=pool_max,
            timeout=timeout_seconds,
            max_waiting=max_waiting,
            reconnect_timeout=0.2,
            open=False,
            name="chat",
        )

    def statement(self, operation: str, collection: str, sql: str) -> Statement:
        """Return a statement to be run by `fetch`."""
        sql = " ".join(sql.split())
        first, *rest = sql.split("%s")
        text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))
        shape = names.postgres_shape(
            operation=operation, collection=collection, text=text, namespace=self._namespace
        )
        return Statement(sql=sql, collection=collection, shape=shape)

    async def open(self) -> None:
        """Start filling the pool; does not wait for PostgreSQL."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def fetch(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a statement in a transaction of its own and return its rows.

        Raises DatabaseUnavailableError when PostgreSQL fails or is too slow, OverloadedError when too many wait already.
        """
        with self._tracer.span(statement.shape) as span:
            began = perf_counter_ns()
            try:
                connection = await self.pool.getconn()
            except PoolTimeout as error:
                raise DatabaseUnavailableError("no connection in time") from error
            except TooManyRequests as error:
                raise OverloadedError("too many wait for a connection") from error
            span.set(names.POOL_WAIT_NS, perf_counter_ns() - began)
            try:
                return await self._executor.execute(connection, statement, parameters, span)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise DatabaseUnavailableError(type(error).__name__) from error
            finally:
                await self.pool.putconn(connection)

    async def ping(self) -> None:
        """Ask PostgreSQL for a sign of life without a transaction: a Sync is answered, and counted by nobody."""
        async with self.pool.connection() as connection:
            if connection.info.transaction_status is not pq.TransactionStatus.IDLE:
                raise DatabaseUnavailableError("connection in use")
            async with connection.pipeline() as pipeline:
                await pipeline.sync()


def _conninfo(url: str, statement_timeout_ms: int) -> str:
    """Return the URL with the session's settings as connection options."""
    given = str(conninfo_to_dict(url).get("options") or "")
    options = (
        f"{given} -c statement_timeout={statement_timeout_ms} -c hnsw.iterative_scan=strict_order "
        f"-c jit=off -c timezone=UTC"
    )
    return make_conninfo(
        url,
        options=options.strip(),
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        application_name="reference_service",
    )
