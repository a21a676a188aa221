"""Gives every request of every locustfile a traceparent, baggage and a row.

Locust's two HTTP clients are wrapped at the class, so that clients made before or after are
covered, and the request event's ``fire`` is wrapped because it is the one place that every
finished request passes, with or without ``catch_response``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from gevent import GreenletExit, getcurrent
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.event import Events

from worthit.contract.plan import Block, unscheduled
from worthit.load.requests.request_log import Clock, Mark, RequestLog
from worthit.load.requests.trace_context import (
    Identifiers,
    baggage_before_draw,
    given_trace_id,
    traceparent,
)
from worthit.load.schedule.arrival import Arrival

CONTEXT_KEY = "worthit"
"""Under this key of a request's Locust context travels its mark."""
_POSITIONAL_HEADERS = 4
"""FastHttpSession.request(method, url, name, data, catch_response, stream, headers, ...): the
first that must be a keyword."""


_NO_HEADERS: Mapping[str, Any] = {}
_OUR_HEADERS = frozenset({"traceparent", "baggage"})


class SpanSink(Protocol):
    """Where client spans go, if anywhere."""

    def add(self, mark: Mark, meta: dict[str, Any]) -> None:
        """Take one finished request."""

    def close(self) -> None:
        """Send what is left."""


class Instrument:
    """What the wrapped clients do while a test runs; without a log they do nothing."""

    def __init__(self) -> None:
        self.log: RequestLog | None = None
        self.run = "run"
        self.block = unscheduled()
        """Stands in for the block of requests that no schedule sent."""
        self.clock = Clock()
        self.spans: SpanSink | None = None
        self._ids = Identifiers()
        self._unscheduled = count()
        self._scenarios: dict[type, str] = {}
        """The scenario's name, by user class, of requests that no schedule sent."""
        self._before_draw: dict[tuple[int, str], str] = {}
        """Baggage up to the draw, by block (which outlives the test) and scenario."""

    def start(
        self,
        log: RequestLog,
        *,
        run: str,
        block: Block,
        first_draw: int,
        spans: SpanSink | None = None,
    ) -> None:
        """Begin to mark and record."""
        self.spans = spans
        self.run = run
        self.block = block
        self.clock = log.clock
        self._ids = Identifiers()
        self._unscheduled = count(first_draw)
        self._before_draw.clear()
        self.log = log

    def stop(self, *, reason: str) -> SpanSink | None:
        """Record what is still open and stop recording; return the spans' sink, to be closed."""
        log, self.log = self.log, None
        spans, self.spans = self.spans, None
        if log is not None:
            log.close(reason=reason)
        return spans

    def mark(
        self,
        user: object,
        arrival: Arrival | None,
        name: str,
        headers: dict[str, str],
        theirs: Mapping[str, Any] = _NO_HEADERS,
    ) -> Mark:
        """Return the mark of a request about to be sent, and write its headers.

        `theirs` are the session's own, which those of the request would put out of the way.
        """
        if arrival is not None:
            block, draw, scenario = arrival.block, arrival.draw, arrival.scenario
        else:
            kind = type(user)
            block, draw = self.block, next(self._unscheduled)
            scenario = self._scenarios.get(kind) or self._scenario_of(kind)
        ids = self._ids.both()
        given = headers.get("traceparent")
        if not given and "traceparent" in theirs:  # `in` costs a fifth of their `get`
            given = theirs["traceparent"]
        if not given:
            headers["traceparent"] = traceparent(ids)
        elif trace_id := given_trace_id(given):
            ids = trace_id + ids[16:]
        key = (id(block), scenario)
        ours = f"{self._before_draw.get(key) or self._baggage_of(block, scenario)}{draw}"
        others = headers.get("baggage")
        if not others and "baggage" in theirs:
            others = theirs["baggage"]
        headers["baggage"] = f"{others},{ours}" if others else ours
        sent_ns = self.clock.now_ns()
        if arrival is None or arrival.used:
            # only the first request of an arrival has a time it was wanted at; what follows
            # follows from the reply
            return Mark(ids, block, draw, scenario, name, sent_ns, sent_ns)
        arrival.used = True
        return Mark(ids, block, draw, scenario, name, arrival.intended_ns, sent_ns)

    def _scenario_of(self, kind: type) -> str:
        found = self._scenarios[kind] = getattr(kind, "scenario", None) or kind.__name__
        return found

    def _baggage_of(self, block: Block, scenario: str) -> str:
        found = baggage_before_draw(self.run, block, scenario)
        self._before_draw[id(block), scenario] = found
        return found

    def finish(self, mark: Mark, meta: dict[str, Any]) -> None:
        """Record a finished request; Locust's statistics get its time from the intended send."""
        log = self.log
        if log is None:
            return
        mark.end_ns = end_ns = mark.sent_ns + int(meta["response_time"] * 1e6)
        response = meta.get("response")
        status = response.status_code if response is not None else None
        exception = meta.get("exception")
        mark.name = meta["name"]
        recorded = log.finish(
            mark,
            end_ns,
            status,
            None if exception is None else in_one_sentence(exception, status),
            meta.get("response_length") or 0,
        )
        if recorded and self.spans is not None:
            self.spans.add(mark, meta)
        if mark.sent_ns != mark.intended_ns:
            meta["response_time"] += (mark.sent_ns - mark.intended_ns) / 1e6

    def give_up(self, mark: Mark, error: BaseException) -> None:
        """Record a request that was left by an exception: Locust tells of it to nobody."""
        if self.log is not None:
            mark.end_ns = self.clock.now_ns()
            self.log.finish(mark, mark.end_ns, None, in_one_sentence(error, None), 0)


def in_one_sentence(exception: object, status: int | None) -> str:
    """Return an error as one line, the same for the same cause."""
    if status and status >= 400:  # noqa: PLR2004 - HTTP's first error status
        return f"HTTP {status}"
    text = " ".join(str(exception).split())
    if not isinstance(exception, BaseException):
        return text[:200]
    name = type(exception).__name__
    return f"{name}: {text}"[:200] if text else name


def wrap(instrument: Instrument, events: Events) -> None:
    """Put the instrument into Locust's clients and its request event, once a process."""
    fast, plain = FastHttpSession.request, HttpSession.request
    FastHttpSession.request = _wrapped(fast, instrument, _of_agent)  # type: ignore[method-assign] # wrapping it is the point
    HttpSession.request = _wrapped(plain, instrument, _of_session)  # type: ignore[method-assign] # as above
    fire: Callable[..., None] = events.request.fire

    def fire_marked(*, reverse: bool = False, **meta: Any) -> None:  # noqa: ANN401 - as EventHook.fire
        context = meta.get("context")
        # taken out: what the other listeners are given is their own context
        mark = context.pop(CONTEXT_KEY, None) if context else None
        if mark is not None:
            instrument.finish(mark, meta)
        fire(reverse=reverse, **meta)

    events.request.fire = fire_marked  # type: ignore[method-assign] # as above


def _copied(given: Any) -> dict[Any, Any]:  # noqa: ANN401 - whatever dict() takes
    """Return a copy in which our two headers, if they are there, are written as we write them."""
    return {
        lower if (lower := name.lower()) in _OUR_HEADERS else name: value
        for name, value in dict(given).items()
    }


def _of_agent(session: Any) -> Mapping[str, Any]:  # noqa: ANN401 - FastHttpSession types it not
    headers: Mapping[str, Any] = session.client.default_headers
    return headers


def _of_session(session: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    headers: Mapping[str, Any] = session.headers
    return headers


def _wrapped(
    original: Callable[..., Any],
    instrument: Instrument,
    own_headers: Callable[[Any], Mapping[str, Any]],
) -> Callable[..., Any]:
    def request(
        self: FastHttpSession | HttpSession,
        method: str,
        url: str,
        *args: Any,  # noqa: ANN401 - the wrapped one's own
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> object:
        log = instrument.log
        if log is None or len(args) > _POSITIONAL_HEADERS:
            return original(self, method, url, *args, **kwargs)
        given = kwargs.get("headers")
        kwargs["headers"] = headers = _copied(given) if given else {}
        name = (args[0] if args else kwargs.get("name")) or self.request_name or url
        arrival: Arrival | None = getattr(getcurrent(), "worthit_arrival", None)
        mark = instrument.mark(self.user, arrival, name, headers, own_headers(self))
        if arrival is not None and url.startswith("/"):
            if not args:
                kwargs["name"] = name
            url = arrival.block.host + url
        context = kwargs.get("context")
        kwargs["context"] = {**context, CONTEXT_KEY: mark} if context else {CONTEXT_KEY: mark}
        log.begin(mark)
        try:
            result = original(self, method, url, *args, **kwargs)
        except GreenletExit:  # the test's end, which records what it cut off
            raise
        except BaseException as error:  # gevent's Timeout is no Exception
            instrument.give_up(mark, error)
            raise
        if mark.end_ns is None:
            # inside `with ... catch_response=True`: it has ended, and is recorded when the block
            # is left
            mark.end_ns = instrument.clock.now_ns()
        return result

    return request
