"""The script for a service that must be restarted between its blocks, with a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project.source_tree import ROOT
from worthit.environment.server import child_environment
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SERVICE = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("shop")
QUERY = {"db.system.name": "postgresql", "db.query.text": "SELECT name FROM products"}

class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/products"):
            with tracer.start_as_current_span("GET /products", kind=SpanKind.SERVER):
                for _ in range(1 if os.environ["BATCH"] == "on" else 3):
                    with tracer.start_as_current_span(
                        "SELECT products", kind=SpanKind.CLIENT, attributes=QUERY
                    ):
                        pass
        self.send_response(200)
        self.end_headers()

    def log_message(self, *about):
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
finally:
    provider.shutdown()
"""


def test_a_restarted_service_is_compared_by_blocks(tmp_path: Path) -> None:
    """A recording per block; together one run: 3 queries per request against 1."""
    (tmp_path / "service.py").write_text(SERVICE)
    with Workspace() as workspace:
        port = workspace.free_port()
    worthit = f"{sys.executable} -m worthit"
    environ = {
        "SERVICE": f"{sys.executable} service.py {port}",
        "LOAD": f"curl --silent --fail http://127.0.0.1:{port}/products?[1-20]",
        "SWITCH": "BATCH",
        "READY": f"http://127.0.0.1:{port}/ready",
        "CAMPAIGN": "batch",
        "PAIRS": "1",
        "WORTHIT": worthit,
        "PATH": os.environ["PATH"],
    }

    said = subprocess.run(
        [str(ROOT / "docs" / "examples" / "off-on.sh")],
        cwd=tmp_path,
        env=child_environment(environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    compared = subprocess.run(
        [sys.executable, "-m", "worthit", "compare", "--campaign", "batch", "--json"],
        cwd=tmp_path,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert said.returncode == 0, said.stderr
    (run,) = [
        content
        for content in (json.loads(file.read_text()) for file in tmp_path.glob("runs/*/man*.json"))
        if content["recordings"]
    ]
    assert [block["arm"] for block in run["blocks"]] == ["off", "on"]
    result = json.loads(compared.stdout)
    (queries,) = [one for one in result["rows"] if one["what"] == "queries per request, all"]
    assert (queries["before"]["value"], queries["after"]["value"]) == pytest.approx((3.0, 1.0))
