"""The recorder's server: OTLP by HTTP and gRPC in, appended bytes out, counts on request."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

import grpc
import grpc.aio
import orjson
from google.rpc import status_pb2  # type: ignore[import-untyped]  # no stubs published

from harness.errors import HarnessError
from harness.recorder.files import DelimitedFile
from harness.recorder.forwarding import Forwarder
from harness.recorder.live import live
from harness.recorder.otlp import (
    LOGS,
    METRICS,
    SIGNALS,
    TRACES,
    Batch,
    RefusedError,
    Signal,
    from_json,
    from_protobuf,
    unpack,
)
from harness.serving import JSON, LOOPBACK, Request, listen, listen_problem

MAX_BODY_BYTES = 32 << 20
"""Of one batch as sent; OpenTelemetry's own collector takes 20 MiB."""

PROTOBUF = b"application/x-protobuf"
"""OTLP's binary content type."""

RECENT_SECONDS = 60
"""How far back `/live` can look."""

RECENT_BYTES = 64 << 20
"""How much of it is kept at most."""

GRPC_STOP_SECONDS = 1.0
"""How long calls under way may take at the end."""

INVALID_ARGUMENT, UNAVAILABLE = 3, 14
"""google.rpc codes for the body of an HTTP refusal."""


@dataclass(slots=True)
class Stats:
    """What has been taken and what has not; `/stats` shows it."""

    bytes: int = 0
    batches: int = 0
    spans: int = 0
    metric_batches: int = 0
    log_batches: int = 0
    refused: int = 0
    """Batches that could not be decoded or were too large: the sender's fault."""
    unwritten: int = 0
    """Batches that the disk did not take; senders were told to try again."""
    forwarded: int = 0
    forward_dropped: int = 0


class Recorder:
    """Takes batches and appends each to its signal's file."""

    def __init__(self, out: Path, forwarder: Forwarder | None, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds: it dates the batches that `/live` looks at."""
        self._files = {
            TRACES.name: DelimitedFile(out),
            METRICS.name: DelimitedFile(out.with_name(out.name + ".metrics")),
            LOGS.name: DelimitedFile(out.with_name(out.name + ".logs")),
        }
        self._forwarder = forwarder
        self._clock = clock
        self._recent: deque[tuple[float, bytes]] = deque()
        self._recent_bytes = 0
        self._told_disk_full = False
        self.stats = Stats()

    def take(self, signal: Signal, batch: Batch) -> None:
        """Keep a batch; raises OSError when the disk does not take it."""
        try:
            self._files[signal.name].append(batch.data)
        except OSError as error:
            self.stats.unwritten += 1
            self._tell_disk_full(error)
            raise
        self.stats.bytes += len(batch.data)
        if signal is TRACES:
            self.stats.batches += 1
            self.stats.spans += batch.items
            self._remember(batch.data)
        elif signal is METRICS:
            self.stats.metric_batches += 1
        else:
            self.stats.log_batches += 1
        if self._forwarder is not None:
            self._forwarder.offer(signal.name, batch.data)

    def refuse(self) -> None:
        """Count a batch that could not be taken for what it is."""
        self.stats.refused += 1

    def recent(self, seconds: float) -> list[bytes]:
        """The trace batches of the last `seconds`."""
        since = self._clock() - seconds
        return [data for at, data in self._recent if at >= since]

    def shown(self) -> bytes:
        """The counts as JSON."""
        if self._forwarder is not None:
            self.stats.forwarded = self._forwarder.forwarded
            self.stats.forward_dropped = self._forwarder.dropped
        return orjson.dumps(asdict(self.stats))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _remember(self, data: bytes) -> None:
        now = self._clock()
        self._recent.append((now, data))
        self._recent_bytes += len(data)
        while self._recent_bytes > RECENT_BYTES or self._recent[0][0] < now - RECENT_SECONDS:
            self._recent_bytes -= len(self._recent.popleft()[1])

    def _tell_disk_full(self, error: OSError) -> None:
        if not self._told_disk_full:
            self._told_disk_full = True
            sys.stderr.write(
                f"The recorder could not write {self._files[TRACES.name].path}: {error.strerror}; "
                "batches are refused as unavailable until there is room again.\n"
            )
            sys.stderr.flush()


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


GRPC_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": TRACES,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": METRICS,
    "opentelemetry.proto.collector.logs.v1.LogsService": LOGS,
}
"""OTLP/gRPC's services; each has the one method Export."""


class GrpcFront:
    """OTLP/gRPC: the three Export methods over raw bytes, so that nothing is encoded twice."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve the methods there."""
        for service, signal in GRPC_SERVICES.items():
            export = grpc.unary_unary_rpc_method_handler(partial(self._export, signal))
            handler = grpc.method_handlers_generic_handler(service, {"Export": export})
            server.add_generic_rpc_handlers((handler,))

    async def _export(
        self, signal: Signal, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        try:
            self._recorder.take(signal, from_protobuf(signal, data))
        except RefusedError as error:
            self._recorder.refuse()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The recorder could not write: {error.strerror}.",
            )
        return b""


async def _listen_grpc(recorder: Recorder, host: str, port: int) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
        ]
    )
    GrpcFront(recorder).add_to(server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        reason = listen_problem(OSError(98, "Address already in use"))
        raise HarnessError(
            f"The recorder cannot listen on {host}:{port} for gRPC, {reason}; "
            "end what listens there or choose another port."
        ) from None
    await server.start()
    return server


async def serve(
    stop: asyncio.Event,
    *,
    http_port: int,
    grpc_port: int | None,
    out: Path,
    forward: str | None,
    host: str = LOOPBACK,
) -> None:
    """Serve until `stop`; every batch answered with success is in the file by then."""
    forwarder = Forwarder(forward) if forward else None
    recorder = Recorder(out, forwarder, time.monotonic)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(recorder.close)
        if forwarder is not None:
            await stack.enter_async_context(forwarder)
        front = HttpFront(recorder)
        server = await listen(
            front.handle,
            host=host,
            port=http_port,
            max_body_bytes=MAX_BODY_BYTES,
            what="The recorder",
        )
        stack.callback(server.close)
        if grpc_port is not None:
            grpc_server = await _listen_grpc(recorder, host, grpc_port)
            stack.push_async_callback(grpc_server.stop, GRPC_STOP_SECONDS)
        await stop.wait()
