"""The simulator's server: takes calls, waits as long as their draw says, answers, logs it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import orjson

from worthit.contract import names
from worthit.errors import WorthitError
from worthit.http_server import LOOPBACK, Request, listen
from worthit.simulator import openai_api
from worthit.simulator.latency import LogNormal, Profile, mix, uniform
from worthit.simulator.openai_api import BadRequestError

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

DRAW_KEY = names.DRAW.encode()
DRAW = re.compile(rb"[0-9]{1,19}")
"""A draw in the baggage: a non-negative decimal integer below 2^63."""

TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context's header, any version."""

CLIENT_GONE = 499
"""The status logged when the client went away before the answer, as nginx does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Failures on purpose: `status` with probability `rate`, `extra_ns` on top of every call."""

    kind: str = "all"
    status: int = 503
    rate: float = 0.0
    extra_ns: int = 0


@dataclass(slots=True)
class Call:
    """A call under way: what was planned, and what the log will say."""

    request: Request
    kind: str
    draw: int | None
    trace_id: str | None
    planned_ns: int
    received_ns: int
    input_tokens: int = 0
    output_tokens: int = 0
    timer: asyncio.TimerHandle | None = None


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
        self._in_flight = 0
        self._calls = 0
        self._routes: dict[bytes, dict[bytes, Callable[[Request], None]]] = {
            b"/v1/chat/completions": {b"POST": self._chat},
            b"/v1/embeddings": {b"POST": self._embeddings},
            b"/v1/models": {b"GET": self._models},
            b"/healthz": {b"GET": self._health},
            b"/admin/fault": {
                b"POST": self._set_fault,
                b"DELETE": self._clear_fault,
                b"GET": self._get_fault,
            },
        }

    def handle(self, request: Request) -> None:
        """Route one request."""
        methods = self._routes.get(request.path)
        if methods is None:
            message = (
                f"Unknown request URL: {request.method.decode()} {request.path.decode('latin-1')}."
            )
            request.respond(404, openai_api.error_body(message, "invalid_request_error"))
            return
        handler = methods.get(request.method)
        if handler is None:
            allow = b", ".join(methods)
            message = f"{request.method.decode()} is not allowed here; use {allow.decode()}."
            request.respond(
                405,
                openai_api.error_body(message, "invalid_request_error"),
                extra=b"allow: %s\r\n" % allow,
            )
            return
        try:
            handler(request)
        except BadRequestError as error:
            request.respond(error.status, error.body())

    def _chat(self, request: Request) -> None:
        received_ns = self._clock_ns()
        asked = openai_api.parse_chat(request.body)
        draw, number = _draw(request)
        wanted = max(1, round(TOKENS.at(uniform(self._seed, LENGTH, number)) / 1e9))
        said = openai_api.reply(number, wanted, asked.max_tokens)
        planned = _planned(self._profile.chat, uniform(self._seed, CHAT, number))
        call = Call(
            request,
            "chat",
            draw,
            _trace_id(request),
            planned,
            received_ns,
            asked.input_tokens,
            said[1],
        )
        ident = f"chatcmpl-{mix(self._seed, CHAT, number):016x}"
        created = received_ns // 1_000_000_000
        if asked.stream:
            chunks = openai_api.chat_chunks(asked, ident, created, said, STREAM_PIECES)
            begin = partial(self._stream, call, chunks, 0)
            self._begin(call, number, begin, first_share=FIRST_PIECE_SHARE)
        else:
            body = openai_api.chat_body(asked, ident, created, said)
            self._begin(call, number, partial(self._finish, call, 200, body))

    def _embeddings(self, request: Request) -> None:
        received_ns = self._clock_ns()
        asked = openai_api.parse_embeddings(request.body)
        draw, number = _draw(request)
        planned = _planned(self._profile.embeddings, uniform(self._seed, EMBEDDINGS, number))
        call = Call(
            request,
            "embeddings",
            draw,
            _trace_id(request),
            planned,
            received_ns,
            asked.input_tokens,
        )
        body = openai_api.embeddings_body(asked)
        self._begin(call, number, partial(self._finish, call, 200, body))

    def _begin(
        self, call: Call, number: int, then: Callable[[], None], *, first_share: float = 1.0
    ) -> None:
        """Wait as planned (`first_share` of it), then `then`; or fail, when a fault says so."""
        fault = self._fault
        self._in_flight += 1
        call.request.on_close = partial(self._gone, call)
        if fault.kind in {"all", call.kind}:
            call.planned_ns += fault.extra_ns
            if uniform(self._seed, FAILURE, number) < fault.rate:
                message = "The simulator was told to fail this call."
                body = openai_api.error_body(message, "server_error")
                then, first_share = partial(self._finish, call, fault.status, body), 1.0
        self._after(call, first_share, then)

    def _after(self, call: Call, share: float, then: Callable[[], None]) -> None:
        """Run `then` when `share` of the planned time has passed since the call came in."""
        wait_ns = call.received_ns + round(call.planned_ns * share) - self._clock_ns()
        if wait_ns <= 0:
            then()
        else:
            call.timer = asyncio.get_running_loop().call_later(wait_ns / 1e9, then)

    def _stream(self, call: Call, chunks: list[bytes], index: int) -> None:
        """Send one piece and wait for the next one's time."""
        if index == 0:
            call.request.start_stream(b"text/event-stream; charset=utf-8", _emulated(call))
        call.request.send_chunk(chunks[index])
        following = index + 1
        if following == len(chunks):
            self._record(call, 200)
            call.request.end_stream()
        else:
            share = FIRST_PIECE_SHARE + (1 - FIRST_PIECE_SHARE) * following / (len(chunks) - 1)
            self._after(call, share, partial(self._stream, call, chunks, following))

    def _finish(self, call: Call, status: int, body: bytes) -> None:
        if status != 200:  # noqa: PLR2004 - HTTP's own number
            call.output_tokens = 0
        self._record(call, status)
        call.request.respond(status, body, extra=_emulated(call))

    def _gone(self, call: Call) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self._record(call, CLIENT_GONE)

    def _record(self, call: Call, status: int) -> None:
        self._in_flight -= 1
        self._calls += 1
        call.request.on_close = None
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

    def flush(self) -> None:
        """Write what the log still holds back."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._log.write(b"".join(lines))
            self._log.flush()

    def _models(self, request: Request) -> None:
        models = [
            {"id": name, "object": "model", "owned_by": "worthit"}
            for name in ("sim-chat", "sim-embed")
        ]
        request.respond(200, orjson.dumps({"object": "list", "data": models}))

    def _health(self, request: Request) -> None:
        request.respond(
            200, orjson.dumps({"status": "ok", "in_flight": self._in_flight, "calls": self._calls})
        )

    def _set_fault(self, request: Request) -> None:
        self._fault = parse_fault(request.body)
        self._get_fault(request)

    def _clear_fault(self, request: Request) -> None:
        self._fault = Fault()
        self._get_fault(request)

    def _get_fault(self, request: Request) -> None:
        fault = self._fault
        shown = {
            "kind": fault.kind,
            "status": fault.status,
            "rate": fault.rate,
            "extra_ms": fault.extra_ns / 1e6,
        }
        request.respond(200, orjson.dumps(shown))


def parse_fault(body: bytes) -> Fault:
    """Read the body of POST /admin/fault: kind, status, rate, extra_ms, each optional."""
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict) or set(value) - {"kind", "status", "rate", "extra_ms"}:
        raise BadRequestError("A fault is an object of kind, status, rate and extra_ms.")
    kind, status = value.get("kind", "all"), value.get("status", 503)
    rate, extra_ms = value.get("rate", 0.0), value.get("extra_ms", 0.0)
    if kind not in {"all", "chat", "embeddings"}:
        raise BadRequestError("kind must be all, chat or embeddings.", param="kind")
    if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004 - HTTP errors
        raise BadRequestError("status must be an integer from 400 to 599.", param="status")
    if type(rate) not in {int, float} or not 0 <= rate <= 1:
        raise BadRequestError("rate must be a number from 0 to 1.", param="rate")
    if type(extra_ms) not in {int, float} or not 0 <= extra_ms <= MAX_EXTRA_MS:
        raise BadRequestError(
            f"extra_ms must be a number from 0 to {MAX_EXTRA_MS}.", param="extra_ms"
        )
    return Fault(kind=kind, status=status, rate=float(rate), extra_ns=round(extra_ms * 1e6))


def _emulated(call: Call) -> bytes:
    """Tell the emulated time, which the caller marks on its span: no report takes it for work."""
    return b"worthit-emulated-ns: %d\r\n" % call.planned_ns if call.planned_ns else b""


def _planned(duration: LogNormal | None, at: float) -> int:
    return duration.at(at) if duration is not None else 0


def _draw(request: Request) -> tuple[int | None, int]:
    """The baggage's draw (None without one), and what decides: the draw or the body's hash."""
    baggage = request.headers.get(b"baggage")
    if baggage is not None:
        for member in baggage.split(b","):
            key, _, value = member.partition(b";")[0].partition(b"=")
            value = value.strip()
            if key.strip() == DRAW_KEY and DRAW.fullmatch(value):
                return int(value), int(value)
    return None, int.from_bytes(hashlib.blake2b(request.body, digest_size=8).digest(), "big")


def _trace_id(request: Request) -> str | None:
    """The trace id of the traceparent, if there is one."""
    found = TRACEPARENT.match(request.headers.get(b"traceparent", b""))
    return found[1].decode("ascii") if found else None


async def serve(
    stop: asyncio.Event,
    *,
    port: int,
    seed: int,
    profile: Profile,
    log: Path,
    host: str = LOOPBACK,
) -> None:
    """Serve until `stop`; the log is written every second and at the end."""
    try:
        opened = log.open("ab")
    except OSError as error:
        raise WorthitError(
            f"The simulator cannot write its log {log}: {error.strerror}; name another file."
        ) from error
    with opened as file:
        simulator = Simulator(seed=seed, profile=profile, log=file, clock_ns=time.time_ns)
        server = await listen(
            simulator.handle,
            host=host,
            port=port,
            max_body_bytes=MAX_BODY_BYTES,
            what="The simulator",
        )
        try:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), FLUSH_SECONDS)
                except TimeoutError:
                    simulator.flush()
        finally:
            server.close()
            simulator.flush()
