import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from analysis import traces
from benchmarks.support.json_traces import files

MAX_TRACES = 200
TOO_DEEP = (
    b'{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":500,'
    b'"msg":"search depth must be greater than 0 and less than max traces"}]}'
)
"""As a Jaeger of version 1.76 answered."""


class _SmallJaeger(BaseHTTPRequestHandler):
    """A Jaeger whose memory storage may keep ``MAX_TRACES``."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        limit = int(parse_qs(address.query).get("limit", ["0"])[0])
        if address.path == "/api/services":
            code, answer = 200, b'{"data":["chat"],"total":1,"limit":0,"offset":0,"errors":null}'
        elif limit > MAX_TRACES:
            code, answer = 500, TOO_DEEP
        else:
            code, answer = 200, dict(files(2))["Jaeger"]
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_a_jaeger_that_keeps_few_traces_is_asked_for_fewer() -> None:
    """A refused search depth is no failure: what the storage keeps is read."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SmallJaeger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = traces.read(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()

    assert found["trace_id"].nunique() == 2
