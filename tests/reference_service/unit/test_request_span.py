"""What is said about a request as a whole, by the conventions for HTTP servers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    url_attributes,
)
from opentelemetry.semconv.metrics.http_metrics import HTTP_SERVER_REQUEST_DURATION
from opentelemetry.trace import StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_service.handlers.request_span import RequestSpan
from reference_service.request_state import REQUEST
from reference_service.telemetry.metrics import Instruments
from tests.support.traces.span_sink import SpanSink, attributes

METHOD, STATUS = (
    http_attributes.HTTP_REQUEST_METHOD,
    http_attributes.HTTP_RESPONSE_STATUS_CODE,
)
SCHEME, ERROR = url_attributes.URL_SCHEME, error_attributes.ERROR_TYPE
KNOWN = {
    value
    for module in (error_attributes, http_attributes, network_attributes, url_attributes)
    for name, value in vars(module).items()
    if name.isupper()
}


class _Route:
    """As the router leaves it in the scope."""

    path = "/x/{name}"


def _answering(status: int, *, routed: bool = True, failure: str = "") -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if routed:
            scope["route"] = _Route()
        request = REQUEST.get()
        if request is not None:
            request.failure = failure
        await send({"type": "http.response.start", "status": status, "headers": []})

    return app


async def _raising(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    scope["route"] = _Route()
    raise LookupError("a user's words")


async def _asked(app: ASGIApp, **changes: object) -> tuple[ReadableSpan, dict[str, Any]]:
    """Ask the layer once; return its span and the labels of its duration."""
    sink = SpanSink()
    instruments = Instruments(sink.telemetry.meter)
    layer = RequestSpan(app, tracer=sink.telemetry.tracer, instruments=instruments)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/x/y", "headers": []}

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def sent(message: Message) -> None:
        del message

    with suppress(LookupError):
        await layer({**scope, **changes}, nothing, sent)
    [point] = sink.points(HTTP_SERVER_REQUEST_DURATION)
    [span] = sink.spans
    return span, dict(point.attributes or {})


@pytest.mark.parametrize(
    ("app", "changes", "labels", "name"),
    [
        (_answering(200), {}, {STATUS: 200}, "GET /x/{name}"),
        (_answering(200), {"scheme": "https"}, {STATUS: 200, SCHEME: "https"}, "GET /x/{name}"),
        (_answering(404), {}, {STATUS: 404}, "GET /x/{name}"),
        (_answering(503), {}, {STATUS: 503, ERROR: "503"}, "GET /x/{name}"),
        (
            _answering(405),
            {"method": "PROPFIND"},
            {STATUS: 405, METHOD: "_OTHER"},
            "HTTP /x/{name}",
        ),
        (_raising, {}, {ERROR: "LookupError"}, "GET /x/{name}"),
        (
            _answering(200, failure="ModelTimeoutError"),
            {},
            {STATUS: 200, ERROR: "ModelTimeoutError"},
            "GET /x/{name}",
        ),
    ],
    ids=["ok", "https", "not found", "503", "method", "exception", "stream"],
)
async def test_span_and_metric_say_the_same(
    app: ASGIApp, changes: dict[str, object], labels: dict[str, object], name: str
) -> None:
    """Method, scheme, route, status and error are on both, and nothing stands for what is not."""
    span, found = await _asked(app, **changes)

    expected = {METHOD: "GET", SCHEME: "http", http_attributes.HTTP_ROUTE: "/x/{name}", **labels}
    assert expected == found
    said = attributes(span)
    assert expected == {key: value for key, value in said.items() if key in found}
    assert (name, set()) == (span.name, said.keys() - KNOWN)
    assert (ERROR in labels) == (span.status.status_code is StatusCode.ERROR)
    assert changes.get("method") == said.get(http_attributes.HTTP_REQUEST_METHOD_ORIGINAL)


async def test_an_unknown_path_has_no_route() -> None:
    """What no route took has no `http.route`: neither empty nor the path."""
    span, labels = await _asked(_answering(404, routed=False))

    assert {METHOD: "GET", SCHEME: "http", STATUS: 404} == labels
    assert ("GET", False) == (span.name, http_attributes.HTTP_ROUTE in attributes(span))
