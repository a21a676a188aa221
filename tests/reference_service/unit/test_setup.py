"""Telemetry leaves the process, or its loss is counted; a collector that is gone delays nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from reference_service.telemetry import setup
from reference_service.telemetry.setup import DEFAULTS, Telemetry
from tests.support.servers.otlp_receiver import Receiver, receiver

EXPORTED = "otel_sdk_exporter_span_exported_total"
PROCESSED = "otel_sdk_processor_span_processed_total"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an environment of its own, which `from_environment` may fill."""
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def _counted(registry: CollectorRegistry, name: str) -> dict[str, int]:
    """Return a counter by its error; empty text for what went well."""
    return {
        sample.labels.get("error_type", ""): int(sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def _work(count: int, *, stop: bool = True) -> Telemetry:
    telemetry = setup.from_environment()
    for _ in range(count):
        with telemetry.tracer.start_as_current_span("x"):
            pass
    if stop:
        telemetry.shutdown()
    return telemetry


def _refusing(state: Receiver) -> None:
    state.answers = [(400, {})]


def _busy(state: Receiver) -> None:
    state.answers = [(503, {})]


def _rejecting(state: Receiver) -> None:
    state.reject = 2


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        (lambda _: None, {"": 5}),
        (_busy, {"": 5}),
        (_refusing, {"export_failed": 5}),
        (_rejecting, {"": 3, "rejected": 2}),
    ],
    ids=["taken", "busy at first", "refused", "taken in part"],
)
async def test_what_became_of_each_span_is_counted(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Receiver], None],
    counted: dict[str, int],
) -> None:
    """Spans that a collector took, also at the second try, are told from those that it did not."""
    async with receiver(change) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        telemetry = await asyncio.to_thread(_work, 5, stop=False)
        registry = telemetry.prometheus
        for _ in range(100):
            if _counted(registry, EXPORTED):
                break
            await asyncio.sleep(0.05)
        found = _counted(registry, EXPORTED)
        await asyncio.to_thread(telemetry.shutdown)

    assert counted == found
    assert sum(counted.values()) - counted.get("export_failed", 0) == len(collector.spans)


async def test_spans_that_find_the_queue_full_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the collector takes its time the queue fills; what it cannot hold is told."""

    def slow(state: Receiver) -> None:
        state.delay_s = 0.5

    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    async with receiver(slow) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        telemetry = await asyncio.to_thread(_work, 100, stop=False)
        lost = _counted(telemetry.prometheus, PROCESSED)["queue_full"]
        await asyncio.to_thread(telemetry.shutdown)

    assert 100 - 3 * 10 <= lost < 100
    # The SDK looks whether there is room a moment before it takes it: it may tell of one too many.
    assert 0 <= len(collector.spans) - (100 - lost) <= 3


async def test_a_collector_that_is_gone_keeps_no_process_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shutting down takes 5 s at most."""
    async with receiver() as collector:
        pass  # nobody listens there any more
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    telemetry = await asyncio.to_thread(_work, 5, stop=False)
    began = time.perf_counter()
    await asyncio.to_thread(telemetry.shutdown)

    assert time.perf_counter() - began < 6


async def test_the_standard_variables_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and the service's name come from OTEL_*."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t")
        await asyncio.to_thread(_work, 1)

    assert {"Bearer t"} == collector.authorizations


@pytest.mark.parametrize("environment", [{}, {"OTEL_SDK_DISABLED": "true"}], ids=["no", "off"])
def test_without_a_collector_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """Spans are empty, and there is no thread that would send them."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    if environment:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    telemetry = setup.from_environment()
    with telemetry.tracer.start_as_current_span("x") as span:
        assert not span.is_recording()
    telemetry.shutdown()


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ("http/protobuf", "http/protobuf")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, ("http/protobuf", None)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ("grpc", "grpc"),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ("http/protobuf", "grpc"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"},
            ("http/protobuf", None),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
            (None, "http/protobuf"),
        ),
    ],
)
def test_exporters_and_protocols_are_those_of_the_standard_variables(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], by: tuple[str | None, ...]
) -> None:
    """A signal's own variable comes before the one for all, as OpenTelemetry's page has it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert by == (setup.protocol("TRACES"), setup.protocol("METRICS"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf or grpc"),
    ],
)
def test_an_exporter_that_is_not_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """The sentence names the variable, what it is and what it may be; nothing was started."""
    threads = threading.active_count()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")
    monkeypatch.setenv(name, value)

    with pytest.raises(setup.UnknownExporterError) as raised:
        setup.from_environment()

    assert f"{name} is '{value}'; expected {said}." == str(raised.value)
    assert threads == threading.active_count()
