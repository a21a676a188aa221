"""Locust's web interface with the live page: picking, looking, reports; no browser needed."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.parse
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.locust_process import end_of, free_port, start_locust, stub_server

pytestmark = pytest.mark.integration


class Page:
    """A client of Locust's web interface."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, form: dict[str, Any] | None = None) -> str:
        """Return a page, or the answer to a form."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        if form is None:
            connection.request("GET", path)
        else:
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, urllib.parse.urlencode(form), kind)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        return text

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.ask("/worthit/live")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("Locust's page did not come up")

    def live(self) -> dict[str, Any]:
        """Return what the live page polls."""
        found: dict[str, Any] = json.loads(self.ask("/worthit/live"))
        return found


def test_a_scenario_is_picked_and_watched_on_the_page(tmp_path: Path) -> None:
    """Picked as Locust's page names it, a scenario runs; live page, table and reports follow."""
    port = free_port()
    page = Page(port)
    with stub_server(latency_ms=20) as stub:
        locust = start_locust(
            "--web-host", "127.0.0.1", "--web-port", str(port), "--host", stub.url,
            "--worthit-out", str(tmp_path / "out"), "--recorder", f"http://127.0.0.1:{free_port()}",
        )  # fmt: skip
        try:
            page.wait()
            front = page.ask("/")
            page.ask("/swarm", {
                "user_count": 1, "spawn_rate": 1, "host": stub.url, "arrival_rate": "50",
                "duration": "2s", "names": "7", "user_classes": "coldStart",
            })  # fmt: skip
            time.sleep(4.5)
            live = page.live()
            table = json.loads(page.ask("/stats/requests"))["extended_stats"][0]["data"]
            html = page.ask("/worthit")
            report, csv = page.ask("/stats/report"), page.ask("/stats/requests/csv")
        finally:
            locust.send_signal(signal.SIGINT)
            code, output = end_of(locust)
        seen = stub.seen()

    assert code == 0, output
    assert live["run"]["scenarios"] == ["cold_start"]
    assert live["run"]["ended"] is True
    assert live["problem"] is None
    assert json.loads((tmp_path / "out" / "generator.json").read_text())["generator"]
    assert live["steps"][0]["requests"] == table[0]["requests"] == seen["requests"]
    assert live["steps"][0]["response_ms"]["p50"] >= live["steps"][0]["service_ms"]["p50"] >= 20
    assert sum(sample["achieved"] for sample in live["samples"]) > 50
    assert max(sample["offered"] for sample in live["samples"]) > 20
    assert "does not answer" in live["recorder"]["problem"]
    assert len(seen["paths"]) == 7, "the knob set on the page was not used"
    assert "Part of all arrivals that come from the one abuser" in front
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]+", html) == []
    assert "/personalities/{name}" in report
    assert "/personalities/{name}" in csv
