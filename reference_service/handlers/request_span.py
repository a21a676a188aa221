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
from reference_service.telemetry.spans import RemoteParent, SpanShape, Tracer

_SILENT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are asked all the time and are part of no request."""
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)
_PATH_MAX_CHARACTERS: Final = 256


class RequestSpan:
    """Starts the SERVER span below the caller's, puts the baggage on it, and times the request."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer, registry: Registry) -> None:
        self._app = app
        self._tracer = tracer
        self._registry = registry
        self._shapes: dict[tuple[str, str], SpanShape] = {}
        self._durations: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] in _SILENT:
            await self._app(scope, receive, send)
            return
        parent, context = read_caller(scope)
        token = REQUEST.set(context)
        began = perf_counter()
        status = 0

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "HTTP"
        try:
            with self._tracer.root(self._shape(method, ""), parent) as span:
                try:
                    await self._app(scope, receive, noting_send)
                finally:
                    route = _route(scope)
                    if span.is_recording():
                        span.reshape(self._shape(method, route))
                        span.set("url.path", scope["path"][:_PATH_MAX_CHARACTERS])
                        span.set("http.response.status_code", status)
                        for key, value in context.attributes.items():
                            span.set(key, value)
                        if status >= 500:  # noqa: PLR2004 - the first server error
                            span.fail(str(status))
        finally:
            self._duration(method, _route(scope), status).record(perf_counter() - began)
            REQUEST.reset(token)

    def _shape(self, method: str, route: str) -> SpanShape:
        """Return the span shape of a route; routes are few, so all are kept."""
        found = self._shapes.get((method, route))
        if found is None:
            attributes = {
                "http.request.method": method if method != "HTTP" else "_OTHER",
                "url.scheme": "http",
            }
            if route:
                attributes["http.route"] = route
            found = SpanShape(f"{method} {route}".strip(), SpanKind.SERVER, attributes)
            self._shapes[method, route] = found
        return found

    def _duration(self, method: str, route: str, status: int) -> Histogram:
        found = self._durations.get((method, route, status))
        if found is None:
            labels: Labels = (
                ("http.request.method", method),
                ("http.route", route),
                ("http.response.status_code", status),
            )
            found = self._registry.histogram(
                "http.server.request.duration", "s", "Duration of HTTP server requests.", labels
            )
            self._durations[method, route, status] = found
        return found


def read_caller(scope: Scope) -> tuple[RemoteParent | None, RequestContext]:
    """Return the caller's span and what the request brings along, from its headers."""
    parent, traceparent, baggage = None, "", ""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            parent = read_traceparent(value)
            traceparent = "" if parent is None else value.decode("ascii")
        elif name == b"baggage":
            found = read_baggage(value)
            baggage = f"{baggage},{found}" if baggage and found else baggage or found
    return parent, RequestContext(baggage, traceparent)


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "") if route is not None else ""
