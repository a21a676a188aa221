"""Errors as HTTP responses: always the same JSON, never internals."""

from __future__ import annotations

import logging
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from reference_service.errors import ServiceError
from reference_service.models import ErrorBody

_LOG = logging.getLogger(__name__)

_DESCRIPTIONS: Final = {
    400: "The request is malformed.",
    401: "The API key is missing or wrong.",
    404: "There is no such personality.",
    413: "The body is too large.",
    422: (
        "The body, a header or a name is not as described, or an Idempotency-Key was used for "
        "another message."
    ),
    429: "Too many requests of this user; Retry-After says how long to wait.",
    502: "The language model cannot be reached, or refused the request.",
    503: (
        "Overloaded: too many chats are under way, or too much waits for the database or the "
        "model; or one of these is away. Retry-After says how long to wait."
    ),
    504: "The language model took too long.",
}
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of these error answers."""
    return {
        status: {"model": ErrorBody, "description": _DESCRIPTIONS[status]}
        | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


def answer(
    status: int, code: str, message: str, retry_after_seconds: int | None = None
) -> Response:
    """Return an error answer."""
    headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
    body = orjson.dumps({"error": code, "message": message})
    return Response(body, status, headers, media_type="application/json")


def service_error_answer(error: ServiceError) -> Response:
    """Return the answer that an error stands for."""
    return answer(error.status, error.code, error.message, error.retry_after_seconds)


async def _on_service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101 - registered for it
    if error.status >= 500:  # noqa: PLR2004 - the first server error
        _LOG.warning("Request failed: %s (%s)", error.code, error)
    return service_error_answer(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return answer(422, "invalid_request", f"{place}: {first['msg']}.")


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    response = answer(
        error.status_code, _CODES.get(error.status_code, "error"), f"{error.detail}."
    )
    response.headers.update(error.headers or {})
    return response


async def _on_bug(_: Request, error: Exception) -> Response:
    _LOG.error("Unexpected error", exc_info=error)
    return answer(500, "internal", "The service has a fault; it was logged.")


def register(app: FastAPI) -> None:
    """Make these the app's answers."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
