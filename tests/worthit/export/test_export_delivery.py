"""Replaying into a receiver that is busy, picky, slow or gone."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.rundir.run import Run, open_run
from tests.support.runs.synthetic_run import Truth, write_run
from tests.support.servers.otlp_receiver import Receiver, receiver
from worthit.__main__ import main
from worthit.export.delivery import Delivered, Delivery, DeliveryError, Pace
from worthit.export.messages import messages
from worthit.export.transports import Answer, Transport, Verdict, open_transport

pytestmark = pytest.mark.integration


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    truth = Truth(rates_per_s=(10.0,), pairs=1, block_s=2.0)
    return open_run(write_run(tmp_path_factory.mktemp("runs") / "small", truth))


async def replay(
    run: Run, url: str, *, spans_each: int = 128, spans_per_s: float = 1e9, in_flight: int = 4
) -> Delivered:
    """Send the whole run to the address."""
    transport = open_transport(url, headers={}, timeout_s=2.0)
    pace = Pace(spans_per_s=spans_per_s, in_flight=in_flight)
    try:
        delivery = Delivery(transport, url, pace, clock=time.monotonic)
        return await delivery.run(messages(run, None, spans_each=spans_each))
    finally:
        await transport.close()


def sent_once(run: Run, there: Receiver) -> bool:
    """Whether the receiver took each span of the run exactly once."""
    return sorted(run.spans["span_id"]) == sorted(span.span_id.hex() for span in there.spans)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_receiver_is_left_alone_as_long_as_it_asks(run: Run, status: int) -> None:
    """After 429 or 503 with Retry-After nothing is sent for that long, and nothing is lost."""

    def busy(state: Receiver) -> None:
        state.answers = [(200, {}), (status, {"Retry-After": "1"})]

    async with receiver(busy) as there:
        delivered = await replay(run, there.url, in_flight=1)

    rests = [later - earlier for earlier, later in pairwise(there.arrived_at_s)]
    assert delivered.retries == 1
    assert max(rests) >= 0.99
    assert sent_once(run, there)


async def test_without_a_time_the_rests_double(run: Run) -> None:
    """A receiver that only says no is asked again after 0.5 s, then after 1 s."""

    def busy(state: Receiver) -> None:
        state.answers = [(502, {}), (504, {})]

    async with receiver(busy) as there:
        await replay(run, there.url, spans_each=10_000)

    first, second = (later - earlier for earlier, later in pairwise(there.arrived_at_s))
    assert first >= 0.49
    assert second >= 0.99
    assert sent_once(run, there)


async def test_few_messages_are_under_way_at_once(run: Run) -> None:
    """A slow receiver never has more than the allowed messages open."""

    def slow(state: Receiver) -> None:
        state.delay_s = 0.1

    async with receiver(slow) as there:
        await replay(run, there.url, spans_each=100, in_flight=3)

    assert there.most_open == 3
    assert sent_once(run, there)


async def test_the_rate_is_bounded(run: Run) -> None:
    """Sending n spans at a bound of r a second takes at least (n - one message) / r seconds."""
    count = len(run.spans)
    started = time.monotonic()
    async with receiver() as there:
        await replay(run, there.url, spans_each=100, spans_per_s=count)

    assert there.arrived_at_s[-1] - started >= (count - 100) / count
    assert sent_once(run, there)


async def test_a_refusal_is_final(run: Run) -> None:
    """400 is not tried again; the sentence has the status and the receiver's own words."""

    def picky(state: Receiver) -> None:
        state.answers = [(400, {})] * 8

    async with receiver(picky) as there:
        with pytest.raises(DeliveryError, match=r"refused the spans: HTTP 400 \(busy\)"):
            await replay(run, there.url, in_flight=1)

    assert len(there.arrived_at_s) == 1


async def test_an_error_is_not_hidden_in_a_group(run: Run) -> None:
    """Several messages fail in one moment, one as foreseen: that one's sentence is told."""

    class Broken(Transport):
        sent = 0

        async def send(self, payload: bytes) -> Answer:
            assert payload
            self.sent += 1
            first = self.sent == 1
            await asyncio.sleep(0.05)
            if first:
                raise ValueError("no such thing")
            return Answer(verdict=Verdict.NEVER, reason="not you")

        async def close(self) -> None:
            """Nothing is open."""

    pace = Pace(spans_per_s=1e9, in_flight=4)
    delivery = Delivery(Broken(), "http://x", pace, clock=time.monotonic)

    with pytest.raises(DeliveryError, match="refused the spans: not you"):
        await delivery.run(messages(run, None, spans_each=100))


async def test_partial_success_is_counted(run: Run) -> None:
    """Spans that a receiver took and threw away are counted apart, with its reason."""

    def lossy(state: Receiver) -> None:
        state.reject = 2

    async with receiver(lossy) as there:
        delivered = await replay(run, there.url, spans_each=10_000)

    assert delivered.rejected == 2
    assert delivered.rejected_why == "too old"
    assert delivered.spans == len(run.spans) - 2


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_said_at_once(
    run: Run, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused connection ends with one sentence and exit code 1, not after retries."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        code = main(["export", str(run.path), "--otlp", url])

    said = capsys.readouterr().err
    assert code == 1
    assert time.monotonic() - started < 10
    assert re.search(rf"^worthit: {url} cannot be reached: .+ 0 spans were sent", said)
    assert "Traceback" not in said


async def test_headers_come_from_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OTEL_EXPORTER_OTLP_HEADERS reaches the endpoint, so that no key stands on a command line."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    async with receiver() as there:
        arguments = ["export", str(run.path), "--otlp", there.url, "--slowest", "2", "--json"]
        code = await asyncio.to_thread(main, arguments)

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert there.authorizations == {"Bearer abc"}
    assert document["traces"] == 2
    assert document["spans"] == len(there.spans)


def test_a_missing_run_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is no run directory ends with exit code 2 before anything is sent."""
    code = main(["export", str(tmp_path / "no"), "--otlp", "http://127.0.0.1:1"])

    assert code == 2
    assert "a run directory was expected" in capsys.readouterr().err
