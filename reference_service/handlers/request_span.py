"""The request's own span and duration: a plain ASGI layer around everything else.

The official ASGI instrumentation does the same for three to four times the price, and knows no
baggage attributes (docs/decisions/service-on-its-libraries.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, SpanKind, Tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_service.request_state import REQUEST, RequestState
from reference_service.telemetry import load_baggage, names
from reference_service.telemetry.metrics import Instruments
from reference_service.telemetry.spans import mark_failed

_SILENT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are asked all the time and are part of no request."""
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)
_OTHER_METHOD: Final = "_OTHER"
"""The conventions' word for a method that is none of HTTP's own."""
_PATH_MAX_CHARACTERS: Final = 256
_FIRST_SERVER_ERROR: Final = 500


class RequestSpan:
    """Starts the SERVER span below the caller's, puts the baggage on it, and times the request."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer, instruments: Instruments) -> None:
        self._app = app
        self._tracer = tracer
        self._duration = instruments.request_duration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] in _SILENT:
            await self._app(scope, receive, send)
            return
        status, error = 0, ""

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        with _state() as state, self._span(scope) as span:
            try:
                await self._app(scope, receive, noting)
            except BaseException as raised:
                error = type(raised).__qualname__
                raise
            finally:
                if not error and (state.failure or status >= _FIRST_SERVER_ERROR):
                    error = state.failure or str(status)
                outcome = _outcome(scope, status, error)
                _note(span, scope, outcome)
                self._duration.record(perf_counter() - began, outcome)

    @contextmanager
    def _span(self, scope: Scope) -> Iterator[Span]:
        token = attach(load_baggage.caller_context(Headers(scope=scope)))
        try:
            with self._tracer.start_as_current_span(
                _name(scope, ""),
                kind=SpanKind.SERVER,
                attributes=load_baggage.members(),
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                yield span
        finally:
            detach(token)


@contextmanager
def _state() -> Iterator[RequestState]:
    state = RequestState()
    token = REQUEST.set(state)
    try:
        yield state
    finally:
        REQUEST.reset(token)


def _outcome(scope: Scope, status: int, error: str) -> names.Attributes:
    """Return what span and metric both say, once the request has ended."""
    said: names.Attributes = {
        "http.request.method": _method(scope),
        "url.scheme": scope["scheme"],
    }
    route = _route(scope)
    if route:
        said["http.route"] = route
    if status:
        said[names.STATUS_CODE] = status
    if error:
        said[names.ERROR_TYPE] = error
    return said


def _note(span: Span, scope: Scope, outcome: names.Attributes) -> None:
    if not span.is_recording():
        return
    span.update_name(_name(scope, _route(scope)))  # the route is known only after routing
    span.set_attributes(outcome)
    span.set_attribute("url.path", scope["path"][:_PATH_MAX_CHARACTERS])
    if _method(scope) == _OTHER_METHOD:
        span.set_attribute("http.request.method_original", scope["method"][:_PATH_MAX_CHARACTERS])
    if names.ERROR_TYPE in outcome:
        mark_failed(span, str(outcome[names.ERROR_TYPE]))


def _name(scope: Scope, route: str) -> str:
    method = _method(scope)
    return f"{'HTTP' if method == _OTHER_METHOD else method} {route}".strip()


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else _OTHER_METHOD


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "") if route is not None else ""
