"""Redis by redis-py's own client; ours are one deadline, a circuit breaker, a span per command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from typing import Any, Final, TypeVar

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, Tracer
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reference_service.request_state import REQUEST, RequestState
from reference_service.resilience.circuit_breaker import BreakerState, CircuitBreaker
from reference_service.resilience.deadline import deadline
from reference_service.telemetry import names
from reference_service.telemetry.metrics import Instruments
from reference_service.telemetry.spans import recorded

Argument = str | bytes | int | float
Reply = Any
"""What Redis sends: bytes, int, None, or a list of these; each command knows which."""
T = TypeVar("T")

_FAILURES: Final = (RedisConnectionError, RedisTimeoutError, TimeoutError, BusyLoadingError)
"""What the breaker counts: Redis refused, hung, hung up, or is still loading. Not: a full pool, a
cancelled caller."""
_DEFAULT_PORT: Final = 6379
_LEFT_ALONE_SECONDS: Final = 1.0
"""How much longer than a caller waits a command may hold its connection."""
PROBE_SECONDS: Final = 1.0
"""Between two probes of a Redis that is away."""
_SKIPPED: Final = frozenset({"breaker_open", "busy", "failed_before", "repair_pending"})


class RedisUnavailableError(Exception):
    """Redis was not asked, or did not answer; `reason` is one word for metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error_type = reason
        """Of its span: "TimeoutError" says more than that Redis could not be had."""

    @property
    def skipped(self) -> bool:
        """Whether Redis was not asked at all."""
        return self.reason in _SKIPPED


@dataclass(frozen=True, slots=True)
class Command:
    """A Redis command and, for one that reads, how its reply tells keyspace hits and misses."""

    name: str
    found: Callable[[Reply], tuple[int, int]] | None = None


def _found_one(reply: Reply) -> tuple[int, int]:
    return (1, 0) if reply else (0, 1)


def _found_each(reply: Sequence[Any]) -> tuple[int, int]:
    misses = reply.count(None)
    return len(reply) - misses, misses


def _found_by_script(reply: Reply) -> tuple[int, int]:
    """Our own scripts end their reply with what they found; that of `limits` reads nothing."""
    return (int(reply[-2]), int(reply[-1])) if isinstance(reply, list) else (0, 0)


GET: Final = Command("GET", lambda reply: (0, 1) if reply is None else (1, 0))
MGET: Final = Command("MGET", _found_each)
ZRANGE: Final = Command("ZRANGE", _found_one)
TTL: Final = Command("TTL", _found_one)
SET: Final = Command("SET")
DEL: Final = Command("DEL")
EVALSHA: Final = Command("EVALSHA", _found_by_script)
EVAL: Final = Command("EVAL", _found_by_script)


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
        instruments: Instruments,
    ) -> None:
        self.breaker = breaker
        self._tracer = tracer
        self._timeout_seconds = timeout_seconds
        self.pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=timeout_seconds / 2,  # who waits longer would get no answer in the rest
            # `_ended` has one for all; redis-py's would make a task of each sending.
            socket_connect_timeout=None,
            socket_timeout=None,
            # A command that was sent may have been carried out: none is sent twice.
            retry=Retry(NoBackoff(), 0),
            # RESP3 and driver_info would add round trips to every new connection, for nothing.
            protocol=2,
            driver_info=None,
        )
        self._client = Redis(connection_pool=self.pool)
        at = self.pool.connection_kwargs
        self._attributes_of = partial(
            names.redis,
            namespace=str(at.get("db") or 0),
            address=at.get("host") or "localhost",
            port=at.get("port") or _DEFAULT_PORT,
        )
        self._probe: asyncio.Task[None] | None = None
        instruments.meter.create_observable_gauge(
            *("chat.redis.breaker", [self._breaker_state], "1"),
            "1 for the breaker's present state.",
        )

    async def run(self, command: Command, *arguments: Argument, insist: bool = False) -> Reply:
        """Return Redis's reply as bytes, int, list or None. `insist` and errors as for `ask`."""

        async def call() -> Reply:
            return await self._client.execute_command(command.name, *arguments)  # type: ignore[no-untyped-call]  # redis-py's

        return await self.ask(command, call, insist=insist)

    async def run_script(
        self, script: str, keys: Sequence[str], *arguments: Argument, insist: bool = False
    ) -> Reply:
        """Return the script's reply; sends its text when this Redis has not seen it yet."""
        given = (len(keys), *keys, *arguments)
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self.run(EVALSHA, digest, *given, insist=insist)
        except NoScriptError:
            return await self.run(EVAL, script, *given, insist=insist)

    async def ask(
        self, command: Command, call: Callable[[], Awaitable[T]], *, insist: bool = False
    ) -> T:
        """Return what a call of the client returns, which sends one command.

        With `insist` Redis is asked although it failed this request before. Raises
        RedisUnavailableError when Redis is not to be asked, is too busy, does not answer in time
        or refuses the command.
        """
        request = REQUEST.get()
        if request is not None and request.redis_failed and not insist:
            raise RedisUnavailableError("failed_before")
        if not self.breaker.allow():
            raise RedisUnavailableError("breaker_open")
        attributes = self._attributes_of(command.name)
        with recorded(self._tracer, command.name, SpanKind.CLIENT, attributes) as span:
            reply = await self._answer(call, request)
            if command.found is not None and not isinstance(reply, NoScriptError):
                hits, misses = command.found(reply)
                span.set_attribute(names.REDIS_HITS, hits)
                span.set_attribute(names.REDIS_MISSES, misses)
        if isinstance(reply, NoScriptError):  # an answer, and no failure of the span's operation
            raise reply
        return reply

    async def _answer(
        self, call: Callable[[], Awaitable[T]], request: RequestState | None
    ) -> T | NoScriptError:
        """Return what the call returns, and tell breaker and request how it went."""
        try:
            reply: T | NoScriptError = await self._in_time(call)
        except NoScriptError as error:
            reply = error
        except (RedisError, OSError, TimeoutError) as error:
            busy = _found_no_connection(error)
            if not busy:
                self._tell_breaker(error)
            if request is not None and (busy or isinstance(error, _FAILURES)):
                request.redis_failed = True
            reason = "busy" if busy else type(error).__name__
            raise RedisUnavailableError(reason) from error
        self.breaker.succeeded()
        return reply

    async def _in_time(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a call, and leave it alone when the wait ends first.

        redis-py then reads the reply to its end, for nobody. Were the call itself cancelled, its
        connection would have to be thrown away, and the moment between send and read be right.

            0 ms  A sends GET a. A's client hangs up, and A's task is cancelled.
            1 ms  The call goes on. Its connection is not free, so B, who sends GET b, has another.
            2 ms  The reply to GET a is read and dropped. Now the connection is free.
        """
        task = asyncio.ensure_future(self._ended(call))
        task.add_done_callback(_see)
        async with deadline(self._timeout_seconds):
            return await asyncio.shield(task)

    async def _ended(self, call: Callable[[], Awaitable[T]]) -> T:
        """End a call that was left alone and holds its connection for too long."""
        async with asyncio.timeout(self._timeout_seconds + _LEFT_ALONE_SECONDS):
            return await call()

    async def open(self) -> None:
        """Ask Redis for a sign of life; raises RedisUnavailableError."""
        try:
            await self._in_time(self._client.ping)
        except (RedisError, OSError, TimeoutError) as error:
            self._tell_breaker(error)
            raise RedisUnavailableError(type(error).__name__) from error
        self.breaker.succeeded()

    async def close(self) -> None:
        """Stop probing and close the connections."""
        if self._probe is not None:
            self._probe.cancel()
        await self._client.aclose()
        await self.pool.disconnect()

    def _tell_breaker(self, error: Exception) -> None:
        """Count a failure; when that opens the breaker, begin to probe."""
        if not isinstance(error, _FAILURES):  # Redis answered, only not what was hoped for
            self.breaker.succeeded()
            return
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
                await self.open()

    def _breaker_state(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(int(state is self.breaker.state), {"state": state.value})
            for state in BreakerState
        ]


def _found_no_connection(error: Exception) -> bool:
    """Whether the pool had no connection to give: then this process is busy, not Redis.

    The pool says so by redis-py's ConnectionError, as a refused connection is said, but from a
    TimeoutError.
    """
    return isinstance(error, RedisConnectionError) and isinstance(error.__cause__, TimeoutError)


def _see(task: asyncio.Future[Any]) -> None:
    """Look at a call's error, for its caller may be gone: asyncio complains of one never seen."""
    if not task.cancelled():
        task.exception()
