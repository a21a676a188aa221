"""Pass what was recorded on to a second OTLP endpoint (a Jaeger), never at its cost."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

QUEUE_BATCHES = 256
"""How many batches may wait for a slow endpoint; what comes on top is dropped and counted."""

TIMEOUT_SECONDS = 5.0
"""For one batch."""


class Forwarder:
    """A bounded queue and one task that posts from it."""

    def __init__(
        self, endpoint: str, *, traces_only: bool, headers: Mapping[str, str] | None = None
    ) -> None:
        """`endpoint` is an OTLP/HTTP base address, such as http://127.0.0.1:4318.

        `headers` go with every batch, such as a hosted backend's key.
        """
        self._endpoint = endpoint.rstrip("/")
        self._traces_only = traces_only
        self._headers = {**(headers or {}), "Content-Type": "application/x-protobuf"}
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_BATCHES)
        self._task: asyncio.Task[None] | None = None
        self._told = False
        self.forwarded = 0
        self.dropped = 0

    def offer(self, signal: str, data: bytes) -> None:
        """Queue a batch if there is room."""
        if self._traces_only and signal != "traces":
            return
        try:
            self._queue.put_nowait((signal, data))
        except asyncio.QueueFull:
            self.dropped += 1

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._post_all())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _post_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while True:
                signal, data = await self._queue.get()
                try:
                    async with session.post(f"{self._endpoint}/v1/{signal}", data=data) as answer:
                        answer.raise_for_status()
                    self.forwarded += 1
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.dropped += 1
                    self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            sys.stderr.write(
                f"Traces could not be forwarded to {self._endpoint} ({error}); "
                "the recording goes on, what is not forwarded is counted.\n"
            )
            sys.stderr.flush()
