"""The live page at ``/worthit`` of Locust's web UI, and its table in Locust's own tabs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import gevent
from flask import Blueprint, Response, jsonify, request
from geventhttpclient import HTTPClient

from worthit.load.coordination.coordinator import Coordinator
from worthit.load.page.page_names import keep_names, shown
from worthit.load.requests.counters import percentiles

if TYPE_CHECKING:
    from locust.web import WebUI

_RECORDER_SECONDS = 2.0
"""How often the recorder is asked, and only while somebody looks."""
_WINDOW_SECONDS = 5
_TAB = "worthit-steps"
_COLUMNS = (
    ("step", "Step"),
    ("requests", "# Requests"),
    ("errors", "# Errors"),
    ("response_p50", "Response p50 (ms)"),
    ("response_p95", "Response p95 (ms)"),
    ("response_p99", "Response p99 (ms)"),
    ("service_p50", "Service p50 (ms)"),
    ("service_p95", "Service p95 (ms)"),
    ("service_p99", "Service p99 (ms)"),
    ("delay_p99", "Schedule delay p99 (ms)"),
)


class RecorderView:
    """What the recorder says of the last seconds, by operation."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._asked = 0.0
        self._answer: dict[str, Any] | None = None

    def now(self) -> dict[str, Any] | None:
        """Return the newest answer, None without a recorder; asks again when it is old."""
        if not self._url:
            return None
        if time.monotonic() - self._asked > _RECORDER_SECONDS:
            self._asked = time.monotonic()
            self._answer = self._fetch()
        return self._answer

    def _fetch(self) -> dict[str, Any]:
        try:
            client = HTTPClient.from_url(self._url, connection_timeout=1.0, network_timeout=2.0)
            with gevent.Timeout(3.0):
                body = client.get(f"/live?seconds={_WINDOW_SECONDS}").read()
            client.close()
            found = json.loads(body)
        except (OSError, ValueError, gevent.Timeout) as error:
            problem = str(error) or type(error).__name__
            return {"problem": f"The recorder at {self._url} does not answer: {problem}."}
        return found if isinstance(found, dict) else {"problem": "The recorder answered nonsense."}


def add_page(
    web_ui: WebUI, coordinator: Coordinator, options: argparse.Namespace, knobs: Mapping[str, Any]
) -> None:
    """Add the page to Locust's web UI."""
    recorder = RecorderView(options.recorder)
    page = Blueprint("worthit", __name__, url_prefix=options.web_base_path or None)

    def show() -> Response:
        html = files("worthit.load.page").joinpath("page.html").read_text(encoding="utf-8")
        return Response(html, mimetype="text/html")

    def live() -> Response:
        after = request.args.get("after", default=0.0, type=float)
        document = coordinator.live.as_json(after)
        document |= {
            "now": time.time(),
            "run": coordinator.in_words(),
            "problem": coordinator.problem,
            "steps": steps(coordinator),
            "knobs": _knobs(options, knobs),
            "recorder": recorder.now(),
        }
        return jsonify(document)

    guarded: Callable[[Callable[[], Response]], Callable[[], Response]]
    guarded = web_ui.auth_required_if_enabled
    for path, view in (("/worthit", show), ("/worthit/live", live)):
        page.add_url_rule(path, view.__name__, guarded(view))  # type: ignore[no-untyped-call] # so is theirs
    keep_names(web_ui)
    if web_ui.app is not None:
        web_ui.app.register_blueprint(page)
        web_ui.app.after_request(_with_ours(coordinator))
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Open loop", "key": _TAB}],
        "extended_tables": [
            {"key": _TAB, "structure": [{"key": key, "title": title} for key, title in _COLUMNS]}
        ],
    }


def _with_ours(coordinator: Coordinator) -> Callable[[Response], Response]:
    """Return what puts our part into Locust's own answers."""

    def with_ours(answer: Response) -> Response:
        """Put the table's rows where Locust's page looks for added tabs'; keep classes' names."""
        if request.path.endswith("/stats/requests") and answer.is_json:
            rows = [_flat(row) for row in steps(coordinator)]
            document = {**answer.get_json(), "extended_stats": [{"key": _TAB, "data": rows}]}
            answer.set_data(json.dumps(document))
        elif request.path.endswith("/tasks") and answer.is_json:
            ratios = answer.get_json()
            for kind, classes in ratios.items():
                ratios[kind] = {shown(name): ratio for name, ratio in classes.items()}
            answer.set_data(json.dumps(ratios))
        return answer

    return with_ours


def steps(coordinator: Coordinator) -> list[dict[str, Any]]:
    """Return each step's figures since the test began; warm-up blocks have steps of their own."""
    return [
        {
            "step": step if step >= 0 else f"{-1 - step} (warm-up)",
            "requests": counts.requests,
            "errors": counts.errors,
            "response_ms": percentiles(counts.response),
            "service_ms": percentiles(counts.service),
            "delay_ms": percentiles(counts.delay),
        }
        for step, counts in sorted(coordinator.live.totals.items())
    ]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {name: row[name] for name in ("step", "requests", "errors")}
    for kind in ("response", "service"):
        for percent in ("p50", "p95", "p99"):
            flat[f"{kind}_{percent}"] = _rounded(row[f"{kind}_ms"][percent])
    flat["delay_p99"] = _rounded(row["delay_ms"]["p99"])
    return flat


def _rounded(value: float | None) -> float | None:
    """Three digits: the histogram's error is 0.25 %."""
    return None if value is None else float(f"{value:.3g}")


def _knobs(options: argparse.Namespace, knobs: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = ("arrival_rate", "duration", "arrivals", "load_seed", "max_in_flight")
    named = [{"name": name, "value": getattr(options, name), "help": ""} for name in own]
    return named + [
        {"name": name, "value": getattr(options, name), "help": action.help or ""}
        for name, action in knobs.items()
    ]
