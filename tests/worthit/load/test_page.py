"""Locust's web interface with the live page: picking, looking, reports, also in a browser."""

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
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from tests.support.load.locust_process import (
    code_but_for_lag,
    end_of,
    free_port,
    start_locust,
    stub_server,
)
from tests.support.servers.chromium import chromium

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

    def wait_for_end(self) -> None:
        """Wait until the run that was started has ended."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            run = self.live()["run"]
            if run and run["ended"] and self.live()["steps"]:
                return
            time.sleep(0.1)
        raise AssertionError("the run did not end")

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
                "duration": "1.5s", "names": "7", "user_classes": "cold_\u200bstart",
            })  # fmt: skip
            page.wait_for_end()
            time.sleep(1.1)  # the second that the last sample is of
            live = page.live()
            table = json.loads(page.ask("/stats/requests"))["extended_stats"][0]["data"]
            html = page.ask("/worthit")
            report, csv = page.ask("/stats/report"), page.ask("/stats/requests/csv")
        finally:
            locust.send_signal(signal.SIGINT)
            code, output = end_of(locust)
        seen = stub.seen()

    assert code_but_for_lag(code, output) == 0, output
    assert live["run"]["scenarios"] == ["cold_start"]
    assert live["run"]["ended"] is True
    assert live["problem"] is None
    assert json.loads((tmp_path / "out" / "generator.json").read_text())["generator"]
    assert live["steps"][0]["requests"] == table[0]["requests"] == seen["requests"]
    assert live["steps"][0]["response_ms"]["p50"] >= live["steps"][0]["service_ms"]["p50"] >= 20
    assert sum(sample["achieved"] for sample in live["samples"]) > 40
    assert max(sample["offered"] for sample in live["samples"]) > 20
    assert "does not answer" in live["recorder"]["problem"]
    assert len(seen["paths"]) == 7, "the knob set on the page was not used"
    assert "Part of all arrivals that come from the one abuser" in front
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]+", html) == []
    assert "/personalities/{name}" in report
    assert "/personalities/{name}" in csv


@pytest.mark.browser
def test_the_picker_and_the_live_page_in_a_browser() -> None:
    """Every scenario is picked under its own name; the live page says at once how it goes."""
    port = free_port()
    with stub_server(latency_ms=20) as stub:
        locust = start_locust(
            "--web-host", "127.0.0.1", "--web-port", str(port), "--host", stub.url
        )  # fmt: skip
        try:
            with chromium() as browser:
                Page(port).wait()
                names, complaints, said = pick_and_watch(browser, f"http://127.0.0.1:{port}")
            live = Page(port).live()
        finally:
            locust.send_signal(signal.SIGINT)
            end_of(locust)

    assert names == SCENARIOS
    assert live["run"]["scenarios"] == ["cold_start"]
    assert "People wait up to" in said
    assert complaints == []


SCENARIOS = [
    "abuse",
    "burst",
    "chat",
    "cold_start",
    "mixed_read_write",
    "personality_lookup",
    "repeated_questions",
]


def pick_and_watch(browser: Browser, address: str) -> tuple[list[str], list[str], str]:
    """Pick cold_start, start it, look; return the picker's names, complaints, and what it says."""
    complaints: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    tab.goto(address)
    boxes = tab.get_by_role("table").get_by_role("checkbox")
    boxes.nth(1).wait_for()
    rows = tab.get_by_role("table").get_by_role("row").all_inner_texts()[1:]
    names = sorted(row.replace("\u200b", "").split()[0] for row in rows)
    if not all(box.is_checked() for box in boxes.all()[1:]):
        complaints.append("not every scenario is ticked at first")
    boxes.nth(0).uncheck()
    place = next(place for place, row in enumerate(rows) if "start" in row.split()[0])
    boxes.nth(place + 1).check()
    tab.get_by_text("Custom parameters").click()
    tab.locator("input[name=arrivalRate]").fill("60")
    tab.get_by_role("button", name="Start").click()
    tab.get_by_role("button", name="Stop").wait_for()
    tab.goto(f"{address}/worthit")
    tab.get_by_text("People wait up to").wait_for(timeout=30_000)
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        complaints += sideways(tab)
    return names, complaints, tab.locator("#answer").inner_text()


def sideways(tab: Tab) -> list[str]:
    """Return a complaint if the page is wider than the window."""
    width, window = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [f"{width} px wide in a window of {window}"] if width > window else []
