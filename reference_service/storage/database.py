"""PostgreSQL access: a statement is one transaction, one round trip and one span.

Sessions are configured by connection options and never by statements, and a statement is prepared
in the same implicit transaction that first runs it, so that PostgreSQL's own count of transactions
equals the count of spans.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, Self

import psycopg
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests
from typing_extensions import override

from reference_service.errors import (
    DatabaseNotPreparedError,
    DatabaseUnavailableError,
    OverloadedError,
    ServiceError,
)
from reference_service.resilience.deadline import deadline
from reference_service.telemetry import names
from reference_service.telemetry.metrics import Instruments

Row = tuple[Any, ...]
POOL_NAME: Final = "chat"


class Connection(psycopg.AsyncConnection[Row]):
    """A connection that keeps a cursor for each statement it has prepared.

    A cursor that runs its statement again knows how to write the parameters and read the rows.
    """

    cursors: dict[str, psycopg.AsyncCursor[Row]]

    @override
    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = await super().connect(*args, **kwargs)
        connection.cursors = {}
        return connection


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with placeholders, and what its span and metric say."""

    sql: str
    operation: str
    collection: str
    summary: str
    attributes: names.Attributes
    """Of span and metric."""
    text: str
    """With numbered placeholders, never values; too much for a metric."""
    repeatable: bool
    """Whether running it twice leaves the same rows and gives the same answer."""


class Executor(Protocol):
    """Runs a statement on a connection that is held for it."""

    async def execute(
        self, connection: Connection, statement: Statement, parameters: Sequence[Any]
    ) -> list[Row]:
        """Return the rows."""


class PreparedExecutor:
    """Runs statements prepared, with binary results."""

    async def execute(
        self, connection: Connection, statement: Statement, parameters: Sequence[Any]
    ) -> list[Row]:
        """Return the rows; in a pipeline, preparing takes no transaction of its own."""
        cursor = connection.cursors.get(statement.sql)
        if cursor is not None:
            await cursor.execute(statement.sql, parameters, prepare=True)
            return await cursor.fetchall()
        async with connection.pipeline():
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement.sql, parameters, prepare=True)
            rows = await cursor.fetchall()
        connection.cursors[statement.sql] = cursor
        return rows


_FAILED: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""PostgreSQL is away, ends, cannot go on, or is a replica that takes no writes."""
_NOT_PREPARED: Final = (
    pg.UndefinedTable,
    pg.UndefinedColumn,
    pg.UndefinedObject,
    pg.InvalidSchemaName,
    pg.InsufficientPrivilege,
)
_CONNECT_TIMEOUT_SECONDS: Final = 2
"""libpq's least."""
_DEFAULT_PORT: Final = 5432
_LONGEST: Final = 4
"""Of the wait for a connection a busy process's own lateness does not count, yet it ends."""
_ANSWER_MARGIN_SECONDS: Final = 0.3
"""How much later than PostgreSQL's own limit the client gives a statement up."""


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
        instruments: Instruments,
    ) -> None:
        self._tracer = tracer
        self._executor = executor
        self._duration = instruments.database_duration
        self._answer_seconds = statement_timeout_ms / 1000 + _ANSWER_MARGIN_SECONDS
        self._place = _Place.of(url)
        self._wait_seconds = timeout_seconds
        self._answered = -math.inf
        """When PostgreSQL last answered a statement, in seconds of `perf_counter`."""
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            _conninfo(url, statement_timeout_ms),
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": 0},
            min_size=pool_min,
            max_size=pool_max,
            timeout=_LONGEST * timeout_seconds,
            max_waiting=max_waiting,
            reconnect_timeout=0.2,
            open=False,
            name=POOL_NAME,
        )
        _observe_pool(instruments.meter, self.pool)

    def statement(
        self, operation: str, collection: str, text: str, *, repeatable: bool = True
    ) -> Statement:
        """Return a statement to be run by `fetch`."""
        sent = " ".join(text.split())
        first, *rest = sent.split("%s")
        shown = first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))
        place = self._place
        return Statement(
            sql=sent,
            operation=operation,
            collection=collection,
            summary=f"{operation} {collection}".strip(),
            attributes=names.postgres(
                operation=operation,
                collection=collection,
                namespace=place.namespace,
                address=place.address,
                port=place.port,
            ),
            text=shown,
            repeatable=repeatable,
        )

    async def open(self) -> None:
        """Start filling the pool; does not wait for PostgreSQL."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def fetch(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a statement in a transaction of its own and return its rows.

        Raises DatabaseUnavailableError when PostgreSQL fails or is too slow, OverloadedError when
        too many wait already.
        """
        began = perf_counter()
        ended = statement.attributes
        try:
            with self._tracer.start_as_current_span(
                statement.summary,
                kind=SpanKind.CLIENT,
                attributes={
                    **statement.attributes,
                    "db.query.summary": statement.summary,
                    "db.query.text": statement.text,
                },
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    return await self._run(statement, parameters, span)
                except BaseException as error:
                    failure = _failure(error)
                    ended = {**ended, **failure}
                    span.set_attributes(failure)
                    span.set_status(StatusCode.ERROR)
                    raise
        finally:
            self._duration.record(perf_counter() - began, ended)

    async def _run(self, statement: Statement, parameters: Sequence[Any], span: Span) -> list[Row]:
        """Run a statement; on another connection when the one it got turns out to be dead.

        After PostgreSQL's restart every idle connection is dead and none of them knows.
        """
        until = perf_counter() + self._wait_seconds
        loop = asyncio.get_running_loop()
        while True:
            began = perf_counter()
            connection = await self._connection()
            got = perf_counter()
            hang_up = loop.call_later(self._answer_seconds, _hang_up, connection.fileno())
            try:
                rows = await self._executor.execute(connection, statement, parameters)
            except _NOT_PREPARED as error:
                raise DatabaseNotPreparedError(
                    f"{error.diag.message_primary}; was `python -m reference_service init-db` run "
                    "on this database?"
                ) from error
            except _FAILED as error:
                if not connection.broken:
                    self._answered = perf_counter()
                again = connection.broken and statement.repeatable and perf_counter() < until
                if not again:
                    raise DatabaseUnavailableError(type(error).__name__) from error
            else:
                self._answered = perf_counter()
                return rows
            finally:
                hang_up.cancel()
                span.set_attribute(names.POOL_WAIT_NS, round((got - began) * 1e9))
                await self.pool.putconn(connection)

    async def ping(self, timeout_seconds: float) -> None:
        """Ask PostgreSQL for a sign of life; a bare Sync is answered but is no transaction.

        When every connection is busy, their statements are the sign, if one was answered no longer
        ago than a statement may take: a full pool is no reason to send everybody elsewhere.

        Raises DatabaseUnavailableError.
        """
        try:
            async with self.pool.connection(timeout_seconds) as connection:
                loop = asyncio.get_running_loop()
                hang_up = loop.call_later(timeout_seconds, _hang_up, connection.fileno())
                try:
                    async with connection.pipeline() as pipeline:
                        await pipeline.sync()
                finally:
                    hang_up.cancel()
        except (PoolTimeout, TooManyRequests) as error:
            if perf_counter() - self._answered > self._answer_seconds:
                raise DatabaseUnavailableError(type(error).__name__) from error
        except psycopg.Error as error:
            raise DatabaseUnavailableError(type(error).__name__) from error

    async def _connection(self) -> Connection:
        try:
            async with deadline(self._wait_seconds):
                return await self.pool.getconn()
        except PoolClosed as error:
            raise DatabaseUnavailableError("the service is stopping") from error
        except (PoolTimeout, TimeoutError):
            raise DatabaseUnavailableError("no connection in time") from PoolTimeout()
        except TooManyRequests as error:
            raise OverloadedError("too many wait for a connection") from error


@dataclass(frozen=True, slots=True)
class _Place:
    """Which database of which server; what a URL leaves open, or names several of, is empty."""

    namespace: str
    address: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a connection URL."""
        given = conninfo_to_dict(url)
        host, port = str(given.get("host") or ""), str(given.get("port") or _DEFAULT_PORT)
        if not host or host.startswith("/") or "," in host or not port.isdigit():
            port = "0"
        return cls(str(given.get("dbname") or ""), "" if "," in host else host, int(port))


def _failure(error: BaseException) -> dict[str, str]:
    """Return what an error is called: PostgreSQL's SQLSTATE if it gave one, else its class."""
    cause = error.__cause__ if isinstance(error, ServiceError) else error
    code = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    if code:
        return {names.ERROR_TYPE: code, names.DATABASE_STATUS: code}
    return {names.ERROR_TYPE: type(cause or error).__qualname__}


def _hang_up(descriptor: int) -> None:
    """End a connection that does not answer.

    A frozen server does not keep its own statement_timeout, and psycopg's cancellation would wait
    for that server, too. A socket that is shut down ends the wait at once.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection, suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _observe_pool(meter: Meter, pool: AsyncConnectionPool[Connection]) -> None:
    """Show the pool's own counts; reading them costs the requests nothing."""
    of_pool = {"db.client.connection.pool.name": POOL_NAME}

    def by_state(_: CallbackOptions) -> list[Observation]:
        stats = pool.get_stats()
        idle = stats.get("pool_available", 0)
        used = stats.get("pool_size", 0) - idle
        return [
            Observation(number, {**of_pool, "db.client.connection.state": state})
            for state, number in (("idle", idle), ("used", used))
        ]

    def total(key: str) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda _: [Observation(pool.get_stats().get(key, 0), of_pool)]

    level, count = meter.create_observable_up_down_counter, meter.create_observable_counter
    stem = "db.client.connection"
    level(f"{stem}.count", [by_state], "{connection}", "Connections by state.")
    level(f"{stem}.max", [total("pool_max")], "{connection}", "Connections at most.")
    level(
        f"{stem}.pending_requests",
        [total("requests_waiting")],
        *("{request}", "Requests waiting for a connection."),
    )
    count(
        f"{stem}.timeouts",
        [total("requests_errors")],
        *("{timeout}", "Waits that ended without one."),
    )


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
