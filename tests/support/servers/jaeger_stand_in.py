"""Stands in for the Jaeger binary, which no package brings: same arguments and ports, no storage.

``jaeger --config FILE`` listens where FILE says, answers its page with 200, and appends
the size of every OTLP message to the file named in ``STAND_IN_RECEIVED``. What the real Jaeger
does with a trace is not tested by it.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Answer(BaseHTTPRequestHandler):
    """200 for everything."""

    def do_GET(self) -> None:
        """The page."""
        self.answer()

    def do_POST(self) -> None:
        """OTLP/HTTP."""
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(os.environ["STAND_IN_RECEIVED"]).open("a", encoding="utf-8") as received:
            received.write(f"{self.path} {size}\n")
        self.answer()

    def answer(self) -> None:
        """An empty 200."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def main(argv: list[str]) -> None:
    """Listen until killed."""
    flag, file = argv
    assert flag == "--config"
    settings: dict[str, Any] = json.loads(
        Path(file.removeprefix("file:")).read_text(encoding="utf-8")
    )
    extensions = settings["extensions"]
    addresses = [
        extensions["jaeger_query"]["http"]["endpoint"],
        settings["receivers"]["otlp"]["protocols"]["http"]["endpoint"],
    ]
    servers = []
    for address in addresses:
        host, port = address.split(":")
        servers.append(ThreadingHTTPServer((host, int(port)), Answer))
    for server in servers[1:]:
        Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
