"""Looks on where requests leave: writes their two headers, and takes the times of the socket.

Under Locust's ``HttpSession`` is urllib3, under ``FastHttpSession`` geventhttpclient. Here their
connections are wrapped, below everything that a user or an instrumentation puts around a request
(OpenTelemetry's ``requests`` and ``urllib3`` instrumentations write their headers above it), so
what is seen is what leaves. Which request it is, the running greenlet knows: its
``worthit_mark``. Anything else that uses these libraries has none and passes untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import requests
from gevent import getcurrent
from geventhttpclient.client import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.header import Headers
from geventhttpclient.response import HTTPSocketPoolResponse
from urllib3.connection import HTTPConnection, HTTPSConnection

from worthit.load.requests.request_log import Mark
from worthit.load.requests.token_stream import CONTENT_TYPE
from worthit.load.requests.trace_context import OTHER_PROPAGATORS

_OF_TRACE = OTHER_PROPAGATORS | {"traceparent", "baggage"}
_NOTHING_GIVEN: Mapping[str, str] = {}


class Watcher(Protocol):
    """Who wants to know."""

    now_ns: Callable[[], int]
    """The log's clock."""

    def stamp(self, mark: Mark, given: Mapping[str, str]) -> tuple[str, str]:
        """Return the traceparent and baggage that leave; ``given`` are others' such headers."""

    def left(self, mark: Mark) -> None:
        """Take note that the first bytes are handed to the socket now."""

    def begins(self, mark: Mark, content_type: str, content_encoding: str) -> None:
        """Take note of what kind of body begins."""

    def received(self, mark: Mark, data: bytes) -> None:
        """Take note of some of the body."""

    def body_ended(self, mark: Mark) -> None:
        """Take note that the body is whole, or that nobody reads on."""

    def failed(self, error: Exception) -> None:
        """Take note of an error of our own."""


def current_mark() -> Mark | None:
    """Return the request that the running greenlet is about to send or waits for."""
    mark: Mark | None = getattr(getcurrent(), "worthit_mark", None)
    return mark


def wrap_transports(watcher: Watcher) -> None:
    """Wrap the connections of both libraries, once a process."""
    _wrap_urllib3(watcher)
    _wrap_geventhttpclient(watcher)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return ",".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def _stamped(watcher: Watcher, mark: Mark, headers: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """Return the headers with both of ours; others' of these names are kept and added to."""
    given, rest = {}, {}
    for name, value in (headers or {}).items():
        lower = _text(name).lower()
        if lower in _OF_TRACE:
            given[lower] = _text(value)
        if lower not in {"traceparent", "baggage"}:
            rest[name] = value
    traceparent, baggage = watcher.stamp(mark, given)
    return {**rest, "traceparent": traceparent, "baggage": baggage}


def _connecting(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    """Wrap what makes a connection: how long it takes is kept apart."""

    def connect(self: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - as the wrapped one
        mark = current_mark()
        began_ns = watcher.now_ns() if mark is not None else 0
        try:
            return original(self, *args, **kwargs)
        finally:
            if mark is not None and mark.first_byte_ns is None:
                now_ns = watcher.now_ns()
                mark.connect_ns += now_ns - began_ns
                if mark.wire_ns is not None:
                    # http.client connects within its first send
                    mark.wire_ns = now_ns

    return connect


def _wrap_urllib3(watcher: Watcher) -> None:
    connection: Any = HTTPConnection
    connection.request = _stamping_urllib3(connection.request, watcher)
    connection.send = _timing_send(connection.send, watcher)
    connection.getresponse = _timing_response(connection.getresponse, watcher)
    kinds: tuple[Any, ...] = (HTTPConnection, HTTPSConnection)
    for kind in kinds:
        kind.connect = _connecting(kind.connect, watcher)
    response: Any = requests.Response
    response.iter_content = _watching_chunks(response.iter_content, watcher)


def _stamping_urllib3(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def request(
        self: object,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - as the wrapped one
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - as the wrapped one
    ) -> object:
        mark = current_mark()
        if mark is not None:
            try:
                headers = _stamped(watcher, mark, headers)
            except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
                watcher.failed(error)
        return original(self, method, url, body, headers, **kwargs)

    return request


def _timing_send(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def send(self: object, data: object) -> object:
        mark = current_mark()
        if mark is not None and mark.wire_ns is None:
            watcher.left(mark)
        return original(self, data)

    return send


def _timing_response(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def getresponse(self: object) -> object:
        response: Any = original(self)
        mark = current_mark()
        if mark is not None:
            mark.first_byte_ns = watcher.now_ns()
            kind = response.headers.get("content-type") or ""
            # requests decodes before anybody sees the body
            watcher.begins(mark, kind, "")
        return response

    return getresponse


def _watching_chunks(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def iter_content(self: object, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - as the wrapped one
        chunks: Iterator[Any] = original(self, *args, **kwargs)
        # of a body that is read before it is returned, as most are, the greenlet knows
        mark: Mark | None = getattr(self, "worthit_mark", None) or current_mark()
        if mark is None or not (mark.streaming or mark.tokens):
            return chunks
        return _watched(chunks, mark, watcher)

    return iter_content


def _watched(chunks: Iterator[Any], mark: Mark, watcher: Watcher) -> Iterator[Any]:
    """Pass a streamed body on; left early, as by ``break``, it has ended where it was left."""
    try:
        for chunk in chunks:
            watcher.received(mark, chunk if isinstance(chunk, bytes) else str(chunk).encode())
            yield chunk
    finally:
        watcher.body_ended(mark)
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _wrap_geventhttpclient(watcher: Watcher) -> None:
    client: Any = HTTPClient
    client.request = _watching_gevent(client.request, watcher)
    client._build_request = _building_gevent(client._build_request, watcher)  # noqa: SLF001 - nowhere else are all headers seen
    pool: Any = ConnectionPool
    pool.get_socket = _timing_socket(pool.get_socket, watcher)
    pool._create_socket = _connecting(pool._create_socket, watcher)  # noqa: SLF001 - there is no public one
    response: Any = HTTPSocketPoolResponse
    response.worthit_mark = None  # of all whose body was there at once
    response._on_body = _watching_body(response._on_body, watcher)  # noqa: SLF001 - its parser's callbacks
    response._on_message_complete = _watching_end(response._on_message_complete, watcher)  # noqa: SLF001 - as above


def _building_gevent(original: Callable[..., str], watcher: Watcher) -> Callable[..., str]:
    """Wrap what writes a request's head: both headers go in at its end.

    Given to it among the others they would cost five times as much.
    """

    def build_request(self: object, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 - as the wrapped one
        mark = current_mark()
        if mark is None:
            return original(self, *args, **kwargs)
        headers = kwargs.get("headers")
        try:
            if headers and not (isinstance(headers, Headers) and _OF_TRACE.isdisjoint(headers)):
                # somebody's own: a Headers iterates over its names in lower case
                kwargs["headers"] = _stamped(watcher, mark, headers)
                return original(self, *args, **kwargs)
            traceparent, baggage = watcher.stamp(mark, _NOTHING_GIVEN)
        except Exception as error:  # noqa: BLE001 - ours must not end a request of theirs
            watcher.failed(error)
            kwargs["headers"] = headers
            return original(self, *args, **kwargs)
        head = original(self, *args, **kwargs)
        return f"{head[:-2]}traceparent: {traceparent}\r\nbaggage: {baggage}\r\n\r\n"

    return build_request


def _watching_gevent(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def request(self: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the wrapped one
        response = original(self, *args, **kwargs)
        mark = current_mark()
        if mark is None:
            return response
        there = response._body_buffer  # noqa: SLF001 - its parser's state is the only place
        kind = str(response.get("content-type", ""))
        if kind.startswith(CONTENT_TYPE):
            watcher.begins(mark, kind, str(response.get("content-encoding", "")))
            watcher.received(mark, bytes(there))
        else:
            mark.received = len(there)
        if response.message_complete:
            mark.first_byte_ns = watcher.now_ns()
            return response
        if mark.received:
            mark.first_byte_ns = watcher.now_ns()
        response.worthit_mark = mark
        return response

    return request


def _timing_socket(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def get_socket(self: object) -> object:
        socket = original(self)
        mark = current_mark()
        if mark is not None and mark.wire_ns is None:
            watcher.left(mark)
        return socket

    return get_socket


def _watching_body(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def on_body(self: Any, buf: bytearray) -> None:  # noqa: ANN401 - has a mark or not
        original(self, buf)
        if self.worthit_mark is not None:
            watcher.received(self.worthit_mark, bytes(buf))

    return on_body


def _watching_end(original: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def on_message_complete(self: Any) -> None:  # noqa: ANN401 - as above
        original(self)
        if self.worthit_mark is not None:
            watcher.body_ended(self.worthit_mark)

    return on_message_complete
