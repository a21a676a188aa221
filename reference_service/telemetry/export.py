"""Exports spans: a bounded buffer and one thread that posts it.

A request only appends bytes to a deque. When the collector is slow or gone the buffer fills, then
new spans are dropped and counted; no request waits or fails.
"""

from __future__ import annotations

import http.client
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_LOG = logging.getLogger(__name__)

FLUSH_INTERVAL_SECONDS: Final = 0.25
"""How old a span may get before it is sent."""
BATCH_SPANS: Final = 4096
"""Spans in one request: about 1.5 MB."""
BUFFER_SPANS: Final = 100_000
"""Spans kept while the collector is away: about 35 MB, some 18 s at 5,600 spans/s."""
_TIMEOUT_SECONDS: Final = 5.0
_SUCCESS: Final = 2
_RETRYABLE: Final = frozenset({0, 429, 502, 503, 504})
"""No answer, and the statuses that OTLP/HTTP calls retryable."""
_BACKOFF_MAX_SECONDS: Final = 5.0


class Answer(NamedTuple):
    """What a collector answered."""

    status: int
    """0 when nobody answered."""
    body: bytes


_NOBODY: Final = Answer(0, b"")


class OtlpPoster:
    """Posts protobuf bodies to one OTLP/HTTP path, on one connection kept open."""

    def __init__(self, endpoint: str, path: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(endpoint)
        self._class = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._path = parts.path.rstrip("/") + path
        self._headers = {"Content-Type": "application/x-protobuf", **(headers or {})}
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> Answer:
        """Send one body and return the answer."""
        for fresh in (False, True):  # a kept connection may have been closed by the other side
            if self._connection is None or fresh:
                self._connection = self._class(self._host, self._port, timeout=_TIMEOUT_SECONDS)
            try:
                self._connection.request("POST", self._path, body, self._headers)
                with self._connection.getresponse() as response:
                    return Answer(response.status, response.read())
            except (OSError, http.client.HTTPException):
                self._connection.close()
        self._connection = None
        return _NOBODY

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SpanExporter:
    """Buffers encoded spans and posts them from a thread of its own."""

    def __init__(self, poster: OtlpPoster, frame: Callable[[list[bytes]], bytes]) -> None:
        self._poster = poster
        self._frame = frame
        self._buffer: deque[bytes] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)
        self.sent = 0
        """Spans the collector accepted."""
        self._overflowed = 0
        """Counted by the requests, the next by the exporter's thread."""
        self._refused = 0
        self._in_flight = 0
        self._left_over = 0
        self._down = False

    @property
    def dropped(self) -> int:
        """Return how many spans are lost: no room, refused, or unsent when the process ended."""
        return self._overflowed + self._refused + self._left_over

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, span: bytes) -> None:
        """Take one encoded span; never waits."""
        if len(self._buffer) >= BUFFER_SPANS:
            self._overflowed += 1
        else:
            self._buffer.append(span)

    def stop(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """Send what is left, then end the thread; what could not be sent by then is lost."""
        self._stop.set()
        self._thread.join(timeout_seconds)
        self._left_over = len(self._buffer) + self._in_flight
        if self._left_over:
            _LOG.warning("Span exporter: %d spans could not be sent", self._left_over)
        self._poster.close()

    def _run(self) -> None:
        wait = FLUSH_INTERVAL_SECONDS
        while True:
            stopping = self._stop.wait(wait)
            delivered = self._drain()
            wait = FLUSH_INTERVAL_SECONDS if delivered else min(wait * 2, _BACKOFF_MAX_SECONDS)
            if stopping:
                return

    def _drain(self) -> bool:
        buffer = self._buffer
        while buffer:
            self._in_flight = min(BATCH_SPANS, len(buffer))
            batch = [buffer.popleft() for _ in range(self._in_flight)]
            answer = self._poster.post(self._frame(batch))
            if answer.status in _RETRYABLE:
                buffer.extendleft(reversed(batch))
                self._in_flight = 0
                self._note(down=True)
                return False
            refused = min(_refused(answer), len(batch))
            self.sent += len(batch) - refused
            self._refused += refused
            self._in_flight = 0
            self._note(down=False)
        return True

    def _note(self, *, down: bool) -> None:
        if down != self._down:
            self._down = down
            _LOG.warning(
                "Span exporter: the collector %s", "does not answer" if down else "answers again"
            )


def _refused(answer: Answer) -> int:
    """Return how many spans a collector did not take; with a success it may say so, too."""
    if answer.status // 100 != _SUCCESS:
        return BATCH_SPANS
    try:
        told = ExportTraceServiceResponse.FromString(answer.body)
    except DecodeError:  # not OTLP's answer: who says nothing has taken all
        return 0
    return int(told.partial_success.rejected_spans)
