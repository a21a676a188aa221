"""Client spans and an endpoint that closes its connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.load.load_plans import a_block
from worthit.load.requests.client_spans import ClientSpans, CountingExporter
from worthit.load.requests.request_log import Mark

TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CLOSED = b""


@contextmanager
def endpoint(*answers: bytes) -> Iterator[str]:
    """Listen; each connection in turn reads one message, answers so and is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    _read_message(connection)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        thread.join(10)


def _read_message(connection: socket.socket) -> None:
    """Read a whole POST: closing on unread bytes would reset the connection instead."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)


@pytest.mark.parametrize(
    ("answers", "sent", "lost"),
    [((CLOSED, TAKEN), 3, 0), ((CLOSED, CLOSED), 0, 3), ((b"no HTTP\r\n\r\n",) * 2, 0, 3)],
    ids=["closed once", "closed twice", "no HTTP"],
)
def test_a_closed_connection_ends_nothing(
    answers: tuple[bytes, ...], sent: int, lost: int
) -> None:
    """One closed connection costs no span, more cost spans that are counted, none the load."""
    with endpoint(*answers) as url:
        spans = ClientSpans(CountingExporter(endpoint=url, timeout=2), run="run")
        for number in range(3):
            mark = Mark(bytes(24), a_block(), number, "chat", "/chat", 1, 2)
            mark.end_ns = 3
            spans.add(mark, {"request_type": "POST", "url": "http://x/chat"})

        spans.close()

    assert (spans.sent, spans.lost) == (sent, lost)
