"""Asks any OpenAI-compatible service for a streamed reply, in a locustfile.

from worthit.load import OpenLoopUser, stream_chat

class Chat(OpenLoopUser):
host = "http://127.0.0.1:8000"

def arrive(self, arrival):
stream_chat(self.client, "Tell me a story.", model="llama", max_tokens=200)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Client(Protocol):
    """Either of Locust's clients."""

    def post(self, url: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as Locust's
        """Send a request."""


def stream_chat(
    client: Client,
    message: str | list[dict[str, Any]],
    *,
    model: str,
    url: str = "/v1/chat/completions",
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    **body: Any,  # noqa: ANN401 - whatever the service takes, such as max_tokens
) -> Any:  # noqa: ANN401 - either client's response
    """Send ``message`` (one of the user's, or a whole conversation); return the response, read.

    Tokens are counted by the service (``stream_options``), and timed as they arrive: their times
    are in the row of the request. ``body`` is added to the request's.
    """
    messages = [{"role": "user", "content": message}] if isinstance(message, str) else message
    return client.post(
        url,
        json={
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **body,
        },
        name=name,
        headers=dict(headers or {}),
    )
