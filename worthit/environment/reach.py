"""What every part's start shares: an environment for the child, a fixed port, a sign of life."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import worthit
from worthit.errors import PartError
from worthit.process.supervision import Ready
from worthit.process.workspace import is_free

ANSWER_SECONDS = 2.0
"""How long a sign of life may take before the question is asked again."""


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Worthit's environment for a Python child: this source tree first, no OTEL settings."""
    tree = str(Path(worthit.__path__[0]).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    path = os.pathsep.join(filter(None, (tree, kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}


def must_be_free(port: int) -> None:
    """Refuse a port that another server has: it might even answer in our part's place."""
    if not is_free(port):
        raise PartError(
            f"The port {port} of 127.0.0.1 is in use; end what listens there or choose another."
        )


def answers(url: str) -> Ready:
    """A question for `until_ready`: does a GET of `url` answer 200?

    By hand over a socket: asked every 0.02 s, a client library would cost more than the answer.
    """
    parts = urlsplit(url)

    async def ask() -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return (
                    await _status(parts.hostname or "", parts.port or 80, parts.path or "/")
                    == b"200"
                )
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False

    return ask


async def _status(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("latin-1"))
        line = await reader.readuntil(b"\r\n")
        return line.split(b" ")[1]
    finally:
        writer.close()
