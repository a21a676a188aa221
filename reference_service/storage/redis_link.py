"""Redis access: one deadline, a circuit breaker, one span per command; only reads are retried.

redis-py brings the connections and the protocol. Its pool and its `execute_command` are left out:
they retry, they cannot tell a wait for the pool from a wait for Redis, and they cost as much again
as the exchange itself (docs/decisions/redis-link.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reference_service.resilience.circuit_breaker import BreakerState, CircuitBreaker
from reference_service.resilience.deadline import GRACE_SECONDS, Deadline
from reference_service.telemetry import names
from reference_service.telemetry.call_durations import CallDurations
from reference_service.telemetry.metrics import Labels, Registry
from reference_service.telemetry.request_context import REQUEST, RequestContext
from reference_service.telemetry.spans import SpanShape, Tracer

Argument = str | bytes | int | float
Reply = Any
"""What Redis sends: bytes, int, None, or a list of these; each command knows which."""
Found = Callable[[Reply], tuple[int, int]]

_FAILURES: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    TimeoutError,
    OSError,
    BusyLoadingError,
)
"""What the breaker counts: Redis refused, hung, hung up, or is still loading. Not: a full pool, a
cancelled caller."""


_DEFAULT_PORT: Final = 6379

PROBE_SECONDS: Final = 1.0
"""Between two probes of a Redis that is away."""

_SKIPPED: Final = frozenset({"breaker_open", "busy", "failing", "failed_before", "repair_pending"})


class RedisUnavailableError(Exception):
    """Redis was not asked, or did not answer; `reason` is one word for metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def skipped(self) -> bool:
        """Whether Redis was not asked at all."""
        return self.reason in _SKIPPED


@dataclass(frozen=True, slots=True)
class Command:
    """A Redis command and, for one that reads, how its reply tells keyspace hits and misses."""

    name: str
    found: Found | None = None
    repeatable: bool = False
    """Whether it may be sent again when its connection broke: it may have been carried out."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script whose reply ends in its own keyspace hits and misses, and its SHA-1."""

    text: str
    sha1: str


def script(text: str) -> Script:
    """Return a script from its text."""
    digest = hashlib.sha1(text.encode())  # noqa: S324 - the name Redis gives a script
    return Script(text=text, sha1=digest.hexdigest())


def _found_one(reply: Reply) -> tuple[int, int]:
    return (1, 0) if reply else (0, 1)


def _found_each(reply: Sequence[Any]) -> tuple[int, int]:
    misses = reply.count(None)
    return len(reply) - misses, misses


def _found_by_script(reply: Sequence[Any]) -> tuple[int, int]:
    return int(reply[-2]), int(reply[-1])


_NO_SUCH_KEY: Final = -2
"""What PTTL says of a key that is not there."""
GET: Final = Command("GET", lambda reply: (0, 1) if reply is None else (1, 0), repeatable=True)
MGET: Final = Command("MGET", _found_each, repeatable=True)
ZRANGE: Final = Command("ZRANGE", _found_one, repeatable=True)
PTTL: Final = Command(
    "PTTL", lambda reply: (0, 1) if reply == _NO_SUCH_KEY else (1, 0), repeatable=True
)
PING: Final = Command("PING", repeatable=True)
SET: Final = Command("SET")
DEL: Final = Command("DEL")
EVALSHA: Final = Command("EVALSHA", _found_by_script)
EVAL: Final = Command("EVAL", _found_by_script)
_COMMANDS: Final = (GET, MGET, ZRANGE, PTTL, PING, SET, DEL, EVALSHA, EVAL)


def _shapes(url: str) -> dict[str, SpanShape]:
    """Return the shape of each command's span at this Redis."""
    parts = urlsplit(url)
    namespace = parts.path.strip("/") or "0"
    address, port = parts.hostname or "localhost", parts.port or _DEFAULT_PORT
    return {
        command.name: names.redis_shape(command.name, namespace, address, port)
        for command in _COMMANDS
    }


class RedisLink:
    """A bounded set of connections to one Redis, asked under a deadline."""

    def __init__(
        self,
        url: str,
        *,
        tracer: Tracer,
        breaker: CircuitBreaker,
        timeout_seconds: float,
        max_connections: int,
        registry: Registry,
    ) -> None:
        self.breaker = breaker
        self._tracer = tracer
        self._timeout_seconds = timeout_seconds
        self._connections = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # Deadline, below, bounds connecting and reading together
            socket_connect_timeout=timeout_seconds + GRACE_SECONDS,
            retry=Retry(NoBackoff(), 0),
            # RESP3 would add a HELLO round trip to every new connection, for nothing used here.
            protocol=2,
            driver_info=None,
        )
        self._make: Callable[[], AbstractConnection] = self._connections.make_connection
        self._idle: list[AbstractConnection] = []
        self._asked: set[AbstractConnection] = set()
        self._max_connections = max_connections
        self._places = asyncio.Semaphore(max_connections)
        self._probe: asyncio.Task[None] | None = None
        self._shapes = _shapes(url)
        self._durations = {
            name: CallDurations(registry, shape) for name, shape in self._shapes.items()
        }
        registry.observe(
            "chat.redis.breaker", "1", "1 for the breaker's present state.", self._breaker_state
        )

    async def run(self, command: Command, *arguments: Argument, insist: bool = False) -> Reply:
        """Return Redis's reply as bytes, int, list or None.

        With `insist` it is asked although it failed this request before. Raises
        RedisUnavailableError when Redis is not to be asked, is too busy, does not answer in time
        or refuses the command.
        """
        request = REQUEST.get()
        if request is not None and request.redis_failed and not insist:
            raise RedisUnavailableError("failed_before")
        if not self.breaker.allow():
            raise RedisUnavailableError("breaker_open")
        seconds = await self._place(request)
        try:
            with self._tracer.span(self._shapes[command.name]) as span:
                reply = await self._timed(command, arguments, request, seconds)
                if command.found is not None and not isinstance(reply, NoScriptError):
                    hits, misses = command.found(reply)
                    span.set(names.REDIS_HITS, hits)
                    span.set(names.REDIS_MISSES, misses)
        finally:
            self._places.release()
        if isinstance(reply, NoScriptError):  # an answer, and no failure of the span's operation
            raise reply
        return reply

    async def _place(self, request: RequestContext | None) -> float:
        """Take a connection's place; return the seconds that are left for the exchange.

        Queue and exchange share one timeout, and the queue's part is the smaller one: who got a
        place too late for an answer would only break a connection. A busy queue says nothing
        about Redis to the breaker; but it ends this request's dealings with it.
        """
        if not self._places.locked():
            await self._places.acquire()
            return self._timeout_seconds
        share = self._timeout_seconds / 2
        try:
            async with Deadline(max(0.0, share - GRACE_SECONDS), self._replies_are_here):
                await self._places.acquire()
        except TimeoutError:
            if request is not None:
                request.redis_failed = True
            raise RedisUnavailableError("busy") from None
        # Who queued behind a Redis that fails has waited for it: that is enough.
        if self.breaker.failing or not self.breaker.allow():
            self._places.release()
            raise RedisUnavailableError("failing")
        return share

    async def _timed(
        self,
        command: Command,
        arguments: tuple[Argument, ...],
        request: RequestContext | None,
        seconds: float,
    ) -> Reply:
        """Return the reply, and tell breaker and metrics how it went."""
        began, durations = perf_counter(), self._durations[command.name]
        try:
            reply = await self._exchange(command, arguments, seconds)
        except NoScriptError as error:
            reply = error
        except BaseException as error:
            durations.failed(perf_counter() - began, type(error).__qualname__)
            if isinstance(error, (*_FAILURES, RedisError)):
                self._tell_of(error, request)
                raise RedisUnavailableError(type(error).__name__) from error
            raise
        durations.succeeded(perf_counter() - began)
        self.breaker.succeeded()
        return reply

    def _tell_of(self, error: Exception, request: RequestContext | None) -> None:
        """Tell breaker and request of a call that failed."""
        if not isinstance(error, _FAILURES):  # Redis answered, only not what was hoped for
            self.breaker.succeeded()
            return
        self._failed()
        if request is not None:
            request.redis_failed = True

    async def run_script(
        self, script: Script, keys: Sequence[str], *arguments: Argument, insist: bool = False
    ) -> Reply:
        """Return the script's reply; sends its text when this Redis has not seen it yet."""
        given = (len(keys), *keys, *arguments)
        try:
            return await self.run(EVALSHA, script.sha1, *given, insist=insist)
        except NoScriptError:
            return await self.run(EVAL, script.text, *given, insist=insist)

    async def open(self) -> None:
        """Open all connections: a burst would do it in the busiest moment.

        Raises RedisUnavailableError.
        """
        pings = (self._ping() for _ in range(self._max_connections))
        answers = await asyncio.gather(*pings, return_exceptions=True)
        for error in answers:
            if isinstance(error, BaseException):
                raise error

    async def close(self) -> None:
        """Stop probing and close the idle connections."""
        if self._probe is not None:
            self._probe.cancel()
        await self._hang_up()

    async def _hang_up(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _ping(self) -> None:
        await self._timed(PING, (), None, self._timeout_seconds)

    def _failed(self) -> None:
        """Tell the breaker; when that opens it, begin to probe."""
        self.breaker.failed()
        if self.breaker.state is BreakerState.OPEN and (self._probe is None or self._probe.done()):
            # In a context of its own: it works for no request and belongs to no trace.
            self._probe = asyncio.create_task(self._probed(), context=Context())

    async def _probed(self) -> None:
        """Ask Redis once a second until it answers; then the breaker is closed."""
        while self.breaker.state is not BreakerState.CLOSED:
            await asyncio.sleep(PROBE_SECONDS)
            self.breaker.probing()
            with suppress(RedisUnavailableError):
                await self._ping()

    def _breaker_state(self) -> Iterator[tuple[Labels, float]]:
        for state in BreakerState:
            yield (("state", state.value),), float(state is self.breaker.state)

    async def _exchange(
        self, command: Command, arguments: tuple[Argument, ...], seconds: float
    ) -> Reply:
        """Send one command and read its reply; an exchange that fails ends its connection.

        That is what keeps one caller's reply from reaching another: a connection is used again
        only after its reply has been read to the end.
        """
        connection = self._idle.pop() if self._idle else self._make()
        self._asked.add(connection)
        try:
            async with Deadline(seconds, partial(_reply_is_here, connection)):
                if _was_closed(connection):  # while it was idle, as all are by a restart
                    await connection.disconnect(nowait=True)
                again = connection.is_connected and command.repeatable
                try:
                    reply = await self._ask(connection, command.name, arguments)
                except RedisConnectionError:
                    await self._hang_up()  # the others have likely fared no better
                    if not again:
                        raise
                    reply = await self._ask(connection, command.name, arguments)
        finally:
            self._asked.discard(connection)
        return reply

    async def _ask(
        self, connection: AbstractConnection, name: str, arguments: tuple[Argument, ...]
    ) -> Reply:
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            await connection.send_command(name, *arguments, check_health=False)
            reply = await connection.read_response(timeout=math.inf)  # the deadline ends it
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return reply

    def _replies_are_here(self) -> bool:
        """Whether Redis has answered somebody who has not read it: then the queue is our own."""
        return any(map(_reply_is_here, self._asked))


def _was_closed(connection: AbstractConnection) -> bool:
    """Whether Redis has closed the connection, as far as the event loop has heard."""
    reader = connection._reader  # noqa: SLF001 - redis-py only tells by reading
    return reader is not None and (reader.at_eof() or reader.exception() is not None)


def _reply_is_here(connection: AbstractConnection) -> bool:
    """Whether bytes from Redis wait to be read: then this process is late, not Redis."""
    writer = connection._writer  # noqa: SLF001 - redis-py gives no other way to its socket
    descriptor = -1 if writer is None else writer.get_extra_info("socket").fileno()
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
