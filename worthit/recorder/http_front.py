"""The recorder by HTTP: OTLP in protobuf or JSON, and its own pages."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

import orjson
from google.rpc import status_pb2  # type: ignore[import-untyped]  # no stubs published

from worthit.http_server import JSON, Request
from worthit.recorder.keeping import RECENT_SECONDS, Recorder
from worthit.recorder.live import live
from worthit.recorder.otlp import (
    SIGNALS,
    Batch,
    RefusedError,
    Signal,
    from_json,
    from_protobuf,
    unpack,
)

PROTOBUF = b"application/x-protobuf"
"""OTLP's binary content type."""

INVALID_ARGUMENT, UNAVAILABLE = 3, 14
"""google.rpc codes for the body of an HTTP refusal."""


class HttpFront:
    """OTLP/HTTP and the recorder's own pages."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request) -> None:
        """Route one request."""
        signal = SIGNALS.get(request.path)
        if signal is not None and request.method == b"POST":
            self._export(signal, request)
        elif request.method != b"GET" or signal is not None:
            request.respond(
                405, b'{"error":"not allowed; POST OTLP to /v1/traces, /v1/metrics or /v1/logs"}'
            )
        elif request.path == b"/healthz":
            request.respond(200, b'{"status":"ok"}')
        elif request.path == b"/stats":
            request.respond(200, self._recorder.shown())
        elif request.path == b"/live":
            self._live(request)
        else:
            request.respond(
                404,
                b'{"error":"unknown path; there are /v1/{traces,metrics,logs}, /stats, /live"}',
            )

    def _export(self, signal: Signal, request: Request) -> None:
        kind = _content_type(request)
        try:
            batch = _decode(signal, kind, request)
            self._recorder.take(signal, batch)
        except RefusedError as error:
            self._recorder.refuse()
            _respond_status(request, kind, error.status, INVALID_ARGUMENT, str(error))
        except OSError as error:
            message = f"The recorder could not write: {error.strerror}."
            _respond_status(request, kind, 503, UNAVAILABLE, message)
        else:
            request.respond(200, b"{}" if kind == JSON else b"", kind)

    def _live(self, request: Request) -> None:
        given = parse_qs(request.query.decode("latin-1")).get("seconds", ["5"])[0]
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= RECENT_SECONDS:
            request.respond(
                400, b'{"error":"seconds must be a number above 0 and up to %d"}' % RECENT_SECONDS
            )
            return
        task = asyncio.get_running_loop().create_task(self._answer_live(request, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_live(self, request: Request, seconds: float) -> None:
        batches = self._recorder.recent(seconds)
        answer = await asyncio.to_thread(live, batches, seconds)
        request.respond(200, orjson.dumps(answer))


def _content_type(request: Request) -> bytes:
    """The body's type without parameters; protobuf when none is said, under one name."""
    kind = request.headers.get(b"content-type", PROTOBUF).partition(b";")[0].strip().lower()
    return PROTOBUF if kind == b"application/protobuf" else kind


def _decode(signal: Signal, kind: bytes, request: Request) -> Batch:
    """The body as a batch; raises RefusedError."""
    if kind not in {PROTOBUF, JSON}:
        shown = kind.decode("latin-1")
        raise RefusedError(f"Content-Type {shown} is not OTLP; send protobuf or JSON.", 415)
    data = unpack(request.body, request.headers.get(b"content-encoding", b""))
    return from_json(signal, data) if kind == JSON else from_protobuf(signal, data)


def _respond_status(request: Request, kind: bytes, status: int, code: int, message: str) -> None:
    """A refusal's body is a google.rpc.Status in the request's own format, as OTLP says."""
    if kind == PROTOBUF:
        body = status_pb2.Status(code=code, message=message).SerializeToString()
        request.respond(status, body, PROTOBUF)
    else:
        request.respond(status, orjson.dumps({"code": code, "message": message}))
