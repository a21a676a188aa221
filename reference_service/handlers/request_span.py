"""The request's own span and duration: a plain ASGI layer around everything else."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_service.telemetry.metrics import Histogram, Labels, Registry
from reference_service.telemetry.request_context import (
    REQUEST,
    RequestContext,
    read_baggage,
    read_traceparent,
)
from reference_service.telemetry.spans import RemoteParent, Span, SpanShape, Tracer

_SILENT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are asked all the time and are part of no request."""
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)
_OTHER_METHOD: Final = "_OTHER"
"""The conventions' word for a method that is none of HTTP's own."""
_PATH_MAX_CHARACTERS: Final = 256
_FIRST_SERVER_ERROR: Final = 500
Operation = tuple[str, str, str]
"""Scheme, method and route of a request; the route is empty until it is known, or for none."""


class _Outcome:
    """How a request ended; passes the answer on and notes its status."""

    __slots__ = ("_send", "error", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        """Of the answer; 0 when none began."""
        self.error = ""
        """What made it a failure of the server, in one word; empty when it was none."""

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    def end(self, context: RequestContext) -> None:
        """Settle what went wrong: an exception, else the end of a stream, else the status."""
        if not self.error and (context.failure or self.status >= _FIRST_SERVER_ERROR):
            self.error = context.failure or str(self.status)


class RequestSpan:
    """Starts the SERVER span below the caller's, puts the baggage on it, and times the request."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer, registry: Registry) -> None:
        self._app = app
        self._tracer = tracer
        self._registry = registry
        self._shapes: dict[Operation, SpanShape] = {}
        self._durations: dict[tuple[Operation, int, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] in _SILENT:
            await self._app(scope, receive, send)
            return
        parent, context = read_caller(scope)
        token = REQUEST.set(context)
        began = perf_counter()
        outcome = _Outcome(send)
        try:
            with self._tracer.root(self._shape(_operation(scope, "")), parent) as span:
                try:
                    await self._app(scope, receive, outcome.send)
                except BaseException as raised:
                    outcome.error = type(raised).__qualname__
                    raise
                finally:
                    outcome.end(context)
                    if span.is_recording():
                        self._note(span, scope, context, outcome)
        finally:
            operation = _operation(scope, _route(scope))
            self._duration(operation, outcome).record(perf_counter() - began)
            REQUEST.reset(token)

    def _note(self, span: Span, scope: Scope, context: RequestContext, outcome: _Outcome) -> None:
        """Put on the span what is known only at the end."""
        operation = _operation(scope, _route(scope))
        span.reshape(self._shape(operation))
        span.set("url.path", scope["path"][:_PATH_MAX_CHARACTERS])
        if operation[1] == _OTHER_METHOD:
            span.set("http.request.method_original", scope["method"][:_PATH_MAX_CHARACTERS])
        if outcome.status:
            span.set("http.response.status_code", outcome.status)
        for key, value in context.attributes.items():
            span.set(key, value)
        if outcome.error:
            span.fail(outcome.error)

    def _shape(self, operation: Operation) -> SpanShape:
        """Return the span shape of a route; routes are few, so all are kept."""
        found = self._shapes.get(operation)
        if found is None:
            scheme, method, route = operation
            attributes = {"http.request.method": method, "url.scheme": scheme}
            if route:
                attributes["http.route"] = route
            called = "HTTP" if method == _OTHER_METHOD else method
            found = SpanShape(f"{called} {route}".strip(), SpanKind.SERVER, attributes)
            self._shapes[operation] = found
        return found

    def _duration(self, operation: Operation, outcome: _Outcome) -> Histogram:
        found = self._durations.get((operation, outcome.status, outcome.error))
        if found is None:
            scheme, method, route = operation
            labels: Labels = (("http.request.method", method), ("url.scheme", scheme))
            if route:
                labels += (("http.route", route),)
            if outcome.status:
                labels += (("http.response.status_code", outcome.status),)
            if outcome.error:
                labels += (("error.type", outcome.error),)
            found = self._registry.histogram(
                "http.server.request.duration", "s", "Duration of HTTP server requests.", labels
            )
            self._durations[operation, outcome.status, outcome.error] = found
        return found


def read_caller(scope: Scope) -> tuple[RemoteParent | None, RequestContext]:
    """Return the caller's span and what the request brings along, from its headers."""
    parent, traceparent, baggage = None, "", b""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            parent = read_traceparent(value)
            traceparent = "" if parent is None else value.decode("ascii")
        elif name == b"baggage":  # several lines are one list
            baggage = b"%b,%b" % (baggage, value) if baggage else value
    return parent, RequestContext(read_baggage(baggage), traceparent)


def _operation(scope: Scope, route: str) -> Operation:
    method = scope["method"]
    return scope["scheme"], method if method in _METHODS else _OTHER_METHOD, route


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "") if route is not None else ""
