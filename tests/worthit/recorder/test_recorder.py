"""The recorder as a process: by HTTP and gRPC, whole on a full disk and after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import httpx
import pytest
import pytest_asyncio
from google.rpc import status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.support.servers.otlp_receiver import receiver
from tests.support.traces.otlp import batch_of_traces, json_of_traces, read_recording, spans_in
from worthit.environment.recorder import Recorder
from worthit.environment.server import answers, child_environment
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest_asyncio.fixture(name="recorder", scope="module", loop_scope="module")
async def _recorder() -> AsyncIterator[Recorder]:
    """One recorder, shared by tests that look at how its counts grow."""
    async with Workspace() as workspace, Recorder(workspace) as recorder:
        yield recorder


async def grown(recorder: Recorder, before: dict[str, int]) -> dict[str, int]:
    """The counts that changed, by how much."""
    after = await recorder.stats()
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def written(recorder: Recorder) -> int:
    """How many spans its file holds."""
    return sum(spans_in(batch) for batch in read_recording(recorder.path.read_bytes()))


async def test_every_transport_arrives(recorder: Recorder) -> None:
    """Protobuf, gzip, JSON and gRPC: all are in the file, as protobuf, span by span."""
    before, in_file = await recorder.stats(), written(recorder)
    body = batch_of_traces(range(7))
    async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
        plain = await client.post("/v1/traces", content=body, headers=PROTOBUF)
        zipped = await client.post(
            "/v1/traces",
            content=gzip.compress(body),
            headers={**PROTOBUF, "Content-Encoding": "gzip"},
        )
        as_json = await client.post("/v1/traces", content=json_of_traces(range(7)), headers=JSON)
    async with grpc.aio.insecure_channel(recorder.grpc_endpoint[7:]) as channel:
        by_grpc = await channel.unary_unary(TRACES)(body, compression=grpc.Compression.Gzip)

    assert [answer.status_code for answer in (plain, zipped, as_json)] == [200, 200, 200]
    assert (plain.content, as_json.content, by_grpc) == (b"", b"{}", b"")
    assert plain.headers["content-type"] == "application/x-protobuf"
    assert written(recorder) - in_file == 4 * 70
    assert (await grown(recorder, before))["spans"] == 4 * 70


async def test_each_port_takes_both_transports(recorder: Recorder) -> None:
    """An SDK that was given the other transport's port is recorded all the same."""
    before = await recorder.stats()
    body = batch_of_traces(range(7))
    async with grpc.aio.insecure_channel(recorder.endpoint[7:]) as channel:
        calls = [channel.unary_unary(TRACES)(body) for _ in range(20)]
        for call in calls:
            assert await call == b""
    async with httpx.AsyncClient(base_url=recorder.grpc_endpoint) as client:
        answer = await client.post("/v1/traces", content=body, headers=PROTOBUF)

    assert answer.status_code == 200
    assert (await grown(recorder, before))["spans"] == 21 * 70


async def test_each_refusal_has_its_reason(recorder: Recorder) -> None:
    """A wrong path, a wrong body and a client of TLS: each is told why, as the log is."""
    before = await recorder.stats()
    async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
        wrong_path = await client.post("/api/v2/spans", json=[])
        wrong_body = await client.post("/v1/traces", content=b"\xff", headers=PROTOBUF)
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient() as client:
            await client.post(recorder.endpoint.replace("http:", "https:") + "/v1/traces")

    assert (wrong_path.status_code, wrong_body.status_code) == (404, 400)
    assert "/v1/traces" in wrong_path.json()["error"]
    assert {"refused": 3} == await grown(recorder, before)
    reasons = await recorder.refusals()
    for words in ("POST /api/v2/spans is no path of OTLP", "not an OTLP traces", "TLS"):
        (reason,) = [one for one in reasons if words in one]
        assert f"Refused: {reason}" in recorder.process.log.read_text()


async def test_the_sdks_exporters_are_understood(recorder: Recorder) -> None:
    """OpenTelemetry's own exporters, HTTP gzipped and gRPC, lose nothing."""
    before = await recorder.stats()

    def export() -> None:
        provider = TracerProvider()
        over_http = HttpExporter(f"{recorder.endpoint}/v1/traces", compression=Compression.Gzip)
        over_grpc = GrpcExporter(recorder.grpc_endpoint, insecure=True)
        for exporter in (over_http, over_grpc):
            provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for _ in range(1000):
            with tracer.start_as_current_span("x"):
                pass
        provider.shutdown()

    await asyncio.to_thread(export)

    assert (await grown(recorder, before))["spans"] == 2000


async def test_metrics_and_logs_go_beside_the_traces(recorder: Recorder) -> None:
    """Each signal has its file; an empty export is a batch like any other."""
    before = await recorder.stats()
    async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
        for path in ("/v1/metrics", "/v1/logs"):
            answer = await client.post(path, content=b"", headers=PROTOBUF)
            assert answer.status_code == 200

    changed = await grown(recorder, before)
    assert changed == {"metric_batches": 1, "log_batches": 1}
    assert recorder.metrics_path.exists()


async def test_what_is_not_otlp_is_refused_and_counted(recorder: Recorder) -> None:
    """Undecodable, of another type, too large, by HTTP and gRPC: refused, and nothing written."""
    before, size = await recorder.stats(), recorder.path.stat().st_size
    async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
        bad = await client.post("/v1/traces", content=b"\xff\xff", headers=PROTOBUF)
        bad_json = await client.post("/v1/traces", content=b"{", headers=JSON)
        text = await client.post(
            "/v1/traces", content=b"x", headers={"Content-Type": "text/plain"}
        )
        huge = await client.post("/v1/traces", content=b"\0" * (33 << 20), headers=PROTOBUF)
    async with grpc.aio.insecure_channel(recorder.grpc_endpoint[7:]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(TRACES)(b"\xff\xff")

    statuses = [answer.status_code for answer in (bad, bad_json, text, huge)]
    assert statuses == [400, 400, 415, 413]
    assert "not an OTLP traces message" in status_pb2.Status.FromString(bad.content).message
    assert bad_json.json()["code"] == 3
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (await grown(recorder, before))["refused"] == 5
    assert recorder.path.stat().st_size == size


async def test_a_refusal_reaches_a_sender_that_is_still_sending(recorder: Recorder) -> None:
    """Of a body far beyond the limit the rest goes unread, and the answer is 413, not a reset."""
    port = int(recorder.endpoint.rpartition(":")[2])
    size = 48 << 20
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/traces HTTP/1.1\r\nHost: recorder\r\n"
        b"Content-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n" % size
    )
    for _ in range(size >> 20):
        writer.write(bytes(1 << 20))
        await writer.drain()
        await asyncio.sleep(0.005)  # slower than it is refused: much is sent after the answer
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than" in answer


async def started(
    workspace: Workspace, *, before: str, options: tuple[str, ...] = ()
) -> tuple[Process, int]:
    """A recorder whose process ran `before` first, and its port."""
    port = workspace.free_port()
    program = f"{before}; from worthit.recorder.__main__ import command; command()"
    process = await workspace.start(
        "recorder",
        [sys.executable, "-c", program, "--http-port", str(port), *options],
        env=child_environment(),
        ready=answers(f"http://127.0.0.1:{port}/healthz"),
    )
    return process, port


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"PRI * HT", b""),
        (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Slow: ", b""),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (2 << 20), b"HTTP/1.1 400 "),
        (
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
            b"HTTP/1.1 408 ",
        ),
        (
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nx",
            b"HTTP/1.1 413 ",
        ),
    ],
    ids=["nothing", "half a preface", "half a head", "long head", "half a body", "too much"],
)
async def test_a_sender_that_never_ends_is_let_go(sent: bytes, answer: bytes) -> None:
    """A connection without a whole request is answered, where HTTP can, and then closed."""
    before = (
        "import worthit.listening as a, worthit.recorder.either as b; "
        "a.BODY_SECONDS = a.LINGER_SECONDS = b.HEAD_SECONDS = 0.2"
    )
    async with Workspace() as workspace:
        _, port = await started(workspace, before=before)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        found = await asyncio.wait_for(reader.read(), 10)  # to the end of the connection
        writer.close()

    assert found.startswith(answer)
    assert bool(found) == bool(answer)


async def test_it_takes_no_more_together_than_it_has_room_for() -> None:
    """A body beyond the room for all is turned away for a moment, and the next is taken."""
    before = "import worthit.listening as a; a.MOST_TOGETHER_BYTES = 100_000"
    async with Workspace() as workspace:
        _, port = await started(workspace, before=before)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            big = await client.post("/v1/traces", content=bytes(200_000), headers=PROTOBUF)
            small = await client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)

    assert (big.status_code, big.headers["retry-after"]) == (503, "1")
    assert "at once" in status_pb2.Status.FromString(big.content).message
    assert small.status_code == 200


async def test_told_to_end_it_ends_well_with_both_transports_connected() -> None:
    """SIGTERM is success, and a gRPC channel that stays open holds nothing up."""
    async with Workspace() as workspace:
        process, port = await started(workspace, before="pass")
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            await client.get("/stats")
            await channel.unary_unary(TRACES)(batch_of_traces([1]))
            os.kill(process.pid, signal.SIGTERM)
            while process.alive:  # noqa: ASYNC110 - no event tells of its end
                await asyncio.sleep(0.02)
            said = process.log.read_text(encoding="utf-8")

    assert process.returncode == 0
    assert said == ""


async def test_a_batch_that_asks_for_an_upgrade_is_not_taken_for_an_empty_one(
    recorder: Recorder,
) -> None:
    """Java's own client offers h2c with each request: it is told why, never 200 for nothing."""
    before = await recorder.stats()
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAQ"}
    async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
        answer = await client.post(
            "/v1/traces", content=batch_of_traces([1]), headers={**PROTOBUF, **offer}
        )

    assert answer.status_code == 400
    assert "HTTP/1.1" in answer.text
    assert await grown(recorder, before) == {"refused": 1}


async def test_its_own_pages(recorder: Recorder) -> None:
    """Live view, wrong seconds, wrong method, unknown path."""
    # the first look loads what it is answered with
    async with httpx.AsyncClient(base_url=recorder.endpoint, timeout=60) as client:
        await client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)
        live = await client.get("/live?seconds=30")
        head = await client.head("/healthz")
        statuses = [
            (await client.get("/live?seconds=x")).status_code,
            (await client.get("/live?seconds=61")).status_code,
            (await client.get("/v1/traces")).status_code,
            (await client.delete("/stats")).status_code,
            (await client.get("/nothing")).status_code,
        ]

    assert {"service", "name", "spans_per_s", "mean_self_ms", "queries_per_s"} == set(
        live.json()["operations"][0]
    )
    assert statuses == [400, 400, 405, 405, 404]
    assert (head.status_code, head.content) == (200, b"")


async def test_no_span_is_lost_at_3000_a_second() -> None:
    """6,000 spans offered evenly in two seconds, both ways, then a kill: all of them are there.

    The recorder is killed, not stopped: what it has acknowledged is in the file already.
    """
    bodies = [batch_of_traces(range(i * 10, i * 10 + 10)) for i in range(60)]
    async with (
        Workspace() as workspace,
        Recorder(workspace) as recorder,
        httpx.AsyncClient(base_url=recorder.endpoint, timeout=30) as client,
        grpc.aio.insecure_channel(recorder.grpc_endpoint[7:]) as channel,
    ):
        by_grpc = channel.unary_unary(TRACES)

        async def send(index: int) -> None:
            await asyncio.sleep(index / 30)
            if index % 2:
                await by_grpc(bodies[index])
            else:
                answer = await client.post("/v1/traces", content=bodies[index], headers=PROTOBUF)
                assert answer.status_code == 200

        await asyncio.gather(*map(send, range(60)))
        recorder.kill()

        found = read_recording(recorder.path.read_bytes())

    names = {
        (span.trace_id, span.span_id)
        for batch in found
        for resources in batch.resource_spans
        for scope in resources.scope_spans
        for span in scope.spans
    }
    assert len(names) == sum(map(spans_in, found)) == 6000


async def test_a_full_disk_refuses_and_keeps_what_is_whole() -> None:
    """At the limit senders are told to come again, it is counted, the file stays whole."""
    async with Workspace() as workspace:
        grpc_port = workspace.free_port()
        out = workspace.path / "traces.otlp"
        limit = 200_000  # bytes a file may have: the write that crosses it comes short, then fails
        before = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY}))"
        )
        options = ("--grpc-port", str(grpc_port), "--out", str(out))
        process, port = await started(workspace, before=before, options=options)
        body = batch_of_traces(range(20))  # some 60 KB
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            replies = [
                await client.post("/v1/traces", content=body, headers=PROTOBUF) for _ in range(5)
            ]
            taken = [reply.status_code for reply in replies]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await channel.unary_unary(TRACES)(body)
            small = await client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)
            stats = (await client.get("/stats")).json()
        await process.stop()
        found = read_recording(out.read_bytes())
        said = process.log.read_text(encoding="utf-8")

    whole = taken.count(200)
    assert whole == limit // len(body)
    assert taken == [200] * whole + [503] * (5 - whole)
    assert replies[-1].headers["retry-after"] == "1"
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE  # which exporters try again
    assert small.status_code == 200  # there is still room for a little
    assert stats["unwritten"] == 5 - whole + 1
    assert sum(map(spans_in, found)) == stats["spans"] == whole * 200 + 10
    assert said.count("The recorder could not write") == 1


async def test_it_passes_on_without_waiting() -> None:
    """A second recorder gets a copy; a dead endpoint costs nothing but counted drops."""
    body = batch_of_traces(range(5))
    async with Workspace() as workspace, Recorder(workspace) as second:
        first = Recorder(
            workspace,
            path=workspace.path / "first.otlp",
            forward=second.endpoint,
            forward_traces=f"http://127.0.0.1:{workspace.free_port()}",
        )
        async with first, httpx.AsyncClient(base_url=first.endpoint) as client:
            for _ in range(3):
                answer = await client.post("/v1/traces", content=body, headers=PROTOBUF)
                assert answer.status_code == 200
            await client.post("/v1/metrics", content=b"", headers=PROTOBUF)
            deadline = time.monotonic() + 10
            while (stats := await first.stats())["forwarded"] + stats["forward_dropped"] < 7:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

        copied = await second.stats()

    assert (stats["forwarded"], stats["forward_dropped"]) == (4, 3)
    assert (copied["spans"], copied["metric_batches"]) == (150, 1)


async def test_it_passes_on_with_the_headers_of_the_environment() -> None:
    """The key of a hosted backend goes to the user's endpoint, and not to another's."""
    async with receiver() as theirs, receiver() as other, Workspace() as workspace:
        recorder = Recorder(
            workspace,
            forward=theirs.url,
            forward_headers="authorization=Bearer%20abc",
            forward_traces=other.url,
        )
        async with recorder, httpx.AsyncClient(base_url=recorder.endpoint) as client:
            await client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)
            passed_on = await recorder.passed_on()
            while not (theirs.spans and other.spans):  # noqa: ASYNC110 - no event tells of a span
                await asyncio.sleep(0.02)

    assert passed_on is not None
    assert (theirs.authorizations, other.authorizations) == ({"Bearer abc"}, {None})


async def test_without_a_file_nothing_is_kept() -> None:
    """`keep=False` counts and shows, and writes no file."""
    async with Workspace() as workspace, Recorder(workspace, keep=False) as recorder:
        async with httpx.AsyncClient(base_url=recorder.endpoint) as client:
            await client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)
        stats = await recorder.stats()
        files = {path.name for path in workspace.path.iterdir()}

    assert (stats["spans"], files) == (10, {"worthit.lock", "logs"})


async def test_a_frozen_recorder_takes_up_where_it_stood() -> None:
    """Batches sent while it is paused arrive when it is resumed."""
    async with Workspace() as workspace, Recorder(workspace) as recorder:
        recorder.pause()
        async with httpx.AsyncClient(base_url=recorder.endpoint, timeout=20) as client:
            sending = asyncio.create_task(
                client.post("/v1/traces", content=batch_of_traces([1]), headers=PROTOBUF)
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sending), 0.2)
            assert not sending.done()
            recorder.resume()
            answer = await sending
        stats = await recorder.stats()

    assert (answer.status_code, stats["spans"]) == (200, 10)
