"""Client spans of the load itself, sent to an OTLP endpoint in batches.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``) is set, and off in runs
that follow a plan: there the request's first span is the service's own, and the recorded rows hold
the client's view. The messages are made with opentelemetry-proto and posted by a greenlet: the
SDK's spans and threads would cost several times what a request may.
"""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import gevent
from gevent.event import Event
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from geventhttpclient.url import InvalidURL
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from worthit.contract import names
from worthit.load.requests.request_log import Mark

EXPORT_SECONDS = 1.0
_MOST_WAITING = 20_000
"""Spans kept while the endpoint does not answer; what comes beyond is counted as lost and said."""
_BATCH = 512
_SERVICE_NAME = "load"
_CLOSE_SECONDS = 10.0
"""How long the end waits for a batch under way: twice what one answer may take."""
_OTHER_ERRORS = (OSError, ValueError, RuntimeError)
"""What the client raises beside a broken connection: a timeout, no such host, a bad header."""
_FIRST_ERROR_STATUS = 400
_ACCEPTED = 200
_LOGGER = logging.getLogger("worthit.load")


def endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where spans go by OpenTelemetry's own variables, None for nowhere."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exact := environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return exact
    if root := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return f"{root.rstrip('/')}/v1/traces"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A request that waits to be sent as a span."""

    mark: Mark
    method: str
    url: str
    status_code: int
    """0 when there was none."""
    error: str | None


class ClientSpans:
    """Takes finished requests, sends them as client spans."""

    def __init__(self, url: str, environment: Mapping[str, str], *, run: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path or "/v1/traces"
        self._client = HTTPClient.from_url(url, concurrency=1, network_timeout=5.0)
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            **_headers(environment),
        }
        self._run = run
        self._service = environment.get("OTEL_SERVICE_NAME", _SERVICE_NAME)
        self._waiting: list[Finished] = []
        self.sent = 0
        self.lost = 0
        self._warned = False
        self._closing = Event()
        self._sender = gevent.spawn(self._send_forever)

    def add(self, mark: Mark, meta: dict[str, Any]) -> None:
        """Take one finished request."""
        if len(self._waiting) >= _MOST_WAITING:
            self.lost += 1
            return
        response = meta.get("response")
        exception = meta.get("exception")
        self._waiting.append(
            Finished(
                mark=mark,
                method=str(meta["request_type"]),
                url=str(meta.get("url") or ""),
                status_code=(response.status_code if response is not None else 0) or 0,
                error=None if exception is None else type(exception).__name__,
            )
        )

    def _send_forever(self) -> None:
        while not self._closing.wait(EXPORT_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Send what waits; what the endpoint refuses is counted as lost."""
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            problem = self._post(batch)
            if problem is None:
                self.sent += len(batch)
                continue
            self.lost += len(batch)
            if not self._warned:
                self._warned = True
                _LOGGER.warning("Client spans are lost: the OTLP endpoint %s.", problem)
            return

    def _post(self, batch: list[Finished]) -> str | None:
        """Send a batch; return what was wrong, None when it was taken.

        Sent once more when the connection broke: an endpoint may close one that stood idle in the
        moment that it is used again. Whatever is wrong with it, the load goes on.
        """
        body = gzip.compress(self._request(batch).SerializeToString(), compresslevel=1)
        problem = ""
        for _attempt in range(2):
            try:
                response = self._client.request(
                    "POST", self._path, body=body, headers=self._headers
                )
                response.read()
            except (HTTPParseError, ConnectionError) as error:
                problem = f"broke the connection ({error})"
                continue
            except _OTHER_ERRORS as error:
                return str(error)
            status = response.status_code
            return None if status == _ACCEPTED else f"answered {status}"
        return problem

    def _request(self, batch: list[Finished]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        attribute = resource.resource.attributes.add()
        attribute.key = names.SERVICE_NAME
        attribute.value.string_value = self._service
        scope = resource.scope_spans.add()
        scope.scope.name = "worthit.load"
        for finished in batch:
            _fill(scope.spans.add(), finished, self._run)
        return request

    def close(self) -> None:
        """Send what is left and stop; what is still there then is lost."""
        self._closing.set()
        self._sender.join(_CLOSE_SECONDS)
        self._sender.kill()
        self.flush()
        self.lost += len(self._waiting)
        self._waiting = []
        self._client.close()
        if self.lost:
            _LOGGER.warning("%d of %d client spans were lost.", self.lost, self.lost + self.sent)


def _fill(span: Span, finished: Finished, run: str) -> None:
    mark = finished.mark
    span.trace_id = mark.ids[:16]
    span.span_id = mark.ids[16:]
    span.name = f"{finished.method} {mark.name}"
    span.kind = Span.SPAN_KIND_CLIENT
    span.start_time_unix_nano = mark.sent_ns
    span.end_time_unix_nano = mark.end_ns or mark.sent_ns
    parts = urlsplit(finished.url)
    status_code = finished.status_code
    texts = {
        "http.request.method": finished.method,
        "url.full": finished.url,
        "server.address": parts.hostname or "",
        names.RUN: run,
        names.ARM: mark.block.arm,
        names.SCENARIO: mark.scenario,
    }
    if finished.error:
        status_error = status_code >= _FIRST_ERROR_STATUS
        texts["error.type"] = str(status_code) if status_error else finished.error
        span.status.code = Status.STATUS_CODE_ERROR
    numbers = {
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        names.STEP: mark.block.step,
        names.BLOCK: mark.block.block,
        names.DRAW: mark.draw,
    }
    if status_code:
        numbers["http.response.status_code"] = status_code
    for key, text in texts.items():
        attribute = span.attributes.add()
        attribute.key = key
        attribute.value.string_value = text
    for key, number in numbers.items():
        attribute = span.attributes.add()
        attribute.key = key
        attribute.value.int_value = number


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    given = environment.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = (pair.partition("=") for pair in given.split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def from_environment(run: str) -> ClientSpans | None:
    """Return an exporter if OpenTelemetry's variables ask for one; it speaks http/protobuf."""
    url = endpoint(os.environ)
    if url is None:
        return None
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        _LOGGER.warning(
            "Client spans are sent as http/protobuf only, not %s; "
            "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and that endpoint.",
            protocol,
        )
        return None
    try:
        return ClientSpans(url, os.environ, run=run)
    except (ValueError, InvalidURL) as error:
        _LOGGER.warning("Client spans are not sent: %s is no address (%s).", url, error)
        return None
