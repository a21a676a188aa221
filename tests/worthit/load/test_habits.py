"""Locustfiles with the habits of other people: the plugin changes nothing and misses nothing."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.load.locust_process import (
    PLUGIN,
    free_port,
    recorded,
    run_locust,
    stub_server,
)

pytestmark = pytest.mark.integration

HABITS = '''
import gevent
from locust import FastHttpUser, HttpUser, User, constant, events, task
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook
from locust.exception import StopUser


class Signed(HttpSession):
    """Passes Locust's own parameters on by position."""

    def request(self, method, url, name=None, catch_response=False, context={}, **kwargs):
        kwargs["headers"] = {"X-Signature": "1"}
        return super().request(method, url, name, catch_response, context, **kwargs)


class FastSigned(FastHttpSession):
    def request(self, method, url, name=None, data=None, catch_response=False, stream=False,
                headers=None, auth=None, json=None, allow_redirects=True, context={}, **kwargs):
        return super().request(
            method, url, name, data, catch_response, stream, {"X-Signature": "1"}, auth, json,
            allow_redirects, context, **kwargs,
        )


class Deaf:
    """A hook of somebody's own making, that tells nobody."""

    def fire(self, **_):
        pass


class Once(HttpUser):
    abstract = True
    fixed_count = 1
    wait_time = constant(0)

    @task
    def all(self):
        self.work()
        raise StopUser


class FastOnce(FastHttpUser):
    abstract = True
    fixed_count = 1
    wait_time = constant(0)

    @task
    def all(self):
        self.work()
        raise StopUser


class Positional(Once):
    def on_start(self):
        self.client = Signed(self.host, self.environment.events.request, self)

    def work(self):
        self.client.get("/signed")
        self.client.request("POST", "/signed", "named", False, {"mine": 1}, json={})


class FastPositional(FastOnce):
    def on_start(self):
        self.client = FastSigned(self.host, self.environment.events.request, self)

    def work(self):
        self.client.get("/fast-signed")
        self.client.request("PUT", "/fast-signed", "fast named", "body", False, False, None)


class Keywords(Once):
    def work(self):
        self.client.request(url="/keywords", method="DELETE")
        self.client.get(url="/keywords?a=1", name=None, headers=None)


class NoHeaders(Once):
    def on_start(self):
        self.client.headers = None

    def work(self):
        self.client.get("/no-headers")


class OwnHooks(Once):
    def on_start(self):
        self.theirs = HttpSession(self.host, EventHook(), None)
        self.deaf = HttpSession(self.host, Deaf(), self)
        self.fast = FastHttpSession(self.host, Deaf(), self)

    def work(self):
        self.theirs.get("/own-hook")
        self.deaf.get("/deaf")
        self.fast.get("/fast-deaf")
        with self.deaf.get("/deaf-with", catch_response=True):
            pass


class NeverEntered(Once):
    def work(self):
        for _ in range(3):
            self.client.get("/never", catch_response=True, name="never entered")
        with self.client.get("/entered", catch_response=True) as outer:
            self.client.get("/within")
            outer.success()


class FastNeverEntered(FastOnce):
    def work(self):
        for _ in range(3):
            self.client.get("/fast-never", catch_response=True)
        with self.client.get("/fast-entered", catch_response=True) as response:
            response.success()


class Streams(Once):
    def work(self):
        for _line in self.client.get("/stream", stream=True).iter_lines():
            pass
        with self.client.get("/stream-with", stream=True, catch_response=True) as response:
            list(response.iter_content(None))
        self.client.get("/stream-unread", stream=True)
        self.client.get("/redirect")


class FastStreams(FastOnce):
    def work(self):
        for _line in self.client.iter_lines("/stream-fast"):
            pass
        self.client.get("/redirect")


class Custom(User):
    fixed_count = 1

    @task
    def all(self):
        fire = self.environment.events.request.fire
        fire(request_type="grpc", name="/shop.Cart/Get", response_time=12.5, response_length=7,
             exception=None, context={})
        fire(request_type="WSR", name="message", response_time=None, response_length=0)
        with self.environment.events.request.measure("redis", "GET"):
            gevent.sleep(0.02)
        raise StopUser


@events.test_start.add_listener
def outside_a_task(environment, **_):
    if environment.host and not hasattr(environment.runner, "clients"):
        HttpSession(environment.host, environment.events.request, None).get("/outside")
'''
CLASSES = 11


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a run did."""

    code: int
    output: str
    received: list[list[str]]
    rows: pd.DataFrame | None

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """What the server was asked, and how often."""
        return Counter((method, path) for method, path, *_ in self.received)


def run_of(text: str, tmp_path: Path, *arguments: str, plugin: bool) -> Seen:
    """Run a locustfile against a server of its own, with the plugin or without."""
    theirs, out = tmp_path / "theirs.py", tmp_path / "out"
    theirs.write_text(text, encoding="utf-8")
    with stub_server(latency_ms=5) as stub:
        code, output = run_locust(
            "--host", stub.url, *arguments, *(("--worthit-out", str(out)) if plugin else ()),
            files=f"{theirs},{PLUGIN}" if plugin else str(theirs), cwd=tmp_path,
        )  # fmt: skip
        received = stub.seen()["received"]
    return Seen(
        code=code, output=output, received=received, rows=recorded(out) if plugin else None
    )


def ids_of(seen: Seen) -> Counter[str]:
    """Return the trace ids that the server received; a redirect is one request of the load's."""
    heads = [head for head in seen.received if head[1] != "/there"]
    return Counter(traceparent.split("-")[1] for _, _, traceparent, _ in heads)


def times_ms(rows: pd.DataFrame, name: str, column: str) -> float:
    """Return the one row's time since it was sent."""
    (row,) = rows[rows["name"] == name].to_dict("records")
    return float(row[column] - row["sent_ns"]) / 1e6


@pytest.mark.parametrize("workers", [0, 1])
def test_the_plugin_changes_nothing_and_misses_nothing(tmp_path: Path, workers: int) -> None:
    """The same requests and exit code; a row for each with the trace id that was received."""
    users = ("--users", str(CLASSES), "--spawn-rate", "50", "-t", "5s")
    if workers:
        port = str(free_port())
        users += ("--processes", "1", "--master-bind-port", port, "--master-port", port)

    bare = run_of(HABITS, tmp_path, *users, plugin=False)
    with_plugin = run_of(HABITS, tmp_path, *users, plugin=True)

    rows: Any = with_plugin.rows
    http = rows[rows["request_type"] == "http"]
    assert bare.code == with_plugin.code == 0, with_plugin.output
    assert bare.requests == with_plugin.requests
    assert Counter(http["trace_id"]) == ids_of(with_plugin), with_plugin.output
    assert all("worthit.draw=" in baggage for *_, baggage in with_plugin.received)
    assert http["end_ns"].notna().all()
    assert http["error"].isna().all(), http["error"].unique()
    methods = Counter(zip(http["method"], http["name"], strict=True))
    assert methods["POST", "named"] == methods["PUT", "fast named"] == 1
    assert methods["GET", "never entered"] == methods["GET", "/fast-never"] == 3
    assert "were not recorded" not in with_plugin.output
    for name in ("/stream", "/stream-with", "/stream-fast"):
        # the server begins after 5 ms and goes on for 300 more
        first_ms, end_ms = (times_ms(rows, name, each) for each in ("first_byte_ns", "end_ns"))
        assert 5 <= first_ms < 0.95 * end_ms
        assert end_ms >= 290
    others = rows[rows["request_type"] != "http"].set_index("request_type")
    assert set(others.index) == {"grpc", "WSR", "redis"}
    assert others["trace_id"].isna().all()
    grpc = others.loc["grpc"]
    assert grpc["end_ns"] - grpc["sent_ns"] == 12_500_000
    assert (grpc["name"], grpc["response_bytes"]) == ("/shop.Cart/Get", 7)


INSTRUMENTED = """
import uuid

from locust import HttpUser, constant, task
from locust.exception import StopUser
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.{library} import {name}
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
{name}().instrument()


class Theirs(HttpUser):
    wait_time = constant(0)
    fixed_count = 1

    @task
    def look(self):
        context.attach(baggage.set_baggage("session.id", "their-session"))
        for _ in range(5):
            self.client.get("/look")
        raise StopUser
"""


@pytest.mark.parametrize(
    ("library", "name"), [("requests", "RequestsInstrumentor"), ("urllib3", "URLLib3Instrumentor")]
)
def test_an_instrumentations_trace_id_is_the_rows(tmp_path: Path, library: str, name: str) -> None:
    """Its own header leaves, the row has that trace id, and our baggage is added to theirs."""
    if importlib.util.find_spec(f"opentelemetry.instrumentation.{library}") is None:
        pytest.skip(f"opentelemetry-instrumentation-{library} is not installed (extra dev)")
    text = INSTRUMENTED.format(library=library, name=name)

    seen = run_of(text, tmp_path, "--users", "1", "-t", "3s", plugin=True)

    rows: Any = seen.rows
    assert seen.code == 0, seen.output
    assert len(rows) == 5
    assert Counter(rows["trace_id"]) == ids_of(seen)
    for *_, carried in seen.received:
        assert carried.startswith("session.id=their-session,worthit.run=")


PATIENT = """
from locust import HttpUser, constant, task


class Theirs(HttpUser):
    wait_time = constant(0.2)

    @task
    def look(self):
        self.client.get("/look")
"""


def test_a_limited_run_is_no_shorter_with_the_plugin(tmp_path: Path) -> None:
    """Importing the plugin takes nothing from ``--run-time``: no fewer requests are sent."""
    users = ("--users", "4", "--spawn-rate", "4", "-t", "3s")

    bare = run_of(PATIENT, tmp_path, *users, plugin=False)
    with_plugin = run_of(PATIENT, tmp_path, *users, plugin=True)

    assert len(with_plugin.received) >= 0.9 * len(bare.received)


BROKEN = """
from locust import HttpUser, constant, events, task
from locust.exception import StopUser


@events.init.add_listener
def break_it(**_):
    from worthit.load.requests.instrument import Instrument

    def broken(*_, **__):
        raise ValueError("a fault of ours")

    Instrument.open = broken


class Theirs(HttpUser):
    wait_time = constant(0)
    fixed_count = 1

    @task
    def look(self):
        for _ in range(3):
            self.client.get("/look")
        raise StopUser
"""


def test_a_fault_of_ours_ends_nothing_of_theirs(tmp_path: Path) -> None:
    """Their requests are sent and their run ends well; what has no row is counted and said."""
    seen = run_of(BROKEN, tmp_path, "--users", "1", "-t", "3s", plugin=True)

    assert seen.code == 0, seen.output
    assert seen.requests == Counter({("GET", "/look"): 3})
    assert seen.rows is not None
    assert seen.rows.empty
    assert seen.output.count("Requests were not recorded: ValueError: a fault of ours.") == 1
    assert "3 requests were not recorded: ValueError: a fault of ours." in seen.output
    assert "No request was recorded: 3 requests were not recorded" in seen.output
