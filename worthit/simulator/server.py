"""The simulator's server: takes calls, waits as long as their draw says, answers, logs it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from worthit import listening
from worthit.contract import names
from worthit.errors import WorthitError
from worthit.listening import Bodies, LastAnswer, UnreadError
from worthit.simulator import openai_api
from worthit.simulator.latency import LogNormal, Profile, mix, uniform
from worthit.simulator.openai_api import BadRequestError, ChatCall, EmbeddingsCall

MAX_BODY_BYTES = 8 << 20
"""Of a request; a long conversation is some hundred KiB."""

FLUSH_SECONDS = 1.0
"""Between two writes of the log."""

STREAM_PIECES = 8
"""Into how many pieces a streamed reply is cut."""

FIRST_PIECE_SHARE = 0.25
"""When the first piece of a stream comes, as a share of the whole time."""

TOKENS = LogNormal(low_s=20, high_s=120)
"""How many tokens a reply has (5th and 95th percentile)."""

CHAT, EMBEDDINGS, FAILURE, LENGTH = 1, 2, 3, 4
"""Keep the draws of one request apart."""

MAX_EXTRA_MS = 600_000
"""Ten minutes: more is a mistake."""

DRAW = re.compile(r"[0-9]{1,19}")
"""A draw in the baggage: a non-negative decimal integer below 2^63."""

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context's header, any version."""

DONE, CLIENT_GONE = 200, 499
"""Statuses of the log: answered, and, as nginx has it, gone before the answer."""

GC_THRESHOLDS = (20_000, 20, 1_000)
"""Of Python's three generations of objects; a full pass comes after some 400 million of them."""

JSON, EVENTS = "application/json", "text/event-stream"
"""Content types of answers, whole and streamed."""

MODELS = [
    {"id": name, "object": "model", "owned_by": "worthit"} for name in ("sim-chat", "sim-embed")
]
"""What GET /v1/models lists; any other name is taken too."""


class Fault(BaseModel):
    """Failures on purpose: `status` with probability `rate`, `extra_ms` on top of every call."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Literal["all", "chat", "embeddings"] = "all"
    status: Annotated[int, Field(ge=400, le=599)] = 503
    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    extra_ms: Annotated[float, Field(ge=0, le=MAX_EXTRA_MS)] = 0.0


@dataclass(slots=True, kw_only=True)
class Call:
    """A call under way: what was planned, and what the log will say."""

    kind: str
    draw: int | None
    number: int
    """The draw, or what stands in its place: decides all that is random."""
    trace_id: str | None
    received_ns: int
    planned_ns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    failure: int | None = None
    """The status to fail with."""

    @property
    def headers(self) -> dict[str, str]:
        """Tell the emulated time; the caller marks it on its span: no report takes it for work."""
        return {"worthit-emulated-ns": str(self.planned_ns)} if self.planned_ns else {}


class Simulator:
    """One simulator. Everything it does follows from the seed and the requests."""

    def __init__(
        self, *, seed: int, profile: Profile, log: BinaryIO, clock_ns: Callable[[], int]
    ) -> None:
        """`clock_ns` gives the time since the epoch; `log` takes one JSON line per call."""
        self._seed = seed
        self._profile = profile
        self._log = log
        self._clock_ns = clock_ns
        self._lines: list[bytes] = []
        self._fault = Fault()
        self._bodies = Bodies(MAX_BODY_BYTES)
        self._in_flight = 0
        self._calls = 0

    def app(self) -> Starlette:
        """Everything it answers."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/healthz", self._health),
                Route("/admin/fault", self._faults, methods=["GET", "POST", "DELETE"]),
            ],
            exception_handlers={
                BadRequestError: _bad_request,
                UnreadError: _unread,
                ClientDisconnect: _unread,
                HTTPException: _no_such_page,
            },
            lifespan=self._flushing,
        )

    async def _chat(self, request: Request) -> Response:
        call, body = await self._received("chat", request)
        asked = openai_api.read(ChatCall, body)
        wanted = max(1, round(TOKENS.at(uniform(self._seed, LENGTH, call.number)) / 1e9))
        said = openai_api.reply(call.number, wanted, asked.most_tokens)
        call.input_tokens, call.output_tokens = asked.input_tokens, said[1]
        self._plan(call, self._profile.chat, CHAT)
        ident = f"chatcmpl-{mix(self._seed, CHAT, call.number):016x}"
        created = call.received_ns // 1_000_000_000
        if not asked.stream or call.failure is not None:
            return await self._whole(
                call, request, openai_api.chat_body(asked, ident, created, said)
            )
        chunks = openai_api.chat_chunks(asked, ident, created, said, STREAM_PIECES)
        if not await self._still_there(call, FIRST_PIECE_SHARE, request):
            return Response()
        return StreamingResponse(
            self._pieces(call, chunks), headers=call.headers, media_type=EVENTS
        )

    async def _embeddings(self, request: Request) -> Response:
        call, body = await self._received("embeddings", request)
        asked = openai_api.read(EmbeddingsCall, body)
        call.input_tokens = asked.input_tokens
        self._plan(call, self._profile.embeddings, EMBEDDINGS)
        return await self._whole(call, request, openai_api.embeddings_body(asked))

    async def _received(self, kind: str, request: Request) -> tuple[Call, bytes]:
        """Read a call's headers, and its body."""
        received_ns = self._clock_ns()
        body = await self._bodies.read(request)
        draw = _draw(request)
        call = Call(
            kind=kind,
            draw=draw,
            number=_hash(body) if draw is None else draw,
            trace_id=_trace_id(request),
            received_ns=received_ns,
        )
        return call, body

    def _plan(self, call: Call, duration: LogNormal | None, kind: int) -> None:
        """Say how long a well-formed call takes, and whether it fails; from now on it is one."""
        self._in_flight += 1
        if duration is not None:
            call.planned_ns = duration.at(uniform(self._seed, kind, call.number))
        fault = self._fault
        if fault.kind in {"all", call.kind}:
            call.planned_ns += round(fault.extra_ms * 1e6)
            if uniform(self._seed, FAILURE, call.number) < fault.rate:
                call.failure = fault.status

    async def _whole(self, call: Call, request: Request, body: bytes) -> Response:
        """Answer in one piece when the planned time has passed."""
        if not await self._still_there(call, 1.0, request):
            return Response()
        if call.failure is not None:
            call.output_tokens = 0
            message = "The simulator was told to fail this call."
            body = openai_api.error_body(message, "server_error")
        status = call.failure or DONE
        self._record(call, status)
        return Response(body, status, call.headers, JSON)

    async def _pieces(self, call: Call, chunks: list[bytes]) -> AsyncIterator[bytes]:
        """Give the pieces of a stream, each at its time; cancelled when the client goes away."""
        last = len(chunks) - 1
        status = CLIENT_GONE
        try:
            for index, chunk in enumerate(chunks):
                share = FIRST_PIECE_SHARE + (1 - FIRST_PIECE_SHARE) * index / last
                await asyncio.sleep(self._until(call, share))
                if index == last:
                    status = DONE
                    self._record(call, status)
                yield chunk
        finally:
            if status == CLIENT_GONE:
                self._record(call, status)

    def _until(self, call: Call, share: float) -> float:
        """Seconds until `share` of the planned time has passed since the call came in."""
        due_ns = call.received_ns + round(call.planned_ns * share)
        return max(0.0, (due_ns - self._clock_ns()) / 1e9)

    async def _still_there(self, call: Call, share: float, request: Request) -> bool:
        """Wait for `share` of the planned time; False (and logged) once the client has gone."""
        seconds = self._until(call, share)
        if not seconds:
            return True
        try:
            async with asyncio.timeout(seconds):
                await request.receive()  # after the body only the connection's end is to come
        except TimeoutError:
            return True
        self._record(call, CLIENT_GONE)
        return False

    def _record(self, call: Call, status: int) -> None:
        self._in_flight -= 1
        self._calls += 1
        self._lines.append(
            orjson.dumps(
                {
                    "t_ns": call.received_ns,
                    "kind": call.kind,
                    "draw": call.draw,
                    "trace_id": call.trace_id,
                    "planned_ns": call.planned_ns,
                    "actual_ns": self._clock_ns() - call.received_ns,
                    "status": status,
                    "input_tokens": call.input_tokens,
                    "output_tokens": call.output_tokens,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
        )

    @contextlib.asynccontextmanager
    async def _flushing(self, _app: Starlette) -> AsyncIterator[None]:
        """Write the log every second and at the end."""

        async def forever() -> None:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self._flush()

        task = asyncio.create_task(forever())
        try:
            yield
        finally:
            task.cancel()
            self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._log.write(b"".join(lines))
        self._log.flush()

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": MODELS})

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "in_flight": self._in_flight, "calls": self._calls})

    async def _faults(self, request: Request) -> Response:
        if request.method == "POST":
            self._fault = openai_api.read(Fault, await self._bodies.read(request) or b"{}")
        elif request.method == "DELETE":
            self._fault = Fault()
        return JSONResponse(self._fault.model_dump())


def _draw(request: Request) -> int | None:
    """The draw in the baggage; None without one."""
    for member in ",".join(request.headers.getlist("baggage")).split(","):
        key, _, value = member.partition(";")[0].partition("=")
        value = value.strip()
        if key.strip() == names.DRAW and DRAW.fullmatch(value):
            return int(value)
    return None


def _hash(body: bytes) -> int:
    """What decides in the place of a draw."""
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big")


def _trace_id(request: Request) -> str | None:
    """The trace id of the traceparent, if there is one."""
    found = TRACEPARENT.match(request.headers.get("traceparent", ""))
    return found[1] if found else None


async def _bad_request(_request: Request, error: Exception) -> Response:
    """The client's mistake, as OpenAI shapes it."""
    if not isinstance(error, BadRequestError):
        raise error
    return Response(error.body(), 400, media_type=JSON)


async def _unread(_request: Request, error: Exception) -> Response:
    """Too large, too slow, too many; or cut off, and then nobody hears the answer."""
    if not isinstance(error, UnreadError):
        return Response()
    body = openai_api.error_body(str(error), "invalid_request_error")
    return LastAnswer(body, error.status, media_type=JSON)


async def _no_such_page(request: Request, error: Exception) -> Response:
    """Another path or method than there is."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"{request.method} {request.url.path}: {error.detail}."
    body = openai_api.error_body(message, "invalid_request_error")
    return Response(body, error.status_code, error.headers, JSON)


def serve(*, host: str, port: int, seed: int, profile: Profile, log: Path) -> None:
    """Serve until told to end."""
    try:
        opened = log.open("ab")
    except OSError as error:
        raise WorthitError(
            f"The simulator cannot write its log {log}: {error.strerror}; name another file."
        ) from error
    # Thousands of calls wait at once, and a full pass over all their objects holds every answer up
    # for tenths of a second: young objects are collected as ever, old ones hardly.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with opened as file:
        simulator = Simulator(seed=seed, profile=profile, log=file, clock_ns=time.time_ns)
        listening.serve(simulator.app(), [listening.bind("The simulator", host, port)])
