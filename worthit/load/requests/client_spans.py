"""Client spans of the load itself, sent to an OTLP endpoint in batches.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``) is set, and off in runs
that follow a plan: there the request's first span is the service's own, and the recorded rows hold
the client's view. OpenTelemetry's own exporter sends them, from a greenlet. It takes about 40 us
of CPU per span to encode them, in one go per batch: so batches are small, because arrivals wait
meanwhile.
"""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.event import Event
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from worthit.contract import names
from worthit.load.requests.request_log import Mark

_EXPORT_SECONDS = 1.0
_MOST_WAITING = 20_000
"""Spans kept while the endpoint does not answer; what comes beyond is counted as lost and said."""
_BATCH = 100
"""Spans encoded in one go: 4 ms, within the schedule delay that a run may have."""
_TIMEOUT_SECONDS = 5.0
"""How long one batch may take, repeated attempts included."""
_CLOSE_SECONDS = 10.0
"""How long the end waits for a batch under way: twice what one may take."""
_FIRST_ERROR_STATUS = 400
_SCOPE = InstrumentationScope("worthit.load")
_LOGGER = logging.getLogger("worthit.load")


class ClientSpans:
    """Takes finished requests, sends them as client spans."""

    def __init__(self, exporter: SpanExporter, *, run: str, service: str = "load") -> None:
        self._exporter = exporter
        self._run = run
        self._resource = Resource({"service.name": service})
        self._waiting: list[ReadableSpan] = []
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
        span_context = SpanContext(
            trace_id=int.from_bytes(mark.ids[:16], "big"),
            span_id=int.from_bytes(mark.ids[16:], "big"),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        failed = meta.get("exception") is not None
        self._waiting.append(
            ReadableSpan(
                name=f"{meta['request_type']} {mark.name}",
                context=span_context,
                resource=self._resource,
                attributes=self._attributes(mark, meta),
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=mark.sent_ns,
                end_time=mark.end_ns or mark.sent_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def _attributes(self, mark: Mark, meta: dict[str, Any]) -> dict[str, str | int]:
        response, exception = meta.get("response"), meta.get("exception")
        status_code = (response.status_code if response is not None else 0) or 0
        url = str(meta.get("url") or "")
        parts = urlsplit(url)
        found: dict[str, str | int] = {
            "http.request.method": str(meta["request_type"]),
            "url.full": url,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            names.RUN: self._run,
            names.ARM: mark.block.arm,
            names.SCENARIO: mark.scenario,
            names.STEP: mark.block.step,
            names.BLOCK: mark.block.block,
            names.DRAW: mark.draw,
        }
        if status_code:
            found["http.response.status_code"] = status_code
        if exception is not None:
            by_status = status_code >= _FIRST_ERROR_STATUS
            found["error.type"] = str(status_code) if by_status else type(exception).__name__
        return found

    def _send_forever(self) -> None:
        while not self._closing.wait(_EXPORT_SECONDS):
            self._flush()

    def _flush(self) -> None:
        """Send what waits; what the endpoint refuses is counted as lost."""
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                self.sent += len(batch)
                gevent.sleep(0)
                continue
            self.lost += len(batch)
            if not self._warned:
                self._warned = True
                _LOGGER.warning("Client spans are lost: the OTLP endpoint did not take them.")
            return

    def close(self) -> None:
        """Send what is left and stop; what is still there then is lost."""
        self._closing.set()
        self._sender.join(_CLOSE_SECONDS)
        self._sender.kill()
        self._flush()
        self.lost += len(self._waiting)
        self._waiting = []
        self._exporter.shutdown()
        if self.lost:
            _LOGGER.warning("%d of %d client spans were lost.", self.lost, self.lost + self.sent)


def from_environment(run: str) -> ClientSpans | None:
    """Return an exporter if OpenTelemetry's variables ask for one; it speaks http/protobuf."""
    environment = os.environ
    root = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or root
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        _LOGGER.warning(
            "Client spans are sent as http/protobuf only, not %s; "
            "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and that endpoint.",
            protocol,
        )
        return None
    if urlsplit(wanted).scheme not in {"http", "https"}:
        _LOGGER.warning("Client spans are not sent: %s is no http or https address.", wanted)
        return None
    exporter = OTLPSpanExporter(timeout=_TIMEOUT_SECONDS, compression=Compression.Gzip)
    return ClientSpans(exporter, run=run, service=environment.get("OTEL_SERVICE_NAME", "load"))
