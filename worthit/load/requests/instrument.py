"""Gives every request of every locustfile a traceparent, baggage and a row.

Locust's two HTTP clients are wrapped at the class, so that clients made before or after are
covered, and their arguments pass through as they are: what a request is called and how it ended
is read from Locust's own request event (``EventHook.fire``, which every finished request passes)
or, where that is not fired, from the response. The headers are written further down
(``transport``), where they leave.

Nothing here may change whether a request of theirs works: an error of ours is caught, counted,
and said (``Instrument.note``).
"""

from __future__ import annotations

import logging
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from gevent import GreenletExit, getcurrent
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook, Events
from locust.user import User
from opentelemetry import trace

from worthit.contract.plan import Block, unscheduled
from worthit.contract.routes import folded
from worthit.load.requests.request_log import STOPPED, Clock, Mark, RequestLog
from worthit.load.requests.token_stream import CONTENT_TYPE, TokenStream
from worthit.load.requests.trace_context import (
    Identifiers,
    baggage_before_draw,
    given_ids,
    propagated_ids,
    traceparent,
)
from worthit.load.requests.transport import current_mark, wrap_transports
from worthit.load.schedule.arrival import Arrival

NOT_RECORDED = "were not recorded"
"""How every note begins that tells of requests without a row."""
_NOT_W3C = (
    "have no trace id, because a traceparent that is no W3C trace context was sent with them"
)
_UNSEEN = (
    "have no trace id, because they left by a transport that carries no traceparent of ours "
    "(neither urllib3 nor geventhttpclient)"
)
_NO_IDS = bytes(24)
_MOST_NOTES = 20
_NO_USER = "no user"
"""The scenario of a request whose session belongs to no user."""
_NOT_HTTP_KIND = "event"
"""The kind of an event that gives no type."""
_LOGGER = logging.getLogger("worthit.load")


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
        self.now_ns = Clock().now_ns
        """The log's clock."""
        self.spans: SpanSink | None = None
        self.request_hook: EventHook | None = None
        """Locust's own request event, whose other events are rows too."""
        self.notes: Counter[str] = Counter()
        """What is to be said of how many requests, since the test began."""
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
        self.now_ns = log.clock.now_ns
        self._ids = Identifiers()
        self._unscheduled = count(first_draw)
        self._before_draw.clear()
        self.notes.clear()
        self.log = log

    def stop(self, *, reason: str) -> SpanSink | None:
        """Record what is still open and stop recording; return the spans' sink, to be closed."""
        log, self.log = self.log, None
        spans, self.spans = self.spans, None
        if log is not None:
            log.close(reason=reason)
        return spans

    def note(self, what: str) -> None:
        """Count what is to be said of some requests, and say it at once the first time."""
        if what not in self.notes and len(self.notes) >= _MOST_NOTES:
            what = f"{NOT_RECORDED}: for other reasons"
        self.notes[what] += 1
        if self.notes[what] == 1:
            _LOGGER.warning("Requests %s.", what)

    def failed(self, error: Exception) -> None:
        """Take note of an error of our own."""
        if (what := f"{NOT_RECORDED}: {in_one_sentence(error, None)}") not in self.notes:
            _LOGGER.debug("%s", "".join(traceback.format_exception(error)))
        self.note(what)

    def open(self, session: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mark:  # noqa: ANN401 - either session
        """Return the mark of a request about to be made."""
        url = args[1] if len(args) > 1 else kwargs.get("url")
        name = args[2] if len(args) > 2 else kwargs.get("name")  # noqa: PLR2004 - method, url, name
        mark = self.mark(session.user, str(name or session.request_name or url))
        method = args[0] if args else kwargs.get("method")
        mark.method = method.decode("latin-1") if isinstance(method, bytes) else str(method)
        return mark

    def mark(self, user: object, name: str) -> Mark:
        """Return a mark that begins now."""
        arrival: Arrival | None = getattr(getcurrent(), "worthit_arrival", None)
        if arrival is not None:
            block, draw, scenario = arrival.block, arrival.draw, arrival.scenario
        else:
            kind = type(user if user is not None else _running_user())
            block, draw = self.block, next(self._unscheduled)
            scenario = self._scenarios.get(kind) or self._scenario_of(kind)
        ids = self._ids.both()
        sent_ns = self.now_ns()
        if arrival is None or arrival.used:
            # only the first request of an arrival has a time it was wanted at; what follows
            # follows from the reply
            return Mark(ids, block, draw, scenario, name, sent_ns, sent_ns)
        arrival.used = True
        return Mark(ids, block, draw, scenario, name, arrival.intended_ns, sent_ns)

    def stamp(self, mark: Mark, given: Mapping[str, str]) -> tuple[str, str]:
        """Return the traceparent and baggage that leave; the row takes the trace id that does.

        `given` are the headers of somebody else: theirs, or an instrumentation's.
        """
        leaves = given.get("traceparent")
        if mark.traceparent_out is None:
            leaves = mark.traceparent_out = self._first_traceparent(mark, given, leaves)
        key = (id(mark.block), mark.scenario)
        before = self._before_draw.get(key) or self._baggage_of(mark.block, mark.scenario)
        ours = f"{before}{mark.draw}"
        others = given.get("baggage")
        if others:
            # after a redirect ours are there already
            ours = others if ours in others else f"{others},{ours}"
        return leaves or mark.traceparent_out, ours

    def _first_traceparent(self, mark: Mark, given: Mapping[str, str], leaves: str | None) -> str:
        if not leaves and not given:
            return traceparent(mark.ids)
        ids = given_ids(leaves) if leaves else propagated_ids(given)
        if ids is None:
            if not leaves:
                return traceparent(mark.ids)
            mark.ids = _NO_IDS
            self.note(_NOT_W3C)
            return leaves
        span = trace.get_current_span().get_span_context()
        mark.foreign = span.trace_id == int.from_bytes(ids[:16], "big")
        mark.ids = ids[:16] + mark.ids[16:]
        return leaves or traceparent(ids)

    def _scenario_of(self, kind: type) -> str:
        if kind is type(None):
            return _NO_USER
        found = self._scenarios[kind] = str(getattr(kind, "scenario", None) or kind.__name__)
        return found

    def _baggage_of(self, block: Block, scenario: str) -> str:
        found = baggage_before_draw(self.run, block, scenario)
        self._before_draw[id(block), scenario] = found
        return found

    def observed(self, hook: EventHook, meta: dict[str, Any]) -> None:
        """Take what a request event says of a request, or of something of another kind."""
        mark, response = current_mark(), meta.get("response")
        if mark is None or mark.recorded or "start_time" not in meta or response is None:
            found = getattr(response, "worthit_mark", None)
            mark = found if isinstance(found, Mark) else None
        if mark is None:
            if hook is self.request_hook and meta.get("request_type") is not None:
                self._other_kind(meta)
            return
        if mark.sent_ns != mark.intended_ns and meta.get("response_time") is not None:
            # Locust's statistics get its time from the intended send
            meta["response_time"] += (mark.sent_ns - mark.intended_ns) / 1e6
        if mark.recorded:
            return
        in_block = mark.undecided
        self._take(mark, meta)
        if not in_block:
            mark.end_ns = self.now_ns()
            if _is_streaming(response):
                self._await_body(mark, response)
                return
        self._record(mark, meta)

    def _take(self, mark: Mark, meta: Mapping[str, Any]) -> None:
        """Read from an event, or from what a response carries of it, how the request ended."""
        response, exception = meta.get("response"), meta.get("exception")
        mark.status_code = response.status_code if response is not None else None
        mark.error = None if exception is None else in_one_sentence(exception, mark.status_code)
        mark.name = folded(str(meta["name"]))
        if not _is_streaming(response):
            mark.received = int(meta.get("response_length") or 0)
        if mark.traceparent_out is None and mark.status_code:
            mark.ids = _NO_IDS
            self.note(_UNSEEN)

    def _record(self, mark: Mark, meta: dict[str, Any]) -> None:
        recorded = self.log is not None and self.log.settle(mark)
        if recorded and self.spans is not None and not mark.foreign:
            self.spans.add(mark, meta)

    def _await_body(self, mark: Mark, response: object) -> None:
        """Keep a request whose answer the user reads bit by bit."""
        mark.streaming = True
        mark.returned_ns = mark.end_ns or 0
        self._keep(mark, response)

    def _keep(self, mark: Mark, response: object) -> None:
        response.worthit_mark = mark  # type: ignore[attr-defined] # both clients' have a __dict__
        if self.log is not None:
            self.log.wait(mark)

    def _other_kind(self, meta: Mapping[str, Any]) -> None:
        """Record an event of a client that is not one of Locust's HTTP clients.

        It ends now; its trace, if it has one, is nothing that Locust's event tells of.
        """
        log = self.log
        if log is None or getattr(getcurrent(), "worthit_unrecorded", False):
            return
        mark = self.mark(None, folded(str(meta.get("name"))))
        taken_ns = max(int(float(meta.get("response_time") or 0.0) * 1e6), 0)
        mark.end_ns = mark.sent_ns
        unscheduled_yet = mark.intended_ns == mark.sent_ns
        mark.sent_ns -= taken_ns
        if unscheduled_yet:
            mark.intended_ns = mark.sent_ns
        mark.ids = _NO_IDS
        mark.kind = str(meta["request_type"]) or _NOT_HTTP_KIND
        exception = meta.get("exception")
        mark.error = None if exception is None else in_one_sentence(exception, None)
        length = meta.get("response_length")
        mark.received = int(length) if isinstance(length, (int, float)) else 0
        log.begin(mark)
        log.settle(mark)

    def returned(self, mark: Mark, result: Any) -> None:  # noqa: ANN401 - either client's response
        """Take note that a request's call has returned, with or without an event."""
        if mark.streaming and not mark.recorded:
            getcurrent().worthit_kept = (mark, weakref.ref(result))
        if mark.recorded or mark.streaming:
            return
        mark.end_ns = self.now_ns()
        meta = getattr(result, "request_meta", None)
        if not isinstance(meta, dict):
            # fired by an event hook that is no EventHook of Locust's
            error = getattr(result, "error", None)
            meta = {"name": mark.name, "response": result, "exception": error}
        self._take(mark, meta)
        response = meta.get("response")
        mark.undecided = bool(getattr(result, "_catch_response", False)) and response is not None
        if _is_streaming(response):
            self._await_body(mark, response)
        if mark.undecided or mark.streaming:
            self._keep(mark, response)
            getcurrent().worthit_kept = (mark, weakref.ref(result))
        else:
            self._record(mark, {**_no_meta(mark), **meta})

    def moved_on(self, greenlet: Any) -> None:  # noqa: ANN401 - any greenlet
        """Record the answer before, if nobody waits for it.

        A ``with`` block that was not entered by now, or a stream that nobody began to read, is not
        going to be.
        """
        (mark, reference), greenlet.worthit_kept = greenlet.worthit_kept, None
        if mark.recorded or self.log is None:
            return
        result = reference()
        entered = mark.undecided and result is not None and result._entered  # noqa: SLF001 - there is no public way to ask
        read = mark.streaming and mark.end_ns != mark.returned_ns
        if not entered and not read:
            self._record(mark, {**_no_meta(mark), **getattr(result, "request_meta", {})})

    def left(self, mark: Mark) -> None:
        """Take note that its first bytes are handed to the socket now."""
        if self.log is not None:
            self.log.left(mark)

    def received(self, mark: Mark, data: bytes) -> None:
        """Take note of some of the body."""
        now_ns = self.now_ns()
        if not mark.received:
            mark.first_byte_ns = now_ns
        mark.received += len(data)
        mark.end_ns = now_ns
        if mark.tokens is not None:
            try:
                mark.tokens.feed(data, now_ns)
            except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
                mark.tokens = None
                self.failed(error)

    def begins(self, mark: Mark, content_type: str, content_encoding: str) -> None:
        """Take note of what kind of body begins."""
        if content_type.startswith(CONTENT_TYPE):
            mark.tokens = TokenStream(content_encoding=content_encoding)

    def body_ended(self, mark: Mark) -> None:
        """Record a streamed answer that has ended, unless a ``with`` block is to judge it."""
        if mark.streaming and not mark.recorded:
            mark.end_ns = self.now_ns()
            if not mark.undecided:
                self._record(mark, _no_meta(mark))

    def give_up(self, mark: Mark, error: BaseException) -> None:
        """Record a request that was left by an exception: Locust tells of it to nobody."""
        if self.log is None or mark.recorded:
            return
        if isinstance(error, GreenletExit):  # the test's end, or the user's
            if mark.wire_ns is None and mark.block is self.block:
                self.log.forget(mark)
            else:
                self.log.finish(mark, None, None, STOPPED, 0)
            return
        mark.end_ns = self.now_ns()
        self.log.finish(mark, mark.end_ns, None, in_one_sentence(error, None), 0)


def _running_user() -> User | None:
    """Return the user whose greenlet is running: Locust spawns it with the user as argument."""
    arguments = getattr(getcurrent(), "args", None)
    first = arguments[0] if arguments else None
    return first if isinstance(first, User) else None


def _no_meta(mark: Mark) -> dict[str, Any]:
    return {"request_type": mark.method, "url": None}


def _is_streaming(response: object) -> bool:
    """Whether the body is not all there, so that the user will read it."""
    raw = getattr(response, "_response", None)
    if raw is not None:  # FastHttpSession's
        return not raw.message_complete
    # requests' own: None when it has no body at all, as of an error
    return getattr(response, "raw", None) is not None and not getattr(
        response, "_content_consumed", True
    )


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
    """Put the instrument into Locust's clients and events and their transports, once a process."""
    for session in (HttpSession, FastHttpSession):
        session.request = _wrapped(session.request, instrument)  # type: ignore[method-assign] # wrapping it is the point
        session._build_url = _to_the_arm(session._build_url)  # type: ignore[method-assign] # noqa: SLF001 - as above; it takes the address alone
    wrap_transports(instrument)
    instrument.request_hook = events.request
    fire = EventHook.fire

    def fire_observed(self: EventHook, *, reverse: bool = False, **meta: Any) -> None:  # noqa: ANN401 - as EventHook.fire
        if instrument.log is not None and "response_time" in meta:
            try:
                instrument.observed(self, meta)
            except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
                instrument.failed(error)
        fire(self, reverse=reverse, **meta)  # type: ignore[no-untyped-call] # Locust types it not

    EventHook.fire = fire_observed  # type: ignore[method-assign] # as above


def _to_the_arm(original: Callable[..., str]) -> Callable[..., str]:
    """Send what an arrival asks of its service to the arm of its block."""

    def build_url(self: object, path: str) -> str:
        arrival: Arrival | None = getattr(getcurrent(), "worthit_arrival", None)
        if arrival is not None and path.startswith("/"):
            return arrival.block.host + path
        return original(self, path)

    return build_url


def _unrecorded(greenlet: Any, request: Callable[[], object]) -> object:  # noqa: ANN401 - any greenlet
    """Make a request that an error of ours left without a mark: its event is no other client's."""
    greenlet.worthit_unrecorded = True
    try:
        return request()
    finally:
        greenlet.worthit_unrecorded = False


def _wrapped(original: Callable[..., Any], instrument: Instrument) -> Callable[..., Any]:
    def request(self: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - the wrapped one's own
        log = instrument.log
        if log is None:
            return original(self, *args, **kwargs)
        greenlet: Any = getcurrent()
        try:
            if getattr(greenlet, "worthit_kept", None) is not None:
                instrument.moved_on(greenlet)
            mark = instrument.open(self, args, kwargs)
            log.begin(mark)
        except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
            instrument.failed(error)
            return _unrecorded(greenlet, lambda: original(self, *args, **kwargs))
        outer = getattr(greenlet, "worthit_mark", None)
        greenlet.worthit_mark = mark
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:  # gevent's Timeout is no Exception
            instrument.give_up(mark, error)
            raise
        finally:
            greenlet.worthit_mark = outer
        try:
            instrument.returned(mark, result)
        except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
            instrument.failed(error)
        return result

    return request
