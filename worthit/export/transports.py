"""How does one OTLP message reach an endpoint, over HTTP or gRPC, and what was the answer?"""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # has no stubs
    RetryInfo,
)
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from typing_extensions import override

from worthit.errors import UsageError

TRACES_PATH: Final = "/v1/traces"
"""Where OTLP/HTTP takes traces, below the endpoint's own path."""

GRPC_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""OTLP/gRPC's only call for traces."""

GRPC_PORT: Final = 4317
"""The usual port of OTLP/gRPC: somebody who sends HTTP there gets told."""

REPLY_SHOWN_CHARACTERS: Final = 200
"""How much of a refusal's text is repeated: enough for a sentence, not for a page of HTML."""

_HTTP_OK: Final = range(200, 300)
_HTTP_RETRY: Final = frozenset({429, 502, 503, 504})
"""The statuses after which OTLP/HTTP lets a client try again; all other errors are final."""

_GRPC_RETRY: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""After these OTLP/gRPC lets a client try again; RESOURCE_EXHAUSTED only with a RetryInfo."""


class Verdict(Enum):
    """What an endpoint did with a message."""

    TAKEN = "taken"
    LATER = "later"
    """Not now: try the same message again."""
    NEVER = "never"
    """Not this message, however often."""
    UNREACHABLE = "unreachable"
    """Nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An endpoint's answer to one message."""

    verdict: Verdict
    reason: str = ""
    rejected_spans: int = 0
    """Spans that a message that was taken lost all the same (OTLP's partial success)."""
    retry_after_s: float | None = None
    """How long the endpoint asked to be left alone; None when it did not say."""


class Transport(Protocol):
    """One connection to one endpoint."""

    async def send(self, payload: bytes) -> Answer:
        """Deliver one serialised ExportTraceServiceRequest; what goes wrong is an answer too."""

    async def close(self) -> None:
        """Let the connection go."""


def open_transport(endpoint: str, *, headers: Mapping[str, str], timeout_s: float) -> Transport:
    """Choose by the address: ``http(s)://`` for OTLP/HTTP, ``grpc(s)://`` for OTLP/gRPC.

    Parameters
    ----------
    endpoint
        As ``OTEL_EXPORTER_OTLP_ENDPOINT``: for HTTP the base, to which ``/v1/traces`` is added
        if it is not there.
    headers
        Sent with every message, such as an Authorization.
    timeout_s
        How long one message may take.

    Raises
    ------
    UsageError
        When the address is of no kind that OTLP has.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # half a bracket, a port beyond 65535
        raise UsageError(_not_an_address(endpoint, f" ({error})")) from None
    if parts.scheme in {"http", "https"} and host:
        path = parts.path.rstrip("/")
        if not path.endswith(TRACES_PATH):
            path += TRACES_PATH
        return _Http(parts._replace(path=path).geturl(), headers, timeout_s)
    if parts.scheme in {"grpc", "grpcs"} and host:
        # urlsplit takes the brackets off an IPv6 address, gRPC wants them
        target = f"[{host}]" if ":" in host else host
        target = f"{target}:{port or GRPC_PORT}"
        return _Grpc(target, headers, timeout_s, secure=parts.scheme == "grpcs")
    raise UsageError(_not_an_address(endpoint))


def _not_an_address(endpoint: str, why: str = "") -> str:
    return (
        f"'{endpoint}' was found where an OTLP address was expected{why};"
        " give http://HOST:4318 for OTLP/HTTP or grpc://HOST:4317 for OTLP/gRPC."
    )


class _Http(Transport):
    """OTLP/HTTP with protobuf bodies, gzipped."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._headers = {
            **headers,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    @override
    async def send(self, payload: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        body = gzip.compress(payload, compresslevel=1)
        try:
            async with self._session.post(self._url, data=body, headers=self._headers) as reply:
                return _http_answer(reply.status, reply.headers, await reply.read())
        except aiohttp.ClientConnectorError as error:
            return Answer(verdict=Verdict.UNREACHABLE, reason=str(error.os_error))
        except TimeoutError:
            wait = f"no answer within {self._timeout.total:g} s"
            return Answer(verdict=Verdict.UNREACHABLE, reason=wait)
        except (aiohttp.ClientError, ssl.SSLError) as error:
            return Answer(verdict=Verdict.UNREACHABLE, reason=f"{error}{self._hint()}")

    def _hint(self) -> str:
        if urlsplit(self._url).port == GRPC_PORT:
            return f" (port {GRPC_PORT} usually speaks gRPC: try grpc:// or port 4318)"
        return ""

    @override
    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _http_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    if status in _HTTP_OK:
        return _taken(body)
    text = body.decode("utf-8", errors="replace").strip().split("\n")[0][:REPLY_SHOWN_CHARACTERS]
    is_sentence = text.isprintable() and text and not text.startswith("<")
    reason = f"HTTP {status}" + (f" ({text})" if is_sentence else "")
    if status in _HTTP_RETRY:
        after = retry_after_s(headers.get("Retry-After"), now=datetime.now(UTC))
        return Answer(verdict=Verdict.LATER, reason=reason, retry_after_s=after)
    return Answer(verdict=Verdict.NEVER, reason=reason)


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, in either form (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _taken(body: bytes) -> Answer:
    """Read a success: an empty or foreign body means that all was taken (old receivers)."""
    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Answer(verdict=Verdict.TAKEN)
    return Answer(
        verdict=Verdict.TAKEN, rejected_spans=partial.rejected_spans, reason=partial.error_message
    )


class _Grpc(Transport):
    """OTLP/gRPC; the channel is opened at the first message, inside the running loop."""

    def __init__(
        self, target: str, headers: Mapping[str, str], timeout_s: float, *, secure: bool
    ) -> None:
        self._target = target
        self._metadata = [(key.lower(), value) for key, value in headers.items()]
        self._timeout_s = timeout_s
        self._secure = secure
        self._channel: grpc.aio.Channel | None = None

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            gzipped = grpc.Compression.Gzip
            if self._secure:
                credentials = grpc.ssl_channel_credentials()
                self._channel = grpc.aio.secure_channel(
                    self._target, credentials, compression=gzipped
                )
            else:
                self._channel = grpc.aio.insecure_channel(self._target, compression=gzipped)
        return self._channel

    @override
    async def send(self, payload: bytes) -> Answer:
        call = self._open().unary_unary(GRPC_METHOD, None, None)
        try:
            body: bytes = await call(payload, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return _grpc_answer(error)
        return _taken(body)

    @override
    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close(grace=None)


def _grpc_answer(error: grpc.aio.AioRpcError) -> Answer:
    code = error.code()
    details = (error.details() or "")[:REPLY_SHOWN_CHARACTERS]
    reason = f"gRPC {code.name}" + (f" ({details})" if details else "")
    after = _retry_info_s(error)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and after is not None:
        return Answer(verdict=Verdict.LATER, reason=reason, retry_after_s=after)
    if code is grpc.StatusCode.UNAVAILABLE and after is None and "connect" in details.lower():
        return Answer(verdict=Verdict.UNREACHABLE, reason=reason)
    if code in _GRPC_RETRY:
        return Answer(verdict=Verdict.LATER, reason=reason, retry_after_s=after)
    return Answer(verdict=Verdict.NEVER, reason=reason)


def _retry_info_s(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds of the RetryInfo among an error's details: OTLP/gRPC's Retry-After."""
    metadata: Any = error.trailing_metadata() or ()  # stubs deny what it is: pairs
    for key, value in metadata:
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            status = RpcStatus.FromString(value)
        except DecodeError:
            return None
        for detail in status.details:
            info = RetryInfo()
            if detail.Unpack(info):
                return float(info.retry_delay.ToTimedelta().total_seconds())
    return None
